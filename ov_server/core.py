"""What a request, an answer and an engine are, for every dialect and every engine.

Knows no dialect, no transport and no runtime.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn, ready for a chat template: the content is text, never null or a list."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation parameters; None is "not said", and the next source decides."""

    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool | None = None
    seed: int | None = None

    def over(self, *others: "Sampling") -> "Sampling":
        """These parameters, and where they say nothing the first of the others that does."""
        return Sampling(**{f.name: _first(f.name, (self, *others)) for f in fields(self)})


def _first(name: str, sources: Iterable[Sampling]) -> Any:
    return next((v for s in sources if (v := getattr(s, name)) is not None), None)


BUILT_IN = Sampling(
    min_tokens=0,
    temperature=0.8,
    top_p=0.95,
    top_k=40,
    min_p=0.05,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    repetition_penalty=1.0,
    ignore_eos=False,
)
"""The last source: llama.cpp's defaults. max_tokens stays open: it is what the context leaves."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion, whatever dialect it came in."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    choices: int = 1
    logprobs: bool = False
    template_options: Mapping[str, Any] = field(default_factory=dict)
    continue_final: bool = False
    json_schema: str | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The chosen token's text and its natural-log probability."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds; the prompt's run from the engine's first look at it to the first token."""

    prompt_tokens: int
    prompt_ms: float
    predicted_tokens: int
    predicted_ms: float


@dataclass(frozen=True, slots=True)
class Role:
    """The request is accepted; comes before the prompt is read."""

    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of answer `index`; never part of a character."""

    text: str
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Answer `index` is complete."""

    reason: FinishReason
    index: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """All answers are complete; the last event."""

    usage: Usage
    timings: Timings


Event = Role | Text | Finish | Done


@dataclass(frozen=True, slots=True)
class Choice:
    text: str
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    choices: tuple[Choice, ...]
    usage: Usage
    timings: Timings


async def collect(events: AsyncGenerator[Event]) -> Completion:
    """The whole answer: a stream joined equals it by construction."""
    texts: dict[int, list[Text]] = {}
    reasons: dict[int, FinishReason] = {}
    async with aclosing(events) as stream:
        async for event in stream:
            match event:
                case Text():
                    texts.setdefault(event.index, []).append(event)
                case Finish():
                    reasons[event.index] = event.reason
                case Done():
                    return Completion(
                        tuple(_choice(texts.get(i, []), reasons[i]) for i in sorted(reasons)),
                        event.usage,
                        event.timings,
                    )
    raise RuntimeError("the engine ended its events without Done")


def _choice(texts: list[Text], reason: FinishReason) -> Choice:
    return Choice(
        "".join(t.text for t in texts), reason, tuple(lp for t in texts for lp in t.logprobs)
    )


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing now; kv_usage is a share of 0 to 1."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    rebuilds: int = 0

    def plus(self, other: "EngineStats") -> "EngineStats":
        """Both together; the fuller KV cache counts."""
        return EngineStats(
            self.running + other.running,
            self.waiting + other.waiting,
            max(self.kv_usage, other.kv_usage),
            self.rebuilds + other.rebuilds,
        )


class Engine(Protocol):
    """A loaded model. Fakes in tests are engines by this Protocol."""

    device: str
    """Where it runs."""
    warning: str | None
    """Why it does not run as it was asked to, or None."""
    context_length: int
    """Tokens that a prompt and its answer may have together."""

    @property
    def failed(self) -> bool:
        """It can't work any more; a new one has to be loaded."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """Events of one completion; closing the iterator ends the work.

        Raises BadRequest, ContextTooLong or QueueFull before the first event.
        """
        ...

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """End all work and give the memory back; blocks, so call it off the event loop."""
        ...
