"""Models whose chat templates are those of families: their calls, and what templates are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ov_server.entries import entry_of
from ov_server.openai import ChatBody, parse
from ov_server.schemacheck import fits
from ov_server.templates import ChatTemplate
from ov_server.toolformats import FORMATS

from .chattemplates import GPT_OSS, MISTRAL, QWEN, with_template
from .clients import Body, asking, stream
from .servers import ProcessServer, process_server

FAMILIES = {"hermes": QWEN, "mistral-list": MISTRAL}
"""By the name of the format in which they write calls, which is also the model's."""
FAMILY = pytest.mark.parametrize("family", FAMILIES)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
QUESTION = "What is the weather in Madrid?"
FRANCE = "What is the capital of France?"


@pytest.fixture(scope="module")
def families(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[ProcessServer]:
    """A server with a model of each family."""
    folder = tmp_path_factory.mktemp("families")
    models = {
        name: {"path": str(with_template(converted, folder / name, template))}
        for name, template in FAMILIES.items()
    }
    registry = folder / "registry.json"
    registry.write_text(json.dumps({"version": 1, "models": models}))
    with process_server(folder, cache, registry) as server:
        yield server


def called_before(cities: list[str]) -> list[Body]:
    """Questions and the calls that answered them, of which the model makes another one."""
    messages: list[Body] = []
    for city in cities:
        arguments = json.dumps({"city": city, "unit": "celsius"})
        function = {"name": "get_weather", "arguments": arguments}
        call = {"id": f"call_{city}", "type": "function", "function": function}
        messages += [
            {"role": "user", "content": f"What is the weather in {city}?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
    return messages


def calling(family: str, **more: Any) -> Body:
    body = asking(QUESTION, tools=[TOOL], temperature=0, max_tokens=120, **more)
    return {**body, "model": family}


def choice_of(server: ProcessServer, body: Body) -> Any:
    response = server.post(body)
    assert response.status_code == 200, response.text
    [choice] = response.json()["choices"]
    return choice


def template_of(folder: Path) -> ChatTemplate:
    """As the server reads it."""
    from ov_server.pipelines import Renderer, load_tokenizer

    renderer = Renderer(load_tokenizer(folder))
    return ChatTemplate(renderer, renderer.source)


# Calls.


@FAMILY
def test_a_family_is_known_by_its_template(converted: Path, tmp_path: Path, family: str) -> None:
    can = template_of(with_template(converted, tmp_path / family, FAMILIES[family])).can
    assert can.form is FORMATS[family]
    assert (can.tools, can.calls, can.results, can.several) == (True, True, True, True)


@FAMILY
def test_a_required_call_is_valid(families: ProcessServer, family: str) -> None:
    choice = choice_of(families, calling(family, tool_choice="required"))
    assert choice["finish_reason"] in ("tool_calls", "length")
    assert choice["message"]["content"] is None
    calls = choice["message"]["tool_calls"]
    assert calls
    for call in calls:
        assert call["function"]["name"] == "get_weather"
        assert fits(SCHEMA, call["function"]["arguments"]), call
    assert json.loads(calls[0]["function"]["arguments"])["city"] == "Madrid"


@FAMILY
def test_a_call_that_the_model_makes_by_itself_is_read(
    families: ProcessServer, family: str
) -> None:
    """Nothing makes it call but the calls before, as its template shows them."""
    body = calling(family)
    body["messages"] = called_before(["Paris", "Oslo", "Rome", "London"]) + body["messages"]
    choice = choice_of(families, body)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Madrid", "unit": "celsius"}
    with stream(families, body) as chunks:
        deltas = [c["choices"][0]["delta"] for c in chunks if c and c["choices"]]
    assert not any(delta.get("content") for delta in deltas)
    pieces = [piece["function"] for delta in deltas for piece in delta.get("tool_calls", ())]
    assert pieces[0]["name"] == "get_weather"
    assert "".join(piece["arguments"] for piece in pieces) == call["function"]["arguments"]


# What templates are told.


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, "assistant\n"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "assistant\n<think>\n"),
        ({"reasoning_effort": "low"}, "assistant\n<think>\n"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "<think>\n\n</think>\n\n"),
        ({"reasoning_effort": "none"}, "<think>\n\n</think>\n\n"),
    ],
    ids=str,
)
def test_the_switch_of_reasoning_reaches_the_template(
    families: ProcessServer, fields: Body, end: str
) -> None:
    model = families.registry.parent / "hermes"
    body = ChatBody.model_validate(asking(FRANCE, **fields))
    prompt = template_of(model).prompt(parse(body, entry_of(model)))
    assert prompt.text.endswith(end)
    assert prompt.thinking == end.endswith("<think>\n")
    assert prompt.thought == end.endswith("</think>\n\n")
    body = asking(FRANCE, temperature=0, max_tokens=20, **fields)
    message = choice_of(families, {**body, "model": "hermes"})["message"]
    reasoning, text = message.get("reasoning_content", ""), message["content"]
    assert "Paris" in (reasoning if prompt.thinking else text)
    assert not (text if prompt.thinking else reasoning)


def test_the_effort_of_reasoning_reaches_the_template(converted: Path, tmp_path: Path) -> None:
    model = with_template(converted, tmp_path / "gpt-oss", GPT_OSS)
    template, entry = template_of(model), entry_of(model)

    def rendered(**fields: Any) -> str:
        return template.prompt(parse(ChatBody.model_validate(asking("Hi", **fields)), entry)).text

    told = "<|start|>system<|message|>Reasoning: {}<|end|><|start|>user<|message|>Hi<|end|>"
    assert rendered() == told.format("medium") + "<|start|>assistant"
    for effort in ("minimal", "low", "high", "xhigh"):
        assert rendered(reasoning_effort=effort) == told.format(effort) + "<|start|>assistant"
    kwargs = {"chat_template_kwargs": {"reasoning_effort": "low"}}
    assert rendered(reasoning_effort="high", **kwargs).startswith(told.format("low"))
