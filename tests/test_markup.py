"""Stop strings end a text at the same place, however it is cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.core import Arguments, ToolCall
from ov_server.markup import Markers, Reader, Reading, StopStrings, Turn
from ov_server.toolformats import FORMATS

LETTERS = st.text("ab ", max_size=30)
STOPS = st.text("ab ", min_size=1, max_size=5)


def fed(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    """All that is shown, and whether it was stopped."""
    machine, shown = StopStrings(stops), ""
    for piece in pieces:
        text, stopped = machine.feed(piece)
        shown += text
        if stopped:
            return shown, True
    return shown + machine.flush(), False


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 30), max_size=30)


@given(LETTERS, STOPS, CUTS)
def test_any_cutting_stops_where_find_finds_it(text: str, stop: str, cuts: list[int]) -> None:
    at = text.find(stop)
    expected = (text[:at], True) if at >= 0 else (text, False)
    assert fed((stop,), cut(text, cuts)) == expected


@given(LETTERS, st.lists(STOPS, min_size=2, max_size=4), CUTS)
@example("abab", ["aba", "b"], [1, 2, 3])
def test_any_cutting_is_the_same_with_several_stops(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    assert fed(tuple(stops), cut(text, cuts)) == fed(tuple(stops), [text])


@given(LETTERS, STOPS, CUTS)
def test_nothing_is_held_back_that_can_not_be_a_stop(text: str, stop: str, cuts: list[int]) -> None:
    machine, seen, shown = StopStrings((stop,)), "", ""
    for piece in cut(text, cuts):
        seen += piece
        said, stopped = machine.feed(piece)
        if stopped:
            return
        shown += said
        held = seen.removeprefix(shown)
        assert stop.startswith(held)
        assert len(held) < len(stop)


def test_without_stops_all_is_shown_at_once() -> None:
    assert StopStrings(()).feed("text") == ("text", False)


def test_the_earliest_of_several_stops_counts() -> None:
    assert fed(("two", "one"), ["zero one two"]) == ("zero ", True)


def test_the_beginning_of_a_stop_is_held_back_until_it_is_known() -> None:
    machine = StopStrings(("</end>",))
    assert machine.feed("text </e") == ("text ", False)
    assert machine.feed("x") == ("</ex", False)
    assert machine.feed("</end") == ("", False)
    assert machine.flush() == "</end"
    assert machine.flush() == ""


# Reasoning, text and calls.

THINK = Markers("<think>", "</think>")
HERMES = FORMATS["hermes"]
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def read(reading: Reading, *pieces: str) -> tuple[list[tuple[str, str]], Reader]:
    """Kinds and texts of what is said, pieces of one kind joined."""
    reader = Reader(reading)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    said: list[tuple[str, str]] = []
    for event in events:
        kind, text = type(event).__name__, getattr(event, "text", getattr(event, "name", ""))
        if said and said[-1][0] == kind:
            said[-1] = kind, said[-1][1] + text
        else:
            said.append((kind, text))
    return said, reader


def test_text_that_nothing_is_asked_of_is_left_as_it_is() -> None:
    for text in ("plain", " \n ", "<think>x</think>", CALL):
        assert read(Reading(), *text)[0] == [("Text", text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nhm\n</think>\n\nYes.", [("Reasoning", "hm"), ("Text", "Yes.")]),
        ("<think></think>Yes.", [("Text", "Yes.")]),
        ("<think>cut off", [("Reasoning", "cut off")]),
        ("<think>a </thi b", [("Reasoning", "a </thi b")]),
        ("Yes. <think>no</think>", [("Text", "Yes. <think>no</think>")]),
        ("<thin", [("Text", "<thin")]),
        ("  <think>hm</think> x", [("Reasoning", "hm"), ("Text", "x")]),
    ],
)
def test_reasoning_is_what_stands_before_the_text(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert read(Reading(reasoning=THINK), *text)[0] == expected
    assert read(Reading(reasoning=THINK), text)[0] == expected


def test_where_the_prompt_opened_it_the_answer_begins_with_reasoning() -> None:
    said, reader = read(Reading(reasoning=THINK, thinking=True), *"hm</think>\n\nYes.")
    assert said == [("Reasoning", "hm"), ("Text", "Yes.")]
    assert not reader.reasons


def test_stop_strings_are_looked_for_in_text_alone() -> None:
    said, reader = read(Reading(stops=("x",), reasoning=THINK), *"<think>x</think>a x b")
    assert said == [("Reasoning", "x"), ("Text", "a ")]
    assert reader.stopped
    reading = Reading(stops=("name",), form=HERMES, names=("f",))
    assert [kind for kind, _ in read(reading, *CALL)[0]] == ["ToolCall", "Arguments"]


@pytest.mark.parametrize(
    "before",
    ["`", 'say "', "```\n", "```xml\ncode\n", "~~~\n", "a\n  ```\n", "`a` and `"],
)
def test_a_marker_that_is_only_talked_about_is_text(before: str) -> None:
    text = f"{before}<tool_call>"
    assert read(Reading(form=HERMES, names=("f",)), *text)[0] == [("Text", text)]


@pytest.mark.parametrize(
    "before", ["", "Now.", "`a`\n", "```\ncode\n```\n", 'He said "no".\n', "it's ", '5" wide\n']
)
def test_a_marker_in_plain_text_begins_a_call(before: str) -> None:
    said, reader = read(Reading(form=HERMES, names=("f",)), *(before + CALL))
    assert said[-2:] == [("ToolCall", "f"), ("Arguments", '{"a": 1}')]
    assert reader.called == 1
    assert said[:-2] == ([("Text", before.rstrip())] if before else [])


def test_white_space_before_a_call_goes_and_other_stays() -> None:
    assert read(Reading(form=HERMES, names=("f",)), *f"a \n\n{CALL}")[0][0] == ("Text", "a")
    assert read(Reading(form=HERMES, names=("f",)), *"a \n\nb \n")[0] == [("Text", "a \n\nb \n")]


def test_a_turn_tells_what_has_to_be_generated_anew() -> None:
    reader = Reader(Reading(form=HERMES, names=("f",)))
    assert reader.feed("Now <tool") != []
    assert reader.turn is None
    assert reader.feed("_call>{") == []
    assert reader.turn == Turn("calls", "{")
    reader.repeats(len("_call>"))
    reader.feed("_call>")
    assert (reader.turn, reader.held_text) == (None, "_call>")
    assert [type(event) for event in reader.feed('\n{"name": "f", "arguments": {}}')] == [
        ToolCall,
        Arguments,
    ]
    assert not reader.unfinished
