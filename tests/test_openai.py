"""The chat completions dialect, without an app: bodies in, objects out."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import ValidationError

from ov_server.core import (
    Arguments,
    Choice,
    Completion,
    Done,
    Event,
    Finish,
    Reasoning,
    Role,
    Sampling,
    Text,
    Timings,
    TokenLogprob,
    ToolCall,
    Usage,
    collect,
)
from ov_server.entries import Entry
from ov_server.errors import BadRequest, ContextTooLong, QueueFull
from ov_server.mistakes import explain
from ov_server.openai import ChatBody, Heading, complete, error, heading, parse, stream
from ov_server.refusals import REFUSED

ENTRY = Entry.model_validate({"name": "a", "path": "a"})
HI = [{"role": "user", "content": "hi"}]
TIMINGS = Timings(prompt_tokens=10, prompt_ms=200.0, predicted_tokens=3, predicted_ms=100.0)


def body(**fields: Any) -> ChatBody:
    return ChatBody.model_validate({"model": "a", "messages": HI} | fields)


# Parameters.


def test_every_parameter_is_passed_on() -> None:
    fields = {
        "max_tokens": 10,
        "min_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "min_p": 0.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "repetition_penalty": 1.2,
        "ignore_eos": True,
        "seed": 5,
    }
    assert parse(body(**fields), ENTRY).sampling == Sampling(**fields)


def test_what_is_not_said_stays_open() -> None:
    request = parse(body(temperature=None, max_tokens=None, n=None, stop=None), ENTRY)
    assert request.sampling == Sampling()
    assert (request.choices, request.stop, request.logprobs) == (1, (), False)


def test_the_request_goes_before_the_entrys_defaults() -> None:
    entry = Entry.model_validate(
        {"name": "a", "path": "a", "defaults": {"temperature": 0.1, "top_k": 5, "max_tokens": 9}}
    )
    sampling = parse(body(temperature=0, max_completion_tokens=3), entry).sampling
    assert (sampling.temperature, sampling.top_k, sampling.max_tokens) == (0, 5, 3)


def test_synonyms_mean_the_same() -> None:
    assert parse(body(max_completion_tokens=5), ENTRY).sampling.max_tokens == 5
    assert parse(body(repeat_penalty=1.5), ENTRY).sampling.repetition_penalty == 1.5
    assert parse(body(max_tokens=9, max_completion_tokens=5), ENTRY).sampling.max_tokens == 5


def test_zero_and_minus_one_switch_top_k_off() -> None:
    assert [parse(body(top_k=k), ENTRY).sampling.top_k for k in (-1, 0, 1)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("stop", "stops"),
    [("END", ("END",)), (["a", "b"], ("a", "b")), ([], ()), ("", ()), (["", "a"], ("a",))],
    ids=str,
)
def test_stop_is_a_string_or_a_list(stop: Any, stops: tuple[str, ...]) -> None:
    assert parse(body(stop=stop), ENTRY).stop == stops


def test_the_rest_of_the_request_is_passed_on() -> None:
    messages = [*HI, {"role": "assistant", "content": "The"}]
    request = parse(
        body(
            messages=messages,
            n=2,
            logprobs=True,
            top_logprobs=0,
            chat_template_kwargs={"enable_thinking": False},
            continue_final_message=True,
            add_generation_prompt=False,
        ),
        ENTRY,
    )
    assert (request.choices, request.logprobs, request.continue_final) == (2, True, True)
    assert request.template_options == {"enable_thinking": False}


def test_unknown_fields_are_ignored() -> None:
    assert parse(body(user="me", store=True, whatever={"a": 1}), ENTRY) == parse(body(), ENTRY)


@pytest.mark.parametrize(
    ("said", "priority"),
    [
        (None, "interactive"),
        ("interactive", "interactive"),
        ("batch", "batch"),
        (0, "interactive"),
        (-5, "interactive"),
        (1, "batch"),
        (2**70, "batch"),
    ],
)
def test_a_priority_is_a_word_or_a_number_of_vllms(said: object, priority: str) -> None:
    request = parse(body(priority=said), ENTRY)
    assert (request.priority, request.client) == (priority, "")


@pytest.mark.parametrize("said", ["flex", "", True, 0.5, ["batch"]])
def test_another_priority_is_a_mistake_that_names_the_field(said: object) -> None:
    with pytest.raises(ValidationError) as caught:
        body(priority=said)
    [mistake] = explain(caught.value.errors(), {"priority": said})
    assert mistake.path == "priority"
    assert '"interactive", "batch" or a whole number' in mistake.said


# Refusals.

ANSWER_CHANGING: dict[str, Any] = {
    "top_logprobs": 2,
    "logit_bias": {"5": -100},
    "modalities": ["text", "audio"],
    "best_of": 2,
    "use_beam_search": True,
    "echo": True,
    "typical_p": 0.5,
    "mirostat": 2,
    "dry_multiplier": 0.8,
    "xtc_probability": 0.5,
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_that_would_change_the_answer_is_refused_by_name(field: str) -> None:
    value = ANSWER_CHANGING.get(field, {"some": "thing"})
    with pytest.raises(BadRequest) as caught:
        parse(body(**{field: value}), ENTRY)
    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")
    assert field in caught.value.message
    assert "leave it out" in caught.value.message or "above 0" in caught.value.message


@pytest.mark.parametrize("field", REFUSED)
def test_a_refused_field_that_changes_nothing_is_let_through(field: str) -> None:
    harmless = [None, [], {}, "", *REFUSED[field][0]]
    for value in harmless if field != "top_logprobs" else [None, 0]:
        assert parse(body(**{field: value}), ENTRY) == parse(body(), ENTRY)


@pytest.mark.parametrize(
    ("field", "value"),
    [("skip_special_tokens", False), ("typical_p", 0), ("n_predict", 0), ("length_penalty", 0.0)],
)
def test_a_zero_or_false_that_changes_the_answer_is_refused(field: str, value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body(**{field: value}), ENTRY)
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
    ],
    ids=str,
)
def test_fields_that_need_another_one_say_so(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body(**fields), ENTRY)
    assert caught.value.param == param


def test_a_model_of_another_task_is_refused() -> None:
    entry = Entry.model_validate({"name": "a", "path": "a", "task": "feature-extraction"})
    with pytest.raises(BadRequest, match="feature-extraction") as caught:
        parse(body(), entry)
    assert caught.value.param == "model"


# Whole answers.


def head(**more: Any) -> Heading:
    return Heading("chatcmpl-1", 1700000000, "a", "ov-1", **more)


def test_a_whole_answer_has_openais_shape() -> None:
    logprobs = (TokenLogprob("é", -0.5),)
    choices = (Choice("one", "stop", ()), Choice("é", "length", logprobs))
    answer = complete(head(), Completion(choices, Usage(10, 3), TIMINGS))
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "a",
        "system_fingerprint": "ov-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one"},
                "logprobs": None,
                "finish_reason": "stop",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "é"},
                "logprobs": {
                    "content": [
                        {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}
                    ],
                    "refusal": None,
                },
                "finish_reason": "length",
            },
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "timings": {
            "prompt_n": 10,
            "prompt_ms": 200.0,
            "prompt_per_second": 50.0,
            "predicted_n": 3,
            "predicted_ms": 100.0,
            "predicted_per_second": 30.0,
        },
    }


def test_times_of_nothing_are_no_division_by_zero() -> None:
    done = Completion((), Usage(0, 0), Timings(0, 0.0, 0, 0.0))
    assert complete(head(), done)["timings"]["predicted_per_second"] == 0


def test_every_answer_has_an_id_of_its_own() -> None:
    first, second = heading(body(), "a"), heading(body(), "a")
    assert first.id != second.id
    assert first.id.startswith("chatcmpl-")
    assert isinstance(first.created, int)


# Streams.


async def events(*said: Event) -> AsyncGenerator[Event]:
    for event in said:
        yield event


async def chunks(heading: Heading, *said: Event) -> list[dict[str, Any]]:
    """The objects of a stream, whose end is checked to be there once."""
    data = [d async for d in stream(heading, events(*said))]
    assert data[-1] == "[DONE]"
    assert data.count("[DONE]") == 1
    return [json.loads(d) for d in data[:-1]]


USUAL: list[Event] = [Role(), Text("Hel"), Text("lo"), Finish("stop"), Done(Usage(10, 3), TIMINGS)]


@pytest.mark.anyio
async def test_a_stream_is_role_texts_reason_and_done() -> None:
    said = await chunks(head(), *USUAL)
    assert [c["choices"][0]["delta"] for c in said] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [c["choices"][0]["finish_reason"] for c in said] == [None, None, None, "stop"]
    assert not [c for c in said if "usage" in c]


@pytest.mark.anyio
async def test_every_chunk_repeats_the_heading() -> None:
    for chunk in await chunks(head(include_usage=True), *USUAL):
        assert {key: chunk[key] for key in ("id", "object", "created", "model")} == {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "a",
        }
        assert chunk["system_fingerprint"] == "ov-1"


@pytest.mark.anyio
async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    said = await chunks(head(include_usage=True), *USUAL)
    assert [c["usage"] for c in said[:-1]] == [None] * 4
    assert said[-1]["choices"] == []
    assert said[-1]["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "total_tokens": 13,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.anyio
@pytest.mark.parametrize("include_usage", [False, True])
async def test_the_timings_are_in_the_last_chunk(include_usage: bool) -> None:
    said = await chunks(head(include_usage=include_usage), *USUAL)
    assert [index for index, c in enumerate(said) if "timings" in c] == [len(said) - 1]
    assert said[-1]["timings"]["predicted_per_second"] == 30.0


@pytest.mark.anyio
async def test_each_choice_has_its_role_its_texts_and_its_reason() -> None:
    said = await chunks(
        head(choices=2),
        Role(),
        Text("a", 0),
        Text("b", 1),
        Finish("stop", 0),
        Text("c", 1),
        Finish("length", 1),
        Done(Usage(10, 3), TIMINGS),
    )
    choices = [c["choices"][0] for c in said]
    for index, text, reason in ((0, "a", "stop"), (1, "bc", "length")):
        own = [c for c in choices if c["index"] == index]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(c["delta"].get("content", "") for c in own) == text
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == [reason]
        assert own[-1]["finish_reason"] == reason


@pytest.mark.anyio
async def test_logprobs_stand_with_their_text() -> None:
    said = await chunks(head(), Role(), Text("é", 0, (TokenLogprob("é", -0.5),)), *USUAL[3:])
    assert said[1]["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5
    assert said[0]["choices"][0]["logprobs"] is None


@pytest.mark.anyio
async def test_text_goes_out_as_it_is() -> None:
    data = [d async for d in stream(head(), events(Role(), Text("🙂\n\ndata: x"), *USUAL[3:]))]
    assert "🙂" in data[1]
    assert "\n" not in data[1]


# Errors.


def test_an_error_has_openais_shape() -> None:
    assert error(ContextTooLong(100, 200)) == {
        "error": {
            "message": "This model's maximum context length is 100 tokens. However, your messages "
            "resulted in 200 tokens. Please reduce the length of the messages.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }
    assert error(QueueFull("full"))["error"]["param"] is None


# Reasoning and calls.

CALLED: tuple[Event, ...] = (
    Role(),
    Reasoning("Hm"),
    Reasoning("."),
    Text("Let me see."),
    ToolCall(0, "call_1", "add"),
    Arguments('{"a"', 0),
    Arguments(": 1}", 0),
    ToolCall(1, "call_2", "now"),
    Arguments("{}", 1),
    Finish("tool_calls"),
    Done(Usage(10, 9, reasoning_tokens=2), TIMINGS),
)


@pytest.mark.anyio
async def test_a_call_is_streamed_with_its_name_first_and_its_arguments_in_pieces() -> None:
    said = await chunks(head(), *CALLED)
    deltas = [c["choices"][0]["delta"] for c in said if c["choices"]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"reasoning_content": "."},
        {"content": "Let me see."},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "now", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert said[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.anyio
async def test_a_whole_answer_holds_what_the_stream_does() -> None:
    answer = complete(head(), await collect(events(*CALLED)))
    [choice] = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1}'},
            },
            {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    }
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


@pytest.mark.anyio
async def test_an_answer_of_calls_alone_has_no_content() -> None:
    said = (Role(), ToolCall(0, "c", "f"), Arguments("{}", 0), *CALLED[-2:])
    answer = complete(head(), await collect(events(*said)))
    assert answer["choices"][0]["message"]["content"] is None


@pytest.mark.anyio
async def test_who_asks_in_the_old_way_is_answered_so() -> None:
    said = (Role(), ToolCall(0, "c", "f"), Arguments("{}", 0), *CALLED[-2:])
    old = head(legacy=True)
    [choice] = complete(old, await collect(events(*said)))["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    streamed = [c["choices"][0] for c in await chunks(old, *said)]
    assert [c["delta"] for c in streamed[1:3]] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]
    assert streamed[-1]["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    "held",
    [
        {"response_format": {"type": "json_object"}},
        {"guided_regex": "a"},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "clash",
    [
        {"ignore_eos": True},
        {"min_tokens": 3},
        {"messages": [{"role": "assistant", "content": "I"}], "continue_final_message": True},
    ],
    ids=str,
)
def test_what_can_not_be_had_beside_a_grammar_is_refused(
    held: dict[str, Any], clash: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest, match="together with") as caught:
        parse(body(**(held | clash)), ENTRY)
    assert caught.value.param in clash


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "enable_thinking": True}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "enable_thinking": False}),
        (
            {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}},
            {"reasoning_effort": "low", "enable_thinking": False},
        ),
    ],
    ids=str,
)
def test_the_effort_of_reasoning_reaches_the_template(
    fields: dict[str, Any], options: dict[str, Any]
) -> None:
    assert parse(body(**fields), ENTRY).template_options == options
