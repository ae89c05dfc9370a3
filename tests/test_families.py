"""Whole answers of each model family, written by heart in every possible cut: the same events."""

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Script, merged, play

from ov_server.answergrammar import Demand, Made, make
from ov_server.calls import written
from ov_server.core import (
    AnswerFormat,
    Arguments,
    Event,
    Finish,
    Reasoning,
    Text,
    Tool,
    ToolCall,
)
from ov_server.grammars.completion import Network
from ov_server.markup import MOST_CALLS, Markers, Reading
from ov_server.toolformats import FORMATS, ToolFormat

FORM = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
THINK = Markers("<think>", "</think>")
TOOLS = (
    Tool(
        "get_weather",
        "Tells the weather.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "units": {"enum": ["celsius", "fahrenheit"]},
                "hours": {"type": "array", "items": {"type": "integer"}},
                "place": {
                    "type": "object",
                    "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                    "required": ["lat", "lon"],
                },
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city"],
        },
    ),
    Tool("get_weather_everywhere"),
)
NAMES = tuple(tool.name for tool in TOOLS)
FULL: dict[str, Any] = {
    "city": 'Zürich "am See" </tool_call> <tool_call>',
    "days": 3,
    "units": "celsius",
    "hours": [6, 12, 18],
    "place": {"lat": 47.4, "lon": -8.5},
    "note": None,
}
MADE: dict[str, Made] = {}
PLACE = FULL["place"]
CALLS = [("get_weather", FULL), ("get_weather_everywhere", {}), ("get_weather", {"city": "Bern"})]


def made(form: ToolFormat, **more: Any) -> Made:
    demand = Demand(form.name, TOOLS, **more)
    if demand.key not in MADE:
        MADE[demand.key] = make(demand)
    return MADE[demand.key]


def reading(form: ToolFormat, **more: Any) -> Reading:
    return Reading(form=form, names=NAMES, kinds=made(form).kinds, reasoning=THINK, **more)


def told(events: list[Event]) -> tuple[str, str, list[tuple[str, Any]], str]:
    """Reasoning, text, calls and the reason of the end."""
    thought = "".join(e.text for e in events if isinstance(e, Reasoning))
    text = "".join(e.text for e in events if isinstance(e, Text))
    names = [e.name for e in events if isinstance(e, ToolCall)]
    arguments = [
        json.loads("".join(e.text for e in events if isinstance(e, Arguments) and e.call == n))
        for n in range(len(names))
    ]
    [reason] = [e.reason for e in events if isinstance(e, Finish)]
    return thought, text, list(zip(names, arguments, strict=True)), reason


def anonymous(events: list[Event]) -> list[Event]:
    return [replace(e, id="") if isinstance(e, ToolCall) else e for e in merged(events)]


def answer(form: ToolFormat) -> tuple[str, str]:
    """An answer of the family with all that it may have, and its text."""
    before = "" if form.heads else "Let me `<tool_call>` look:\n\n"
    calls = written(form, CALLS)
    if form.heads:
        calls = calls.removeprefix(form.opening)
    return f"<think>\nThe city is </thin Zürich.\n</think>\n\n{before}{calls}", before.rstrip()


@cache
def uncut(form: ToolFormat) -> list[Event]:
    """What comes of that answer when all of it is one token."""
    events, _ = play(Script(answer(form)[0], ()), reading(form), made(form).grammar)
    return events


@FORM
@settings(max_examples=40)
@given(st.data())
def test_however_the_tokens_are_cut_the_events_are_the_same(
    form: ToolFormat, data: st.DataObject
) -> None:
    text, before = answer(form)
    cuts = data.draw(st.sets(st.integers(1, len(text) - 1), max_size=40))
    events, _ = play(Script(text, cuts), reading(form), made(form).grammar)
    assert told(events) == ("The city is </thin Zürich.", before, CALLS, "tool_calls")
    assert anonymous(events) == anonymous(uncut(form))


