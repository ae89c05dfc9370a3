# shellcheck shell=bash disable=SC2034,SC2154
# What becomes of an original when its conversion has a name. Sourced by ov-convert-model, whose
# settings it uses; steps that fail set `reason` and return 1.
#
# To another disk it is copied, into a folder .moving-XXXXXX in og_models; out of its place it comes in
# a folder .moved-XXXXXX beside it. Both are locked as long as a process works on them: other runs may
# have the same originals and another folder for results.

half=""

move_original() { # FOLDER TARGET
    local place=$og/${1##*/} number=1 status=0 why
    while [[ -e $place || -L $place ]]; do
        number=$((number + 1))
        place=$og/${1##*/}-$number
    done
    reason="its original can't be moved to $og; it stays where it is"
    mkdir -p -- "$og" || return 1
    why=$(tool outward "$1") || { reason+=": $why" && return 1; }
    # what needs room comes first; if it is killed behind the move, the next run's sweep goes on
    why=$(tool record moving "$2" "$place" "$work") || { reason+=": $why" && return 1; }
    why=$(tool move rename "$1" "$place") || status=$?
    if ((status == apart)); then
        move_far "$1" "$place" || return 1
    elif ((status)); then
        reason+="${why:+: $why}"
        return 1
    fi
    reason="its original is $place now, but conversion.json does not say so"
    tool record settle "$work"
}

apart=4 # the status of a rename that only a copy could do: to another disk, or another mount of it

move_far() { # FOLDER PLACE: copied whole before anything is removed
    local part lock="" why="" left=1
    open_half "$og/.moving-XXXXXX" || return 1
    part=$half
    if cp -a -T -- "$1" "$part/original" && sync -f -- "$part" && why=$(tool move same "$1" "$part/original") &&
        why=$(tool move rename "$part/original" "$2"); then
        if sync -f -- "$2" && remove_moved "$1"; then
            left=0
        else
            tool move rename "$2" "$part/original" >/dev/null || true
        fi
    fi
    reason+=${why:+: $why}
    rm -rf -- "$part" || true
    exec {lock}>&-
    return "$left"
}

remove_moved() { # FOLDER: out of its place at once: half an original is nobody's
    local lock="" moved=1
    open_half "$src/.moved-XXXXXX" || return 1
    ! tool move rename "$1" "$half/original" >/dev/null || moved=0
    rm -rf -- "$half" || true
    exec {lock}>&-
    return "$moved"
}

open_half() { # TEMPLATE: sets half, a folder of this run's, and lock, which says so
    half=$(mktemp -d -- "$1") || return 1
    exec {lock}>"$half/lock" || return 1
    # a sweep that came first has the lock until the folder is gone
    flock "$lock" && [[ $half/lock -ef /proc/self/fd/$lock ]]
}

sweep_halves() { # what runs that were killed have left
    local folder
    for folder in "$og"/.moving-*/ "$src"/.moved-*/; do
        flock -n "$folder/lock" rm -rf -- "$folder" 2>/dev/null || true
    done
}
