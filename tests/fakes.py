"""Stand-ins at the seams: an engine, a loader, a clock, a pipeline, and models on disk.

Nothing of ours is patched: each of them is passed where the real one would be.
"""

import asyncio
import json
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from main import Models
from ov_server.cancellation import Cancellation
from ov_server.core import (
    ChatRequest,
    Done,
    Engine,
    EngineStats,
    Event,
    Finish,
    Role,
    Text,
    Timings,
    TokenLogprob,
    Usage,
)
from ov_server.entries import Entry
from ov_server.errors import LoadFailed
from ov_server.modelfiles import ModelFiles
from ov_server.settings import Settings
from ov_server.stepping import Output, Pipeline, PipelineLost, Plan

PATIENCE_S = 5
"""Only a broken test or a bug waits this long."""

T = TypeVar("T")


async def soon(work: Awaitable[T]) -> T:
    """The result of what should be over at once; TimeoutError instead of a test that hangs."""
    return await asyncio.wait_for(work, PATIENCE_S)


async def settled() -> None:
    """Lets everything on the loop run that can run by itself."""
    for _ in range(30):
        await asyncio.sleep(0)


async def until(ready: Callable[[], bool]) -> None:
    """Waits for what tasks or threads bring about without telling."""
    async with asyncio.timeout(PATIENCE_S):
        while not ready():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0)


async def happens(event: threading.Event) -> None:
    """Waits for what another thread tells."""
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


# The engine.


class Deaf(asyncio.Event):
    """A gate at which no halt is heard."""


Step = str | Event | Exception | asyncio.Event


class FakeEngine:
    """An engine that says what was put into its queue, and remembers what it was asked."""

    def __init__(
        self,
        name: str = "fake",
        *,
        device: str = "CPU",
        warning: str | None = None,
        context_length: int = 2048,
    ):
        self.name = name
        self.device = device
        self.warning = warning
        self.context_length = context_length
        self.failed = False
        self.stuck_s = 0.0
        self.history: list[ChatRequest] = []
        self.running = 0
        self.begun = asyncio.Event()
        self.closed = threading.Event()
        self.close_error: Exception | None = None
        self.stats_error: Exception | None = None
        self._scripts: deque[tuple[Step, ...]] = deque()

    def enqueue(self, *steps: Step) -> None:
        """The next answer: texts, events, errors to raise, gates to wait at.

        Role comes first unless the answer has one or begins with an error; Finish and Done come
        last unless it has them.
        """
        self._scripts.append(steps)

    async def chat(
        self, request: ChatRequest, halt: Cancellation | None = None
    ) -> AsyncGenerator[Event]:
        self.history.append(request)
        steps = self._scripts.popleft() if self._scripts else ("Hello", ", ", "world")
        self.running += 1
        self.begun.set()
        halted = asyncio.Event()
        try:
            with (halt or Cancellation()).ending(halted.set):
                for step in _completed(steps, request):
                    if isinstance(step, asyncio.Event):
                        await _either(step, *(() if isinstance(step, Deaf) else (halted,)))
                    elif isinstance(step, Exception):
                        raise step
                    elif halted.is_set() and not isinstance(step, Role):
                        break
                    else:
                        yield step
                if halted.is_set():
                    for index in range(request.choices):
                        yield Finish("stop", index, "cancelled")
                    yield Done(Usage(1, 1), Timings(1, 20.0, 1, 100.0))
        finally:
            self.running -= 1

    def memory_mb(self) -> int:
        return 321

    def stats(self) -> EngineStats:
        if self.stats_error is not None:
            raise self.stats_error
        return EngineStats(running=self.running, waiting=0, kv_usage=0.25, rebuilds=0)

    def close(self) -> None:
        self.closed.set()
        if self.close_error is not None:
            raise self.close_error


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _completed(
    steps: tuple[Step, ...], request: ChatRequest
) -> Iterator[Event | Exception | asyncio.Event]:
    kinds = {type(step) for step in steps}
    if Role not in kinds and not (steps and isinstance(steps[0], Exception)):
        yield Role()
    answers = range(request.choices)
    for step in steps:
        if isinstance(step, str):
            logprobs = (TokenLogprob(step, -0.5),) if request.logprobs else ()
            yield from (Text(step, index, logprobs) for index in answers)
        else:
            yield step
    if Finish not in kinds:
        yield from (Finish("stop", index) for index in answers)
    if Done not in kinds:
        said = sum(isinstance(step, str | Text) for step in steps) * request.choices
        words = sum(len(message.content.split()) for message in request.messages)
        yield Done(Usage(words, said), Timings(words, 20.0, said, 100.0))


