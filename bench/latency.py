"""Parts `arrivals`, what running answers feel of arriving prompts, and `fairness`."""

import asyncio
import time
from statistics import median, quantiles

from ov_server.modelfiles import EMBEDDED_NAME

from . import client, loads, subjects
from .loads import Run
from .machine import moment
from .pairs import measure, ratios
from .quiet import Patience, mark
from .report import Section, at_least, at_most, line

_PAIRS, _ROUNDS = 5, 5
_HEALTH_EVERY_S = 0.05


def arrivals(patience: Patience) -> Section:
    with subjects.server() as ours, subjects.bare() as bare:
        for subject in (ours, bare):
            subject.run(loads.arrivals("warm up"))
        pairs = measure(ours, bare, lambda k: loads.arrivals(f"arrivals {k}"), _PAIRS, patience)
    return Section(
        "arrivals",
        "Arriving prompts",
        "Four answers of 64 tokens are streaming when four prompts of about 800 tokens arrive, "
        "16 tokens to answer each. Gaps are those between the streaming answers' tokens from the "
        "arrival on. The bare pipeline reads prompts in its default chunks of 256 tokens.",
        "bare pipeline",
        (
            ratios("gap between tokens, p95", pairs, _p95, "ms", at_most(1 / 3)),
            ratios("gap between tokens, p50", pairs, _p50, "ms"),
            ratios("longest gap", pairs, lambda run: max(_gaps(run)), "ms"),
            ratios(
                "all tokens generated, in total",
                pairs,
                lambda run: run.tokens_per_s,
                "tokens/s",
                at_least(0.85),
            ),
            ratios("slowest first token of those that arrive", pairs, _slowest, "s"),
        ),
        moment(),
    )


def _gaps(run: Run) -> list[float]:
    """Milliseconds."""
    arrival = min(answer.sent_at for answer in run.then)
    return [gap * 1e3 for answer in run.first for gap in answer.gaps_after(arrival)]


def _p50(run: Run) -> float:
    return median(_gaps(run))


def _p95(run: Run) -> float:
    return quantiles(_gaps(run), n=20)[-1]


def _slowest(run: Run) -> float:
    return max(answer.first_token_s for answer in run.then)


def fairness(patience: Patience) -> Section:
    shares: list[float] = []
    health: list[float] = []
    noise: list[float] = []
    with subjects.server() as ours:
        ours.run(loads.short("warm up", 16))
        for round_ in range(_ROUNDS):
            patience.wait()
            before = mark()
            run, answers = asyncio.run(_watched(ours.port, f"fairness {round_}"))
            noise.append(before.others())
            rates = [answer.tokens_per_s for answer in run.first]
            shares.append(min(rates) / max(rates))
            health.append(median(answers) * 1e3)
    return Section(
        "fairness",
        "Fairness",
        "Sixteen answers of 64 tokens at once, while GET /health is asked every 50 ms. The single "
        "measurements are five runs.",
        "",
        (
            line(
                "slowest answer's tokens/s over the fastest's",
                shares,
                "",
                at_least(0.5),
                others_cpu=noise,
            ),
            line("GET /health, median", health, "ms", at_most(50), others_cpu=noise),
        ),
        moment(),
    )


async def _watched(port: int, seed: str) -> tuple[Run, list[float]]:
    """A run, and the seconds that each GET /health took meanwhile."""
    took: list[float] = []

    async def look() -> None:
        while True:
            sent_at = time.perf_counter()
            await client.health(port)
            took.append(time.perf_counter() - sent_at)
            await asyncio.sleep(max(0.0, _HEALTH_EVERY_S - took[-1]))

    looking = asyncio.create_task(look())
    try:
        run = await client.send(port, EMBEDDED_NAME, loads.short(seed, 16))
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    return run, took
