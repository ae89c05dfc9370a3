"""`python main.py`: says what it does and where it listens, to people and to systemd, then hands
over to uvicorn."""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from .connections import Connection, watch_peers
from .hosts import is_allowed
from .logs import sturdy
from .memory import limit_arenas
from .notify import Heart, Supervisor, supervisor

log = logging.getLogger(__name__)

_STUCK_S = 180
"""A step that takes longer will not end: a worker's is given up before, and what else runs is one
token, or one prompt on a device without paged attention."""
_KEEP_ALIVE_S = 20
"""A connection stays open behind an answer for so long: longer than clients keep one for another
request (httpx 5 s, aiohttp 15 s), or they would send into one that is being closed."""
_CLOSING_S = 30
"""What models take to leave, at the most, when the answers have ended."""


def launch(app: FastAPI, stuck_s: float = _STUCK_S) -> None:
    """Serves on HOST and PORT until told to stop. SystemExit, in one line, when it can't.

    `stuck_s`: how long a step may take until systemd's watchdog is no longer told that all is well.
    """
    limit_arenas()
    sys.stdout, sys.stderr = sturdy(sys.stdout, 1), sturdy(sys.stderr, 2)
    _allow_files()
    sys.set_int_max_str_digits(640)  # the least: reading a number takes the square of its digits
    manager = supervisor(os.environ)
    host, port = _address()
    listener = _listen(host, port)
    grace_s = app.state.settings.stop_grace_s
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises it again when all is over
        signal.signal(number, lambda *_: None)
    heart = Heart(
        manager,
        lambda: "stopping" if server.should_exit else _loaded(app),
        lambda: _stuck(app, stuck_s),
    )

    def started() -> None:
        greet(app, host, port)
        manager.tell("READY=1", f"STATUS={_loaded(app)}")
        heart.start()

    server = _Server(config, started, manager, lambda: app.state.sessions.running)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Wakes once a second, for the Date header, where uvicorn wakes ten times to see whether it
    has been told to stop: an idle machine stays cool. Stops at once when it is told."""

    def __init__(
        self,
        config: uvicorn.Config,
        began: Callable[[], None],
        manager: Supervisor,
        working: Callable[[], bool],
    ):
        """`working`: whether answers run, also such that nobody reads."""
        super().__init__(config)
        self._working = working
        self._began = began
        self._manager = manager
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._began()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace_s = self.config.timeout_graceful_shutdown or 0
        limit = f"EXTEND_TIMEOUT_USEC={(grace_s + _CLOSING_S) * 1_000_000}"
        self._manager.tell("STOPPING=1", "STATUS=stopping", limit)
        if self.server_state.tasks or self._working():
            _say(f"Answers in work have {grace_s} s to end; Ctrl-C again stops at once.")
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves it out then
            await self.lifespan.shutdown()

    async def _wait_tasks_to_complete(self) -> None:
        """Within the grace time. An answer may be in the making that nobody reads at the moment."""
        await super()._wait_tasks_to_complete()
        while self._working() and not self.force_exit:  # noqa: ASYNC110  (as uvicorn waits)
            await asyncio.sleep(0.1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)


def _allow_files(most: int = 65536) -> None:
    """Each connection is an open file, of which a service may often have 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _address() -> tuple[str, int]:
    """HOST and PORT. SystemExit, in one line, when PORT is no port."""
    port = os.environ.get("PORT") or "9000"
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise SystemExit(f"PORT={port} is not a port: choose a number from 1 to 65535.")
    return os.environ.get("HOST") or "0.0.0.0", int(port)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        watch_peers(listener)
        listener.listen(2048)
    except OSError as error:
        raise SystemExit(
            f"ov-llm-server can't listen on {host}:{port} ({error.strerror}). "
            "Choose another with PORT=... or HOST=..."
        ) from None
    return listener


def greet(app: FastAPI, host: str, port: int) -> None:
    """Says where it listens and how to try it, and warns where nobody needs a key to do so."""
    models = [entry.name for entry in app.state.registry.entries()]
    shown = f"[{host}]" if ":" in host else host
    _say(f"ov-llm-server listens on http://{shown}:{port} (stop it with Ctrl-C)")
    _say(f"Models: {', '.join(models) or 'none yet: convert one, or set OV_MODEL_PATH'}")
    keys = app.state.keys
    keys.refresh()
    if models:
        _say(f"Try it:\n\n{_curl(f'http://{_reachable(host)}:{port}', models[0], keys.needed)}\n")
    if not keys.needed and not is_allowed(host, ()):
        log.warning(
            "whoever reaches this port can use the server: set OV_API_KEYS, or HOST=127.0.0.1"
        )


def _loaded(app: FastAPI) -> str:
    """What `systemctl status` shows."""
    names = [name for name, slot in app.state.models.slots().items() if slot.engine]
    return f"in memory: {', '.join(sorted(names)) or 'no model'}"


def _stuck(app: FastAPI, limit_s: float) -> str | None:
    """Why the watchdog should not be told that all is well."""
    seconds = app.state.models.stuck_s()
    return f"an engine makes no more steps ({seconds:.0f} s)" if seconds > limit_s else None


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _curl(address: str, model: str, keyed: bool) -> str:
    key = ' -H "Authorization: Bearer $OV_SERVER_KEY"' if keyed else ""
    return (
        f"curl {address}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '\n"
        f'  {{"model": "{model}", "temperature": 0,\n'
        '   "messages": [{"role": "user", "content": "What is the capital of France?"}]}\''
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