# Loading and the clock.


class Gate:
    """Where a load stands still until the test lets it go on."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf
        self.reached = threading.Event()
        self.open = threading.Event()


class FakeLoader:
    """Makes fake engines; can be held, and can fail."""

    def __init__(self, prepare: Callable[[FakeEngine], None] | None = None) -> None:
        self.engines: list[FakeEngine] = []
        self.begun: list[str] = []
        self.called_off: list[str] = []
        self.errors: dict[str, Exception] = {}
        self._gates: dict[str, Gate] = {}
        self._prepare = prepare

    def hold(self, name: str, *, deaf: bool = False) -> Gate:
        """The next load of this model waits for the gate; `deaf`: it can't be called off."""
        gate = self._gates[name] = Gate(deaf=deaf)
        return gate

    def __call__(
        self, entry: Entry, files: ModelFiles, settings: Settings, cancellation: Cancellation
    ) -> Engine:
        self.begun.append(entry.name)
        if (gate := self._gates.pop(entry.name, None)) is not None:
            with nullcontext() if gate.deaf else cancellation.ending(gate.open.set):
                gate.reached.set()
                assert gate.open.wait(PATIENCE_S)
        if cancellation.called and not (gate and gate.deaf):
            self.called_off.append(entry.name)
            raise LoadFailed("It is called off.")
        if (error := self.errors.pop(entry.name, None)) is not None:
            raise error
        engine = FakeEngine(entry.name)
        if self._prepare is not None:
            self._prepare(engine)
        self.engines.append(engine)
        return engine


class FakeTimer:
    def __init__(self, at: float, run: Callable[[], object]):
        self.at = at
        self.run = run
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A clock by slots.Clock, which stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> FakeTimer:
        timer = FakeTimer(self.now + delay, lambda: callback(*args))
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Goes on, and runs what is due by then in the order of its time."""
        self.now += seconds
        due = [t for t in self._timers if t.at <= self.now]
        self._timers = [t for t in self._timers if t.at > self.now]
        for timer in sorted(due, key=lambda t: t.at):
            if not timer.cancelled:
                timer.run()


class Visit:
    """One request as Models sees it: comes, holds its lease, ends or leaves."""

    def __init__(self, models: Models, name: str):
        self._end = asyncio.Event()
        self._engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._hold(models, name))

    async def _hold(self, models: Models, name: str) -> None:
        try:
            async with models.lease(name) as engine:
                self._engine.set_result(engine)
                await self._end.wait()
        except Exception as error:
            self._engine.set_exception(error)
            self._engine.exception()

    async def engine(self) -> Engine:
        """The engine that it got; raises the error that it got instead."""
        return await soon(asyncio.shield(self._engine))

    @property
    def waits(self) -> bool:
        return not self._engine.done()

    async def end(self) -> None:
        self._end.set()
        await soon(self.task)

    async def leave(self) -> None:
        """Its client goes away."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


# The pipeline.


