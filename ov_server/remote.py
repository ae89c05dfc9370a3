"""A pipeline in a worker process, in the shape of any other, and what the two say to each other.

Knows no runtime.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .cancellation import Cancellation
from .channel import Child
from .stepping import Output, PipelineHung, PipelineLost, Plan

_LOAD_LIMIT_S, _STEP_LIMIT_S = 600, 120
"""Seconds that a worker may be silent: more than a large model takes on a slow machine."""


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
    """Every later command: what to add and cancel before a step.

    With `free`, the worker goes on stepping while there is work, until the next command.
    """

    number: int
    adds: tuple[tuple[int, list[int], Plan, int], ...]
    cancels: tuple[int, ...]
    free: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer to Start: the KV block, and how many tokens the KV cache holds."""

    block: int
    capacity: int


class Stepped(NamedTuple):
    """What one step gave, after the command of that number. Like Output a tuple, which is quicker
    to send than a dataclass."""

    number: int
    outputs: list[Output]
    busy: bool
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer to either when the runtime threw."""

    reason: str


class RemotePipeline:
    """Adds and cancels travel with the next step. The worker ends when this object goes.

    Raises RuntimeError, with the runtime's reason, when the runtime fails, PipelineLost when the
    worker is gone, as it is when its load is called off, and PipelineHung when it says nothing for
    longer than a load or a step can take.
    """

    keeps_prefixes = True

    def __init__(self, start: Start, cancellation: Cancellation):
        self._child = Child("ov_server.worker")
        self._channel = self._child.channel
        self._channel.limit(_LOAD_LIMIT_S)
        self._adds: list[tuple[int, list[int], Plan, int]] = []
        self._cancels: list[int] = []
        self._sent = 0
        self._free = False
        self._last = Stepped(0, [], False, 0.0)
        try:
            with cancellation.ending(self._child.kill):
                self._send(start)
                ready = self._receive()
        except RuntimeError:
            self.close()
            raise
        assert isinstance(ready, Ready)
        self._channel.limit(_STEP_LIMIT_S)
        self.block = ready.block
        self.capacity = ready.capacity
        self.pid = self._child.pid

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        self._adds.append((key, prompt, plan, max_tokens))

    def cancel(self, key: int) -> None:
        self._adds = [add for add in self._adds if add[0] != key]
        self._cancels.append(key)

    def busy(self) -> bool:
        behind = self._last.number < self._sent
        return self._last.busy or behind or bool(self._adds or self._cancels)

    def step(self) -> list[Output]:
        """The next step's tokens. Between answers only, the worker does not wait for commands;
        while a prompt is read in parts it does, or it would step without the next part."""
        if self._adds or self._cancels or not self._free:
            self._free = all(max_tokens > 1 for *_, max_tokens in self._adds)
            self._sent += 1
            self._send(Step(self._sent, tuple(self._adds), tuple(self._cancels), self._free))
            self._adds, self._cancels = [], []
        self._last = self._receive()
        return self._last.outputs

    def kv_usage(self) -> float:
        return self._last.kv_usage

    def close(self) -> None:
        """Ends the worker, which gives all its memory back."""
        self._child.close()

    def _send(self, command: Start | Step) -> None:
        try:
            self._channel.send(command)
        except OSError as error:
            raise self._lost(error) from None

    def _receive(self) -> Any:
        try:
            answer = self._channel.receive()
        except (EOFError, OSError) as error:
            raise self._lost(error) from None
        if isinstance(answer, Failed):
            raise RuntimeError(answer.reason)
        return answer

    def _lost(self, error: Exception) -> PipelineLost:
        if isinstance(error, TimeoutError):
            self._child.kill()
            return PipelineHung("the worker process gave no answer for minutes")
        return PipelineLost(f"the worker process ended (exit code {self._child.wait()})")
