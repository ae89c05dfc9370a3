"""Arguments in every family's format: whatever the grammar lets through is read as JSON that fits,
and what our own writers write is read back."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grammars import tempted
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ov_server.answergrammar import Demand, Made, make
from ov_server.arguments import Call
from ov_server.calls import CallParser, written
from ov_server.core import Tool
from ov_server.grammars.completion import Network
from ov_server.markup import CALLS
from ov_server.schemacheck import fits
from ov_server.toolformats import FORMATS, QUOTE, ToolFormat

FORM = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)

LURES = [
    *("</parameter>", "5", QUOTE, '"', "null", "{", "\n</parameter>", "[", '{"a": "', ":", "true"),
    *("\n</parameter>\n</function>", "</", "<parameter=b>\n", "</tool_call>", "<tool_call|>"),
    *(
        '\\"',
        "\\\\",
        "\\u0022",
        "\\/",
        "'",
        "'''",
        '"""',
        "\\x41",
        "\\N{DASH}",
        "(",
        ")",
        "[TOOL_CALLS]",
    ),
    *(
        "}",
        "]",
        ",",
        "=",
        '", "a": "',
        '["',
        "a:",
        " ",
        "\n",
        "\t",
        ")]",
        "]<|/tool_call|>",
        QUOTE[:3],
    ),
    *("None", "True", "NaN", "-Infinity", "inf", "1_000", "1e5", "-0", "1.0"),
    *("é", "😀", "\u2028", "\xa0", "\x7f"),
]
"""Texts that might be taken for something else where they stand, the worst ones first."""

STRING = {"type": "string"}
PARAMETERS: list[Any] = [
    STRING,
    {},
    {"type": ["string", "null"]},
    {"type": ["string", "null"], "maxLength": 6},
    {"type": ["string", "boolean"], "minLength": 1},
    {"type": ["string", "integer"]},
    {"type": ["string", "number"], "maxLength": 90, "minimum": 100},
    {"type": ["string", "object"]},
    {"type": ["string", "array", "number"], "items": STRING},
    {"anyOf": [{"type": "array", "items": {"enum": ["x", "</parameter>", QUOTE]}}, STRING]},
    {"type": "array", "items": {"type": ["string", "null", "boolean"]}},
    {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
    {"type": "object", "properties": {"a": {}, "é": STRING}, "required": ["a"]},
    {"enum": ["5", 5, "null", None, "true", "[]", '"', QUOTE, "a</parameter>b", "</", "\n"]},
    {"enum": [True, {"a": ["</parameter>", QUOTE, "'\"", None]}, {"a:b": 1, "": 2}, ["a", False]]},
    {"type": "string", "pattern": "^[<\\[{\"'(]"},
    {"type": "number"},
    {"type": "boolean"},
]
OBJECTS = st.builds(
    lambda named, others: {
        "type": "object",
        "properties": named,
        "required": sorted(named)[:2],
        "additionalProperties": others,
    },
    st.dictionaries(st.sampled_from(["a", "b", "in_1"]), st.sampled_from(PARAMETERS), min_size=1),
    st.sampled_from([False, False, *PARAMETERS]),
)
SCHEMAS = OBJECTS | st.lists(OBJECTS, min_size=2, max_size=2).map(lambda two: {"anyOf": two})


def made_of(form: ToolFormat, schema: Any) -> Made:
    return make(Demand(form.name, (Tool("f", "", {"type": "object", **schema}),), several=False))


def read(form: ToolFormat, made: Made, pieces: Iterator[str] | list[str]) -> str:
    """The arguments of the one call."""
    parser = CallParser(form, made.kinds)
    call, *said = [part for piece in pieces for part in parser.feed(piece)]
    assert call == Call("f")
    assert not parser.open
    return "".join(map(str, said))


def cut(text: str, chance: random.Random) -> list[str]:
    places = sorted(chance.randrange(len(text)) for _ in range(5))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


def check(form: ToolFormat, schema: Any, chance: random.Random, count: int) -> None:
    """Texts that the grammar lets through are read as JSON that fits, however they are cut."""
    made = made_of(form, schema)
    for text in tempted(made.grammar.rooted(CALLS), chance, LURES, count):
        arguments = read(form, made, [text])
        assert fits(schema, arguments), (text, arguments)
        assert read(form, made, list(text)) == arguments
        assert read(form, made, cut(text, chance)) == arguments


@FORM
@settings(max_examples=10)
@given(SCHEMAS, st.randoms(use_true_random=False))
def test_whatever_is_let_through_is_read_as_json_that_fits(
    form: ToolFormat, schema: Any, chance: random.Random
) -> None:
    check(form, schema, chance, count=3)


def needing(**properties: Any) -> dict[str, Any]:
    return {"properties": properties, "required": list(properties)}


ODD: dict[str, dict[str, Any]] = {
    "free": needing(o={"type": "object"}),
    "marks": needing(e={"enum": ['a<|"|>b', "a"]}, c=STRING),
    "tags": needing(l={"type": "array", "items": {"enum": ["a</parameter>b", "x"]}}),
    "tags or text": needing(o={"type": ["string", "object"]}),
    "tags or anything": needing(o={}),
    "either": needing(e={"enum": [1.5, "5", "x"]}),
    "or a number": needing(e={"anyOf": [{"type": "number", "minimum": 100}, STRING]}),
    "or null": needing(e={"type": ["string", "null"]}),
    "or a short one": needing(e={"anyOf": [{"type": "null"}, {**STRING, "minLength": 5}]}),
    "latin": needing(année={"enum": ["décembre", "a"]}),
    "others": {"additionalProperties": STRING, "minProperties": 1},
    "colons": needing(o={"enum": [{"a:b": 1}, {"": 1}, {"a": 1}]}),
    "by another": {
        "anyOf": [
            needing(kind={"const": "text"}, a=STRING),
            needing(kind={"const": "number"}, a={"type": "integer"}),
        ]
    },
    "by another one's key": {
        "anyOf": [
            {**needing(a={"type": "integer"}), "additionalProperties": False},
            {**needing(kind=STRING), "additionalProperties": STRING, "minProperties": 2},
        ]
    },
}


@FORM
@pytest.mark.parametrize("name", ODD)
def test_odd_arguments_are_read_as_they_are_written(form: ToolFormat, name: str) -> None:
    check(form, ODD[name], random.Random(5), count=5)


OPTIONAL = needing(a={"type": ["string", "null"]})
EITHER = needing(a={"type": ["string", "object", "number"]})


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        (OPTIONAL, {"a": "null"}, None),
        *(
            (OPTIONAL, {"a": text}, text)
            for text in ("10 Downing St", "-x", "[5]", '"a"', "nullable")
        ),
        *((OPTIONAL, {"a": text}, text) for text in ("5", "{}", " null", "", "\n", "a</parameter")),
        (EITHER, {"a": "-1.5e3"}, -1500),
        (EITHER, {"a": '{"b": "</parameter>\\""}'}, {"b": '</parameter>"'}),
        (EITHER, {"a": '{"b": 1'}, ...),
        *((EITHER, {"a": text}, text) for text in ("null", "1.5.2", '"</parameter', " {", "01")),
        (needing(a={}), {"a": '["</parameter>"]'}, ["</parameter>"]),
        (needing(a=STRING), {"a": '["</parameter>"]'}, ...),
        (needing(a=STRING), {"a": '["'}, '["'),
        (ODD["others"], {"a": "5"}, "5"),
        (ODD["by another"], {"kind": "text", "a": "x"}, "x"),
        (ODD["by another"], {"kind": "text", "a": "5"}, ...),
        (ODD["by another"], {"kind": "number", "a": "5"}, 5),
        (ODD["by another one's key"], {"kind": "x", "b": "x", "a": "5"}, ...),
        (ODD["by another one's key"], {"a": "5"}, 5),
    ],
    ids=str,
)
def test_a_text_in_tags_is_one_value_or_is_not_let_through(
    schema: Any, said: dict[str, str], value: Any
) -> None:
    form = FORMATS["qwen3-coder"]
    made = made_of(form, schema)
    tags = "".join(f"<parameter={k}>\n{text}\n</parameter>\n" for k, text in said.items())
    text = f"\n<function=f>\n{tags}</function>\n</tool_call>"
    assert (Network(made.grammar.rooted(CALLS)).rest(text) == "") == (value is not ...)
    if value is not ...:
        assert json.loads(read(form, made, [text])) == said | {"a": value}


