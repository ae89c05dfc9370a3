"""A pipeline that writes a text by heart, cut into tokens at given places, and obeys no grammar: it
asserts that what it is going to write is what each grammar asks for.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from ov_server.batch import Batch
from ov_server.core import Arguments, Event, Finish, Reasoning, Sampling, Text
from ov_server.detokenizer import Detokenizer
from ov_server.grammars.completion import Network
from ov_server.grammars.gbnf import parse_gbnf
from ov_server.grammars.grammar import Prepared
from ov_server.jobs import Call, Job
from ov_server.markup import Reading
from ov_server.stepping import Output, Plan

PROMPT = [0]
"""Its only token decodes to nothing."""


@lru_cache
def lets_through(grammar: str, texts: tuple[str, ...]) -> bool:
    """Whether one of the texts is what the grammar asks for; many cuts ask the same."""
    network = Network(parse_gbnf(grammar))
    return any(network.rest(text) == "" for text in texts)


class Script:
    """A text and where its tokens end. Token n is the text from the cut n-1 to the cut n."""

    def __init__(self, text: str, cuts: Iterable[int], turns: Iterable[int] = ()):
        """`turns`: where in the text a grammar may be over, and another one goes on."""
        self.text = text
        self.turns = (len(text), text.find("<think>") + len("<think>"), *turns)
        places = sorted({0, len(text), *cuts})
        self.pieces = ["", *(text[i:j] for i, j in pairwise(places))]

    def decode(self, batch: list[list[int]]) -> list[str]:
        return ["".join(self.pieces[token] for token in tokens) for tokens in batch]

    def make(self) -> "ScriptedPipeline":
        return ScriptedPipeline(self)


class ScriptedPipeline:
    """Writes the script's next token at each step, from where the prompt ends."""

    block = 4
    keeps_prefixes = True

    def __init__(self, script: Script):
        self._script = script
        self._key: int | None = None
        self._next = 0
        self._left = 0

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        assert self._key is None
        assert prompt == list(range(len(prompt)))
        self._key, self._next, self._left = key, len(prompt), max_tokens
        rest = "".join(self._script.pieces[self._next :])
        if plan.grammar is not None:
            done = len(self._script.text) - len(rest)
            ends = tuple(self._script.text[done:turn] for turn in self._script.turns if turn > done)
            assert lets_through(plan.grammar, ends), (plan.grammar, rest)

    def cancel(self, key: int) -> None:
        if key == self._key:
            self._key = None

    def busy(self) -> bool:
        return self._key is not None

    def step(self) -> list[Output]:
        key = self._key
        if key is None:
            return []
        if self._next == len(self._script.pieces):
            self._key = None
            return [Output(key, [], [], "stop")]
        self._next += 1
        self._left -= 1
        finish = None if self._left else "length"
        if finish:
            self._key = None
        return [Output(key, [self._next - 1], [0.0], finish)]

    def kv_usage(self) -> float:
        return 0.0

    def close(self) -> None:
        self._key = None


def play(
    script: Script, reading: Reading, grammar: Prepared | None, max_tokens: int = 10_000
) -> tuple[list[Event], Job]:
    """What comes of the script, event by event."""
    decoder = Detokenizer(script.decode)

    async def listen(batch: Batch) -> tuple[list[Event], Job]:
        call = Call(asyncio.get_running_loop())
        plan = Plan(Sampling(), max_tokens)
        job = Job(call, PROMPT, plan, arrived_at=0, reading=reading, grammar=grammar)
        batch.submit([job])
        events: list[Event] = []
        async for event in call.items():
            events.append(event)
            if isinstance(event, Finish):
                return events, job
        raise AssertionError("it has no end")

    batch = Batch(script.make, decoder, name="script", max_running=1, prefill_slice=64, burst_s=0)
    try:
        return asyncio.run(asyncio.wait_for(listen(batch), 10))
    finally:
        batch.close()


def merged(events: list[Event]) -> list[Event]:
    """With pieces that follow each other as one: how a text is cut is nobody's business."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        match last, event:
            case (Text(), Text()) | (Reasoning(), Reasoning()) | (Arguments(), Arguments()):
                found[-1] = replace(last, text=last.text + event.text)
            case _:
                found.append(event)
    return found