class Turnstile:
    """Holds another thread at a point until the test lets it pass, once or for good."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)
        self._open = threading.Event()

    def arrive(self) -> None:
        """The other thread is here."""
        if not self._open.is_set():
            self._arrived.release()
            assert self._permits.acquire(timeout=PATIENCE_S)

    async def arrival(self) -> None:
        assert await asyncio.to_thread(self._arrived.acquire, timeout=PATIENCE_S)

    async def one(self) -> None:
        """Lets it pass, and waits until it is here again."""
        self._permits.release()
        await self.arrival()

    def open(self) -> None:
        self._open.set()
        self._permits.release()


@dataclass(frozen=True)
class Added:
    """One call of add(): whose prompt, how many tokens it had, and how many it may give."""

    who: str
    tokens: int
    max_tokens: int
    plan: Plan


class FakeRuntime:
    """What the fake pipelines of one Batch share: the answers, the faults, and what was called.

    A token is a character's number in UTF-16, so an emoji is two, and a half one decodes to U+FFFD
    as a model's does. A prompt is told from others by its first character, and its
    answer goes on from what the prompt already holds of it, as a model's would.
    """

    def __init__(self, *, block: int = 4, keeps_prefixes: bool = True) -> None:
        self.block = block
        self.keeps_prefixes = keeps_prefixes
        self.prompts: dict[str, list[int]] = {}
        self.answers: dict[str, list[int]] = {}
        self.reasons: dict[str, Literal["stop", "length"]] = {}
        self.poison: dict[str, int] = {}
        """By prompt: the step throws instead of giving its token of this index."""
        self.losses = 0
        """So many of the next steps find that their process is gone."""
        self.memory: set[tuple[str, int]] = set()
        """Prompt and index of the token in whose place the KV cache is full, once."""
        self.ends_apart: set[str] = set()
        """Prompts whose end comes in an output of its own, without a token."""
        self.added: list[Added] = []
        self.cancelled: list[str] = []
        self.steps: list[list[str]] = []
        self.made: list[weakref.ref[FakePipeline]] = []
        self.alive_at_rebuild = 0
        self.make_errors: deque[Exception] = deque()
        self.decode_errors: deque[Exception] = deque()
        self.callers: dict[str, set[int]] = {}
        self.stepping = Turnstile()
        self.making: Turnstile | None = None

    def make(self) -> Pipeline:
        self.alive_at_rebuild += sum(ref() is not None for ref in self.made)
        if self.making is not None and self.made:
            self.making.arrive()
        if self.made and self.make_errors:
            raise self.make_errors.popleft()
        pipeline = FakePipeline(self)
        self.made.append(weakref.ref(pipeline))
        return pipeline

    def called(self, method: str) -> None:
        self.callers.setdefault(method, set()).add(threading.get_ident())

    def decode(self, batch: list[list[int]]) -> list[str]:
        if self.decode_errors:
            raise self.decode_errors.popleft()
        return [_text(tokens) for tokens in batch]

    def script(self, prompt: str, answer: str, reason: Literal["stop", "length"] = "stop") -> None:
        self.prompts[prompt[0]] = [ord(c) for c in prompt]
        self.answers[prompt[0]] = _units(answer)
        self.reasons[prompt[0]] = reason

    def sliced(self, who: str) -> list[int]:
        """How long the prompt was at each of its adds."""
        return [added.tokens for added in self.added if added.who == who]


def _units(text: str) -> list[int]:
    data = text.encode("utf-16-le")
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]


def _text(units: list[int]) -> str:
    data = b"".join(unit.to_bytes(2, "little") for unit in units)
    return data.decode("utf-16-le", "replace")


@dataclass
class _Sequence:
    who: str
    at: int
    """Index of the answer's next token; below 0 while only a part of the prompt is read."""
    left: int


