"""Regular expressions as JSON Schema means them, in the dialect of ECMA-262 with its flag `u`
(tc39.es/ecma262/#sec-patterns), read into nodes of a grammar. Pure; knows no JSON.
"""

import sys
import unicodedata
from functools import lru_cache
from itertools import groupby

from .automata import END, SCALARS, START, Automaton, automaton
from .grammar import NOTHING, Characters, Node, choice, literal, repeat, sequence

Ranges = tuple[tuple[int, int], ...]

DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
SPACES: Ranges = (
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACES}
CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
CATEGORIES = {
    "Letter": "L",
    "Cased_Letter": "LC",
    "Uppercase_Letter": "Lu",
    "Lowercase_Letter": "Ll",
    "Mark": "M",
    "Number": "N",
    "Decimal_Number": "Nd",
    "digit": "Nd",
    "Punctuation": "P",
    "punct": "P",
    "Symbol": "S",
    "Separator": "Z",
    "Space_Separator": "Zs",
    "Other": "C",
}
"""The usual ones of Unicode's long names of general categories."""

MOST = 100_000
"""A repeat that counts further is refused."""
DEEPEST = 60
"""So are groups within groups beyond this depth."""


class PatternError(ValueError):
    """A pattern that can't be read; the message says why, and where."""


class Inexpressible(PatternError):
    """A pattern that is one, but not of a kind that an automaton can be made for."""


def parse(pattern: str) -> Node:
    """What the pattern matches, with START and END for ^ and $. Raises PatternError."""
    parser = _Parser(pattern)
    node = parser.options()
    if parser.rest:
        raise parser.error("it closes a group that was not opened")
    return node


def matching(pattern: str) -> Automaton:
    """The texts in which the pattern is found. Raises PatternError, and TooLarge."""
    return automaton(parse(pattern), search=True)


def inverted(ranges: Ranges) -> Ranges:
    """The characters that are in none of the ranges."""
    found: list[tuple[int, int]] = []
    for low, high in SCALARS:
        for first, last in sorted(ranges):
            if first > high or last < low:
                continue
            if low < first:
                found.append((low, first - 1))
            low = max(low, last + 1)
        if low <= high:
            found.append((low, high))
    return tuple(found)


def united(ranges: Ranges) -> Ranges:
    """Sorted, without overlaps and without surrogates."""
    return inverted(inverted(ranges))


