# shellcheck shell=bash disable=SC2034,SC2154
# One conversion, from a folder to a name that answers. Sourced by ov-convert-model, whose settings it
# uses; steps that fail set `reason` and return 1.
#
# Nothing is under a final name before it is whole. What is made lies in a folder .converting-XXXXXX
# beside it, which is locked as long as a process works on it; what has no such process is removed by
# the next run.

child="" work="" held="" doubt="" heard="" heard_in="" reason="" working=""

say() { # LINE...: to the terminal, which may have gone, and to the log, whose disk may be full
    local lines=() line
    for line in "$@"; do lines+=("$(harmless "$line")"); done
    printf '%s\n' "${lines[@]}" 2>/dev/null || true
    [[ -z $log ]] || { printf '%s\n' "${lines[@]}" >>"$log"; } 2>/dev/null || true
}

harmless() { # LINE: without what moves a terminal's cursor or ends the line: files of models may say that
    local LC_ALL=C line=$1 more
    printf -v more '\xc2[\x80-\x9f]' # those of Unicode
    line=${line//$more/?}
    printf '%s' "${line//[[:cntrl:]]/?}"
}

tool() { # NAME ARGUMENT...: a program of scripts/lib
    "$python" -BS "$lib/$1.py" "${@:2}"
}

shown() { # NAME: safe for a terminal
    if [[ $1 == *[[:cntrl:]]* ]]; then printf '%q' "$1"; else printf '%s' "$1"; fi
}

gigabytes() { # BYTES
    local tenths=$((($1 + 50000000) / 100000000))
    if ((tenths < 10)); then
        printf '%d MB' $((($1 + 500000) / 1000000))
    else
        printf '%d.%d GB' $((tenths / 10)) $((tenths % 10))
    fi
}

free_in() { # FOLDER: bytes
    df --output=avail -B1 -- "$1" | tail -n 1
}

size_in() { # FORMAT WEIGHTS: bytes of so many weights
    local percent
    case $1 in fp32) percent=400 ;; fp16) percent=200 ;; int8) percent=110 ;; int4) percent=75 ;; esac
    printf '%d' $(($2 * percent / 100))
}

import_of() { # CONVERSION: the command that registers it
    printf '%s' "ov-convert-model --import $(printf '%q' "$1")"
}

worked_on="another ov-convert-model works on it now"

# Names.

