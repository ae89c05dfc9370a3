"""Folders that change their place. Standard library.

move.py rename FOLDER PLACE  a real rename, never a copy, to where nothing is yet
move.py same FOLDER COPY     nothing, where both hold the same names, of the same kinds and sizes

Exits with 3 and a reason on stdout when it can't be, and with 4 where only a copy would do.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator

REFUSED = 3
APART = 4


class Refused(Exception):
    """Nothing was changed; the message says why."""


def rename(folder: str, place: str) -> None:
    """A folder never replaces more than an empty one, also where that is made at this instant."""
    if os.path.lexists(place):
        raise Refused(f"something is at {place}")
    os.rename(folder, place)


def same(folder: str, copy: str) -> None:
    arrived = dict(entries(copy))
    for name, kind in entries(folder):
        if arrived.pop(name, None) != kind:
            raise Refused(f"{name!a} has not arrived whole")
    if arrived:
        raise Refused(f"{min(arrived)!a} has gone while it was copied")


def entries(folder: str) -> Iterator[tuple[str, tuple[int, int | str]]]:
    """Each name below it, with its kind, and with its bytes or what it leads to."""
    for place, folders, files in os.walk(folder, onerror=_refuse):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            seen = os.lstat(path)
            kind = stat.S_IFMT(seen.st_mode)
            facts: int | str = seen.st_size if stat.S_ISREG(kind) else 0
            if stat.S_ISLNK(kind):
                facts = os.readlink(path)
            yield os.path.relpath(path, folder), (kind, facts)


def _refuse(error: OSError) -> None:
    raise error


COMMANDS = {"rename": rename, "same": same}


def main(command: str, *words: str) -> None:
    try:
        COMMANDS[command](*words)
    except Refused as refused:
        reason, code = str(refused), REFUSED
    except OSError as error:
        reason, code = str(error.strerror), APART if error.errno == errno.EXDEV else REFUSED
    else:
        return
    sys.stdout.buffer.write(os.fsencode(f"{reason}\n"))
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
