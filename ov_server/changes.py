"""How tasks of one event loop wait for each other's news."""

import asyncio
from typing import Any

from .clock import Clock


class Changes:
    """Wakes all who wait, each time that there is news."""

    def __init__(self) -> None:
        self._watchers: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    def tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


_HOLD_S = 20
_PASS_S = 40


class Precedence:
    """Of a model that waits for room: others hold back for it for a while, then may pass for a
    while, and so on. So neither keeps the other out."""

    def __init__(self, clock: Clock, changes: Changes):
        self.holds = False
        self._clock = clock
        self._changes = changes
        self._timer: Any = None

    def begin(self) -> None:
        if self._timer is None:
            self._hold()

    def end(self) -> None:
        if self._timer is not None:
            self._timer = self._timer.cancel()
        self.holds = False
        self._changes.tell()

    def _hold(self) -> None:
        self.holds = True
        self._timer = self._clock.call_later(_HOLD_S, self._let_pass)

    def _let_pass(self) -> None:
        self.holds = False
        self._timer = self._clock.call_later(_PASS_S, self._hold)
        self._changes.tell()
