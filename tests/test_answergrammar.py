"""What answers are held to: calls in each family's format, and formats of text."""

import json
from typing import Any

import pytest
from grammars import Sampler
from toolschemas import REALISTIC

from ov_server.answergrammar import Demand, Made, Refused, make
from ov_server.calls import CallParser, written
from ov_server.core import AnswerFormat, Tool
from ov_server.grammars.completion import Network
from ov_server.grammars.grammar import Grammar
from ov_server.markup import ANSWER, CALLS, START, Markers, headed_of, rest_of
from ov_server.schemacheck import fits
from ov_server.toolformats import FORMATS, ToolFormat

FORM = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
NOW = Tool("now")
ADD = Tool(
    "add",
    "",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
OBJECTS = {
    name: schema
    for name, (schema, _) in REALISTIC.items()
    if isinstance(schema, dict) and schema.get("type") == "object"
}


def held(made: Made, rule: str) -> Network:
    return Network(made.grammar.rooted(rule))


def accepts(grammar: Network | Grammar, text: str) -> bool:
    network = grammar if isinstance(grammar, Network) else Network(grammar)
    return network.rest(text) == ""


def answer(kind: Any, value: Any, **more: Any) -> Made:
    return make(Demand(answer=AnswerFormat(kind, value, **more)))


def test_texts_for_which_the_model_has_no_tokens_are_left_out() -> None:
    def made(kind: Any, value: Any) -> Network:
        mute = frozenset({0x04, 0xF1, 0xF2})
        return held(make(Demand(answer=AnswerFormat(kind, value)), mute), START)

    some = made("choice", ("a\U00040000", "b"))
    assert accepts(some, "b")
    assert not accepts(some, "a\U00040000")
    assert accepts(made("regex", "x(\\x04|y)?"), "xy")
    assert accepts(made("json_schema", {"type": "string", "maxLength": 3}), '"a"')
    assert accepts(made("regex", "[\U00040000-\U000c0000]"), "\U000c0000")
    for kind, value in (
        ("choice", ("\U00040000",)),
        ("regex", "a[\x04\U00040000-\U000bffff]"),
        ("grammar", 'root ::= "\\x04" root | [\U00040000]'),
    ):
        with pytest.raises(Refused, match="no tokens"):
            made(kind, value)


# Calls.


@FORM
def test_calls_as_the_family_writes_them_are_let_through(form: ToolFormat) -> None:
    made = make(Demand(form.name, (ADD, NOW), required=True))
    one = written(form, [("add", {"a": 1, "b": -2})])
    assert accepts(held(made, START), one)
    assert accepts(held(made, ANSWER), f"\n\n{one}")
    free = make(Demand(form.name, (ADD, NOW)))
    assert accepts(held(free, CALLS), one.removeprefix(form.opening))
    assert accepts(held(made, START), written(form, [("now", {}), ("add", {"a": 1, "b": 2})]))
    for wrong in (
        written(form, [("sub", {"a": 1, "b": 2})]),
        written(form, [("add", {"a": 1})]),
        written(form, [("add", {"a": 1, "b": "x"})]),
        written(form, [("now", {"a": 1})]),
        "",
        "Let me see. " + one,
    ):
        assert not accepts(held(made, START), wrong)


@FORM
def test_no_more_calls_are_let_through_than_may_be(form: ToolFormat) -> None:
    made = make(Demand(form.name, (NOW,), required=True, several=False))
    assert accepts(held(made, START), written(form, [("now", {})]))
    assert not accepts(held(made, START), written(form, [("now", {}), ("now", {})]))


@FORM
def test_behind_a_head_the_call_goes_on(form: ToolFormat) -> None:
    if form.heads:
        made = make(Demand(form.name, (NOW, ADD)))
        text = written(form, [("add", {"a": 1, "b": 2})]).removeprefix(form.opening)
        bare = form.heads[0] % "add"
        behind = next(n for n in range(len(text)) if "".join(text[:n].split()) == bare)
        assert accepts(held(made, headed_of(1)), text[behind:])
        assert not accepts(held(made, headed_of(0)), text[behind:])


@FORM
@pytest.mark.parametrize("name", OBJECTS)
def test_whatever_is_let_through_is_read_as_a_call_that_fits(form: ToolFormat, name: str) -> None:
    schema = OBJECTS[name]
    made = make(Demand(form.name, (Tool("f", "", schema),), several=False))
    sampler = Sampler(made.grammar.rooted(CALLS), seed=3)
    for _ in range(6):
        text = sampler.text()
        parser = CallParser(form, made.kinds)
        call, *pieces = parser.feed(text)
        arguments = "".join(str(piece) for piece in pieces)
        assert not parser.open
        assert fits(schema, arguments), (text, arguments)
        assert call


@FORM
def test_strings_of_one_kind_are_written_once(form: ToolFormat) -> None:
    def rules(count: int) -> int:
        text = {"anyOf": [{"type": "string", "maxLength": 128}, {"type": "null"}]}
        named = {f"p{n}": {**text, "description": str(n)} for n in range(count)}
        return len(make(Demand(form.name, (Tool("f", "", {"properties": named}),))).grammar.lines)

    assert rules(1) < 200
    assert rules(12) < rules(1) + 12 * 12


@FORM
def test_many_functions_are_compiled_apart(form: ToolFormat) -> None:
    many = tuple(Tool(f"tool_{n}", "", ADD.parameters) for n in range(40))
    made = make(Demand(form.name, many, required=True))
    assert made.by_name
    text = written(form, [("tool_7", {"a": 1, "b": 2}), ("tool_9", {"a": 3, "b": 4})])
    first = text.index("tool_7") + len("tool_7") + 1
    assert accepts(held(made, START), text[:first])
    second = text.index("tool_9") + len("tool_9") + 1
    assert accepts(held(made, rest_of(7)), text[first:second])
    assert accepts(held(made, rest_of(9)), text[second:])
    assert not accepts(held(made, START), text[:first].replace("tool_7", "tool_x"))


@FORM
def test_functions_that_weigh_much_are_compiled_apart(form: ToolFormat) -> None:
    text = {"type": "string", "maxLength": 100}
    tools = tuple(Tool(name, "", {"properties": {"a": text}}) for name in ("one", "two"))
    assert make(Demand(form.name, tools)).by_name
    assert not make(Demand(form.name, tools[:1])).by_name
    assert not make(Demand(form.name, (NOW, ADD))).by_name


def test_a_function_without_parameters_takes_none() -> None:
    empty = {"required": [], "patternProperties": {}, "dependentRequired": {}}
    some: list[dict[str, Any]] = [{}, {"properties": {}}, {"properties": {}, "required": []}]
    for parameters in (*some, {"properties": {}, "required": None}, {"type": "object", **empty}):
        made = make(Demand(tools=(Tool("f", "", parameters),), required=True))
        assert accepts(held(made, START), written(FORMATS["generic"], [("f", {})]))
        assert not accepts(held(made, START), written(FORMATS["generic"], [("f", {"a": 1})]))


def test_a_function_that_takes_anything_takes_anything() -> None:
    parameters = {"type": "object", "additionalProperties": True}
    made = make(Demand(tools=(Tool("f", "", parameters),), required=True))
    assert accepts(held(made, START), written(FORMATS["generic"], [("f", {"a": [1, {"b": None}]})]))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"type": "array"}, "object"),
        ({"type": "objekt"}, "say type: object"),
        ({"properties": {"a": False}, "required": ["a"]}, "no value"),
        ({"properties": {"a": {"pattern": "("}}}, "pattern"),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, "nowhere"),
        ({"properties": {"a": {"$ref": True}}}, "a reference is a text"),
    ],
    ids=str,
)
def test_parameters_that_can_not_be_met_are_told(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused) as caught:
        make(Demand(tools=(NOW, Tool("f", "", parameters))))
    assert "'f'" in caught.value.reason
    assert told in caught.value.reason
    assert caught.value.param == "tools"


