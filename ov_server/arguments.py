"""The arguments of a call as JSON text, in each of the ways that models write them, and back.

The readers are generators that take a character with each `yield` and put what they find into
`out`. Each is given its first character, and returns the first that is not its own. Pure.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from .grammars.styles import no_string
from .toolformats import BRACED, JSON, KEYWORDS, PARAMETERS, QUOTE


@dataclass(frozen=True, slots=True)
class Call:
    """A call begins: its function's name is known. Pieces of its arguments follow."""

    name: str


class Malformed(ValueError):
    """The text is not one of calls in this format."""


Reader = Generator[None, str, str]
Rest = Generator[None, str, None]
"""A reader that takes no character beyond its own last one."""
Parts = list[Call | str | None]
"""None ends a call's arguments."""

Kinds = Mapping[str, Mapping[str, frozenset[str]]]
"""By function and parameter: the types that JSON Schema admits for it; integers are numbers. Those
of parameters that no schema names stand under "". Where strings stand bare, they tell the string 5
from the number."""


def blank(character: str) -> Reader:
    while character.isspace():
        character = yield
    return character


def literal(text: str, character: str) -> Reader:
    for expected in "".join(text.split()):
        character = yield from blank(character)
        if character != expected:
            raise Malformed(f"{character!r} stands where {expected!r} of {text!r} is expected")
        character = yield
    return character


def bare_name(stop: str, character: str) -> Generator[None, str, tuple[str, str]]:
    name = ""
    while character != stop:
        name += character
        character = yield
    return name.strip(), character


def _until(write: Callable[[str], None], held: str, *marks: str) -> Rest:
    """A text up to where a mark is complete; of several that end there the first one is meant.
    `held` is its beginning. What may become a mark is held back."""
    while (mark := next((mark for mark in marks if held.endswith(mark)), None)) is None:
        free = len(held) - max(overlap(held, mark) for mark in marks)
        write(held[:free])
        held = held[free:] + (yield)
    write(held.removesuffix(mark))


def overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that `mark` begins with, short of all of it."""
    longest = min(len(text), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)


# JSON.


def read_object(out: Parts, character: str) -> Reader:
    """A JSON object, as it is."""
    character = yield from blank(character)
    if character != "{":
        raise Malformed(f"{character!r} stands where an object is expected")
    yield from _brackets(out, character)
    out.append(None)
    return (yield)


def _brackets(out: Parts, character: str) -> Rest:
    """A JSON object or array, as it is, up to its closing bracket."""
    depth = 0
    while True:
        out.append(character)
        if character == '"':
            yield from _string(out)
        depth += (character in "{[") - (character in "}]")
        if not depth:
            return
        character = yield


def _string(out: Parts) -> Rest:
    """The rest of a JSON string, up to its closing quote."""
    escaped = False
    while True:
        character = yield
        out.append(character)
        if character == '"' and not escaped:
            return
        escaped = character == "\\" and not escaped


# Python's keyword arguments.

_WORDS = {"True": "true", "False": "false", "None": "null"}


def read_keywords(out: Parts, character: str) -> Reader:
    """`a=1, b="x"` up to the parenthesis that ends it, as a JSON object."""
    out.append("{")
    character = yield from blank(character)
    while character != ")":
        key, character = yield from bare_name("=", character)
        out.append(f"{json.dumps(key)}: ")
        character = yield from blank((yield))
        character = yield from _value(out, character)
        if character == ",":
            character = yield from blank((yield))
            out.append(", " if character != ")" else "")
    out += ["}", None]
    return character


def _value(out: Parts, character: str) -> Reader:
    """A Python literal with strings as in JSON, up to a comma or parenthesis of the call's own."""
    depth, word = 0, ""
    while depth or character not in ",)":
        if character.isalnum() or character in "_.+-":
            word += character
        else:
            out.append(_WORDS.get(word, word))
            word = ""
            if depth or not character.isspace():
                out.append(character)
            if character == '"':
                yield from _string(out)
        depth += (character in "{[") - (character in "}]")
        character = yield
    out.append(_WORDS.get(word, word))
    return character


# Gemma's braces.


