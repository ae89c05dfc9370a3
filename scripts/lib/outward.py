"""Links in a folder that have to survive its move. Standard library.

`outward.py FOLDER` makes relative links that lead out of it absolute, and those to its own files
that name it relative within it. Each is replaced by a rename and leads where it led, so it may end
anywhere in between. Exits with 3 and a reason on stdout when one can't be replaced.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import ending


def links(folder: Path) -> Iterator[Path]:
    """All below it; linked folders are not entered."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(place) / name).is_symlink():
                yield path


def lasting(link: Path, folder: Path) -> str:
    """What the link has to say so that it leads to the same file before and behind the move."""
    said = os.readlink(link)
    passed = [place.is_relative_to(folder) for place in _walk(link.parent, said)]
    if os.path.isabs(said) and not any(passed):
        return said
    if not os.path.isabs(said) and all(passed):
        return said
    end = _walk(link.parent, said)[-1]
    target = end.parent.resolve() / end.name
    return os.path.relpath(target, link.parent) if target.is_relative_to(folder) else str(target)


def _walk(start: Path, said: str) -> list[Path]:
    """The places that a link's text passes, with the links on its way followed."""
    places = [Path("/") if os.path.isabs(said) else start]
    for part in Path(said).parts:
        here = places[-1].resolve()
        places.append(here.parent if part == ".." else here / part)
    return places


def main(name: str) -> None:
    folder = Path(name).resolve()
    try:
        for link in links(folder):
            said = lasting(link, folder)
            if said != os.readlink(link):
                part = link.with_name(f".{link.name}.part")
                part.unlink(missing_ok=True)
                part.symlink_to(said)
                part.replace(link)
    except OSError as error:
        ending.say(f"{error.strerror}\n")
        sys.exit(ending.REFUSED)


if __name__ == "__main__":
    ending.to_the_end(main)
