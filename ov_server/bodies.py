"""What a request's body may be: how large, how slow, in which encoding, of how many JSON values.
ASGI middleware that reads it before anything else does; knows no field of it."""

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import openai
from .errors import BodyTooSlow, ServerError, TooLarge, Unavailable, UnsupportedEncoding
from .values import MOST_VALUES, crowded
from .wire import error_response

_PAUSE_S = 10
_WHOLE_S = 120
_AT_ONCE = 16
"""So many bodies of the largest size may be read at once."""
_SMALL = 2**18
"""Bytes; a body that has no more is read whatever else is."""
LINGER_S = 30
"""How long a refused client may go on sending."""


class Bodies:
    """Reads a request's body whole, within its limits, and hands it on as one message.

    Refusals are sent at once, while the client may still be sending. It is read on to its end, and
    thrown away, for `linger_s` at most: a connection that is closed with unread bytes is reset, and
    the reset would overtake the answer."""

    def __init__(
        self,
        app: ASGIApp,
        most_mb: int,
        pause_s: float = _PAUSE_S,
        whole_s: float = _WHOLE_S,
        linger_s: float = LINGER_S,
    ):
        self._app = app
        self._most_mb = most_mb
        self._pause_s = pause_s
        self._whole_s = whole_s
        self._linger_s = linger_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bodiless = scope["type"] != "http" or scope["method"] in ("GET", "HEAD")
        if bodiless or not has_body(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body: bytes | None = None
        try:
            self._look(headers)
            body = await self._read(receive)
            if body is None:
                return  # the client has left
            if "json" in headers.get("content-type", "").lower() and await _crowded(body):
                raise TooLarge(
                    f"The body holds more than {MOST_VALUES} JSON values. Send fewer and longer "
                    "ones, or several requests."
                )
        except ServerError as problem:
            seconds = self._linger_s if body is None else 0
            seconds = min(seconds, 1) if isinstance(problem, BodyTooSlow) else seconds
            await refuse(_answer(scope, problem), seconds, scope, receive, send)
            return
        except asyncio.CancelledError:  # uvicorn's, when the grace time is over; this answers it
            problem = Unavailable("The server is stopping. Send the request again later.")
            await refuse(_answer(scope, problem), 0, scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)

    def _look(self, headers: Headers) -> None:
        """Refuses what the headers alone tell. Raises ServerError."""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnsupportedEncoding(
                f"The body's Content-Encoding ({encoding[:50]}) is not read here. Send it "
                "uncompressed."
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise self._too_large()

    @property
    def _most(self) -> int:
        return self._most_mb * 2**20

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body has more than {self._most_mb} MB, which is this server's limit "
            "(OV_MAX_BODY_MB). Send less, or raise the limit where the server is started."
        )

    async def _read(self, receive: Receive) -> bytes | None:
        """None when the client leaves. Raises TooLarge, BodyTooSlow, and Unavailable when too much
        is being read at once."""
        pieces: list[bytes] = []
        try:
            return await self._gathered(receive, pieces)
        finally:
            self._held -= _counted(sum(map(len, pieces)))

    async def _gathered(self, receive: Receive, pieces: list[bytes]) -> bytes | None:
        size = 0
        end = time.monotonic() + self._whole_s
        while True:
            try:
                async with asyncio.timeout(min(self._pause_s, end - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(
                    f"The body has not come: no byte for {self._pause_s:g} s, or not all of it "
                    f"within {self._whole_s:g} s. Look at the connection, or send less."
                ) from None
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            self._held += _counted(size) - _counted(size - len(pieces[-1]))
            if size > self._most:
                raise self._too_large()
            if size > _SMALL and self._held > _AT_ONCE * self._most:
                raise Unavailable("Too many large bodies are being read. Send it again later.")
            if not message.get("more_body", False):
                return b"".join(pieces)


async def refuse(
    response: Response, linger_s: float, scope: Scope, receive: Receive, send: Send
) -> None:
    """Sends a refusal at once, and ends it when the client has sent its body or has left: after
    `linger_s` at the latest."""

    async def held(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"connection", b"close")]
            await send({**message, "headers": headers})
            return
        await send({**message, "more_body": True})

    await response(scope, receive, held)
    with suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(linger_s):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    break
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Replay:
    """The body as one message; after it only the client's leaving is told."""

    def __init__(self, body: bytes, receive: Receive):
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        return message or await self._receive()


def _counted(size: int) -> int:
    """What a body counts among all that are being read."""
    return size if size > _SMALL else 0


def has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _answer(scope: Scope, problem: ServerError) -> Response:
    scope["state"]["record"].failed(problem)
    return error_response(openai, problem)


async def _crowded(body: bytes) -> bool:
    """Large bodies are looked at elsewhere, which lets the event loop run between the steps."""
    return crowded(body) if len(body) < 2**20 else await asyncio.to_thread(crowded, body)
