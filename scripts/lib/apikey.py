"""The key that a script shows to the server of this machine. Standard library.

Prints the first key of OV_API_KEYS that is for all models, else its first, and nothing where there
is none or its file can't be read. The server (ov_server/keys.py) says what is wrong with them.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def keys(said: str) -> Iterator[tuple[bool, str]]:
    """Each key, and whether it is for some models only."""
    if not said.startswith(("/", "~", "./", "../")):
        for item in said.split(","):
            name, equals, key = item.strip().partition("=")
            yield False, key if equals else name
        return
    path = Path(said).expanduser()
    if path.is_file():
        for line in path.read_text("utf-8-sig").split("\n"):
            words = line.split()
            if len(words) > 1 and not words[0].startswith("#"):
                yield any(word.startswith("models=") for word in words[2:]), words[1]


if __name__ == "__main__":
    with suppress(OSError, ValueError, RuntimeError):
        found = list(keys(os.environ.get("OV_API_KEYS", "")))
        print(min(found, key=lambda one: one[0], default=(False, ""))[1])
