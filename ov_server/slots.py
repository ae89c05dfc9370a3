"""One load of one model: what Models counts, keeps and frees; and all of them. Decides nothing."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .cancellation import Cancellation
from .core import Engine, EngineStats
from .entries import Entry
from .errors import LoadFailed, ServerError, Unavailable
from .eviction import Loaded
from .memory import rss_mb
from .modelfiles import ModelFiles
from .settings import Settings

log = logging.getLogger(__name__)


_LOAD_LIMIT_S = 3600
"""A load that takes longer will not end: what it waits for is given up long before."""

Loader = Callable[[Entry, ModelFiles, Settings, Cancellation], Engine]
"""Loads a model; blocks, and raises LoadFailed, soon when it is called off."""


def load(entry: Entry, files: ModelFiles, settings: Settings, cancellation: Cancellation) -> Engine:
    from .engines import load_engine  # imports the runtime

    return load_engine(entry, files, settings, cancellation)


@dataclass(eq=False)
class Slot:
    """From the first request for a load until the engine has left the memory."""

    entry: Entry
    key: tuple[object, ...]
    size: int
    """Bytes of weights and KV cache."""
    ready: asyncio.Future[Engine]
    seen: object = None
    """What a glance at the files told when the slot was last found to be current."""
    leases: int = 0
    used_at: float = 0.0
    load_began: float | None = None
    """When its turn came, on time.monotonic()."""
    load_ended: float | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)
    retired: bool = False
    timer: Any = None
    fill: asyncio.Task[None] | None = None
    free: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine | None:
        ready = self.ready
        loaded = ready.done() and not ready.cancelled() and ready.exception() is None
        return ready.result() if loaded else None

    @contextmanager
    def loading(self) -> Generator[None]:
        """While the loader works."""
        self.load_began = time.monotonic()
        try:
            yield
        finally:
            self.load_ended = time.monotonic()

    @property
    def is_loading(self) -> bool:
        return self.load_began is not None and self.load_ended is None

    @property
    def loading_s(self) -> float:
        """Seconds that its load has taken, by now or in all."""
        ended = self.load_ended or time.monotonic()
        return 0.0 if self.load_began is None else ended - self.load_began

    @property
    def stuck_s(self) -> float:
        """Seconds that its engine's step takes by now, or its load beyond all patience."""
        if self.is_loading:
            return max(0.0, self.loading_s - _LOAD_LIMIT_S)
        return 0.0 if self.engine is None or self.closed else self.engine.stuck_s

    @property
    def closed(self) -> bool:
        """Being freed, or gone."""
        return self.free is not None

    @property
    def failed(self) -> bool:
        return self.engine is not None and self.engine.failed

    @property
    def state(self) -> str:
        return "loaded" if self.engine else "loading"

    def as_loaded(self, pinned: bool) -> Loaded:
        """What eviction sees of it."""
        return Loaded(
            self.entry.name,
            self.size,
            self.used_at,
            busy=self.leases > 0,
            pinned=pinned,
            retired=self.retired,
        )

    def log_load(self, engine: Engine) -> None:
        facts = {
            "model": self.entry.name,
            "device": engine.device,
            "seconds": round(self.loading_s, 2),
            "size_gb": round(self.size / 1e9, 2),
            "context_length": engine.context_length,
            "rss_mb": rss_mb(),
            "warning": engine.warning,
        }
        level = logging.WARNING if engine.warning else logging.INFO
        log.log(level, "loaded", extra={"facts": facts})

    def log_failure(self, error: Exception) -> ServerError:
        """What those hear who wait for the load. Want of room is for the owner to know, and
        nobody's fault; a fault shows its cause."""
        name = self.entry.name
        if self.cancellation.called:
            log.info("'%s' is no longer being loaded", name)
            return Unavailable("The model is no longer being loaded. Send the request again later.")
        if isinstance(error, ServerError):
            level = logging.WARNING if isinstance(error, Unavailable) else logging.ERROR
            log.log(level, "'%s' is not loaded: %s", name, error, exc_info=error.__cause__)
            return error
        log.error("'%s' does not load", name, exc_info=error)
        return LoadFailed("The model does not load; the server's log says why.")


def key_of(entry: Entry, files: ModelFiles, settings: Settings) -> tuple[object, ...]:
    """What an engine is loaded from: another key is another engine."""
    device = entry.device or settings.device
    read = entry.tool_format, entry.reasoning
    return files.stamp, device, entry.kv_cache_gb, entry.context_length, read


def size_of(entry: Entry, files: ModelFiles, settings: Settings) -> int:
    return files.size + int((entry.kv_cache_gb or settings.kv_cache_gb) * 1e9)


def idle_s(entry: Entry, settings: Settings) -> float:
    """Seconds without a request after which the model goes; 0 is never."""
    return settings.idle_unload_s if entry.idle_unload_s is None else entry.idle_unload_s


class Inventory:
    """The slots there are: what names mean now, and what was replaced and goes with its last
    lease."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._leaving: set[Slot] = set()

    def slots(self) -> dict[str, Slot]:
        """What is loaded or being loaded, by name; for those who only look."""
        return dict(self._slots)

    def stats(self) -> dict[str, EngineStats]:
        """By name; engines that were replaced and still work count with the new one."""
        stats: dict[str, EngineStats] = {}
        for slot in self._all():
            if slot.engine and not slot.closed:
                name = slot.entry.name
                stats[name] = stats.get(name, EngineStats()).plus(slot.engine.stats())
        return stats

    def stuck_s(self) -> float:
        """How long the slowest engine has been in its step by now, or a load beyond all limits."""
        return max((slot.stuck_s for slot in self._all()), default=0.0)

    def loading_s(self) -> dict[str, float]:
        """By name: the seconds that the load which is going on takes by now."""
        return {s.entry.name: s.loading_s for s in self._all() if s.is_loading}

    def _all(self) -> list[Slot]:
        return [*self._slots.values(), *self._leaving]

    def _still_leaving(self, name: str) -> bool:
        return any(slot.entry.name == name for slot in self._leaving)

    def _forget(self, slot: Slot) -> None:
        if self._slots.get(slot.entry.name) is slot:
            del self._slots[slot.entry.name]
