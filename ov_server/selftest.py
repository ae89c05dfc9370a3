"""Whether a device answers as the CPU does, found out before it serves anybody. int4 models have
given wrong text on some of Intel's integrated GPUs without any error.

What was found is kept until the model, the devices, their driver or OpenVINO are others. Knows no
runtime.
"""

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from . import cache
from .cancellation import Cancellation
from .core import Sampling
from .errors import said
from .machine import Machine
from .maker import Site
from .memory import give_memory_back
from .stepping import Pipeline, PipelineHung, PipelineLost, Plan

log = logging.getLogger(__name__)

QUESTION = "What is the capital of France?"
BEGINNINGS = (
    "1, 2, 3, 4, 5, 6, 7,",
    "Monday, Tuesday, Wednesday,",
    "A, B, C, D, E, F,",
)
"""Texts that every model goes on with alike, and so sure of it that rounding changes nothing."""

_TOKENS = 16
_ENOUGH = 8
"""Tokens that have to agree, or half of a shorter answer: ov-doctor's rule, in samples.py. Greedy
answers part by rounding; the two pipelines' on one CPU were seen to at the seventh token."""
_STEPS = 1000
"""Far more than the prompts take; a pipeline that works on is not answering."""
_RULE = 1
"""Counts the ways in which this was judged; what was judged in another way is looked at again."""
_REMEDY = "fp16 or int8 may be right there, see docs/GPU_DRIVERS.md"

Make = Callable[[str, int], tuple[Pipeline, Site]]
"""From a device and GB of KV cache."""
Answers = list[list[int]]


class Unfit(Exception):
    """The device may not serve the model; why, and what is done instead, as the warning says it."""

    def __init__(self, trouble: str):
        super().__init__(f"{trouble}, so it runs on CPU; {_REMEDY}")


@dataclass(frozen=True, slots=True)
class Verdict:
    warning: str | None
    """Why the device is not used; None when it answers as it should."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Prompts as tokens, and how answers are read."""

    prompts: Sequence[list[int]]
    decode: Callable[[list[int]], str]


