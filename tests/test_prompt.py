"""Messages to the turns that a chat template understands."""

import pytest

from ov_server.core import Message
from ov_server.prompt import open_ended, template_messages


def test_calls_and_their_results_are_told_as_text() -> None:
    calls = (
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "c2", "name": "sub", "arguments": {"b": "é"}},
    )
    turns = template_messages(
        [
            Message("assistant", "Let me see.", tool_calls=calls),
            Message("tool", "3", tool_call_id="c1"),
            Message("tool", "4", tool_call_id="c2"),
            Message("tool", "5", name="other", tool_call_id="c1"),
            Message("tool", "6"),
            Message("assistant", "", tool_calls=calls[:1]),
        ]
    )
    assert turns == [
        {
            "role": "assistant",
            "content": 'Let me see.\nCall of add: {"a": 1}\nCall of sub: {"b": "é"}',
        },
        {"role": "user", "content": "Result of add:\n3"},
        {"role": "user", "content": "Result of sub:\n4"},
        {"role": "user", "content": "Result of other:\n5"},
        {"role": "user", "content": "Result:\n6"},
        {"role": "assistant", "content": 'Call of add: {"a": 1}'},
    ]


def test_reasoning_comes_back_and_an_empty_message_stays_empty() -> None:
    turns = template_messages([Message("assistant", "", reasoning="hm"), Message("user", "")])
    assert turns == [
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"role": "user", "content": ""},
    ]


def test_an_odd_call_breaks_nothing() -> None:
    odd = ({}, {"function": None}, {"function": {"name": None, "arguments": None}, "id": 7})
    [turn] = template_messages([Message("assistant", "x", tool_calls=odd)])
    assert turn["content"].startswith("x\nCall of")


def test_an_open_end_needs_a_template_that_shows_the_text() -> None:
    turns = [{"role": "assistant", "content": "The sky is"}]
    assert open_ended(turns, lambda t: f"<a>{t[-1]['content']}</a>") == "<a>The sky is"
    with pytest.raises(ValueError, match="does not show"):
        open_ended(turns, lambda t: "<a></a>")
