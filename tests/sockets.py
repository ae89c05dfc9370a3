"""An app at a real socket in the test's own event loop, and clients of bare bytes."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fakes import soon
from starlette.types import Receive, Scope, Send

from ov_server.connections import Connection, watch_peers


@asynccontextmanager
async def listening(
    kind: type[Connection], app: Callable[[Scope, Receive, Send], Awaitable[Any]]
) -> AsyncGenerator[int]:
    """An app behind such connections; its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    watch_peers(listener)
    listener.listen()
    config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await soon(task)


class Client:
    """Bytes to and from a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> str:
        """All until the server closes."""
        return (await soon(self.reader.read())).decode()

    async def hears(self, text: bytes) -> None:
        await soon(self.reader.readuntil(text))


@asynccontextmanager
async def client(port: int) -> AsyncGenerator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
