"""OpenAI's chat completions: the wire's schema, and parse, complete, stream and error.

Reference: platform.openai.com/docs/api-reference/chat. Knows no engine and no transport.
"""

import json
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from . import __version__
from .core import (
    ChatRequest,
    Completion,
    Done,
    Event,
    Finish,
    Message,
    Role,
    Text,
    Timings,
    TokenLogprob,
    Usage,
)
from .entries import CHAT_TASKS, Entry
from .errors import BadRequest, ServerError
from .parameters import Parameters


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    type: str
    text: str | None = None
    refusal: str | None = None


class WireMessage(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning_content: str | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None


StopString = Annotated[str, Field(max_length=500)]


class ChatBody(Parameters):
    """The body of POST /v1/chat/completions. Fields that are not named here are ignored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    model: str = Field(min_length=1)
    messages: list[WireMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=32)] | None = None
    n: int | None = Field(None, ge=1, le=16)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


_NOT_YET = "is not supported by this server yet; leave it out"
_NEVER = "can't be honoured by OpenVINO GenAI; leave it out"
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "tools": ((), _NOT_YET),
    "functions": ((), _NOT_YET),
    "tool_choice": (("none", "auto"), _NOT_YET),
    "function_call": (("none", "auto"), _NOT_YET),
    "response_format": (({"type": "text"},), _NOT_YET),
    "guided_json": ((), _NOT_YET),
    "guided_regex": ((), _NOT_YET),
    "guided_choice": ((), _NOT_YET),
    "guided_grammar": ((), _NOT_YET),
    "structured_outputs": ((), _NOT_YET),
    "json_schema": ((), _NOT_YET),
    "grammar": ((), _NOT_YET),
    "reasoning_effort": ((), _NOT_YET),
    "top_logprobs": ((0,), "above 0 can't be honoured: the chosen token's are told alone"),
    "logit_bias": ((), _NEVER),
    "modalities": ((["text"],), _NOT_YET),
    "audio": ((), _NOT_YET),
    "web_search_options": ((), _NEVER),
    "chat_template": ((), _NEVER),
    "documents": ((), _NOT_YET),
    "truncate_prompt_tokens": ((), "is refused: a prompt is never cut; leave it out"),
    "n_predict": ((-1,), "is llama.cpp's name: leave it out and say max_tokens"),
    "include_stop_str_in_output": ((False,), _NEVER),
    "skip_special_tokens": ((True,), _NEVER),
    "prompt_logprobs": ((0,), _NEVER),
    "length_penalty": ((1, 1.0), _NEVER),
    "stop_token_ids": ((), _NEVER),
    "bad_words": ((), _NEVER),
    "allowed_token_ids": ((), _NEVER),
    "best_of": ((1,), _NEVER),
    "use_beam_search": ((False,), _NEVER),
    "echo": ((False,), _NEVER),
    "typical_p": ((1, 1.0), _NEVER),
    "mirostat": ((0,), _NEVER),
    "dry_multiplier": ((0, 0.0), _NEVER),
    "xtc_probability": ((0, 0.0), _NEVER),
    "samplers": ((), _NEVER),
    "dynatemp_range": ((0, 0.0), _NEVER),
    "tfs_z": ((1, 1.0), _NEVER),
    "top_a": ((0, 0.0), _NEVER),
    "n_probs": ((0,), _NEVER),
    "repeat_last_n": ((-1,), _NEVER + ": penalties look at the whole answer"),
    "num_beams": ((1,), _NEVER),
    "min_length": ((0,), "is another server's name: leave it out and say min_tokens"),
    "no_repeat_ngram_size": ((0,), _NEVER),
    "t_max_predict_ms": ((0, -1), _NEVER),
}
"""Fields that would change the answer and can't: the values that change nothing, and why."""


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
    last = body.messages[-1]
    if body.continue_final_message and last.role != "assistant":
        raise BadRequest(
            "continue_final_message needs an assistant message at the end of messages.",
            param="continue_final_message",
        )
    return ChatRequest(
        messages=tuple(_message(m, f"messages[{i}]") for i, m in enumerate(body.messages)),
        sampling=body.sampling().over(entry.defaults.sampling()),
        stop=tuple(stop for stop in stops if stop),
        choices=body.n or 1,
        logprobs=bool(body.logprobs),
        template_options=body.chat_template_kwargs or {},
        continue_final=bool(body.continue_final_message),
    )


def _refuse(body: ChatBody) -> None:
    said = {**(body.model_extra or {}), "top_logprobs": body.top_logprobs}
    for name, (harmless, why) in REFUSED.items():
        value = said.get(name)
        if value is None or value in ([], {}, "") or value in harmless:
            continue
        raise BadRequest(f"'{name}' {why}.", param=name, code="unsupported_parameter")
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


def _message(message: WireMessage, place: str) -> Message:
    roles: dict[str, Any] = {"developer": "system", "function": "tool"}
    return Message(
        role=roles.get(message.role, message.role),
        content=_content(message.content, place),
        name=message.name,
        tool_call_id=message.tool_call_id,
        tool_calls=tuple(message.tool_calls or ()),
        reasoning=message.reasoning_content,
    )


def _content(content: str | list[Part] | None, place: str) -> str:
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


def heading(body: ChatBody, model: str) -> Heading:
    """`model` is the name that answers, which an alias or OV_MODEL_PATH may make another."""
    return Heading(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=model,
        fingerprint=f"ov-{__version__}",
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices=body.n or 1,
    )


def complete(heading: Heading, completion: Completion) -> dict[str, Any]:
    return {
        **_head(heading, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text},
                "logprobs": _logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(completion.choices)
        ],
        "usage": _usage(completion.usage),
        "timings": _timings(completion.timings),
    }


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
                for index in range(heading.choices):
                    yield _json(chunk(index, {"role": "assistant", "content": ""}))
            case Text():
                logprobs = _logprobs(event.logprobs)
                yield _json(chunk(event.index, {"content": event.text}, logprobs=logprobs))
            case Finish():
                if finish is not None:
                    yield _json(finish)
                finish = chunk(event.index, {}, finish_reason=event.reason)
            case Done():
                last = head | {"choices": [], "usage": _usage(event.usage)}
                closing = [finish or {}, last] if heading.include_usage else [finish or {}]
                closing[-1]["timings"] = _timings(event.timings)
                for data in closing:
                    yield _json(data)
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


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
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
