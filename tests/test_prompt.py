"""Messages and tools to the turns that a chat template understands."""

from typing import Any

import pytest

from ov_server.core import Message, PastCall, Tool
from ov_server.prompt import PLAIN, Abilities, Turn, open_ended, template_messages
from ov_server.toolformats import FORMATS

ADD = PastCall("call_abc", "add", {"a": 1})
SUB = PastCall("123456789", "sub", {"b": "é"})
TOOL = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
NATIVE = Abilities(FORMATS["hermes"], tools=True, calls=True, results=True, several=True)


def turns(*messages: Message, tools: tuple[Tool, ...] = (), **can: Any) -> list[Turn]:
    return template_messages(messages, tools, Abilities(**can) if can else PLAIN)


def contents(told: list[Turn]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in told]


def test_what_a_template_can_show_goes_to_it_as_it_is() -> None:
    said = [
        Message("user", "1 + 1?"),
        Message("assistant", "", tool_calls=(ADD, SUB), reasoning="hm"),
        Message("tool", "2", tool_call_id="call_abc"),
        Message("tool", "", name="own", tool_call_id="123456789"),
    ]
    told = template_messages(said, [TOOL], NATIVE)
    assert contents(told) == [("user", "1 + 1?"), ("assistant", ""), ("tool", "2"), ("tool", "")]
    first, second = told[1]["tool_calls"]
    assert first["function"] == {"name": "add", "arguments": {"a": 1}}
    assert second["id"] == told[3]["tool_call_id"] == "123456789"
    assert told[2]["name"] == "add"
    assert told[3]["name"] == "own"
    assert told[1]["reasoning_content"] == "hm"


def test_ids_are_nine_letters_and_digits_as_mistral_wants_them() -> None:
    told = template_messages(
        [
            Message("assistant", "", tool_calls=(ADD,)),
            Message("tool", "2", tool_call_id="call_abc"),
        ],
        (),
        NATIVE,
    )
    [id_] = [call["id"] for call in told[0]["tool_calls"]]
    assert len(id_) == 9
    assert id_.isalnum()
    assert told[1]["tool_call_id"] == id_


def test_calls_and_results_become_text_where_the_template_has_neither() -> None:
    told = turns(
        Message("assistant", "Let me see.", tool_calls=(ADD, SUB)),
        Message("tool", "3", tool_call_id="call_abc"),
        Message("tool", "", tool_call_id="nobody's"),
    )
    assert contents(told) == [
        (
            "assistant",
            'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
            '<tool_call>\n{"name": "sub", "arguments": {"b": "é"}}\n</tool_call>',
        ),
        ("user", "<tool_response>\nResult of add:\n3\n</tool_response>"),
        ("user", "<tool_response>\nResult:\n\n</tool_response>"),
    ]


def test_several_calls_of_one_message_are_split_with_their_results() -> None:
    told = turns(
        Message("assistant", "Now.", tool_calls=(ADD, SUB)),
        Message("tool", "second", tool_call_id="123456789"),
        Message("tool", "first", tool_call_id="call_abc"),
        Message("tool", "lost", tool_call_id="?"),
        Message("user", "and?"),
        calls=True,
        results=True,
    )
    assert contents(told) == [
        ("assistant", "Now."),
        ("tool", "first"),
        ("assistant", ""),
        ("tool", "second"),
        ("tool", "lost"),
        ("user", "and?"),
    ]


def test_tools_are_told_in_a_system_prompt_where_the_template_knows_none() -> None:
    [system, user] = turns(Message("user", "hi"), tools=(TOOL,))
    assert system["role"] == "system"
    assert '"name": "add"' in system["content"]
    assert '<tool_call>\n{"name": "NAME"' in system["content"]
    assert user == {"role": "user", "content": "hi"}
    [system, _] = turns(Message("system", "Be kind."), Message("user", "hi"), tools=(TOOL,))
    assert system["content"].startswith("Be kind.\n\n# Tools")


def test_the_system_prompt_shows_the_format_that_the_registry_names() -> None:
    [system, _] = turns(Message("user", "hi"), tools=(TOOL,), form=FORMATS["mistral"])
    assert "[TOOL_CALLS]NAME[ARGS]{" in system["content"]


def test_tools_stand_on_the_system_message_where_the_template_looks_for_them() -> None:
    [system, _] = turns(Message("user", "hi"), tools=(TOOL,), tools_with_system=True)
    assert system["content"] == ""
    assert '"add"' in system["tools"]


def test_system_messages_are_moved_to_where_the_template_takes_them() -> None:
    said = [Message("user", "a"), Message("system", "x"), Message("user", "b")]
    assert contents(turns(*said, system_later=False)) == [
        ("system", "x"),
        ("user", "a"),
        ("user", "b"),
    ]
    assert contents(turns(*said, system=False)) == [("user", "x\n\na"), ("user", "b")]
    assert contents(turns(Message("system", "x"), system=False)) == [("user", "x")]


def test_messages_in_a_row_are_merged_where_roles_have_to_alternate() -> None:
    said = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    told = turns(*said, same_role=False)
    assert contents(told) == [("user", "a\n\nb"), ("assistant", "c")]


def test_an_assistants_word_stands_between_a_result_and_a_question() -> None:
    said = [Message("tool", "2", tool_call_id="x"), Message("user", "and?")]
    told = turns(*said, results=True, user_after_result=False)
    assert [turn["role"] for turn in told] == ["tool", "assistant", "user"]


def test_reasoning_comes_back_and_an_empty_message_stays_empty() -> None:
    told = turns(Message("assistant", "", reasoning="hm"), Message("user", ""))
    assert told == [
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"role": "user", "content": ""},
    ]


def test_an_open_end_needs_a_template_that_shows_the_text() -> None:
    told = [{"role": "assistant", "content": "The sky is"}]
    assert open_ended(told, lambda t: f"<a>{t[-1]['content']}</a>") == "<a>The sky is"
    with pytest.raises(ValueError, match="does not show"):
        open_ended(told, lambda t: "<a></a>")
