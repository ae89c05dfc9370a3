"""The arguments of a call as JSON text, in each of the ways that models write them, and back.

The readers are generators that take a character with each `yield` and put what they find into
`out`. Each is given its first character, and returns the first that is not its own. Pure.
"""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from .toolformats import BRACED, JSON, KEYWORDS, PARAMETERS, QUOTE


@dataclass(frozen=True, slots=True)
class Call:
    """A call begins: its function's name is known. Pieces of its arguments follow."""

    name: str


class Malformed(ValueError):
    """The text is not one of calls in this format."""


Reader = Generator[None, str, str]
Parts = list[Call | str | None]
"""None ends a call's arguments."""

Kinds = Mapping[str, Mapping[str, frozenset[str]]]
"""By function and parameter: the types that JSON Schema admits for it. Formats that do not write
JSON need them to tell the string 5 from the number."""


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


def read_object(out: Parts, character: str) -> Reader:
    """A JSON object, as it is."""
    character = yield from blank(character)
    if character != "{":
        raise Malformed(f"{character!r} stands where an object is expected")
    depth = 0
    while True:
        out.append(character)
        if character == '"':
            yield from _string(out)
        depth += (character in "{[") - (character in "}]")
        if not depth:
            out.append(None)
            return (yield)
        character = yield


def _string(out: Parts) -> Generator[None, str, None]:
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
    """`a=1, b='x'` up to the parenthesis that ends it, as a JSON object."""
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
    """A Python literal up to a comma or parenthesis of the call's own."""
    depth, word = 0, ""
    while depth or character not in ",)":
        if character.isalnum() or character in "_.+-":
            word += character
        else:
            out.append(_WORDS.get(word, word))
            word = ""
            if character in "\"'":
                yield from _quoted(out, character)
            elif not (character.isspace() and not depth):
                out.append(character)
        depth += (character in "{[(") - (character in "}])")
        character = yield
    out.append(_WORDS.get(word, word))
    return character


def _quoted(out: Parts, quote: str) -> Generator[None, str, None]:
    """The rest of a Python string as a JSON string."""
    out.append('"')
    if quote == '"':
        yield from _string(out)
        return
    while (character := (yield)) != quote:
        if character == "\\":
            character = yield
            out.append(character if character == "'" else "\\" + character)
        else:
            out.append(json.dumps(character, ensure_ascii=False)[1:-1])
    out.append('"')


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
            yield from literal(QUOTE[1:-1], (yield))
            yield from _marked(out)
            character = yield
        else:
            out.append(character)
            character = yield


def _key(out: Parts, character: str) -> Reader:
    key, character = yield from bare_name(":", character)
    out.append(f"{json.dumps(key.strip(chr(34)), ensure_ascii=False)}: ")
    return (yield from blank((yield)))


def _marked(out: Parts) -> Generator[None, str, None]:
    """The rest of a string up to its mark, as a JSON string."""
    out.append('"')
    held = ""
    while True:
        held += yield
        if held.endswith(QUOTE):
            out.append(f'{json.dumps(held.removesuffix(QUOTE), ensure_ascii=False)[1:-1]}"')
            return
        free = len(held) - next(
            n for n in range(len(QUOTE) - 1, -1, -1) if held.endswith(QUOTE[:n])
        )
        out.append(json.dumps(held[:free], ensure_ascii=False)[1:-1])
        held = held[free:]


# Tags.

_CLOSING = "</parameter>"


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
        if kinds.get(key) == {"string"}:
            yield from _text(out)
        else:
            value: Parts = []
            yield from _text(value, in_json="string" not in kinds.get(key, {"string"}))
            out.append(_as_json(str(json.loads("".join(map(str, value)))), kinds.get(key)))
        character = yield


def _text(out: Parts, *, in_json: bool = False) -> Generator[None, str, None]:
    """A value up to its closing tag, as a JSON string; a line break at either end is the tags'.
    `in_json`: the value is JSON, in whose strings the tag closes nothing."""
    out.append('"')
    held, first = "", True
    while True:
        held += yield
        if in_json and held[-1] == '"':
            inside: Parts = []
            yield from _string(inside)
            out.append(json.dumps(held + "".join(map(str, inside)), ensure_ascii=False)[1:-1])
            held, first = "", False
            continue
        if first:
            held, first = held.removeprefix("\n"), False
        if held.endswith(_CLOSING):
            rest = held.removesuffix(_CLOSING).removesuffix("\n")
            out.append(json.dumps(rest, ensure_ascii=False)[1:-1] + '"')
            return
        free = len(held) - len(_CLOSING) - 1
        tail = next((i for i in range(max(free, 0), len(held)) if _may_close(held[i:])), len(held))
        out.append(json.dumps(held[:tail], ensure_ascii=False)[1:-1])
        held = held[tail:]


def _may_close(text: str) -> bool:
    return _CLOSING.startswith(text) or f"\n{_CLOSING}".startswith(text)


def _as_json(text: str, kinds: frozenset[str] | None) -> str:
    """A value whose type the tags do not tell: JSON if it is any of a type that fits."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    fits = kinds is None or "string" not in kinds or kind_of(value) & kinds
    return text.strip() if fits else json.dumps(text, ensure_ascii=False)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def kind_of(value: object) -> frozenset[str]:
    """The types that JSON Schema gives a value; 5 is an integer and a number."""
    match value:
        case None:
            return frozenset({"null"})
        case bool():
            return frozenset({"boolean"})
        case int():
            return frozenset({"integer", "number"})
        case float():
            return frozenset({"integer", "number"} if value.is_integer() else {"number"})
        case str():
            return frozenset({"string"})
        case list():
            return frozenset({"array"})
    return frozenset({"object"})


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