NOT_CARRIED = {
    "KEYWORDS": ["a=b", ")", ") a", " a", "a\n", ""],
    "BRACED": ["og:title", "}", "a}:", 'a"', '"', " a", "a\n", ""],
    "PARAMETERS": ["a>b", ">", " a", "a\n", ""],
}
KEYS = ["cast[]", "a b", 'a"b', "a,b", "a<b", "</a", "(a)", "a'", "{a", "é\\", "</function"]


@FORM
@pytest.mark.parametrize(
    "key", sorted({*KEYS, *(k for keys in NOT_CARRIED.values() for k in keys)})
)
def test_names_that_a_format_can_not_carry_are_refused_and_others_read_back(
    form: ToolFormat, key: str
) -> None:
    schema = {"type": "object", "properties": {key: {"type": "integer"}}, "required": [key]}
    demand = Demand(form.name, (Tool("f", "", schema),), several=False)
    if any(key in NOT_CARRIED.get(part, ()) for part in form.call):
        with pytest.raises(Refused, match="can't carry the name"):
            make(demand)
        return
    made = make(demand)
    parser = CallParser(form, made.kinds)
    _, *pieces = parser.feed(Sampler(made.grammar.rooted(CALLS)).text())
    assert list(json.loads("".join(map(str, pieces)))) == [key]


