"""Objects: which keys a case admits, in which order they are written, and how many. The text of
keys and values comes from who asks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from .automata import ANY, Automaton, TooLarge, beginning_with, both, minimal, without, words
from .claims import NEVER, Claim, Claims, SchemaError
from .demands import Case, Keyword, Member, Present, Unenforced
from .grammar import EMPTY, NOTHING, Node, Sequence, choice, optional, repeat, sequence
from .patterns import Inexpressible, PatternError, matching
from .rulebook import Rulebook
from .styles import Style

MOST = 16
"""Sets of additional keys that differ in what their values have to be."""
EARLY = 8
"""States that telling additional keys from declared ones may take."""
LONG = 60
"""Parts of a row that stand in one rule."""
COUNTED = 4000
"""Rules that counting the members of one object may take."""


class Writer(Protocol):
    """What an object or an array needs to know of the rest."""

    book: Rulebook
    style: Style

    def value(self, claims: Claims) -> Node: ...
    def member(self, name: str, claims: Claims) -> Node: ...
    def key(self, admitted: Automaton) -> Node: ...
    def strings(self, claims: Claims) -> tuple[Automaton, list[Unenforced]]: ...
    def listed(self, claims: Claims) -> list[Any] | None: ...


@dataclass(slots=True)
class _Clause:
    """One schema's say on keys: `rest` is for those that it does not name."""

    keyword: Keyword
    names: dict[str, Claim] = field(default_factory=dict)
    patterns: list[tuple[str, Automaton, Claim]] = field(default_factory=list)
    rest: Claim | None = None
    leftovers: Claim | None = None
    """For the keys that no schema within has a say on."""


@dataclass(frozen=True, slots=True)
class _Extra:
    """Additional keys, and what their values have to be."""

    keys: Automaton
    claims: Claims


def object_text(case: Case, writer: Writer) -> tuple[Node, list[Unenforced]]:
    """The objects of a case, and what could not be held to. Raises SchemaError."""
    return _Object(case, writer).text()


