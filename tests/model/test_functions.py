"""A model that never calls a tool by itself gives a valid call of each of 200 real functions:
what pydantic, zod, OpenAI's documentation, MCP servers, Home Assistant and LangChain make of tools,
each with a question that calls for it, by walk of life.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_server.schemacheck import fits

from .clients import Body, asking, stream
from .servers import ProcessServer

AT_ONCE = 16
OTHER: Any = {"type": "function", "function": {"name": "do_nothing"}}
NOT_HELD_TO = {"climate_set_schedule", "create_playlist", "validate_regex"}
"""Their schemas have keywords that no grammar here enforces: uniqueItems, the format regex."""


@dataclass(frozen=True)
class Function:
    name: str
    description: str
    question: str
    parameters: Body | None = None


GROUPS: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("functions.json").read_text("utf-8")
)
FUNCTIONS = [Function(**each) for group in GROUPS.values() for each in group]


@dataclass
class Called:
    name: str
    arguments: str
    reason: str


def wanted(function: Function, *, named: bool) -> Body:
    said: dict[str, Any] = {"name": function.name, "description": function.description}
    if function.parameters is not None:
        said["parameters"] = function.parameters
    tool = {"type": "function", "function": said}
    more: dict[str, Any] = {"tools": [tool], "tool_choice": "required"}
    if named:
        choice = {"type": "function", "function": {"name": function.name}}
        more = {"tools": [OTHER, tool], "tool_choice": choice}
    return asking(function.question, max_tokens=90, temperature=0.7, seed=7, **more)


def whole(server: ProcessServer, body: Body) -> Called:
    response = server.post(body)
    assert response.status_code == 200, response.text
    [choice] = response.json()["choices"]
    [call] = choice["message"]["tool_calls"]
    assert choice["message"]["content"] is None
    return Called(**call["function"], reason=choice["finish_reason"])


def streamed(server: ProcessServer, body: Body) -> Called:
    called = Called("", "", "")
    with stream(server, body) as chunks:
        for chunk in chunks:
            for choice in chunk["choices"] if chunk else ():
                assert not choice["delta"].get("content")
                for call in choice["delta"].get("tool_calls", ()):
                    assert call["index"] == 0
                    called.name += call["function"].get("name", "")
                    called.arguments += call["function"]["arguments"]
                called.reason = choice["finish_reason"] or called.reason
    return called


def test_there_are_200_different_functions() -> None:
    assert len({function.name for function in FUNCTIONS}) == len(FUNCTIONS) == 200
    assert len({json.dumps(f.parameters, sort_keys=True) for f in FUNCTIONS}) == 200


def test_200_of_200_calls_parse_and_validate_whole_and_streamed(server: ProcessServer) -> None:
    """Named and required choice in turns; those that are cut off included."""

    def problems(number: int) -> list[str]:
        function = FUNCTIONS[number]
        body = wanted(function, named=bool(number % 2))
        found: list[str] = []
        for read in (whole, streamed):
            called = read(server, body)
            valid = fits(function.parameters or {}, called.arguments)
            ended = called.name == function.name and called.reason in ("tool_calls", "length")
            if not (ended and (valid or function.name in NOT_HELD_TO)):
                found.append(f"{read.__name__} {function.name}: {called}")
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(problems, range(len(FUNCTIONS))))
    assert [problem for each in found for problem in each] == []
