"""A model that never calls a tool by itself gives a valid call of each of 200 real functions."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ov_server.schemacheck import fits

from .clients import Body, asking, stream
from .functions import FUNCTIONS
from .functionschemas import Function
from .servers import ProcessServer

AT_ONCE = 8
OTHER: Any = {"type": "function", "function": {"name": "do_nothing"}}
NOT_HELD_TO = {"climate_set_schedule", "create_playlist", "validate_regex"}
"""Their schemas have keywords that no grammar here enforces: uniqueItems, the format regex."""


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


@pytest.mark.parametrize("read", [whole, streamed], ids=["whole", "streamed"])
def test_200_of_200_calls_parse_and_validate(server: ProcessServer, read: Any) -> None:
    """Named and required choice in turns; those that are cut off included."""

    def problem(number: int) -> str | None:
        function = FUNCTIONS[number]
        called = read(server, wanted(function, named=bool(number % 2)))
        valid = fits(function.parameters or {}, called.arguments)
        ended = called.name == function.name and called.reason in ("tool_calls", "length")
        if ended and (valid or function.name in NOT_HELD_TO):
            return None
        return f"{function.name}: {called}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = [p for p in pool.map(problem, range(200)) if p is not None]
    assert problems == []
