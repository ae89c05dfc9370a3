"""Part `sessions`: what it costs to keep answers on disk."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from . import loads, subjects
from .machine import moment
from .pairs import measure, ratios
from .quiet import Patience
from .report import Line, Section, at_least
from .subjects import HttpSubject


def sessions(patience: Patience) -> Section:
    lines: list[Line] = []
    with _keeping() as keeping, subjects.server() as plain:
        without = replace(plain, name="without")
        for subject in (keeping, without):
            subject.run(loads.short("warm up", 4))
        for streams, pairs in ((1, 9), (16, 9)):
            texts = lambda round_, n=streams: loads.short(f"sessions {n} {round_}", n)  # noqa: E731
            measured = measure(keeping, without, texts, pairs, patience)
            what = f"short prompts, {streams} {'stream' if streams == 1 else 'streams'}"
            rate = lambda run: run.tokens_per_s  # noqa: E731
            lines.append(ratios(what, measured, rate, "tokens/s", at_least(0.97)))
    return Section(
        "sessions",
        "What it costs to keep answers on disk",
        "A server with OV_SESSIONS_DB and one without, the same prompts in turns, 64 tokens each, "
        "greedy.",
        "without",
        tuple(lines),
        moment(),
    )


@contextmanager
def _keeping() -> Generator[HttpSubject]:
    """The server with a new file; RuntimeError where it wrote nothing into it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        with subjects.server(OV_SESSIONS_DB=path) as server:
            yield server
            if server.health()["reasons"]:
                raise RuntimeError(f"{server.health()['reasons']}")
