"""A pipeline in a worker process, in the shape of any other, and what the two say to each other.

Knows no runtime.
"""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .jobs import Output, Plan


@dataclass(frozen=True, slots=True)
class Start:
    """The first command: what to load."""

    path: Path
    device: str
    properties: dict[str, Any]
    kv_cache_gb: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Step:
    """Every later command: what to add and cancel before one step."""

    adds: tuple[tuple[int, list[int], Plan, int], ...]
    cancels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer to Start: the KV block, and how many tokens the KV cache holds."""

    block: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """The answer to Step."""

    outputs: list[Output]
    busy: bool
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer to either when the runtime threw."""

    reason: str


class RemotePipeline:
    """Adds and cancels travel with the next step. The worker ends when this object goes.

    Raises RuntimeError, with the runtime's reason, when the worker fails or is gone.
    """

    keeps_prefixes = True

    def __init__(self, start: Start):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ov_server.worker", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                start_new_session=True,  # Ctrl-C is the server's, which lets answers finish
            )
        self._connection = Connection(ours.detach())
        self._adds: list[tuple[int, list[int], Plan, int]] = []
        self._cancels: list[int] = []
        self._busy = False
        self._kv_usage = 0.0
        try:
            ready = self._ask(start)
        except RuntimeError:
            self.close()
            raise
        assert isinstance(ready, Ready)
        self.block = ready.block
        self.capacity = ready.capacity

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        self._adds.append((key, prompt, plan, max_tokens))

    def cancel(self, key: int) -> None:
        self._adds = [add for add in self._adds if add[0] != key]
        self._cancels.append(key)

    def busy(self) -> bool:
        return self._busy or bool(self._adds or self._cancels)

    def step(self) -> list[Output]:
        command = Step(tuple(self._adds), tuple(self._cancels))
        self._adds, self._cancels = [], []
        answer = self._ask(command)
        assert isinstance(answer, Stepped)
        self._busy, self._kv_usage = answer.busy, answer.kv_usage
        return answer.outputs

    def kv_usage(self) -> float:
        return self._kv_usage

    def close(self) -> None:
        """Ends the worker, which gives all its memory back."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, command: Start | Step) -> Any:
        try:
            self._connection.send(command)
            answer = self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            raise RuntimeError(f"the worker process ended by itself (exit code {code})") from None
        if isinstance(answer, Failed):
            raise RuntimeError(answer.reason)
        return answer
