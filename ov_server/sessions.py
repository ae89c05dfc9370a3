"""Answers that outlive their connections: the pieces of each, who listens, and the task that makes
it. Readers only read.

A piece is the data of one server-sent event; its id is `SESSION:INDEX`, with indices from 0. Knows
no dialect and no engine: an answer's pieces come out of a generator.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, Literal, Protocol, cast
from weakref import WeakValueDictionary

from .cancellation import Cancellation
from .changes import Changes
from .clock import Clock
from .core import Done, Event, Finish, Priority, Role, nothing
from .errors import (
    AnswerEnded,
    EventsGone,
    Interrupted,
    Overdue,
    ServerError,
    SessionBusy,
    SessionNotFound,
    Unavailable,
    retold,
    told,
)
from .journal import Journal
from .journalfile import Ending, Heading, Kept
from .settings import Settings

log = logging.getLogger(__name__)

State = Literal["running", "finished", "cancelled", "failed"]

_SHARE = 8
"""A running answer keeps at most this part of all that is kept."""
_AT_ONCE = 64
"""Pieces that a reader gets at once: what it has not taken stays here, once for all readers."""
_OVERHEAD = 1000
"""Bytes that a session takes beside its pieces, roughly."""


class Room(Protocol):
    """Where sessions are kept; it bounds what they take."""

    clock: Clock
    patience_s: float
    """How long an answer goes on for nobody, where the client chose its name."""

    def started(self, session: "Session", cut: str, /) -> None: ...
    def grew(self, session: "Session", piece: str, /) -> None: ...
    def ended(self, session: "Session", /) -> None: ...


class Show(Protocol):
    """How an answer is shown; wire.py has them."""

    @property
    def choices(self) -> int: ...
    def pieces(self, events: AsyncGenerator[Event], /) -> AsyncGenerator[str]: ...
    def problem(self, problem: ServerError, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of its session."""

    id: str
    chosen: bool = False
    """By the client, which may come back for it."""
    owner: str = ""
    """The name of an API key; empty where there are none. An id means something to its owner."""
    digest: str = ""
    """Tells the request from others."""
    client: str = ""
    """Who asks, for fairness."""
    priority: Priority = "interactive"
    most: int | None = None
    """How many answers its client may have in the making."""


