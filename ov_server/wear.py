"""What the grammars of answers do to a pipeline: the runtime keeps each that it has compiled, some
10 MB, and all answers stand still while it compiles one. Knows no pipeline.
"""

import time
from collections.abc import Iterable, Sized

from .jobs import Job
from .waiting import Waiting

_KEPT, _MOST_KEPT = 1_000_000_000, 3_000_000_000
"""Bytes after which the pipeline is made anew: when nobody is there, and when those who come have
to wait for it."""
_DEAR_S, _DISTANCE = 0.2, 4
"""CPU seconds above which compiling a grammar is noticed by the other answers, and how many times
that long they are left alone behind it."""


class Wear:
    """Of one pipeline; only its thread asks."""

    def __init__(self, patience_s: float):
        """`patience_s`: how long those who come wait for those who are there."""
        self._patience_s = patience_s
        self._kept: dict[int, int] = {}
        self._calm_until = 0.0

    def clear(self) -> None:
        """The pipeline is another one."""
        self._kept.clear()

    def add(self, job: Job) -> None:
        """The pipeline is given the job's grammar."""
        grammar = job.plan.grammar
        if grammar is None or hash(grammar) in self._kept:
            return
        self._kept[hash(grammar)] = job.cost.memory
        if job.cost.seconds > _DEAR_S:
            self._calm_until = time.monotonic() + _DISTANCE * job.cost.seconds

    def too_soon(self, job: Job, active: Iterable[Job]) -> bool:
        """Whether the job's grammar would stop answers that have just been stopped by another."""
        grammar = job.plan.grammar
        new = grammar is not None and hash(grammar) not in self._kept
        dear = new and job.cost.seconds > _DEAR_S and time.monotonic() < self._calm_until
        return dear and any(other.streaming for other in active)

    @property
    def full(self) -> bool:
        """Whether nobody may join until the pipeline has been made anew."""
        return sum(self._kept.values()) > _MOST_KEPT

    def too_much(self, active: Sized, waiting: Waiting, now: float) -> bool:
        """Whether to make the pipeline anew: now that nobody is there, or since somebody has waited
        long enough for those who are."""
        if active:
            return self.full and waiting.longest_s(now) > self._patience_s
        return self.full if waiting else sum(self._kept.values()) > _KEPT
