"""What the server tells of itself and its models: the bodies of /health and /v1/models."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from . import __version__
from .core import Engine, EngineStats
from .entries import CHAT_TASKS, Entry, RegistryState
from .errors import LoadFailed, said
from .keys import Key
from .modelfiles import ModelFiles, context_length, glance, inspect
from .slots import Slot

log = logging.getLogger(__name__)

_LONG_LOAD_S = 180
"""A load that takes longer is told: others wait behind it."""

Probe = Callable[[str], tuple[str, str, str | None]]
"""From the device asked for to the one used, its maker's name, and why it is another one."""


def probe_device(asked: str) -> tuple[str, str, str | None]:
    """Asks the runtime; imports it, which the first load would have to wait for otherwise."""
    from .engines import this_machine

    machine = this_machine()
    used, warning = machine.choose(asked)
    return used, machine.name(used), warning


class Device:
    """The device that was asked for, and the one that is used once it is known."""

    def __init__(self, asked: str):
        self.asked = asked
        self.used: str | None = None
        self.name: str | None = None
        self.warning: str | None = None

    async def look(self, probe: Probe) -> None:
        try:
            self.used, self.name, self.warning = await asyncio.to_thread(probe, self.asked)
        except Exception as error:
            self.warning = f"OpenVINO can't be asked for its devices: {said(error)}"
        if self.warning:
            log.warning("%s", self.warning)


class RegistryView(Protocol):
    state: RegistryState
    error: str | None

    def entries(self) -> list[Entry]: ...


class ModelsView(Protocol):
    def slots(self) -> Mapping[str, Slot]: ...
    def stats(self) -> Mapping[str, EngineStats]: ...
    def broken(self) -> Mapping[str, tuple[object, str]]: ...
    def pinned(self, entry: Entry) -> bool: ...
    def loading_s(self) -> Mapping[str, float]: ...


class KeysView(Protocol):
    needed: bool
    error: str | None


class JournalView(Protocol):
    @property
    def trouble(self) -> str | None: ...


class Status:
    """Answers questions about the whole server. It only looks."""

    def __init__(
        self,
        registry: RegistryView,
        models: ModelsView,
        device: Device,
        keys: KeysView,
        journal: JournalView | None = None,
    ):
        self._registry = registry
        self._models = models
        self._device = device
        self._keys = keys
        self._journal = journal
        self._started = time.monotonic()
        self._contexts: dict[str, int] = {}

    def health(self, key: Key | None = None) -> dict[str, Any]:
        """All of it, or what anybody may know where keys are asked for: a key that is for some
        models opens no more than that, since the rest names all."""
        body = self._health()
        if self._keys.needed and (key is None or key.models is not None):
            return {name: body[name] for name in ("status", "version")}
        return body

    def _health(self) -> dict[str, Any]:
        entries = self._registry.entries()
        slots = self._models.slots()
        engines = {name: slot.engine for name, slot in slots.items() if slot.engine}
        reasons = self._reasons(entries, engines)
        stats = self._models.stats()
        return {
            "status": "degraded" if reasons else "ok",
            "reasons": reasons,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "device": {
                "asked": self._device.asked,
                "used": self._device.used,
                "name": self._device.name,
                "by_model": {name: engine.device for name, engine in engines.items()},
            },
            "models": {
                "registered": [entry.name for entry in entries],
                "loaded": sorted(engines),
                "loading": sorted(slots.keys() - engines.keys()),
            },
            "queue": {
                name: {"running": stat.running, "waiting": stat.waiting}
                for name, stat in stats.items()
            },
            "registry_error": self._registry.error,
        }

    def _reasons(self, entries: Sequence[Entry], engines: Mapping[str, Engine]) -> list[str]:
        """What is not as its owner wants it."""
        reasons = [self._device.warning] if self._device.warning else []
        reasons += [f"registry: {self._registry.error}"] if self._registry.error else []
        keys = self._keys.error
        reasons += [f"OV_API_KEYS: {keys}; the keys that it had stay"] if keys else []
        mistakes = self._registry.state.mistakes
        reasons += [f"registry: {name} is left out: {why}" for name, why in mistakes.items()]
        if self._journal is not None and (trouble := self._journal.trouble):
            reasons.append(f"sessions: {trouble}; until then answers are kept in memory alone")
        for name, engine in engines.items():
            if engine.warning and engine.warning != self._device.warning:
                reasons.append(f"{name}: {engine.warning}")
        for name, seconds in self._models.loading_s().items():
            if seconds > _LONG_LOAD_S:
                reasons.append(f"{name}: has been loading for {seconds:.0f} s")
        for entry in entries:
            if entry.name not in engines and (why := self._broken(entry)):
                reasons.append(f"{entry.name}: {why}")
            elif not os.path.exists(entry.path):
                place = f"{entry.path.parent.name}/{entry.path.name}"
                reasons.append(f"{entry.name}: there is no model at '{place}'")
        return reasons

    def _broken(self, entry: Entry) -> str | None:
        """Why the model did not load, as long as its files are the same."""
        seen, why = self._models.broken().get(entry.name, (None, None))
        return why if why and seen == glance(entry.path) else None

    def cards(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """All models. Reads the disk: call it off the event loop."""
        return {"object": "list", "data": [self.card(entry) for entry in entries]}

    def card(self, entry: Entry) -> dict[str, Any]:
        """One model. Reads the disk: call it off the event loop."""
        slot = self._models.slots().get(entry.name)
        card = {
            "id": entry.name,
            "object": "model",
            "created": 0,
            "owned_by": "ov-llm-server",
            "state": slot.state if slot else "unloaded",
            "pinned": self._models.pinned(entry),
            "task": entry.task,
            "context_length": None,
            "size": None,
            "weight_format": entry.weight_format,
            "aliases": entry.aliases,
            "capabilities": ["chat"] if entry.task in CHAT_TASKS else [],
        }
        try:
            files = inspect(entry.path)
            card |= {"created": int(files.modified), "size": files.size}
            card["context_length"] = self._context(entry, files, slot)
            if slot is None and (why := self._broken(entry)):
                raise LoadFailed(why)
        except LoadFailed as error:
            card |= {"state": slot.state if slot else "broken", "error": error.message}
        return card | {"status": _status(str(card["state"]))}

    def _context(self, entry: Entry, files: ModelFiles, slot: Slot | None) -> int:
        if slot is not None and slot.engine is not None:
            return slot.engine.context_length
        if files.stamp not in self._contexts:
            self._contexts[files.stamp] = context_length(files)
        return min(self._contexts[files.stamp], entry.context_length or self._contexts[files.stamp])


def _status(state: str) -> dict[str, Any]:
    """The state as llama-server's router tells it; Open WebUI takes a model without for loaded."""
    return {"value": "unloaded", "failed": True} if state == "broken" else {"value": state}
