"""What a connection may do before it is a request, and while it reads an answer: uvicorn's protocol
on httptools, which by itself waits for ever and takes headers of any size. Knows no route.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_IDLE_S = 60
"""A silent connection is asked after so many seconds whether its client is still there."""


class Connection(HttpToolsProtocol):
    """One connection. Every limit is an attribute, so that tests may set their own."""

    head_s: float = 15
    """In which a request's line and headers have to come, from the connection's begin or the first
    byte behind an answer; so has the rest of a body that nobody reads."""
    stalled_s: float = 60
    """For which more of an answer than `write_limit` may wait for a client that does not read."""
    linger_s: float = 2
    """For which what a refused client still sends is thrown away, so that it can read why."""
    most_url = 8 * 1024
    most_head = 32 * 1024
    write_limit = 64 * 1024
    """Bytes of an answer that wait here for a slow reader, beside what the kernel holds for it;
    beyond them the answer's maker waits."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _refusal: tuple[int, str] | None = None
    _refused = False
    _answering: RequestResponseCycle | None = None
    """The request that is being answered: `cycle` is the last one that came, perhaps behind it."""
    _heads = 0
    _in_body = False
    _moved = False
    """A part of a body has come with the last bytes."""
    _bare_chunk = False
    """A chunk has begun and has no content yet: the last one never gets any."""
    _pending = 0
    """Bytes since the last head or body: those of a head, or of fields behind a body, that are not
    whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=self.write_limit)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline = _cancelled(self._deadline)
        self._stalled = _cancelled(self._stalled)
        self._unset_keepalive_if_required()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        heads, in_body, bare = self._heads, self._in_body, self._bare_chunk
        self._moved = False
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        counts = not in_body or (bare and self._bare_chunk and not self._moved)
        self._pending = self._pending + len(data) if counts and heads == self._heads else 0
        if self._pending > self.most_head:
            self._refuse(431, self._too_long())
        elif self._between_requests and self.timeout_keep_alive_task is None:
            self._wait_for_head()

    @property
    def _between_requests(self) -> bool:
        """Nothing is being answered: the next head has to come, or the rest of an old body."""
        return self.cycle is None or self.cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _leave(self) -> None:
        """Tells the answer that nobody hears it any more: what it says would be an error."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    # The parser's callbacks.

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.most_url:
            said = f"The request's address has more than {self.most_url} bytes. Send a shorter one."
            self._refusal = 414, said
            raise ValueError(said)  # becomes the parser's error, which ends in send_400_response

    def on_header(self, name: bytes, value: bytes) -> None:
        """Fields behind a body are no headers of the request (RFC 9110, 6.5.1): the parser tells
        them in the same way."""
        if not self._in_body:
            super().on_header(name, value)

    def on_chunk_header(self) -> None:
        self._bare_chunk = True

    def on_body(self, body: bytes) -> None:
        self._bare_chunk = False
        self._moved = True
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        self._bare_chunk = False

    def on_headers_complete(self) -> None:
        head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head > self.most_head:
            self._refusal = 431, self._too_long()
            raise ValueError(self._refusal[1])
        self._heads += 1
        self._in_body = True
        self._deadline = _cancelled(self._deadline)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _too_long(self) -> str:
        return f"The request's headers have more than {self.most_head} bytes. Send fewer."

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, msg)))

    # Deadlines: at most one timer for a connection whose request is being waited for, or whose
    # client does not read.

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._pending and not self.transport.is_closing():
            self._refuse(408, f"The request's headers have not come within {self.head_s:g} s.")
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled = _cancelled(self._stalled)

    def _refuse(self, status: int, said: str) -> None:
        """Answers in plain text and closes, when the client has closed or soon: with bytes unread,
        the end would be a reset, which overtakes the answer."""
        self._refused = True
        self._deadline = _cancelled(self._deadline)
        self._unset_keepalive_if_required()
        if not self._between_requests:  # its answer is on the way; this one can't go in between
            self._leave()
            self.transport.close()
            return
        body = said.encode("ascii", "replace")
        lines = [STATUS_LINE[status]]
        lines += [name + b": " + value + b"\r\n" for name, value in self._default_headers()]
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        self.transport.write(b"".join(lines) + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(self.linger_s, self.transport.close)

    def _default_headers(self) -> list[tuple[bytes, bytes]]:
        ours = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        return [*self.server_state.default_headers, *ours]


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def watch_peers(listener: socket.socket, gone_s: float = 60) -> None:
    """Lets the kernel end accepted connections, which inherit this on Linux, whose client has
    vanished: one that acknowledges nothing for that long, or no longer answers when it is asked."""
    options: dict[str, Any] = {
        "TCP_KEEPIDLE": _IDLE_S,
        "TCP_KEEPINTVL": 15,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": round(gone_s * 1000),
    }
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has each
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
