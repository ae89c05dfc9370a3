"""How the converter's programs begin and end: what they say is of any text, and what nobody has
foreseen is one line with a remedy instead of a traceback. Standard library.
"""

import os
import sys
from collections.abc import Callable

REFUSED = 3


def say(text: str) -> None:
    sys.stdout.buffer.write(spelt(text))


def spelt(text: str) -> bytes:
    """File names may be of any bytes, and JSON's texts may hold half a surrogate pair."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def to_the_end(main: Callable[..., None]) -> None:
    """Calls it with the program's words."""
    try:
        main(*sys.argv[1:])
    except Exception as error:  # also where the memory is full, or JSON is too deep
        why = " ".join(f"{type(error).__name__} {error}".split())
        name = os.path.basename(sys.argv[0])
        say(f"{name} can't cope with what it found ({why}): move that away, or report this line\n")
        sys.exit(REFUSED)