@pytest.mark.parametrize("key", ["b:c", " x", '"q"', "}", "\n"])
def test_values_with_keys_that_a_format_can_not_carry_are_left_out(key: str) -> None:
    either = {"type": "object", "properties": {"a": {"enum": [{key: 1}, "x"]}}, "required": ["a"]}
    made = make(Demand("gemma", (Tool("f", "", either, strict=True),)))
    for value, fine in (({key: 1}, False), ("x", True)):
        text = written(FORMATS["gemma"], [("f", {"a": value})])
        behind = text.removeprefix(FORMATS["gemma"].opening)
        assert accepts(held(made, CALLS), behind) == fine
    only = {"type": "object", "properties": {"a": {"const": {key: 1}}}, "required": ["a"]}
    with pytest.raises(Refused, match="can't carry"):
        make(Demand("gemma", (Tool("f", "", only),)))


def test_what_a_strict_function_can_not_be_held_to_is_refused() -> None:
    parameters = {"properties": {"a": {"type": "array", "items": {}, "uniqueItems": True}}}
    made = make(Demand(tools=(Tool("f", "", parameters),)))
    assert made.unenforced == ("uniqueItems at properties.a.uniqueItems in tools of 'f'",)
    with pytest.raises(Refused, match=r"uniqueItems at properties\.a\.uniqueItems"):
        make(Demand(tools=(Tool("f", "", parameters, strict=True),)))


# Text.


@pytest.mark.parametrize(
    ("kind", "value", "good", "bad"),
    [
        ("json_schema", {"type": "integer"}, "5", '"5"'),
        ("json_schema", True, '{"a": [null]}', "a"),
        ("regex", "[0-9]{2}:[0-9]{2}", "12:30", "12:3"),
        ("regex", "a|b", "b", "ab"),
        ("regex", "^(yes|no)$", "no", "no!"),
        ("regex", "^a$|b", "b", "ab"),
        ("regex", "((ab){2}){2}", "abababab", "abab"),
        ("regex", r"a\x00?", "a", "a\0"),
        ("grammar", 'root ::= (("a"+)+ "b"?){2}', "aab", "b"),
        ("choice", ("yes", "no"), "no", "maybe"),
        ("grammar", 'root ::= word+\nword ::= "a" | "b"', "abba", "abc"),
    ],
    ids=str,
)
def test_text_is_held_to_its_format(kind: str, value: Any, good: str, bad: str) -> None:
    made = answer(kind, value)
    for rule in (START, ANSWER):
        assert accepts(held(made, rule), good)
        assert not accepts(held(made, rule), bad)


