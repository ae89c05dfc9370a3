"""The app over ASGI with a fake engine: the official client, bad input, probes, lost clients."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import openai
import pytest
from apps import HI, Server, Start, data_of, problem
from fakes import (
    happens,
    log_lines,
    model_folder,
    put,
    settled,
    soon,
    until,
    write_registry,
)

from ov_server.core import Arguments, Role, ToolCall
from ov_server.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    LoadFailed,
    QueueFull,
    ServerError,
    Unavailable,
)

pytestmark = pytest.mark.anyio


# Answers.


async def test_the_official_client_gets_the_same_text_whole_and_streamed(server: Server) -> None:
    engine = await server.engine()
    engine.enqueue("A ", "whole ", "🙂 answer")
    engine.enqueue("A ", "whole ", "🙂 answer")
    whole = await server.sdk.chat.completions.create(model="a", messages=HI)
    stream = await server.sdk.chat.completions.create(
        model="a", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.choices[0].message.content == text == "A whole 🙂 answer"
    assert whole.usage == chunks[-1].usage
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "stop"
    assert engine.history[0] == engine.history[1]


async def test_several_choices_come_whole_and_streamed(server: Server) -> None:
    whole = await server.sdk.chat.completions.create(model="a", messages=HI, n=3)
    assert [(c.index, c.message.content) for c in whole.choices] == [
        (index, "Hello, world") for index in range(3)
    ]
    stream = await server.sdk.chat.completions.create(model="a", messages=HI, n=3, stream=True)
    texts, reasons = ["", "", ""], [None, None, None]
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == ["Hello, world"] * 3
    assert reasons == ["stop"] * 3


async def test_a_stream_is_not_to_be_held_back_by_anybody(server: Server) -> None:
    response = await server.chat(stream=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert data_of(response.text)[-1] == "[DONE]"
    assert response.text.count("[DONE]") == 1


async def test_the_role_chunk_comes_before_the_prompt_is_read(server: Server) -> None:
    engine = await server.engine()
    gate = asyncio.Event()
    engine.enqueue(gate, "text")
    caller = server.call(stream=True)
    assert (await caller.next())["status"] == 200
    first = json.loads(data_of(await caller.until("assistant"))[0])
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert caller.silent
    gate.set()
    await caller.until("[DONE]")
    await soon(caller.task)


async def test_paths_without_v1_answer_alike(server: Server) -> None:
    body = {"model": "a", "messages": HI}
    answer = await server.http.post("/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello, world"
    assert (await server.http.get("/models")).json() == (await server.http.get("/v1/models")).json()
    assert (await server.http.get("/models/a")).json()["id"] == "a"


async def test_an_alias_is_answered_with_the_name_of_the_model(start: Start) -> None:
    async with start("a", keys={"a": {"aliases": ["gpt-4o"]}}) as server:
        assert (await server.chat(model="gpt-4o")).json()["model"] == "a"


async def test_ov_model_path_answers_for_names_that_nobody_knows(
    start: Start, tmp_path: Path
) -> None:
    path = model_folder(tmp_path, "My Model")
    async with start("a", model_path=path) as server:
        assert (await server.chat(model="gpt-4o")).json()["model"] == "my-model"
        assert (await server.chat(model="a")).json()["model"] == "a"


async def test_the_entrys_defaults_reach_the_engine(start: Start) -> None:
    async with start("a", keys={"a": {"defaults": {"temperature": 0.1, "top_k": 5}}}) as server:
        engine = await server.engine()
        await server.chat(temperature=0.9)
        sampling = engine.history[0].sampling
        assert (sampling.temperature, sampling.top_k) == (0.9, 5)


@pytest.mark.parametrize("task", ["feature-extraction", "image-text-to-text"])
async def test_a_model_of_another_task_is_listed_and_does_not_chat(start: Start, task: str) -> None:
    async with start("a", "b", keys={"a": {"task": task}}) as server:
        cards = (await server.http.get("/v1/models")).json()["data"]
        assert [card["capabilities"] for card in cards] == [[], ["chat"]]
        answer = await server.chat(model="a")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "model"
        assert f"is for {task}" in answer.json()["error"]["message"]


# Bad input.


BAD_FIELDS: list[tuple[dict[str, Any], str | None]] = [
    ({"model": ""}, "model"),
    ({"model": 5}, "model"),
    ({"model": None}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [*HI, {"role": "user", "content": [{}]}]}, "messages[1].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0]",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"min_p": 1}, "min_p"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"repeat_penalty": 11}, "repeat_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "10"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 5, "max_tokens": 2}, "min_tokens"),
    ({"seed": 2**70}, "seed"),
    ({"seed": "a"}, "seed"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", 5]}, "stop[1]"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 3, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"ignore_eos": "no"}, "ignore_eos"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS, ids=lambda value: str(value)[:50])
async def test_a_bad_field_is_named(server: Server, fields: dict[str, Any], param: str) -> None:
    response = await server.chat(**fields)
    assert response.status_code == 400
    error = problem(response)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert server.loader.begun == []


FUNCTION = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "c", "function": {"name": "f"}}
TOLD: list[tuple[dict[str, Any], str]] = [
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: it must be a string or"),
    ({"messages": [{"role": "x"}]}, 'messages[0].role: it must be "system", "developer", "user"'),
    (
        {"messages": [{"role": "user", "content": [{"type": 1}]}]},
        "messages[0].content[0].type: it must be a string, and is 1.",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": 5}}]}]},
        "messages[0].tool_calls[0].function.arguments: it must be a string or an object, and is 5.",
    ),
    ({"stop": {}}, "stop: it must be a string or a list, and is an object."),
    ({"stop": "x" * 501}, "stop: it may have at most 500 characters, and has 501."),
    ({"tools": [{"type": "x"}]}, 'tools[0].type: it must be "function", and is "x".'),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools[0].function.name: a function's name is 1 to 128 letters, digits and _ . : / -.",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters: it must be an object, and is a list.",
    ),
    (
        {"tool_choice": "some"},
        'tool_choice: it must be "none", "auto", "required", "any" or an object, and is "some".',
    ),
    ({"tool_choice": {}}, "tool_choice.type: it is required, and is missing."),
    (
        {"tool_choice": {"type": "tool"}},
        'tool_choice.type: it must be "function" or "allowed_tools", and is "tool".',
    ),
    (
        {"tool_choice": {"type": "function", "function": "f"}},
        'tool_choice.function: it must be an object, and is "f".',
    ),
    (
        {"tool_choice": {"type": "function", "function": {}}},
        "tool_choice.function.name: it is required, and is missing.",
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
        "tool_choice.allowed_tools.tools: it must hold at least 1 item.",
    ),
    (
        {"tool_choice": {"type": "allowed_tools"}, "tools": [FUNCTION]},
        "'tool_choice' of the type allowed_tools needs its 'allowed_tools'",
    ),
    ({"function_call": 5}, 'function_call: it must be "none", "auto" or an object, and is 5.'),
    ({"function_call": {}}, "function_call.name: it is required, and is missing."),
    ({"functions": [{}]}, "functions[0].name: it is required, and is missing."),
    ({"response_format": "json"}, 'response_format: it must be an object, and is "json".'),
    (
        {"response_format": {"type": "json"}},
        'response_format.type: it must be "text", "json_object" or "json_schema", and is "json".',
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": ""}}},
        'response_format.json_schema.schema: it must be an object, true or false, and is "".',
    ),
    (
        {"structured_outputs": {"json": 5}},
        "structured_outputs.json: it must be an object, true, false or a string, and is 5.",
    ),
    ({"structured_outputs": {"choice": "a"}}, "structured_outputs.choice: it must be a list"),
    ({"guided_json": 5}, "guided_json: it must be an object, true, false or a string, and is 5."),
    ({"guided_json": "{"}, "'guided_json' is a text that is no JSON: "),
    ({"guided_choice": [""]}, "guided_choice[0]: it must have at least 1 character."),
    ({"temperature": 3}, "temperature: it must be at most 2, and is 3."),
    ({"max_tokens": "9"}, 'max_tokens: it must be a whole number, and is "9".'),
]
"""What a person reads of a mistake: where it is on the wire, and what is expected there."""


@pytest.mark.parametrize(("fields", "said"), TOLD, ids=lambda value: str(value)[:50])
async def test_a_mistake_is_told_in_the_words_of_the_wire(
    server: Server, fields: dict[str, Any], said: str
) -> None:
    response = await server.chat(**fields)
    assert response.status_code == 400
    assert problem(response)["message"].startswith(said)


def spoilt(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Fields that hold the value somewhere inside, and where."""
    schema = {"properties": {"a": {"const": [value]}}}
    arguments = CALL | {"function": {"name": "f", "arguments": {"a": value}}}
    return [
        ({"chat_template_kwargs": {"a": [{"b": value}]}}, "chat_template_kwargs.a[0].b"),
        (
            {
                "tools": [
                    FUNCTION,
                    {"type": "function", "function": {"name": "g", "parameters": schema}},
                ]
            },
            "tools[1].function.parameters.properties.a.const[0]",
        ),
        (
            {"functions": [{"name": "f", "parameters": schema}]},
            "functions[0].parameters.properties.a.const[0]",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
            "response_format.json_schema.schema.properties.a.const[0]",
        ),
        ({"guided_json": schema}, "guided_json.properties.a.const[0]"),
        ({"guided_json": json.dumps(schema)}, "guided_json"),
        ({"structured_outputs": {"json": json.dumps(schema)}}, "structured_outputs.json"),
        (
            {"messages": [*HI, {"role": "assistant", "tool_calls": [arguments]}]},
            "messages[1].tool_calls[0].function.arguments.a",
        ),
    ]


