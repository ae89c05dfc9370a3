"""One schema document, and claims: that a value fits, or does not fit, the schema at a place of it.
Knows the drafts, follows references, asks jsonschema; knows no grammar.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, unquote

import jsonschema
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

Step = str | int
Place = tuple[Step, ...]
"""Keys and indexes from the root of a document."""

DEEPEST = 100
LARGEST = 1_000_000
"""Levels of nesting, and characters, that a document may have."""

UNKNOWN = "urn:ov-server:schema"
"""The address of a document that does not say its own."""


class SchemaError(ValueError):
    """A schema that can't be translated: what is wrong, and where."""

    def __init__(self, place: Place, reason: str):
        self.place = shown(place)
        self.reason = reason
        super().__init__(f"{self.place}: {reason}" if place else reason)


def shown(place: Place) -> str:
    """Like `properties.a.anyOf[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Claim:
    """That a value fits the schema at a place (or, if not `holds`, that it does not)."""

    document: "Document | None" = field(repr=False)
    place: Place
    holds: bool = True

    @property
    def schema(self) -> Any:
        return False if self.document is None else self.document.at(self.place)

    @property
    def keywords(self) -> Mapping[str, Any]:
        """The keywords of the schema that its draft knows."""
        assert self.document is not None
        return self.document.keywords(self.schema)

    @property
    def opposite(self) -> "Claim":
        return Claim(self.document, self.place, not self.holds)

    def child(self, *steps: Step, holds: bool = True) -> "Claim":
        """The claim for a schema within; `holds` as seen from this schema."""
        return Claim(self.document, (*self.place, *steps), holds)

    def fits(self, value: Any) -> bool:
        if self.document is None:
            return False
        return self.document.fits(value, self.place) == self.holds

    def target(self, keyword: str) -> "Claim | None":
        """Where a reference leads; None when that is outside of the document."""
        assert self.document is not None
        place = self.document.target(self.place, keyword)
        return None if place is None else Claim(self.document, place, self.holds)


NEVER = Claim(None, ())
"""No value fits."""

Claims = tuple[Claim, ...]
"""All of them are to hold; none at all: any value fits."""


class Document:
    """A schema as a whole. Raises SchemaError when it is none."""

    def __init__(self, schema: Any):
        self.root = _without_nulls(_plain(schema))
        self._validators = draft_of(self.root)
        self._known = self._validators.VALIDATORS
        self._specification = specification_with(str(self._validators.META_SCHEMA["$schema"]))
        self._resource = self._specification.create_resource(self.root)
        try:
            self._address = self._resource.id() or UNKNOWN
            self._registry = Registry().with_resource(self._address, self._resource).crawl()
        except ValueError as error:
            raise SchemaError((), f"an $id in it is no address: {error}; mend it") from None
        self._places = {id(node): place for place, node in _nodes(self.root)}
        self._checks: dict[Place, Validator] = {}
        self._alone = "if" not in self._known or "dependencies" in self._known
        """Draft 7 and before: a reference stands alone, what is beside it is ignored."""

    def at(self, place: Place) -> Any:
        node = self.root
        for step in place:
            node = node[step]
        return node

    def keywords(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._alone and "$ref" in schema:
            return {"$ref": schema["$ref"]}
        known = {key: value for key, value in schema.items() if key in self._known}
        if "contains" in known and "unevaluatedItems" in self._known:
            counts = ("minContains", "maxContains")
            known.update({key: schema[key] for key in counts if key in schema})
        return known

    def fits(self, value: Any, place: Place) -> bool:
        """Whether the value is valid at that place; True where jsonschema can't tell."""
        if place not in self._checks:
            schema = {"$ref": f"{self._address.rstrip('#')}#{quote(_path(place))}"}
            self._checks[place] = self._validators(schema, registry=self._registry)
        try:
            return self._checks[place].is_valid(value)
        except (Unresolvable, re.error):
            return True
        except RecursionError:
            reason = "its references lead too far, or in a circle; mend them"
            raise SchemaError(place, reason) from None

    def target(self, place: Place, keyword: str) -> Place | None:
        reference = self.at(place)[keyword]
        if not isinstance(reference, str):
            raise SchemaError((*place, keyword), "a reference is a text; mend it")
        resolver = self._registry.resolver_with_root(self._resource)
        if self._address == UNKNOWN:
            resolver = self._registry.resolver(UNKNOWN)
        node = self.root
        for step in place:
            node = node[step]
            if isinstance(node, dict) and isinstance(node.get("$id"), str):
                resolver = resolver.in_subresource(self._specification.create_resource(node))
        try:
            found = resolver.lookup(reference).contents
        except (Unresolvable, KeyError, TypeError, ValueError, IndexError) as error:
            if type(error) is Unresolvable:
                return None
            reason = f"there is nothing at '{reference}'; mend the reference"
            raise SchemaError((*place, keyword), reason) from None
        target = (
            self._boolean(reference) if isinstance(found, bool) else self._places.get(id(found))
        )
        if not isinstance(found, bool | dict):
            reason = f"there is no schema at '{reference}'; mend the reference"
            raise SchemaError((*place, keyword), reason)
        return target

    def _boolean(self, reference: str) -> Place | None:
        """The place of a schema that is just true or false: it can only be found by its path."""
        path = unquote(reference.partition("#")[2])
        booleans = (place for place, node in _nodes(self.root) if isinstance(node, bool))
        return next((place for place in booleans if _path(place) == path), None)

    @property
    def anchors(self) -> int:
        """How many schemas of it a dynamic reference could lead to."""
        keys = ("$dynamicAnchor", "$recursiveAnchor")
        return sum(isinstance(n, dict) and any(k in n for k in keys) for _, n in _nodes(self.root))