@FORM
def test_every_character_may_be_a_token(form: ToolFormat) -> None:
    text, before = answer(form)
    events, job = play(Script(text, range(len(text))), reading(form), made(form).grammar)
    assert told(events) == ("The city is </thin Zürich.", before, CALLS, "tool_calls")
    assert job.thought == len("<think>\nThe city is </thin Zürich.\n</think>") - len("<think>")


@FORM
def test_a_required_call_is_held_to_the_grammar_from_the_first_character(form: ToolFormat) -> None:
    text = written(form, CALLS)
    held = made(form, required=True, reasoning=THINK)
    events, job = play(Script(text, range(0, len(text), 5)), reading(form, held=True), held.grammar)
    assert told(events) == ("", "", CALLS, "tool_calls")
    assert job.plan.grammar is not None


@FORM
def test_a_required_call_may_come_after_reasoning(form: ToolFormat) -> None:
    text = "<think>Hm.</think>\n\n" + written(form, CALLS[:1])
    held = made(form, required=True, reasoning=THINK)
    for step in (1, 3, 1000):
        script = Script(text, range(0, len(text), step))
        events, _ = play(script, reading(form, held=True), held.grammar)
        assert told(events) == ("Hm.", "", CALLS[:1], "tool_calls")
    script = Script(text.removeprefix("<think>"), range(0, len(text), 2))
    events, _ = play(script, reading(form, held=True, thinking=True), held.grammar)
    assert told(events) == ("Hm.", "", CALLS[:1], "tool_calls")


@FORM
def test_an_answer_is_a_call_or_the_schema(form: ToolFormat) -> None:
    schema = {"type": "object", "properties": {"say": {"type": "string"}}, "required": ["say"]}
    both = made(form, answer=AnswerFormat("json_schema", schema))
    text = '{"say": "<tool_call> [TOOL_CALLS] <|tool_call>"}'
    for said, calls in ((text, []), (written(form, CALLS), CALLS)):
        script = Script(said, range(0, len(said), 4))
        events, _ = play(script, reading(form, held=True), both.grammar)
        reason = "tool_calls" if calls else "stop"
        assert told(events) == ("", "" if calls else text, calls, reason)


@FORM
@pytest.mark.parametrize("required", [False, True])
def test_with_many_functions_the_name_decides_on_the_rest(form: ToolFormat, required: bool) -> None:
    many = (*(Tool(f"tool_{n}") for n in range(20)), *TOOLS)
    made = make(Demand(form.name, many, required=required))
    assert made.by_name
    read = Reading(
        form=form,
        names=tuple(tool.name for tool in many),
        kinds=made.kinds,
        held=required,
        by_name=True,
    )
    text = written(form, CALLS)
    text = text if required or not form.heads else text.removeprefix(form.opening)
    names = [found.end() + 1 for found in re.finditer("get_weather(_everywhere)?", text)]
    for step in (1, 3, 8, 10_000):
        script = Script(text, range(0, len(text), step), turns=names)
        events, _ = play(script, read, made.grammar)
        assert told(events) == ("", "", CALLS, "tool_calls")


def test_no_more_calls_are_made_than_may_be_with_many_functions_either() -> None:
    form = FORMATS["hermes"]
    many = tuple(Tool(f"tool_{n}") for n in range(20))
    made = make(Demand(form.name, many))
    read = Reading(form=form, names=tuple(tool.name for tool in many), by_name=True)
    text = written(form, [("tool_3", {})] * MOST_CALLS)
    names = [found.end() + 1 for found in re.finditer("tool_3", text)]
    events, job = play(Script(text, range(0, len(text), 9), turns=names), read, made.grammar)
    assert len(told(events)[2]) == MOST_CALLS
    assert job.hold is not None
    assert Network(job.hold.rooted()).rest(job.reader.held_text) == ""
    further = form.again + written(form, [("tool_3", {})]).removeprefix(form.opening)
    assert Network(job.hold.rooted()).rest(job.reader.held_text + further) is None


