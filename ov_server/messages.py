"""OpenAI's messages: the wire's schema, and what they say. Pure."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from .core import Message, PastCall
from .errors import BadRequest
from .mistakes import spoilt
from .values import MOST_VALUES, crowded, unwieldy

MOST_MESSAGES = 10_000

T = TypeVar("T")
Several = Annotated[list[T], Field(max_length=MOST_MESSAGES, fail_fast=True)]
"""The first thing that is wrong is told; to find thousands more would hold up everybody."""


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    name: str = ""
    arguments: str | dict[str, Any] | None = None


class WireCall(BaseModel):
    """A call that comes back in an assistant's message; the function's fields may stand bare."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str | None = None
    function: CalledFunction | None = None
    name: str = ""
    arguments: str | dict[str, Any] | None = None


class WireMessage(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Several[Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Several[WireCall] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: str | None = None


def messages_of(said: Sequence[WireMessage]) -> tuple[Message, ...]:
    """A conversation for the core. Raises BadRequest for content that is no text, and for calls
    whose arguments would take long to read."""
    if crowded(*(text.encode() for text in _arguments(said))):
        raise BadRequest(
            f"messages: the arguments of all calls hold more than {MOST_VALUES} JSON values. "
            "Leave old calls out.",
            param="messages",
        )
    messages = tuple(_message(message, f"messages[{at}]") for at, message in enumerate(said))
    if unwieldy([call.arguments for message in messages for call in message.tool_calls]):
        raise BadRequest(
            "messages: the arguments of calls have objects of too many members. Leave them out.",
            param="messages",
        )
    return messages


def _arguments(said: Sequence[WireMessage]) -> Iterator[str]:
    """Those that are texts: they are parsed on the event loop."""
    for message in said:
        for call in message.tool_calls or ():
            yield from (a for a in (call.arguments, _arg(call.function)) if isinstance(a, str))
        if isinstance(text := _arg(message.function_call), str):
            yield text


def _arg(function: CalledFunction | None) -> str | dict[str, Any] | None:
    return function.arguments if function is not None else None


def _message(message: WireMessage, place: str) -> Message:
    roles: dict[str, Any] = {"developer": "system", "function": "tool"}
    calls = []
    for at, call in enumerate(message.tool_calls or ()):
        function = call.function or CalledFunction(name=call.name, arguments=call.arguments)
        if not function.name:
            where = f"{place}.tool_calls[{at}].function.name"
            raise BadRequest(f"{where}: a call needs the name of its function.", param=where)
        calls.append(_call(function, call.id))
    if message.function_call is not None:
        calls.append(_call(message.function_call, message.function_call.name))
    return Message(
        role=roles.get(message.role, message.role),
        content=_content(message.content, place),
        name=message.name,
        tool_call_id=message.name if message.role == "function" else message.tool_call_id,
        tool_calls=tuple(calls),
        reasoning=message.reasoning_content,
    )


def _call(function: CalledFunction, id_: str | None) -> PastCall:
    """A call of an earlier turn. Arguments that are no JSON object are shown as they are."""
    arguments = function.arguments or {}
    if isinstance(arguments, str):
        arguments = _object(arguments)
    return PastCall(id_ or "", function.name, arguments)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {"arguments": text}
    if spoilt(value) is not None:  # NaN, half a surrogate pair: no template could show it
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}


def _content(content: str | Several[Part] | None, place: str) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part, f"{place}.content[{i}]") for i, part in enumerate(content))
    return content or ""


def _text(part: Part, place: str) -> str:
    if part.type not in ("text", "input_text", "output_text", "refusal"):
        raise BadRequest(
            f"A content part of type '{part.type[:50]}' can't be read: the model takes text only.",
            param=place,
        )
    text = part.refusal if part.type == "refusal" else part.text
    if text is None:
        raise BadRequest(f"A content part of type '{part.type}' needs its text.", param=place)
    return text
