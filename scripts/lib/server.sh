# shellcheck shell=bash
# How the scripts talk to the server: where it is, one call, and what of its JSON they need.

shopt -s inherit_errexit

export HOME=${HOME:-~}

# The folder of the project, also through a link.
project=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")")
settings=${XDG_CONFIG_HOME:-$HOME/.config}/ov-llm-server
python=$("$project/scripts/find-python")
if ! command -v curl >/dev/null; then
    echo "${0##*/} needs curl: sudo apt install curl" >&2
    exit 1
fi

# OV_SERVER_URL, else this machine at HOST and PORT, which the service's settings may say.
server_url() {
    local host=${HOST:-} port=${PORT:-} record
    if [[ -f $settings/ov-server.env && -r $settings/ov-server.env ]]; then
        while IFS= read -r -d '' record; do
            case $record in
                HOST=*) host=${host:-${record#*=}} ;;
                PORT=*) port=${port:-${record#*=}} ;;
            esac
        done < <("$python" -I -S "$project/scripts/lib/envfile.py" "$settings/ov-server.env")
    fi
    if [[ -z ${OV_SERVER_URL:-} && -n $port && ! $port =~ ^[0-9]+$ ]]; then
        echo "${0##*/}: PORT=$port is no port: correct it in $settings/ov-server.env or here." >&2
        exit 3
    fi
    case $host in
        "" | 0.0.0.0 | ::) host=localhost ;; # it listens everywhere
        *:*) host=[$host] ;;
    esac
    local url=${OV_SERVER_URL:-http://$host:${port:-9000}}
    url=${url%/}
    printf '%s\n' "${url%/v1}"
}

# OV_SERVER_KEY, else one of this machine's OV_API_KEYS, which the service's settings may say; these
# are shown to nobody else.
server_key() {
    local keys=${OV_API_KEYS:-} record
    if [[ -n ${OV_SERVER_KEY:-} || -n ${OV_SERVER_URL:-} ]]; then
        printf '%s\n' "${OV_SERVER_KEY:-}"
        return
    fi
    if [[ -z $keys && -f $settings/ov-server.env && -r $settings/ov-server.env ]]; then
        while IFS= read -r -d '' record; do
            [[ $record != OV_API_KEYS=* ]] || keys=${record#*=}
        done < <("$python" -I -S "$project/scripts/lib/envfile.py" "$settings/ov-server.env")
    fi
    OV_API_KEYS=$keys "$python" -I -S "$project/scripts/lib/apikey.py"
}

# call METHOD PATH [JSON]: the body of the answer. Fails when the server refuses, with its message
# instead, and ends the script when there is no server.
call() {
    local method=$1 path=$2 url key answer status
    url=$(server_url) || exit 3
    key=$(server_key)
    local body=() limit=() host=() shown=() direct='localhost,127.0.0.1,::1' # no proxy for this machine
    [[ $method != GET ]] || limit=(--max-time 60) # a load takes as long as it takes
    [[ -n ${OV_SERVER_URL:-} ]] || direct='*' host=(--header 'Host: localhost') # OV_ALLOWED_HOSTS
    [[ -z $key ]] || shown=(--header @-) # from standard input: others see a program's arguments
    [[ $# -lt 3 ]] || body=(--header 'Content-Type: application/json' --data "$3")
    if ! answer=$(curl --disable --silent --path-as-is --connect-timeout 5 --noproxy "$direct" \
        "${limit[@]}" "${host[@]}" "${shown[@]}" --write-out '\n%{http_code}' --request "$method" \
        "${body[@]}" -- "$url$path" <<<"Authorization: Bearer $key"); then
        echo "${0##*/}: no server answers at $url. Start it (systemctl --user start ov-server, or" \
            "make run), or say where it is with OV_SERVER_URL." >&2
        exit 3
    fi
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    if [[ $status == 200 ]]; then
        printf '%s\n' "$answer"
    elif [[ $status == 401 ]]; then
        echo "${0##*/}: the server at $url wants a key${key:+ other than the one it was shown}: say one with" \
            "OV_SERVER_KEY." >&2
        exit 3
    else
        answers error "$status" <<<"$answer"
        return 1
    fi
}

# act NAME ACTION [JSON]: load, unload or pin a model.
act() {
    local name=$1 action=$2
    shift 2
    call POST "/v1/models/$(answers path "$name")/$action" "$@"
}

# The models that there are, a line each: name, state, pinned or free, aliases; tabs between.
models() {
    local list
    if list=$(call GET /v1/models); then
        answers models <<<"$list" || not_ours
    else
        [[ -z $list ]] || echo "${0##*/}: $list" >&2
        return 1
    fi
}

# loading NAME ACTION: loads or pins a model and says in a line how that went.
loading() {
    local said status=0
    said=$(act "$1" "$2") || status=$?
    case $status in
        0)
            said=$(answers load <<<"$said") || not_ours
            printf '%-40s %s\n' "$1" "$said"
            ;;
        1) printf '%-40s failed: %s\n' "$1" "$said" ;;
        *) exit "$status" ;;
    esac
    return "$status"
}

not_ours() {
    echo "${0##*/}: what answers at $(server_url) is no ov-llm-server. Say where it is with OV_SERVER_URL." >&2
    exit 3
}

answers() {
    "$python" -I -S "$project/scripts/lib/answers.py" "$@"
}
