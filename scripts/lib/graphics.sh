# shellcheck shell=bash disable=SC2034,SC2154
# Intel's GPUs: kernel driver, OpenCL driver, rights. Sourced by ov-doctor, whose variables it uses.

gpus=0 loader="" regular="" legacy="" named=""

check_graphics() {
    group "Graphics"
    local before=$broken gpu render_group=""
    loader=$(ldconfig -p 2>/dev/null) || true
    find_drivers
    for gpu in "$root"/sys/bus/pci/devices/*/; do
        if [[ $(line_of "$gpu/vendor") == 0x8086 && $(line_of "$gpu/class") == 0x03* ]]; then
            gpus=$((gpus + 1))
            check_gpu "${gpu%/}"
        fi
    done
    if ((gpus)); then
        check_opencl
        check_manager
    else
        check_without
    fi
    graphics_broken=$((broken - before))
}

line_of() { # FILE: its first line; nothing where it can't be read
    local line=""
    [[ ! -r $1 ]] || IFS= read -r line <"$1" || true
    printf '%s' "$line"
}

wrong() { # TEXT REMEDY: broken, unless OpenVINO finds a GPU all the same
    if [[ $devices == *GPU* ]]; then note "$@"; else bad "$@"; fi
}

check_without() {
    if asks_for GPU; then
        no_device=1
        note "there is no Intel GPU in this machine, and OV_DEVICE=${facts[device]} asks for one: models run on the CPU" \
            "$(set_to_cpu)"
    else
        ok "there is no Intel GPU in this machine, and none is asked for (OV_DEVICE=${facts[device]})"
    fi
}

check_gpu() { # FOLDER OF ITS PCI DEVICE
    local id kernel generation kind name module=i915 nodes=("$1"/drm/renderD*)
    id=$(line_of "$1/device") id=${id#0x}
    read -r generation kind name <<<"$(row_of "$id")"
    name=${name%%:*}
    [[ $generation != Xe[23]* ]] || module=xe
    kernel=$(readlink -- "$1/driver") || kernel=""
    case ${kernel##*/} in
        i915 | xe) ok "GPU 8086:$id, $name ($generation), kernel driver ${kernel##*/}" ;;
        "") bad "GPU 8086:$id, $name ($generation): no kernel driver is bound to it" \
            "sudo modprobe $module   # sudo dmesg | grep -i $module tells why it was not" ;;
        *) bad "GPU 8086:$id, $name ($generation): ${kernel##*/} has it, so programs can't use it" \
            "lspci -nnk -d 8086:$id   # take it from ${kernel##*/}, then: sudo modprobe $module" ;;
    esac
    check_driver "$kind" "$generation"
    if [[ $kernel == */i915 || $kernel == */xe ]] && ((${#nodes[@]} == 0)); then
        bad "the kernel makes no render node for it" "sudo dmesg | grep -i $module   # tells why"
    fi
    for name in "${nodes[@]}"; do check_node "/dev/dri/${name##*/}"; done
}

row_of() { # ID: generation, kind of driver, name
    local line pattern patterns
    while IFS= read -r line; do
        [[ $line != '#'* ]] || continue
        read -ra patterns <<<"${line##*: }"
        for pattern in "${patterns[@]}"; do
            # shellcheck disable=SC2053  # a pattern
            if [[ $1 == $pattern ]]; then
                printf '%s\n' "$line"
                return
            fi
        done
    done <"$project/scripts/lib/intel-gpus.txt"
    echo "newer current unknown to this script:"
}

find_drivers() { # sets regular and legacy to what is installed; named: the libraries of the ICD files
    local status package version file
    while read -r status package version; do
        [[ $status == installed ]] || continue
        case $package in
            intel-opencl-icd) regular="$package $version" ;;
            intel-opencl-icd-legacy*) legacy="$package $version" ;;
        esac
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' 'intel-opencl-icd*' 2>/dev/null)
    for file in "$root"/etc/OpenCL/vendors/*.icd; do named+="$(line_of "$file")"$'\n'; done
    [[ -n $legacy || $named != *libigdrcl_legacy* ]] || legacy=libigdrcl_legacy1.so
    [[ -n $regular || $named != *libigdrcl.so* ]] || regular=libigdrcl.so
}

check_driver() { # KIND GENERATION
    case $1 in
        none) note "OpenCL has no driver for this GPU" "$(set_to_cpu)" ;;
        legacy1)
            if [[ -n $legacy ]]; then
                ok "OpenCL driver: $legacy"
                check_compiler libigc.so.1
            elif [[ $regular == *" "* ]] && ! serves_old "${regular#* }"; then
                wrong "OpenCL driver: $regular serves Gen12 and newer, not $2" "$(legacy_command)"
            elif [[ -n $regular ]]; then
                ok "OpenCL driver: $regular"
            else
                wrong "OpenCL driver: none that serves $2 is installed" "$(legacy_command)"
            fi
            ;;
        current)
            if [[ -n $regular ]]; then
                ok "OpenCL driver: $regular"
                check_compiler libigc.so
            else
                wrong "OpenCL driver: ${legacy:-none}${legacy:+ serves Gen11 and older, not $2}" \
                    "sudo apt install intel-opencl-icd   # docs/GPU_DRIVERS.md"
            fi
            ;;
    esac
}

serves_old() { # VERSION: whether a regular driver still has Gen8 to Gen11
    [[ $1 != 24.35.30872* ]] && printf '%s\n' "$1" 24.35.30872 | sort -VC
}

legacy_command() { # what this system calls the driver of Gen8 to Gen11
    local version
    version=$(candidate intel-opencl-icd)
    if [[ -n $(candidate intel-opencl-icd-legacy) ]]; then
        echo "sudo apt install intel-opencl-icd-legacy"
    elif [[ -n $version ]] && serves_old "$version"; then
        echo "sudo apt install intel-opencl-icd"
    else
        echo "sudo apt install ./intel-opencl-icd-legacy1_*.deb ./intel-igc-*.deb   # docs/GPU_DRIVERS.md: where from"
    fi
}

candidate() { # PACKAGE: the version that apt would install, without asking the network
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }' || true
}

check_compiler() { # LIBRARY that the driver opens at the first kernel
    [[ $devices != *GPU* && $loader != *"$1"* ]] || return 0
    bad "the OpenCL driver's compiler, $1, is not found" \
        "sudo ldconfig   # still not: install its intel-igc packages, docs/GPU_DRIVERS.md"
}

check_opencl() { # the loader, and what it is told to load
    local name library
    if [[ $loader == *libOpenCL.so.1* ]]; then
        ok "OpenCL's loader: libOpenCL.so.1"
    else
        wrong "OpenCL's loader, libOpenCL.so.1, is not there: OpenVINO finds no GPU without it" \
            "sudo apt install ocl-icd-libopencl1"
    fi
    for name in OCL_ICD_VENDORS OPENCL_VENDOR_PATH; do
        [[ -z ${!name:-} ]] || note "$name=${!name} replaces /etc/OpenCL/vendors, in this shell" "unset $name"
    done
    if [[ $regular$legacy == *icd* && $named != *libigdrcl* ]]; then
        wrong "no file in /etc/OpenCL/vendors names the driver" \
            "sudo apt install --reinstall ${regular%% *} ${legacy%% *}"
    fi
    while IFS= read -r library; do
        [[ $library == *libigdrcl* ]] || continue
        if [[ $library == /* && ! -e $root$library ]]; then
            wrong "/etc/OpenCL/vendors names $library, which is not there" \
                "grep -l ${library##*/} /etc/OpenCL/vendors/*   # install that driver again, or move the file away"
        elif [[ $library == /* && $(ldd "$root$library" 2>/dev/null || true) == *"not found"* ]]; then
            wrong "$library does not find its libraries" "ldd $library | grep 'not found'   # then: sudo ldconfig"
        fi
    done <<<"$named"
}

check_node() { # NODE
    local node=$root$1 user here=0 login member
    user=$(id -un)
    if [[ ! -e $node && ! -L $node ]]; then
        bad "$1 is not there" "ls -l /dev/dri   # a container has to be given it: --device /dev/dri"
        return
    fi
    [[ ! -r $node || ! -w $node ]] || here=1
    render_group=$(stat -c %G -- "$node")
    login=" $(id -nG) " member=" $(id -nG -- "$user") "
    if ((here)) && [[ $(id -u) == 0 || $login == *" $render_group "* ]]; then
        ok "$1: $user may use it"
    elif [[ $member != *" $render_group "* ]]; then
        if ((here)); then
            note "$1: $user may use it at the screen, and not over SSH or in the service: not in group $render_group" \
                "sudo usermod -aG $render_group $user   # then log in again"
        else
            bad "$1: $user is not in its group, $render_group" "sudo usermod -aG $render_group $user   # then log in again"
        fi
    elif [[ $login != *" $render_group "* ]]; then
        bad "$1: $user is in group $render_group, but this login began before" "newgrp $render_group   # or log in again"
    else
        bad "$1: $user is in its group, $render_group, and can't open it" "ls -l $1   # sudo chmod g+rw $1"
    fi
}

check_manager() { # whether the service would have the group: its manager keeps those it began with
    local pid number user
    user=$(id -un)
    [[ -n $render_group && " $(id -nG -- "$user") " == *" $render_group "* ]] || return 0
    pid=$(systemctl show "user@$(id -u).service" --property MainPID --value 2>/dev/null) || return 0
    number=$(getent group "$render_group" | cut -d : -f 3) || return 0
    [[ ${pid:-0} != 0 && -r $root/proc/$pid/status ]] || return 0
    [[ " $(awk '$1 == "Groups:" { $1 = ""; print }' "$root/proc/$pid/status") " != *" $number "* ]] || return 0
    bad "systemd's manager of $user's services began before $user came into group $render_group" \
        "sudo systemctl restart user@$(id -u)   # ends what $user runs; or reboot"
}
