"""Strings: which of them a case admits, as an automaton, and their text in JSON or bare."""

from contextlib import suppress

from .automata import (
    ANY,
    SCALARS,
    Automaton,
    TooLarge,
    both,
    counted,
    ending_before,
    minimal,
    without,
    words,
)
from .claims import SchemaError
from .demands import Case, Keyword, Unenforced
from .grammar import (
    LAST_CHARACTER,
    Characters,
    Node,
    characters,
    choice,
    literal,
    repeat,
    sequence,
)
from .loops import Ranges, wide_states, written
from .patterns import Inexpressible, PatternError, matching
from .rulebook import Rulebook

COUNTED = 128
"""Characters that are counted at most: each costs the runtime milliseconds where it compiles."""
SPARE = 16
"""States that read a wide class and tell a string from what is around it: so many on top of twice
as many as the string has of itself, as each costs the same milliseconds."""

_DAYS = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_LEAP = "[1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26]|1[26])00"
_DATE = f"([1-9][0-9]{{3}}-{_DAYS}|({_LEAP})-02-29)"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{_CLOCK})"
_LABEL = "[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX = "[0-9A-Fa-f]"
_GROUP = f"{_HEX}{{1,4}}"
_IPV6 = "|".join(
    (
        f"({_GROUP}:){{7}}({_GROUP}|:)",
        *(f"({_GROUP}:){{{n}}}(:{_GROUP}){{1,{7 - n}}}" for n in range(1, 7)),
        f"({_GROUP}:){{1,6}}:",
        f"::({_GROUP}(:{_GROUP}){{0,6}})?",
    )
)
_PCHAR = rf"([A-Za-z0-9._~!$&'()*+,;=:@-]|%{_HEX}{{2}})"
_AUTHORITY = rf"//{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?(/{_PCHAR}*)*"
_URI = rf"[A-Za-z][A-Za-z0-9+.-]*:({_AUTHORITY}|{_PCHAR}+(/{_PCHAR}*)*)"
_SECONDS = "([0-9]+S|[0-9]+M([0-9]+S)?|[0-9]+H([0-9]+M([0-9]+S)?)?)"

FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": (
        f"P([0-9]+W|T{_SECONDS}"
        f"|([0-9]+D|[0-9]+M([0-9]+D)?|[0-9]+Y([0-9]+M([0-9]+D)?)?)(T{_SECONDS})?)"
    ),
    "email": rf"{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})+",
    "hostname": rf"{_LABEL}(\.{_LABEL})*",
    "ipv4": rf"({_OCTET}\.){{3}}{_OCTET}",
    "ipv6": _IPV6,
    "uuid": f"{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
    "uri": rf"{_URI}(\?({_PCHAR}|[/?])*)?(#({_PCHAR}|[/?])*)?",
    "json-pointer": "(/([^~/]|~[01])*)*",
}
"""Patterns of whole texts: part of what the format allows, without its rarest forms."""

ALIASES = {
    "idn-email": "email",
    "idn-hostname": "hostname",
    "iri": "uri",
    "iri-reference": "uri",
    "uri-reference": "uri",
}
"""What is not a format of its own here, but admits all of another."""

UNCHECKED = ("regex", "uri-template", "relative-json-pointer")
"""Formats of the specification that stay unenforced."""


class Strings:
    def __init__(self, book: Rulebook, mark: str = '"'):
        """`mark` stands around a string; within another one than JSON's nothing is escaped."""
        self._book = book
        self._mark = mark
        self._known: dict[Automaton, Node] = {}
        self._ended: dict[tuple[Automaton, str, str], Node] = {}

    # Which strings.

    def admitted(self, case: Case) -> tuple[Automaton, list[Unenforced]]:
        """The strings of a case, minimal, and what could not be held to. Raises SchemaError."""
        found, notes = ANY, []
        for keyword in case.keywords("pattern", "format", "enum", "const"):
            try:
                found = _narrowed(found, keyword)
            except Inexpressible:
                notes.append(keyword.note)
            except PatternError as error:
                reason = f"the pattern can't be read: {error}; mend it"
                raise SchemaError((*keyword.claim.place, keyword.name), reason) from None
            except TooLarge as error:
                reason = f"it can't be enforced: {error}; make it simpler"
                raise SchemaError((*keyword.claim.place, keyword.name), reason) from None
        plain = found
        for keyword in case.keywords("minLength", "maxLength"):
            found, enforced = _measured(found, keyword)
            notes += [] if enforced else [keyword.note]
        found = minimal(found)
        if wide_states(found) > COUNTED + 2 and not found.empty:
            patterns = case.keywords("pattern")
            return ANY, notes + [
                k.note for k in patterns or case.keywords("minLength", "maxLength")
            ]
        return (found, notes) if found is not plain else (minimal(plain), notes)

    # Their text.

    def quoted(self, admitted: Automaton) -> Node:
        """In quotes, as JSON or as the other mark has it."""
        if self._mark != '"':
            return sequence(literal(self._mark), self.ended(admitted, self._mark))
        if admitted not in self._known:
            end = literal('"')
            body = _free(end) if admitted == ANY else written(admitted, _escaped, end, self._book)
            node = sequence(literal('"'), body)
            named = self._book.name(node, "string", exact=admitted == ANY)
            self._known[admitted] = named
        return self._known[admitted]

    def bare(self, admitted: Automaton, end: str = "") -> Node:
        """As it is, with `end` behind it."""
        node = written(minimal(admitted), Characters, literal(end), self._book)
        return self._book.name(node, "bare")

    def ended(self, admitted: Automaton, end: str, others: str = "") -> Node:
        """As it is, with `end` behind it, of which the mark stands nowhere before. None is a text
        of the pattern `others`. Of strings that are dear to count, more are left out: those that
        hold the mark's beginning, and those that begin as others do."""
        known = admitted, end, others
        if known not in self._ended:
            if others:
                patterns = (matching(f"^({others}){border}") for border in ("$", ""))
                admitted = _apart(admitted, *(without(ANY, pattern) for pattern in patterns))
            mark = end.strip()
            marks = (mark[:length] for length in (len(mark), 2, 1))
            admitted = _apart(admitted, *map(ending_before, marks))
            self._ended[known] = self.bare(admitted, end)
        return self._ended[known]