def read_braced(out: Parts, character: str) -> Reader:
    """`{a:1,b:<|"|>x<|"|>}` as a JSON object."""
    nested = ""
    while True:
        if character in "{[":
            nested += character
            out.append(character)
            character = yield
            if nested[-1] == "{" and character != "}":
                character = yield from _key(out, character)
        elif character in "}]":
            nested = nested[:-1]
            out.append(character)
            if not nested:
                out.append(None)
                return (yield)
            character = yield
        elif character == ",":
            out.append(", ")
            character = yield from blank((yield))
            if nested[-1] == "{":
                character = yield from _key(out, character)
        elif character == QUOTE[0]:
            character = yield from literal(QUOTE[1:], (yield))
            out.append('"')
            yield from _until(_bare_into(out), character, QUOTE)
            out.append('"')
            character = yield
        else:
            out.append(character)
            character = yield


def _key(out: Parts, character: str) -> Reader:
    key, character = yield from bare_name(":", character)
    out.append(f"{json.dumps(key.strip(chr(34)), ensure_ascii=False)}: ")
    return (yield from blank((yield)))


def _bare_into(out: Parts) -> Callable[[str], None]:
    """Writes pieces of a bare text as they stand in a JSON string."""
    return lambda text: out.append(json.dumps(text, ensure_ascii=False)[1:-1])


# Tags.

_CLOSING = ("\n</parameter>", "</parameter>")
_ANYTHING = frozenset({"object", "array", "string", "number", "boolean", "null"})


def read_parameters(out: Parts, kinds: Mapping[str, frozenset[str]], character: str) -> Reader:
    """`<parameter=a>` value `</parameter>` ... `</function>`, as a JSON object."""
    out.append("{")
    separator = ""
    while True:
        tag, _ = yield from bare_name(">", (yield from blank(character)))
        if tag == "</function":
            out += ["}", None]
            return (yield)
        if not tag.startswith("<parameter="):
            raise Malformed(f"{tag!r} stands where a parameter is expected")
        key = tag.removeprefix("<parameter=")
        out.append(f"{separator}{json.dumps(key, ensure_ascii=False)}: ")
        separator = ", "
        character = yield
        if character == "\n":
            character = yield
        known = kinds.get(key, kinds.get("", _ANYTHING))
        if known == {"string"}:
            out.append('"')
            yield from _until(_bare_into(out), character, *_CLOSING)
            out.append('"')
            character = yield
        else:
            character = yield from _typed(out, known, character)


def _typed(out: Parts, kinds: frozenset[str], character: str) -> Reader:
    """A value that tells its type itself, up to behind its closing tag."""
    if {"{": "object", "[": "array"}.get(character) in kinds:
        yield from _brackets(out, character)
        return (yield from literal(_CLOSING[-1], (yield)))
    pieces: list[str] = []
    yield from _until(pieces.append, character, *_CLOSING)
    text = "".join(pieces)
    bare = "string" in kinds and not re.fullmatch(no_string(kinds), text)
    out.append(json.dumps(text, ensure_ascii=False) if bare else text)
    return (yield)


# The other way round.


def _as_keywords(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_as_python(value)}" for key, value in arguments.items())


def _as_python(value: Any) -> str:
    """With strings as in JSON, which Python reads as well."""
    if isinstance(value, Mapping):
        members = (f"{_dumped(key)}: {_as_python(inner)}" for key, inner in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_python, value)) + "]"
    return repr(value) if value is None or isinstance(value, bool) else _dumped(value)


def _as_parameters(arguments: Mapping[str, Any]) -> str:
    texts = {k: v if isinstance(v, str) else _dumped(v) for k, v in arguments.items()}
    tags = (f"<parameter={key}>\n{text}\n</parameter>\n" for key, text in texts.items())
    return "".join(tags) + "</function>"


def _as_braces(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_braces(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_as_braces, value)) + "]"
    return f"{QUOTE}{value}{QUOTE}" if isinstance(value, str) else _dumped(value)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


WRITERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    JSON: _dumped,
    KEYWORDS: _as_keywords,
    PARAMETERS: _as_parameters,
    BRACED: _as_braces,
}
