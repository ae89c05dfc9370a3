"""What is measured, each in a process of its own: the server, the bare pipeline, llama.cpp's
server. Owns their starting and their end; a subject that is not asked does nothing.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from ov_server.modelfiles import EMBEDDED_NAME, embedded_model

from . import client
from .loads import Answer, Load, Run

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_START_LIMIT_S = 120


class Subject(Protocol):
    @property
    def name(self) -> str: ...
    def run(self, load: Load) -> Run: ...


@dataclass(frozen=True, slots=True)
class HttpSubject:
    """A server that speaks OpenAI's chat completions."""

    name: str
    port: int
    process: psutil.Process
    started_at: float
    """On the clock of time.perf_counter."""
    model: str = EMBEDDED_NAME
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields of every request beside the usual ones."""

    def run(self, load: Load) -> Run:
        return asyncio.run(client.send(self.port, self.model, load, self.more))

    def health(self) -> dict[str, Any]:
        return asyncio.run(client.health(self.port))

    def metrics(self) -> str:
        return asyncio.run(client.get(self.port, "/metrics"))

    def wait_until(self, true: Callable[[dict[str, Any]], bool]) -> None:
        """Until /health says so. Raises TimeoutError."""
        while time.perf_counter() < self.started_at + _START_LIMIT_S:
            with suppress(OSError):
                if true(self.health()):
                    return
            if not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{self.name} ended by itself")
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} at port {self.port}")


@dataclass(frozen=True, slots=True)
class BareSubject:
    name: str
    process: subprocess.Popen[str]

    def run(self, load: Load) -> Run:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(load)) + "\n")
        self.process.stdin.flush()
        said = json.loads(_line(self.process))
        return Run(*(tuple(_answer(a) for a in said[name]) for name in ("first", "then")))


@contextmanager
def server(**settings: object) -> Generator[HttpSubject]:
    """The server as `make run` starts it, but for these settings and without idle unloading; with
    nothing loaded, and it has just answered /health."""
    port = _free_port()
    environment = _environment() | {
        "HOST": client.HOST,
        "PORT": str(port),
        "OV_DEVICE": "CPU",
        "OV_IDLE_UNLOAD_S": "0",
        "OV_LOG_LEVEL": "WARNING",
        "OV_REGISTRY_PATH": str(ROOT / "bench" / "no-registry.json"),
        **{name: str(value) for name, value in settings.items()},
    }
    started_at = time.perf_counter()
    with _process([sys.executable, "main.py"], environment) as process:
        subject = HttpSubject("server", port, psutil.Process(process.pid), started_at)
        subject.wait_until(lambda health: True)
        yield subject


@contextmanager
def bare() -> Generator[BareSubject]:
    with _process([sys.executable, "-m", "bench.bare"], _environment()) as process:
        _line(process)
        yield BareSubject("bare", process)


@contextmanager
def peer(slots: int) -> Generator[HttpSubject]:
    """llama.cpp's server with the embedded GGUF file. SystemExit where it is not installed."""
    if not PEER_PYTHON.exists():
        raise SystemExit("llama.cpp's server is not installed: run make bench.")
    port = _free_port()
    script = str(ROOT / "bench" / "peer.py")
    command = [str(PEER_PYTHON), script, str(embedded_model()), str(port), str(slots)]
    started_at = time.perf_counter()
    with _process(command, _environment(), logs=False) as process:
        subject = HttpSubject("llama.cpp", port, psutil.Process(process.pid), started_at)
        subject.wait_until(lambda health: True)
        yield subject


def _environment() -> dict[str, str]:
    """This process's, without the settings that a person may have for a server of theirs."""
    kept = ("OV_CACHE_DIR",)
    return {k: v for k, v in os.environ.items() if k in kept or not k.startswith("OV_")}


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], *, logs: bool = True
) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if logs else subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended with status {process.wait()}")
    return line


def _answer(said: dict[str, Any]) -> Answer:
    return Answer(text_at=tuple(said.pop("text_at")), **said)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((client.HOST, 0))
        return found.getsockname()[1]
