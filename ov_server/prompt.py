"""Messages to what a model's chat template understands. Pure; the template engine is elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any

from .core import Message

Turn = dict[str, Any]
"""A message as templates see it."""

_MARK = "4f1c9e52-the-final-message-7b0d63a8"


def template_messages(messages: Sequence[Message]) -> list[Turn]:
    """The turns as a template expects them: content always a string, no key without a value.

    A tool's result is told as text of the user, since a template may know no such role.
    """
    return [_turn(message) for message in messages]


def _turn(message: Message) -> Turn:
    if message.role == "tool":
        origin = f" of {message.name}" if message.name else ""
        return {"role": "user", "content": f"Result{origin}:\n{message.content}"}
    turn: Turn = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    return turn


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
