"""One answer in the making, and the way of its events from the engine's thread to the loop."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from .core import Finish, FinishReason, Text, TokenLogprob
from .detokenizer import Detokenizer, Window
from .errors import ServerError
from .markup import StopStrings
from .stepping import Plan

Item = Text | Finish | ServerError


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

    async def items(self) -> AsyncIterator[Text | Finish]:
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
        stop: tuple[str, ...] = (),
        window: Window | None = None,
        leader: "Job | None" = None,
    ):
        self.call = call
        self.prompt = prompt
        self.plan = plan
        self.index = index
        self.leader = leader
        self.window = window or Window()
        self.stops = StopStrings(stop)
        self.generated: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.key = 0
        self.read = 0
        self.proven = False
        self.suspect = False
        self.ended = False
        self.cancelled = False
        self.arrived_at = arrived_at
        self.joined_at = 0.0
        self.first_token_at = 0.0
        self.ended_at = 0.0

    @property
    def tokens(self) -> list[int]:
        """The prompt and what has come of it."""
        return self.prompt + self.generated

    @property
    def unread(self) -> int:
        """Tokens that are not in the cache yet, as far as that is known."""
        return len(self.prompt) + len(self.generated) - self.read

    @property
    def streaming(self) -> bool:
        return self.first_token_at > 0

    def rest(self, detokenizer: Detokenizer) -> str:
        """The text that still waits for a character or a stop string, when no more will come."""
        text, stopped = self.stops.feed(detokenizer.flush(self.window))
        return text if stopped else text + self.stops.flush()

    def end(self, reason: FinishReason, now: float) -> None:
        self.ended = True
        self.ended_at = now
        self.call.put(Finish(reason, self.index))
