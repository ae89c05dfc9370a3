# shellcheck shell=bash disable=SC2034,SC2154
# A repository's files, into its folder. Sourced by ov-convert-model, whose settings it uses; a download
# that fails sets `reason` and returns 1.

download_mark=.ov-download.json

folder_of_repo() { # ORG/NAME: the folder where it is, or is to be
    local folder
    for folder in "$src/${1#*/}" "$og/${1#*/}" "$src/${1/\//--}" "$og/${1/\//--}"; do
        if grep -D skip -Fqs "\"$1\"" -- "$folder/$download_mark"; then
            printf '%s' "$folder"
            return
        fi
    done
    folder=$src/${1#*/} # unless that is another one, or a link to nothing
    [[ ! -e $folder && ! -L $folder && $folder != "$og" && $folder != "$out" ]] || folder=$src/${1/\//--}
    printf '%s' "$folder"
}

is_whole_download() { # FOLDER
    grep -D skip -Fqs '"whole": true' -- "$1/$download_mark"
}

to_be_downloaded() { # FOLDER of a repository: whether it is not whole, or was, and misses something now
    ! is_whole_download "$1" || { [[ ${1%/*}/ -ef $src ]] && ! tool source "$1" "$task_asked" >/dev/null; }
}

made_meanwhile() { # FOLDER of a repository that was not whole: whether another run has converted it since
    local facts task done_as task_made form_made
    [[ -z $name_asked ]] && is_whole_download "$1" && facts=$(tool source "$1" "$task_asked") || return 1
    IFS=$'\t' read -r task _ <<<"$facts"
    while IFS=$'\t' read -r done_as _ task_made form_made _; do
        [[ -n $done_as && $task_made == "$task" && $form_made == "$form" ]] || continue
        reason="it is converted already, as $done_as; --name NAME makes another one of it"
        return 0
    done <<<"$(tool record find "$out" "$1")"
    return 1
}

mark_download() { # ORG/NAME FOLDER true|false: whether it is whole
    local part=$2/$download_mark.part
    reason="$2 can't be written: is its disk full?"
    mkdir -p -- "$2" && rm -f -- "$part" && printf '{"repo": "%s", "whole": %s}\n' "$1" "$3" >"$part" &&
        mv -T -f -- "$part" "$2/$download_mark"
}

enough_room() { # FOLDER COMMAND...: whether what the download still brings fits; what can't be known does
    local bytes free
    ask "${@:2}" --dry-run --json || return 0
    bytes=$(tool room "$1" "$heard") && free=$(free_in "$1") || return 0
    ((bytes > free)) || return 0
    reason="its download needs $(gigabytes "$bytes") in $src, where $(gigabytes "$free") are free: make room, or set OV_MODEL_SRC"
    return 1
}

download() { # ORG/NAME FOLDER
    mark_download "$1" "$2" false || { forget_empty "$2"; return 1; }
    # other forms of the same weights, and what belongs to other programs
    local others=('*.gguf' '*.onnx' 'onnx/*' '*.h5' '*.msgpack' '*.pth' '*.tflite' 'original/*'
        'consolidated*' 'coreml/*' 'openvino/*' 'metal/*' 'flax_*' 'tf_*' 'rust_*')
    local try get=("$environment/bin/hf" download "$1" --local-dir "$2")
    enough_room "$2" "${get[@]}" "${others[@]/#/--exclude=}" || { forget_empty "$2"; return 1; }
    for try in 1 2 3 4 5 6; do
        # one file first: its errors tell why, where those of a whole repository pass over them
        if run "${get[@]}" config.json && run "${get[@]}" "${others[@]/#/--exclude=}" &&
            ! grep -Fqs "Returning existing local_dir" -- "$heard"; then
            break
        fi
        if grep -Eiqs "Repository ?Not ?Found|Gated ?Repo|Access denied|Entry ?Not ?Found|File not found|Client error '40[134]" -- "$heard"; then
            reason="the hub does not give it ($(last_words)): correct its name; a gated one needs your consent on its page, and ${environment@Q}/bin/hf auth login"
            forget_empty "$2"
            return 1
        fi
        if is_full "$2"; then
            reason="$full $src; the same call goes on where it stopped"
            forget_empty "$2"
            return 1
        fi
        reason="its download broke off ($(last_words)): call the same again, and it goes on where it stopped"
        if grep -Eqs "ConnectError|Connection refused|Name or service not known|Temporary failure in name|Network is unreachable|client has been closed" -- "$heard"; then
            reason="the hub can't be reached (${HF_ENDPOINT:-see hf env}): look at the network, and call the same again"
        fi
        if ((try == 6)); then
            forget_empty "$2"
            return 1
        fi
        say "The download broke off, and goes on in $((try * 2)) s."
        sleep $((try * 2))
    done
    mark_download "$1" "$2" true
}

forget_empty() { # FOLDER: where nothing of it has come
    local come
    come=$(find "$1" -name .cache -prune -o -type f ! -name "$download_mark*" -print -quit 2>/dev/null) || return 0
    [[ -n $come ]] || come=$(find "$1/.cache" -name '*.incomplete' -size +0 -print -quit 2>/dev/null) || true
    [[ -n $come ]] || rm -rf -- "$1"
}
