"""Parts `idle`, what the server costs while nobody asks, and `start`, how soon it answers."""

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from . import loads, subjects
from .machine import moment
from .quiet import Patience, mark
from .report import Section, at_most, line
from .subjects import HttpSubject

T = TypeVar("T")

_STARTS = 5
_UNLOADS = 3
_IDLE_S = 60
_SETTLE_S = 2


def idle(patience: Patience) -> Section:
    with subjects.server() as ours:
        ours.run(loads.short("idle", 1))
        time.sleep(_SETTLE_S)
        used = _cpu_s(ours)
        time.sleep(_IDLE_S)
        used = _cpu_s(ours) - used
    starts, noise = _watched(_health_after_s, _STARTS, patience)
    before, loaded, after = zip(*(_unloading() for _ in range(_UNLOADS)), strict=True)
    kept = [b - a for a, b in zip(before, after, strict=True)]
    return Section(
        "idle",
        "Idle",
        "A server with the embedded model: the CPU time of its processes, their resident memory "
        "before the first load (the runtime is imported by then), with the model loaded, and "
        "after it was unloaded, and the time from the start of its process.",
        "",
        (
            line(f"CPU time over {_IDLE_S} s with a model loaded", [used], "s", at_most(0.1)),
            line("memory before the first load", before, "MB", at_most(150)),
            line("memory with the model loaded", loaded, "MB"),
            line("memory after unloading, above that before", kept, "MB", at_most(60)),
            line(
                "start to the first answer of GET /health",
                starts,
                "s",
                at_most(1.5),
                others_cpu=noise,
            ),
        ),
        moment(),
    )


def _health_after_s() -> float:
    with subjects.server() as ours:
        return time.perf_counter() - ours.started_at


def _unloading() -> tuple[float, float, float]:
    """Megabytes before the first load, with a model, and after it was unloaded."""
    with subjects.server(OV_IDLE_UNLOAD_S=2) as ours:
        ours.wait_until(lambda health: health["device"]["used"] is not None)
        time.sleep(_SETTLE_S)
        before = _memory_mb(ours)
        ours.run(loads.shared("unloading", 4))
        loaded = _memory_mb(ours)
        ours.wait_until(lambda health: not health["models"]["loaded"])
        time.sleep(_SETTLE_S)
        return before, loaded, _memory_mb(ours)


def _cpu_s(subject: HttpSubject) -> float:
    times = [p.cpu_times() for p in _all(subject)]
    return sum(t.user + t.system for t in times)


def _memory_mb(subject: HttpSubject) -> float:
    return sum(p.memory_info().rss for p in _all(subject)) / 1e6


def _all(subject: HttpSubject) -> list[psutil.Process]:
    """The server and the workers that its models run in."""
    return [subject.process, *subject.process.children(recursive=True)]


def start(patience: Patience) -> Section:
    _answered_after_s()  # makes the GGUF file into an OpenVINO model where that is still to do
    times, noise = _watched(_answered_after_s, _STARTS, patience)
    health, first, last = zip(*times, strict=True)
    return Section(
        "start",
        "Start",
        "From the start of the process to the first answer of the embedded model, 64 tokens, "
        "asked as soon as GET /health answers. It has been started before: the model is in the "
        "cache folder.",
        "",
        (
            line("GET /health answers", health, "s", others_cpu=noise),
            line("first token", first, "s", others_cpu=noise),
            line("end of the answer", last, "s", others_cpu=noise),
        ),
        moment(),
    )


def _watched(
    measure: Callable[[], T], count: int, patience: Patience
) -> tuple[list[T], list[float]]:
    """So many measurements, and the share of the machine that others used meanwhile."""
    measured: list[T] = []
    noise: list[float] = []
    for _ in range(count):
        patience.wait()
        before = mark()
        measured.append(measure())
        noise.append(before.others())
    return measured, noise


def _answered_after_s() -> tuple[float, float, float]:
    """Seconds from the start to the first /health, to the first token, to the answer's end."""
    with subjects.server() as ours:
        health_at = time.perf_counter()
        answer = ours.run(loads.short("start", 1)).first[0]
        began = ours.started_at
        return health_at - began, answer.text_at[0] - began, answer.ended_at - began