class FakePipeline:
    """A pipeline by batch.Pipeline: one token for each sequence and step."""

    def __init__(self, runtime: FakeRuntime):
        self.block = runtime.block
        self.keeps_prefixes = runtime.keeps_prefixes
        self._runtime = runtime
        self._live: dict[int, _Sequence] = {}
        self._to_free = False
        self._broken = False
        self._closed = False

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        runtime = self._runtime
        runtime.called("add")
        who = chr(prompt[0])
        whole, answer = runtime.prompts[who], runtime.answers[who]
        at = len(prompt) - len(whole)
        expected = whole[: len(prompt)] if at < 0 else whole + answer[:at]
        assert prompt == expected, f"{who} came back with other tokens"
        runtime.added.append(Added(who, len(prompt), max_tokens, plan))
        self._live[key] = _Sequence(who, at, max_tokens)

    def cancel(self, key: int) -> None:
        self._runtime.called("cancel")
        if (sequence := self._live.pop(key, None)) is not None:
            self._runtime.cancelled.append(sequence.who)
            self._to_free = True

    def busy(self) -> bool:
        return bool(self._live) or self._to_free

    def close(self) -> None:
        self._closed = True
        if threading.get_ident() not in self._runtime.callers.get("step", ()):
            self._runtime.stepping.open()  # ends the step that another thread is in

    def kv_usage(self) -> float:
        self._runtime.called("kv_usage")
        return 0.5

    def step(self) -> list[Output]:
        runtime = self._runtime
        runtime.called("step")
        runtime.stepping.arrive()
        if self._broken:
            raise RuntimeError("cannot be called when we are already in scheduling phase")
        if self._closed:
            raise RuntimeError("the pipeline is closed")
        if runtime.losses:
            runtime.losses -= 1
            raise PipelineLost("its process ended")
        runtime.steps.append([s.who for s in self._live.values()])
        self._to_free = False
        for sequence in self._live.values():
            if runtime.poison.get(sequence.who) == sequence.at:
                self._broken = True
                raise RuntimeError(f"poison in {sequence.who}")
        return [o for key in list(self._live) for o in self._advance(key, self._live[key])]

    def _advance(self, key: int, sequence: _Sequence) -> list[Output]:
        runtime, place = self._runtime, (sequence.who, sequence.at)
        if place in runtime.memory:
            runtime.memory.discard(place)
            del self._live[key]
            return [Output(key, [], [], "memory")]
        if sequence.at < 0:
            del self._live[key]
            return [Output(key, [ord("?")], [0.0], "length")]
        answer = runtime.answers[sequence.who]
        if sequence.at == len(answer):
            del self._live[key]
            return [Output(key, [], [], runtime.reasons[sequence.who])]
        token = answer[sequence.at]
        sequence.at += 1
        sequence.left -= 1
        finish = None
        if sequence.at == len(answer) and sequence.who not in runtime.ends_apart:
            finish = runtime.reasons[sequence.who]
        elif not sequence.left:
            finish = "length"
        if finish:
            del self._live[key]
        return [Output(key, [token], [-0.25], finish)]


# Models on disk.


def model_folder(parent: Path, name: str, *, weights: int = 100, context: int = 2048) -> Path:
    """A folder that looks like a converted model; writing it again is another conversion."""
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / "openvino_model.xml", "<net/>")
    put(folder / "openvino_model.bin", "w" * weights)
    put(folder / "openvino_tokenizer.xml", "<net/>")
    put(folder / "config.json", json.dumps({"max_position_embeddings": context}))
    return folder


def put(path: Path, text: str, *, age_s: float = 60) -> None:
    """Replaces a file in one stroke, as the converter does, some time after it was written."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    written = time.time() - age_s
    os.utime(part, (written, written))
    os.replace(part, path)


def write_registry(path: Path, models: dict[str, Any], **more: Any) -> Path:
    """A registry with these entries; an entry is its keys."""
    put(path, json.dumps({"version": 1, "models": models} | more))
    return path


def models_on_disk(parent: Path, *names: str, **keys: dict[str, Any]) -> Path:
    """A registry and a folder for each of its models; `keys` are entries' own keys by name."""
    for name in names:
        model_folder(parent, name)
    entries = {name: {"path": name, **keys.get(name, {})} for name in names}
    return write_registry(parent / "registry.json", entries)


# Log lines.


class Lines(logging.Handler):
    """The records of a logger, kept."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def facts(self) -> list[dict[str, Any]]:
        return [getattr(record, "facts", {}) for record in self.records]

    def __str__(self) -> str:
        return "\n".join(f"{r.getMessage()} {getattr(r, 'facts', '')}" for r in self.records)


@contextmanager
def log_lines(name: str) -> Generator[Lines]:
    """What a logger says meanwhile."""
    logger, lines = logging.getLogger(name), Lines()
    before = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before)
