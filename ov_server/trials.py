"""The grammars of one model's requests: made and tried in a process of their own, where one that
fails, or never ends, takes nobody's pipeline with it. What came of a demand is remembered.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .answergrammar import Demand, Made
from .channel import Child
from .errors import BadRequest, EngineFailed
from .grammars.grammar import Grammar

log = logging.getLogger(__name__)

_START_LIMIT_S, _WORK_LIMIT_S = 120, 60
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Complete:
    """A question: the shortest end of a text that was cut off."""

    grammar: Grammar
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


Question = Demand | Complete | Check


class Trials:
    """Asks the process, which starts with the first question. Methods are the event loop's."""

    def __init__(self, folder: Path):
        """`folder`: the model, whose tokens grammars are tried with."""
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trial")
        self._remembered: OrderedDict[str, Made | Failure] = OrderedDict()
        self._child: Child | None = None
        self._closed = False

    async def made(self, demand: Demand) -> Made:
        """The grammar that answers are held to. Raises BadRequest, with the reason and the field,
        when there is none or the runtime refuses it."""
        key = demand.key
        known = self._remembered.get(key)
        if known is None:
            known = await self._ask(demand)
            assert isinstance(known, Made | Failure)
            self._remember(key, known)
        else:
            self._remembered.move_to_end(key)
        if isinstance(known, Failure):
            raise BadRequest(known.reason, param=known.param, code="invalid_schema")
        return known

    async def rest(self, grammar: Grammar, text: str) -> str | None:
        """The shortest text that completes one under the grammar; None when it is too hard."""
        answer = await self._ask(Complete(grammar, text))
        return None if isinstance(answer, Failure) else answer

    async def fits(self, schema: Mapping[str, Any] | bool, text: str) -> bool:
        """Whether a JSON text fits the whole schema; True when that takes too long to tell."""
        answer = await self._ask(Check(schema, text))
        return isinstance(answer, Failure) or answer

    def close(self) -> None:
        """Ends the process, and what it works on with an error."""
        self._closed = True
        if self._child is not None:
            self._child.kill()
        self._pool.shutdown(cancel_futures=True)
        self._end()

    def _remember(self, key: str, answer: Made | Failure) -> None:
        self._remembered[key] = answer
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    async def _ask(self, question: Question) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._answer, question)

    # On the pool's one thread.

    def _answer(self, question: Question) -> Any:
        if isinstance(question, Demand) and question.key in self._remembered:
            return self._remembered[question.key]  # made while this one waited
        tried_before = self._child is not None
        child = self._started()
        try:
            child.channel.limit(_WORK_LIMIT_S)
            child.channel.send(question)
            return child.channel.receive()
        except (EOFError, OSError):
            self._end()
            if tried_before and not self._closed:  # perhaps others left it little memory
                return self._answer(question)
            log.warning("a schema or grammar took too much time or memory; it is refused")
            param = question.param if isinstance(question, Demand) else None
            return Failure(
                "Making a grammar of it takes too much time or memory. Make it simpler: fewer "
                "alternatives, smaller bounds of lengths and counts.",
                param,
            )

    def _started(self) -> Child:
        if self._child is None:
            child = Child("ov_server.trial")
            child.channel.limit(_START_LIMIT_S)
            try:
                child.channel.send(self._folder)
                refusal = child.channel.receive()
            except (EOFError, OSError):
                refusal = f"its process ends with {child.kill()}"
            if refusal is not None or self._closed:
                child.close()
                raise EngineFailed(
                    f"Grammars can't be tried with this model: {refusal}. Leave tools and formats "
                    "out, or convert the model again."
                )
            self._child = child
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()
