"""Part `crowd`: 200 clients stream at once for a minute, each from an address of its own."""

import asyncio
import random
import re
from collections import Counter
from typing import Any

import psutil

from tests.chaos.swarm import swarm

from . import loads, subjects
from .machine import moment
from .quiet import Patience, mark
from .report import Section, at_most, line
from .subjects import EMBEDDED_NAME, HttpSubject

CLIENTS = 200
_HALF_S = 30
_WARM_S = 10


def crowd(patience: Patience) -> Section:
    patience.wait()
    with subjects.server() as ours:
        ours.run(loads.short("warm up", 4))
        _asked(ours, _WARM_S)
        began, before = mark(), _lags(ours)
        first, early = _asked(ours, _HALF_S), _memory_mb(ours)
        second, late = _asked(ours, _HALF_S), _memory_mb(ours)
        lags = _lags(ours) - before
        noise = [began.others()]
    ends = first + second
    bad = sum(ends.values()) - ends["whole"] - ends["queue_full"]
    return Section(
        "crowd",
        f"{CLIENTS} streaming clients",
        f"{CLIENTS} clients ask one model for 4 to 40 tokens each, again and again for "
        f"{2 * _HALF_S} s, and wait as long as a 429 tells them to. How late the event loop is, is "
        "the server's own figure: the bound of the histogram's bucket. Memory is that of the "
        "server's process, at the end and after half of the time.",
        "",
        (
            line("whole answers", [ends["whole"]]),
            line("429", [ends["queue_full"]]),
            line("other errors, and streams that broke", [bad], goal=at_most(0)),
            line("event loop, p50", [_quantile(lags, 0.5) * 1e3], "ms", others_cpu=noise),
            line(
                "event loop, p99",
                [_quantile(lags, 0.99) * 1e3],
                "ms",
                at_most(100),
                others_cpu=noise,
            ),
            line("memory, late by early", [late / early], "", at_most(1.05)),
        ),
        moment(),
    )


def _asked(subject: HttpSubject, seconds: float) -> Counter[str]:
    return asyncio.run(swarm(subject.port, CLIENTS, seconds, _body))


def _body(number: int, asked: int) -> dict[str, Any]:
    chance = random.Random(f"{number} {asked}")
    words = " ".join(f"word{chance.randrange(99)}" for _ in range(chance.randrange(1, 30)))
    said = [{"role": "user", "content": f"Say something about {words}."}]
    more = {"max_tokens": chance.randrange(4, 40), "seed": number}
    return {"model": EMBEDDED_NAME, "messages": said, "stream": True, **more}


def _lags(subject: HttpSubject) -> Counter[float]:
    """How many looks found the loop at most so late, by the histogram's bounds in seconds."""
    found = re.findall(
        r'^ov_event_loop_lag_seconds_bucket{le="([^"]+)"} (\S+)$', subject.metrics(), re.MULTILINE
    )
    return Counter({float(bound): int(float(count)) for bound, count in found})


def _quantile(lags: Counter[float], share: float) -> float:
    bounds = sorted(lags)
    return next(bound for bound in bounds if lags[bound] >= share * lags[bounds[-1]])


def _memory_mb(subject: HttpSubject) -> float:
    return psutil.Process(subject.process.pid).memory_info().rss / 1e6
