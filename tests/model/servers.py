"""Servers for tests: `main.py` in a process of its own, and the app in a thread of this one."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from fastapi import FastAPI

import main
from ov_server.settings import Settings

from .waiting import BOUND_S, until

ROOT = Path(main.__file__).parent
MODEL = "smollm2-135m-instruct"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**settings: object) -> dict[str, str]:
    """This process's, with none but the given OV_ settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OV_")}
    return clean | {key: str(value) for key, value in settings.items()}


class Server:
    """What any server tells over its socket."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self) -> httpx.Client:
        """Nothing is encrypted, and to read the certificates for it would take 26 ms."""
        return httpx.Client(base_url=self.url, timeout=BOUND_S, trust_env=False, verify=False)

    def get(self, path: str) -> httpx.Response:
        with self.http() as client:
            return client.get(path)

    def post(self, body: dict[str, Any]) -> httpx.Response:
        """A chat completion, whole."""
        with self.http() as client:
            return client.post("/v1/chat/completions", json=body)

    def act(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """A POST to any route."""
        with self.http() as client:
            return client.post(path, json=body)

    def health(self) -> dict[str, Any]:
        return self.get("/health").json()

    def queue(self, model: str = MODEL) -> dict[str, int]:
        return self.health()["queue"].get(model, {"running": 0, "waiting": 0})

    def loaded(self, model: str) -> bool:
        return model in self.health()["models"]["loaded"]

    def loading(self, model: str) -> bool:
        return model in self.health()["models"]["loading"]

    def gauge(self, name: str, model: str = MODEL) -> float:
        found = re.search(rf'^{name}{{model="{model}"}} (\S+)$', self.get("/metrics").text, re.M)
        assert found, f"/metrics has no {name} of {model}"
        return float(found[1])

    def accepting(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def wait_until_idle(self, model: str = MODEL, seconds: float = BOUND_S) -> None:
        """Until nothing runs and nothing waits, which /metrics has to confirm."""
        idle = {"running": 0, "waiting": 0}
        until(lambda: self.queue(model) == idle, f"an idle {model}", seconds)
        assert self.gauge("ov_num_requests_running", model) == 0
        assert self.gauge("ov_num_requests_waiting", model) == 0


class ProcessServer(Server):
    """A server that a person started. Its output goes to files, so that no pipe fills up."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: dict[str, str],
        port: int,
        folder: Path,
        before: Sequence[str] = (),
    ):
        """`before`: a command that runs the one behind it."""
        self.port = port
        self.registry = Path(env["OV_REGISTRY_PATH"])
        self._folder = folder
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
            command = [*before, sys.executable, *arguments]
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=err)

    @property
    def said(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def log(self) -> str:
        return (self._folder / "stderr").read_text()

    def log_lines(self, *parts: str) -> list[str]:
        """The lines of the log that hold all of these."""
        return [line for line in self.log.splitlines() if all(part in line for part in parts)]

    def log_line(self, *parts: str) -> str:
        """The first such line, when it has come."""
        return until(lambda: self.log_lines(*parts), f"a log line with {parts}")[0]

    def workers(self) -> list[psutil.Process]:
        """The processes that models run in."""
        return self.children("ov_server.worker")

    def children(self, module: str) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if module in child.cmdline()]

    def worker(self) -> psutil.Process:
        return until(self.workers, "a worker")[0]

    def ready(self) -> bool:
        assert self.process.poll() is None, f"the server ended: {self.log}"
        return self.accepting() and self.get("/health").status_code == 200

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(BOUND_S)

    def kill(self) -> None:
        """For the end of a test, whatever has happened."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def process_server(
    folder: Path,
    cache: Path,
    registry: Path | None = None,
    start: Sequence[str] = ("main.py",),
    ready: Callable[[ProcessServer], bool] = ProcessServer.ready,
    before: Sequence[str] = (),
    **settings: object,
) -> Generator[ProcessServer]:
    """`python main.py` on CPU; without a registry the embedded model answers."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    env = environment(
        PORT=port,
        HOST="127.0.0.1",
        OV_DEVICE="CPU",
        OV_CACHE_DIR=cache,
        OV_REGISTRY_PATH=registry or folder / "registry.json",
        **settings,
    )
    server = ProcessServer(start, env, port, folder, before)
    try:
        until(lambda: ready(server), "a server that answers")
        yield server
    finally:
        server.kill()


class ThreadServer(Server):
    """The app under uvicorn in a thread of this process, for tests that need its engine."""

    def __init__(self, settings: Settings, app: FastAPI | None = None):
        self.port = free_port()
        self.app = app or main.create_app(settings)
        config = uvicorn.Config(self.app, port=self.port, log_level="warning")
        self._uvicorn = uvicorn.Server(config)
        self._runner = asyncio.Runner()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._uvicorn.serve())

    def __enter__(self) -> "ThreadServer":
        self._thread.start()
        until(lambda: self._uvicorn.started, "a server that listens")
        return self

    def __exit__(self, *error: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive(), "the server does not stop"

    def on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs work on the server's event loop and waits for what it gives."""
        future = asyncio.run_coroutine_threadsafe(work, self._runner.get_loop())
        return future.result(BOUND_S)
