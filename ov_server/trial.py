"""The process in which grammars are made and tried, on a tiny model that is nobody else's.

`python -m ov_server.trial FD`: is told a model's folder, then answers questions until the socket is
closed. What a hostile schema can do, it does here: within so much time and memory, behind which
the process is ended.
"""

import math
import os
import resource
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from . import cache
from .answergrammar import Cost, Demand, Made, Refused, make
from .channel import Channel
from .core import Sampling
from .errors import said
from .grammars.completion import Network
from .memory import give_memory_back
from .schemacheck import fits
from .stepping import Pipeline, Plan
from .trials import Check, Complete, Failure, Question, Start

_CPU_S = 6
"""CPU seconds that an answer may take, on all cores together, ..."""
_CPU_S_A_TOOL = 0.1
"""... and so many more for each function."""
_CHECK_S = 3
"""CPU seconds for completing or checking an answer."""
_COMPILE_S = 4
"""CPU seconds that compiling a grammar may take: the model's own pipeline does it once more, and
all answers stand still meanwhile."""
_DOUBTFUL = 2
"""So many times a limit another trial, on a machine that has less to do, might keep it."""
_MEMORY_GB = 2
"""Address space that answers may take beyond what the process has when it is ready."""
_KEPT_MB = 400
"""What the runtime keeps of grammars, some 10 MB of each, after which the pipeline is made anew."""
_TOKENS = 24
"""Tokens that are drawn from each grammar: one may compile, and be slow to follow."""
_TINY = 20_000_000
"""Bytes that the tiny model and another one's tokenizer take on disk, at least."""
_STEP_S = 0.05
"""CPU seconds that a token may take: all answers of a model would wait so long for each."""


def serve(channel: Channel) -> None:
    """Answers questions one by one until the other side hangs up."""
    start: Start = channel.receive()
    try:
        tiny = _Tiny(start.model, start.tiny, start.mute) if start.model and start.tiny else None
    except Exception as error:
        channel.send(said(error))
        return
    _limit_memory()
    channel.send(None)
    while True:
        question = channel.receive()
        signal.setitimer(signal.ITIMER_PROF, _limit(question))  # its signal ends the process
        try:
            answer = _answer(tiny, question)
        except Refused as refused:
            answer = Failure(refused.reason, refused.param, refused.lasting)
        except (MemoryError, RecursionError):
            param = question.param if isinstance(question, Demand) else None
            answer = Failure("It is too large, or nested too deeply. Make it simpler.", param)
        except Exception as error:  # ours: nobody else is to wait for a new process
            traceback.print_exc()
            param = question.param if isinstance(question, Demand) else None
            answer = Failure(f"The server makes no grammar of it: {said(error)}.", param)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(answer)


def _limit(question: Question) -> float:
    if not isinstance(question, Demand):
        return _CHECK_S
    return _CPU_S + _CPU_S_A_TOOL * len(question.tools)


def _answer(tiny: "_Tiny | None", question: Question) -> Any:
    match question:
        case Demand():
            assert tiny is not None
            made = make(question, tiny.mute)
            return replace(made, cost=_cost(tiny, made, question))
        case Complete():
            return Network(question.hold.rooted()).rest(question.text)
        case Check():
            return fits(question.schema, question.text)


def _cost(tiny: "_Tiny", made: Made, demand: Demand) -> Cost:
    """Tries a grammar. Of many functions only the one that is called will be compiled."""
    grammar, param = made.grammar, demand.param
    if not made.by_name:
        return tiny.attempt(grammar.ebnf(*grammar.needs), param, _COMPILE_S)
    whole = tiny.attempt(grammar.ebnf(*grammar.needs), param, math.inf)
    heaviest = tiny.attempt(grammar.ebnf(grammar.heaviest()), param, _COMPILE_S)
    return Cost(whole.memory, heaviest.seconds)


class _Tiny:
    """The tiny model's pipeline. A grammar that fails costs it, and it is made anew."""

    def __init__(self, like: Path, folder: Path, mute: frozenset[int]):
        """`folder` is written, unless it is there: a model with the tokens of the one at `like`.
        `mute`: bytes that none of them holds."""
        self.mute = mute
        self._folder = cache.folder(folder, lambda new: _write_tiny(new, like), _TINY)
        self._pipeline: Pipeline | None = self._made()
        self._number = 0
        self._kept = 0

    def _made(self) -> Pipeline:
        from .pipelines import Paged

        one_thread = {"INFERENCE_NUM_THREADS": 1, "ENABLE_MMAP": False}
        return Paged(self._folder, "CPU", one_thread, kv_cache_gb=0, kv_blocks=8, chunk=32)

    def attempt(self, grammar: str, param: str, limit: float) -> Cost:
        """What compiling the grammar costs. Raises Refused when the runtime can't, takes longer
        than `limit`, or is slow to follow it."""
        self._pipeline = self._pipeline or self._made()
        before = _resident()
        try:
            compiling, *following = self._draw(self._pipeline, grammar, param)
        finally:
            kept = max(0, _resident() - before)
            self._kept += kept
            if self._kept > _KEPT_MB * 1_000_000:
                self._pipeline, self._kept = None, 0
                give_memory_back()
        if compiling > limit:
            raise Refused(
                f"Compiling its grammar takes {compiling:.1f} s of CPU time, and the model's other "
                "answers would stand still. Make it simpler: smaller bounds of lengths and counts, "
                "fewer patterns.",
                param,
                lasting=compiling > _DOUBTFUL * limit,
            )
        each = sum(following) / len(following) if following else 0
        if each > _STEP_S:
            raise Refused(
                "Following its grammar takes too long for each token. Make it less ambiguous, or "
                "its bounds of lengths and counts smaller.",
                param,
                lasting=each > _DOUBTFUL * _STEP_S,
            )
        return Cost(kept, compiling)

    def _draw(self, pipeline: Pipeline, grammar: str, param: str) -> list[float]:
        """Draws some tokens: the CPU time of each, the first one's with that of compiling."""
        sampling = Sampling(temperature=1.0, top_k=1000)
        self._number += 1
        steps: list[float] = []
        try:
            pipeline.add(
                self._number, [0], Plan(sampling, _TOKENS, grammar=grammar, seed=1), _TOKENS
            )
            while pipeline.busy():
                begun = time.process_time()
                pipeline.step()
                steps.append(time.process_time() - begun)
        except Exception as error:
            self._pipeline = None
            raise Refused(f"The runtime can't use it: {said(error)}. Change it.", param) from None
        return steps or [0.0]


def _write_tiny(folder: Path, like: Path) -> None:
    from .pipelines import load_tokenizer
    from .tinymodel import write

    vocabulary = load_tokenizer(like).get_vocab()
    write(folder, like, max(vocabulary.values()) + 1)


def _resident() -> int:
    """Bytes of memory."""
    return psutil.Process().memory_info().rss


def _limit_memory() -> None:
    most = psutil.Process().memory_info().vms + _MEMORY_GB * 1_000_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    os.nice(10)  # answers in the making go first
    with suppress(ConnectionError, EOFError, KeyboardInterrupt):
        serve(Channel(socket.socket(fileno=int(sys.argv[1]))))
