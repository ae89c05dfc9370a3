"""The app for tests, started with a fake loader, and clients that a test may hold or cut off."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2  # the official client's own
import pytest
from fakes import FakeEngine, FakeLoader, models_on_disk, soon
from fastapi import FastAPI
from openai import AsyncOpenAI
from starlette.types import Message

from main import create_app
from ov_server.settings import Settings
from ov_server.status import Probe

HI: list[Any] = [{"role": "user", "content": "Say hello"}]


class Server:
    """The app, started, with two clients and what stands behind it."""

    def __init__(self, app: FastAPI, folder: Path, loader: FakeLoader):
        self.app = app
        self.folder = folder
        self.loader = loader
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        self.sdk = AsyncOpenAI(
            base_url="http://test/v1",
            api_key="none",
            http_client=httpx2.AsyncClient(transport=httpx2.ASGITransport(app)),
            max_retries=0,
        )

    async def engine(self, name: str = "a") -> FakeEngine:
        """The model's engine, loaded."""
        await soon(self.app.state.models.warm(name))
        return next(e for e in reversed(self.loader.engines) if e.name == name)

    async def chat(self, **fields: Any) -> httpx.Response:
        body = {"model": "a", "messages": HI} | fields
        return await soon(self.http.post("/v1/chat/completions", json=body))

    def call(self, **fields: Any) -> "Caller":
        return self.post("/v1/chat/completions", {"model": "a", "messages": HI} | fields)

    def chat_from(self, client: str, **fields: Any) -> "Caller":
        """A chat of a client with another address."""
        body = json.dumps({"model": "a", "messages": HI} | fields).encode()
        return Caller(self.app, "/v1/chat/completions", body, client=client)

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> "Caller":
        """A request that a test follows step by step."""
        return Caller(self.app, path, b"" if body is None else json.dumps(body).encode(), headers)

    def get(self, path: str, **headers: str) -> "Caller":
        return Caller(self.app, path, b"", headers, method="GET")


class Caller:
    """A client on the bare ASGI interface, which sees every message and may leave."""

    def __init__(
        self,
        app: FastAPI,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        client: str = "192.0.2.7",
    ):
        """Headers are named as Python would; `client` is its address."""
        self._body = body
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._asked = False
        self.hung_up = False
        more = {name.lower().replace("_", "-"): value for name, value in (headers or {}).items()}
        sent = {"content-type": "application/json"} | more
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": (client, 4711),
            "server": ("test", 80),
        }
        self.task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: FastAPI, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.hung_up:
            raise OSError("the connection is gone")
        self._sent.put_nowait(message)

    async def next(self) -> Message:
        return await soon(self._sent.get())

    async def until(self, text: str) -> str:
        """The body from here to the piece that contains the text."""
        said = ""
        while text not in said:
            said += (await self.next()).get("body", b"").decode()
        return said

    async def rest(self) -> str:
        """The body from here to its end, which has to come."""
        said, more = "", True
        while more:
            message = await self.next()
            said += message.get("body", b"").decode()
            more = message.get("more_body", message["type"] == "http.response.start")
        await soon(self.task)
        return said

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and body of a whole answer."""
        status, body = (await self.next())["status"], (await self.next())["body"]
        await soon(self.task)
        return status, json.loads(body)

    async def leave(self) -> None:
        self._gone.set()
        await soon(self.task)

    @property
    def silent(self) -> bool:
        return self._sent.empty()


def healthy(asked: str) -> tuple[str, str, str | None]:
    return asked, "a processor", None


def problem(response: httpx.Response) -> dict[str, Any]:
    """The error of a response, whose shape is OpenAI's and nothing else."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)
    assert isinstance(body["error"]["type"], str)
    return body["error"]


def data_of(body: str) -> list[str]:
    return [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the app for some models; `said` are settings."""

    @asynccontextmanager
    async def start(
        *names: str,
        keys: dict[str, Any] | None = None,
        probe: Probe = healthy,
        **said: Any,
    ) -> AsyncGenerator[Server]:
        path = models_on_disk(tmp_path, *(names or ("a",)), **(keys or {}))
        defaults = {"registry_path": path, "device": "CPU", "kv_cache_gb": 1}
        loader = FakeLoader()
        app = create_app(Settings.model_validate(defaults | said), loader, probe)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(app.router.lifespan_context(app))
            server = Server(app, tmp_path, loader)
            stack.push_async_callback(server.http.aclose)
            stack.push_async_callback(server.sdk.close)
            yield server

    return start


@pytest.fixture
async def server(start: Start) -> AsyncGenerator[Server]:
    async with start("a", "b") as server:
        yield server
