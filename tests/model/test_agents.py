"""Agents: a call, its result, an answer; with the clients that people use."""

import json
from typing import Any

import jsonschema
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field, SecretStr

from .clients import asking, chunks
from .servers import MODEL, ProcessServer
from .waiting import BOUND_S

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
NOW: Any = {"type": "function", "function": {"name": "now", "description": "Tells the time."}}
QUESTION = "What is the weather in Paris, in celsius?"


@pytest.fixture
def sdk(server: ProcessServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=BOUND_S)


@pytest.fixture
def chat(server: ProcessServer) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL,
        base_url=f"{server.url}/v1",
        api_key=SecretStr("none"),
        temperature=0,
        max_completion_tokens=200,
    )


def test_a_call_its_result_and_an_answer_with_openais_sdk(sdk: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
    asked = sdk.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER, NOW], tool_choice="required", temperature=0
    ).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.content is None
    calls = asked.message.tool_calls or []
    assert calls
    messages.append(asked.message.model_dump(exclude_none=True))  # ty: ignore[invalid-argument-type]
    for call in calls:
        assert call.type == "function"
        assert call.function.name in ("get_weather", "now")
        json.loads(call.function.arguments)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"})
    told = sdk.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER, NOW], temperature=0, max_tokens=60
    ).choices[0]
    assert told.message.content
    assert "21" in told.message.content


def test_a_streamed_call_joined_is_the_whole_one(sdk: openai.OpenAI) -> None:
    asked: Any = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "temperature": 0,
    }
    whole = sdk.chat.completions.create(**asked).choices[0].message.tool_calls[0].function
    pieces: list[Any] = []
    for chunk in sdk.chat.completions.create(**asked, stream=True):
        for call in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            pieces.append(call)
    assert [call.index for call in pieces] == [0] * len(pieces)
    assert pieces[0].id
    assert pieces[0].function.name == whole.name == "get_weather"
    assert not any(call.function.name for call in pieces[1:])
    assert "".join(call.function.arguments for call in pieces) == whole.arguments
    assert len(pieces) > 3, "the arguments came all at once"
    jsonschema.validate(json.loads(whole.arguments), WEATHER["function"]["parameters"])


def test_the_sdks_own_helper_reads_a_stream_of_calls(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        tools=[WEATHER],
        tool_choice="required",
    ) as stream:
        completion = stream.get_final_completion()
    [call] = completion.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = Field(ge=0, le=130)
    hobbies: list[str] = Field(max_length=3)


def test_the_sdk_parses_an_answer_into_a_model(sdk: openai.OpenAI) -> None:
    message = (
        sdk.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": "Invent a person."}],
            response_format=Person,
            temperature=0,
        )
        .choices[0]
        .message
    )
    assert isinstance(message.parsed, Person)


# LangChain.


@tool
def add(first: int, second: int) -> int:
    """Adds two numbers."""
    return first + second


def test_a_call_its_result_and_an_answer_with_langchain(chat: ChatOpenAI) -> None:
    bound = chat.bind_tools([add], tool_choice="any")
    question = HumanMessage("How much is 2 and 3?")
    called = bound.invoke([question])
    assert isinstance(called, AIMessage)
    assert called.tool_calls
    assert not called.invalid_tool_calls
    results: list[ToolMessage] = [add.invoke(call) for call in called.tool_calls]
    told = chat.bind_tools([add]).invoke([question, called, *results])
    assert told.content


def test_langchain_streams_a_call(chat: ChatOpenAI) -> None:
    bound = chat.bind_tools([add], tool_choice="add")
    joined: Any = None
    for chunk in bound.stream([HumanMessage("How much is 2 and 3?")]):
        joined = chunk if joined is None else joined + chunk
    assert isinstance(joined, AIMessage)
    [call] = joined.tool_calls
    assert call["name"] == "add"
    assert all(isinstance(value, int) for value in call["args"].values())


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_langchains_structured_output_in_its_three_methods(chat: ChatOpenAI, method: Any) -> None:
    words = 'Repeat this JSON: {"name": "Ann", "age": 5, "hobbies": ["tea"]}'
    reads = chat.with_structured_output(Person, method=method, include_raw=True)
    got: Any = reads.invoke([HumanMessage(words)])
    if method == "json_mode":  # any object: whether it is a person is the model's business
        assert isinstance(json.loads(got["raw"].content), dict)
    else:
        assert isinstance(got["parsed"], Person), got


# tiny-agents.


def test_what_tiny_agents_sends_is_answered(server: ProcessServer) -> None:
    """Always streamed, with tools and no length; after the answer it sends it back once more."""
    body = asking(QUESTION, tools=[WEATHER, NOW], tool_choice="auto", stream=True)
    body["messages"] += [
        {"role": "assistant", "content": "", "tool_calls": [_call("now", "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "name": "now", "content": ""},
        {"role": "assistant", "content": "It is late."},
    ]
    few = body | {"max_tokens": 8}
    with (
        server.http() as client,
        client.stream("POST", "/v1/chat/completions", json=few) as sent,
    ):
        said: list[Any] = list(chunks(sent.iter_lines()))
    assert said[-1] is None
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def _call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}
