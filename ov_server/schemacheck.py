"""Whether a JSON text fits its schema, by the library jsonschema: the last word on an answer."""

import json
import re
from collections.abc import Iterator
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from .grammars.automata import Automaton, TooLarge
from .grammars.claims import SchemaError, draft_of
from .grammars.patterns import PatternError, matching

_DIGITS = Context(prec=1000)
"""More than two numbers of JSON can be apart."""

Errors = Iterator[jsonschema.ValidationError]


def fits(schema: Any, text: str) -> bool:
    """Whether the text is JSON of a value that fits. Schemas elsewhere are not fetched, and names
    of properties are matched as Python does: what depends on what can't be told is taken to fit."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    try:
        draft = draft_of(schema)
    except SchemaError:
        return True
    check = extend(draft, {"pattern": _pattern, "multipleOf": _multiple})
    checker = draft.FORMAT_CHECKER
    try:
        return check(schema, registry=Registry(), format_checker=checker).is_valid(value)
    except (Unresolvable, re.error):
        return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _pattern(check: Validator, pattern: str, value: Any, schema: Any) -> Errors:
    """In the dialect of JSON Schema, not of Python."""
    automaton = _automaton(pattern)
    if isinstance(value, str) and automaton is not None and not automaton.holds(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


@lru_cache(256)
def _automaton(pattern: str) -> Automaton | None:
    """None when it can't be told what the pattern holds."""
    try:
        return matching(pattern)
    except (PatternError, TooLarge):
        return None


def _multiple(check: Validator, step: float, value: Any, schema: Any) -> Errors:
    """On the digits that were written: 0.3 is a multiple of 0.1, though not as binary numbers."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and _DIGITS.remainder(Decimal(str(value)), Decimal(str(step))):
        yield jsonschema.ValidationError(f"{value} is no multiple of {step}")
