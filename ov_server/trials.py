"""The grammars of one model's requests: made and tried in a process of their own, where one that
fails, or never ends, takes nobody's pipeline with it. What came of a demand is remembered.

Answers are completed in another one and checked in a third: no answer waits for somebody's grammar,
nor for what nobody waits for.
"""

import asyncio
import logging
import signal
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from .answergrammar import Demand, Made
from .channel import Child
from .errors import BadRequest, EngineFailed, Unavailable
from .grammars.grammar import Hold

log = logging.getLogger(__name__)

_START_LIMIT_S, _WORK_LIMIT_S = 120, 60
_REMEMBERED = 256
_LONGEST = 2_000_000
"""Characters of a request's functions and format together."""
_MAKERS = 2
"""Processes that make grammars, so that one that takes long keeps nobody waiting; the second one
starts when it is needed."""
_MOST_CHECKS = 64
"""Checks that may wait; they take a second each at the worst, and only a figure comes of them."""
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of processes that somebody ended. Those that end themselves do so for their limits."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first word to a process: the model whose tokens grammars are tried with, and where the
    tiny one that speaks them is kept. Without a model it tries none."""

    model: Path | None = None
    tiny: Path | None = None
    mute: frozenset[int] = frozenset()
    """Bytes that no token of the model holds."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A question: the shortest end of a text that was cut off."""

    hold: Hold
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """A question: whether a JSON text fits its schema."""

    schema: Mapping[str, Any] | bool
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer when nothing comes of it, with the field to blame."""

    reason: str
    param: str | None = None
    lasting: bool = True
    """Whether the same question would have the same answer."""


Question = Demand | Complete | Check

_LOST = Failure("The process that makes grammars was ended. Send the request again.", lasting=False)

_TOO_MUCH = (
    "Making a grammar of it takes too much time or memory. Make it simpler: fewer alternatives, "
    "smaller bounds of lengths and counts."
)
_TOO_DEEP = "It is nested too deeply. Make it flatter."
_TOO_LONG = (
    "Its functions and formats have {} characters, and may have {}. Leave some out, or describe "
    "them in fewer words."
)


class Trials:
    """Asks the processes, which start with the first question. Methods are the event loop's."""

    def __init__(self, model: Path, tiny: Path, mute: frozenset[int] = frozenset()):
        self._makers = _Asker(Start(model, tiny, mute), _MAKERS)
        self._completers = _Asker(Start())
        self._checkers = _Asker(Start())
        self._checking = 0
        self._remembered: OrderedDict[str, Made | Failure] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def made(self, demand: Demand, client: str = "") -> Made:
        """The grammar that answers are held to; a client has one tried at a time, so that others
        need not wait behind many of its. Raises BadRequest, with the reason and the field,
        when there is none or the runtime refuses it; Unavailable when its process was ended."""
        known = await self._known(demand, client)
        if known == _LOST:
            raise Unavailable(_LOST.reason)
        if isinstance(known, Failure):
            # remembered, perhaps of the same format under another of its names
            param = "tools" if known.param == "tools" else demand.param
            said = f"{param}: {known.reason}"
            raise BadRequest(said, param=param, code="invalid_schema")
        return known

    async def _known(self, demand: Demand, client: str) -> Made | Failure:
        try:
            key = demand.key
        except RecursionError:
            return Failure(_TOO_DEEP)
        if len(key) > _LONGEST:
            return Failure(_TOO_LONG.format(len(key), _LONGEST))
        if key not in self._remembered:
            async with self._turns.setdefault(client, asyncio.Lock()):
                answer = await self._makers.ask(demand, unless=lambda: self._remembered.get(key))
            if isinstance(answer, Failure) and not answer.lasting:
                return answer
            self._remembered[key] = answer
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return self._remembered[key]

    async def rest(self, hold: Hold, text: str) -> str | None:
        """The shortest text that completes one under its grammar; None when it is too hard."""
        answer = await self._completers.ask(Complete(hold, text))
        return None if isinstance(answer, Failure) else answer

    async def fits(self, schema: Mapping[str, Any] | bool, text: str) -> bool:
        """Whether a JSON text fits the whole schema; True when that takes too long to tell, or too
        many others wait to be told."""
        if self._checking >= _MOST_CHECKS:
            return True
        self._checking += 1
        try:
            answer = await self._checkers.ask(Check(schema, text))
        finally:
            self._checking -= 1
        return isinstance(answer, Failure) or answer

    def close(self) -> None:
        """Ends the processes, and what they work on with an error."""
        for asker in (self._makers, self._completers, self._checkers):
            asker.close()


class _Asker:
    """Processes and the threads that wait for them; questions are taken up in their order."""

    def __init__(self, start: Start, most: int = 1):
        self._start = start
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="trial")
        self._children: list[Child] = []
        self._idle: list[Child] = []
        self._closed = False

    async def ask(self, question: Question, unless: Any = lambda: None) -> Any:
        """The answer, or what `unless` gives when it is the question's turn."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._pool, lambda: unless() or self._answer(question, again=True)
            )
        except (asyncio.CancelledError, RuntimeError):
            if not self._closed:
                raise
            raise Unavailable("The model is being unloaded. Send the request again.") from None

    def close(self) -> None:
        self._closed = True
        for child in list(self._children):
            child.kill()
        self._pool.shutdown(cancel_futures=True)
        for child in list(self._children):
            self._end(child)

    # On the threads.

    def _answer(self, question: Question, *, again: bool) -> Any:
        """A process that is lost is replaced: one that waited idle may have been on its way out
        when the question came, so only those that were started for it count against `again`."""
        waited = self._taken()
        child = waited or self._started()
        try:
            tools = len(question.tools) if isinstance(question, Demand) else 0
            child.channel.limit(_WORK_LIMIT_S + tools)
            child.channel.send(question)
            answer = child.channel.receive()
        except RecursionError:  # of pickling it: nothing was sent
            answer = Failure(_TOO_DEEP)
        except (EOFError, OSError):
            code = self._end(child)
            if self._closed:
                raise RuntimeError("closed") from None
            what = type(question).__name__.lower()
            if code not in _FROM_OUTSIDE:
                log.warning("a %s took too much time or memory", what)
                return Failure(_TOO_MUCH)
            log.warning("the process that worked on a %s was ended", what)
            return self._answer(question, again=waited is not None) if again else _LOST
        self._idle.append(child)
        return answer

    def _taken(self) -> Child | None:
        """One that is idle, and still there."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._end(child)
        return None

    def _started(self) -> Child:
        child = Child("ov_server.trial")
        self._children.append(child)
        child.channel.limit(_START_LIMIT_S)
        refusal = None
        try:
            if not self._closed:  # close() may have looked before it was there
                child.channel.send(self._start)
                refusal = child.channel.receive()
        except (EOFError, OSError):
            child.kill()
            refusal = f"its process ends with {child.wait()}"
        if self._closed:
            raise RuntimeError("closed")
        if refusal is not None:
            self._end(child)
            raise EngineFailed(
                f"Grammars can't be tried with this model: {refusal}. Mend that (a model can be "
                "converted again), or leave tools and formats out."
            )
        return child

    def _end(self, child: Child) -> int:
        """The exit code."""
        self._children.remove(child)
        return child.close()
