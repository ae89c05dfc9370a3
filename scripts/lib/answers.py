"""What the scripts need of the server's JSON. With the standard library alone.

`answers.py models`: the models that the server can load (standard input), a line each: name,
state, pinned or not, and its aliases, between tabs. `load`: seconds and memory of a loaded model's
card. `error STATUS`: the message of a refusal. `path NAME`: a name as a part of an address.
Exits with 3 where an answer is none of our server's.
"""

import json
import sys
from urllib.parse import quote


def main(what: str, *more: str) -> None:
    if what == "path":
        print(quote(more[0], safe="/:@+"))
        return
    text = sys.stdin.read()
    if what == "models":
        for card in json.loads(text)["data"]:
            pinned = "pinned" if card["pinned"] else "free"
            if card["capabilities"]:
                print(card["id"], card["state"], pinned, *card["aliases"], sep="\t")
    elif what == "load":
        card = json.loads(text)
        print(f"{card['seconds']:8.1f} s {card['memory_mb']:7} MB")
    elif what == "error":
        print(message(text, more[0]))


def message(text: str, status: str) -> str:
    try:
        return " ".join(json.loads(text)["error"]["message"].split())
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the server answers {status}: {text.strip()[:200]}"


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, KeyError, TypeError, AttributeError):
        sys.exit(3)
