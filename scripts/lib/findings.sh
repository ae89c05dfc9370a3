# shellcheck shell=bash disable=SC2034
# The lines of ov-doctor's page, and how many findings of each kind there are.

broken=0 notes=0 told=$'\n'
red="" yellow="" bold="" plain=""
if [[ -t 1 ]]; then red=$'\e[31m' yellow=$'\e[33m' bold=$'\e[1m' plain=$'\e[0m'; fi

group() { # TITLE
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

ok() { # TEXT
    printf '  ok    %s\n' "$1"
}

note() { # TEXT REMEDY: it works, and the owner should know
    notes=$((notes + 1)) told+=$1$'\n'
    printf '  %snote%s  %s\n          mend: %s\n' "$yellow" "$plain" "$1" "$2"
}

bad() { # TEXT REMEDY: it is broken
    broken=$((broken + 1)) told+=$1$'\n'
    printf '  %sBAD%s   %s\n          mend: %s\n' "$red" "$plain" "$1" "$2"
}

is_told() { # WHAT THE SERVER SAYS: whether a finding is about the same entry, or of the registry's file
    local said=${1#registry: }
    [[ $told == *$'\n'"${said%%: *}: "* || $told == *": $said"$'\n'* ]]
}

skipped() { # TEXT
    printf '  --    not checked: %s\n' "$1"
}

report() { # from standard input: a finding a line, with tabs between; `is NAME VALUE` fills `facts`
    local level text remedy
    while IFS=$'\t' read -r level text remedy; do
        case $level in
            is) facts["$text"]=$remedy ;;
            ok) ok "$text" ;;
            note) note "$text" "$remedy" ;;
            bad) bad "$text" "$remedy" ;;
        esac
    done
}

summary() {
    echo
    if ((broken + notes == 0)); then
        echo "All is well."
    else
        echo "$broken broken, $notes to know. Call ov-doctor again when you have mended something."
    fi
}
