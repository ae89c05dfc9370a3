"""What a schema demands of the values of one kind, as alternatives that are each a plain list of
demands: references followed, `allOf` merged, `anyOf`, `oneOf`, `if` and `not` multiplied out.
Knows no grammar.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from .claims import NEVER, Claim, Claims, SchemaError
from .demands import KEYWORDS, Case, Demand, Expansion, Keyword, Member, Present, Unenforced
from .denials import Part, conditional, denied

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
IN_PLACE = (
    *REFERENCES,
    *("allOf", "anyOf", "oneOf", "if", "not"),
    *("type", "enum", "const"),
)
"""What is said of values of every kind, in the order of reading: references first."""

MOST = 128
"""Alternatives of one place, ..."""
STEPS = 4000
"""... and steps to find them; beyond, a schema is refused."""


class TooMany(Exception):
    """More alternatives than anyone would wait for."""


class Exactness(Enum):
    """How a schema is taken that does not hold (as the other options of `oneOf`)."""

    FULL = auto()
    """In all ways in which it can fail, ..."""
    NARROW = auto()
    """... in the likeliest of them, where all were too many, ..."""
    LOOSE = auto()
    """... or, of `oneOf`, not at all, and noted."""


def expand(claims: Claims, kind: str) -> Expansion:
    """The alternatives for values of a kind ("string", "number", "object" or "array"). Raises
    SchemaError when there are too many, or when a reference leads to itself."""
    for exactness in Exactness:
        try:
            found = _Expansion(kind, exactness).run(claims)
        except TooMany:
            continue
        if found.cases or found.values or exactness is not Exactness.NARROW:
            return found
    reason = f"it has more than {MOST} alternatives for one {kind}; make it simpler"
    raise SchemaError(claims[0].place, reason)


@dataclass(slots=True)
class _Branch:
    """An alternative in the making."""

    todo: list[tuple[Claim, Claims]]
    demands: dict[Demand, None] = field(default_factory=dict)
    choices: list[tuple[Claims, list[list[Part]]]] = field(default_factory=list)
    notes: dict[Unenforced, None] = field(default_factory=dict)
    seen: set[Claim] = field(default_factory=set)
    alive: bool = True

    def copy(self) -> "_Branch":
        return _Branch(
            [*self.todo], {**self.demands}, [*self.choices], {**self.notes}, {*self.seen}
        )

    def add(self, parts: Iterable[Part], within: Claims) -> None:
        for part in parts:
            if isinstance(part, Claim):
                self.todo.append((part, within))
            else:
                self.demands[part] = None


class _Expansion:
    def __init__(self, kind: str, exactness: Exactness):
        self._kind = kind
        self._exactness = exactness
        self._values: list[Any] = []
        self._notes: dict[Unenforced, None] = {}

    def run(self, claims: Claims) -> Expansion:
        cases: dict[tuple[Demand, ...], Case] = {}
        stack = [_Branch([(claim, ()) for claim in claims])]
        steps = 0
        while stack:
            steps += 1
            branch = stack.pop()
            while branch.alive and branch.todo:
                self._read(branch, *branch.todo.pop(0))
            if not branch.alive or (steps > 1 and _contradictory(branch)):
                continue
            if branch.choices:
                stack += reversed(self._chosen(branch))
            else:
                demands = tuple(branch.demands)
                cases.setdefault(demands, Case(demands, tuple(branch.notes)))
            if steps > STEPS or len(cases) > MOST:
                raise TooMany
        return Expansion(tuple(cases.values()), tuple(self._values), tuple(self._notes))

    @staticmethod
    def _chosen(branch: _Branch) -> list[_Branch]:
        within, options = branch.choices.pop(0)
        found = []
        for option in options:
            found.append(branch.copy())
            found[-1].add(option, within)
        return found

    def _read(self, branch: _Branch, claim: Claim, within: Claims) -> None:
        if claim in within:
            raise SchemaError(claim.place, "it refers to itself; mend the reference")
        if claim in branch.seen:
            return
        branch.seen.add(claim)
        if isinstance(schema := claim.schema, bool):
            branch.alive = schema == claim.holds
        elif claim.holds:
            self._demand(branch, claim, (*within, claim))
        else:
            self._deny(branch, claim, (*within, claim))

    # A schema that holds.

    def _demand(self, branch: _Branch, claim: Claim, within: Claims) -> None:
        words = claim.keywords
        for word in (*IN_PLACE, *KEYWORDS[self._kind]):
            if word in words and branch.alive:
                self._demand_one(branch, claim, within, word, words[word])
        if "enum" in words or "const" in words:
            self._values += words.get("enum", [words.get("const")])
            branch.alive = False

    def _demand_one(
        self, branch: _Branch, claim: Claim, within: Claims, word: str, value: Any
    ) -> None:
        match word:
            case _ if word in REFERENCES:
                branch.add(self._target(claim, word), within)
            case "allOf":
                branch.add((claim.child(word, i) for i in range(len(value))), within)
            case "anyOf":
                branch.choices.append((within, [[claim.child(word, i)] for i in range(len(value))]))
            case "oneOf":
                self._demand_one_of(branch, claim, within)
            case "not":
                branch.add([claim.child(word, holds=False)], within)
            case "if":
                branch.choices.append((within, conditional(claim, holds=True)))
            case "type":
                branch.alive = _admits(value, self._kind)
                branch.demands[Keyword(word, claim, within)] = None
            case "dependentRequired" | "dependentSchemas" | "dependencies":
                branch.choices += ((within, options) for options in _dependent(claim, word))
            case _:
                branch.demands[Keyword(word, claim, within)] = None

    def _target(self, claim: Claim, word: str) -> list[Part]:
        """What a reference leads to; nothing, and a note, when it can't be followed."""
        target = claim.target(word)
        dynamic = word != "$ref" and claim.document is not None and claim.document.anchors > 1
        if target is None or dynamic:
            self._notes[Keyword(word, claim).note] = None
            return []
        return [target]

    def _demand_one_of(self, branch: _Branch, claim: Claim, within: Claims) -> None:
        count = len(claim.schema["oneOf"])
        children = [claim.child("oneOf", i) for i in range(count)]
        facts = [_constants(child) if self._kind == "object" else {} for child in children]
        options: list[list[Part]] = []
        for i, child in enumerate(children):
            option: list[Part] = [child]
            for j, other in enumerate(children):
                if i == j:
                    continue
                if key := _distinct(facts[i], facts[j]):
                    option.append(Present(key))
                elif self._exactness is not Exactness.LOOSE:
                    option.append(other.opposite)
            options.append(option)
        if self._exactness is Exactness.LOOSE:
            branch.notes[Keyword("oneOf", claim).note] = None
        branch.choices.append((within, options))

    # A schema that does not hold: one of its keywords does not.

    def _deny(self, branch: _Branch, claim: Claim, within: Claims) -> None:
        words = claim.keywords
        if "type" in words and not _admits(words["type"], self._kind):
            return
        options: list[list[Part]] = []
        unknown: list[Keyword] = []
        for word in (*IN_PLACE, *KEYWORDS[self._kind]):
            if word not in words:
                continue
            if word in REFERENCES:
                found = [self._target(claim, word)]
            else:
                found = denied(claim, word, self._kind)
            if found is None:
                unknown.append(Keyword(word, claim))
            else:
                options += found
        if [] in options:
            return
        options = [option for option in options if not any(map(_hopeless, option))]
        if unknown and not options:
            branch.notes.update((keyword.note, None) for keyword in unknown)
            return
        if self._exactness is not Exactness.FULL:
            options = [o for o in options if _is_absence(o)][:1] or options
        branch.choices.append((within, options))


