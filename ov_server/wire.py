"""The way of an answer to its client: whole or as server-sent events, until the client leaves.

Knows dialects only by the Dialect protocol, and no engine.
"""

import asyncio
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from .core import Completion, Event, collect
from .errors import ServerError, Unavailable
from .metrics import Record

log = logging.getLogger(__name__)

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_KEEP_ALIVE = b": keep-alive\n\n"


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
        data = json.dumps(self._dialect.error(problem), ensure_ascii=False)
        body = f"data: {data}\n\n".encode()
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


class Answer(Attended):
    """The events of a completion, streamed or whole.

    A stream's status is settled by the first event or error, or after `keep_alive_s` of silence
    by a comment line; an error after that is an event of the stream.
    """

    def __init__(
        self,
        dialect: Dialect,
        heading: Any,
        events: AsyncGenerator[Event],
        record: Record,
        *,
        streamed: bool,
        keep_alive_s: float,
    ):
        super().__init__(dialect, record)
        self._heading = heading
        self._events = record.watch(events)
        self._show = self._stream if streamed else self._whole
        self._keep_alive_s = keep_alive_s
        self._spoke_at = 0.0

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await super()._work(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._show(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        completion = await collect(self._events)
        body = self._dialect.complete(self._heading, completion)
        self._started = True
        await JSONResponse(body)(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        pulse = asyncio.create_task(self._keep_alive(send))
        try:
            async for data in self._dialect.stream(self._heading, self._events):
                await self._speak(send, f"data: {data}\n\n".encode())
        finally:
            pulse.cancel()
            await asyncio.wait({pulse})
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
        if not self._started:
            self._started = True
            await send(_start(_STREAM_HEADERS))
        await send({"type": "http.response.body", "body": data, "more_body": True})


def error_response(dialect: Dialect, problem: ServerError) -> JSONResponse:
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else None
    return JSONResponse(dialect.error(problem), problem.status, headers)


def _start(headers: dict[str, str]) -> Message:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