NO_JSON = [
    *spoilt("a\ud800"),
    *spoilt(float("nan")),
    *spoilt(float("inf")),
    ({"messages": [{"role": "user", "content": "\udc00"}]}, "messages[0].content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "\udc00"}]}]},
        "messages[0].content[0].text",
    ),
    ({"messages": [HI[0] | {"name": "\udc00"}]}, "messages[0].name"),
    ({"chat_template_kwargs": {"\udc00": 1}}, 'chat_template_kwargs["\\udc00"]'),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "\udc00": 1}}]},
        'tools[0].function["\\udc00"]',
    ),
    ({"stop": ["a", "\udc00"]}, "stop[1]"),
    ({"temperature": float("nan")}, "temperature"),
    ({"\udc00": 1}, '["\\udc00"]'),
]


@pytest.mark.parametrize(("fields", "param"), NO_JSON, ids=ascii)
async def test_what_json_can_not_carry_is_named_where_it_stands(
    server: Server, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": "a", "messages": HI} | fields).encode()
    headers = {"content-type": "application/json"}
    response = await server.http.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    error = problem(response)
    assert error["param"] == param
    assert error["message"].startswith(param)


async def test_what_json_can_not_carry_does_no_harm_in_a_field_that_is_ignored(
    server: Server,
) -> None:
    body = json.dumps({"model": "a", "messages": HI, "user": "\ud800", "metadata": [float("nan")]})
    headers = {"content-type": "application/json"}
    response = await server.http.post(
        "/v1/chat/completions", content=body.encode(), headers=headers
    )
    assert response.status_code == 200


@pytest.mark.parametrize("field", ["model", "messages"])
async def test_a_missing_field_is_named(server: Server, field: str) -> None:
    body = {"model": "a", "messages": HI}
    del body[field]
    response = await server.http.post("/v1/chat/completions", json=body)
    assert (response.status_code, problem(response)["param"]) == (400, field)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"model": "a", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "a", "messages": [{"role": "user", "content": "hi"}], "temperature": NaN}',
        b'{"model": "a", "messages": [{"role": "user", "content": "hi"}], "seed": 1e999}',
        b'{"model": "\\ud800", "messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": "a", "messages": [{"role": "\\ud800", "content": "hi"}]}',
        b"[" * 100_000,
        b'{"seed": ' + b"1" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:60]),
)
async def test_a_body_that_is_no_request_is_refused(server: Server, body: bytes) -> None:
    response = await server.http.post(
        "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert problem(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"model": "a',
            "The body is not valid JSON: Unterminated string starting at character 10.",
        ),
        (
            b'{"model": "a\nb"}',
            "The body is not valid JSON: Invalid control character at character 12.",
        ),
        (b'{"model": "\xff"}', "The body can't be read as JSON: it must be UTF-8"),
        (b"[" * 100_000, "The body can't be read as JSON: "),
        (b"[1]", "The body must be a JSON object."),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_body_that_can_not_be_read_says_why(server: Server, body: bytes, said: str) -> None:
    headers = {"content-type": "application/json"}
    response = await server.http.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert problem(response)["message"].startswith(said)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_of_another_type_is_told_what_to_send(
    server: Server, kind: str | None
) -> None:
    headers = {"content-type": kind} if kind else {}
    content = json.dumps({"model": "a", "messages": HI}).encode()
    response = await server.http.post("/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert "application/json" in problem(response)["message"]


async def test_fields_that_nobody_knows_are_ignored(server: Server) -> None:
    response = await server.chat(user="me", store=False, metadata={"a": "b"}, whatever=1)
    assert response.status_code == 200


async def test_an_unknown_model_is_a_404_that_lists_the_models(server: Server) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await server.sdk.chat.completions.create(model="nobody", messages=HI)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "a, b" in caught.value.message


async def test_an_unknown_path_is_a_404(server: Server) -> None:
    response = await server.http.get("/v2/nothing")
    assert (response.status_code, problem(response)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chat/completions"), ("POST", "/v1/models")]
)
async def test_a_wrong_method_is_a_405(server: Server, method: str, path: str) -> None:
    response = await server.http.request(method, path)
    assert (response.status_code, problem(response)["code"]) == (405, "method_not_allowed")


async def test_a_model_that_can_not_chat_is_refused(start: Start) -> None:
    async with start("a", keys={"a": {"task": "feature-extraction"}}) as server:
        response = await server.chat()
        assert (response.status_code, problem(response)["param"]) == (400, "model")
        assert server.loader.begun == []


# Errors of the engine.


ERRORS: list[ServerError] = [
    BadRequest("no", param="messages"),
    ContextTooLong(2048, 3000),
    QueueFull("full"),
    LoadFailed("broken"),
    EngineFailed("broken"),
    Unavailable("no room"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_before_the_first_event_has_its_status(
    server: Server, error: ServerError, stream: bool
) -> None:
    (await server.engine()).enqueue(error)
    response = await server.chat(stream=stream)
    assert response.status_code == error.status
    said = problem(response)
    assert (said["message"], said["type"]) == (error.message, error.kind)
    assert (said["param"], said["code"]) == (error.param, error.code)
    assert response.headers.get("retry-after", "").isdigit() == (error.status in (429, 503))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_load_that_fails_has_its_status_and_the_next_request_tries_again(
    server: Server, stream: bool
) -> None:
    server.loader.errors["a"] = LoadFailed("no such layer")
    response = await server.chat(stream=stream)
    assert (response.status_code, problem(response)["code"]) == (500, "model_load_failed")
    assert (await server.chat(stream=stream)).status_code == 200


async def test_a_refusal_for_want_of_room_says_when_to_come_back(start: Start) -> None:
    async with start("a", memory_limit_gb=0.5) as server:
        response = await server.chat()
        assert (response.status_code, problem(response)["code"]) == (503, "unavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_a_too_long_prompt_speaks_openais_words(server: Server) -> None:
    (await server.engine()).enqueue(ContextTooLong(2048, 3000))
    with pytest.raises(openai.BadRequestError) as caught:
        await server.sdk.chat.completions.create(model="a", messages=HI)
    assert caught.value.code == "context_length_exceeded"
    assert "This model's maximum context length is 2048 tokens. However," in caught.value.message


async def test_an_error_after_the_first_event_is_an_event_of_the_stream(server: Server) -> None:
    (await server.engine()).enqueue("Hello", EngineFailed("it broke"))
    response = await server.chat(stream=True)
    assert response.status_code == 200
    data = data_of(response.text)
    assert json.loads(data[1])["choices"][0]["delta"] == {"content": "Hello"}
    assert json.loads(data[-1])["error"]["code"] == "engine_failed"


async def test_the_official_client_sees_an_error_in_the_stream(server: Server) -> None:
    (await server.engine()).enqueue("Hello", EngineFailed("it broke"))
    stream = await server.sdk.chat.completions.create(model="a", messages=HI, stream=True)
    with pytest.raises(openai.APIError, match="it broke"):
        async for _ in stream:
            pass


async def test_a_whole_answer_that_breaks_in_the_middle_has_its_status(server: Server) -> None:
    (await server.engine()).enqueue("Hello", EngineFailed("it broke"))
    response = await server.chat()
    assert (response.status_code, problem(response)["message"]) == (500, "it broke")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unexpected_error_keeps_its_text_to_itself(server: Server, stream: bool) -> None:
    (await server.engine()).enqueue(RuntimeError("secret"))
    response = await server.chat(stream=stream)
    assert response.status_code == 500
    assert "secret" not in problem(response)["message"]


async def test_a_failed_answer_ends_its_lease(server: Server) -> None:
    (await server.engine()).enqueue("text", EngineFailed("it broke"))
    assert (await server.chat()).status_code == 500
    assert server.app.state.models.slots()["a"].leases == 0
    assert (await server.chat()).status_code == 200


async def test_an_unexpected_error_of_a_probe_is_in_openais_shape_and_in_the_log(
    server: Server,
) -> None:
    engine = await server.engine()
    engine.stats_error = RuntimeError("secret")
    with log_lines("ov_server.requests") as lines:
        response = await server.http.get("/health", headers={"x-request-id": "mine"})
    assert response.status_code == 500
    assert "secret" not in problem(response)["message"]
    assert response.headers["x-request-id"] == "mine"
    assert (lines.facts[0]["status"], lines.facts[0]["outcome"]) == (500, "server_error")


# Silence.


async def test_a_silent_stream_is_kept_alive_and_then_goes_on(start: Start) -> None:
    async with start("a", keep_alive_s=0.001) as server:
        gate = asyncio.Event()
        (await server.engine()).enqueue(gate, "text")
        caller = server.call(stream=True)
        said = await caller.until(": keep-alive\n\n: keep-alive\n\n")
        assert '"role":"assistant"' in said
        gate.set()
        assert '"content":"text"' in await caller.until("[DONE]")
        await soon(caller.task)


async def test_a_stream_is_kept_alive_while_a_call_is_held_back(start: Start) -> None:
    """Between the text and the call's name, and between that and its arguments."""
    async with start("a", keep_alive_s=0.001) as server:
        gates = asyncio.Event(), asyncio.Event()
        call, arguments = ToolCall(0, "call_1", "get_weather"), Arguments('{"city": "Bern"}', 0)
        (await server.engine()).enqueue("Now.", gates[0], call, gates[1], arguments)
        caller = server.call(stream=True)
        said = await caller.until("Now.")
        said += await caller.until(": keep-alive\n\n")
        assert "get_weather" not in said
        gates[0].set()
        said = await caller.until("get_weather")
        said += await caller.until(": keep-alive\n\n")
        assert "Bern" not in said
        gates[1].set()
        said = await caller.until("[DONE]")
        assert "Bern" in said
        await soon(caller.task)


async def test_a_stream_is_kept_alive_while_its_model_loads(start: Start) -> None:
    async with start("a", keep_alive_s=0.001) as server:
        gate = server.loader.hold("a")
        caller = server.call(stream=True)
        assert (await caller.next())["status"] == 200
        await caller.until(": keep-alive\n\n")
        gate.open.set()
        await caller.until("[DONE]")
        await soon(caller.task)


async def test_an_error_after_a_keep_alive_is_an_event_of_the_stream(start: Start) -> None:
    async with start("a", keep_alive_s=0.001) as server:
        gate = server.loader.hold("a")
        server.loader.errors["a"] = LoadFailed("no such layer")
        caller = server.call(stream=True)
        await caller.until(": keep-alive\n\n")
        gate.open.set()
        said = await caller.until("no such layer")
        assert json.loads(data_of(said)[-1])["error"]["code"] == "model_load_failed"
        await soon(caller.task)


async def test_a_whole_answer_says_nothing_before_it_is_there(start: Start) -> None:
    async with start("a", keep_alive_s=0.001) as server:
        gate = asyncio.Event()
        engine = await server.engine()
        engine.enqueue(Role(), gate, EngineFailed("it broke"))
        caller = server.call()
        await settled()
        assert caller.silent
        gate.set()
        assert (await caller.next())["status"] == 500
        await soon(caller.task)


# Clients that leave.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_engines_work(server: Server, stream: bool) -> None:
    engine = await server.engine()
    engine.enqueue("Hello", asyncio.Event())
    caller = server.call(stream=stream)
    if stream:
        await caller.until("Hello")
    await soon(engine.begun.wait())
    with log_lines("ov_server.requests") as lines:
        await caller.leave()
    assert engine.running == 0
    assert lines.facts[0]["outcome"] == "client left"
    assert server.app.state.models.slots()["a"].leases == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_loads_for_a_client_that_left_while_it_waited(
    server: Server, stream: bool
) -> None:
    gate = server.loader.hold("b")
    first = server.call(model="b")
    await happens(gate.reached)
    second = server.call(model="a", stream=stream)
    await settled()
    await second.leave()
    gate.open.set()
    assert (await first.next())["status"] == 200
    await soon(first.task)
    await settled()
    assert server.loader.begun == ["b"]


async def test_a_connection_that_breaks_while_it_is_written_to_ends_the_work(
    server: Server,
) -> None:
    engine = await server.engine()
    gate = asyncio.Event()
    engine.enqueue("Hello", gate, "never read")
    caller = server.call(stream=True)
    await caller.until("Hello")
    caller.hung_up = True
    gate.set()
    with log_lines("ov_server.requests") as lines:
        await soon(caller.task)
    assert engine.running == 0
    assert lines.facts[0]["outcome"] == "client left"


async def test_a_client_that_leaves_takes_nobody_along(server: Server) -> None:
    engine = await server.engine()
    gate = asyncio.Event()
    engine.enqueue("one", asyncio.Event())
    engine.enqueue("two", gate)
    leaving, staying = server.call(stream=True), server.call(stream=True)
    await leaving.until("one")
    await staying.until("two")
    await leaving.leave()
    gate.set()
    await staying.until("[DONE]")
    await soon(staying.task)


# Request ids, log lines, figures.


async def test_a_request_id_is_taken_over_or_made(server: Server) -> None:
    given = await server.http.get("/health", headers={"x-request-id": "my-id.1"})
    assert given.headers["x-request-id"] == "my-id.1"
    made = [(await server.http.get("/health")).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    odd = await server.http.get("/health", headers={"x-request-id": "a b\tc" * 100})
    assert "\t" not in odd.headers["x-request-id"]


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"model": "nobody"}, {"n": 0}])
async def test_every_answer_to_a_chat_has_a_request_id(
    server: Server, fields: dict[str, Any]
) -> None:
    assert (await server.chat(**fields)).headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_one_log_line_tells_of_a_request(server: Server, stream: bool) -> None:
    await server.engine()
    with log_lines("ov_server.requests") as lines:
        response = await server.chat(stream=stream)
    [facts] = lines.facts
    assert facts["id"] == response.headers["x-request-id"]
    assert facts["client"] == "127.0.0.1"
    assert (facts["model"], facts["stream"], facts["status"]) == ("a", stream, 200)
    assert (facts["prompt_tokens"], facts["answer_tokens"]) == (2, 3)
    assert facts["outcome"] == "ok"
    assert facts["tokens_per_s"] == 30.0
    assert facts["first_token_s"] >= 0
    assert facts["seconds"] >= facts["first_token_s"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_log_line_tells_of_a_failure(server: Server, stream: bool) -> None:
    (await server.engine()).enqueue("Hello", EngineFailed("it broke"))
    with log_lines("ov_server.requests") as lines:
        await server.chat(stream=stream)
    assert lines.facts[0]["outcome"] == "engine_failed"


async def test_no_text_of_a_message_is_logged(server: Server) -> None:
    engine = await server.engine()
    secret = [{"role": "user", "content": "SECRET question"}]
    with log_lines("ov_server") as lines:
        engine.enqueue("SECRET answer")
        await server.chat(messages=secret)
        engine.enqueue("SECRET answer", EngineFailed("it broke"))
        await server.chat(messages=secret, stream=True)
        await server.chat(messages=secret, temperature=5)
        await server.chat(messages=[{"role": "SECRET", "content": "SECRET"}])
    told = [f"{record.getMessage()} {vars(record)}" for record in lines.records]
    assert told
    assert not [line for line in told if "SECRET" in line]


async def test_metrics_tell_of_requests_tokens_times_and_models(server: Server) -> None:
    await server.chat()
    await server.chat(stream=True)
    await server.chat(model="nobody")
    text = (await server.http.get("/metrics")).text
    for line in (
        'ov_requests_total{key="",outcome="ok",route="/v1/chat/completions"} 2.0',
        'ov_requests_total{key="",outcome="model_not_found",route="/v1/chat/completions"} 1.0',
        'ov_prompt_tokens_total{model="a"} 4.0',
        'ov_generation_tokens_total{model="a"} 6.0',
        'ov_time_to_first_token_seconds_count{model="a"} 2.0',
        'ov_inter_token_latency_seconds_count{model="a"} 4.0',
        'ov_e2e_request_latency_seconds_count{model="a"} 2.0',
        "ov_models_loaded 1.0",
        'ov_num_requests_running{model="a"} 0.0',
        'ov_num_requests_waiting{model="a"} 0.0',
        'ov_kv_cache_usage_perc{model="a"} 0.25',
        'ov_engine_rebuilds{model="a"} 0.0',
        'ov_preemptions{model="a"} 0.0',
    ):
        assert line in text.splitlines()


async def test_paths_that_do_not_exist_make_one_series(server: Server) -> None:
    for path in ("/x", "/y", "/v1/models/x", "/v1/models/y"):
        await server.http.get(path)
    text = (await server.http.get("/metrics")).text
    assert 'ov_requests_total{key="",outcome="not_found",route="none"} 2.0' in text.splitlines()
    assert "/v1/models/x" not in text


# Health and models.


async def test_health_is_ok_and_tells_what_is_loaded(server: Server) -> None:
    await server.engine("b")
    health = (await server.http.get("/health")).json()
    assert (health["status"], health["reasons"]) == ("ok", [])
    assert health["models"] == {"registered": ["a", "b"], "loaded": ["b"], "loading": []}
    assert health["queue"] == {"b": {"running": 0, "waiting": 0}}
    assert health["device"]["by_model"] == {"b": "CPU"}
    assert health["version"]
    assert health["uptime_s"] >= 0


async def test_health_names_the_device_that_is_used_and_why(start: Start) -> None:
    def missing(asked: str) -> tuple[str, str, str | None]:
        return "CPU", "a processor", f"there is no {asked}"

    async with start("a", device="GPU", probe=missing) as server:
        await until(lambda: server.app.state.status.health()["device"]["used"])
        health = (await server.http.get("/health")).json()
        assert (health["device"]["asked"], health["device"]["used"]) == ("GPU", "CPU")
        assert (health["status"], health["reasons"]) == ("degraded", ["there is no GPU"])


async def test_health_is_degraded_by_a_broken_registry_and_names_it(server: Server) -> None:
    (server.folder / "registry.json").write_text("{")
    health = (await server.http.get("/health")).json()
    assert health["status"] == "degraded"
    assert health["registry_error"]
    assert health["models"]["registered"] == ["a", "b"]
    write_registry(server.folder / "registry.json", {"b": {"path": "b"}})
    health = (await server.http.get("/health")).json()
    assert (health["status"], health["registry_error"]) == ("ok", None)
    assert health["models"]["registered"] == ["b"]


async def test_health_is_degraded_by_a_mistake_in_an_entry(start: Start) -> None:
    async with start("a", "b", keys={"b": {"pinned": "yes"}}) as server:
        health = (await server.http.get("/health")).json()
        assert health["status"] == "degraded"
        assert "b" in health["reasons"][0]
        assert "pinned" in health["reasons"][0]
        assert (await server.chat()).status_code == 200


async def test_health_is_degraded_by_a_load_that_takes_minutes(server: Server) -> None:
    gate = server.loader.hold("a")
    caller = server.post("/v1/models/a/load")
    await happens(gate.reached)
    assert (await server.http.get("/health")).json()["status"] == "ok"
    server.app.state.models.slots()["a"].load_began -= 200
    health = (await server.http.get("/health")).json()
    assert health["status"] == "degraded"
    assert re.fullmatch("a: has been loading for 20. s", health["reasons"][0])
    gate.open.set()
    await caller.answer()
    assert (await server.http.get("/health")).json()["reasons"] == []


async def test_health_is_degraded_by_an_engines_warning(server: Server) -> None:
    (await server.engine()).warning = "it runs one request at a time"
    health = (await server.http.get("/health")).json()
    assert (health["status"], health["reasons"]) == (
        "degraded",
        ["a: it runs one request at a time"],
    )


async def test_ready_is_ready(server: Server) -> None:
    response = await server.http.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


async def test_the_official_client_lists_and_shows_models(start: Start) -> None:
    async with start("a", "org/model", keys={"a": {"weight_format": "int8"}}) as server:
        models = [model async for model in server.sdk.models.list()]
        assert [model.id for model in models] == ["a", "org/model"]
        shown = await server.sdk.models.retrieve("org/model")
        assert shown.id == "org/model"
        assert shown.created > 1_600_000_000
        with pytest.raises(openai.NotFoundError):
            await server.sdk.models.retrieve("nobody")


async def test_a_models_card_tells_state_context_size_and_age(start: Start) -> None:
    async with start("a", keys={"a": {"context_length": 1000, "aliases": ["x"]}}) as server:
        card = (await server.http.get("/v1/models/x")).json()
        files = list((server.folder / "a").iterdir())
        assert card["id"] == "a"
        assert card["size"] == sum(f.stat().st_size for f in files)
        assert card["created"] == int(max(f.stat().st_mtime for f in files))
        assert (card["state"], card["context_length"]) == ("unloaded", 1000)
        assert (card["object"], card["task"]) == ("model", "text-generation-with-past")
        await server.engine()
        assert (await server.http.get("/v1/models/a")).json()["state"] == "loaded"


async def test_a_model_without_its_files_is_listed_as_broken(server: Server) -> None:
    (server.folder / "a" / "openvino_model.xml").unlink()
    cards = (await server.http.get("/v1/models")).json()["data"]
    assert [(card["id"], card["state"]) for card in cards] == [("a", "broken"), ("b", "unloaded")]
    assert "openvino_model.xml" in cards[0]["error"]


async def test_too_many_stop_strings_are_told_as_such(server: Server) -> None:
    error = (await server.chat(stop=["x"] * 33)).json()["error"]
    assert error["param"].startswith("stop")
    assert "32" in error["message"]


async def test_a_model_that_did_not_load_is_broken_until_its_files_are_others(
    server: Server,
) -> None:
    server.loader.errors["a"] = LoadFailed("its files are cut short")
    assert (await server.chat()).status_code == 500
    card = (await server.http.get("/v1/models/a")).json()
    assert (card["state"], card["error"]) == ("broken", "its files are cut short")
    health = (await server.http.get("/health")).json()
    assert (health["status"], health["reasons"]) == ("degraded", ["a: its files are cut short"])
    put(server.folder / "a" / "openvino_model.bin", "another conversion")
    assert (await server.http.get("/v1/models/a")).json()["state"] == "unloaded"
    assert (await server.http.get("/health")).json()["reasons"] == []
    server.loader.errors.clear()
    assert (await server.chat()).status_code == 200
    assert (await server.http.get("/health")).json()["status"] == "ok"


async def test_health_names_a_model_that_is_not_on_disk(server: Server) -> None:
    shutil.rmtree(server.folder / "a")
    health = (await server.http.get("/health")).json()
    assert health["status"] == "degraded"
    assert health["reasons"] == [f"a: there is no model at '{server.folder.name}/a'"]


@pytest.mark.parametrize(
    "config", ["[]", "{", '{"text_config": "x"}', '{"max_position_embeddings": "many"}']
)
async def test_a_model_with_an_odd_config_hides_no_other_model(server: Server, config: str) -> None:
    (server.folder / "a" / "config.json").write_text(config)
    response = await server.http.get("/v1/models")
    assert response.status_code == 200
    assert [card["id"] for card in response.json()["data"]] == ["a", "b"]


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", "x" * 5000])
async def test_a_model_with_an_odd_path_hides_no_other_model(server: Server, path: str) -> None:
    models = {"a": {"path": path}, "b": {"path": "b"}}
    write_registry(server.folder / "registry.json", models)
    response = await server.http.get("/v1/models")
    assert response.status_code == 200
    assert response.json()["data"][-1]["id"] == "b"


async def test_probes_answer_while_a_model_loads_and_generates(server: Server) -> None:
    engine = await server.engine("b")
    engine.enqueue("Hello", asyncio.Event())
    busy = server.call(model="b", stream=True)
    await busy.until("Hello")
    gate = server.loader.hold("a")
    loading = server.call(model="a")
    await happens(gate.reached)
    cards = (await soon(server.http.get("/v1/models"))).json()["data"]
    assert {card["id"]: card["state"] for card in cards} == {"a": "loading", "b": "loaded"}
    health = (await soon(server.http.get("/health"))).json()
    assert health["models"]["loading"] == ["a"]
    assert health["queue"]["b"]["running"] == 1
    gate.open.set()
    assert (await loading.next())["status"] == 200
    await soon(loading.task)
    await busy.leave()


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/v1/models", "/models"])
async def test_probes_load_nothing_and_answer_head_too(server: Server, path: str) -> None:
    assert (await server.http.get(path)).status_code == 200
    assert (await server.http.head(path)).status_code == 200
    assert (await server.http.head("/v1/models/a")).status_code == 200
    assert (await server.http.head("/v1/models/nobody")).status_code == 404
    await settled()
    assert server.loader.begun == []


async def test_the_schema_of_the_api_is_served(server: Server) -> None:
    paths = (await server.http.get("/openapi.json")).json()["paths"]
    chat = paths["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    read_by_hand = {(p["name"], p["in"]) for p in chat["parameters"]}
    assert read_by_hand == {
        ("Last-Event-ID", "header"),
        ("last_event_id", "query"),
        ("X-Session-Id", "header"),
    }
    for path in paths.values():
        for route in path.values():
            shape = route["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert shape == {"$ref": "#/components/schemas/ErrorBody"}
            kinds = route["responses"]["200"]["content"].values()
            assert all("type" in kind["schema"] for kind in kinds)


async def test_an_event_is_one_line_also_to_clients_that_break_lines_at_more(
    server: Server,
) -> None:
    engine = await server.engine()
    engine.enqueue("one\u2028line\u2029and\x85no more")
    lines = (await server.chat(stream=True)).text.splitlines()
    assert all(line.startswith(("id: ", "data: ")) for line in lines if line)
    said = [json.loads(line[6:]) for line in lines if '"content":"one' in line]
    assert said[0]["choices"][0]["delta"]["content"] == "one\u2028line\u2029and\x85no more"


# Start and end.


async def test_pinned_models_are_loaded_at_the_start(start: Start) -> None:
    async with start("a", "b", keys={"b": {"pinned": True}}) as server:
        await until(lambda: server.loader.begun == ["b"])
        assert (await server.chat(model="b")).status_code == 200
        assert server.loader.begun == ["b"]


async def test_the_end_closes_every_engine(start: Start) -> None:
    async with start("a", "b") as server:
        engines = [await server.engine("a"), await server.engine("b")]
    assert all(engine.closed.is_set() for engine in engines)


async def test_a_server_without_a_registry_serves_the_embedded_model(
    start: Start, tmp_path: Path
) -> None:
    async with start("a", registry_path=tmp_path / "nothing.json") as server:
        [card] = (await server.http.get("/v1/models")).json()["data"]
        assert (card["id"], card["state"]) == ("smollm2-135m-instruct", "unloaded")
        assert card["context_length"] == 8192
        assert (await server.chat(model=card["id"])).json()["model"] == card["id"]
