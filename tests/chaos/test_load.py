"""Many clients stream at once: none is refused but for want of a place, and none is cut off."""

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.model.clients import asking
from tests.model.servers import ProcessServer, process_server

from .conftest import Scale
from .swarm import Answer, ask, swarm


def body(number: int, asked: int) -> dict[str, Any]:
    chance = random.Random(f"{number} {asked}")
    words = " ".join(f"word{chance.randrange(99)}" for _ in range(chance.randrange(1, 30)))
    more = {"max_tokens": chance.randrange(4, 40), "seed": number}
    return asking(f"Say something about {words}.", stream=True, **more)


def memory(server: ProcessServer) -> int:
    """Of the server's own process: the worker's grows until its KV cache is full."""
    return psutil.Process(server.process.pid).memory_info().rss


def test_many_clients_stream_at_once(server: ProcessServer, scale: Scale) -> None:
    asyncio.run(swarm(server.port, scale.clients, scale.seconds / 2, body))
    before = memory(server)
    ends = asyncio.run(swarm(server.port, scale.clients, scale.seconds / 2, body))
    assert set(ends) <= {"whole", "queue_full"}, ends
    assert ends["whole"] > scale.clients / 4
    assert memory(server) < before * 1.1
    server.wait_until_idle()
    assert server.health()["status"] == "ok"


@pytest.fixture
def narrow(tmp_path: Path, cache: Path, converted: Path) -> Iterator[ProcessServer]:
    """Few places: 4 run, 60 wait."""
    bounds: dict[str, Any] = {"OV_MAX_RUNNING": 4, "OV_MAX_QUEUE": 60}
    with process_server(tmp_path / "narrow", cache, **bounds) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


def test_one_request_is_not_starved_by_fifty(narrow: ProcessServer) -> None:
    async def greedy_and_modest() -> tuple[str, int]:
        long = asking("Tell me a story.", stream=True, max_tokens=2000, ignore_eos=True)
        greedy = [asyncio.create_task(ask(narrow.port, long, "127.0.0.2")) for _ in range(50)]
        while narrow.queue() != {"running": 4, "waiting": 46}:
            await asyncio.wait(greedy, timeout=0.05)
        modest = await ask(narrow.port, asking("Hello", stream=True, max_tokens=8), "127.0.0.3")
        waiting = sum(not task.done() for task in greedy)
        for task in greedy:  # their clients leave
            task.cancel()
        await asyncio.wait(greedy)
        return modest.outcome, waiting

    modest, waiting = asyncio.run(greedy_and_modest())
    assert modest == "whole"
    assert waiting == 50, "all of those who came before are still there"
    narrow.wait_until_idle()


def test_who_is_refused_is_told_when_there_is_room(narrow: ProcessServer) -> None:
    async def overload() -> list[Answer]:
        some = asking("Hello", stream=True, max_tokens=10, ignore_eos=True)
        return await asyncio.gather(*(ask(narrow.port, some) for _ in range(80)))

    answers = asyncio.run(overload())
    refused = [int(a.headers["retry-after"]) for a in answers if a.status == 429]
    assert len(refused) == 80 - 64
    assert len(set(refused)) > 1, "they are not all told the same"
    assert {a.outcome for a in answers if a.status == 200} == {"whole"}
    assert re.search(r"ov_requests_total{[^}]*queue_full[^}]*} 16", narrow.get("/metrics").text)
