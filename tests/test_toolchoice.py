"""Tools, tool_choice and their legacy names."""

from typing import Any

import pytest
from pydantic import ValidationError

from ov_server.core import Tool, ToolUse
from ov_server.errors import BadRequest
from ov_server.toolchoice import MOST_TOOLS, ToolFields, offered, use_of

F = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"a": 1}}}
G = {"type": "function", "function": {"name": "g"}}
BOTH = ("f", "g")


def use(**fields: Any) -> ToolUse:
    said = ToolFields.model_validate({"tools": [F, G], **fields})
    return use_of(said, offered(said))


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_tools_are_offered_in_their_order() -> None:
    said = ToolFields.model_validate({"tools": [F, G]})
    assert offered(said) == (Tool("f", "F.", {"a": 1}), Tool("g"))
    assert offered(ToolFields.model_validate({"tools": []})) == ()
    assert offered(ToolFields()) == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ToolUse(BOTH)),
        ({"tool_choice": None}, ToolUse(BOTH)),
        ({"tool_choice": "auto"}, ToolUse(BOTH)),
        ({"tool_choice": "none"}, ToolUse()),
        ({"tool_choice": "required"}, ToolUse(BOTH, required=True)),
        ({"tool_choice": "any"}, ToolUse(BOTH, required=True)),
        ({"parallel_tool_calls": False}, ToolUse(BOTH, several=False)),
        ({"parallel_tool_calls": True}, ToolUse(BOTH)),
        ({"tool_choice": named("g")}, ToolUse(("g",), required=True, several=False)),
        (
            {"tool_choice": {"type": "function", "name": "g"}},
            ToolUse(("g",), required=True, several=False),
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [named("g")]}}},
            ToolUse(("g",)),
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [named("g"), named("f")]},
                }
            },
            ToolUse(("f", "g"), required=True),
        ),
    ],
    ids=str,
)
def test_what_may_and_what_must_be_called(fields: dict[str, Any], expected: ToolUse) -> None:
    assert use(**fields) == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolUse(("h",), several=False)),
        ("auto", ToolUse(("h",), several=False)),
        ("none", ToolUse()),
        ({"name": "h"}, ToolUse(("h",), required=True, several=False)),
    ],
)
def test_the_legacy_names_ask_for_one_call_at_the_most(choice: Any, expected: ToolUse) -> None:
    said = ToolFields.model_validate({"functions": [{"name": "h"}], "function_call": choice})
    assert said.legacy
    assert use_of(said, offered(said)) == expected


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"tool_choice": named("h")}, "tool_choice", "They are: f, g"),
        ({"tool_choice": {"type": "function"}}, "tool_choice", "needs the function's name"),
        (
            {"tool_choice": {"type": "allowed_tools"}},
            "tool_choice.allowed_tools",
            "needs its 'allowed_tools'",
        ),
        ({"tool_choice": "auto", "function_call": "none"}, "function_call", "not both"),
        ({"function_call": {"name": "h"}}, "function_call", "f, g"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"tools": [F, F]}, "tools[1].function.name", "'f'"),
        ({"functions": [{"name": "f"}]}, "functions", "not both"),
    ],
    ids=str,
)
def test_what_can_not_be_meant_is_told(fields: dict[str, Any], param: str, told: str) -> None:
    with pytest.raises(BadRequest) as caught:
        use(**fields)
    assert caught.value.param == param
    assert told in caught.value.message


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "function"},
        {"type": "function", "function": {}},
        {"type": "function", "function": {"name": "a b"}},
        {"type": "function", "function": {"name": ""}},
        {"type": "function", "function": {"name": "a\n"}},
        {"type": "function", "function": {"name": "f", "parameters": "x"}},
    ],
    ids=str,
)
def test_a_tool_that_is_none_is_refused(tool: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ToolFields.model_validate({"tools": [tool]})


def test_hundreds_of_tools_are_taken_and_there_is_an_end() -> None:
    many = [named(f"f{n}") for n in range(MOST_TOOLS)]
    assert len(offered(ToolFields.model_validate({"tools": many}))) == MOST_TOOLS
    with pytest.raises(ValidationError):
        ToolFields.model_validate({"tools": [*many, G]})