class SelfTest:
    """Of one model on one device."""

    def __init__(
        self,
        model: str,
        device: str,
        machine: Machine,
        cache_dir: Path,
        cancellation: Cancellation,
        limit_s: float = 600,
    ):
        """`model`: the stamp of its files; `limit_s`: how long a device may take to answer."""
        self._limit_s = limit_s
        self._device = device
        self._cancellation = cancellation
        names = [(each, machine.name(each)) for each in sorted(machine.devices())]
        facts = _RULE, model, device, names, machine.version, machine.driver()
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
        self._file = cache_dir / "verdicts" / f"{digest}.json"

    def verdict(self) -> Verdict | None:
        """What was found when the same was looked at before."""
        try:
            kept = json.loads(cache.read(self._file) or "null")
        except (ValueError, RecursionError):
            return None
        if not isinstance(kept, dict) or "warning" not in kept:
            return None
        warning = kept["warning"]
        return Verdict(warning) if warning is None or isinstance(warning, str) else None

    def tried(self, make: Make, kv_cache_gb: int, questions: Questions) -> tuple[Pipeline, Site]:
        """The device's pipeline, when it answers as the CPU's, which is closed before the other
        one is made: there is one copy of the weights at a time.

        Raises Unfit, and what `make` does.
        """
        started = time.monotonic()
        log.info("%s is compared with CPU first: this load takes about twice as long", self._device)
        expected, missing = self._expected(make, questions)
        give_memory_back()  # LLMPipeline leaves its weights to Python's collector
        pipeline, site = make(self._device, kv_cache_gb)
        try:
            agreed = self._judged(pipeline, questions, expected)
        except BaseException:
            pipeline.close()
            raise
        if expected is None:
            warnings = (site.warning, f"nobody knows if it is right on {self._device}: {missing}")
            return pipeline, replace(site, warning="; ".join(filter(None, warnings)))
        self._keep(Verdict(None))
        seconds = time.monotonic() - started
        told = "%s answers as CPU does: %d of %d answers, looked at in %.1f s"
        log.info(told, self._device, agreed, len(expected), seconds)
        return pipeline, site

    def _expected(self, make: Make, questions: Questions) -> tuple[Answers | None, str]:
        """What the CPU says; else why it says nothing: it may have too little memory, and the
        device one of its own."""
        try:
            pipeline, _ = make("CPU", 1)
            try:
                return self._answers(pipeline, questions), ""
            finally:
                pipeline.close()
        except Exception as error:
            if self._cancellation.called:
                raise
            return None, f"CPU, which it is compared with, does not answer ({said(error)})"

    def _judged(self, pipeline: Pipeline, questions: Questions, expected: Answers | None) -> int:
        """How many answers agree. Raises Unfit when they are too few."""
        device = self._device
        try:
            found = self._answers(pipeline, questions)
        except Exception as error:
            if self._cancellation.called:
                raise
            if isinstance(error, PipelineHung):
                raise self._unfit(f"{device} gives no answer for minutes") from None
            if isinstance(error, _Senseless):
                raise self._unfit(f"{device} answers {error}") from None
            raise Unfit(f"{device} does not answer ({said(error)})") from None
        if expected is None:
            if 2 * sum(map(_collapsed, found)) > len(found):
                raise Unfit(f"{device} says one token again and again")
            return 0
        pairs = list(zip(expected, found, strict=True))
        parted = [pair for pair in pairs if not agree(*pair)]
        if 2 * len(parted) > len(pairs):
            right, wrong = (_shown(questions.decode(tokens)) for tokens in parted[0])
            raise self._unfit(f"{device} answers otherwise than CPU ({wrong}, not {right})")
        return len(pairs) - len(parted)

    def _unfit(self, trouble: str) -> Unfit:
        """A verdict that is kept. What threw is tried again, as what does not load is."""
        unfit = Unfit(trouble)
        self._keep(Verdict(str(unfit)))
        return unfit

    def _keep(self, verdict: Verdict) -> None:
        cache.write(self._file, json.dumps({"warning": verdict.warning}))

    def _answers(self, pipeline: Pipeline, questions: Questions) -> Answers:
        """Greedy ones. Raises _Senseless, PipelineLost when it is called off, and what the
        pipeline does."""
        plan = Plan(Sampling(temperature=0.0), _TOKENS, logprobs=True)
        answers: Answers = [[] for _ in questions.prompts]
        with self._cancellation.ending(pipeline.close), self._bounded(pipeline):
            for key, prompt in enumerate(questions.prompts):
                pipeline.add(key, prompt, plan, _TOKENS)
            for _ in range(_STEPS):
                if self._cancellation.called:
                    raise PipelineLost("the load is called off")
                if not pipeline.busy():
                    return answers
                for output in pipeline.step():
                    if not all(map(math.isfinite, output.logprobs)):
                        raise _Senseless("with what are no numbers")
                    answers[output.key] += output.tokens
        raise _Senseless("without an end")

    @contextmanager
    def _bounded(self, pipeline: Pipeline) -> Generator[None]:
        """While it answers: closes it when that takes too long, and raises PipelineHung. One in a
        process of its own has a limit for each step, LLMPipeline none."""
        late = threading.Event()

        def end() -> None:
            late.set()
            pipeline.close()

        timer = threading.Timer(self._limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except RuntimeError:
            if late.is_set() and not self._cancellation.called:
                raise PipelineHung(f"no answer within {self._limit_s:g} s") from None
            raise
        finally:
            timer.cancel()


class _Senseless(Exception):
    """What a pipeline gives is no answer, whatever it is compared with."""


def agree(expected: list[int], found: list[int]) -> bool:
    """Whether two greedy answers to one prompt part by rounding at most."""
    if expected == found:
        return True
    pairs = zip(expected, found, strict=False)
    longest = min(len(expected), len(found))
    common = next((i for i, (a, b) in enumerate(pairs) if a != b), longest)
    enough = common >= max(1, min(_ENOUGH, len(expected) / 2))
    return enough and (_collapsed(expected) or not _collapsed(found))


def _collapsed(answer: list[int]) -> bool:
    """Whether it ends in one token again and again."""
    tail = answer[-_ENOUGH // 2 :]
    return len(tail) == _ENOUGH // 2 and len(set(tail)) == 1


def _shown(text: str) -> str:
    """As much of an answer as a person needs, in quotes and harmless characters."""
    return json.dumps(text.strip()[:30])
