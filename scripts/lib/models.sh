# shellcheck shell=bash disable=SC2034,SC2154
# Models: settings, registry, room for them, and their first words on each device. Sourced by
# ov-doctor, whose variables it uses.

read_env_file() { # variables of the service's settings, where the shell does not set them
    local record name value
    [[ -n $python && -f $settings_file && -r $settings_file ]] || return 0
    while IFS= read -r -d '' record; do
        name=${record%%=*} value=${record#*=}
        case $name in
            '#'*) complaints+=("${record#?}") ;;
            HOST | PORT | OV_*)
                if [[ ! -v $name ]]; then
                    export "$name=$value"
                elif [[ ${!name} != "$value" ]]; then
                    differing+=("$name")
                fi
                said_there+=" $name "
                ;;
        esac
    done < <("$python" -I -S "$lib/envfile.py" "$settings_file")
}

check_settings() {
    group "Settings"
    local line name
    for line in "${complaints[@]}"; do
        note "$settings_file: $line" "$edit_settings"
    done
    while read -r name; do
        [[ ! -v $name || $said_there == *" $name "* ]] || differing+=("$name")
    done < <(sed -n 's/^#\{0,1\}\([A-Z_]*\)=.*/\1/p' "$project/ov-server.env")
    if ((${#differing[@]})) && [[ -e $unit ]]; then
        note "this shell sets ${differing[*]}, otherwise than the service: what follows goes by the shell" "unset ${differing[*]}"
    fi
    if [[ -r $settings_file ]]; then ok "read: $settings_file"; fi
    if ((installed)); then
        ask files "$settings_file"
        report <<<"${answer%%$'\n--\n'*}"
        registry_says=${answer##*$'\n--\n'}
    else
        skipped "the values, without the server's packages"
    fi
}

ask() { # COMMAND ARGUMENT...: of ov_server.checkup; sets answer
    if ! answer=$(package checkup "$@" 2>&1); then
        installed=0
        bad "the server's packages do not work: $(tail -n 1 <<<"$answer")" \
            "rm -rf $quoted/.venv; make -C $quoted install"
        answer=""
    fi
}

package() { # MODULE ARGUMENT...
    (cd -- "$project" && exec .venv/bin/python -m "ov_server.$1" "${@:2}")
}

asks_for() { # KIND of device, by OV_DEVICE
    local device=${facts[device]^^}
    [[ $device == *"$1"* || $device =~ ^(AUTO|MULTI|HETERO) ]]
}

set_to_cpu() {
    if [[ -e $settings_file ]]; then
        echo "echo OV_DEVICE=CPU >> $(printf %q "$settings_file") && systemctl --user restart ov-server"
    else
        echo "OV_DEVICE=CPU make -C $quoted run"
    fi
}

find_devices() { # sets devices, and its trouble
    local said level name text
    ((installed)) || return 0
    if ! said=$(package checkup devices 2>&1); then
        trouble=$(tail -n 1 <<<"$said")
        return
    fi
    while IFS=$'\t' read -r level name text; do
        [[ $level != is ]] || { devices+=" $name" && device_names+="${device_names:+, }$name ($text)"; }
    done <<<"$said"
}

check_devices() {
    group "OpenVINO"
    local kind=${facts[device]%%[.:]*}
    if ((!installed)); then
        skipped "its devices, without the server's packages"
        return
    elif [[ -n $trouble ]]; then
        bad "OpenVINO does not work: $trouble" "rm -rf $quoted/.venv; make -C $quoted install"
        return
    fi
    ok "its devices: $device_names"
    [[ $devices != *" $kind"* && ! $kind =~ ^(AUTO|MULTI|HETERO)$ ]] || return 0
    no_device=1
    if [[ $kind != GPU ]]; then
        bad "OV_DEVICE=${facts[device]} is not among them: models run on the CPU" "$(set_to_cpu)"
    elif ((graphics_broken)); then
        bad "it finds no GPU" "ov-doctor --fast   # when what is BAD under Graphics is mended"
    elif ((gpus)); then
        bad "it finds no GPU, though nothing above is broken" "sudo apt install clinfo && clinfo -l   # tells what OpenCL finds"
    fi
}

check_registry() {
    group "Models"
    if ((installed)); then
        report <<<"$registry_says"
    else
        skipped "the registry and its models, without the server's packages"
    fi
}

check_room() {
    group "Room"
    local cache=${facts[cache_dir]} used limit_mb total_kb
    check_disk note "models" "${facts[registry_path]%/*}" "ov-convert-model --list   # then: ov-convert-model --remove NAME"
    check_disk bad "the cache" "$cache" "du -sh $(printf %q "$cache")/*/* | sort -h   # old ones may be removed"
    if [[ -d $cache ]]; then
        used=$(du -s --block-size=1000000 -- "$cache" 2>/dev/null | cut -f 1) || true
        limit_mb=$(megabytes "${facts[cache_gb]}")
        if ((used > limit_mb)); then
            note "the cache has $(gigabytes "$used"), above OV_CACHE_GB=${facts[cache_gb]}; the next load prunes it" "ov-warm-models"
        else
            ok "the cache has $(gigabytes "$used") of $(gigabytes "$limit_mb")"
        fi
    fi
    total_kb=$(awk '$1 == "MemTotal:" { print $2 }' "$root/proc/meminfo" 2>/dev/null) || true
    check_memory $((${total_kb:-0} * 1024 / 1000000))
}

megabytes() { # GB, with a decimal point or without
    awk -v gb="${1:-0}" 'BEGIN { printf "%d", gb * 1000 }'
}

gigabytes() { # MB
    awk -v mb="$1" 'BEGIN { printf "%.1f GB", mb / 1000 }'
}

check_disk() { # LEVEL WHAT FOLDER REMEDY: whether it can be written, or made, and has room
    local level=$1 folder=$3 free mend
    shift
    while [[ ! -e $folder && $folder == */* ]]; do folder=${folder%/*}; done
    if [[ ! -d ${folder:-/} || ! -w ${folder:-/} ]]; then
        mend="sudo install -d -o $(id -un) $(printf %q "$2")   # ls -ld $(printf %q "${folder:-/}") tells whose that is"
        [[ $folder != "$2" ]] || mend="sudo chown -R $(id -un) $(printf %q "$2")"
        "$level" "${folder:-/}, where $1 should be, can't be written" "$mend"
        return
    fi
    free=$(df --output=avail --block-size=1000000 -- "${folder:-/}" | tail -n 1) || return 0
    free=${free//[[:space:]]/}
    if ((free < 2000)); then
        bad "$(gigabytes "$free") are free for $1, in ${folder:-/}" "$3"
    elif ((free < 20000)); then
        note "$(gigabytes "$free") are free for $1, in ${folder:-/}" "$3"
    else
        ok "$(gigabytes "$free") are free for $1"
    fi
}

check_memory() { # MB OF THE MACHINE
    local limit pinned said
    ((${1:-0} > 0)) || return 0
    limit=$(megabytes "${facts[memory_limit_gb]}") pinned=${facts[pinned]}
    pinned=$((pinned / 1000000))
    said="memory: $(gigabytes "$1")"
    if ((limit > $1)); then
        note "$said, and OV_MEMORY_LIMIT_GB=${facts[memory_limit_gb]} allows more" "$edit_settings"
    elif ((pinned > (limit > 0 ? limit : $1 * 9 / 10))); then
        bad "$said, and pinned models alone need $(gigabytes "$pinned")$( ((!limit)) || printf ' of %s that they may have' "$(gigabytes "$limit")")" \
            "\${EDITOR:-nano} $(printf %q "${facts[registry_path]}")   # \"pinned\": false"
    else
        ok "$said$( ((!pinned)) || printf ', of which pinned models take %s' "$(gigabytes "$pinned")")"
    fi
}

check_generation() {
    group "Test generation"
    local device said why cpu="" scratch
    if ((!installed)) || [[ -z $devices ]]; then
        skipped "what models say, without the server's packages"
        return
    fi
    ask model "$model_asked"
    if [[ $answer == bad$'\t'* ]] && is_told "${answer#*$'\t'}"; then
        skipped "what $model_asked says: it is broken, as said above"
        return
    fi
    report <<<"$answer"
    [[ -n ${facts[model_path]:-} ]] || return 0
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064  # now: it is local
    trap "rm -rf -- ${scratch@Q}" EXIT
    for device in $devices; do
        if ! said=$(first_words "$device"); then
            why=${said:-it was killed}
            trouble_on "$device" "${facts[model]} on $device: ${why##*$'\n'}"
        elif [[ -n $cpu && $device == GPU* ]] && ! why=$("$python" -I -S "$lib/samples.py" compare "$cpu" "$said"); then
            trouble_on "$device" "${facts[model]} on $device: $("$python" -I -S "$lib/samples.py" show "$said"), other than the CPU ($why); int4 has been silently wrong on Intel's integrated GPUs"
        else
            ok "${facts[model]} on $device, $("$python" -I -S "$lib/samples.py" show "$said")${why:+; as the CPU: $why}"
        fi
        [[ $device != CPU ]] || cpu=$said
        why=""
    done
}

first_words() { # DEVICE: what the model says there as JSON, or why it does not
    local status=0
    OV_CACHE_DIR=$scratch timeout --foreground 600 env -C "$project" \
        .venv/bin/python -m ov_server.sample "${facts[model_path]}" --task "${facts[model_task]}" \
        --device "$1" --tokens 24 --json 2>"$scratch/said" || status=$?
    ((status)) || return 0
    case $status in
        124) echo "it takes longer than 10 minutes" ;;
        1) tail -n 1 "$scratch/said" ;;
        *) echo "it crashes (exit code $status)" ;;
    esac
    return 1
}

trouble_on() { # DEVICE TEXT: broken where the device is asked for
    local remedy
    remedy=$(set_to_cpu)
    if [[ -n $model_asked ]]; then
        remedy="ov-convert-model --weight-format int8 FOLDER   # or \"device\": \"CPU\" for it in ${facts[registry_path]}"
    fi
    if [[ $1 == CPU || " ${facts[asked]} ${facts[model_device]} " == *" ${1%%.*}"* || ${facts[asked]} == *AUTO* ]]; then
        [[ $1 != CPU ]] || remedy="ov-convert-model --list   # convert it again; of the one that comes along: rm -rf $quoted/.venv; make -C $quoted install"
        bad "$2" "$remedy"
    else
        note "$2" "$remedy"
    fi
}