def _apart(admitted: Automaton, *others: Automaton) -> Automaton:
    """The strings that another automaton holds, too: the first one of these that does not make them
    dear, or the last one."""
    wide = wide_states(admitted)
    dearest = min(2 * wide, max(wide, COUNTED // 2)) + SPARE
    *likely, last = others
    for other in likely:
        with suppress(TooLarge):
            found = minimal(both(admitted, other))
            if wide_states(found) <= dearest:
                return found
    return minimal(both(admitted, last))


def _free(end: Node) -> Node:
    """Any characters, and escapes of those that are no surrogates. Each is written out here in
    full: rules within the loop would cost the runtime 25 ms a token."""
    digit = characters("09", "AF", "af")
    raw = characters((0x20, 0x21), (0x23, 0x5B), (0x5D, SCALARS[0][1]), SCALARS[1])
    short = sequence(literal("\\"), characters(*'"\\bfnrt'))
    most = characters("09", "AC", "EF", "ac", "ef")
    low = sequence(literal("\\u"), most, digit, digit, digit)
    high = sequence(literal("\\u"), characters("D", "d"), characters("07"), digit, digit)
    return sequence(repeat(choice(raw, short, low, high)), end)


def _escaped(ranges: Ranges) -> Node:
    """A character of a class."""
    raw: list[tuple[int, int]] = []
    for first, last in ranges:
        for low, high in ((0x20, 0x21), (0x23, 0x5B), (0x5D, LAST_CHARACTER)):
            if max(low, first) <= min(high, last):
                raw.append((max(low, first), min(high, last)))
    options: list[Node] = [Characters(tuple(raw))] if raw else []
    if len(raw) == 1 and raw[0][0] == raw[0][1]:
        options = [literal(chr(raw[0][0]))]
    return choice(*options, *_escapes(ranges, rare=not raw))


def _escapes(ranges: Ranges, *, rare: bool) -> list[Node]:
    """The short escapes of the characters of a class; the long ones of control characters only
    where there are no others (`rare`)."""

    def among(code: int) -> bool:
        return any(first <= code <= last for first, last in ranges)

    shorts = zip('"\\bfnrt', '"\\\b\f\n\r\t', strict=True)
    letters = [letter for letter, character in shorts if among(ord(character))]
    if len(letters) == 1:
        return [literal("\\" + letters[0])]
    if letters:
        return [sequence(literal("\\"), characters(*letters))]
    codes = [code for code in range(0x20) if among(code)] if rare else []
    return [literal(f"\\u{code:04x}") for code in codes]


def _narrowed(found: Automaton, keyword: Keyword) -> Automaton:
    """With what `pattern`, `format`, `enum` or `const` says."""
    value = keyword.value
    if keyword.name in ("enum", "const"):
        return without(found, words(v for v in keyword.constants if isinstance(v, str)))
    if keyword.name == "pattern":
        return (both if keyword.claim.holds else without)(found, matching(value))
    name = ALIASES.get(value, value)
    if name in UNCHECKED:
        raise Inexpressible(value)
    return both(found, matching(f"^({FORMATS[name]})$")) if name in FORMATS else found


def _measured(found: Automaton, keyword: Keyword) -> tuple[Automaton, bool]:
    """With a bound on the length; False: it is beyond what can be counted."""
    bound = int(keyword.value)
    least, most = (bound, None) if keyword.name == "minLength" else (0, bound)
    if not keyword.claim.holds:
        least, most = (0, bound - 1) if keyword.name == "minLength" else (bound + 1, None)
    shortest, longest = found.lengths
    if shortest >= least and (most is None or (longest is not None and longest <= most)):
        return found, True
    if most is not None and most < 0:
        return words([]), True
    if max(least, most or 0) > COUNTED:
        return found, False
    try:
        return both(found, counted(least, most)), True
    except TooLarge:
        return found, False