@pytest.mark.parametrize("key", ["parameters", "arguments"])
def test_a_bare_call_of_llama_is_known_by_what_follows_the_name(key: str) -> None:
    form = FORMATS["llama3"]
    text = f'{{"name": "get_weather", "{key}": {{"city": "Bern"}}}}'
    for step in (1, 3, 1000):
        script = Script(text, range(0, len(text), step))
        events, _ = play(script, reading(form), made(form).grammar)
        assert told(events) == ("", "", [("get_weather", {"city": "Bern"})], "tool_calls")


@pytest.mark.parametrize(("stop", "said"), [("\n\n", "Now."), (".\n", "Now"), ("\n<", None)])
def test_a_stop_string_may_end_in_the_white_space_before_a_call(
    stop: str, said: str | None
) -> None:
    form = FORMATS["hermes"]
    text = "Now.\n\n" + written(form, CALLS[:1])
    for step in (1, 3, 1000):
        script = Script(text, range(0, len(text), step))
        read = reading(form, stops=(stop,))
        events, _ = play(script, read, made(form).grammar)
        called = ("", "Now.", CALLS[:1], "tool_calls")
        assert told(events) == (called if said is None else ("", said, [], "stop"))


TALK = [
    "No call at all.",
    'Here is JSON: {"name": "get_weather", "arguments": {"city": "Bern"}}',
    '{"name": "Bern", "parameters": {}}',
    '{"name": "get_weather", "purpose": "to tell", "parameters": 3}',
    "[get_weather, get_weather_everywhere](of the tools)",
    "Write `<tool_call>` or `[TOOL_CALLS]` or `<|tool_call|>` or `<|tool_call>`.",
    'The marks are "<tool_call>", "[TOOL_CALLS]", "<|tool_call|>" and "<|tool_call>" here.',
    "```\n<tool_call>\n[TOOL_CALLS]\n<|tool_call|>\n<|tool_call>\n<|python_tag|>\n```\nSo.",
    "~~~xml\n<tool_call>\n[TOOL_CALLS]<|tool_call|><|tool_call><|python_tag|>",
    "<tool_cal",
    "[TOOL_CALL",
    "a < b <",
    "  \n leading and trailing \n ",
]


@FORM
@pytest.mark.parametrize("text", TALK)
def test_talk_of_tools_is_no_call(form: ToolFormat, text: str) -> None:
    for step in (1, 2, 7, 1000):
        script = Script(text, range(0, len(text), step))
        events, _ = play(script, replace(reading(form), reasoning=None), made(form).grammar)
        assert told(events) == ("", text, [], "stop")


@FORM
def test_a_required_call_that_is_cut_off_before_its_name_is_not_sent(form: ToolFormat) -> None:
    held = made(form, required=True)
    text = written(form, CALLS[:1])
    for length in range(1, text.index("get_weather") + len("get_weather")):
        script = Script(text, range(len(text)))
        read = replace(reading(form, held=True), reasoning=None)
        events, job = play(script, read, held.grammar, max_tokens=length)
        assert not job.reader.unfinished
        assert told(events) == ("", "", [], "length")


@FORM
def test_an_answer_that_is_cut_off_in_a_call_can_be_completed(form: ToolFormat) -> None:
    """Whatever the place: no call, or one whose arguments are JSON when they are completed."""
    text = written(form, [("get_weather", {"city": "B <", "days": 3, "place": PLACE})])
    networks: dict[str, Network] = {}
    seen = set()
    for length in range(1, len(text), 2):
        script = Script(text, range(len(text)))
        events, job = play(script, reading(form), made(form).grammar, max_tokens=length)
        assert isinstance(events[-1], Finish)
        assert events[-1].reason == "length"
        if job.reader.unfinished:
            assert job.hold is not None
            assert job.plan.grammar is not None
            if job.plan.grammar not in networks:
                networks[job.plan.grammar] = Network(job.hold.rooted())
            rest = networks[job.plan.grammar].rest(job.reader.held_text)
            assert rest is not None
            events[-1:-1] = job.reader.complete(rest)
        calls = told(events)[2]
        seen.add(len(calls))
        for name, arguments in calls:
            assert name == "get_weather"
            assert isinstance(arguments.get("city"), str)
    assert seen == {0, 1}
