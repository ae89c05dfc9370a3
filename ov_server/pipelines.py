"""The runtime's pipelines behind one shape: add, step, cancel. With engines.py the only module
that imports openvino_genai; knows no request and no thread but LLMPipeline's own.
"""

import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from .core import Sampling
from .prompt import Turn
from .stepping import Output, Plan
from .templates import mended

GREEDY_BELOW = 1e-3
"""Temperatures under this are greedy decoding: dividing by them would overflow."""

_FINISH: dict[Any, Any] = {
    genai.GenerationFinishReason.STOP: "stop",
    genai.GenerationFinishReason.LENGTH: "length",
}


def load_tokenizer(path: Path) -> genai.Tokenizer:
    """The tokenizer of a model's folder, read whole: a mapped file takes its process down when
    somebody writes it anew. More threads than one make no text faster, and spin for a millisecond
    after every call."""
    return genai.Tokenizer(path, ENABLE_MMAP=False, INFERENCE_NUM_THREADS=1)


class Renderer:
    """A tokenizer's chat template as `templates.Render`.

    Handed over as messages, a conversation is changed where the engine thinks that the template
    can't show it: tools, calls and results are told in words of the engine's own. As a variable of
    the template it is rendered as it is.
    """

    def __init__(self, tokenizer: genai.Tokenizer):
        self._tokenizer = tokenizer
        self.source: str = tokenizer.chat_template or ""
        question = [{"role": "user", "content": "probe_question"}]
        try:
            self(question, True, {})
        except RuntimeError:
            whole, self.source = self.source, mended(self.source)
            try:
                self(question, True, {})
            except RuntimeError:
                self.source = whole

    def __call__(self, turns: Sequence[Turn], begin: bool, options: Mapping[str, Any]) -> str:
        return self._tokenizer.apply_chat_template(
            [{"role": "user", "content": "-"}],
            add_generation_prompt=begin,
            chat_template=self.source,
            extra_context={**options, "messages": list(turns)},
        )


class Paged:
    """ContinuousBatchingPipeline: any number of answers side by side."""

    keeps_prefixes = True

    def __init__(
        self,
        path: Path,
        device: str,
        properties: dict[str, Any],
        *,
        kv_cache_gb: int,
        chunk: int,
        kv_blocks: int = 0,
    ):
        """`kv_blocks` instead of `kv_cache_gb` is for one that needs next to nothing."""
        self.block = 16 if device.startswith("GPU") else 32
        config = genai.SchedulerConfig()
        config.enable_prefix_caching = True
        config.max_num_batched_tokens = chunk
        config.cache_size = kv_cache_gb
        config.num_kv_blocks = kv_blocks
        tokenizer = load_tokenizer(path)
        self._pipeline = genai.ContinuousBatchingPipeline(
            path, tokenizer, config, device, **properties
        )
        self._handles: dict[int, Any] = {}

    def warm_up(self) -> int:
        """Runs once, which the first request would pay for otherwise; returns the number of
        tokens that the KV cache holds."""
        blocks = 2
        prompt = [0] * (blocks * self.block - 1)
        self.add(0, prompt, Plan(Sampling(temperature=0.0), 1), 1)
        self._pipeline.step()
        share = self.kv_usage()
        while self.busy():
            self.step()
        self._handles.clear()
        return int(blocks * self.block / share) if share else 0

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        ids = ov.Tensor(np.array([prompt], dtype=np.int64))
        config = generation_config(plan, max_tokens)
        self._handles[key] = self._pipeline.add_request(key, ids, config)

    def cancel(self, key: int) -> None:
        if handle := self._handles.pop(key, None):
            handle.cancel()

    def busy(self) -> bool:
        return self._pipeline.has_non_finished_requests()

    def step(self) -> list[Output]:
        self._pipeline.step()
        outputs = [o for key, h in self._handles.items() if (o := self._read(key, h)) is not None]
        for output in outputs:
            if output.finish:
                del self._handles[output.key]
        return outputs

    def _read(self, key: int, handle: Any) -> Output | None:
        tokens: list[int] = []
        logprobs: list[float] = []
        finish = None
        while handle.can_read():
            for part in handle.read().values():
                tokens += part.generated_ids
                logprobs += part.generated_log_probs
                finish = _FINISH.get(part.finish_reason)
        if not tokens and not finish and handle.get_status() == genai.GenerationStatus.IGNORED:
            finish = "memory"
        return Output(key, tokens, logprobs, finish) if tokens or finish else None

    def kv_usage(self) -> float:
        return self._pipeline.get_metrics().cache_usage / 100

    def close(self) -> None:
        """Nothing: it goes with its process."""


