"""Parts `throughput`, against the bare pipeline, and `peer`, against llama.cpp's server."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from . import loads, subjects
from .loads import Load
from .machine import moment
from .pairs import Pair, measure, ratios
from .quiet import Patience
from .report import Goal, Line, Section, at_least, at_most, line
from .subjects import Subject


@dataclass(frozen=True, slots=True)
class Contest:
    """One load, measured in so many pairs."""

    name: str
    load: Callable[[str, int], Load]
    streams: int
    pairs: int
    goal: Goal | None
    first_token: Goal | None = None
    """Of the server's milliseconds above the other's."""

    def texts(self, round_: int) -> Load:
        return self.load(f"{self.name} {round_}", self.streams)


def throughput(patience: Patience) -> Section:
    lines: list[Line] = []
    with subjects.server() as ours, subjects.bare() as bare:
        _warm_up([ours, bare])
        for contest in _against_bare():
            lines += _contend(contest, ours, bare, patience)
    return Section(
        "throughput",
        "Throughput, against the bare pipeline",
        "64 tokens each, greedy. Short prompts have about 30 tokens; long ones about 900 with "
        "nothing in common; those with a shared prefix 700 that one request brought before, and "
        "200 of their own. The bare pipeline is GenAI's ContinuousBatchingPipeline in a process "
        "of its own, with its default chunk of 256 tokens, prefix caching and the server's cache "
        "size. Its prompts are token ids before the clock starts and its answers stay token ids.",
        "bare pipeline",
        tuple(lines),
        moment(),
    )


def _against_bare() -> Iterable[Contest]:
    goal = at_least(0.97)
    first = at_most(10)
    for streams, pairs in ((1, 11), (4, 7), (8, 7), (16, 5)):
        level = _level(streams)
        alone = first if streams == 1 else None
        yield Contest(f"short prompts, {level}", loads.short, streams, pairs, goal, alone)
    for streams, pairs in ((1, 5), (4, 3), (8, 3), (16, 3)):
        level = _level(streams)
        alone = first if streams == 1 else None
        yield Contest(f"shared prefix, {level}", loads.shared, streams, pairs, goal, alone)
        yield Contest(f"long prompts, {level}", loads.long, streams, pairs, goal, alone)


def peer(patience: Patience) -> Section:
    lines: list[Line] = []
    with subjects.server() as ours:
        _warm_up([ours])
        for contest in _against_peer():
            with subjects.peer(contest.streams) as llama:
                _warm_up([llama])
                lines += _contend(contest, ours, llama, patience)
    return Section(
        "peer",
        "Throughput, against llama.cpp's server",
        "The same loads. llama.cpp's server has the same GGUF file, as many slots as there are "
        "streams, 2048 tokens of context a slot, a thread a core, and its defaults for the rest, "
        "its prompt cache among them. It keeps a prefix in the slots that have read it, so the "
        "shared prefix is measured twice: brought before by one request, and by one for each "
        "slot. Its threads wait for each other in a busy loop, so other processes slow it down "
        "more than they slow down the server.",
        "llama.cpp",
        tuple(lines),
        moment(),
    )


def _against_peer() -> Iterable[Contest]:
    every_slot = partial(loads.shared, known_by=8)
    yield Contest("short prompts, 1 stream", loads.short, 1, 7, None)
    yield Contest("short prompts, 8 streams", loads.short, 8, 5, at_least(1.3))
    yield Contest("short prompts, 16 streams", loads.short, 16, 5, at_least(1.3))
    yield Contest("shared prefix, 8 streams", loads.shared, 8, 3, at_least(2.0))
    yield Contest("shared prefix that each slot has read, 8 streams", every_slot, 8, 3, None)


def _contend(contest: Contest, ours: Subject, other: Subject, patience: Patience) -> list[Line]:
    pairs = measure(ours, other, contest.texts, contest.pairs, patience)
    rows = [_rates(pairs, contest)]
    if contest.first_token:
        rows.append(_first_tokens(pairs, contest))
    for row in rows:
        print(f"  {row.what}: {row.ours}, {row.other}: {row.measured}", flush=True)
    return rows


def _rates(pairs: list[Pair], contest: Contest) -> Line:
    return ratios(contest.name, pairs, lambda run: run.tokens_per_s, "tokens/s", contest.goal)


def _first_tokens(pairs: list[Pair], contest: Contest) -> Line:
    ours = [pair.ours.first[0].first_token_s * 1e3 for pair in pairs]
    other = [pair.other.first[0].first_token_s * 1e3 for pair in pairs]
    return line(
        f"{contest.name}: time to first token",
        [a - b for a, b in zip(ours, other, strict=True)],
        "ms",
        contest.first_token,
        ours=ours,
        other=other,
        their_unit="ms",
        others_cpu=[pair.others_cpu for pair in pairs],
    )


def _level(streams: int) -> str:
    return f"{streams} {'stream' if streams == 1 else 'streams'}"


def _warm_up(subjects_: Iterable[Subject]) -> None:
    """Loads the model and meets every kind of load once."""
    for subject in subjects_:
        subject.run(loads.short("warm up", 1))
        subject.run(loads.shared("warm up", 4))
