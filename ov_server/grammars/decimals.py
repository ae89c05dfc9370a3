"""Numbers as JSON writes them: automata over decimal text, and which of them a schema allows. Pure.

An automaton here stands for a set of numbers: of all texts of a number it holds every one or none,
so it may be combined with others. Digits are bounded so that nothing overflows a double.
"""

from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from functools import lru_cache, reduce

from .automata import Automaton, both, explored, minimal, without
from .grammar import Node, characters, choice, literal, optional, repeat, sequence
from .patterns import matching

INTEGER_DIGITS = 18
DIGITS = 15
"""Of a number with a fraction whose size matters: so many digits a double tells apart."""

_CONTEXT = Context(prec=2000)
_LIMIT = Decimal(10) ** INTEGER_DIGITS

Arrows = Iterator[tuple[int, int, tuple]]


def any_integer() -> Node:
    natural = sequence(characters("19"), repeat(characters("09"), 0, INTEGER_DIGITS - 1))
    return choice(literal("0"), sequence(optional(literal("-")), natural))


def any_number() -> Node:
    digit = characters("09")
    whole = choice(literal("0"), sequence(characters("19"), repeat(digit, 0, 16)))
    fraction = sequence(literal("."), repeat(digit, 1, 16))
    exponent = sequence(characters("e", "E"), optional(characters("+", "-")), repeat(digit, 1, 2))
    return sequence(optional(literal("-")), whole, optional(fraction), optional(exponent))


@lru_cache(maxsize=1)
def integers() -> Automaton:
    return matching(f"^(0|-?[1-9][0-9]{{0,{INTEGER_DIGITS - 1}}})$")


@lru_cache(maxsize=1)
def plain_numbers() -> Automaton:
    """All numbers without an exponent, and with few enough digits; zero has no sign."""

    def steps(state: tuple[str, int]) -> Arrows:
        phase, digits = state
        if phase == "start":
            yield 0x2D, 0x2D, ("sign", 0)
        if phase in ("start", "sign"):
            yield 0x30, 0x30, ("zero", 1)
            yield 0x31, 0x39, ("whole", 1)
        if phase in ("zero", "whole") and digits < DIGITS:
            yield 0x2E, 0x2E, ("point", digits)
        if phase == "whole" and digits < INTEGER_DIGITS:
            yield 0x30, 0x39, ("whole", digits + 1)
        if phase in ("point", "fraction") and digits < DIGITS:
            yield 0x30, 0x39, ("fraction", digits + 1)

    found = explored(("start", 0), steps, lambda state: state[0] in ("zero", "whole", "fraction"))
    return without(found, matching(r"^-0(\.0*)?$"))


# What follows reads any plain number, and is lax about how it is written.


def whole() -> Automaton:
    """Numbers without a fraction."""
    return matching(r"^[-0-9]*(\.0*)?$")


def compared(bound: Decimal, holds: Callable[[int], bool]) -> Automaton:
    """Numbers whose comparison with the bound (-1: less, 0: equal, 1: greater) `holds`."""
    comparison = _Comparison(_within_reach(bound))
    return explored(
        (False, "whole", 0, 0), comparison.steps, lambda state: holds(comparison.result(state))
    )


Compared = tuple[bool, str, int, int]
"""Whether there is a minus, the part of the number being read, how many of its digits (as far as
that matters), and how they compare so far with as many of the bound's, without signs."""


class _Comparison:
    def __init__(self, bound: Decimal):
        self._bound = bound
        figures, _, rest = f"{abs(bound):f}".partition(".")
        self._digits = {"whole": figures, "fraction": rest.rstrip("0")}

    def result(self, state: Compared) -> int:
        negative, phase, at, order = state
        if phase == "whole":
            order = self._by_length(at) or order or -bool(self._digits["fraction"])
        elif not order and at < len(self._digits["fraction"]):
            order = -1
        if negative:
            return -1 if self._bound > 0 else -order
        return 1 if self._bound < 0 else order

    def _by_length(self, count: int) -> int:
        """Whole numbers without leading zeros compare by their lengths first."""
        length = len(self._digits["whole"])
        return (count > length) - (count < length)

    def steps(self, state: Compared) -> Iterator[tuple[int, int, Compared]]:
        negative, phase, at, order = state
        digits = self._digits[phase]
        if phase == "whole":
            yield 0x2E, 0x2E, (negative, "fraction", 0, self._by_length(at) or order)
            if not at:
                yield 0x2D, 0x2D, (True, phase, 0, 0)
        for digit in "0123456789":
            against = digits[at] if at < len(digits) else "0"
            now = order or (digit > against) - (digit < against)
            if phase == "whole" and at >= len(digits):
                after = (negative, phase, len(digits) + 1, 0)
            elif phase == "fraction" and now:
                after = (negative, phase, 0, now)
            else:
                after = (negative, phase, min(at + 1, len(digits)), now)
            yield ord(digit), ord(digit), after


def _within_reach(bound: Decimal) -> Decimal:
    """A bound that compares in the same way with every number of few enough digits."""
    if abs(bound) >= _LIMIT:
        return _LIMIT.copy_sign(bound)
    step = Decimal(10) ** -(INTEGER_DIGITS + 1)
    cut = bound.quantize(step, "ROUND_DOWN", _CONTEXT)
    return cut if cut == bound else cut + (step / 2).copy_sign(bound)


def multiples(divisor: Decimal) -> Automaton:
    """Numbers that the divisor divides. Raises TooLarge."""
    _, digits, exponent = divisor.normalize(_CONTEXT).as_tuple()
    assert isinstance(exponent, int)
    unit = int("".join(map(str, digits))) * 10 ** max(0, exponent)
    each = (minimal(_divided(power, max(0, -exponent))) for power in _prime_powers(unit))
    return reduce(lambda one, other: minimal(both(one, other)), each)


def _prime_powers(number: int) -> Iterator[int]:
    """The factors by which one can divide one after the other, small ones first; at least one."""
    found = False
    for prime in range(2, 1000):
        power = 1
        while number % prime == 0:
            number //= prime
            power *= prime
        if power > 1:
            found = True
            yield power
    if number > 1 or not found:
        yield number


def _divided(unit: int, places: int) -> Automaton:
    """Numbers that, times ten to the power of `places`, are whole and multiples of the unit: the
    remainder, digit by digit."""

    def steps(state: tuple[int, int]) -> Iterator[tuple[int, int, tuple[int, int]]]:
        read, remainder = state
        if read < 0:
            yield 0x2D, 0x2D, state
            yield 0x2E, 0x2E, (0, remainder)
        for digit in range(10 if read < places else 1):
            after = (read + (read >= 0), (10 * remainder + digit) % unit)
            yield 0x30 + digit, 0x30 + digit, after if read < places else state

    def ends(state: tuple[int, int]) -> bool:
        read, remainder = state
        return remainder * 10 ** (places - max(read, 0)) % unit == 0

    return explored((-1, 0), steps, ends)
