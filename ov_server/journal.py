"""Answers on disk, for readers that come back behind a restart of the server: one thread, which
writes what has queued up in one transaction and sleeps when there is nothing. Knows no dialect.

Whatever is wrong with the file, no request notices: its answers are then in memory alone.
"""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .clock import Clock
from .journalfile import Ending, Heading, JournalFile, Kept
from .scribe import Added, Begun, Ended, Lost, Name, Rhythm, Scribe, Write
from .settings import Settings

_PATIENCE_S = 10
"""How long a reader waits for a disk that does not answer, and the end of the server."""


@dataclass(frozen=True, slots=True)
class Wanted:
    name: Name
    answer: "asyncio.Future[Kept | None]"


class Journal:
    """Sessions are told apart by `key`, any object of their own."""

    def __init__(
        self, path: Path, size_mb: float, keep_s: float, clock: Clock, rhythm: Rhythm | None = None
    ):
        self._clock = clock
        self._rhythm = rhythm or Rhythm()
        self._wake = threading.Condition()
        self._queue: list[Write | Wanted] = []
        self._waiting = 0
        self._urgent = self._closed = False
        self._now = clock.time()
        file = JournalFile(path, size_mb * 1e6, keep_s, self._rhythm.spare)
        self._scribe = Scribe(file, size_mb, self._rhythm)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> "Journal | None":
        """None where it is not asked for."""
        if settings.sessions_db is None:
            return None
        return cls(settings.sessions_db, settings.sessions_db_mb, settings.session_ttl_s, clock)

    @property
    def trouble(self) -> str | None:
        """Why nothing is written now, and what to do."""
        return self._scribe.trouble

    # Called on the event loop.

    def begun(self, key: object, heading: Heading) -> None:
        """What the file has under that name is replaced."""
        self._put(Begun(key, heading))

    def added(self, key: object, piece: str, tokens: int) -> None:
        """The next piece, and how many tokens there are with it."""
        self._put(Added(key, piece, tokens), len(piece))

    def ended(self, key: object, ending: Ending | None) -> None:
        """Without an ending the session is forgotten."""
        self._put(Ended(key, ending))

    async def find(self, owner: str, name: str) -> Kept | None:
        """What the file has of a session, with all that was told before."""
        answer = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                if self._put(Wanted((owner, name), answer), urgent=True):
                    return await answer
        return None

    async def close(self) -> None:
        """Returns when everything is written."""
        with self._wake:
            self._closed = self._urgent = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, _PATIENCE_S)

    def _put(self, op: Write | Wanted, size: int = 0, *, urgent: bool = False) -> bool:
        now = self._clock.time()
        with self._wake:
            if self._closed:
                return False
            if self._waiting + size > self._rhythm.waiting:
                self._overflow()
            self._now = now
            self._queue.append(op)
            self._waiting += size
            self._urgent |= urgent
            if urgent or len(self._queue) == 1:
                self._wake.notify()
            return True

    def _overflow(self) -> None:
        names = {op.heading.name for op in self._queue if isinstance(op, Begun)}
        names |= {name for op in self._queue if isinstance(op, Lost) for name in op.names}
        wanted = [op for op in self._queue if isinstance(op, Wanted)]
        self._queue = [Lost(frozenset(names)), *wanted]
        self._waiting = 0

    # The thread.

    def _run(self) -> None:
        self._scribe.write([], self._now)  # so that /health knows before anybody asks
        try:
            while (taken := self._take()) is not None:
                ops, now = taken
                if writes := [op for op in ops if not isinstance(op, Wanted)]:
                    self._scribe.write(writes, now)
                for op in ops:
                    if isinstance(op, Wanted):
                        _tell(op.answer, self._scribe.find(op.name, now))
        finally:
            self._scribe.close(self._now)

    def _take(self) -> tuple[list[Write | Wanted], float] | None:
        """All that has queued up, when it is time; None at the end."""
        due = time.monotonic() + self._rhythm.batch_s
        with self._wake:
            while not self._queue and not self._closed:
                self._wake.wait()
            while not self._urgent and (left := due - time.monotonic()) > 0:
                self._wake.wait(left)
            queue, self._queue = self._queue, []
            self._waiting, self._urgent = 0, self._closed
            return (queue, self._now) if queue else None


def _tell(answer: "asyncio.Future[Kept | None]", kept: Kept | None) -> None:
    def settle() -> None:
        if not answer.done():
            answer.set_result(kept)

    with suppress(RuntimeError):  # the loop is gone, and who asked with it
        answer.get_loop().call_soon_threadsafe(settle)
