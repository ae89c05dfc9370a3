"""What a request, an answer and an engine are, for every dialect and every engine.

Knows no dialect, no transport and no runtime.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from .cancellation import Cancellation

FinishReason = Literal["stop", "length", "tool_calls"]
Priority = Literal["interactive", "batch"]
EndedBy = Literal["cancelled", "kv_cache_full"]
"""What ended an answer that is neither the model nor a bound of the request."""


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that an assistant made in an earlier turn; the arguments are values, not text."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn, ready for a chat template: the content is text, never null or a list."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[PastCall, ...] = ()
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
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | bool = field(default_factory=dict)
    """JSON Schema of its arguments, which are an object."""
    strict: bool = False
    """Refuse what the grammar can't hold the arguments to."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which of the tools may be called, and whether one has to be."""

    names: tuple[str, ...] = ()
    """Those that may be called, in the order of the request's tools."""
    required: bool = False
    several: bool = True


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What the text of an answer has to be.

    The value is a JSON Schema, a regular expression for the whole text, a list of texts to choose
    from, or a grammar in GBNF.
    """

    kind: Literal["json_schema", "regex", "choice", "grammar"]
    value: Any
    strict: bool = False
    """Refuse what the grammar can't hold the text to."""
    param: str = "response_format"
    """The field that asked for it, for errors."""


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
    tools: tuple[Tool, ...] = ()
    """All that are described to the model."""
    tool_use: ToolUse = ToolUse()
    answer: AnswerFormat | None = None
    client: str = ""
    """Who asks; it decides nothing but whose turn it is."""
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The chosen token's text and its natural-log probability."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    """Those of the completion's that were thought."""


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
class Reasoning:
    """A piece of what answer `index` thinks before it speaks."""

    text: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Answer `index` begins its call number `call`, of 0 and up. The arguments follow."""

    call: int
    id: str
    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of the arguments of call number `call`: all pieces together are a JSON object."""

    text: str
    call: int
    index: int = 0


Said = Text | Reasoning | ToolCall | Arguments
"""A piece of an answer."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Answer `index` is complete."""

    reason: FinishReason
    index: int = 0
    by: EndedBy | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """All answers are complete; the last event."""

    usage: Usage
    timings: Timings


Event = Role | Said | Finish | Done


@dataclass(frozen=True, slots=True)
class WholeCall:
    """A tool call with all of its arguments, as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    text: str
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    calls: tuple[WholeCall, ...] = ()
    ended_by: EndedBy | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    choices: tuple[Choice, ...]
    usage: Usage
    timings: Timings


async def collect(events: AsyncGenerator[Event]) -> Completion:
    """The whole answer: a stream joined equals it by construction."""
    said: dict[int, list[Said]] = {}
    ends: dict[int, Finish] = {}
    async with aclosing(events) as stream:
        async for event in stream:
            match event:
                case Text() | Reasoning() | ToolCall() | Arguments():
                    said.setdefault(event.index, []).append(event)
                case Finish():
                    ends[event.index] = event
                case Done():
                    return Completion(
                        tuple(_choice(said.get(i, []), ends[i]) for i in sorted(ends)),
                        event.usage,
                        event.timings,
                    )
    raise RuntimeError("the engine ended its events without Done")


async def nothing(choices: int) -> AsyncGenerator[Event]:
    """The events of an answer that is cancelled before it began."""
    yield Role()
    for index in range(choices):
        yield Finish("stop", index, "cancelled")
    yield Done(Usage(0, 0), Timings(0, 0.0, 0, 0.0))


def _choice(said: list[Said], end: Finish) -> Choice:
    texts = [event for event in said if isinstance(event, Text)]
    pieces: dict[int, list[str]] = {}
    for event in said:
        if isinstance(event, Arguments):
            pieces.setdefault(event.call, []).append(event.text)
    return Choice(
        text="".join(event.text for event in texts),
        finish_reason=end.reason,
        logprobs=tuple(lp for event in texts for lp in event.logprobs),
        reasoning="".join(event.text for event in said if isinstance(event, Reasoning)),
        calls=tuple(
            WholeCall(event.id, event.name, "".join(pieces.get(event.call, ())))
            for event in said
            if isinstance(event, ToolCall)
        ),
        ended_by=end.by,
    )


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing now; kv_usage is a share of 0 to 1."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    rebuilds: int = 0
    misfits: int = 0
    """Structured texts and arguments that did not fit their whole schema."""
    preemptions: int = 0
    """Answers that stepped back for another client's or for an interactive one."""

    def plus(self, other: "EngineStats") -> "EngineStats":
        """Both together; the fuller KV cache counts."""
        return EngineStats(
            self.running + other.running,
            self.waiting + other.waiting,
            max(self.kv_usage, other.kv_usage),
            self.rebuilds + other.rebuilds,
            self.misfits + other.misfits,
            self.preemptions + other.preemptions,
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

    @property
    def stuck_s(self) -> float:
        """Seconds that its current step has been running, 0 when idle; infinite when nothing is
        left that would step."""
        ...

    def memory_mb(self) -> int:
        """Resident memory of the process that its pipeline runs in."""
        ...

    def chat(self, request: ChatRequest, halt: Cancellation | None = None) -> AsyncGenerator[Event]:
        """Events of one completion; closing the iterator ends the work. `halt` ends the answer
        where it is behind the first event, with all that belongs to an end.

        Raises BadRequest, ContextTooLong or QueueFull before the first event.
        """
        ...

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """End all work and give the memory back; blocks, so call it off the event loop."""
        ...