def _path(place: Place) -> str:
    """As a JSON pointer (RFC 6901)."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in place)
    return "".join(f"/{step}" for step in steps)


_NULL_IS_NONE = {"required", "enum", "properties", "items", "anyOf", "allOf", "oneOf", "format"}


def _without_nulls(node: Any) -> Any:
    """Without keywords that some programs write as null where they mean none."""
    if isinstance(node, list):
        return [_without_nulls(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in ("const", "enum", "default", "examples") else _without_nulls(value)
        for key, value in node.items()
        if value is not None or key not in _NULL_IS_NONE
    }


def _plain(schema: Any) -> Any:
    """A copy of its own, of plain JSON."""
    if not isinstance(schema, dict | bool):
        raise SchemaError((), "a schema is an object, or true or false")
    if any(len(place) > DEEPEST for place, _ in _nodes(schema)):
        raise SchemaError((), f"it is nested more than {DEEPEST} levels deep; make it flatter")
    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        reason = "it holds half a surrogate pair, which is no character; remove it"
        raise SchemaError((), reason) from None
    except (TypeError, ValueError) as error:
        raise SchemaError((), f"it is not JSON: {error}") from None
    if len(text) > LARGEST:
        raise SchemaError((), f"it has more than {LARGEST} characters; make it smaller")
    return json.loads(text)


def _nodes(node: Any) -> Iterator[tuple[Place, Any]]:
    """Everything in a document, with its place; a little deeper than it may be."""
    todo: list[tuple[Place, Any]] = [((), node)]
    while todo:
        place, node = todo.pop()
        yield place, node
        if len(place) > DEEPEST:
            continue
        if isinstance(node, dict):
            todo += [((*place, key), value) for key, value in node.items()]
        elif isinstance(node, list):
            todo += [((*place, index), value) for index, value in enumerate(node)]


def draft_of(schema: Any) -> type[Validator]:
    """The library's class for the schema's draft; without one 2020-12, or 7 or 4 when it is that
    and has no keyword that came later. Raises SchemaError for what the draft does not allow."""
    newest = jsonschema.Draft202012Validator
    stated = isinstance(schema, dict) and "$schema" in schema
    if stated and not isinstance(schema["$schema"], str):
        raise SchemaError(("$schema",), "it names a draft with text")
    chosen = cast(type[Validator], jsonschema.validators.validator_for(schema, default=newest))
    if chosen is jsonschema.Draft3Validator:
        raise SchemaError(("$schema",), "draft 3 is not known here; write it in draft 2020-12")
    wrong = _mistake(chosen, schema)
    if wrong and not stated and not _later(schema):
        for older in (jsonschema.Draft7Validator, jsonschema.Draft4Validator):
            if not _mistake(older, schema):
                return older
    if wrong:
        # for a type that is none, the list of those that are
        listed = next((e for e in wrong.context or () if e.validator == "enum"), wrong)
        raise SchemaError(tuple(wrong.absolute_path), f"{listed.message[:300]}; mend the schema")
    return chosen


_LATER = {
    *("prefixItems", "unevaluatedItems", "unevaluatedProperties", "minContains", "maxContains"),
    *("dependentSchemas", "dependentRequired", "$anchor", "$dynamicAnchor", "$dynamicRef"),
}
"""Keywords of 2020-12 that draft 7 would not hold anybody to."""


def _later(schema: Any) -> bool:
    return any(isinstance(node, dict) and _LATER & node.keys() for _, node in _nodes(schema))


def _mistake(validators: type[Validator], schema: Any) -> jsonschema.ValidationError | None:
    """What the draft does not allow; patterns are looked at elsewhere."""
    meta = validators(validators.META_SCHEMA)
    try:
        return jsonschema.exceptions.best_match(meta.iter_errors(schema))
    except RecursionError:
        raise SchemaError((), "it is nested too deeply; make it flatter") from None
