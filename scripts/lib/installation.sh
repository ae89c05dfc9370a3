# shellcheck shell=bash disable=SC2034,SC2154
# What is installed for the server: packages, links, service, and who has the port. Sourced by
# ov-doctor, whose variables it uses.

check_packages() {
    group "Python and packages"
    local said stamp=$environment/stamp
    if [[ -n $python ]]; then
        ok "Python $("$python" -c 'import platform; print(platform.python_version())') ($python)"
    else
        bad "Python 3.11 or newer is not there" "sudo apt install python3 python3-venv   # Debian 12, Ubuntu 24.04 and newer"
    fi
    if [[ -d $project/.venv && ! -e $project/.venv/bin/python ]]; then
        bad "the Python that the server's packages are for is gone" "rm -rf $quoted/.venv; make -C $quoted run"
    elif [[ ! -e $project/.venv/bin/python ]]; then
        bad "the server's packages are not installed" "make -C $quoted run"
    elif ! said=$("$project/.venv/bin/python" -I "$lib/packages.py" "$project/requirements.lock" 2>&1); then
        bad "the server's packages are not those of requirements.lock: $(tail -n 1 <<<"$said")" \
            "rm -f $quoted/.venv/run.stamp; make -C $quoted install && systemctl --user restart ov-server"
    else
        ok "the server's packages are those of requirements.lock ($said)"
        installed=1
    fi
    if [[ ! -e $stamp ]]; then
        note "models can't be converted here: what converts them is not installed" "make -C $quoted convert-env"
    elif [[ $project/requirements-convert.lock -nt $stamp ]]; then
        note "what converts models is older than requirements-convert.lock" "make -C $quoted convert-env"
    else
        ok "what converts models is installed"
    fi
    check_links
}

check_links() {
    local script path missing="" other="" mend="make -C $quoted install   # and log in again, for ~/.local/bin"
    if [[ $HOME/.local/bin/ov-doctor -ef $project/scripts/ov-doctor ]]; then
        # shellcheck disable=SC2016,SC2088 # it is for a person to type
        mend='PATH=~/.local/bin:$PATH   # log in again, or add it in ~/.profile'
    fi
    for script in "$project"/scripts/ov-*; do
        if ! path=$(type -P "${script##*/}"); then
            missing+=" ${script##*/}"
        elif [[ ! $path -ef $script ]]; then
            other+=" $path"
        fi
    done
    [[ -z $missing ]] || note "not on this PATH:$missing" "$mend"
    [[ -z $other ]] || note "of another copy of the project:$other" "make -C $quoted install   # or remove them"
    [[ -n $missing$other ]] || ok "the scripts are on the PATH"
}

check_service() {
    group "Service"
    if ! type -P systemctl >/dev/null || ! systemctl --user show-environment >/dev/null 2>&1; then
        note "systemd's manager of this user's services does not answer" "$(mend_manager)"
    elif [[ ! -e $unit ]]; then
        note "the service is not set up" "make -C $quoted install"
    else
        if [[ $project/ov-server.service -nt $unit ]] && ! cmp -s -- "$project/ov-server.service" "$unit"; then
            note "the service's unit is older than the project's" "make -C $quoted install"
        fi
        check_state
        check_start
    fi
    check_port
}

mend_manager() {
    local runtime
    runtime=/run/user/$(id -u)
    if [[ -d $root$runtime && ${XDG_RUNTIME_DIR:-} != "$runtime" ]]; then
        echo "XDG_RUNTIME_DIR=$runtime $quoted/scripts/ov-doctor   # and so for systemctl"
    else
        echo "loginctl enable-linger   # starts it; without systemd: make -C $quoted run"
    fi
}

check_state() {
    state=$(systemctl --user is-active ov-server 2>/dev/null) || true
    case $state in
        active) ok "the service is active" ;;
        inactive) note "the service is not started" "systemctl --user start ov-server" ;;
        *) bad "the service is ${state:-unknown to systemd}" \
            "journalctl --user -u ov-server -n 30   # tells why; then: systemctl --user restart ov-server" ;;
    esac
}

check_start() { # of the machine
    local enabled linger user
    user=$(id -un)
    enabled=$(systemctl --user is-enabled ov-server 2>/dev/null) || true
    if [[ $enabled != enabled ]]; then
        note "the service does not start by itself (${enabled:-not enabled})" "systemctl --user enable ov-server"
        return
    fi
    linger=$(loginctl show-user "$user" --property Linger --value 2>/dev/null) || true
    if [[ $linger == yes || -e $root/var/lib/systemd/linger/$user ]]; then
        ok "the service starts with the machine"
    else
        note "the service runs only while $user is logged in" "loginctl enable-linger"
    fi
}

check_port() {
    local host=${HOST:-} port=${PORT:-9000} answer what status
    if [[ ! $port =~ ^[0-9]{1,5}$ ]] || ((10#$port < 1 || 10#$port > 65535)); then
        bad "PORT=$port is no port" "$edit_settings   # a number from 1 to 65535"
        return
    elif [[ -z $python ]]; then
        skipped "port $port, without a Python"
        return
    fi
    local key=${OV_SERVER_KEY:-}
    [[ -n $key ]] || key=$("$python" -I -S "$lib/apikey.py")
    answer=$(OV_SERVER_KEY=$key "$python" -I -S "$lib/port.py" "$host" "$port")
    while IFS=$'\t' read -r what status _; do
        case $what in
            ours) if [[ $status == ok ]]; then
                ok "the server answers on port $port: $status"
            elif [[ $answer != *$'\n'locked ]] && all_told "$answer"; then
                ok "the server answers on port $port: $status, by what is said above"
            fi ;;
            reason) degraded_by "$status" ;;
            locked) note "the server on port $port is degraded, and wants a key to say why" "OV_SERVER_KEY=... $quoted/scripts/ov-doctor" ;;
            other) bad "port $port: something answers there, but $status" \
                "ss -ltnp 'sport = :$port'   # tells who; else: echo PORT=9001 >> $(printf %q "$settings_file")" ;;
            closed) if [[ $state == active ]]; then
                bad "the service is active, and nobody answers on port $port" "journalctl --user -u ov-server -n 30   # tells where it listens"
            else
                note "no server answers on port $port" "$(start_it)"
            fi ;;
        esac
    done <<<"$answer"
}

start_it() {
    if [[ -e $unit ]]; then
        echo "systemctl --user start ov-server   # or: make -C $quoted run"
    else
        echo "make -C $quoted run"
    fi
}

all_told() { # ANSWER OF THE PORT
    local what reason
    while IFS=$'\t' read -r what reason; do
        [[ $what != reason ]] || is_known "$reason" || return 1
    done <<<"$1"
}

is_known() { # REASON
    is_told "$1" || [[ -n $no_device && $1 == "OpenVINO finds no device"* ]]
}

degraded_by() { # REASON
    if is_known "$1"; then
        return
    elif [[ $1 == "OpenVINO finds no device"* ]] && ((!gpus)); then
        note "the server on port $port is degraded: $1" "$(set_to_cpu)"
    else
        bad "the server on port $port is degraded: $1" "journalctl --user -u ov-server -n 30   # tells more"
    fi
}
