"""Messages to what a model's chat template understands. Pure; the template engine is elsewhere."""

from collections.abc import Sequence
from typing import Any

from .core import Message


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns as a template expects them: content always a string, no key without a value.

    A tool's result is told as text of the user, since a template may know no such role.
    """
    return [_turn(message) for message in messages]


def _turn(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        origin = f" of {message.name}" if message.name else ""
        return {"role": "user", "content": f"Result{origin}:\n{message.content}"}
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    return turn


def open_ended(rendered: str, final: str) -> str:
    """The rendered prompt cut after its last message's text, so that the model continues it.

    As Hugging Face's `continue_final_message` does. Raises ValueError when the template does
    not show the text as it is.
    """
    text = final.strip()
    at = rendered.rfind(text)
    if not text or at < 0:
        raise ValueError("the chat template does not show the final message's text unchanged")
    return rendered[: at + len(text)]