class Serial:
    """LLMPipeline: one answer after the other, for devices without paged attention."""

    block = 32
    keeps_prefixes = False

    def __init__(
        self, path: Path, tokenizer: genai.Tokenizer, device: str, properties: dict[str, Any]
    ):
        self._pipeline = genai.LLMPipeline(path, tokenizer, device, **properties)
        self._todo: deque[tuple[int, list[int], Plan, int]] = deque()
        self._current: int | None = None
        self._cancelled = False
        self._outputs: queue.SimpleQueue[Output | Exception | None] = queue.SimpleQueue()

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        self._todo.append((key, prompt, plan, max_tokens))

    def cancel(self, key: int) -> None:
        if key == self._current:
            self._cancelled = True
        self._todo = deque(job for job in self._todo if job[0] != key)

    def busy(self) -> bool:
        return self._current is not None or bool(self._todo)

    def step(self) -> list[Output]:
        """The next token of the answer in work; starts the next answer when there is none."""
        if self._current is None:
            job = self._todo.popleft()
            self._current, self._cancelled = job[0], False
            threading.Thread(target=self._generate, args=job, daemon=True).start()
        output = self._outputs.get()
        if isinstance(output, Exception):
            self._current = None
            raise output
        if output is None or output.finish:
            self._current = None
        return [output] if output else []

    def _generate(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        """On a thread of its own: generate() returns only when the answer is complete."""
        outputs = self._outputs
        cancelled = lambda: self._cancelled  # noqa: E731

        class Streamer(genai.StreamerBase):
            def write(self, token: Any) -> genai.StreamingStatus:
                ids = [token] if isinstance(token, int) else list(token)
                outputs.put(Output(key, ids, [0.0] * len(ids)))
                status = genai.StreamingStatus
                return status.CANCEL if cancelled() else status.RUNNING

            def end(self) -> None:
                pass

        try:
            ids = ov.Tensor(np.array([prompt], dtype=np.int64))
            config = generation_config(plan, max_tokens)
            done = self._pipeline.generate(ids, config, Streamer())
        except Exception as error:
            outputs.put(error)
            return
        long = len(done.tokens[0]) >= max_tokens
        outputs.put(None if cancelled() else Output(key, [], [], "length" if long else "stop"))

    def kv_usage(self) -> float:
        return float(self._current is not None)

    def close(self) -> None:
        """Lets the answer in work end early; memory goes with the last reference. Whoever waits
        for a token throws, also where the device never gives one."""
        self._cancelled = True
        self._outputs.put(RuntimeError("the pipeline is closed"))


def generation_config(plan: Plan, max_tokens: int) -> genai.GenerationConfig:
    """The runtime's form of a plan. Raises RuntimeError where the runtime refuses it."""
    said = plan.sampling
    config = genai.GenerationConfig()
    config.max_new_tokens = max_tokens
    config.min_new_tokens = min(said.min_tokens or 0, max_tokens)
    config.ignore_eos = bool(said.ignore_eos)
    temperature = said.temperature or 0.0
    config.do_sample = temperature >= GREEDY_BELOW
    if config.do_sample:
        config.temperature = temperature
        config.top_p = said.top_p or 1.0
        config.min_p = said.min_p or 0.0
        if said.top_k:
            config.top_k = said.top_k
        config.rng_seed = plan.seed
    config.presence_penalty = said.presence_penalty or 0.0
    config.frequency_penalty = said.frequency_penalty or 0.0
    config.repetition_penalty = said.repetition_penalty or 1.0
    config.logprobs = int(plan.logprobs)
    if plan.grammar is not None:
        config.structured_output_config = genai.StructuredOutputConfig(grammar=plan.grammar)
    return config
