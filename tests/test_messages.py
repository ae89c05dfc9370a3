"""Messages as they come over the wire."""

from typing import Any

import pytest

from ov_server.core import Message, PastCall
from ov_server.errors import BadRequest
from ov_server.messages import WireMessage, messages_of

HI = [{"role": "user", "content": "hi"}]


def said(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return messages_of([WireMessage.model_validate(message) for message in messages])


@pytest.mark.parametrize(
    ("role", "becomes"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_every_role_is_understood(role: str, becomes: str) -> None:
    assert said({"role": role, "content": "text"})[0].role == becomes


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("text", "text"),
        ([], ""),
        ([{"type": "text", "text": "one"}], "one"),
        (
            [{"type": "input_text", "text": "one"}, {"type": "output_text", "text": "two"}],
            "one\ntwo",
        ),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        ([{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}], "one"),
    ],
    ids=str,
)
def test_every_form_of_content_becomes_text(content: Any, text: str) -> None:
    assert said({"role": "user", "content": content})[0].content == text


def test_content_may_be_missing() -> None:
    assert said({"role": "assistant", "tool_calls": []})[0].content == ""


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url"])
def test_content_that_is_no_text_is_refused_and_placed(kind: str) -> None:
    parts = [{"type": "text", "text": "look"}, {"type": kind, kind: {"url": "x"}}]
    with pytest.raises(BadRequest, match=kind) as caught:
        said(*HI, {"role": "user", "content": parts})
    assert caught.value.param == "messages[1].content[1]"


def test_what_an_assistant_said_before_is_carried_along() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    back = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
        "reasoning_content": "hm",
        "refusal": None,
        "annotations": [],
    }
    tool = {"role": "tool", "content": "", "name": "f", "tool_call_id": "c1"}
    assert said(back, tool) == (
        Message("assistant", "", tool_calls=(PastCall("c1", "f", {}),), reasoning="hm"),
        Message("tool", "", name="f", tool_call_id="c1"),
    )


def test_the_last_message_may_be_the_assistants() -> None:
    assert said(*HI, {"role": "assistant", "content": "done"})[-1].role == "assistant"


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ("not json", {"arguments": "not json"}),
        ("[1]", {"arguments": [1]}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ('{"a": 1e999}', {"arguments": '{"a": 1e999}'}),
        ('{"a": ["\\ud800"]}', {"arguments": '{"a": ["\\ud800"]}'}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
def test_calls_of_earlier_turns_come_back(arguments: Any, read: dict[str, Any]) -> None:
    for call in (
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}},
        {"id": "c", "name": "f", "arguments": arguments},
    ):
        [message] = said({"role": "assistant", "content": None, "tool_calls": [call]})
        assert message.tool_calls == (PastCall("c", "f", read),)


def test_a_function_of_old_and_its_result_belong_together() -> None:
    called, result = said(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "5"},
    )
    assert called.tool_calls[0].id == result.tool_call_id == "f"
    assert (result.role, result.name) == ("tool", "f")
