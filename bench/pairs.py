"""One load on two subjects in turn, again and again: what drifts or disturbs hits both."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .loads import Load, Run
from .quiet import QUIET, Patience, mark
from .report import Goal, Line, line
from .subjects import Subject


@dataclass(frozen=True, slots=True)
class Pair:
    ours: Run
    other: Run
    others_cpu: float
    """The share of the machine that other processes used in the worse of the two runs."""


Figure = Callable[[Run], float]


def measure(
    ours: Subject, other: Subject, load: Callable[[int], Load], count: int, patience: Patience
) -> list[Pair]:
    """So many pairs, each with texts of its own. When others disturb, more are tried while there
    is patience, and the least disturbed are kept; what they measured plays no part in that."""
    tried: list[Pair] = []
    while len(tried) < count or (patience.left > 0 and _quiet(tried) < count):
        patience.wait()
        started = time.perf_counter()
        tried.append(_pair(ours, other, load(len(tried)), swapped=len(tried) % 2 == 1))
        if len(tried) > count:
            patience.left -= time.perf_counter() - started
    return sorted(tried, key=lambda pair: pair.others_cpu)[:count]


def _quiet(pairs: list[Pair]) -> int:
    return sum(pair.others_cpu < QUIET for pair in pairs)


def _pair(ours: Subject, other: Subject, load: Load, *, swapped: bool) -> Pair:
    runs: dict[str, Run] = {}
    disturbed = 0.0
    for subject in (other, ours) if swapped else (ours, other):
        before = mark()
        runs[subject.name] = subject.run(load)
        disturbed = max(disturbed, before.others())
    return Pair(runs[ours.name], runs[other.name], disturbed)


def ratios(
    what: str, pairs: Sequence[Pair], figure: Figure, unit: str, goal: Goal | None = None
) -> Line:
    """A figure of the server's runs over the same figure of the other's."""
    ours = [figure(pair.ours) for pair in pairs]
    other = [figure(pair.other) for pair in pairs]
    return line(
        what,
        [a / b for a, b in zip(ours, other, strict=True)],
        "",
        goal,
        ours=ours,
        other=other,
        their_unit=unit,
        others_cpu=[pair.others_cpu for pair in pairs],
    )
