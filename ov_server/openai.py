"""OpenAI's chat completions: the body's schema, and parse, complete, stream and error.

Reference: platform.openai.com/docs/api-reference/chat. Knows no engine and no transport.
"""

import json
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from . import __version__
from .answerformats import FormatFields, answer_format
from .core import (
    Arguments,
    ChatRequest,
    Choice,
    Completion,
    Done,
    EndedBy,
    Event,
    Finish,
    Priority,
    Reasoning,
    Role,
    Said,
    Text,
    Timings,
    TokenLogprob,
    ToolCall,
    Usage,
)
from .entries import CHAT_TASKS, Entry
from .errors import BadRequest, ServerError
from .messages import Several, WireMessage, messages_of
from .mistakes import spoilt
from .parameters import Parameters
from .refusals import refuse
from .toolchoice import ToolFields, offered, use_of
from .values import unwieldy


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
StopString = Annotated[str, Field(max_length=500)]


class ChatBody(Parameters, ToolFields, FormatFields):
    """The body of POST /v1/chat/completions. Fields that are not named here are ignored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    model: str = Field(min_length=1)
    messages: Several[WireMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=32)] | None = None
    n: int | None = Field(None, ge=1, le=16)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    reasoning_effort: Effort | None = None
    session_id: SessionId | None = None
    timeout: float | None = Field(None, gt=0)
    priority: Priority | int | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_json(cls, said: Any) -> Any:
        """Python's parser takes NaN and half characters. In a field that is ignored they do no
        harm, but for its name."""
        if isinstance(said, dict):
            known = {name: said[name] if name in cls.model_fields else None for name in said}
            if (mistake := spoilt(known)) is not None:
                facts = {"place": mistake.place, "said": mistake.said}
                raise PydanticCustomError("spoilt", "{said}", facts)
            for name, value in known.items():
                if unwieldy(value):
                    facts = {"place": (name,)}
                    raise PydanticCustomError(
                        "unwieldy", "its objects have too many members", facts
                    )
        return said


_OURS = {"messages", "add_generation_prompt", "tools"}
"""Variables of a chat template that the request's own fields decide."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What every object of one answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str
    include_usage: bool = False
    choices: int = 1
    legacy: bool = False
    """Calls are shown as function_call."""
    session: str = ""
    """What the first chunk of a stream names, for who wants to come back."""


def parse(body: ChatBody, entry: Entry) -> ChatRequest:
    """The core's request; what it does not say, the registry entry's defaults may.

    Raises BadRequest for a field that would change the answer and can't be honoured.
    """
    if entry.task not in CHAT_TASKS:
        raise BadRequest(
            f"The model '{entry.name}' is for {entry.task}; it can't chat.", param="model"
        )
    _refuse(body)
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    tools = offered(body)
    request = ChatRequest(
        messages=messages_of(body.messages),
        sampling=body.sampling().over(entry.defaults.sampling()),
        stop=tuple(stop for stop in stops if stop),
        choices=body.n or 1,
        logprobs=bool(body.logprobs),
        template_options=_template_options(body),
        continue_final=bool(body.continue_final_message),
        tools=tools,
        tool_use=use_of(body, tools),
        answer=answer_format(body),
        priority=priority_of(body),
    )
    _fit_together(request, body)
    return request


def _refuse(body: ChatBody) -> None:
    refuse({**(body.model_extra or {}), "top_logprobs": body.top_logprobs})
    for name in _OURS & (body.chat_template_kwargs or {}).keys():
        raise BadRequest(
            f"chat_template_kwargs can't set '{name}': the request's own fields do.",
            param="chat_template_kwargs",
        )
    if body.stream_options is not None and not body.stream:
        raise BadRequest("'stream_options' needs stream: true.", param="stream_options")
    if body.add_generation_prompt is False and not body.continue_final_message:
        raise BadRequest(
            "'add_generation_prompt': false needs continue_final_message: true.",
            param="add_generation_prompt",
        )
    if body.continue_final_message and body.messages[-1].role != "assistant":
        raise BadRequest(
            "continue_final_message needs an assistant message at the end of messages.",
            param="continue_final_message",
        )


def _fit_together(request: ChatRequest, body: ChatBody) -> None:
    """Raises BadRequest for what can't be had beside a grammar."""
    held_by = "tool_choice" if request.tool_use.required else None
    held_by = request.answer.param if request.answer is not None else held_by
    if held_by is None:
        return
    clashing = {
        "ignore_eos": body.ignore_eos,
        "min_tokens": body.min_tokens,
        "continue_final_message": body.continue_final_message,
    }
    for name, value in clashing.items():
        if value:
            raise BadRequest(
                f"'{name}' can't be had together with '{held_by}', which alone decides how the "
                "answer begins and ends. Leave one of them out.",
                param=name,
            )


def priority_of(body: ChatBody) -> Priority:
    """A number is vLLM's, where 0 is the default and what is higher waits longer."""
    if isinstance(body.priority, int):
        return "batch" if body.priority > 0 else "interactive"
    return body.priority or "interactive"


