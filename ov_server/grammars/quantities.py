"""Numbers: which of them a case admits, and their text in JSON."""

from collections.abc import Callable
from decimal import Decimal
from functools import reduce
from typing import Any

from .automata import Automaton, TooLarge, both, minimal, without
from .decimals import (
    any_integer,
    any_number,
    compared,
    integers,
    multiples,
    plain_numbers,
    whole,
)
from .demands import Case, Keyword, Unenforced
from .grammar import EMPTY, Characters, Node, literal
from .loops import Ranges, written
from .rulebook import Rulebook

LARGEST = 400
"""States of what is written; beyond, `multipleOf` is left out."""

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

_ORDERS: dict[str, Callable[[int], bool]] = {
    "minimum": lambda order: order >= 0,
    "maximum": lambda order: order <= 0,
    "exclusiveMinimum": lambda order: order > 0,
    "exclusiveMaximum": lambda order: order < 0,
}


class Quantities:
    def __init__(self, book: Rulebook):
        self._book = book

    def text(self, case: Case) -> tuple[Node, list[Unenforced]]:
        """The numbers of a case, and what could not be held to."""
        types = case.keywords("type")
        integral = any(k.claim.holds and not _fractions(k.value) for k in types)
        keywords = [k for k in case.keywords(*BOUNDS, "enum", "const") if _says(k)]
        keywords += [k for k in types if not k.claim.holds]
        steps = case.keywords("multipleOf")
        if not keywords and not steps:
            return self.any(integral=integral), []
        base = integers() if integral else plain_numbers()
        found = minimal(reduce(_narrowed, keywords, base))
        notes = []
        for keyword in steps:
            try:
                narrower = minimal(_stepped(found, keyword))
            except TooLarge:
                narrower = None
            if narrower is None or len(narrower.arrows) > max(LARGEST, len(found.arrows)):
                notes.append(keyword.note)
            else:
                found = narrower
        return self._book.name(written(found, _spelt, EMPTY, self._book), "number"), notes

    def any(self, *, integral: bool) -> Node:
        if integral:
            return self._book.name(any_integer(), "integer", exact=True)
        return self._book.name(any_number(), "number", exact=True)


def _spelt(ranges: Ranges) -> Node:
    first, last = ranges[0]
    return literal(chr(first)) if len(ranges) == 1 and first == last else Characters(ranges)


def _fractions(types: str | list[str]) -> bool:
    return "number" in ([types] if isinstance(types, str) else types)


def _says(keyword: Keyword) -> bool:
    """Draft 4's `exclusiveMinimum` is true or false, and says how `minimum` is meant."""
    return not isinstance(keyword.value, bool) or keyword.name == "const"


def _narrowed(found: Automaton, keyword: Keyword) -> Automaton:
    if keyword.name == "type":
        return without(found, whole())
    if keyword.name in ("enum", "const"):
        values = keyword.constants
        listed = (_decimal(v) for v in values if _is_number(v))
        return reduce(without, (compared(value, lambda o: o == 0) for value in listed), found)
    name = keyword.name
    stricter = f"exclusive{name[0].upper()}{name[1:]}"
    if keyword.claim.schema.get(stricter) is True:
        name = stricter
    within = compared(_decimal(keyword.value), _ORDERS[name])
    return (both if keyword.claim.holds else without)(found, within)


def _stepped(found: Automaton, keyword: Keyword) -> Automaton:
    divided = multiples(_decimal(keyword.value))
    return (both if keyword.claim.holds else without)(found, divided)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
