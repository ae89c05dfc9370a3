"""What is wrong with a JSON value, as a person reads it: the place, and what is expected there.
Pure: from pydantic's findings to sentences; knows no field.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]
"""Keys and indices that lead from the whole value to a part of it."""

Finding = Mapping[str, Any]
"""One of `ValidationError.errors()`."""

_HALF = "holds half a surrogate pair, which is no character; send whole characters"
_NO_NUMBER = "it is NaN or infinite, which JSON does not have; send a number, or leave it out"

_SHAPES = {
    "string_type": ["a string"],
    "path_type": ["a string"],
    "int_type": ["a whole number"],
    "int_from_float": ["a whole number"],
    "float_type": ["a number"],
    "bool_type": ["true", "false"],
    "list_type": ["a list"],
    "dict_type": ["an object"],
    "model_type": ["an object"],
    "model_attributes_type": ["an object"],
    "literal_error": [],
}
"""By pydantic's name of the finding: what the value should have been."""

_BOUNDS = {
    "greater_than_equal": "it must be at least {ge}, and is {shown}",
    "greater_than": "it must be more than {gt}, and is {shown}",
    "less_than_equal": "it must be at most {le}, and is {shown}",
    "less_than": "it must be less than {lt}, and is {shown}",
    "finite_number": _NO_NUMBER,
    "missing": "it is required, and is missing",
    "string_too_short": "it must have at least {min_length} character{s}",
    "string_too_long": "it may have at most {max_length} characters, and has {length}",
    "string_unicode": f"it {_HALF}",
    "too_short": "it must hold at least {min_length} item{s}",
    "too_long": "it may hold at most {max_length} items, and holds {length}",
}
"""The same for values of the right shape."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """`said` is a sentence's end, about what stands at `place`."""

    place: Place
    said: str

    @property
    def path(self) -> str:
        """`messages[0].content`; empty for the whole value."""
        return path(self.place)


def path(place: Place) -> str:
    """As code would reach it: `tools[0].function["og:title"]`."""
    text = ""
    for part in place:
        step = part[:50] if isinstance(part, str) else part
        if isinstance(step, str) and re.fullmatch(r"[A-Za-z_][\w-]*", step, re.ASCII):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def explain(
    findings: Sequence[Finding], whole: Any, plain: Mapping[str, str] | None = None
) -> list[Mistake]:
    """What pydantic found in a value, in its order; of a union only what is wrong with the branch
    that was meant. `plain` has words for kinds of findings that need others here."""
    by_place: dict[Place, list[Finding]] = {}
    for finding in findings:
        by_place.setdefault(_place(finding, whole), []).append(finding)
    around = {place[:depth] for place in by_place for depth in range(len(place))}
    told: list[Mistake] = []
    for place, here in by_place.items():
        precise = [finding for finding in here if finding["type"] not in _SHAPES]
        if precise:
            told.append(Mistake(place, _sentence(precise[0], plain or {})))
        elif place not in around:  # else another branch has that shape, and fails further inside
            told.append(Mistake(place, _expected(here)))
    return told


def _place(finding: Finding, whole: Any) -> Place:
    """A finding's place in the value, without pydantic's names for the branches of unions."""
    place: list[str | int] = []
    for part in finding["loc"]:
        inside = isinstance(whole, dict) and part in whole
        if inside or (isinstance(whole, list) and isinstance(part, int) and part < len(whole)):
            place.append(part)
            whole = whole[part]
    if finding["type"] == "missing":
        place.append(finding["loc"][-1])
    return (*place, *finding.get("ctx", {}).get("place", ()))


def _sentence(finding: Finding, plain: Mapping[str, str]) -> str:
    kind, value = finding["type"], finding.get("input")
    facts = {name: _number(fact) for name, fact in finding.get("ctx", {}).items()}
    facts["shown"] = _shown(value)
    facts["s"] = "" if facts.get("min_length") == 1 else "s"
    facts["length"] = len(value) if isinstance(value, str | list) else 0
    words = plain.get(kind) or _BOUNDS.get(kind)
    return words.format_map(facts) if words else finding["msg"]


def _number(fact: Any) -> Any:
    """2 for 2.0."""
    return int(fact) if isinstance(fact, float) and fact.is_integer() else fact


def _expected(findings: Sequence[Finding]) -> str:
    """For a value that has the shape of no branch."""
    wanted: list[str] = []
    for finding in findings:
        texts = re.findall("'([^']*)'", finding.get("ctx", {}).get("expected", ""))
        wanted += _SHAPES[finding["type"]] or map(json.dumps, texts)
    *others, last = dict.fromkeys(wanted)
    options = f"{', '.join(others)} or {last}" if others else last
    return f"it must be {options}, and is {_shown(findings[0]['input'])}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return "something else"
    return text if len(text) <= 50 else f"{text[:50]}..."


def spoilt(whole: Any) -> Mistake | None:
    """The first string, key or number of a parsed JSON value that JSON can't carry, though Python's
    parser takes it: runtimes and templates fail on it, and don't say where."""
    if _is_json(whole):
        return None
    todo: list[tuple[_Steps | None, Any]] = [(None, whole)]
    while todo:
        steps, value = todo.pop()
        if isinstance(value, str):
            if not _is_text(value):
                return Mistake(_taken(steps), f"it {_HALF}")
        elif isinstance(value, float):
            if not math.isfinite(value):
                return Mistake(_taken(steps), _NO_NUMBER)
        elif isinstance(value, dict | list):
            inner = list(_parts(value))
            for key, _ in inner:
                if isinstance(key, str) and not _is_text(key):
                    return Mistake((*_taken(steps), key), f"its name {_HALF}")
            todo += [((steps, key), part) for key, part in reversed(inner)]
    return None


def _is_json(value: Any) -> bool:
    """Ten times as fast as the search for what is wrong, and all that most values need."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


_Steps = tuple[Any, str | int]
"""A place as its last step and those before."""


def _taken(steps: _Steps | None) -> Place:
    place: list[str | int] = []
    while steps is not None:
        steps, step = steps
        place.append(step)
    return tuple(reversed(place))


def _parts(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    yield from value.items() if isinstance(value, dict) else enumerate(value)


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
