"""How an engine's pipelines are made: paged in a process of its own, else LLMPipeline.

Knows no runtime, and not which device is the right one.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cancellation import Cancellation
from .errors import said
from .machine import Machine, Resident
from .remote import Start
from .settings import Settings
from .stepping import Pipeline, PipelineHung, PipelineLost

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a pipeline works, apart from it: whoever keeps this holds none of its memory."""

    capacity: int
    """Tokens that the KV cache holds; 0 where nobody says."""
    pid: int
    """Of the process that it runs in."""
    paged: bool = True
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    machine: Machine
    path: Path
    tokenizer: Any
    settings: Settings
    cancellation: Cancellation

    def make(self, device: str, kv_cache_gb: int) -> tuple[Pipeline, Site]:
        """A pipeline, warmed up; LLMPipeline where the device has no paged attention."""
        properties = _properties(device, self.settings.cache_dir)
        start = Start(self.path, device, properties, kv_cache_gb, self.settings.prefill_chunk)
        try:
            resident = self._paged(start)
        except PipelineLost:
            raise
        except Exception as error:
            reason = said(error)
            try:
                serial = self.machine.serial(self.path, self.tokenizer, device, properties)
            except Exception:
                raise error from None
            warning = f"one request at a time, since it has no paged attention: {reason}"
            return serial, Site(0, os.getpid(), paged=False, warning=warning)
        return resident, Site(resident.capacity, resident.pid)

    def _paged(self, start: Start) -> Resident:
        """In a process of its own: see worker.py."""
        try:
            return self.machine.paged(start, self.cancellation)
        except PipelineLost as lost:  # perhaps somebody ended it: the next one tells
            if self.cancellation.called or isinstance(lost, PipelineHung):
                raise
            log.warning("%s: another one is started", lost)
        return self.machine.paged(start, self.cancellation)


def _properties(device: str, cache_dir: Path) -> dict[str, Any]:
    # mapped weights would take their process down when somebody overwrites the file
    properties: dict[str, Any] = {"ENABLE_MMAP": False}
    if device != "CPU":  # on CPU loading from this cache takes longer than compiling
        properties["CACHE_DIR"] = str(cache_dir / "kernels")
    if device.split(":")[0] == "AUTO":  # or the CPU would answer the self-test, and others later
        properties["ENABLE_STARTUP_FALLBACK"] = False
    return properties
