"""The search for leaks: requests of all kinds, most of them ended early in some way, and loads.
What the server holds afterwards is what it held after the first of them."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.model.clients import asking
from tests.model.servers import MODEL, ProcessServer, process_server
from tests.model.waiting import BOUND_S, until

from .conftest import Scale
from .swarm import ask

COUNTING = """
import asyncio, os, pathlib, signal, main
told = pathlib.Path({!r})
def tell(*_):
    part = told.with_suffix(".part")
    part.write_text(str(len(asyncio.all_tasks())))
    part.rename(told)
signal.signal(signal.SIGUSR1, tell)
main.launch(main.app)
"""
"""`main.py`, which tells the number of its tasks when it gets a signal."""
CLIENTS, FIRST = 12, 100
KV_CACHE, A_BLOCK = 1_000_000_000, 400_000
"""Bytes, of this model."""
MORE = 3
"""Processes that try, complete and check, and their threads and sockets, may start late."""
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
SCHEMAS = [PERSON, {"enum": ["red", "green"]}, {"type": "array", "items": {"type": "boolean"}}]
TOOL = {"type": "function", "function": {"name": "meet", "parameters": PERSON}}
EXPECTED = {"whole", "left", "timeout", "model_not_found", "None", "answer_ended", "queue_full"}
"""None is the code of a field's mistake."""


def form(chance: random.Random) -> dict[str, Any]:
    """What the answer is held to."""
    schema = chance.choice(SCHEMAS)
    return chance.choice(
        [
            {},
            {},
            {"tools": [TOOL], "tool_choice": "required"},
            {"tools": [TOOL]},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": schema},
                }
            },
            {"guided_regex": "[a-z]{3} [0-9]{2}"},
            {"ignore_eos": True},
            {"temperature": 5},
            {"model": "nobody"},
        ]
    )


def body(number: int) -> dict[str, Any]:
    """Request `number` of many different ones."""
    chance = random.Random(number)
    fields: dict[str, Any] = {
        "stream": chance.random() < 0.7,
        "max_tokens": chance.randrange(1, 24),
        "n": chance.choice([1, 1, 1, 2, 4]),
        "temperature": chance.choice([0, 0.7, 1.5]),
        "logprobs": chance.random() < 0.2,
        "stop": chance.choice([None, "e", ["the", "."]]),
        "priority": chance.choice([None, "interactive", "batch", 3]),
        "session_id": f"leak-{number}" if chance.random() < 0.4 else None,
        "timeout": chance.choice([None, None, None, 0.05, 0.5]),
    }
    return asking(f"What about {chance.randrange(9)}?", **fields) | form(chance)


async def pursue(port: int, number: int) -> str:
    """A request that may be left or cancelled at any moment; how it ended."""
    chance, asked = random.Random(-number), body(number)
    fate = chance.random()
    patience = chance.expovariate(3) if fate < 0.3 else BOUND_S
    try:
        if fate > 0.7 and asked["session_id"]:
            answer, _ = await asyncio.gather(
                ask(port, asked), cancel(port, asked["session_id"], chance.expovariate(3))
            )
        else:
            answer = await asyncio.wait_for(ask(port, asked), patience)
    except TimeoutError:
        assert fate < 0.3, "an answer that never ends"
        return "left"
    if answer.status == 200 and not asked["stream"]:
        return "whole" if json.loads(answer.body)["choices"] else "broken"
    return answer.outcome


async def cancel(port: int, name: str, seconds: float) -> None:
    """Ends a session after some time."""
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, late.set)
    await late.wait()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        await client.post(f"http://127.0.0.1:{port}/v1/cancel/{name}")


async def many(port: int, numbers: range) -> Counter[str]:
    """So many requests, some of them at once; how they ended."""
    todo, ends = iter(numbers), Counter[str]()

    async def client() -> None:
        for number in todo:
            ends[await pursue(port, number)] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return ends


@dataclass(frozen=True)
class Held:
    """What a server and its processes hold when nobody asks anything of them."""

    rss: int
    threads: int
    files: int
    tasks: int
    worker_rss: int
    worker_threads: int
    worker_files: int
    children: Counter[str]
    kv_usage: float


class Watched:
    def __init__(self, server: ProcessServer, told: Path):
        self.server = server
        self._told = told

    def held(self) -> Held:
        server = self.server
        server.wait_until_idle()
        process = psutil.Process(server.process.pid)
        until(lambda: not process.net_connections("tcp")[1:], "no connection but the port's")
        [worker] = server.workers()
        tasks = self._tasks()
        return Held(
            process.memory_info().rss,
            process.num_threads(),
            process.num_fds(),
            tasks,
            worker.memory_info().rss,
            worker.num_threads(),
            worker.num_fds(),
            Counter(child.cmdline()[2] for child in process.children()),
            server.gauge("ov_kv_cache_usage_perc"),
        )

    def _tasks(self) -> int:
        self._told.unlink(missing_ok=True)
        self.server.process.send_signal(signal.SIGUSR1)
        until(self._told.exists, "the number of tasks")
        return int(self._told.read_text())


@pytest.fixture
def watched(cache: Path, converted: Path, tmp_path: Path) -> Iterator[Watched]:
    bounds: dict[str, Any] = {
        "OV_SESSIONS_MB": 0.5,
        "OV_CANCEL_AFTER_DISCONNECT_S": 1,
        "OV_KV_CACHE_GB": 1,
    }
    start = ("-c", COUNTING.format(str(tmp_path / "tasks")))
    with process_server(tmp_path / "watched", cache, start=start, **bounds) as server:
        yield Watched(server, tmp_path / "tasks")


def test_nothing_is_left_of_requests(watched: Watched, scale: Scale) -> None:
    port = watched.server.port
    ends = asyncio.run(many(port, range(FIRST)))
    before = watched.held()
    ends += asyncio.run(many(port, range(FIRST, FIRST + scale.requests)))
    after = watched.held()
    assert set(ends) <= EXPECTED, ends
    assert {"whole", "left", "timeout"} <= set(ends), ends
    check(before, after)
    blocks = min(KV_CACHE, 4 * scale.requests * A_BLOCK)  # of which new ones are used first
    assert after.worker_rss < before.worker_rss * 1.1 + blocks


def check(before: Held, after: Held) -> None:
    """That no more is held; processes that try grammars start when they are needed."""
    assert after.rss < before.rss * 1.1
    assert after.tasks <= before.tasks
    assert after.threads <= before.threads + MORE
    assert after.files <= before.files + MORE
    assert after.children["ov_server.worker"] == 1
    assert after.children.total() <= before.children.total() + MORE
    assert after.worker_threads == before.worker_threads
    assert after.worker_files == before.worker_files
    assert after.kv_usage == 0


@pytest.mark.full
def test_nothing_is_left_of_loads(watched: Watched, scale: Scale) -> None:
    server = watched.server

    def load_again() -> None:
        assert server.act(f"/v1/models/{MODEL}/unload").status_code == 200
        form = {"response_format": {"type": "json_object"}}
        assert server.post(asking("Hello", max_tokens=8, **form)).status_code == 200

    load_again()
    before = watched.held()
    for _ in range(scale.rounds):
        load_again()
    after = watched.held()
    check(before, after)
    assert after.children == before.children
    assert after.worker_rss < before.worker_rss * 1.05
