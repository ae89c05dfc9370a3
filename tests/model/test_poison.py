"""A request that breaks the pipeline costs itself an error, and nobody else a word."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from threading import Event

import pytest

from ov_server.core import ChatRequest, EngineStats, Message, Sampling
from ov_server.errors import EngineFailed
from ov_server.jobs import Call, Job
from ov_server.settings import Settings
from ov_server.stepping import Plan

from .clients import Streamed, alphabet, asking, read_stream
from .servers import MODEL, ThreadServer
from .waiting import BOUND_S, until

UNCOMPILABLE = Plan(Sampling(temperature=0), 8, grammar='root ::= "a')
"""No client's grammar gets so far: each is tried before. So it is put right into the batch."""
TOKENS = 100


@pytest.fixture(scope="module")
def inside(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[ThreadServer]:
    registry = tmp_path_factory.mktemp("inside") / "none.json"
    settings = Settings(device="CPU", cache_dir=cache, registry_path=registry)
    with ThreadServer(settings) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


async def poison(server: ThreadServer) -> None:
    """A request that no pipeline survives, until it ends."""
    async with server.app.state.models.lease(MODEL) as engine:
        job = Job(Call(asyncio.get_running_loop()), [1, 2, 3], UNCOMPILABLE, arrived_at=0)
        engine._batch.submit([job])
        async for _ in job.call.items():
            pass


async def greet(server: ThreadServer) -> None:
    """A request that harms nobody."""
    request = ChatRequest((Message("user", "Hello"),), Sampling(max_tokens=8))
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(server.app.state.models.lease(MODEL))
        events = await stack.enter_async_context(aclosing(engine.chat(request)))
        async for _ in events:
            pass


def stats(server: ThreadServer) -> EngineStats:
    return server.app.state.models.stats()[MODEL]


def start_streams(
    inside: ThreadServer, pool: ThreadPoolExecutor, count: int, *, apart: bool = False
) -> list[tuple[Future[Streamed], str]]:
    """That many streams, each with its first word; apart is one after the other."""
    running: list[tuple[Future[Streamed], str]] = []
    begun: list[Event] = []

    def start(number: int) -> None:
        middle = Event()
        body, text = alphabet(3 * number, TOKENS, logprobs=True)
        saw = lambda answer: middle.set() if len(answer.deltas) == 1 else None  # noqa: E731
        running.append((pool.submit(read_stream, inside, body, saw), text))
        begun.append(middle)

    for number in range(count):
        start(number)
        assert not apart or begun[-1].wait(BOUND_S)
    assert all(middle.wait(BOUND_S) for middle in begun)
    assert stats(inside).running == count
    return running


def check_streams(running: list[tuple[Future[Streamed], str]]) -> None:
    for future, text in running:
        answer = future.result()
        answer.check(max_tokens=TOKENS)
        assert answer.text == text
        assert answer.usage["completion_tokens"] == len(answer.tokens) == TOKENS
        assert answer.finish_reasons == ["length"]


def test_poison_in_the_middle_of_8_streams(inside: ThreadServer) -> None:
    before = stats(inside).rebuilds
    with ThreadPoolExecutor(8) as pool:
        running = start_streams(inside, pool, 8)
        with pytest.raises(EngineFailed, match="Change the request"):
            inside.on_loop(poison(inside))
        check_streams(running)
    assert stats(inside).rebuilds == before + 1
    assert "Paris" in inside.post(asking("What is the capital of France?", temperature=0)).text
    inside.wait_until_idle()


def test_poison_in_the_middle_of_streams_that_began_apart(inside: ThreadServer) -> None:
    """Their prompts were read in parts, and are read again."""
    before = stats(inside).rebuilds
    with ThreadPoolExecutor(4) as pool:
        running = start_streams(inside, pool, 4, apart=True)
        with pytest.raises(EngineFailed):
            inside.on_loop(poison(inside))
        check_streams(running)
    assert stats(inside).rebuilds == before + 1


def test_poison_among_newcomers_costs_only_the_guilty(inside: ThreadServer) -> None:
    async def come_together() -> list[BaseException | None]:
        guests = [greet, poison, greet, poison, greet]
        return await asyncio.gather(*(g(inside) for g in guests), return_exceptions=True)

    before = stats(inside).rebuilds
    with ThreadPoolExecutor(2) as pool:
        running = start_streams(inside, pool, 2)
        outcomes = inside.on_loop(come_together())
        check_streams(running)
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        EngineFailed,
        type(None),
        EngineFailed,
        type(None),
    ]
    assert before + 1 <= stats(inside).rebuilds <= before + 5
    until(lambda: stats(inside).running == 0, "an idle engine")
