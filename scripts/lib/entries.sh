# shellcheck shell=bash disable=SC2034,SC2154
# What ov-convert-model does besides converting: the list, a model as it is, a model's end.

list_models() {
    local name task format path folder facts
    say "Registered in $registry:"
    [[ -n $registered ]] || say "  (none)"
    while IFS=$'\t' read -r -d '' name task format path; do
        say "  $name  ($task, $format)  $(shown "$path")$([[ -e $path ]] || printf '  MISSING')"
    done < <(tool registry "$registry" list)
    while IFS=$'\t' read -r -d '' facts name; do
        say "  $name  BROKEN: $facts"
    done < <(tool registry "$registry" broken)
    list_unregistered
    say "" "Besides, in $src:"
    if no_source; then say "  $reason"; else find_sources; fi
    for folder in "${folders[@]}"; do
        name=$(name_of "$folder")
        if [[ -n $name ]]; then
            say "  $(shown "${folder##*/}")  is served as it is, as $name"
        elif facts=$(tool source "$folder" "$task_asked"); then
            IFS=$'\t' read -r task facts _ <<<"$facts"
            say "  $(shown "${folder##*/}")  $(state_of "$folder" "$task" "$facts")"
        else
            say "  $(shown "${folder##*/}")  can't be converted: $facts"
        fi
    done
    for facts in "${skipped[@]}"; do say "  $facts"; done
    ((${#folders[@]} + ${#skipped[@]})) || say "  (none)"
}

list_unregistered() { # what --no-register has made, and what is left of a registry that was lost
    local name task format path title="Converted, and not registered:"
    while IFS=$'\t' read -r -d '' name task format path; do
        [[ -z $title ]] || say "" "$title"
        title=""
        say "  $name  ($task, $format)  $(import_of "$path")"
    done < <(tool registry "$registry" unserved "$out")
}

state_of() { # FOLDER TASK BYTES: what a run would make of it
    local name task form_made stays others=""
    while IFS=$'\t' read -r name _ task form_made stays _; do
        if [[ $task != "$2" ]]; then
            continue
        elif [[ $form_made != "$form" ]]; then
            others+="; is converted to $form_made, as $name"
        elif [[ $stays == moves ]] && is_ours "$1"; then
            printf '%s' "was converted before, as $name, which the next run finishes"
            return
        else
            printf '%s' "is converted already, as $name"
            return
        fi
    done < <(tool record find "$out" "$1")
    printf '%s' "($2, $(gigabytes "$3"))$others"
}

names_of() { # PATH: the names that are registered for it
    local found
    found=$(tool registry "$registry" serving "$1") || return 0
    printf '%s' "$found"
}

name_of() { # PATH: the first of them
    names_of "$1" | head -n 1
}

reindex() { # while nobody forgets a model, and with what somebody began to forget forgotten
    if [[ -w $out ]]; then alone make_anew; else make_anew; fi
}

make_anew() {
    local line
    [[ ! -w $out ]] || sweep
    while IFS= read -r -d '' line || [[ -n $line ]]; do
        say "${line%$'\n'}"
    done < <(tool registry "$registry" reindex "$out")
    wait "$!" || exit 2
}

import_model() { # DIR: registers a model where it is
    local path task format="" base parts made why
    path=$(place "$1")
    [[ -e $path || $1 == /* ]] || path=$(place "$src/$1")
    [[ -e $path ]] || die "There is nothing at $1."
    one_conversion_in "$path"
    base=${path##*/} task=$task_asked
    if [[ -f $path && $path == *.gguf ]]; then
        base=${base%.gguf} format=gguf
        why=$(cd -- "$project" && "$python" -BS -m ov_server.gguf "$path") || die "$path can't be served: $why"
    elif parts=("$path"/openvino*_model.xml) && ((${#parts[@]} == 0)); then
        die "$path is neither an OpenVINO folder (with openvino_model.xml) nor a .gguf file. What is to be converted is named without --import."
    elif made=$(tool record made "$path") && [[ -n $made ]]; then
        IFS=$'\t' read -r base made format <<<"$made"
        task=${task:-$made}
    fi
    if [[ -z $task && -d $path ]]; then task=$(tool source --task "$path") || die "$base: $task"; fi
    if ((verify)); then
        [[ -x $project/.venv/bin/python ]] || die "The server's packages are not installed: make -C ${project@Q} run, or --no-verify."
        (cd -- "$project" && .venv/bin/python -m ov_server.sample "$path" --task "${task:-text-generation-with-past}") ||
            die "So it is not registered; --no-verify leaves this check out."
    fi
    base=$(slug_of "${name_asked:-$base}")
    enter_imported "$path" "${base:-model}" "${task:-text-generation-with-past}" "$format" || die "$reason"
    say "$name: registered, from $path"
}

one_conversion_in() { # PATH: where that is a name's folder, sets path to the conversion in it
    local made=("$1"/task-*/conversion.json)
    ((${#made[@]})) || return 0
    made=("${made[@]%/*}")
    ((${#made[@]} == 1)) || die "$(printf '%s\n' "There are ${#made[@]} conversions in $(shown "$1"); name one of them:" "${made[@]@Q}")"
    path=${made[0]}
}

enter_imported() { # PATH NAME TASK FORMAT: a conversion that no name serves has the one it was made under
    local nameless=""
    if is_conversion "$1" && [[ -z $(name_of "$1") ]]; then nameless=1; fi
    name=$2
    if [[ -z $nameless || ! ${1%/*} -ef $out/$2 ]] || grep -Fxq -- "$2" <<<"$registered"; then
        choose_name "$2"
    fi
    enter "$name" "$1" "$3" "$4" || return 1
    [[ -z $nameless ]] || reason=$(tool record adopt "$1" "$name") ||
        say "Its conversion.json can't be written ($reason), so --remove will leave its files."
}

is_conversion() { # PATH: whether it was made here, and not brought from another machine
    [[ -n $1 && -e $1 && ${1%/*}/.. -ef $out && -n $(tool record made "$1") ]]
}

remove_model() { # NAME: and the conversion that was made under it, unless another name serves it
    local path ours="" original="" what others="" answer=""
    path=$(tool registry "$registry" path "$1" && printf .) || die "${path%.}"
    path=${path%$'\n.'}
    if belongs_to "$path" "$1"; then
        ours=$path
        original=$(tool record original "$path")
        [[ -w $out && -w ${path%/*} && (-L $path || -w $path) ]] ||
            die "$(shown "$path") can't be deleted: give it and its folder to yourself, or make its disk writable."
    fi
    what_of_files "$path" "$1"
    if ((!yes)); then
        [[ -t 0 ]] || die "There is no terminal to ask: call it with --yes."
        read -r -p "$(harmless "$what"). Forget the model $(shown "$1")? [y/N] " answer || true
        [[ ${answer,,} == y* ]] || { say "Nothing was changed." && exit 1; }
    fi
    if [[ -n $ours ]]; then
        alone forget "$1" "$ours" || die "$reason"
    else
        reason=$(tool registry "$registry" remove "$1") || die "$reason"
    fi
    say "$(shown "$1"): removed; ${what/#this deletes/deleted:}"
}

belongs_to() { # PATH NAME: whether it was made here under that name, and nobody else needs it
    is_conversion "$1" &&
        [[ $(tool record name "$1") == "$2" && $(tool registry "$registry" used "$1") == "$2" ]]
}

what_of_files() { # PATH NAME: sets what, to what its removal does
    if [[ -z $1 ]]; then
        what="its entry names no files"
    elif [[ ! -e $1 ]]; then
        what="its files are not at $(shown "$1") any more"
        [[ ! -L $1 ]] || what="$(shown "$1") is a link to nothing, and stays"
    elif [[ -z $ours ]]; then
        others=$(names_of "$1" | grep -Fxv -- "$2" | paste -sd , | sed 's/,/, /g') || true
        what="its files stay at $(shown "$1")${others:+, for $others}"
    else
        what="this deletes $(shown "$1")"
        [[ ! -L $1 ]] || what="this deletes the link $(shown "$1"), and what it points to stays"
        if [[ -e $original ]]; then
            what+="; its original is $(shown "$original")"
        elif [[ -n $original ]]; then
            what+="; its original is no longer at $(shown "$original")"
        fi
    fi
}

forget() { # NAME PATH: the entry and its conversion
    # noted, then the entry, then the files: the next sweep finishes it wherever it is killed, so that
    # neither an entry without files is left, nor files that come back with --reindex
    reason="$(shown "$2") was changed meanwhile: call the same again"
    belongs_to "$2" "$1" || return 1
    reason="$out can't be written: is its disk full?"
    work=$(mktemp -d -- "$out/.converting-XXXXXX") || return 1
    exec {held}>"$work/lock" || return 1
    { flock "$held" && printf '%s\0' "$registry" "$2" >"$work/removing" && mv -- "$work/removing" "$work/removed"; } || {
        end_work
        return 1
    }
    reason=$(tool registry "$registry" remove "$1") || { end_work && return 1; }
    reason="$(shown "$1") is forgotten, but $(shown "$2") can't be deleted; the next run tries that again"
    take_away "$work" && rm -rf -- "$work" || return 1
    end_work
}

take_away() { # WORK: what is noted there, out of its place, unless a name needs it
    local file noted=() used
    [[ -f $1/removed ]] || return 0
    mapfile -d '' -t noted <"$1/removed"
    is_conversion "${noted[1]}" && [[ -e ${noted[0]} ]] || return 0
    for file in "${noted[0]}" "$registry"; do
        used=$(tool registry "$file" used "${noted[1]}") || return 1
        [[ -z $used ]] || return 0
    done
    rm -rf -- "$1/model"
    mv -T -- "${noted[1]}" "$1/model" || return 1
    rmdir --ignore-fail-on-non-empty -- "${noted[1]%/*}" || true
}
