import json
from decimal import Context, Decimal
from typing import Any

import jsonschema
import pytest
from grammars import Sampler
from hypothesis import given, settings
from hypothesis import strategies as st
from toolschemas import REALISTIC, STRING, array, obj

from ov_server.grammars.automata import counted, minimal
from ov_server.grammars.completion import Network
from ov_server.grammars.grammar import Grammar, Node, pruned
from ov_server.grammars.rulebook import Rulebook
from ov_server.grammars.schemas import (
    COMPACT,
    FREE,
    PYTHON,
    SchemaError,
    Schemas,
    Style,
    Unenforced,
)
from ov_server.grammars.strings import Strings

FORMATS = jsonschema.FormatChecker(("date", "email", "ipv4", "ipv6", "uuid"))


def exactly_divided(validator: Any, divisor: float, value: Any, schema: Any):
    """As decimal text says, which is what is written; jsonschema divides doubles."""
    exact = Context(prec=1000)
    if validator.is_type(value, "number") and exact.remainder(
        Decimal(repr(value)), Decimal(repr(divisor))
    ):
        yield jsonschema.ValidationError(f"{value} is not a multiple of {divisor}")


def validator(schema: Any) -> Any:
    newest = jsonschema.Draft202012Validator
    chosen = jsonschema.validators.validator_for(schema, default=newest)
    exact = jsonschema.validators.extend(chosen, {"multipleOf": exactly_divided})
    return exact(schema, format_checker=FORMATS)


def grammar_of(schema: Any, style: Style = COMPACT) -> tuple[Grammar, list[Unenforced]]:
    schemas = Schemas(style)
    node = schemas.value(schema)
    return grammar(schemas, node), schemas.unenforced


def grammar(schemas: Schemas, node: Node) -> Grammar:
    found = pruned(Grammar({**schemas.rules, "root": node}))
    assert found is not None
    return found


def accepts(found: Grammar, text: str) -> bool:
    return Network(found).rest(text) == ""


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def check(schema: Any, count: int = 20, style: Style = COMPACT) -> None:
    """Texts of the grammar are values that fit, if nothing is noted."""
    found, notes = grammar_of(schema, style)
    sampler = Sampler(found)
    judge = validator(schema)
    for _ in range(count):
        value = json.loads(text := sampler.text())
        assert notes or judge.is_valid(value), text


@pytest.mark.parametrize("name", REALISTIC)
def test_schemas_as_people_write_them_are_exact_and_natural(name: str) -> None:
    schema, values = REALISTIC[name]
    check(schema)
    check(schema, 10, FREE)
    compact, notes = grammar_of(schema)
    free, _ = grammar_of(schema, FREE)
    assert notes == []
    for value in values:
        assert validator(schema).is_valid(value)
        assert accepts(compact, written(value))
        assert accepts(compact, json.dumps(value, ensure_ascii=False))
        assert accepts(free, json.dumps(value, ensure_ascii=False, indent=2))


# Keyword by keyword: what is accepted, and what is not.

CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, "a", [{}], None], []),
    ({"type": ["integer", "null"]}, [0, -5, None], [1.5, "a"]),
    ({"type": "integer", "minimum": -12, "maximum": 105}, [-12, 0, 99, 105], [-13, 106, 1000]),
    ({"type": "integer", "exclusiveMinimum": 0.5}, [1, 10], [0, -1]),
    ({"type": "number", "exclusiveMaximum": 1.25}, [1.24, -3, 1.0], [1.25, 1.3, 2]),
    ({"type": "number", "multipleOf": 0.25}, [0.25, 1.5, -3], [0.3]),
    ({"type": "integer", "multipleOf": 7}, [0, 7, -49, 7000], [8, 1]),
    ({"type": "number", "not": {"type": "integer"}}, [1.5], [1, 2.0]),
    ({"type": "number", "not": {"enum": [1, 2.5]}}, [2, 1.5], [1, 1.0, 2.5, 2.50]),
    ({"minimum": 3}, [3, "a", None], [2]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "😀é"], ["a", "abcd"]),
    ({"type": "string", "pattern": "^a+$", "maxLength": 2}, ["a", "aa"], ["aaa", "b"]),
    ({"type": "string", "not": {"pattern": "^a"}}, ["b", ""], ["a", "ab"]),
    ({"enum": ["a", 1, None, [1, {"b": 2}]]}, ["a", 1, None, [1, {"b": 2}]], ["b", True]),
    ({"enum": ["a", "bcd"], "minLength": 2}, ["bcd"], ["a"]),
    ({"const": {"a": "\n\"'"}}, [{"a": "\n\"'"}], [{}]),
    ({"type": "boolean", "not": {"const": True}}, [False], [True]),
    (obj(["a"], a=STRING, b=STRING), [{"a": "", "b": ""}, {"a": ""}], [{}, {"b": ""}]),
    ({"required": ["a"]}, [{"a": 1}, 5], [{}]),
    ({"properties": {"a": STRING}, "type": "object"}, [{}, {"a": "x"}], [{"a": 1}]),
    ({"type": "object", "additionalProperties": STRING}, [{}, {"x": "y"}], [{"x": 1}]),
    (
        {"type": "object", "properties": {"ab": {}}, "additionalProperties": STRING},
        [{"ab": 1, "x": "y"}, {"b": ""}],
        [{"x": 1}],
    ),
    ({"type": "object", "propertyNames": {"pattern": "^a"}}, [{}, {"ab": 1}], [{"b": 1}]),
    ({"type": "object", "minProperties": 1}, [{"a": 1}], [{}]),
    ({"type": "object", "maxProperties": 1}, [{}, {"a": 1}], [{"a": 1, "b": 2}]),
    (
        {**obj([], a={}, b={}, c={}), "minProperties": 1, "maxProperties": 2},
        [{"a": 1}, {"b": 1, "c": 2}],
        [{}, {"a": 1, "b": 2, "c": 3}],
    ),
    (
        {"type": "object", "properties": {"a": {}}, "dependentSchemas": {"a": {"required": ["b"]}}},
        [{}, {"a": 1, "b": 2}],
        [{"a": 1}],
    ),
    ({"type": "object", "not": {"required": ["a"]}, "properties": {"a": {}}}, [{}], [{"a": 1}]),
    (array(STRING, minItems=1, maxItems=2), [["a"], ["a", "b"]], [[], ["a"] * 3, [1]]),
    ({"type": "array", "prefixItems": [STRING], "items": False}, [[], ["a"]], [["a", 1], [1]]),
    ({"type": "array", "contains": {"const": 1}}, [[1], [2, 1], [1, "a", 1]], [[], [2]]),
    ({"type": "array", "not": {"contains": STRING}}, [[], [1, None]], [["a"], [1, "a"]]),
    ({"type": "array", "not": {"items": STRING}}, [[1], [1, "a"]], [[], ["a"]]),
    (array({"enum": [1, 2]}, uniqueItems=True), [[], [1, 2], [2, 1]], [[1, 1]]),
    ({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]}, [5, "a"], ["ab", 1.5]),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, [1.5], [1, "a"]),
    ({"oneOf": [{"minimum": 2, "type": "number"}, {"maximum": 5}]}, [1, 6, "a"], [3]),
    ({"allOf": [{"type": ["string", "null"]}, {"type": ["string", "integer"]}]}, ["a"], [None, 1]),
    ({"if": {"type": "string"}, "then": {"maxLength": 1}, "else": {"const": 1}}, ["a", 1], ["ab"]),
    ({"not": {"not": {"type": "string"}}}, ["a"], [1]),
    ({"$defs": {"a/b~": STRING}, "$ref": "#/$defs/a~1b~0"}, ["x"], [1]),
    ({"$defs": {"a": {"$anchor": "here", "type": "string"}}, "$ref": "#here"}, ["x"], [1]),
    ({"$defs": {"a": {"$id": "x.json", "type": "null"}}, "$ref": "x.json"}, [None], [1]),
    ({"$defs": {"a": STRING}, "$ref": "#/$defs/a", "maxLength": 1}, ["x"], ["xy"]),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "items": [STRING],
            "additionalItems": False,
            "type": "array",
        },
        [[], ["a"]],
        [["a", 1], [1]],
    ),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": STRING},
            "allOf": [{"$ref": "#/definitions/a", "maxLength": 1}],
        },
        ["xy"],
        [1],
    ),
    (
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "integer",
            "minimum": 1,
            "exclusiveMinimum": True,
        },
        [2],
        [1],
    ),
]


