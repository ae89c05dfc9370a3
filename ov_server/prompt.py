"""Messages and tools to what a chat template understands. Pure; the engine is elsewhere."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from .calls import written
from .core import Message, Tool
from .toolformats import GENERIC, ToolFormat

Turn = dict[str, Any]
"""A message as templates see it."""

_MARK = "4f1c9e52-the-final-message-7b0d63a8"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a chat template can show; what it can't is told as text."""

    form: ToolFormat = GENERIC
    """How its model writes calls."""
    tools: bool = False
    """It shows the tools that it is given."""
    tools_with_system: bool = False
    """It shows them as text on the system message, as Phi-4-mini's."""
    calls: bool = False
    """It shows an assistant's calls, from arguments as an object."""
    results: bool = False
    """It shows messages of the role tool."""
    several: bool = False
    """It shows several calls of one message."""
    system: bool = True
    """It takes a system message, at the beginning."""
    system_later: bool = True
    """It shows one that comes later, too."""
    same_role: bool = True
    """It takes two messages of a user in a row."""
    user_after_result: bool = True
    """It takes a user's message right behind a result."""

    @property
    def shows_tools(self) -> bool:
        return self.tools or self.tools_with_system


PLAIN = Abilities()


def template_messages(
    messages: Sequence[Message], tools: Sequence[Tool] = (), can: Abilities = PLAIN
) -> list[Turn]:
    """The turns as the template expects them: content always a string, no key without a value."""
    told = [*_told(messages, can)]
    described = list(map(described_tool, tools))
    if tools and not can.shows_tools:
        told = _under(told, instructions(tools, can.form))
    if not can.system_later or not can.system:
        told = _system_first(told)
    if not can.system:
        told = _system_in_user(told)
    if not can.same_role:
        told = _merged(told)
    if not can.user_after_result:
        told = _answered(told)
    turns = [_turn(message) for message in told]
    if tools and can.tools_with_system:
        turns = (
            turns if turns[0]["role"] == "system" else [{"role": "system", "content": ""}, *turns]
        )
        turns[0] = {**turns[0], "tools": json.dumps(described, ensure_ascii=False)}
    return turns


def described_tool(tool: Tool) -> dict[str, Any]:
    """A tool in OpenAI's shape, which is that of templates."""
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def instructions(tools: Sequence[Tool], form: ToolFormat) -> str:
    """The system prompt that tells a model of tools when its template doesn't. The words are near
    to Qwen's and Hermes', which models have seen most."""
    signatures = "\n".join(json.dumps(described_tool(t), ensure_ascii=False) for t in tools)
    example = written(form, [("NAME", {"ARGUMENT": "VALUE"})])
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query. Their "
        f"signatures:\n<tools>\n{signatures}\n</tools>\n\n"
        f"To call a function, write exactly this, with its name and arguments:\n{example}\n"
        "The result comes in the next message. When no function is needed, answer as usual."
    )


# What a template can't show becomes text.


def _told(messages: Sequence[Message], can: Abilities) -> list[Message]:
    names: dict[str, str] = {}
    told: list[Message] = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool":
            told.append(_result(message, names, can))
        elif message.tool_calls and not can.calls:
            text = written(can.form, [(c.name, c.arguments) for c in message.tool_calls])
            content = f"{message.content}\n{text}" if message.content else text
            told.append(replace(message, content=content, tool_calls=()))
        else:
            told.append(message)
    return told if can.several else _one_by_one(told)


def _result(message: Message, names: Mapping[str, str], can: Abilities) -> Message:
    name = message.name or names.get(message.tool_call_id or "")
    if can.results:
        return replace(message, name=name)
    origin = f" of {name}" if name else ""
    text = f"<tool_response>\nResult{origin}:\n{message.content}\n</tool_response>"
    return Message("user", text)


def _one_by_one(messages: list[Message]) -> list[Message]:
    """A message with several calls as several, each with its result behind it."""
    told: list[Message] = []
    left = list(messages)
    while left:
        message = left.pop(0)
        if len(message.tool_calls) < 2:
            told.append(message)
            continue
        count = next((n for n, m in enumerate(left) if m.role != "tool"), len(left))
        results, left = left[:count], left[count:]
        for number, call in enumerate(message.tool_calls):
            content = message.content if not number else ""
            told.append(replace(message, content=content, tool_calls=(call,)))
            own = next((r for r in results if r.tool_call_id == call.id), None)
            if own is not None:
                results.remove(own)
                told.append(own)
        told += results
    return told


def _under(messages: list[Message], text: str) -> list[Message]:
    """With a text at the end of the first system message."""
    if messages and messages[0].role == "system":
        first = messages[0]
        return [replace(first, content=f"{first.content}\n\n{text}".strip()), *messages[1:]]
    return [Message("system", text), *messages]


def _system_first(messages: list[Message]) -> list[Message]:
    system = [m.content for m in messages if m.role == "system" and m.content]
    others = [m for m in messages if m.role != "system"]
    return [Message("system", "\n\n".join(system)), *others] if system else others


def _system_in_user(messages: list[Message]) -> list[Message]:
    """With the system message in front of the first user's."""
    if not messages or messages[0].role != "system":
        return messages
    text, rest = messages[0].content, messages[1:]
    at = next((n for n, m in enumerate(rest) if m.role == "user"), None)
    if at is None:
        return [Message("user", text), *rest]
    rest[at] = replace(rest[at], content=f"{text}\n\n{rest[at].content}")
    return rest


def _merged(messages: list[Message]) -> list[Message]:
    """With one message where several of a user, or plain ones of an assistant, are in a row."""
    told: list[Message] = []
    for (role, calls), group in groupby(messages, lambda m: (m.role, bool(m.tool_calls))):
        run = list(group)
        if role == "user" or (role == "assistant" and not calls):
            run = [replace(run[-1], content="\n\n".join(m.content for m in run))]
        told += run
    return told


def _answered(messages: list[Message]) -> list[Message]:
    """With an assistant's word between a result and a user's message."""
    told: list[Message] = []
    for message in messages:
        if message.role == "user" and told and told[-1].role == "tool":
            told.append(Message("assistant", "..."))
        told.append(message)
    return told


def _turn(message: Message) -> Turn:
    turn: Turn = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.role == "tool":
        turn |= {"tool_call_id": _short(message.tool_call_id or "")}
        turn |= {"name": message.name} if message.name else {}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": _short(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return turn


def _short(id_: str) -> str:
    """The same id in nine letters and digits: Mistral's templates take no other."""
    if re.fullmatch(r"[A-Za-z0-9]{9}", id_):
        return id_
    return hashlib.sha256(id_.encode()).hexdigest()[:9]


def open_ended(messages: list[Turn], render: Callable[[list[Turn]], str]) -> str:
    """The prompt that ends with the last message's text as it is, so that the model continues it.

    As Hugging Face's `continue_final_message`: a mark stands for the text while the template is
    rendered, and what the template puts behind it is cut off. Raises ValueError when the template
    does not show the text.
    """
    before, mark, _ = render([*messages[:-1], {**messages[-1], "content": _MARK}]).rpartition(_MARK)
    if not mark:
        raise ValueError("it does not show the final message's text")
    return before + messages[-1]["content"]
