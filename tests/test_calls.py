"""Texts of tool calls to names and arguments, in every family's format."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ov_server.arguments import Call, Kinds, Malformed
from ov_server.calls import CallParser, written
from ov_server.toolformats import FORMATS, GENERIC, ToolFormat, format_of

FORM = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
KINDS: Kinds = {name: {"text": frozenset({"string"})} for name in "fgh"}

Calls = list[tuple[str, dict[str, Any]]]


def read(form: ToolFormat, pieces: list[str], kinds: Kinds = KINDS) -> list[Call | str]:
    parser = CallParser(form, kinds)
    said: list[Call | str] = []
    for piece in pieces:
        for part in parser.feed(piece):
            if isinstance(part, str) and said and isinstance(said[-1], str):
                said[-1] += part
            else:
                said.append(part)
    assert not parser.open
    return said


def joined(said: list[Call | str]) -> Calls:
    names = [part.name for part in said if isinstance(part, Call)]
    return list(zip(names, [json.loads(p) for p in said if isinstance(p, str)], strict=True))


def body(form: ToolFormat, calls: Calls) -> str:
    return written(form, calls).removeprefix(form.opening)


LEAVES = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.sampled_from([0.5, -2.25])
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.recursive(
    LEAVES | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
ARGUMENTS = st.fixed_dictionaries({}, optional={"text": WORDS, "n": LEAVES, "deep": VALUES})


@FORM
@given(st.lists(ARGUMENTS, min_size=1, max_size=3), st.data())
def test_what_a_model_writes_is_read_however_it_is_cut(
    form: ToolFormat, arguments: list[dict[str, Any]], data: st.DataObject
) -> None:
    calls = [(name, said) for name, said in zip("fgh", arguments, strict=False)]
    text = body(form, calls)
    if "PARAMETERS" in form.call:  # nothing tells the text 5 from the number there
        calls = [(name, _untyped(said)) for name, said in calls]
        text = body(form, calls)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = read(form, [text])
    assert joined(whole) == calls
    assert read(form, pieces) == whole


def _untyped(arguments: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> bool:
        return not isinstance(value, str) or _is_text(value)

    return {k: v for k, v in arguments.items() if k == "text" or plain(v)}


def _is_text(value: str) -> bool:
    try:
        return value[:1] not in ("{", "[") and isinstance(json.loads(value), str)
    except ValueError:
        return True


@FORM
def test_every_format_is_its_own_white_space(form: ToolFormat) -> None:
    text = body(form, [("f", {"text": "a b"})])
    if "PARAMETERS" not in form.call:
        assert joined(read(form, [text.replace("\n", " \n ")])) == [("f", {"text": "a b"})]


@FORM
def test_the_name_is_known_before_the_arguments_and_these_come_as_they_are_written(
    form: ToolFormat,
) -> None:
    text = body(form, [("f", {"text": "a long value of several words"})])
    parser = CallParser(form, KINDS)
    parts = [part for character in text for part in parser.feed(character)]
    assert parts[0] == Call("f")
    assert len(parts) > 20


@FORM
def test_a_call_is_open_from_its_name_to_the_end_of_its_arguments(form: ToolFormat) -> None:
    text = body(form, [("f", {"text": "x"})])
    parser = CallParser(form, KINDS)
    seen = []
    for character in text:
        parser.feed(character)
        seen.append(parser.open)
    assert seen == sorted(seen[: seen.index(True)]) + [True] * seen.count(True) + [False] * (
        len(seen) - seen.index(True) - seen.count(True)
    )
    assert not seen[-1]


MALFORMED = {
    "hermes": ['{"nome": "f"}', '{"name": "f", "arguments": 5}', "hello"],
    "mistral-list": ['[{"name": "f", "arguments": {}}] and more', '{"name": "f"}'],
    "pythonic": ["f(a=1)", "[f(a=1)] then"],
    "qwen3-coder": ["<function=f>\n<param=a>", "<tool>"],
    "phi-4": ['[{"name": "f", "arguments": {}} {'],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in MALFORMED.items() for text in texts]
)
def test_what_is_no_call_is_told(name: str, text: str) -> None:
    with pytest.raises(Malformed):
        CallParser(FORMATS[name], {}).feed(text)


def test_python_literals_become_json() -> None:
    text = r"""[f(a="it's \"(x)\"", b=[True, None], c={"k": False}, d=-1.5, e="True"), g()]"""
    assert joined(read(FORMATS["pythonic"], [text])) == [
        ("f", {"a": 'it\'s "(x)"', "b": [True, None], "c": {"k": False}, "d": -1.5, "e": "True"}),
        ("g", {}),
    ]


@pytest.mark.parametrize(
    ("kinds", "text", "value"),
    [
        ({"string"}, "5", "5"),
        ({"number"}, "5", 5),
        ({"string", "number"}, "5", 5),
        ({"string", "number"}, " 5", " 5"),
        ({"string", "null"}, "null", None),
        ({"string", "null"}, "5", "5"),
        ({"number"}, " 1.5 ", 1.5),
        ({"object"}, '\n{"a": 1}\n', {"a": 1}),
        ({"string"}, "\n\n two \n\n", "\n two \n"),
        (None, "5", 5),
        (None, "five", "five"),
        (None, '"five"', '"five"'),
    ],
)
def test_a_tags_value_has_the_type_that_its_schema_says(
    kinds: set[str] | None, text: str, value: Any
) -> None:
    known: Kinds = {"f": {"a": frozenset(kinds)}} if kinds else {}
    said = f"<function=f><parameter=a>{text}</parameter></function></tool_call>"
    assert joined(read(FORMATS["qwen3-coder"], list(said), known)) == [("f", {"a": value})]


# Which format it is.


@FORM
def test_a_format_is_known_by_a_call_that_a_template_shows(form: ToolFormat) -> None:
    if form is not GENERIC:
        shown = written(form, [("probe", {"a": "b"})])
        assert format_of(shown, "probe", "") is form


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<|tool|>' + m.tools + '<|/tool|>' }}", "phi-4"),
        ("[func_name1(params_name1=params_value1...)]", "pythonic"),
        ("<tool_call> with name and arguments", "hermes"),
        ("{{ messages }}", None),
    ],
)
def test_a_template_that_shows_no_calls_is_known_by_its_words(
    template: str, name: str | None
) -> None:
    assert format_of(None, "f", template) is (FORMATS[name] if name else None)