@pytest.mark.parametrize(("schema", "fits", "others"), CASES, ids=lambda case: str(case)[:60])
def test_each_keyword(schema: Any, fits: list[Any], others: list[Any]) -> None:
    found, notes = grammar_of(schema)
    assert notes == []
    assert [v for v in fits if accepts(found, written(v))] == fits
    assert [v for v in others if accepts(found, written(v))] == []
    check(schema)


@pytest.mark.parametrize(
    ("name", "fits", "others"),
    [
        ("date", ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "2024-04-31"]),
        ("time", ["10:00:00Z", "23:59:59.5+01:00"], ["24:00:00Z", "10:00:00"]),
        ("date-time", ["2024-01-01T00:00:00Z"], ["2024-01-01", "2024-01-01 00:00:00Z"]),
        ("duration", ["P1D", "PT5M", "P2W"], ["P", "1D"]),
        ("email", ["a.b+c@d.org"], ["a", "@b.c", "a@b..c"]),
        ("hostname", ["a", "a-b.c"], ["-a", "a.", "a_b"]),
        ("ipv4", ["0.0.0.0", "255.1.20.3"], ["256.0.0.1", "1.2.3", "01.2.3.4"]),
        ("ipv6", ["::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8"], ["1::2::3", ":1", "12345::"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
        ("uri", ["https://a.de/b?c=d#e", "mailto:a@b.c"], ["a", "//a", "http://a b"]),
        ("something-else", ["", "x"], []),
    ],
)
def test_formats(name: str, fits: list[str], others: list[str]) -> None:
    schema = {"type": "string", "format": name}
    found, notes = grammar_of(schema)
    assert notes == []
    assert [text for text in fits + others if accepts(found, written(text))] == fits
    check(schema, 50)


@pytest.mark.parametrize(
    ("schema", "keyword", "place"),
    [
        (obj(a=array({"not": {"uniqueItems": True}})), "uniqueItems", "properties.a.items.not"),
        ({"type": "string", "maxLength": 300}, "maxLength", ""),
        ({"type": "string", "pattern": "^(?!a)"}, "pattern", ""),
        ({"type": "array", "uniqueItems": True}, "uniqueItems", ""),
        ({"type": "integer", "multipleOf": 12345}, "multipleOf", ""),
        ({"anyOf": [{"$ref": "https://example.com/a.json"}]}, "$ref", "anyOf[0]"),
        ({"type": "object", "minProperties": 3}, "minProperties", ""),
    ],
)
def test_what_is_not_enforced_is_said(schema: Any, keyword: str, place: str) -> None:
    _, notes = grammar_of(schema)
    assert Unenforced(keyword, f"{place}.{keyword}".removeprefix(".")) in notes


@pytest.mark.parametrize(
    ("schema", "place", "reason"),
    [
        ("text", "", "a schema is an object"),
        ({"properties": {"a": {"type": "strin"}}}, "properties.a.type", "'strin'"),
        ({"items": {"$ref": "#/$defs/x"}}, "items.$ref", "nothing at '#/\\$defs/x'"),
        ({"$ref": "#"}, "", "refers to itself"),
        ({"properties": {"a": {"pattern": "("}}}, "properties.a.pattern", "can't be read"),
        ({"pattern": "(a{1000}){1000}"}, "pattern", "make it simpler"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "", "no value fits"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            "",
            "no value fits",
        ),
        (
            {"allOf": [{"anyOf": [{"minLength": i}, {"maxLength": 9 + i}]} for i in range(12)]},
            "",
            "more than 128 alternatives",
        ),
        ({"enum": ["x" * 1_000_000]}, "", "more than 1000000 characters"),
        ({"minimum": float("nan")}, "", "not JSON"),
        ({"enum": ["\ud800"]}, "", "half a surrogate pair"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_what_can_not_be_translated_is_refused(schema: Any, place: str, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason) as caught:
        Schemas().value(schema)
    assert caught.value.place == place
    assert Schemas().value({}) is not None


@pytest.mark.parametrize(
    "later",
    [
        {"prefixItems": [{"minimum": 3, "exclusiveMinimum": True}]},
        {"items": [{}], "dependentRequired": {"a": ["b"]}},
        {"properties": {"a": {"items": [{}], "unevaluatedProperties": False}}},
    ],
    ids=str,
)
def test_a_mistake_switches_no_later_keyword_off(later: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="mend the schema"):
        Schemas().value(later)


def test_a_schema_of_draft_7_needs_not_say_so() -> None:
    found, _ = grammar_of({"type": "array", "items": [STRING], "additionalItems": False})
    assert accepts(found, '["a"]')
    assert not accepts(found, '["a",1]')


def test_nesting_is_bounded_and_needs_no_stack() -> None:
    deep: Any = STRING
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    check(deep, 3)
    for _ in range(5000):
        deep = {"not": deep}
    with pytest.raises(SchemaError, match="nested more than"):
        Schemas().value(deep)
    steps = {f"d{i}": obj([], x={"$ref": f"#/$defs/d{i + 1}"}) for i in range(300)}
    check({"$defs": {**steps, "d300": STRING}, "$ref": "#/$defs/d0"}, 3)


def test_equal_rules_of_several_schemas_are_shared() -> None:
    schemas = Schemas(prefix="t_")
    schemas.value(obj(a={"type": "string", "maxLength": 40}))
    before = len(schemas.rules)
    schemas.value(obj(b={"type": "string", "maxLength": 30}))
    assert len(schemas.rules) - before < 5
    assert all(name.startswith("t_") for name in schemas.rules)


def test_python_spells_its_constants_otherwise() -> None:
    found, _ = grammar_of({"enum": [True, None, [False]]}, PYTHON)
    assert {Sampler(found, seed).text() for seed in range(20)} == {"True", "None", "[False]"}
    found, _ = grammar_of({"type": ["boolean", "null"]}, PYTHON)
    assert accepts(found, "True")
    assert not accepts(found, "true")


# Bare strings.


@pytest.mark.parametrize(
    ("most", "held", "others"),
    [
        (None, ["", "<", "</p", "</p</p", "<\n", "\n\n" * 99], ["</p>", "a</p>b", "</</p>"]),
        (2, ["", "<", "</"], ["abc"]),
        (30, ["", "<", "\n" * 30, "<p>"], ["</", "a" * 31]),
        (100, ["", "\n" * 100], ["<", "a" * 101]),
    ],
)
def test_a_bare_string_ends_where_its_mark_stands_first(
    most: int | None, held: list[str], others: list[str]
) -> None:
    """Where many characters are counted, not even the mark's beginning is let through."""
    book = Rulebook()
    node = Strings(book).ended(minimal(counted(0, most)), "\n</p>")
    network = Network(Grammar({**book.rules, "root": node}))
    assert [text for text in held + others if network.rest(f"{text}\n</p>") == ""] == held
    assert len(book.rules) < 2 * (most or 0) + 9


# Anything.

SCALARS = st.sampled_from(
    [
        *({"type": t} for t in ("string", "integer", "number", "boolean", "null", "object")),
        {"const": 1},
        {"enum": ["a", "b", None]},
        {"minimum": 2},
        {"maximum": 7.5},
        {"multipleOf": 2},
        {"minLength": 1},
        {"maxLength": 2},
        {"pattern": "^a"},
        {"required": ["a"]},
        {"maxProperties": 1},
        {"minProperties": 1},
        {"minItems": 1},
        {"maxItems": 2},
        True,
        False,
    ]
)


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, min_size=1, max_size=2)
    keywords: dict[str, Any] = {
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), lists),
        **dict.fromkeys(("not", "items", "additionalProperties", "contains", "if"), inner),
        **dict.fromkeys(("then", "else", "unevaluatedProperties", "unevaluatedItems"), inner),
        "propertyNames": inner,
        "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
        "dependentSchemas": st.dictionaries(st.sampled_from("ab"), inner, max_size=1),
        "dependentRequired": st.just({"a": ["b"]}),
    }
    chosen = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({n: keywords[n] for n in names}))


@settings(max_examples=150)
@given(st.recursive(SCALARS, combined, max_leaves=6))
def test_whatever_the_schema_texts_fit_it(schema: Any) -> None:
    try:
        check(schema, 12)
    except SchemaError:
        return
