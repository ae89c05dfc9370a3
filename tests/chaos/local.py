"""The app on an event loop of its own, without a socket: whatever bytes a client could send go in.
Its engine makes prompts of what it is asked, as the real one does, and says hello."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import uvloop
from fakes import FakeEngine, models_on_disk, settled
from starlette.types import Message

from main import create_app
from ov_server.cancellation import Cancellation
from ov_server.core import ChatRequest, Event
from ov_server.entries import Entry
from ov_server.modelfiles import ModelFiles
from ov_server.prompt import PLAIN, Abilities, template_messages
from ov_server.settings import Settings
from ov_server.toolformats import FORMATS

from .swarm import Answer

T = TypeVar("T")

HANGS_S = 10
Headers = Sequence[tuple[bytes, bytes]]

_ABLE = Abilities(FORMATS["hermes"], tools=True, calls=True, results=True, several=True)


class Prompting(FakeEngine):
    """Makes the prompts of a model that knows tools and of one that doesn't."""

    async def chat(
        self, request: ChatRequest, halt: Cancellation | None = None
    ) -> AsyncGenerator[Event]:
        for can in (PLAIN, _ABLE):
            template_messages(request.messages, request.tools, can)
        async for event in super().chat(request, halt):
            yield event
        self.history.clear()


def load(entry: Entry, files: ModelFiles, settings: Settings, cancellation: Cancellation) -> Any:
    return Prompting(entry.name)


class Complaints(logging.Handler):
    """What is logged as an error: a request that failed in a way that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(logging.Formatter().format(record))

    def check(self) -> None:
        """That nothing was heard since it was asked last."""
        heard, self._heard = self._heard, []
        assert not heard, heard


class Local:
    """Models are `a` and `b`. Whoever is through calls `check_rest`."""

    def __init__(self, folder: Path, **said: Any):
        path = models_on_disk(folder, "a", "b")
        defaults = {"registry_path": path, "device": "CPU", "kv_cache_gb": 1}
        self.folder = folder
        self.app = create_app(
            Settings.model_validate(defaults | said), load, lambda asked: (asked, "none", None)
        )
        self.complaints = Complaints()
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._life = self.app.router.lifespan_context(self.app)

    def __enter__(self) -> "Local":
        self.run(self._life.__aenter__())
        self.run(settled())
        logging.getLogger().addHandler(self.complaints)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        logging.getLogger().removeHandler(self.complaints)
        self.run(self._life.__aexit__(None, None, None))
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What some work on the app's event loop gives."""
        return self._runner.run(work)

    def ask(self, method: str, target: bytes, headers: Headers = (), body: bytes = b"") -> Answer:
        """The answer to a request; TimeoutError when there is none for long."""
        path, _, query = target.partition(b"?")
        sent = [(b"host", b"test"), *headers]
        if body:
            sent.append((b"content-length", b"%d" % len(body)))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in sent],
            "client": ("192.0.2.7", 4711),
            "server": ("test", 80),
        }
        return self.run(self._ask(scope, body))

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        answer, pieces = Answer(), []
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        never = asyncio.Event()

        async def receive() -> Message:
            if not messages:
                await never.wait()
            return messages.pop()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {n.decode(): v.decode("latin-1") for n, v in message["headers"]}
            else:
                pieces.append(message["body"])

        async with asyncio.timeout(HANGS_S):
            await self.app(scope, receive, send)
        answer.body = b"".join(pieces)
        return answer

    def check_rest(self) -> None:
        """That nothing is left of all that was asked: no answer in work, no lease, no task, no
        error in the log."""
        self.complaints.check()
        self.run(settled())
        sessions = self.app.state.sessions
        assert not [s for s in sessions._sessions.values() if s.running]
        for slot in self.app.state.models.slots().values():
            assert slot.leases == 0
            assert slot.engine is None or slot.engine.running == 0
        assert self.run(self._left()) == []

    async def _left(self) -> list[str]:
        return [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
