# shellcheck shell=bash disable=SC2034,SC2154
# Where things lie: what a word means, and whether folders can be read and written. Sourced by
# ov-convert-model, whose settings it uses. Folders are compared by what they are, never by their text:
# ~/models, or a part of its path, may be a link.

place() { # PATH: absolute, links left as they are; but what .. means is known behind a link only
    local path=$1
    case $path in \~ | \~/*) path=$HOME${path:1} ;; esac
    case /$path/ in
        */../*) realpath -m -- "$path" ;;
        *) realpath -ms -- "$path" ;;
    esac
}

registry_of_service() { # what the service's settings say, where the shell says nothing
    local file=${XDG_CONFIG_HOME:-$HOME/.config}/ov-llm-server/ov-server.env line
    [[ -f $file && -r $file ]] || return 0
    while IFS= read -r -d '' line; do
        [[ $line != OV_REGISTRY_PATH=* ]] || printf '%s' "${line#*=}"
    done < <(tool envfile "$file")
}

# What a word means.

folder_of_word() { # WORD: sets folder, and repo where it is to be downloaded; else reason
    local word=$1 ours
    repo=""
    case $word in
        \~ | \~/*) word=$HOME${word:1} ;;
        . | .. | ./* | ../* | /*) ;;
        *)
            for ours in "$src" "$og"; do
                if [[ -d $ours/$word ]]; then settle "$ours/$word" && return; fi
            done
            ;;
    esac
    if [[ -d $word ]]; then
        settle "$word"
    elif [[ $word =~ ^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$ ]]; then
        folder=$(folder_of_repo "$word") repo=$word
    elif [[ $word == *.gguf && (-f $word || -f $src/$word) ]]; then
        reason="a GGUF file is served as it is: ov-convert-model --import $(printf '%q' "$word")"
        return 1
    else
        reason="there is no such folder in $src or here, and a repository is ORG/NAME"
        [[ $word != /* && $word != .* ]] || reason="there is no such folder"
        return 1
    fi
}

settle() { # PATH of a folder: sets folder, to one name for it however it is reached
    local path=$1 parent ours
    while [[ $path == ?*/ || $path == ?*/. ]]; do path=${path%/} path=${path%/.}; done
    case ${path##*/} in
        "" | . | ..) path=$(realpath -m -- "$path" && printf .) path=${path%$'\n.'} ;;
        *) # a link stays what it is called; a dot keeps a line's end at the end of a name
            [[ $path == */* ]] || path=./$path
            parent=$(realpath -m -- "${path%/*}/" && printf .) parent=${parent%$'\n.'}
            path=${parent%/}/${path##*/}
            ;;
    esac
    for ours in "$src" "$og"; do
        [[ ! ${path%/*}/ -ef $ours ]] || path=$ours/${path##*/}
    done
    folder=$path
}

holds_ours() { # FOLDER: whether more than a model would be moved with it; sets reason
    local real ours
    real=$(realpath -m -- "$1" && printf .)
    real=${real%$'\n.'}
    for ours in "$HOME" "$src" "$og" "$out"; do
        if [[ $(realpath -m -- "$ours")/ == "${real%/}"/* ]]; then
            reason="it is no model's folder, for it is or holds $ours: name the folder of one model"
            return 0
        fi
    done
    return 1
}

is_ours() { # FOLDER: whether it lies where originals are moved from, and nothing is served from it
    local used # sets doubt, where that is not known
    doubt=""
    [[ ${1%/*}/ -ef $src && ! -L $1 ]] || return 1
    used=$(tool registry "$registry" used "$1") || {
        doubt="its original stays where it is, for nobody knows whether a registered model lies in it: ${used:-an entry of $registry is broken}"
        return 1
    }
    [[ -z $used ]]
}

# Whether they can be used, which is known before any question is asked and any work begins.

unwritable() { # FOLDER, which may have to be made yet: sets reason
    local path=$1
    until [[ -e $path || -L $path ]]; do path=${path%/*} path=${path:-/}; done
    if [[ ! -e $path ]]; then
        reason="$path is a link to nothing: mount its disk, or mend it"
    elif [[ ! -d $path ]]; then
        reason="$path is a file: move it away"
    elif [[ ! -w $path || ! -x $path ]]; then
        reason="$path can't be written: give it to yourself, or make its disk writable"
    else
        return 1
    fi
}

no_source() { # whether models can't be looked for; sets reason
    reason="$src can't be read: give it to yourself, or set OV_MODEL_SRC"
    if [[ -d $src ]]; then
        [[ ! -r $src || ! -x $src ]]
    elif [[ -e $src ]]; then
        reason="$src is no folder: correct OV_MODEL_SRC"
    else
        reason="there is no folder $src: make it, or correct OV_MODEL_SRC"
        [[ -z ${OV_MODEL_SRC:-} ]] || reason="there is no folder $src, as OV_MODEL_SRC says: make it, mount its disk, or correct that"
        # the one that nobody named is made for the first download
        [[ -n ${OV_MODEL_SRC:-} || -L $src || ${#words[@]} == 0 ]]
    fi
}

no_names() { # what the registry's folder lies in may be the cause
    local why=$reason
    ! unwritable "$out" || die "Conversions go to $out, and $reason; or set OV_MODEL_OUT."
    die "$why"
}

check_registry() { # [REMEDY]
    reason=$(tool registry "$registry" writable) || die "$reason${1:+$1}"
}

check_places() { # for what was found: where results, names, downloads and originals go
    local i moves=${#unfinished[@]} loads=0
    ! unwritable "$out" || die "Conversions go to $out, and $reason; or set OV_MODEL_OUT."
    ((!register)) || check_registry ", or leave it out with --no-register"
    for i in "${!folders[@]}"; do
        if [[ -n ${repos[i]} ]]; then
            loads=1
        elif [[ ${folders[i]%/*}/ -ef $src && ! -L ${folders[i]} ]]; then
            moves=1
        fi
    done
    ((!loads)) || ! unwritable "$src" || die "Downloads go to $src, and $reason; or set OV_MODEL_SRC."
    ((!keep && (moves || loads))) || return 0
    ! unwritable "$src" || die "Originals are moved away from $src, and $reason; or let them stay, with --keep-original."
    ! unwritable "$og" || die "Originals are moved to $og, and $reason; or set OV_MODEL_OG, or let them stay, with --keep-original."
}