def _is_absence(option: list[Part]) -> bool:
    return all(isinstance(part, Member) and part.claim == NEVER for part in option)


def _hopeless(part: Part) -> bool:
    return isinstance(part, Claim) and part.schema is (not part.holds)


def _admits(types: str | list[str], kind: str) -> bool:
    """Whether `type` admits a kind at all; integers are numbers."""
    named = {types} if isinstance(types, str) else set(types)
    return kind in named or (kind == "number" and "integer" in named)


def _dependent(claim: Claim, word: str) -> list[list[list[Part]]]:
    """A choice for each key: it is not there, or what depends on it holds."""
    return [
        [[Member(key, NEVER)], [Present(key), *_dependants(claim, word, key, value)]]
        for key, value in claim.schema[word].items()
    ]


def _dependants(claim: Claim, word: str, key: str, value: Any) -> list[Part]:
    if isinstance(value, list):
        return [Present(other) for other in value]
    return [claim.child(word, key)]


# Telling alternatives apart, and seeing early that one can't be.


def constants(claim: Claim) -> list[Any] | None:
    """The values that a schema admits, when it simply lists them."""
    for _ in range(8):
        if claim.document is None or not claim.holds or isinstance(claim.schema, bool):
            return None
        words = claim.keywords
        if "const" in words:
            return [words["const"]]
        if "enum" in words:
            return words["enum"]
        if "$ref" not in words or (target := claim.target("$ref")) is None:
            return None
        claim = target
    return None


def _constants(claim: Claim) -> dict[str, list[str]]:
    """The keys of an object whose values are listed, and these values as comparable text."""
    found: dict[str, list[str]] = {}
    todo = [claim]
    for claim in todo:
        if isinstance(claim.schema, bool) or len(todo) > 50:
            continue
        words = claim.keywords
        if "$ref" in words and (target := claim.target("$ref")):
            todo.append(target)
        todo += [claim.child("allOf", i) for i in range(len(words.get("allOf", ())))]
        for key in words.get("properties", {}):
            if (values := constants(claim.child("properties", key))) is not None:
                found[key] = [repr(_comparable(value)) for value in values]
    return found


def _comparable(value: Any) -> Any:
    """Equal for equal JSON: 1 is 1.0, but not true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return int(value) if value == int(value) else value


def _distinct(one: dict[str, list[str]], other: dict[str, list[str]]) -> str | None:
    """A key by which two objects can be told apart, once it is there."""
    shared = (key for key in one if key in other)
    return next((key for key in shared if not {*one[key]} & {*other[key]}), None)


def _contradictory(branch: _Branch) -> bool:
    """Whether a key that must be there can have no value; sees listed values only."""
    members: dict[str, list[Claim]] = {}
    present: set[str] = set()
    for demand in branch.demands:
        match demand:
            case Present(key):
                present.add(key)
            case Member(key, claim):
                members.setdefault(key, []).append(claim)
            case Keyword("required", claim) if claim.holds and isinstance(demand.value, list):
                present.update(demand.value)
            case Keyword("properties", claim):
                for key in demand.value:
                    members.setdefault(key, []).append(claim.child("properties", key))
    return any(key in present and _impossible(claims) for key, claims in members.items())


def _impossible(claims: list[Claim]) -> bool:
    if NEVER in claims:
        return True
    listed = next((v for v in map(constants, claims) if v is not None), None)
    if listed is None or len(claims) == 1:
        return False
    return not any(all(claim.fits(value) for claim in claims) for value in listed)