slug_of() { # NAME: lower case, every run of other characters one "-"
    local LC_ALL=C
    local slug=${1,,}
    slug=${slug//[^a-z0-9]/-}
    while [[ $slug == *--* ]]; do slug=${slug//--/-}; done
    slug=${slug#-} slug=${slug%-}
    slug=${slug:0:100}
    printf '%s' "${slug%-}"
}

in_use() { # NAME
    local there=("$out/$1"/task-*)
    ((${#there[@]})) || is_foreign "$out/$1" || [[ -n ${chosen[$1]:-} ]] || grep -Fxq -- "$1" <<<"$registered" || being_made name "$1"
}

is_foreign() { # PATH: whether no result can be renamed into it: it is no folder, or of another disk
    [[ -L $1 || (-e $1 && ! -d $1) ]] || mountpoint -q -- "$1"
}

choose_name() { # NAME: sets name to it, or to NAME-2, NAME-3, ...
    local number=1
    name=$1
    while in_use "$name"; do
        number=$((number + 1))
        name=$1-$number
    done
    ((number == 1)) || say "The name '$1' is in use, so it will be '$name'."
}

being_made() { # FIELD VALUE: whether another run works on that name or source now
    local folder said
    for folder in "$out"/.converting-*/; do
        [[ -f $folder/$1 ]] || continue
        IFS= read -r -d '' said 2>/dev/null <"$folder/$1" || true
        [[ $said == "$2" || ($1 == source && $said -ef $2) ]] || continue
        flock -n "$folder/lock" true || return 0
    done
    return 1
}

is_worked_on() { # FOLDER REPO: whether another run works on it now; REPO may be empty
    being_made source "$1" || { [[ -n $2 ]] && being_made repo "$2"; }
}

read_names() { # sets registered; where nothing is to be registered, a registry need not be sound
    registered=$(tool registry "$registry" names) && return
    reason=$registered registered=""
    ((!register))
}

# One conversion.

packages_are_there() {
    [[ -x $environment/bin/optimum-cli && -x $environment/bin/hf ]] ||
        die "There is no conversion environment in $environment. Make it with: make -C ${project@Q} convert-env${OV_CONVERT_ENV:+, and unset OV_CONVERT_ENV}"
    ((!verify)) || [[ -x $project/.venv/bin/python ]] ||
        die "The server's packages are not installed, and conversions are checked with them. Install them with: make -C ${project@Q} run, or leave the check out with --no-verify"
}

ready_to_convert() {
    local unwritable="$out can't be written: make room there, give it to yourself, or set OV_MODEL_OUT."
    mkdir -p -- "$out/.logs" || die "$unwritable"
    log=$out/.logs/$(date +%Y-%m-%dT%H-%M-%S)-$$.log
    : >>"$log" || die "$unwritable"
    drop_old_logs
    open_ear || die "Nothing can be written in ${TMPDIR:-/tmp}: make room there, or set TMPDIR."
    trap '' HUP PIPE TTOU # a connection that drops does not end a conversion
    trap 'exit 130' INT TERM
    trap leave EXIT
}

drop_old_logs() { # their names begin with the time
    local logs=("$out"/.logs/*.log)
    ((${#logs[@]} <= 100)) || rm -f -- "${logs[@]:0:${#logs[@]}-100}" || true
}

open_ear() { # sets heard: what the last program said
    # not on the disk that it may have filled; and without a name, so that it goes with this process
    local file ear
    for heard_in in "${TMPDIR:-/dev/shm}" /dev/shm /tmp "$out/.logs"; do
        file=$(mktemp -- "$heard_in/ov-convert-XXXXXX" 2>/dev/null) || continue
        exec {ear}<>"$file"
        rm -f -- "$file"
        heard=/proc/self/fd/$ear
        return
    done
    return 1
}

leave() { # at the end, however it comes, but for kill -9
    local status=$?
    trap '' INT TERM
    if [[ -n $child ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if [[ -n $working ]]; then
        failed+=("$working: stopped; the next run goes on with it")
        summary
    fi
    end_work
    exit "$status"
}

deaf=251 # the status of what went well, where what it said could not be kept

run() { # COMMAND...: in the background, so that Ctrl-C is seen at once; its output is shown, logged and kept
    set -m
    "$python" -BS "$lib/ear.py" "$heard" "$log" "$@" </dev/null &
    attend
}

ask() { # COMMAND...: the same, but what it prints is in heard alone
    set -m
    "$@" </dev/null >"$heard" 2>/dev/null &
    attend
}

attend() { # waits for what was just started
    local status=0
    child=$!
    set +m
    wait "$child" || status=$?
    child=""
    return "$status"
}

convert_one() { # FOLDER REPO NAME: sets reason, to what was made of it when it succeeds; 2: nothing had to be
    local folder=$1 name=$3 facts task bytes weights note started=$SECONDS target command
    begin_work "$folder" "$2" || return 1
    if [[ -n $2 ]]; then
        ! made_meanwhile "$folder" || return 2
        ! to_be_downloaded "$folder" || download "$2" "$folder" || return 1
    fi
    facts=$(tool source "$folder" "$task_asked") || { reason=$facts && return 1; }
    IFS=$'\t' read -r task bytes weights note <<<"$facts"
    [[ -z $note ]] || say "Note: $note."
    enough_space "$weights" || return 1
    export_model || return 1
    reason=$(tool exported "$folder" "$work/model" "$task" "$heard") || return 1
    speaks || return 1
    write_record || return 1
    publish || return 1
    finish "$folder" "$name" "$target" "$task" "$form" || return 1
    bytes=$(du -sb -- "$target" | cut -f 1)
    reason="$name: $form, $(gigabytes "$bytes"), in $((SECONDS - started)) s${doubt:+; $doubt}"
    ((register)) || reason+="; it is in $(shown "$target"), and is not registered; to register it: $(import_of "$target")"
}

alone() { # COMMAND...: while no other ov-convert-model begins anything
    local door status=0
    exec {door}>"$out/.lock"
    flock "$door"
    "$@" || status=$?
    exec {door}>&-
    return "$status"
}

sweep() { # what runs that were killed have left
    local folder
    for folder in "$out"/.converting-*/; do
        if flock -n "$folder/lock" true; then
            tool record settle "$folder" || continue
            take_away "$folder" || continue
            rm -rf -- "$folder" || true
        fi
    done
    sweep_halves
}

begin_work() { # FOLDER REPO [fixed]: locks it, under the name that is free now, or under this one
    alone prepare_work "$@" # of a repository sets folder, which may have been moved since
}

prepare_work() {
    [[ -z $2 ]] || folder=$(folder_of_repo "$2")
    if is_worked_on "$folder" "$2"; then
        reason=$worked_on
        return 1
    elif [[ -z $2 && ! -d $1 ]]; then
        reason="it is gone: another ov-convert-model has converted it"
        return 1
    fi
    read_names || return 1
    if [[ $# == 2 ]]; then
        unset "chosen[$name]"
        choose_name "$name"
    fi
    reason="$out can't be written: is its disk full?"
    work=$(mktemp -d -- "$out/.converting-XXXXXX") || return 1
    exec {held}>"$work/lock" || return 1
    flock "$held" && printf '%s' "$folder" >"$work/source" && printf '%s' "$2" >"$work/repo" &&
        printf '%s' "$name" >"$work/name" && mkdir -- "$work/tmp"
}

end_work() {
    [[ -z $work ]] || rm -rf -- "$work"
    [[ -z $held ]] || exec {held}>&-
    work="" held=""
}

enough_space() { # WEIGHTS
    local needed free
    needed=$(($(size_in "$form" "$1") + 300000000))
    free=$(free_in "$out")
    ((free >= needed)) && return
    reason="it needs about $(gigabytes "$needed") in $out, where $(gigabytes "$free") are free: make room, or set OV_MODEL_OUT"
    return 1
}

export_model() { # sets command
    command=("$environment/bin/optimum-cli" export openvino --model "$folder" --task "$task" --weight-format "$form")
    [[ $form != int4 ]] || command+=(--group-size-fallback adjust)
    case $task in feature-extraction | text-classification) command+=(--library transformers) ;; esac
    ((!trust)) || command+=(--trust-remote-code)
    command+=("$work/model")
    say "${command[*]@Q}"
    local status=0
    TMPDIR=$work/tmp HF_HUB_DISABLE_TELEMETRY=1 run "${command[@]}" || status=$?
    ((status)) || return 0
    reason="optimum-cli failed: $(last_words)"
    if ((status == deaf)); then reason="it can't be checked: $(unkept)"; fi
    ((status != 137)) || reason="the export was killed, probably because the memory was full: close other programs, or take a smaller model"
    if is_full "$out"; then reason="$full $out"; fi
    if grep -Fqs "trust_remote_code=True" -- "$heard"; then reason="it needs Python code of its repository: if you trust that, call it again with --trust-remote-code"; fi
    return 1
}

full="the disk is full, or takes no file so large: make room in"

is_full() { # FOLDER: whether the last program failed since that took no more
    grep -Eqs "No space left on device|Disk quota exceeded|File too large" -- "$heard" ||
        (($(free_in "$1") < 1000000))
}

unkept() {
    printf '%s' "what it said could not be kept whole: make room in $heard_in, or set TMPDIR"
}

last_words() {
    local line
    # without colours, and without what hf says of itself
    line=$(sed $'s/\e\\[[0-9;]*m//g' -- "$heard" | grep -v -e '^[[:space:]]*$' -e '^Set HF_DEBUG' -e '^Hint: ' | tail -n 1)
    printf '%s' "${line:-it said nothing, or nothing that could be kept}"
}

speaks() { # whether the model loads and says something, on the CPU
    ((verify)) || return 0
    say "Loading it and letting it speak ..."
    local status=0
    run env -C "$project" .venv/bin/python -m ov_server.sample "$work/model" --task "$task" || status=$?
    ((status)) || return 0
    reason="it was converted, but $(last_words)"
    if ((status == deaf)); then reason="it was converted, but $(unkept)"; fi
    return 1
}

write_record() {
    say "Writing down what it was made from ..."
    reason=$(tool record write "$work/model" name="$name" original="$folder" task="$task" weight_format="$form" \
        seconds=$((SECONDS - started)) keep_original="$keep" register="$register" environment="$environment" \
        -- "${command[@]}") && return
    reason="conversion.json can't be written${reason:+: $reason}"
    return 1
}

publish() { # sets target
    local why="is the disk full?"
    target=$out/$name/task-${task}__wf-$form
    mkdir -p -- "$out/$name" && sync -f -- "$work/model" && why=$(tool move rename "$work/model" "$target") && return
    rmdir -- "$out/$name" 2>/dev/null || true
    reason="$target can't be made: $why"
    return 1
}

# What follows when the folder has its final name: a run that is killed here is finished by the next.

finish() { # FOLDER NAME TARGET TASK FORMAT: sets doubt, to why the original stays where it should not
    doubt=""
    if ((register)); then
        enter "$2" "$3" "$4" "$5" || return 1
    fi
    if ((!keep)) && is_ours "$1"; then move_original "$1" "$3" || return 1; fi
}

enter() { # NAME PATH TASK FORMAT: into the registry; sets name, which somebody may have taken
    name=$1
    reason=$(tool registry "$registry" add "$name" "${@:2}") && return
    read_names || return 1
    grep -Fxq -- "$1" <<<"$registered" || return 1
    choose_name "$1"
    # its own word first: whoever is killed behind it is finished under that name, and not under two
    if is_conversion "$2" && [[ $(tool record name "$2") == "$1" ]]; then
        reason="its conversion.json can't be written: "
        reason+=$(tool record adopt "$2" "$name") || return 1
    fi
    reason=$(tool registry "$registry" add "$name" "${@:2}")
}

finish_earlier() { # what look_at_sources found: NAME, TASK, FORMAT, yes or no, PLACE, FOLDER
    local name=${1%%$'\t'*} rest=${1#*$'\t'} task form_made listed folder target
    task=${rest%%$'\t'*} rest=${rest#*$'\t'}
    form_made=${rest%%$'\t'*} rest=${rest#*$'\t'}
    listed=${rest%%$'\t'*} rest=${rest#*$'\t'}
    target=$out/${rest%%$'\t'*} folder=${rest#*$'\t'}
    begin_work "$folder" "" fixed || return 1
    [[ -e $target ]] || { reason="its conversion is gone: call the same again" && return 1; }
    [[ $listed == yes ]] || local register=0
    finish "$folder" "$name" "$target" "$task" "$form_made" || return 1
    if ((register)); then
        finished+=("$name: was converted before, and is finished now")
    elif [[ -n $(name_of "$target") ]]; then
        finished+=("$(name_of "$target"): was converted and registered before")
    else
        finished+=("$name: was converted before, and is not registered; to register it: $(import_of "$target")")
    fi
}