class _Parser:
    """Reads a pattern from left to right; `_at` is where it stands."""

    def __init__(self, pattern: str):
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def error(self, why: str, kind: type[PatternError] = PatternError) -> PatternError:
        return kind(f"{why}, at character {self._at + 1}")

    @property
    def rest(self) -> str:
        return self._pattern[self._at :]

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, *texts: str) -> str:
        """Reads on past the first of the texts that stands here."""
        for text in texts:
            if self._pattern.startswith(text, self._at):
                self._at += len(text)
                return text
        return ""

    def _char(self) -> str:
        if not (character := self._next()):
            raise self.error("it ends too early")
        self._at += 1
        return character

    def _until(self, end: str) -> str:
        found, closed, _ = self.rest.partition(end)
        if not closed:
            raise self.error(f"'{end}' is missing")
        self._at += len(found) + len(end)
        return found

    def options(self) -> Node:
        found = [self._terms()]
        while self._take("|"):
            found.append(self._terms())
        return choice(*found)

    def _terms(self) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._term())
        return sequence(*parts)

    def _term(self) -> Node:
        if self._take("^"):
            return START
        if self._take("$"):
            return END
        return self._repeated(self._atom())

    def _repeated(self, node: Node) -> Node:
        if sign := self._take("*", "+", "?"):
            least, most = int(sign == "+"), 1 if sign == "?" else None
        elif self._next() == "{":
            least, most = self._bounds()
        else:
            return node
        self._take("?")
        if self._next() in ("*", "+", "?", "{"):
            raise self.error("there is nothing to repeat")
        return repeat(node, least, most)

    def _bounds(self) -> tuple[int, int | None]:
        self._take("{")
        low, comma, high = self._until("}").partition(",")
        known = all(n.isascii() and n.isdigit() and len(n) < 9 for n in (low, high or "0"))
        if not known:
            raise self.error("a repeat needs numbers, like {2} or {2,4}; write \\{ for a brace")
        least = int(low)
        most = int(high) if high else None if comma else least
        if most is not None and most < least:
            raise self.error("the numbers of a repeat are the wrong way round")
        if max(least, most or 0) > MOST:
            raise self.error(f"it repeats more than {MOST} times")
        return least, most

    def _atom(self) -> Node:
        match character := self._char():
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return Characters(inverted(LINE_ENDS))
            case "\\":
                return self._escape()
            case "*" | "+" | "?" | "{":
                raise self.error("there is nothing to repeat")
        return literal(character)

    def _group(self) -> Node:
        if self._take("?=", "?!", "?<=", "?<!"):
            raise self.error("looking ahead or behind can't be enforced", Inexpressible)
        if self._take("?<", "?P<"):
            self._until(">")
        elif not self._take("?:") and self._next() == "?":
            raise self.error("this kind of group can't be enforced", Inexpressible)
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.error("its groups are nested too deeply")
        node = self.options()
        if not self._take(")"):
            raise self.error("a group is not closed")
        self._depth -= 1
        return node

    # Escapes and classes.

    def _escape(self) -> Node:
        if self._next() in ("b", "B"):
            raise self.error("the border of a word can't be enforced", Inexpressible)
        if self._next() in tuple("123456789k"):
            raise self.error("a reference to a group can't be enforced", Inexpressible)
        if self._take("A"):  # Python's, which many schemas are written in
            return START
        if self._take("Z", "z"):
            return END
        return _one_of(self._escaped())

    def _escaped(self) -> Ranges:
        """The characters of an escape, behind its backslash."""
        character = self._char()
        if (ranges := CLASSES.get(character.lower())) is not None:
            return ranges if character.islower() else inverted(ranges)
        if character in "pP":
            ranges = self._property()
            return ranges if character == "p" else inverted(ranges)
        code = self._code(character)
        return ((code, code),)

    def _code(self, character: str) -> int:
        if character in CONTROLS:
            return ord(CONTROLS[character])
        if character == "c":
            return ord(self._char()) % 32
        if character == "x":
            return self._hex(2)
        if character == "u":
            return self._unicode()
        if character.isascii() and character.isalnum():
            raise self.error(f"\\{character} is no escape that is known")
        return ord(character)

    def _unicode(self) -> int:
        if self._take("{"):
            return self._number(self._until("}"))
        code = self._hex(4)
        if 0xD800 <= code < 0xDC00 and self._take("\\u"):
            return 0x10000 + ((code - 0xD800) << 10) + (self._hex(4) - 0xDC00)
        return code

    def _hex(self, digits: int) -> int:
        return self._number("".join(self._char() for _ in range(digits)))

    def _number(self, digits: str) -> int:
        try:
            code = int(digits, 16)
        except ValueError:
            raise self.error(f"'{digits}' is no hexadecimal number") from None
        if not 0 <= code <= sys.maxunicode:
            raise self.error(f"there is no character {digits}")
        return code

    def _property(self) -> Ranges:
        if not self._take("{"):
            raise self.error("\\p needs a name, like \\p{L}")
        name = self._until("}").removeprefix("General_Category=").removeprefix("gc=")
        if not (ranges := _category(CATEGORIES.get(name, name))):
            raise self.error(f"\\p{{{name}}} can't be enforced", Inexpressible)
        return ranges

    def _class(self) -> Node:
        negated = bool(self._take("^"))
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            first = self._member()
            if self._next() == "-" and not self.rest.startswith("-]"):
                self._take("-")
                last = self._member()
                ranges += self._span(first, last)
            else:
                ranges += first
        found = tuple(ranges)
        return _one_of(inverted(found) if negated else found)

    def _span(self, first: Ranges, last: Ranges) -> Ranges:
        if (first[0][0], last[0][0]) != (first[-1][1], last[-1][1]):
            return (*first, (0x2D, 0x2D), *last)
        if first[0][0] > last[0][0]:
            raise self.error("the ends of a range are the wrong way round")
        return ((first[0][0], last[0][0]),)

    def _member(self) -> Ranges:
        if self._take("\\b"):
            return ((0x08, 0x08),)
        if self._take("\\-"):
            return ((0x2D, 0x2D),)
        if self._take("\\"):
            return self._escaped()
        code = ord(self._char())
        return ((code, code),)


def _one_of(ranges: Ranges) -> Node:
    united_ranges = united(ranges)
    if not united_ranges:
        return NOTHING
    first, last = united_ranges[0]
    alone = len(united_ranges) == 1 and first == last
    return literal(chr(first)) if alone else Characters(united_ranges)


@lru_cache(maxsize=8)
def _category(name: str) -> Ranges:
    """The characters of a general category; none when there is no such category."""
    wanted = ("Lu", "Ll", "Lt") if name == "LC" else (name,)
    codes = (
        code
        for low, high in SCALARS
        for code in range(low, high + 1)
        if unicodedata.category(chr(code)).startswith(wanted)
    )
    runs = (list(run) for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]))
    return tuple((run[0][1], run[-1][1]) for run in runs) if name else ()