def test_white_space_has_an_end_and_an_indent_is_let_through() -> None:
    made = answer("json_schema", {"type": "object", "properties": {"a": {"type": "integer"}}})
    assert accepts(held(made, START), json.dumps({"a": 1}, indent=4))
    assert not accepts(held(made, START), '{"a":' + " " * 100 + "1}")


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("json_schema", {"enum": []}, "no value"),
        ("json_schema", {"type": "integer", "minimum": 5, "maximum": 3}, "no value"),
        ("json_schema", {"type": "foo"}, "type: 'foo' is not one of ['array', "),
        ("json_schema", {"pattern": "("}, "pattern"),
        ("json_schema", {"$ref": "#/$defs/missing"}, "missing"),
        ("json_schema", False, "no value"),
        ("regex", "(?=a)b", "look"),
        ("regex", "(", "a group is not closed, at character 2; change"),
        ("regex", "a)|(b", "a group that was not opened, at character 2"),
        ("regex", r"a\x00", "U+0000"),
        ("choice", ("a\0",), "U+0000"),
        ("grammar", "root ::= x", "'x'"),
        ("grammar", "root ::= root", "for ever"),
    ],
    ids=str,
)
def test_what_nothing_fits_is_told(kind: str, value: Any, told: str) -> None:
    with pytest.raises(Refused) as caught:
        answer(kind, value, param="the field")
    assert told in caught.value.reason
    assert caught.value.param == "the field"


def test_strict_refuses_what_is_not_enforced_and_names_the_place() -> None:
    schema = {"properties": {"a": {"items": {"$ref": "https://elsewhere"}}}}
    assert answer("json_schema", schema).unenforced
    with pytest.raises(Refused, match=r"\$ref at properties\.a\.items\.\$ref"):
        answer("json_schema", schema, strict=True)


# Together.


def test_with_tools_the_answer_is_a_call_or_the_schema() -> None:
    both = make(Demand(tools=(NOW,), answer=AnswerFormat("json_schema", {"type": "integer"})))
    assert accepts(held(both, START), "5")
    assert accepts(held(both, START), written(FORMATS["generic"], [("now", {})]))
    must = make(
        Demand(tools=(NOW,), required=True, answer=AnswerFormat("json_schema", {"type": "integer"}))
    )
    assert not accepts(held(must, START), "5")


def test_reasoning_may_come_before() -> None:
    made = make(Demand(tools=(NOW,), required=True, reasoning=Markers("<think>", "</think>")))
    assert accepts(held(made, START), "<think>")
    assert not accepts(held(made, ANSWER), "<think>")


def test_a_text_that_is_barred_stands_nowhere() -> None:
    made = make(Demand(barred="<tool_"))
    for text in ("", "a", "<tool", "x\n<tool", "a < b <too_l"):
        assert accepts(held(made, START), text)
    for text in ("<tool_call>", "Now.\n<tool_", "<<tool_"):
        assert not accepts(held(made, START), text)


def test_a_schema_may_be_openapis_and_have_nulls_for_nothing() -> None:
    schema = {
        "type": "object",
        "required": None,
        "properties": {"a": {"type": "integer", "minimum": 3, "exclusiveMinimum": True}},
    }
    made = answer("json_schema", schema, strict=True)
    assert accepts(held(made, START), '{"a": 4}')
    assert not accepts(held(made, START), '{"a": 3}')


def test_equal_demands_have_equal_keys_and_others_do_not() -> None:
    demands = [
        Demand(),
        Demand("hermes"),
        Demand(tools=(NOW,)),
        Demand(tools=(NOW, ADD)),
        Demand(tools=(ADD, NOW)),
        Demand(tools=(NOW,), required=True),
        Demand(tools=(NOW,), several=False),
        Demand(tools=(Tool("now", strict=True),)),
        Demand(answer=AnswerFormat("regex", "a")),
        Demand(answer=AnswerFormat("choice", ("a",))),
        Demand(answer=AnswerFormat("regex", "a", strict=True)),
        Demand(reasoning=Markers("<", ">")),
    ]
    assert len({demand.key for demand in demands}) == len(demands)
    assert Demand(tools=(NOW,)).key == Demand(tools=(Tool("now", "told otherwise"),)).key
