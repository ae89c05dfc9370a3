"""Who may come in: the bounds of the queues, who gives way when they are full, and when it is worth
coming again. Pure, but for its clock."""

import math
from collections import Counter, deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from .clock import Clock
from .core import Priority
from .errors import QueueFull, ServerError, TooManyAtOnce

_REMEMBERED = 16
"""Ends of requests from which the pace of a model is taken."""
_LONGEST_S = 600
_UNKNOWN_S = 5
"""What a request takes, as long as none has ended."""


class Guest(Protocol):
    """Who wants an answer; a session is one."""

    @property
    def client(self) -> str: ...
    @property
    def priority(self) -> Priority: ...
    @property
    def most(self) -> int | None:
        """How many requests its client may have at once."""
        ...

    @property
    def begun(self) -> bool:
        """It has said something, so it stays."""
        ...

    def refuse(self, why: ServerError) -> None:
        """Its place is somebody else's by now."""
        ...


@dataclass(eq=False, slots=True)
class Place:
    """From a request's arrival at a model to its end."""

    model: str
    guest: Guest


@dataclass(slots=True)
class Pace:
    """How fast requests of a model end, since it was last without any."""

    began: float
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    told: Counter[str] = field(default_factory=Counter)
    """By client: how many were told to come again, and have not been made room for since."""

    def ended(self, now: float) -> None:
        self.ends.append(now)
        self.told -= Counter(dict.fromkeys(self.told, 1))
        self.told = +self.told

    def retry_after(self, client: str, now: float) -> int:
        """Whole seconds until there may be room for one more. Each who asks is told a later time,
        so that they don't all come together: behind one of each other client's, and all of its
        own."""
        self.told[client] += 1
        ahead = self.told[client] + len(self.told) - 1
        since = self.ends[0] if len(self.ends) == _REMEMBERED else self.began
        interval = (now - since) / len(self.ends) if self.ends else max(now - since, _UNKNOWN_S)
        return math.ceil(min(max(ahead * interval, 1), _LONGEST_S))


class Places:
    """All places that are taken, within `each` for a model and `all` for the process."""

    def __init__(self, each: int, every: int, clock: Clock):
        """At most `each` requests run and wait for one model, and `every` for all together."""
        self._each = each
        self._every = every
        self._clock = clock
        self._places: dict[Place, None] = {}
        self._paces: dict[str, Pace] = {}

    @contextmanager
    def taken(self, model: str, guest: Guest | None) -> Generator[None]:
        """While a guest is there; nobody is the house itself, which needs no place."""
        place = None if guest is None else self.enter(model, guest)
        try:
            yield
        finally:
            if place is not None:
                self.leave(place)

    def enter(self, model: str, guest: Guest) -> Place:
        """Raises QueueFull where nobody has to make room, TooManyAtOnce for a client at its limit.

        When all places are taken, a request that has not begun gives way to one of a client that
        has fewer by two, or a batch one to an interactive one.
        """
        theirs = [p for p in self._places if p.guest.client == guest.client]
        if guest.most is not None and len(theirs) >= guest.most:
            raise TooManyAtOnce(guest.most, retry_after=self._retry_after(model, guest))
        here = [p for p in self._places if p.model == model]
        if len(here) >= self._each:
            self._make_room(model, here, guest, f"{self._each} requests run or wait for the model")
        elif len(self._places) >= self._every:
            self._make_room(model, self._places, guest, f"{self._every} requests run or wait here")
        place = Place(model, guest)
        self._places[place] = None
        self._paces.setdefault(model, Pace(self._clock.time()))
        return place

    def leave(self, place: Place) -> None:
        if self._places.pop(place, place) is None:
            self._ended(place.model)

    def _make_room(self, model: str, taken: Iterable[Place], guest: Guest, said: str) -> None:
        victim = _victim(list(taken), guest)
        loser = guest if victim is None else victim.guest
        retry_after = self._retry_after(model if victim is None else victim.model, loser)
        why = QueueFull(f"{said} already. Try again later.", retry_after=retry_after)
        if victim is None:
            raise why
        del self._places[victim]
        loser.refuse(why)

    def _ended(self, model: str) -> None:
        self._paces[model].ended(self._clock.time())
        if not any(place.model == model for place in self._places):
            del self._paces[model]

    def _retry_after(self, model: str, guest: Guest) -> int:
        now = self._clock.time()
        pace = self._paces.get(model) or Pace(now)
        return pace.retry_after(guest.client, now)


def _victim(taken: list[Place], guest: Guest) -> Place | None:
    """Whose place the newcomer gets: of those that have not begun, a batch one before others, of
    the client with the most, the newest."""
    counts = Counter(place.guest.client for place in taken)

    def loses(place: Place) -> bool:
        theirs, ours = place.guest.priority, guest.priority
        fewer = counts[place.guest.client] >= counts[guest.client] + 2
        outranked = (theirs, ours) == ("batch", "interactive")
        return not place.guest.begun and (outranked or (theirs == ours and fewer))

    losing = [(i, place) for i, place in enumerate(taken) if loses(place)]
    ranked = [(p.guest.priority == "batch", counts[p.guest.client], i) for i, p in losing]
    return taken[max(ranked)[2]] if ranked else None
