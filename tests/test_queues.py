"""Full queues over the API: who is refused, and what a request is told that gave way."""

import asyncio
import json
from typing import Any

import pytest
from apps import Caller, Server, Start, data_of
from fakes import soon, until

pytestmark = pytest.mark.anyio


async def crowd(server: Server, gate: asyncio.Event, count: int, **fields: Any) -> list[Caller]:
    """Requests of one client, which all wait for the gate."""
    engine = await server.engine()
    for _ in range(count + 1):
        engine.enqueue(gate, "said")
    callers = [server.call(**fields) for _ in range(count)]
    await until(lambda: engine.running == count)
    return callers


async def ended(caller: Caller) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of a whole answer."""
    start = await caller.next()
    body = json.loads((await caller.next())["body"])
    await soon(caller.task)
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], body, headers


@pytest.mark.parametrize("bounds", [{"max_running": 1, "max_queue": 2}, {"max_requests": 3}])
async def test_a_client_with_many_makes_room_for_one_with_none(
    start: Start, bounds: dict[str, int]
) -> None:
    async with start(**bounds) as server:
        gate = asyncio.Event()
        *kept, pushed = await crowd(server, gate, 3)
        other = server.chat_from("192.0.2.8")
        status, body, headers = await ended(pushed)
        assert (status, body["error"]["code"]) == (429, "queue_full")
        assert int(headers["retry-after"]) >= 1
        gate.set()
        assert [(await ended(caller))[0] for caller in (*kept, other)] == [200] * 3
        assert (await server.chat()).status_code == 200


async def test_the_same_clients_next_request_is_refused(start: Start) -> None:
    async with start(max_running=1, max_queue=2) as server:
        gate = asyncio.Event()
        callers = await crowd(server, gate, 3)
        status, body, headers = await ended(server.call())
        assert (status, body["error"]["code"]) == (429, "queue_full")
        assert int(headers["retry-after"]) >= 1
        gate.set()
        assert [(await ended(caller))[0] for caller in callers] == [200] * 3


async def test_a_stream_that_is_kept_alive_gives_way_with_an_event(start: Start) -> None:
    async with start("a", "b", max_running=1, max_queue=1, keep_alive_s=0.001) as server:
        engine = await server.engine()
        gate = server.loader.hold("b")  # they wait for a load: no event has come
        first, second = (server.call(model="b", stream=True) for _ in range(2))
        await second.until(": keep-alive")
        other = server.chat_from("192.0.2.8", model="b")
        said = await second.rest()
        assert json.loads(data_of(said)[-1])["error"]["code"] == "queue_full"
        gate.open.set()
        assert (await ended(other))[0] == 200
        assert "[DONE]" in await first.rest()
        assert engine.running == 0


async def test_an_answer_that_has_begun_does_not_give_way(start: Start) -> None:
    async with start(max_running=1, max_queue=1) as server:
        engine, gate = await server.engine(), asyncio.Event()
        for _ in range(2):
            engine.enqueue("said", gate, "more")
        callers = [server.call(stream=True) for _ in range(2)]
        for caller in callers:
            await caller.until("said")
        status, body, _ = await ended(server.chat_from("192.0.2.8"))
        assert (status, body["error"]["code"]) == (429, "queue_full")
        gate.set()
        for caller in callers:
            assert "[DONE]" in await caller.rest()


async def test_a_client_that_leaves_frees_its_place(start: Start) -> None:
    async with start(max_running=1, max_queue=1) as server:
        gate = asyncio.Event()
        first, second = await crowd(server, gate, 2)
        assert (await ended(server.call()))[0] == 429
        await second.leave()
        gate.set()
        assert (await ended(server.call()))[0] == 200
        assert (await ended(first))[0] == 200
