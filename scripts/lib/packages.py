"""Whether this Python has the packages of a requirements.lock. Standard library.

`packages.py LOCK` prints how many there are; or, with exit code 3, which are not those of the lock.
A name may stand there for several systems: any of its versions will do, and none where each has a
condition.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)( ;)?", re.MULTILINE)


def main(lock: str) -> None:
    wanted: dict[str, set[str]] = {}
    always: set[str] = set()
    for name, pinned, condition in _PINNED.findall(Path(lock).read_text("utf-8")):
        wanted.setdefault(name, set()).add(pinned)
        if not condition:
            always.add(name)
    wrong = []
    for name, versions in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            wrong += [f"{name} is missing"] if name in always else []
        else:
            wrong += [] if found in versions else [f"{name} is {found}, not {min(versions)}"]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        print(", ".join(wrong[:5]) + more)
        sys.exit(3)
    print(len(wanted))


if __name__ == "__main__":
    main(sys.argv[1])
