"""How much of a repository has still to come, by what `hf download --dry-run --json` printed.
Standard library.

`room.py FOLDER PRINTED` prints the bytes without those that lie in FOLDER: of whole files, which hf
leaves out itself, and of parts. Prints 0 where it can't be told.
"""

import json
from pathlib import Path

import ending

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}


def needed(folder: Path, printed: str) -> int:
    try:
        there = sum(part.stat().st_size for part in (folder / ".cache").rglob("*.incomplete"))
        return max(0, sum(_bytes(file["size"]) for file in json.loads(printed)) - there)
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def _bytes(said: str) -> int:
    """Of '32.0M', or of '-' for what is there."""
    if said == "-":
        return 0
    unit = _UNITS.get(said[-1:], 1)
    return round(float(said.rstrip("".join(_UNITS))) * unit)


def main(folder: str, printed: str) -> None:
    text = Path(printed).read_text("utf-8", "replace")
    ending.say(f"{needed(Path(folder), text)}\n")


if __name__ == "__main__":
    ending.to_the_end(main)
