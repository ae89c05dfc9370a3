"""JSON Schema as grammar: the texts that a model may write are values that fit the schema, except
for what is listed as unenforced. Drafts 4 to 2020-12.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from .automata import ANY, Automaton, TooLarge, both, either, minimal, words
from .cases import expand
from .claims import Claim, Claims, Document, SchemaError
from .demands import Case, Expansion, Unenforced
from .grammar import (
    NOTHING,
    Node,
    Rule,
    choice,
    literal,
    optional,
    productive,
    references,
    repeat,
    sequence,
)
from .members import object_text, unlike
from .patterns import matching
from .quantities import Quantities
from .rows import array_text
from .rulebook import Rulebook
from .strings import Strings
from .styles import BRACED, COMPACT, FREE, KEYWORDS, PYTHON, TAGS, Style, no_string

__all__ = [
    "BRACED",
    "COMPACT",
    "FREE",
    "KEYWORDS",
    "PYTHON",
    "TAGS",
    "SchemaError",
    "Schemas",
    "Style",
    "Unenforced",
]

KINDS = ("object", "array", "string", "number")

PLACES = 5000
"""Different values that one schema may speak of; recursion is one."""


_NOTHING_FITS = (
    "no value fits it that can be written; remove what contradicts itself, numbers beyond 18 "
    "digits, and keys that the model's format can't carry"
)


class Schemas:
    """Collects the rules of several schemas in one grammar; equal ones are shared."""

    def __init__(self, style: Style = COMPACT, prefix: str = ""):
        """`prefix` begins the names of all rules."""
        self.style = style
        self.book = Rulebook(prefix)
        self.unenforced: list[Unenforced] = []
        self._strings = Strings(self.book, style.mark)
        self._quantities = Quantities(self.book)

    @property
    def rules(self) -> dict[str, Node]:
        return self.book.rules

    def value(self, schema: Any) -> Node:
        """The JSON text of any value that fits. Raises SchemaError."""
        translation = _Translation(self, self._strings, self._quantities)
        with _bounded():
            node = translation.document(schema)
        if not self._fits(node):
            raise SchemaError((), _NOTHING_FITS)
        self._note(translation)
        return node

    def arguments(self, schema: Any, outer: Style) -> tuple[Node, dict[str, frozenset[str]]]:
        """The text of any object that fits, the outermost one in another style, and the types
        that the values of its declared keys may have. Raises SchemaError."""
        translation = _Translation(self, self._strings, self._quantities)
        with _bounded():
            node, kinds = translation.arguments(schema, outer)
        if not self._fits(node):
            raise SchemaError((), "no object fits it; remove what contradicts itself")
        self._note(translation)
        return node, kinds

    def _note(self, translation: "_Translation") -> None:
        self.unenforced += [n for n in translation.notes if n not in self.unenforced]

    def _fits(self, node: Node) -> bool:
        """Whether any text comes of the node."""
        reached: set[str] = set()
        todo = list(references(node))
        while todo:
            if (name := todo.pop()) not in reached:
                reached.add(name)
                todo += references(self.rules[name])
        rules = {name: rule for name, rule in self.rules.items() if name in reached}
        return "" in productive({**rules, "": node})


class _Translation:
    """One schema on its way into the grammar: what values of its places look like. Objects and
    arrays are written after what mentions them, so nesting and recursion need no stack."""

    def __init__(self, schemas: Schemas, strings: Strings, quantities: Quantities):
        self.style = schemas.style
        self.book = schemas.book
        self.notes: dict[Unenforced, None] = {}
        self._strings = strings
        self._quantities = quantities
        self._values: dict[frozenset[Claim], Node] = {}
        self._expanded: dict[tuple[frozenset[Claim], str], Expansion] = {}
        self._todo: list[tuple[str, str, Case]] = []

    def document(self, schema: Any) -> Node:
        node = self.value(_claims(schema))
        self._write_todo()
        return node

    def _write_todo(self) -> None:
        while self._todo:
            name, kind, case = self._todo.pop()
            write = object_text if kind == "object" else array_text
            self.book.rules[name], notes = write(case, self)
            self._note(notes)

    def arguments(self, schema: Any, outer: Style) -> tuple[Node, dict[str, frozenset[str]]]:
        claims = _claims(schema)
        expansion = self._expand(claims, "object")
        self._note(expansion.notes)
        if expansion.values:
            raise SchemaError((), "arguments can't be an enum of objects in the model's format")
        writer = _Outermost(self, outer)
        options: list[Node] = []
        for case in expansion.cases:
            self._note(case.notes)
            node, notes = object_text(case, writer)
            self._note(notes)
            options.append(node)
        writer.write_rest()
        self._write_todo()
        return choice(*options), writer.kinds

    def _note(self, notes) -> None:
        self.notes.update(dict.fromkeys(notes))

    # What objects and arrays ask for.

    def value(self, claims: Claims) -> Node:
        if not claims:
            return self._anything()
        key = frozenset(claims)
        if key not in self._values:
            if len(self._values) > PLACES:
                raise SchemaError(claims[0].place, f"more than {PLACES} places; make it smaller")
            self._values[key] = self.book.name(self._written(claims), "value")
        return self._values[key]

    def member(self, name: str, claims: Claims) -> Node:
        return self.style.member(_key(name, self.style), self.value(claims))

    def key(self, admitted: Automaton) -> Node:
        if self.style.names:
            return self.bare_key(admitted, self.style.names)
        return self._strings.quoted(admitted)

    def bare_key(self, admitted: Automaton, names: str) -> Node:
        return self._strings.bare(both(admitted, matching(names)))

    def closed(self, claims: Claims, kinds: frozenset[str], closing: str) -> Node:
        """A value with what closes it behind it, which stands in no string of it, as those stand
        bare. Nor is one what the reader takes for a value of another of the types."""
        admitted, notes = self.strings(claims) if claims else (ANY, [])
        self._note(notes)
        string = self._strings.ended(admitted, closing, no_string(kinds))
        return choice(sequence(self.but_strings(claims), literal(closing)), string)

    def strings(self, claims: Claims) -> tuple[Automaton, list[Unenforced]]:
        """The strings that fit, and what could not be held to."""
        expansion = self._expand(claims, "string")
        found = words(_fitting(expansion.values, claims, "string"))
        notes = [*expansion.notes]
        for case in expansion.cases:
            admitted, unenforced = self._strings.admitted(case)
            found = minimal(either(found, admitted))
            notes += [*case.notes, *unenforced]
        return found, notes

    def listed(self, claims: Claims) -> list[Any] | None:
        """The values that fit when they can be counted up."""
        if not claims:
            return None
        found = self._constants(claims)
        for kind in KINDS:
            expansion = self._expand(claims, kind)
            if expansion.cases:
                return None
            found += _fitting(expansion.values, claims, kind)
        return found

    # How values are written.

    def _expand(self, claims: Claims, kind: str) -> Expansion:
        key = frozenset(claims), kind
        if key not in self._expanded:
            self._expanded[key] = expand(claims, kind)
        return self._expanded[key]

    def _constants(self, claims: Claims) -> list[Any]:
        found = ((True, "boolean"), (False, "boolean"), (None, "null"))
        likely = [value for value, kind in found if all(_may_be(claim, kind) for claim in claims)]
        return [value for value in likely if all(claim.fits(value) for claim in claims)]

    def kinds(self, claims: Claims) -> frozenset[str]:
        """The types of JSON Schema that values may have; integers are numbers."""
        found = set()
        for kind in KINDS:
            expansion = self._expand(claims, kind)
            if expansion.cases or _fitting(expansion.values, claims, kind):
                found.add(kind)
        constants = self._constants(claims)
        found |= {"null"} if None in constants else set()
        return frozenset(found | ({"boolean"} if {True, False} & {*constants} else set()))

    def but_strings(self, claims: Claims) -> Node:
        """The text of any value that is no string."""
        return self._written(claims, ("object", "array", "number"))

    def _written(self, claims: Claims, kinds: Sequence[str] = KINDS) -> Node:
        options: list[Node] = []
        for kind in kinds:
            expansion = self._expand(claims, kind)
            self._note(expansion.notes)
            options += map(self.style.value, _fitting(expansion.values, claims, kind))
            for case in expansion.cases:
                self._note(case.notes)
                options.append(self._case(case, kind))
        return choice(*options, *map(self.style.value, self._constants(claims)))

    def _case(self, case: Case, kind: str) -> Node:
        if kind == "string":
            admitted, notes = self._strings.admitted(case)
            self._note(notes)
            return NOTHING if admitted.empty else self._strings.quoted(admitted)
        if kind == "number":
            node, notes = self._quantities.text(case)
            self._note(notes)
            return node
        if not case.demands:
            return self._any_object() if kind == "object" else self._any_array()
        name = self.book.reserve(kind)
        self._todo.append((name, kind, case))
        return Rule(name)

    # What may be anything.

    def _anything(self) -> Node:
        name = self.book.fixed("value")
        if name not in self.book.rules:
            self.book.rules[name] = NOTHING
            string, number = self._strings.quoted(ANY), self._quantities.any(integral=False)
            constants = map(self.style.value, (True, False, None))
            options = (self._any_object(), self._any_array(), string, number, *constants)
            self.book.rules[name] = choice(*options)
        return Rule(name)

    def _any_object(self) -> Node:
        member = self.style.member(self.key(ANY), Rule(self.book.fixed("value")))
        return self._collection("any_object", "{", member, "}")

    def _any_array(self) -> Node:
        return self._collection("any_array", "[", Rule(self.book.fixed("value")), "]")

    def _collection(self, name: str, opening: str, item: Node, closing: str) -> Node:
        row = optional(sequence(item, repeat(sequence(self.style.comma, item))))
        node = self.book.name(self.style.wrapped(opening, row, closing), name, exact=True)
        self._anything()
        return node


class _Outermost:
    """Writes the outermost object in a style of its own, and what is within as usual. Where strings
    stand bare a key alone tells which types its value may have, so keys and values are written when
    all cases have had their say."""

    def __init__(self, inner: _Translation, style: Style):
        self.style = style
        self.book = inner.book
        self.kinds: dict[str, frozenset[str]] = {}
        """By declared key, where that is so; under "" those of all other keys."""
        self._inner = inner
        self._values: dict[tuple[str, Claims], str] = {}
        self._keys: dict[Automaton, str] = {}

    def value(self, claims: Claims) -> Node:
        return self._value("", claims)

    def member(self, name: str, claims: Claims) -> Node:
        return self.style.member(_key(name, self.style), self._value(name, claims))

    def _value(self, key: str, claims: Claims) -> Node:
        if not self.style.closing:
            return self._inner.value(claims)
        self.kinds[key] = self.kinds.get(key, frozenset()) | self._inner.kinds(claims)
        if (key, claims) not in self._values:
            self._values[key, claims] = self.book.reserve("closed")
        return Rule(self._values[key, claims])

    def key(self, admitted: Automaton) -> Node:
        if not self.style.closing:
            return self._inner.bare_key(admitted, self.style.names)
        if admitted not in self._keys:
            self._keys[admitted] = self.book.reserve("key")
        return Rule(self._keys[admitted])

    def write_rest(self) -> None:
        """The rules of keys and values."""
        for admitted, rule in self._keys.items():
            others = both(admitted, unlike([key for key in self.kinds if key]))
            self.book.rules[rule] = self._inner.bare_key(others, self.style.names)
        for (key, claims), rule in self._values.items():
            # Where anything fits, all that counts is to see where it ends.
            kinds = self.kinds[key] if claims else frozenset({"object", "array"})
            self.book.rules[rule] = self._inner.closed(claims, kinds, self.style.closing)

    def strings(self, claims: Claims) -> tuple[Automaton, list[Unenforced]]:
        return self._inner.strings(claims)

    def listed(self, claims: Claims) -> list[Any] | None:
        return self._inner.listed(claims)


def _key(name: str, style: Style) -> Node:
    """A declared key. Raises SchemaError where it would stand bare and can't."""
    if (node := style.key(name)) == NOTHING:
        reason = (
            f"the format in which the model writes calls can't carry the name {name!r}; rename it"
        )
        raise SchemaError(("properties", name), reason)
    return node


@contextmanager
def _bounded() -> Generator[None, None, None]:
    """What grows beyond all bounds is the schema's fault."""
    try:
        yield
    except TooLarge as error:
        raise SchemaError((), f"it is too large: {error}; make it simpler") from None
    except RecursionError:
        raise SchemaError((), "it is nested too deeply; make it flatter") from None


def _claims(schema: Any) -> Claims:
    document = Document(schema)
    return () if document.root in (True, {}) else (Claim(document, ()),)


def _fitting(values: tuple[Any, ...], claims: Claims, kind: str) -> list[Any]:
    """The values of a kind that fit all claims, each once."""
    found = {repr(value): value for value in values if _kind(value) == kind}
    return [value for value in found.values() if all(claim.fits(value) for claim in claims)]


def _may_be(claim: Claim, kind: str) -> bool:
    """Not where `type` says otherwise; that is quick to see."""
    if not claim.holds or isinstance(claim.schema, bool):
        return True
    types = claim.keywords.get("type", kind)
    return kind in ([types] if isinstance(types, str) else types)


def _kind(value: Any) -> str:
    kinds = {str: "string", int: "number", float: "number", dict: "object", list: "array"}
    return kinds.get(type(value), "")
