"""What is asked of a subject and what came of it. Texts differ from round to round, so that no
prefix cache knows them; the same round asks the same of every subject.
"""

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

ANSWER_TOKENS = 64

_WRITER = "You write stories."
"""Takes the place of the template's own system message."""
_LONG_WORDS, _SYSTEM_WORDS, _OWN_WORDS, _ARRIVING_WORDS = 590, 470, 120, 520

_ADJECTIVES = [
    "amber",
    "quiet",
    "narrow",
    "early",
    "broken",
    "silver",
    "distant",
    "gentle",
    "heavy",
    "curious",
    "wooden",
]
_NOUNS = [
    "harbour",
    "miller",
    "garden",
    "engine",
    "letter",
    "bridge",
    "teacher",
    "river",
    "basket",
    "window",
    "market",
]
_VERBS = [
    "watches",
    "repairs",
    "follows",
    "remembers",
    "paints",
    "carries",
    "measures",
    "visits",
    "ignores",
]
_PLACES = ["behind the station", "near the old mill", "under the stairs", "by the lake"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: greedy, and exactly `tokens` tokens long."""

    prompt: str
    system: str | None = None
    tokens: int = ANSWER_TOKENS

    @property
    def messages(self) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Load:
    """`first` is asked at once; `then` when every answer of `first` has `lead` tokens.

    `before` is asked and answered, all at once, before the measurement begins.
    """

    first: tuple[Ask, ...]
    then: tuple[Ask, ...] = ()
    lead: int = 0
    before: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds on the clock of the process that measured."""

    sent_at: float
    text_at: tuple[float, ...]
    """When each piece of text came; a piece may be more than one token."""
    ended_at: float
    prompt_tokens: int
    tokens: int

    @property
    def first_token_s(self) -> float:
        return self.text_at[0] - self.sent_at

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / (self.ended_at - self.sent_at)

    def gaps_after(self, moment: float) -> list[float]:
        """Seconds from piece to piece, of the pieces that came after the moment."""
        return [b - a for a, b in pairwise(self.text_at) if b > moment]


@dataclass(frozen=True, slots=True)
class Run:
    """One load on one subject; `first` and `then` as in the load."""

    first: tuple[Answer, ...]
    then: tuple[Answer, ...] = ()

    @property
    def seconds(self) -> float:
        answers = self.first + self.then
        return max(a.ended_at for a in answers) - min(a.sent_at for a in answers)

    @property
    def tokens_per_s(self) -> float:
        return sum(a.tokens for a in self.first + self.then) / self.seconds

    @classmethod
    def of(cls, load: Load, answers: list[Answer]) -> "Run":
        """Raises ValueError when an answer is not as long as it was asked to be."""
        asked = [a.tokens for a in load.first + load.then]
        if (given := [a.tokens for a in answers]) != asked:
            raise ValueError(f"asked for {asked} tokens, got {given}")
        return cls(tuple(answers[: len(load.first)]), tuple(answers[len(load.first) :]))


def body(ask: Ask, model: str) -> dict[str, Any]:
    """The chat completion request that asks it of an OpenAI-compatible server."""
    return {
        "model": model,
        "messages": ask.messages,
        "max_tokens": ask.tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def text(seed: str, words: int) -> str:
    """So many words of made-up sentences; another seed gives other ones from the first word on."""
    draw = random.Random(seed)
    sentences: list[str] = []
    while sum(s.count(" ") + 1 for s in sentences) < words:
        nouns = draw.sample(_NOUNS, 2)
        sentences.append(
            f"{draw.choice(_ADJECTIVES).capitalize()} {draw.randint(10, 99)}, the {nouns[0]}, "
            f"{draw.choice(_VERBS)} the {draw.choice(_ADJECTIVES)} {nouns[1]} "
            f"{draw.choice(_PLACES)}."
        )
    return " ".join(" ".join(sentences).split()[:words])


def short(seed: str, streams: int) -> Load:
    """Prompts of about 30 tokens, the template's own among them."""
    return Load(tuple(_story(f"{seed} {i}") for i in range(streams)))


def _story(seed: str) -> Ask:
    """Asks for more than it gives time for: past its end an answer would be special tokens, which
    have no text."""
    draw = random.Random(seed)
    things = [f"the {draw.choice(_ADJECTIVES)} {noun}" for noun in draw.sample(_NOUNS, 2)]
    return Ask(f"Write a very long story about {' and '.join(things)}.", _WRITER)


def long(seed: str, streams: int) -> Load:
    """Prompts of about 900 tokens that have nothing in common."""
    return Load(tuple(Ask(text(f"{seed} {i}", _LONG_WORDS)) for i in range(streams)))


def shared(seed: str, streams: int, *, known_by: int = 1) -> Load:
    """A system message of about 700 tokens, which `known_by` requests have brought before at
    once, and about 200 more that differ."""
    system = text(seed, _SYSTEM_WORDS)
    asks = [Ask(text(f"{seed} {i}", _OWN_WORDS), system) for i in range(streams)]
    before = [Ask(text(f"{seed} before {i}", 9), system, 1) for i in range(known_by)]
    return Load(tuple(asks), before=tuple(before))


def arrivals(seed: str) -> Load:
    """Four answers are streaming when four prompts of about 800 tokens arrive."""
    streaming = tuple(_story(f"{seed} {i}") for i in range(4))
    arriving = tuple(Ask(text(f"{seed} new {i}", _ARRIVING_WORDS), tokens=16) for i in range(4))
    return Load(streaming, arriving, lead=8)