def _template_options(body: ChatBody) -> dict[str, Any]:
    """Variables of the chat template. Most templates know enable_thinking, some the effort."""
    options: dict[str, Any] = {}
    if body.reasoning_effort is not None:
        thinks = body.reasoning_effort != "none"
        options = {"reasoning_effort": body.reasoning_effort, "enable_thinking": thinks}
    return options | (body.chat_template_kwargs or {})


def heading(body: ChatBody, model: str, session: str = "") -> Heading:
    """`model` is the name that answers, which an alias or OV_MODEL_PATH may make another."""
    return Heading(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=model,
        fingerprint=f"ov-{__version__}",
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices=body.n or 1,
        legacy=body.legacy,
        session=session,
    )


def complete(heading: Heading, completion: Completion) -> dict[str, Any]:
    return {
        **_head(heading, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": _answer(choice, heading.legacy),
                "logprobs": _logprobs(choice.logprobs),
                "finish_reason": _reason(choice.finish_reason, heading.legacy),
                **_ended_by(choice.ended_by),
            }
            for index, choice in enumerate(completion.choices)
        ],
        "usage": _usage(completion.usage),
        "timings": _timings(completion.timings),
    }


def _answer(choice: Choice, legacy: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.calls:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.calls
        ]
        message["content"] = choice.text or None
        message |= {"function_call": calls[0]["function"]} if legacy else {"tool_calls": calls}
    return message


def _delta(event: Said, legacy: bool) -> dict[str, Any]:
    """Of a call id, type and name come first, then the arguments in pieces, all with its index."""
    match event:
        case Text():
            return {"content": event.text}
        case Reasoning():
            return {"reasoning_content": event.text}
        case ToolCall():
            head = {"id": event.id, "type": "function"}
            function = {"name": event.name, "arguments": ""}
        case Arguments():
            head, function = {}, {"arguments": event.text}
    if legacy:
        return {"function_call": function}
    return {"tool_calls": [{"index": event.call, **head, "function": function}]}


def _reason(reason: str, legacy: bool) -> str:
    return "function_call" if legacy and reason == "tool_calls" else reason


def _ended_by(what: EndedBy | None) -> dict[str, str]:
    """vLLM's name for what ended an answer."""
    return {} if what is None else {"stop_reason": what}


async def stream(heading: Heading, events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
    """The data of each server-sent event. The last chunk carries the timings."""
    head = _head(heading, "chat.completion.chunk")
    usage = {"usage": None} if heading.include_usage else {}

    def chunk(index: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return head | {"choices": [choice]} | usage

    finish: dict[str, Any] | None = None
    async for event in events:
        match event:
            case Role():
                session = {"session_id": heading.session} if heading.session else {}
                for index in range(heading.choices):
                    yield _json(chunk(index, {"role": "assistant", "content": ""}) | session)
                    session = {}
            case Finish():
                if finish is not None:
                    yield _json(finish)
                reason = _reason(event.reason, heading.legacy)
                finish = chunk(event.index, {}, finish_reason=reason, **_ended_by(event.by))
            case Done():
                last = head | {"choices": [], "usage": _usage(event.usage)}
                closing = [finish or {}, last] if heading.include_usage else [finish or {}]
                closing[-1]["timings"] = _timings(event.timings)
                for data in closing:
                    yield _json(data)
            case _:
                logprobs = _logprobs(event.logprobs) if isinstance(event, Text) else None
                delta = _delta(event, heading.legacy)
                yield _json(chunk(event.index, delta, logprobs=logprobs))
    yield "[DONE]"


def error(problem: ServerError) -> dict[str, Any]:
    return {
        "error": {
            "message": problem.message,
            "type": problem.kind,
            "param": problem.param,
            "code": problem.code,
        }
    }


def _head(heading: Heading, kind: str) -> dict[str, Any]:
    return {
        "id": heading.id,
        "object": kind,
        "created": heading.created,
        "model": heading.model,
        "system_fingerprint": heading.fingerprint,
    }


def _logprobs(tokens: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
    if not tokens:
        return None
    return {
        "content": [
            {
                "token": token.text,
                "logprob": token.logprob,
                "bytes": list(token.text.encode()),
                "top_logprobs": [],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _timings(timings: Timings) -> dict[str, float]:
    """llama.cpp's names; Open WebUI shows them."""

    def rate(tokens: int, ms: float) -> float:
        return round(tokens / ms * 1e3, 2) if ms > 0 else 0.0

    return {
        "prompt_n": timings.prompt_tokens,
        "prompt_ms": round(timings.prompt_ms, 3),
        "prompt_per_second": rate(timings.prompt_tokens, timings.prompt_ms),
        "predicted_n": timings.predicted_tokens,
        "predicted_ms": round(timings.predicted_ms, 3),
        "predicted_per_second": rate(timings.predicted_tokens, timings.predicted_ms),
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
