"""What may be demanded of a value: keywords of JSON Schema, and what follows from their opposites.
Plain data.
"""

from dataclasses import dataclass, field
from typing import Any

from .claims import Claim, Claims, shown

KEYWORDS = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "object": (
        *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties"),
        *("required", "propertyNames", "minProperties", "maxProperties"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
    ),
    "array": (
        *("prefixItems", "items", "additionalItems", "unevaluatedItems", "contains"),
        *("minItems", "maxItems", "uniqueItems"),
    ),
}
"""The kinds of values of which there are more than a handful, and what is said of them."""


@dataclass(frozen=True, slots=True)
class Unenforced:
    """A keyword that the grammar does not hold the text to."""

    keyword: str
    place: str
    """Where it stands, like `properties.a.items.not`."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """What a keyword of the claim's schema says (or, where the claim does not hold, its
    opposite)."""

    name: str
    claim: Claim
    within: Claims = field(default=(), compare=False)
    """The claims that this one is part of, the outermost first."""

    @property
    def value(self) -> Any:
        return self.claim.schema[self.name]

    @property
    def constants(self) -> list[Any]:
        """The values that `enum` or `const` names."""
        return self.value if self.name == "enum" else [self.value]

    def part_of(self, claim: Claim) -> bool:
        """Whether it is stated within the claim's schema, and not in the opposite of something."""
        if claim not in self.within:
            return False
        return all(outer.holds for outer in self.within[self.within.index(claim) :])

    @property
    def note(self) -> Unenforced:
        return Unenforced(self.name, shown((*self.claim.place, self.name)))


@dataclass(frozen=True, slots=True)
class Present:
    """The object has this key."""

    key: str


@dataclass(frozen=True, slots=True)
class Member:
    """The object has not got this key, or its value is as claimed."""

    key: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class Item:
    """The array has an item at this index, and it is as claimed."""

    index: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Each:
    """All items of the array are as claimed."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Some:
    """An item of the array, not before this index, is as claimed."""

    start: int
    claim: Claim


Demand = Keyword | Present | Member | Item | Each | Some


@dataclass(frozen=True, slots=True)
class Case:
    """One alternative: all of this is demanded of a value."""

    demands: tuple[Demand, ...]
    notes: tuple[Unenforced, ...]

    def keywords(self, *names: str) -> list[Keyword]:
        return [d for d in self.demands if isinstance(d, Keyword) and d.name in names]

    def constants_of(self, kind: type) -> list[Unenforced]:
        """Notes of each `enum` and `const` that names values of a kind: opposites of objects and
        arrays are not held to."""
        said = self.keywords("enum", "const")
        return [k.note for k in said if any(isinstance(value, kind) for value in k.constants)]


@dataclass(frozen=True, slots=True)
class Expansion:
    """All that fits some claims, of one kind."""

    cases: tuple[Case, ...]
    values: tuple[Any, ...]
    """Those of `enum` and `const`; they still have to be checked."""
    notes: tuple[Unenforced, ...]
    """Of references that lead out of the document, whatever the case."""
