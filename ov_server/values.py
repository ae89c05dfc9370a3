"""How much work a text of JSON is, found out without parsing it, and a value of it for those who
render it. Pure.

Parsing and checking hold the event loop, and with it every stream, for one to five microseconds a
value, however short the text is that they stand in.
"""

from collections.abc import Sequence
from typing import Any

MOST_VALUES = 100_000
"""In one request. An honest conversation of a few hundred kilobytes has some thousand."""

_MOST_SQUARES = 5_000_000
"""Of the numbers of all objects' members. The engine of chat templates looks for each member of an
object by passing all others, 30 ns each, and holds Python's lock: 20000 in one object take 13 s."""


def crowded(*texts: bytes, most: int = MOST_VALUES) -> bool:
    """Whether texts of JSON hold more values than that, all together; 8 ms for 16 MB, 100 at worst.

    Most texts are told by three fast counts. What is over the limit with them may be commas inside
    of strings: those are cut out."""
    if sum(map(_marks, texts)) <= most:
        return False
    return sum(_values(text, most) for text in texts) > most


def _values(text: bytes, most: int) -> int:
    """How many, or a number above `most`."""
    if b"\0" in text:
        return most + 1  # UTF-16 or UTF-32, whose bytes tell no quotes
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 4 * most:
        return most + 1  # each value may be a string, and have a name
    between: Sequence[bytes] = plain.split(b'"')[::2]
    return _marks(b" ".join(between))


def _marks(text: bytes) -> int:
    """What begins a list or an object, or parts two values."""
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def unwieldy(value: Any) -> bool:
    """Whether a parsed value has objects of so many members that to render it takes long: one of
    2200, or a hundred of 220."""
    squares, todo = 0, [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, dict):
            squares += len(inner) ** 2
            todo += inner.values()
        elif isinstance(inner, list | tuple):
            todo += inner
    return squares > _MOST_SQUARES
