"""One answer in the making, and the way of its events from the engine's thread to the loop."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace

from .answergrammar import Cost
from .core import EndedBy, Finish, FinishReason, Priority, Said, Text, TokenLogprob
from .detokenizer import Window
from .errors import ServerError
from .grammars.completion import Network
from .grammars.grammar import Hold, Prepared, ebnf
from .markup import Reader, Reading
from .stepping import Output, Plan

Item = Said | Finish | ServerError


class Call:
    """The mailbox between the engine's thread, which puts, and one request, which iterates."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self._outbox: list[Item] = []
        self._inbox: asyncio.Queue[list[Item]] = asyncio.Queue()

    def put(self, item: Item) -> None:
        """On the thread; the request sees it after the next flush."""
        self._outbox.append(item)

    def take(self) -> list[Item]:
        items, self._outbox = self._outbox, []
        return items

    def receive(self, items: list[Item]) -> None:
        """On the loop."""
        self._inbox.put_nowait(items)

    async def items(self) -> AsyncIterator[Said | Finish]:
        """What the thread puts, without end; raises the error that it puts."""
        while True:
            for item in await self._inbox.get():
                if isinstance(item, ServerError):
                    raise item
                yield item


def deliver(calls: Iterable[Call]) -> None:
    """Hands over what was put, with one wake-up of each loop for all of its calls."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Call, list[Item]]]] = {}
    for call in calls:
        if items := call.take():
            loops.setdefault(call.loop, []).append((call, items))
    for loop, mail in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_receive_all, mail)


def _receive_all(mail: list[tuple[Call, list[Item]]]) -> None:
    for call, items in mail:
        call.receive(items)


@dataclass
class Ticket:
    """What a job shows where it waits for its turn. Times are of one monotonic clock."""

    client: str = ""
    priority: Priority = "interactive"
    number: int = 0
    """In the order of arrival, from 1 on; 0 before it waits for the first time."""
    since: float | None = None
    """When it began to wait; None while it runs."""
    _waited_s: float = 0.0

    def waits(self, now: float) -> None:
        self.since = now

    def joins(self, now: float) -> None:
        self._waited_s = self.waited_s(now)
        self.since = None

    def waited_s(self, now: float) -> float:
        """In all, however often it ran meanwhile."""
        return self._waited_s + (0 if self.since is None else now - self.since)


class Job:
    """Answer `index` of a request. Once submitted, it belongs to the engine's thread.

    `leader` is another answer to the same prompt: this one starts when that one has its first
    token, and finds the prompt in the prefix cache.
    """

    def __init__(
        self,
        call: Call,
        prompt: list[int],
        plan: Plan,
        *,
        arrived_at: float,
        index: int = 0,
        reading: Reading | None = None,
        grammar: Prepared | None = None,
        cost: Cost | None = None,
        window: Window | None = None,
        leader: "Job | None" = None,
        ticket: Ticket | None = None,
    ):
        self.call = call
        self.prompt = prompt
        self.reader = Reader(reading or Reading(), index)
        self._free = self.plan = plan
        self._grammar = grammar
        self.hold: Hold | None = None
        """What the text is held to now."""
        self.cost = cost or Cost()
        """Of each rule of the grammar."""
        self._hold(self.reader.rule, "")
        self.index = index
        self.leader = leader
        self.ticket = ticket or Ticket()
        self.window = window or Window()
        self.generated: list[int] = []
        self.told = 0
        """Tokens whose text the reader has."""
        self.thought = 0
        """Tokens of reasoning."""
        self.logprobs: list[TokenLogprob] = []
        self.key = 0
        self.seen = 0
        self.proven = self.suspect = False
        self.turned = False
        """It is under a rule under which it has no token yet."""
        self.cramped = False
        """It joined while what others had left in the KV cache was still to be freed."""
        self.stays = False
        """Its grammar could not go on, had it to join again."""
        self.ended = self.cancelled = self.halted = False
        """Halted: it is to end where it is, with all that belongs to an end."""
        self.arrived_at = arrived_at
        self.joined_at = self.first_token_at = self.ended_at = 0.0

    @property
    def tokens(self) -> list[int]:
        """The prompt and what has come of it."""
        return self.prompt + self.generated

    @property
    def unread(self) -> int:
        """Tokens that are not in the cache yet, as far as that is known."""
        return len(self.prompt) + len(self.generated) - self.seen

    @property
    def unknown(self) -> bool:
        """Whether it may be its fault, when a step fails before it has a token."""
        return self.suspect or self.turned or not self.generated

    @property
    def dropped(self) -> bool:
        return self.cancelled or self.halted

    @property
    def may_step_back(self) -> bool:
        """Whether it may give its place to another one and go on later. Only with a token since it
        joined: so what was read for it is in the cache, each turn brings it further, and no
        suspect hides among those who wait."""
        return self.proven and not self.stays

    @property
    def streaming(self) -> bool:
        return self.first_token_at > 0

    def read(self, text: str, output: Output) -> None:
        """Says what is certain now; the text is that of the tokens since the last text.

        Raises Malformed for a call that can't be read, which no grammar lets through.
        """
        self.thought += len(output.tokens) if self.reader.reasons else 0
        if self.reader.reasons or self.reader.called:
            self.logprobs.clear()
        if self.plan.logprobs:
            self.logprobs += _logprobs(output, text)
        said = self.reader.feed(text)
        if self.reader.stopped:
            self.logprobs = _covering(self.logprobs, said)
        self._say(said)
        if self.reader.turn is None and text:
            self.told = len(self.generated)

    def finish(
        self, rest: str, reason: FinishReason, now: float, by: EndedBy | None = None
    ) -> None:
        """Says what was held back, with the text that still waited for a whole character."""
        if self.reader.turn is not None:  # there is no room left to go on under its rule
            self._hold(self.reader.turn.rule, "")
        said = self.reader.feed(rest) + self.reader.finish()
        texts = any(isinstance(event, Text) for event in said)
        if self.logprobs and not texts and not (self.reader.called or self.reader.reasons):
            said.append(Text("", self.index))
        self._say(said)
        self.end(reason, now, by)

    def _say(self, said: list[Said]) -> None:
        """Text takes the logprobs along; those of markers, reasoning and calls are dropped."""
        for event in said:
            if isinstance(event, Text):
                event = replace(event, logprobs=tuple(self.logprobs))
            self.logprobs.clear()
            self.call.put(event)

    @property
    def turns(self) -> bool:
        """Whether the answer goes on under another rule, and may."""
        return self.reader.turn is not None and len(self.generated) < self.plan.max_tokens

    def turn(self, text: str) -> bool:
        """Goes on under another rule, as the reader has found in this last piece of text. What is
        behind the place will be generated anew, with whole tokens: the place may lie inside of
        one. True when tokens were dropped."""
        turn = self.reader.turn
        assert turn is not None
        known = text[: len(text) - len(turn.surplus)] if turn.surplus else ""
        if turn.surplus:
            self.reader.repeats(len(known))
            del self.generated[self.told :]
        self.told = len(self.generated)
        self.logprobs.clear()
        self.turned = True
        self._hold(turn.rule, known)
        return bool(turn.surplus)

    def resume(self) -> bool:
        """Readies the job to join anew with the tokens so far: a grammar goes on with what may
        follow its text. True when tokens without a text were dropped. What is raised when the
        grammar can't go on leaves the job as it was."""
        if self.hold is None:
            return False
        if self.reader.held_text:
            network = Network(self.hold.rooted())
            self.plan = self._free.held_to(ebnf(network.residue(self.reader.held_text)))
        dropped = len(self.generated) > self.told
        del self.generated[self.told :]
        return dropped

    def _hold(self, rule: str | None, before: str) -> None:
        if rule is None:
            self.hold, self.plan = None, self._free
        else:
            assert self._grammar is not None
            self.hold = Hold(self._grammar, rule, before)
            self.plan = self._free.held_to(self.hold.ebnf())

    def end(self, reason: FinishReason, now: float, by: EndedBy | None = None) -> None:
        self.ended = True
        self.ended_at = now
        self.joined_at = self.joined_at or now
        calls = reason == "stop" and self.reader.called and by is None
        self.call.put(Finish("tool_calls" if calls else reason, self.index, by))

    def fail(self, error: ServerError) -> None:
        """Ends the request with an error, at once."""
        self.ended = True
        self.call.put(error)
        deliver([self.call])


def _covering(logprobs: list[TokenLogprob], said: list[Said]) -> list[TokenLogprob]:
    """Those of the tokens that the text came of, when a stop string cut off the rest."""
    text = "".join(event.text for event in said if isinstance(event, Text))
    kept: list[TokenLogprob] = []
    while len(kept) < len(logprobs) and sum(len(lp.text) for lp in kept) < len(text):
        kept.append(logprobs[len(kept)])
    return kept


def _logprobs(output: Output, text: str) -> list[TokenLogprob]:
    """One for each token; the text that a step completes stands at its last token."""
    if not output.tokens:
        return []
    texts = [""] * (len(output.tokens) - 1) + [text]
    return [TokenLogprob(t, lp) for t, lp in zip(texts, output.logprobs, strict=True)]
