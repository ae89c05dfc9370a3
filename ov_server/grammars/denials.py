"""The ways in which a schema can fail to hold, keyword by keyword (De Morgan's laws)."""

from itertools import combinations
from typing import Any

from .claims import NEVER, Claim
from .demands import Demand, Each, Item, Keyword, Member, Present, Some

Part = Claim | Demand

Ways = list[list[Part]]
"""Alternatives, each of parts that hold together."""


def denied(claim: Claim, word: str, kind: str) -> Ways | None:
    """The ways in which a keyword of the claim's schema can fail for values of a kind; None when
    there are some that can't be said. References are followed elsewhere."""
    value = claim.schema[word]
    match word:
        case "allOf":
            return [[claim.child(word, i, holds=False)] for i in range(len(value))]
        case "anyOf":
            return [[claim.child(word, i, holds=False) for i in range(len(value))]]
        case "oneOf":
            return _one_of(claim)
        case "not":
            return [[claim.child(word)]]
        case "if":
            return conditional(claim, holds=False)
        case "type":
            fractions = "number" in ([value] if isinstance(value, str) else value)
            return [] if kind != "number" or fractions else [[Keyword(word, claim)]]
        case "enum" | "const":
            return [[Keyword(word, claim)]]
    if kind in ("object", "array"):
        return (_members if kind == "object" else _items)(claim, word, value)
    return None if word == "format" else [[Keyword(word, claim)]]


def conditional(claim: Claim, *, holds: bool) -> list[list[Part]]:
    """`if`, `then` and `else`; what is left out is true."""
    options: list[list[Part]] = []
    for branch, met in (("then", True), ("else", False)):
        option: list[Part] = [claim.child("if", holds=met)]
        if branch in claim.schema:
            options.append([*option, claim.child(branch, holds=holds)])
        elif holds:
            options.append(option)
    return options


def _one_of(claim: Claim) -> Ways | None:
    count = len(claim.schema["oneOf"])
    none: list[Part] = [claim.child("oneOf", i, holds=False) for i in range(count)]
    pairs = combinations(range(count), 2) if count <= 6 else ()
    two: Ways = [[claim.child("oneOf", i), claim.child("oneOf", j)] for i, j in pairs]
    return [none, *two]


def _members(claim: Claim, word: str, value: Any) -> Ways | None:
    match word:
        case "properties":
            return [[Present(k), Member(k, claim.child(word, k, holds=False))] for k in value]
        case "required":
            return [[Member(key, NEVER)] for key in value] if isinstance(value, list) else []
        case "minProperties" | "maxProperties":
            return [[Keyword(word, claim)]]
        case "dependentRequired" | "dependentSchemas" | "dependencies":
            return _dependants(claim, word, value)
    return [] if value in (True, {}) else None


def _dependants(claim: Claim, word: str, value: dict[str, Any]) -> Ways:
    options: Ways = []
    for key, wanted in value.items():
        if isinstance(wanted, list):
            options += ([Present(key), Member(other, NEVER)] for other in wanted)
        else:
            options.append([Present(key), claim.child(word, key, holds=False)])
    return options


def _items(claim: Claim, word: str, value: Any) -> Ways | None:
    schema = claim.schema
    if isinstance(value, list):
        return [[Item(i, claim.child(word, i, holds=False))] for i in range(len(value))]
    match word:
        case "items":
            start = len(schema.get("prefixItems", ()))
            return [[Some(start, claim.child(word, holds=False))]]
        case "additionalItems":
            if not isinstance(items := schema.get("items"), list):
                return []
            return [[Some(len(items), claim.child(word, holds=False))]]
        case "contains":
            least = claim.keywords.get("minContains", 1)
            if least > 1 or "maxContains" in claim.keywords:
                return None
            return [[Each(claim.child(word, holds=False))]] if least else []
        case "minItems" | "maxItems":
            return [[Keyword(word, claim)]]
    return [] if value in (({}, True) if word == "unevaluatedItems" else (False,)) else None