class Session:
    """One answer in the making, or made."""

    def __init__(self, asked: Asked, model: str, room: Room):
        self.asked = asked
        self.model = model
        self.created = time.time()
        self.halt = Cancellation()
        """Ends the answer where it is, as a whole one."""
        self.state: State = "running"
        self.error: ServerError | None = None
        self.tokens = 0
        self.readers = 0
        self.first = 0
        """Index of the first piece that is kept."""
        self.size = _OVERHEAD
        self.cut = False
        """Its end was lost, and who reads on is told so, wherever it is."""
        self._room = room
        self._pieces: list[str] = []
        self._changes = Changes()
        self._task: asyncio.Task[None] | None = None
        self._timer: Any = None
        self._accepted = False
        self._why: ServerError = Unavailable(
            "The server is stopping. Send the request again later."
        )

    @classmethod
    def recalled(cls, kept: Kept, room: Room) -> "Session":
        """One that has ended, as the journal has it."""
        said, how = kept.heading, kept.ending
        session = cls(Asked(said.id, said.chosen, said.owner, said.digest), said.model, room)
        session.created, session.tokens = said.created, kept.tokens
        session._pieces = list(kept.pieces)
        if how is None:
            session.cut, session.state, session.error = True, "failed", Interrupted()
            session._pieces.append(said.cut)
        else:
            session.state = cast(State, how.state)
            session.error = None if how.error is None else retold(how.error)
        return session

    @property
    def id(self) -> str:
        return self.asked.id

    @property
    def client(self) -> str:
        return self.asked.client

    @property
    def priority(self) -> Priority:
        return self.asked.priority

    @property
    def most(self) -> int | None:
        return self.asked.most

    @property
    def begun(self) -> bool:
        """It has said something."""
        return self.tokens > 0

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def clipped(self) -> bool:
        """It has ended, and its beginning is no longer here."""
        return not self.running and self.first > 0

    @property
    def next(self) -> int:
        """Index of the piece that comes next."""
        return self.first + len(self._pieces)

    @property
    def refused(self) -> bool:
        """It failed before it said anything: its only piece is the error."""
        return self.error is not None and self.next == 1

    # The producer.

    def start(self, show: Show, events: AsyncGenerator[Event], timeout_s: float) -> None:
        """Begins to make the answer; the task owns the events, and with them the lease."""
        self._room.started(self, show.problem(Interrupted()))
        self._task = asyncio.create_task(self._produce(show, events, timeout_s))

    async def _produce(self, show: Show, events: AsyncGenerator[Event], timeout_s: float) -> None:
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                await self._keep(show, self._watched(events))
            self._end("cancelled" if self.halt.called else "finished")
        except asyncio.CancelledError:
            if self.halt.called and not self._accepted:  # there is nothing to end yet
                await self._keep(show, nothing(show.choices))
                self._end("cancelled")
            else:
                self._fail(show, self._why)
        except ServerError as problem:
            self._fail(show, problem)
        except Exception as error:
            if limit.expired():
                self._fail(show, Overdue(timeout_s))
                return
            log.exception("an answer failed", exc_info=error)
            self._fail(show, ServerError("The server failed on this request; its log says why."))

    async def _keep(self, show: Show, events: AsyncGenerator[Event]) -> None:
        async with aclosing(events), aclosing(show.pieces(events)) as pieces:
            async for piece in pieces:
                self._add(piece)

    async def _watched(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        async with aclosing(events) as source:
            async for event in source:
                self._accepted = True
                if isinstance(event, Done):
                    self.tokens = event.usage.completion_tokens
                elif not isinstance(event, Role | Finish):
                    self.tokens += 1  # a piece is most often one token
                yield event

    def _add(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += getsizeof(piece)
        self._room.grew(self, piece)
        self._changes.tell()

    def _fail(self, show: Show, problem: ServerError) -> None:
        self.error = problem
        self._add(show.problem(problem))
        self._end("failed")

    def _end(self, state: State) -> None:
        self.state = state
        if self._timer is not None:
            self._timer.cancel()
        self._room.ended(self)
        self._changes.tell()

    def forget(self, size: int) -> int:
        """Drops the oldest pieces, of so many bytes if there are, but never the last one; returns
        how many bytes it dropped."""
        count = dropped = 0
        while dropped < size and count < len(self._pieces) - 1:
            dropped += getsizeof(self._pieces[count])
            count += 1
        del self._pieces[:count]
        self.first += count
        self.size -= dropped
        return dropped

    # Its end.

    def cancel(self) -> None:
        """Ends the answer where it is: readers get its end, marked as cancelled. What has ended
        stays as it is."""
        if not self.running or self.halt.called:
            return
        self.halt.call()
        if not self._accepted and self._task is not None:
            asyncio.get_running_loop().call_soon(self._cancel_unless_accepted, self._task)

    def _cancel_unless_accepted(self, task: asyncio.Task[None]) -> None:
        """What has begun in the meantime hears the halt."""
        if not self._accepted:
            task.cancel()

    def refuse(self, why: ServerError) -> None:
        """Ends the answer with an error."""
        self._why = why
        self._interrupt()

    def _interrupt(self) -> None:
        """Cancels the producer, once it has begun: before that it would never run, and could not
        end its session."""
        if self._task is not None:
            asyncio.get_running_loop().call_soon(self._task.cancel)

    async def over(self) -> None:
        """Returns when the answer has ended."""
        while self.running:
            await self._changes.next()

    async def stop(self, why: ServerError) -> None:
        """Ends the answer with an error; returns when its lease is over."""
        if self._task is not None and not self._task.done():
            self.refuse(why)
            await asyncio.wait({self._task})

    # Readers.

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """While somebody reads. When the last one leaves, the answer ends: at once, or where the
        client chose its name after a while in which it may come back."""
        self.readers += 1
        if self._timer is not None:
            self._timer = self._timer.cancel()
        try:
            yield
        finally:
            self.readers -= 1
            if self.running and not self.readers:
                await self._deserted()

    async def _deserted(self) -> None:
        if self.asked.chosen:
            room, why = self._room, AnswerEnded()
            self._timer = room.clock.call_later(room.patience_s, self.refuse, why)
        else:
            await self.stop(AnswerEnded())

    async def pieces(self, start: int) -> AsyncGenerator[tuple[int, list[str]]]:
        """What there is from an index on, with the index of its first, until the answer has ended.

        Raises EventsGone for a reader that has fallen behind what is kept."""
        if self.cut and start >= self.next:
            yield start, self._pieces[-1:]
            return
        while True:
            if start < self.first:
                raise EventsGone(self.first)
            if start < self.next:
                news = self._pieces[start - self.first :][:_AT_ONCE]
                start, at = start + len(news), start
                yield at, news
            elif not self.running:
                return
            else:
                await self._changes.next()

    def status(self) -> dict[str, Any]:
        """The body of GET /v1/sessions/{id}."""
        return {
            "id": self.id,
            "object": "session",
            "created": int(self.created),
            "model": self.model,
            "state": self.state,
            "tokens": self.tokens,
            "readers": self.readers,
            "first_index": self.first,
            "next_index": self.next,
            "error": self.error and self.error.message,
        }


def _stopping() -> Unavailable:
    return Unavailable("The server is stopping. Send the request again later.")


class Sessions:
    """All answers that run, and those that have ended and may still be read."""

    def __init__(self, settings: Settings, clock: Clock, journal: Journal | None = None):
        self.clock = clock
        self._journal = journal
        self.patience_s = settings.cancel_after_disconnect_s
        self._keep_s = settings.session_ttl_s
        self._most = int(settings.sessions_mb * 1e6)
        self._sessions: dict[tuple[str, str], Session] = {}
        self._ended: dict[Session, float] = {}
        self._recalled: WeakValueDictionary[tuple[str, str], Session] = WeakValueDictionary()
        """From the journal, as long as somebody reads them."""
        self._size = 0

    @property
    def running(self) -> bool:
        """Whether any answer is in the making."""
        return any(session.running for session in self._sessions.values())

    def begin(self, asked: Asked, model: str) -> Session:
        """A new session. Raises SessionBusy while another one of that name runs."""
        self._expire()
        known = self._sessions.get((asked.owner, asked.id))
        if known is not None:
            if known.running:
                raise SessionBusy(
                    f"The session '{asked.id}' is in use by an answer that still runs. Read on "
                    "with Last-Event-ID, cancel it, or choose another session_id."
                )
            self._drop(known)
        self._recalled.pop((asked.owner, asked.id), None)
        session = Session(asked, model, self)
        self._sessions[asked.owner, asked.id] = session
        self._size += session.size
        return session

    async def find(self, owner: str, name: str) -> Session:
        """Raises SessionNotFound for what is unknown, too old or somebody else's."""
        kept = None
        if (session := self._known(owner, name)) is None or session.clipped:
            kept = await self._read_back(owner, name)
            session = self._known(owner, name)  # it may be another one by now
        if kept is not None and (session is None or (session.clipped and kept.ending)):
            session = self._recalled[owner, name] = Session.recalled(kept, self)
        if session is None:
            raise SessionNotFound(name)
        return session

    async def _read_back(self, owner: str, name: str) -> Kept | None:
        return None if self._journal is None else await self._journal.find(owner, name)

    def _known(self, owner: str, name: str) -> Session | None:
        self._expire()
        return self._sessions.get((owner, name)) or self._recalled.get((owner, name))

    def started(self, session: Session, cut: str) -> None:
        if self._journal is not None:
            said = session.asked
            heading = Heading(
                said.owner, said.id, said.digest, said.chosen, session.model, session.created, cut
            )
            self._journal.begun(session, heading)

    def grew(self, session: Session, piece: str) -> None:
        if self._journal is not None:
            self._journal.added(session, piece, session.tokens)
        self._size += getsizeof(piece)
        while self._size > self._most and self._ended:
            self._drop(next(iter(self._ended)))
        excess = max(session.size - self._most / _SHARE, self._size - self._most)
        if excess > 0:
            self._size -= session.forget(int(excess))

    def ended(self, session: Session) -> None:
        kept = session.asked.chosen or not session.refused
        if kept:
            self._ended[session] = self.clock.time() + self._keep_s
        else:
            self._drop(session)  # nobody will ask for it
        if self._journal is not None:
            error = None if session.error is None else told(session.error)
            how = Ending(session.state, error, session.tokens)
            self._journal.ended(session, how if kept else None)

    async def stop(self) -> None:
        """Ends all answers with an error."""
        why = _stopping()
        running = [session.stop(why) for session in self._sessions.values() if session.running]
        await asyncio.gather(*running)
        if self._journal is not None:
            await self._journal.close()

    def _expire(self) -> None:
        now = self.clock.time()
        while self._ended and (oldest := next(iter(self._ended))) and self._ended[oldest] <= now:
            self._drop(oldest)

    def _drop(self, session: Session) -> None:
        del self._sessions[session.asked.owner, session.id]
        self._ended.pop(session, None)
        self._size -= session.size