class _Object:
    def __init__(self, case: Case, writer: Writer):
        self._case = case
        self._writer = writer
        self._notes = case.constants_of(dict)
        self._clauses = self._collected()
        self._namings = [k.claim.child(k.name) for k in case.keywords("propertyNames")]
        self._required = self._required_keys()

    def text(self) -> tuple[Node, list[Unenforced]]:
        names = self._names()
        members: list[tuple[Node, bool]] = []
        for name in names:
            claims = self._claims(name)
            if NEVER not in claims and all(claim.fits(name) for claim in self._namings):
                members.append((self._writer.member(name, claims), name in self._required))
            elif name in self._required:
                return NOTHING, []
        extra = self._extra(names)
        least, most = self._bounds(len(members), extra)
        body = self._body(members, extra, least, most)
        if body == EMPTY:
            return self._writer.style.wrapped("{", EMPTY, "}"), self._notes
        return self._writer.style.wrapped("{", body, "}"), self._notes

    # What the case says.

    def _collected(self) -> list[_Clause]:
        clauses: dict[Claim, _Clause] = {}
        words = ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties")
        for keyword in self._case.keywords(*words):
            claim, word = keyword.claim, keyword.name
            clause = clauses.setdefault(claim, _Clause(keyword))
            match word:
                case "properties":
                    clause.names = {key: claim.child(word, key) for key in keyword.value}
                case "patternProperties":
                    clause.patterns = [
                        (pattern, _automaton(pattern, claim), claim.child(word, pattern))
                        for pattern in keyword.value
                    ]
                case "additionalProperties":
                    clause.rest = claim.child(word)
                case _:
                    clause.leftovers = claim.child(word)
        return list(clauses.values())

    def _required_keys(self) -> dict[str, None]:
        """In order."""
        found: dict[str, None] = {}
        for demand in self._case.demands:
            match demand:
                case Present(key):
                    found[key] = None
                case Keyword("required", _) if isinstance(demand.value, list):
                    found.update(dict.fromkeys(demand.value))
        return found

    def _names(self) -> list[str]:
        """The keys that are written one by one, in order."""
        found = {name: None for clause in self._clauses for name in clause.names}
        found.update(self._required)
        found.update({d.key: None for d in self._case.demands if isinstance(d, Member)})
        for claim in self._namings:
            listed = self._writer.listed((claim,))
            found.update({name: None for name in listed or () if isinstance(name, str)})
        return list(found)

    def _claims(self, name: str) -> Claims:
        """What the value of a key has to be."""
        found: dict[Claim, None] = {}
        for clause in self._clauses:
            found.update(dict.fromkeys(self._said(clause, name, lambda a: a.holds(name))))
        for demand in self._case.demands:
            if isinstance(demand, Member) and demand.key == name:
                found[demand.claim] = None
        return settled(found)

    def _said(
        self, clause: _Clause, name: str | None, matches: Callable[[Automaton], bool]
    ) -> Iterator[Claim]:
        """What one schema says of a key, or of all keys of which one of the automata is right."""
        found = [clause.names[name]] if name in clause.names else []
        found += [claim for _, automaton, claim in clause.patterns if matches(automaton)]
        if not found and clause.rest is not None:
            found.append(clause.rest)
        yield from found
        if clause.leftovers is not None and not found:
            inner = (c for c in self._clauses if c is not clause)
            inner = (c for c in inner if c.keyword.part_of(clause.keyword.claim))
            if not any(_covers(c, name, matches) for c in inner):
                yield clause.leftovers

    # Additional keys.

    def _extra(self, names: list[str]) -> list[_Extra]:
        """All other keys, in sets that have the same claims. They are offered where a schema speaks
        of them, or of no keys at all: a model should not invent any that nobody mentioned."""
        patterns = any(clause.patterns for clause in self._clauses)
        spoken = any(c.rest is not None or c.leftovers is not None for c in self._clauses)
        others = unlike(names)
        for claim in self._namings:
            admitted, notes = self._writer.strings((claim,))
            self._notes += notes
            others = both(others, admitted)
        needed = self._least() > len(names)
        if spoken or needed or not (names or patterns):
            found = self._split(others)
        else:
            found = [(keys, matched) for keys, matched in self._split(others) if matched]
        extra = [(keys, self._claims_of(matched)) for keys, matched in found]
        return [_Extra(minimal(keys), claims) for keys, claims in extra if NEVER not in claims]

    def _least(self) -> int:
        """The least number of members that is asked for."""
        bounds = self._case.keywords("minProperties", "maxProperties")
        asked = [
            int(k.value) + (not k.claim.holds)
            for k in bounds
            if (k.name == "minProperties") == k.claim.holds
        ]
        return max(asked, default=0)

    def _split(self, others: Automaton) -> list[tuple[Automaton, frozenset[str]]]:
        """By the patterns that the keys match."""
        patterns = {p: a for clause in self._clauses for p, a, _ in clause.patterns}
        groups: list[tuple[Automaton, frozenset[str]]] = [(others, frozenset())]
        for pattern, automaton in patterns.items():
            divided = []
            for keys, matched in groups:
                divided += [(both(keys, automaton), matched | {pattern})]
                divided += [(without(keys, automaton), matched)]
            groups = [(keys, matched) for keys, matched in divided if not keys.empty]
            if len(groups) > MOST:
                raise TooLarge(f"the patterns divide the keys into more than {MOST} sets")
        return [(keys, matched) for keys, matched in groups if not keys.empty]

    def _claims_of(self, matched: frozenset[str]) -> Claims:
        found: dict[Claim, None] = {}
        for clause in self._clauses:
            right = {id(a) for pattern, a, _ in clause.patterns if pattern in matched}
            said = self._said(clause, None, lambda a, right=right: id(a) in right)
            found.update(dict.fromkeys(said))
        return settled(found)

    # How many.

    def _bounds(self, members: int, extra: list[_Extra]) -> tuple[int, int | None]:
        """The least and the largest number of members; what can't be counted is noted."""
        least, most = len(self._required), None
        for keyword in self._case.keywords("minProperties", "maxProperties"):
            bound = int(keyword.value)
            if (keyword.name == "minProperties") == keyword.claim.holds:
                bound += not keyword.claim.holds
                if bound * (members + 1) > COUNTED or (extra and bound > len(self._required) + 1):
                    self._notes.append(keyword.note)
                    bound = min(bound, len(self._required) + 1)
                least = max(least, bound)
            else:
                bound -= not keyword.claim.holds
                if bound * (members + 1) > COUNTED:
                    self._notes.append(keyword.note)
                elif extra or bound < members:
                    most = bound if most is None else min(bound, most)
        return least, most

    def _body(
        self, members: list[tuple[Node, bool]], extra: list[_Extra], least: int, most: int | None
    ) -> Node:
        """The members in a row. The rule behind each is chosen by how many there are so far."""
        cap = max(least, 1) if most is None else max(most, 0) + 1
        if most is None and least <= len(self._required):
            cap = 1
            least = min(least, 1)
        after = [self._tail(extra, count, least, most) for count in range(cap + 1)]
        comma = self._writer.style.comma
        for text, required in reversed(members):
            before = after
            after = []
            for count in range(cap + 1):
                following = self._cut(before[min(count + 1, cap)])
                one = sequence(comma, text) if count else text
                if required:
                    node = sequence(one, following)
                elif following == before[count] and following != EMPTY:
                    # The runtime compiles this three times faster than `one?` before the rest.
                    rest = self._book(following)
                    node = choice(sequence(one, rest), rest)
                else:
                    node = choice(sequence(one, following), before[count])
                after.append(node if required or not count else self._book(node))
        return after[0]

    def _book(self, node: Node) -> Node:
        return self._writer.book.name(node, "members")

    def _cut(self, node: Node) -> Node:
        """A long row goes on in another rule."""
        long = isinstance(node, Sequence) and len(node.parts) > LONG
        return self._book(node) if long else node

    def _tail(self, extra: list[_Extra], count: int, least: int, most: int | None) -> Node:
        """The additional members behind `count` others."""
        if most is not None and max(count, least) > most:
            return NOTHING
        options = [
            self._writer.style.member(self._writer.key(e.keys), self._writer.value(e.claims))
            for e in extra
        ]
        low, high = max(0, least - count), None if most is None else most - count
        if not options:
            return NOTHING if low else EMPTY
        one = self._writer.book.name(choice(*options), "member")
        more = sequence(self._writer.style.comma, one)
        if count:
            return repeat(more, low, high)
        if high == 0:
            return EMPTY
        row = sequence(one, repeat(more, max(0, low - 1), None if high is None else high - 1))
        return row if low else optional(row)


