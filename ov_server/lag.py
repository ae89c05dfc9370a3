"""How late the event loop is, measured while requests are in flight and only then: an idle server
does not wake."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

EVERY_S = 0.05


class Lag:
    """A chain of timers; each tells by how many seconds it came too late, which is how long
    everything else on the loop waited, too."""

    def __init__(self, tell: Callable[[float], object], every_s: float = EVERY_S):
        self._tell = tell
        self._every_s = every_s
        self._watchers = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self) -> Generator[None]:
        """Measures as long as anybody is inside."""
        self._watchers += 1
        if self._timer is None:
            self._wait(asyncio.get_running_loop())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._timer is not None:
                self._timer = self._timer.cancel()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._every_s
        self._timer = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._tell(max(0.0, loop.time() - due))
        self._wait(loop)
