"""The way of an answer to its clients: whole or as server-sent events, until they leave.

Knows dialects only by the Dialect protocol, and no engine.
"""

import asyncio
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from .core import Completion, Event, collect
from .errors import ServerError, Unavailable
from .metrics import Record
from .sessions import Session
from .settings import Settings

log = logging.getLogger(__name__)

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_BREAKS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}
"""Line breaks to Python's clients that read lines of text (httpx, requests), though to no other."""
_KEEP_ALIVE = b": keep-alive\n\n"
_STALLED_S = 60


class Dialect(Protocol):
    """How one API shows answers and errors; the dialect modules fit it."""

    def complete(self, heading: Any, completion: Completion, /) -> dict[str, Any]: ...
    def stream(self, heading: Any, events: AsyncGenerator[Event], /) -> AsyncGenerator[str]: ...
    def error(self, problem: ServerError, /) -> dict[str, Any]: ...


class Attended(Response, ABC):
    """A response that works only as long as its client listens."""

    def __init__(self, dialect: Dialect, record: Record):
        super().__init__()
        self._dialect = dialect
        self._record = record
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.create_task(self._work(scope, receive, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._record.outcome = "client left"
        except asyncio.CancelledError:  # uvicorn's, when the grace time is over; this answers it
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                await self._fail(Unavailable("The server is stopping."), scope, receive, send)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except TimeoutError:
            self._record.outcome = "client too slow"
        except OSError:
            self._record.outcome = "client left"
        except ServerError as problem:
            await self._fail(problem, scope, receive, send)
        except Exception:
            log.exception("a request failed")
            problem = ServerError("The server failed on this request; its log says why.")
            await self._fail(problem, scope, receive, send)

    @abstractmethod
    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Works and sends, whole or piece by piece; what it raises becomes an error."""

    async def _fail(self, problem: ServerError, scope: Scope, receive: Receive, send: Send) -> None:
        self._record.failed(problem)
        if not self._started:
            await error_response(self._dialect, problem)(scope, receive, send)
            return
        body = f"data: {_line(_json(self._dialect.error(problem)))}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": False})


class Outcome(Attended):
    """The JSON that some work gives when it is done."""

    def __init__(
        self, dialect: Dialect, work: Callable[[], Awaitable[dict[str, Any]]], record: Record
    ):
        super().__init__(dialect, record)
        self._do = work

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._do()
        self._started = True
        await JSONResponse(body)(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Showing:
    """How one dialect shows one answer: as the pieces of a stream, or as a single one."""

    dialect: Dialect
    heading: Any
    choices: int
    streamed: bool

    def pieces(self, events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
        if self.streamed:
            return self.dialect.stream(self.heading, events)
        return self._whole(events)

    async def _whole(self, events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
        yield _json(self.dialect.complete(self.heading, await collect(events)))

    def problem(self, problem: ServerError) -> str:
        return _json(self.dialect.error(problem))


class Reader(Attended):
    """Reads a session's answer for one client; a session that was refused is the client's error."""

    def __init__(self, dialect: Dialect, session: Session, record: Record):
        super().__init__(dialect, record)
        self._session = session

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._session.listening():
            await self._read(scope, receive, send)
        if self._session.error is not None:
            self._record.failed(self._session.error)
        elif self._session.state == "cancelled":
            self._record.outcome = "cancelled"

    @abstractmethod
    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Whole(Reader):
    """The answer in one piece."""

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces = [piece async for _, news in self._session.pieces(0) for piece in news]
        if self._session.error is not None:
            raise self._session.error
        headers = {"X-Session-Id": self._session.id}
        self._started = True
        await Response(pieces[0], 200, headers, "application/json")(scope, receive, send)


class Stream(Reader):
    """The answer's events from one index on, each with its id.

    The status is settled by the first event or error, or after `keep_alive_s` of silence by a
    comment line. A client that takes nothing for `stalled_s` is given up.
    """

    def __init__(
        self,
        dialect: Dialect,
        session: Session,
        record: Record,
        *,
        start: int = 0,
        keep_alive_s: float,
        stalled_s: float = _STALLED_S,
    ):
        super().__init__(dialect, session, record)
        self._from = start
        self._keep_alive_s = keep_alive_s
        self._stalled_s = stalled_s
        self._spoke_at = 0.0

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        pulse = asyncio.create_task(self._keep_alive(send))
        try:
            async for index, pieces in self._session.pieces(self._from):
                if self._session.error and self._session.refused and not self._started:
                    raise self._session.error
                await self._speak(send, _framed(self._session.id, index, pieces))
        finally:
            pulse.cancel()
            await asyncio.wait({pulse})
        if not self._started:  # the client has it all
            await self._speak(send, b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        self._spoke_at = time.monotonic()
        while True:
            silence = time.monotonic() - self._spoke_at
            if silence >= self._keep_alive_s:
                await self._speak(send, _KEEP_ALIVE)
                silence = 0
            await asyncio.sleep(self._keep_alive_s - silence)

    async def _speak(self, send: Send, data: bytes) -> None:
        self._spoke_at = time.monotonic()
        async with asyncio.timeout(self._stalled_s):
            if not self._started:
                self._started = True
                await send(_start(_STREAM_HEADERS | {"X-Session-Id": self._session.id}))
            await send({"type": "http.response.body", "body": data, "more_body": True})


def respond(
    session: Session,
    showing: Showing,
    events: AsyncGenerator[Event],
    record: Record,
    settings: Settings,
    timeout_s: float | None,
) -> Reader:
    """Begins to make a session's answer, and reads it for the client that asked for it."""
    limit_s = min(timeout_s or math.inf, settings.request_timeout_s)
    session.start(showing, record.watch(events), limit_s)
    if not showing.streamed:
        return Whole(showing.dialect, session, record)
    return Stream(showing.dialect, session, record, keep_alive_s=settings.keep_alive_s)


def _framed(session: str, index: int, pieces: list[str]) -> bytes:
    """Pieces as server-sent events (html.spec.whatwg.org, 9.2), numbered from `index`."""
    numbered = enumerate(pieces, index)
    events = (f"id: {session}:{i}\ndata: {_line(piece)}\n\n" for i, piece in numbered)
    return "".join(events).encode()


def _line(json: str) -> str:
    """The same JSON, as one line to whoever reads it."""
    return json if json.isascii() else json.translate(_BREAKS)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def error_response(dialect: Dialect, problem: ServerError) -> JSONResponse:
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else {}
    if not problem.worth_retrying:
        headers["X-Should-Retry"] = "false"  # the OpenAI SDK would send it two times more
    return JSONResponse(dialect.error(problem), problem.status, headers)


def _start(headers: dict[str, str]) -> Message:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
