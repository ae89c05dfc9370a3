# shellcheck shell=bash disable=SC2034,SC2154
# What ov-convert-model does besides converting: the list, a model as it is, a model's end.

list_models() {
    local name task format path folder facts
    say "Registered in $registry:"
    while IFS=$'\t' read -r name task format path; do
        say "  ${name:-(none)}${name:+  ($task, $format)  $path$([[ -e $path ]] || printf '  MISSING')}"
    done <<<"$(tool registry "$registry" list)"
    say "" "In $src, not converted:"
    find_sources
    for folder in "${folders[@]}"; do
        name=$(name_of "$folder")
        if [[ -n $name ]]; then
            say "  $(shown "${folder##*/}")  is served as it is, as $name"
        elif facts=$(tool source "$folder" "$task_asked"); then
            IFS=$'\t' read -r task facts _ <<<"$facts"
            say "  $(shown "${folder##*/}")  ($task, $(gigabytes "$facts"))"
        else
            say "  $(shown "${folder##*/}")  can't be converted: $facts"
        fi
    done
    for facts in "${skipped[@]}"; do say "  $facts"; done
    ((${#folders[@]} + ${#skipped[@]})) || say "  (none)"
}

names_of() { # PATH: the names that are registered for it
    local name path
    while IFS=$'\t' read -r name _ _ path; do
        [[ ! $path -ef $1 ]] || printf '%s\n' "$name"
    done <<<"$(tool registry "$registry" list)"
}

name_of() { # PATH: the first of them
    names_of "$1" | head -n 1
}

import_model() { # DIR: registers a model where it is
    local path task format="" base parts made why
    path=$(place "$1")
    [[ -e $path || $1 == /* ]] || path=$(place "$src/$1")
    [[ -e $path ]] || die "There is nothing at $1."
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
    [[ $(realpath -m -- "$1") == "$(realpath -m -- "$out")"/*/task-* && -n $(tool record made "$1") ]]
}

remove_model() { # NAME: and the conversion that was made under it, unless another name serves it
    local path ours="" original=""
    path=$(tool registry "$registry" list | awk -F '\t' -v name="$1" '$1 == name { print $4 }')
    [[ -n $path ]] || die "There is no model '$1'; there are: $(tool registry "$registry" list | cut -f 1 | paste -sd , | sed 's/,/, /g')."
    if is_conversion "$path" && [[ $(tool record name "$path") == "$1" && $(names_of "$path") == "$1" ]]; then
        ours=$path
        original=$(tool record original "$path")
    fi
    if ((!yes)); then
        [[ -t 0 ]] || die "There is no terminal to ask: call it with --yes."
        local question="Its files stay at $path."
        [[ -z $ours ]] || question="This deletes $path."
        local answer=""
        read -r -p "$question Forget the model $1? [y/N] " answer || true
        [[ ${answer,,} == y* ]] || die "Nothing was changed."
    fi
    path=$(tool registry "$registry" remove "$1") || die "$path"
    if [[ -n $ours ]]; then # first out of its place, so that no half of it stays there
        work=$(mktemp -d -- "$out/.converting-XXXXXX")
        mv -T -- "$ours" "$work/model"
        rmdir --ignore-fail-on-non-empty -- "${ours%/*}"
        end_work
    fi
    say "$1: removed${original:+; its original is $original}"
}
