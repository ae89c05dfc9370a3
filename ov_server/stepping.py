"""What a model's thread steps: the shape of a pipeline, what goes in and what comes out.

Knows no runtime.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from .core import Sampling


@dataclass(frozen=True, slots=True)
class Plan:
    """How one answer is generated: every parameter decided."""

    sampling: Sampling
    max_tokens: int
    logprobs: bool = False
    grammar: str | None = None
    """EBNF that the answer's text is held to."""
    seed: int = 0

    def resumed(self, done: int) -> "Plan":
        """The plan for what is left after `done` tokens; another seed, or draws would repeat."""
        if not done:
            return self
        least = max(0, (self.sampling.min_tokens or 0) - done)
        return replace(
            self, sampling=replace(self.sampling, min_tokens=least), seed=self.seed + done
        )

    @property
    def counts(self) -> bool:
        """Whether its sampling counts what the answer has said, which begins anew in a pipeline
        that is told it as a prompt. The repetition penalty looks at the prompt as well."""
        return bool(self.sampling.presence_penalty or self.sampling.frequency_penalty)

    def held_to(self, grammar: str) -> "Plan":
        """The plan under a grammar, which alone decides when the answer may end."""
        sampling = replace(self.sampling, min_tokens=0, ignore_eos=False)
        return replace(self, sampling=sampling, grammar=grammar)

    def another(self, index: int) -> "Plan":
        """The plan of answer `index` to the same prompt."""
        return replace(self, seed=self.seed + index)

    def reading(self) -> "Plan":
        """The plan for reading a part of the prompt: the one token it gives is thrown away."""
        return Plan(Sampling(temperature=0.0), 1)


class PipelineLost(RuntimeError):
    """The process that a pipeline ran in ended, or gives no answer any more; nobody knows why."""


class PipelineHung(PipelineLost):
    """It gave no answer for so long that it was ended."""


class Output(NamedTuple):
    """What one step gave one key. `memory`: it was dropped, since the KV cache is full."""

    key: int
    tokens: list[int]
    logprobs: list[float]
    finish: Literal["stop", "length", "memory"] | None = None


class Pipeline(Protocol):
    """What the thread steps. Only the thread calls it."""

    block: int
    """Tokens of a KV block."""
    keeps_prefixes: bool
    """Whether a prompt whose beginning was read before is read from there on."""

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None: ...
    def cancel(self, key: int) -> None: ...
    def step(self) -> list[Output]: ...
    def busy(self) -> bool:
        """Whether a step would do anything, if only freeing what was cancelled."""
        ...

    def kv_usage(self) -> float: ...
    def close(self) -> None:
        """Frees it. From any thread, and while another one steps, which then throws."""
        ...


class NoPipeline:
    """Stands where a pipeline was, so that its memory is free before another is made."""

    block = 1
    keeps_prefixes = False

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        raise RuntimeError("there is no pipeline")

    def cancel(self, key: int) -> None:
        pass

    def step(self) -> list[Output]:
        return []

    def busy(self) -> bool:
        return False

    def kv_usage(self) -> float:
        return 0.0

    def close(self) -> None:
        pass
