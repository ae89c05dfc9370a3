"""The event loop's lag, on a loop whose timers a test sets off."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from apps import Server, Start
from fakes import until

from ov_server.lag import Lag


class Timers(asyncio.SelectorEventLoop):
    """Counts the timers that are set, and that were called off."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.TimerHandle] = []

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **more: Any) -> Any:
        timer = super().call_at(when, callback, *args, **more)
        self.waiting.append(timer)
        return timer

    def left(self) -> int:
        return sum(not timer.cancelled() for timer in self.waiting)


def test_an_idle_loop_has_no_timer_and_a_busy_one_has_one() -> None:
    async def work() -> None:
        lag = Lag([].append, every_s=1000)
        assert loop.left() == 0
        with lag.watched():
            assert loop.left() == 1
            with lag.watched():
                assert loop.left() == 1
            assert loop.left() == 1
        assert loop.left() == 0
        with lag.watched():
            assert loop.left() == 1
        assert loop.left() == 0

    loop = Timers()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work())


def test_what_holds_the_loop_up_is_told() -> None:
    told: list[float] = []

    async def work() -> None:
        lag = Lag(told.append, every_s=0.001)
        with lag.watched():
            begun = loop.time()
            while loop.time() < begun + 0.1:
                pass
            await until(lambda: bool(told))

    loop = Timers()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work())
    assert told[0] >= 0.09


@pytest.mark.anyio
async def test_the_figures_have_it_while_requests_are_in_flight(start: Start) -> None:
    async with start("a") as server:
        assert count(server) == 0
        engine = await server.engine()
        engine.enqueue(asyncio.Event())
        caller = server.call(stream=True)
        await until(lambda: count(server) > 0)
        await caller.leave()


def count(server: Server) -> int:
    text = server.app.state.figures.text().decode()
    (line,) = [x for x in text.splitlines() if x.startswith("ov_event_loop_lag_seconds_count")]
    return int(float(line.split()[1]))
