"""One load of one model: what Models counts, keeps and frees. Decides nothing itself."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .core import Engine
from .entries import Entry
from .eviction import Loaded
from .memory import rss_mb
from .modelfiles import ModelFiles
from .settings import Settings

log = logging.getLogger(__name__)


Loader = Callable[[Entry, ModelFiles, Settings], Engine]
"""Loads a model; blocks, and raises LoadFailed."""


def load(entry: Entry, files: ModelFiles, settings: Settings) -> Engine:
    from .engines import load_engine  # imports the runtime

    return load_engine(entry, files, settings)


class Clock(Protocol):
    """An event loop is one; tests have their own."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...


class Changes:
    """Wakes all who wait until a lease ends, a load ends or memory comes free."""

    def __init__(self) -> None:
        self._watchers: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    def tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


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
    loading: bool = False
    retired: bool = False
    timer: Any = None
    fill: asyncio.Task[None] | None = None
    free: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine | None:
        ready = self.ready
        loaded = ready.done() and not ready.cancelled() and ready.exception() is None
        return ready.result() if loaded else None

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


def log_load(slot: Slot, engine: Engine, seconds: float) -> None:
    facts = {
        "model": slot.entry.name,
        "device": engine.device,
        "seconds": round(seconds, 2),
        "size_gb": round(slot.size / 1e9, 2),
        "context_length": engine.context_length,
        "rss_mb": rss_mb(),
        "warning": engine.warning,
    }
    log.log(logging.WARNING if engine.warning else logging.INFO, "loaded", extra={"facts": facts})