def unlike(names: list[str]) -> Automaton:
    """The keys that are none of the names. Where telling them apart takes many states, as the
    runtime pays for each, they have to differ early on."""
    for length in range(max(map(len, names), default=0) + 1, 0, -1):
        beginnings = {name[:length] for name in names}
        if len({name[:end] for name in beginnings for end in range(len(name))}) <= EARLY:
            break
    else:
        length = 1
    if all(len(name) < length for name in names):
        return without(ANY, words(names))
    return without(ANY, beginning_with({name[:length] for name in names}))


def _covers(clause: _Clause, name: str | None, matches: Callable[[Automaton], bool]) -> bool:
    """Whether a schema has a say on a key at all."""
    named = name in clause.names or clause.rest is not None or clause.leftovers is not None
    return named or any(matches(automaton) for _, automaton, _ in clause.patterns)


def _automaton(pattern: str, claim: Claim) -> Automaton:
    place = (*claim.place, "patternProperties", pattern)
    try:
        return matching(pattern)
    except Inexpressible as error:
        raise SchemaError(place, f"the pattern can't be enforced: {error}; mend it") from None
    except PatternError as error:
        raise SchemaError(place, f"the pattern can't be read: {error}; mend it") from None
    except TooLarge as error:
        raise SchemaError(place, f"the pattern is too large: {error}; make it simpler") from None


def settled(claims: dict[Claim, None]) -> Claims:
    """Without those that say nothing; just NEVER when one of them can't hold."""
    if any(claim.schema is (not claim.holds) for claim in claims):
        return (NEVER,)
    return tuple(claim for claim in claims if claim.schema is not claim.holds)
