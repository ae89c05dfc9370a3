"""The process in which grammars are made and tried, on a tiny model that is nobody else's.

`python -m ov_server.trial FD`: is told a model's folder, then answers questions until the socket is
closed. What a hostile schema can do, it does here: within so much time and memory, behind which
the process is ended.
"""

import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from .answergrammar import Demand, Refused, make
from .channel import Channel
from .core import Sampling
from .errors import said
from .grammars.completion import Network
from .grammars.grammar import Grammar, ebnf
from .memory import give_memory_back
from .schemacheck import fits
from .stepping import Pipeline, Plan
from .trials import Check, Complete, Failure, Question

_CPU_S = 6
"""CPU seconds that an answer may take, on all cores together, ..."""
_CPU_S_A_TOOL = 0.1
"""... and so many more for each function."""
_MEMORY_GB = 2
"""Address space that answers may take beyond what the process has when it is ready."""
_KEPT_MB = 400
"""What the runtime keeps of grammars, some 10 MB of each, after which the pipeline is made anew."""
_TOKENS = 24
"""Tokens that are drawn from each grammar: one may compile, and be slow to follow."""
_STEP_S = 0.05
"""CPU seconds that a token may take: all answers of a model would wait so long for each."""


def serve(channel: Channel) -> None:
    """Answers questions one by one until the other side hangs up."""
    try:
        tiny = _Tiny(channel.receive())
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
            answer = Failure(refused.reason, refused.param)
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
    functions = len(question.tools) if isinstance(question, Demand) else 0
    return _CPU_S + _CPU_S_A_TOOL * functions


def _answer(tiny: "_Tiny", question: Question) -> Any:
    match question:
        case Demand():
            made = make(question)
            return replace(made, memory=tiny.attempt(made.whole, question.param))
        case Complete():
            return Network(question.grammar).rest(question.text)
        case Check():
            return fits(question.schema, question.text)


class _Tiny:
    """The tiny model's pipeline. A grammar that fails costs it, and it is made anew."""

    def __init__(self, like: Path):
        from .pipelines import load_tokenizer
        from .tinymodel import write

        self._home = tempfile.TemporaryDirectory(prefix="ov-trial-")
        vocabulary = load_tokenizer(like).get_vocab()
        write(Path(self._home.name), like, max(vocabulary.values()) + 1)
        self._pipeline: Pipeline | None = self._made()
        self._number = 0
        self._kept = 0

    def _made(self) -> Pipeline:
        from .pipelines import Paged

        one_thread = {"INFERENCE_NUM_THREADS": 1, "ENABLE_MMAP": False}
        folder = Path(self._home.name)
        return Paged(folder, "CPU", one_thread, kv_cache_gb=0, kv_blocks=8, chunk=32)

    def attempt(self, grammar: Grammar, param: str) -> int:
        """The bytes that the runtime keeps of the grammar. Raises Refused when it can't compile
        it, or is slow to follow it."""
        before = _resident()
        self._draw(grammar, param)
        kept = max(0, _resident() - before)
        self._kept += kept
        if self._kept > _KEPT_MB * 1_000_000:
            self._pipeline, self._kept = None, 0
            give_memory_back()
        return kept

    def _draw(self, grammar: Grammar, param: str) -> None:
        """Draws some tokens."""
        sampling = Sampling(temperature=1.0, top_k=1000)
        plan = Plan(sampling, _TOKENS, grammar=ebnf(grammar), seed=1)
        self._pipeline = self._pipeline or self._made()
        self._number += 1
        steps: list[float] = []
        try:
            self._pipeline.add(self._number, [0], plan, _TOKENS)
            while self._pipeline.busy():
                begun = time.process_time()
                self._pipeline.step()
                steps.append(time.process_time() - begun)
        except Exception as error:
            self._pipeline = None
            raise Refused(f"The runtime can't use it: {said(error)}. Change it.", param) from None
        if len(steps) > 1 and sum(steps[1:]) / len(steps[1:]) > _STEP_S:
            raise Refused(
                "Following its grammar takes too long for each token. Make it less ambiguous, or "
                "its bounds of lengths and counts smaller.",
                param,
            )


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