# What our own writers write.


TEXTS = st.text(max_size=6) | st.lists(st.sampled_from(LURES), max_size=4).map("".join)
INNER = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-99, 99),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "null": st.none(),
    "boolean": st.booleans(),
    "integer": st.integers(-(10**9), 10**9),
    "number": st.sampled_from([0.5, -2.25, 3, 0]),
    "array": st.lists(INNER, max_size=2),
    "object": st.dictionaries(st.sampled_from("ab"), INNER, max_size=2),
}


KINDS = st.sets(st.sampled_from(sorted(BY_KIND)), min_size=1, max_size=3)


@FORM
@settings(max_examples=10)
@given(KINDS, KINDS, st.data())
def test_what_is_written_of_values_is_let_through_and_read_back(
    form: ToolFormat, one: set[str], other: set[str], data: st.DataObject
) -> None:
    kinds = {"a": one, "b": other}
    schema = needing(**{key: {"type": sorted(types)} for key, types in kinds.items()})
    made = made_of(form, schema)
    values = {
        key: data.draw(st.one_of([BY_KIND[kind] for kind in sorted(types)]))
        for key, types in kinds.items()
    }
    assume(all(can_be_told(form, values[key], kinds[key]) for key in kinds))
    text = written(form, [("f", values)]).removeprefix(form.opening)
    assert Network(made.grammar.rooted(CALLS)).rest(text) == ""
    assert json.loads(read(form, made, list(text))) == values


def can_be_told(form: ToolFormat, value: Any, kinds: set[str]) -> bool:
    """Whether the format has a text for it, beside values of these types."""
    if "BRACED" in form.call:
        return QUOTE not in json.dumps(value, ensure_ascii=False).replace('\\"', '"')
    if "PARAMETERS" in form.call and isinstance(value, str):
        other = value.startswith(("{", "[")) or re.fullmatch(r"null|true|false|-?\d[\d.e]*", value)
        return "</parameter>" not in value and (kinds == {"string"} or not other)
    return True
