"""The machine, the versions and the moment of a measurement."""

import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from .subjects import PEER_PYTHON, ROOT


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int
    memory_gb: int
    system: str
    python: str
    openvino_genai: str
    xllamacpp: str


def this_machine() -> Machine:
    return Machine(
        _cpu(),
        psutil.cpu_count() or 1,
        round(psutil.virtual_memory().total / 1e9),
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        version("openvino-genai"),
        _peer_version(),
    )


def moment() -> str:
    """Date and minute, and the commit that was measured where git tells it."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    commit = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "main.py", "ov_server")
    return now + (f" at {commit}" if commit else "") + (" with changes" if changed else "")


def _cpu() -> str:
    with suppress(OSError):
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peer_version() -> str:
    script = "import importlib.metadata as m; print(m.version('xllamacpp'))"
    return _said(str(PEER_PYTHON), "-c", script) or "not installed"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
