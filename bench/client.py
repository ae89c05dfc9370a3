"""A client that costs little, since it works on the server's cores: it stamps what arrives and
reads it when all is over. Speaks to 127.0.0.1 alone.
"""

import asyncio
import json
import re
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from .loads import Answer, Load, Run, body

HOST = "127.0.0.1"
_END = b"data: [DONE]"
_EVENT = re.compile(rb"data: (\{.*\})")
_NO_TEXT = (b'"content":""', b'"content":null')


@dataclass(slots=True, eq=False)
class _Stream(asyncio.Protocol):
    """One request and the pieces of its answer as they came from the socket."""

    request: bytes
    done: asyncio.Future[None]
    enough: asyncio.Event
    lead: int
    sent_at: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    _events: int = 0
    _transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.sent_at = time.perf_counter()
        self._transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.pieces.append((time.perf_counter(), data))
        self._events += data.count(b"data: ")
        if self._events > self.lead:  # the first event has no text
            self.enough.set()
        if _END in data or (not data.startswith(b"HTTP/1.1 200") and len(self.pieces) == 1):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.enough.set()
        if not self.done.done():
            self.done.set_result(None)

    def answer(self) -> Answer:
        """Raises RuntimeError when it is not a whole answer."""
        data = b"".join(piece for _, piece in self.pieces)
        if not data.startswith(b"HTTP/1.1 200") or _END not in data:
            raise RuntimeError(f"no answer: {data[:2000]!r}")
        ends = list(accumulate(len(piece) for _, piece in self.pieces))
        texts, usage = [], {}
        for event in _EVENT.finditer(data):
            if b'"content":"' in event[1] and not any(mark in event[1] for mark in _NO_TEXT):
                texts.append(self.pieces[bisect_left(ends, event.end())][0])
            elif b'"completion_tokens"' in event[1]:
                usage = json.loads(event[1])["usage"]
        return Answer(
            self.sent_at,
            tuple(texts),
            self.pieces[-1][0],
            usage["prompt_tokens"],
            usage["completion_tokens"],
        )


async def send(
    port: int, model: str, load: Load, more: Mapping[str, Any] = MappingProxyType({})
) -> Run:
    """The load on the server at the port; `more` are fields of every request."""
    loop = asyncio.get_running_loop()

    async def ask(asks: tuple, lead: int = 0) -> list[_Stream]:
        streams = [
            _Stream(
                _post(port, {**body(a, model), **more}), loop.create_future(), asyncio.Event(), lead
            )
            for a in asks
        ]
        for stream in streams:
            await loop.create_connection(lambda s=stream: s, HOST, port)
        return streams

    for stream in await ask(load.before):
        await stream.done
    streams = await ask(load.first, load.lead)
    if load.then:
        await asyncio.gather(*(stream.enough.wait() for stream in streams))
        streams += await ask(load.then)
    await asyncio.gather(*(stream.done for stream in streams))
    return Run.of(load, [stream.answer() for stream in streams])


def _post(port: int, fields: dict[str, Any]) -> bytes:
    content = json.dumps(fields).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def health(port: int) -> dict[str, Any]:
    """The body of GET /health. Raises as get() does."""
    return json.loads(await get(port, "/health"))


async def get(port: int, path: str) -> str:
    """The body of a GET, over a connection of its own. OSError when there is no answer, or one
    that says that the server is not ready."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"GET {path}: {head[:200]!r}")
    return content.decode()
