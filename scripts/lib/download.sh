# shellcheck shell=bash disable=SC2034,SC2154
# A repository's files, into its folder. Sourced by ov-convert-model, whose settings it uses; a download
# that fails sets `reason` and returns 1.

download_mark=.ov-download.json

folder_of_repo() { # ORG/NAME: the folder where it is, or is to be
    local folder
    for folder in "$src/${1#*/}" "$og/${1#*/}" "$src/${1/\//--}" "$og/${1/\//--}"; do
        if grep -Fqs "\"$1\"" -- "$folder/$download_mark"; then
            printf '%s' "$folder"
            return
        fi
    done
    if [[ -e $src/${1#*/} ]]; then printf '%s' "$src/${1/\//--}"; else printf '%s' "$src/${1#*/}"; fi
}

is_whole_download() { # FOLDER ORG/NAME
    grep -Fqs '"whole": true' -- "$1/$download_mark"
}

download() { # ORG/NAME FOLDER
    mkdir -p -- "$2" || { reason="$2 can't be made" && return 1; }
    printf '{"repo": "%s", "whole": false}\n' "$1" >"$2/$download_mark"
    # other forms of the same weights, and what belongs to other programs
    local others=('*.gguf' '*.onnx' 'onnx/*' '*.h5' '*.msgpack' '*.pth' '*.tflite' 'original/*'
        'consolidated*' 'coreml/*' 'openvino/*' 'metal/*' 'flax_*' 'tf_*' 'rust_*')
    local try get=("$environment/bin/hf" download "$1" --local-dir "$2")
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
    printf '{"repo": "%s", "whole": true}\n' "$1" >"$2/$download_mark"
}

forget_empty() { # FOLDER: where nothing of it has come
    local files=("$1"/*) parts
    parts=$(find "$1/.cache" -name '*.incomplete' -size +0 2>/dev/null) || true
    [[ ${#files[@]} -gt 0 || -n $parts ]] || rm -rf -- "$1"
}
