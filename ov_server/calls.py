"""The text of tool calls, as it comes, to the names and arguments of the calls.

Reads what `toolformats` describes; arguments come out as JSON, whatever the model writes. Pure.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from .arguments import (
    WRITERS,
    Call,
    Kinds,
    Malformed,
    Parts,
    Reader,
    bare_name,
    blank,
    literal,
    read_braced,
    read_keywords,
    read_object,
    read_parameters,
)
from .toolformats import BRACED, JSON, KEYWORDS, NAME, PARAMETERS, ToolFormat


class CallParser:
    """Reads the calls of one answer, from behind the opening marker."""

    def __init__(self, form: ToolFormat, kinds: Kinds):
        self.open = False
        """Whether a call's name is known and its arguments are not complete."""
        self._parts: Parts = []
        self._machine = _calls(form, kinds, self._parts)
        next(self._machine)

    def feed(self, text: str) -> list[Call | str]:
        """A Call for each call that begins, and the pieces of its arguments as JSON text. Raises
        Malformed where the text is none of the format's."""
        for character in text:
            self._machine.send(character)
        pieces: list[Call | str] = []
        for part in self._parts:
            if isinstance(part, str) and pieces and isinstance(pieces[-1], str):
                pieces[-1] += part
            elif part:
                pieces.append(part)
        if marks := [part for part in self._parts if not isinstance(part, str)]:
            self.open = marks[-1] is not None
        self._parts.clear()
        return pieces


def _calls(form: ToolFormat, kinds: Kinds, out: Parts) -> Generator[None, str, None]:
    character = yield from literal(form.begin, (yield))
    while True:
        character = yield from _call(form, kinds, out, character)
        character = yield from literal(form.end, character)
        character = yield from blank(character)
        if form.finish and character == form.finish[0]:
            character = yield from literal(form.finish, character)
            character = yield from blank(character)
            raise Malformed(f"{character!r} follows the calls")
        if not form.again:
            raise Malformed(f"{character!r} follows the call")
        character = yield from literal(form.again, character)


def _call(form: ToolFormat, kinds: Kinds, out: Parts, character: str) -> Reader:
    name = ""
    for part in form.call:
        if part == NAME:
            name, character = yield from bare_name(name_end(form), character)
            out.append(Call(name))
        elif part == JSON:
            character = yield from read_object(out, character)
        elif part == KEYWORDS:
            character = yield from read_keywords(out, character)
        elif part == PARAMETERS:
            character = yield from read_parameters(out, kinds.get(name, {}), character)
        elif part == BRACED:
            character = yield from read_braced(out, character)
        else:
            character = yield from literal(part, character)
    return character


def name_end(form: ToolFormat) -> str:
    """The character by which a function's name is known to be over."""
    part = form.call[form.call.index(NAME) + 1]
    return "{" if part in (JSON, BRACED) else part[0]


def written(form: ToolFormat, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Calls as a model of the family writes them; the arguments are values."""
    texts = [
        "".join(
            name if part == NAME else WRITERS[part](arguments) if part in WRITERS else part
            for part in form.call
        )
        + form.end
        for name, arguments in calls
    ]
    return form.opening + form.begin + form.again.join(texts) + form.finish
