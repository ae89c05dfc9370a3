"""Messages to what a model's chat template understands. Pure; the template engine is elsewhere."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .core import Message

Turn = dict[str, Any]
"""A message as templates see it."""

_MARK = "4f1c9e52-the-final-message-7b0d63a8"


def template_messages(messages: Sequence[Message]) -> list[Turn]:
    """The turns as a template expects them: content always a string, no key without a value.

    Calls of tools and their results are told as text, the results as the user's, since a template
    may know neither.
    """
    names: dict[str, str] = {}
    turns = []
    for message in messages:
        calls = [_call(call) for call in message.tool_calls]
        names |= {id_: name for id_, name, _ in calls}
        turns.append(_turn(message, names, [f"Call of {n}: {args}" for _, n, args in calls]))
    return turns


def _turn(message: Message, names: Mapping[str, str], calls: Sequence[str]) -> Turn:
    if message.role == "tool":
        name = message.name or names.get(message.tool_call_id or "")
        origin = f" of {name}" if name else ""
        return {"role": "user", "content": f"Result{origin}:\n{message.content}"}
    content = "\n".join([message.content, *calls] if message.content else calls)
    turn: Turn = {"role": message.role, "content": content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    return turn


def _call(call: Mapping[str, Any]) -> tuple[str, str, str]:
    """Id, name and arguments of a call, in OpenAI's shape or with the function's fields bare."""
    function = call.get("function")
    fields = function if isinstance(function, Mapping) else call
    arguments = fields.get("arguments") or {}
    shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return str(call.get("id", "")), str(fields.get("name", "")), shown


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
