"""What other threads hand to a model's thread, and where that one sleeps. Knows no pipeline."""

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from .jobs import Job


class Inbox:
    """Jobs that have come. All but take() is for any thread."""

    def __init__(self, burst_s: float):
        """`burst_s`: how long the first of a burst waits for the others."""
        self._burst_s = burst_s
        self._wake = threading.Condition()
        self._jobs: list[Job] = []
        self._coming = 0
        self.closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    @contextmanager
    def coming(self) -> Generator[None]:
        """While jobs are made."""
        with self._wake:
            self._coming += 1
        try:
            yield
        finally:
            with self._wake:
                self._coming -= 1
                self._wake.notify()

    def put(self, jobs: Iterable[Job]) -> bool:
        """False when it is closed: nobody will look at them."""
        with self._wake:
            if self.closed:
                return False
            self._jobs += jobs
            self._wake.notify()
        return True

    def cancel(self, jobs: Iterable[Job], *, halt: bool) -> None:
        """Marks jobs, wherever they are: to be dropped, or to end where they are."""
        with self._wake:
            for job in jobs:
                job.cancelled, job.halted = job.cancelled or not halt, job.halted or halt
            self._wake.notify()

    def close(self) -> None:
        """Nothing comes any more; what has come can still be taken."""
        with self._wake:
            self.closed = True
            self._wake.notify()

    def take(self, *, working: bool, burst: bool) -> list[Job]:
        """What has come. Sleeps until something has, or it is closed; not when there is work. With
        `burst` it waits for what is coming as well."""
        with self._wake:
            self._wake.wait_for(lambda: working or self._jobs or self.closed)
            if burst:
                self._wake.wait_for(lambda: not self._coming or self.closed, self._burst_s)
            jobs, self._jobs = self._jobs, []
            return jobs
