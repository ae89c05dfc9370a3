"""The machine that models run on, as a load needs it: its devices, their driver, and how pipelines
are made. Knows no runtime: which one it is, is an argument.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .cancellation import Cancellation
from .remote import Start
from .stepping import Pipeline

_VENDORS = "etc/OpenCL/vendors/*.icd"
"""Where OpenCL's loader learns of drivers: the first line of each file names a library."""
_FOLDERS = ("usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/intel-opencl", "usr/lib64", "usr/local/lib")
_LIBRARIES = ("libigdrcl*.so*", "libigc.so*", "libigdfcl.so*", "libze_intel_*.so*")
"""Intel's OpenCL drivers, their compiler, and the drivers of GPUs and NPUs that Level Zero has."""


class Resident(Pipeline, Protocol):
    """A pipeline in a process of its own."""

    capacity: int
    """Tokens that its KV cache holds."""
    pid: int


@dataclass(frozen=True, slots=True)
class Machine:
    devices: Callable[[], Sequence[str]]
    """OpenVINO's devices."""
    name: Callable[[str], str]
    """A device's name by its maker."""
    version: str
    """OpenVINO's."""
    driver: Callable[[], str]
    """Another answer is another driver."""
    paged: Callable[[Start, Cancellation], Resident]
    """Raises RuntimeError, with the runtime's reason, and PipelineLost."""
    serial: Callable[[Path, Any, str, dict[str, Any]], Pipeline]
    """From a model's folder, its tokenizer, a device and properties."""

    def choose(self, asked: str) -> tuple[str, str | None]:
        """The device to load on, and why it is not the one asked for."""
        devices = self.devices()
        kind = asked.split(":")[0].split(".")[0]
        if kind in ("AUTO", "MULTI", "HETERO") or any(d.split(".")[0] == kind for d in devices):
            return asked, None
        return "CPU", (
            f"OpenVINO finds no device {asked} (it finds {', '.join(devices)}), so models run on "
            "CPU; install the device's driver, or set OV_DEVICE=CPU"
        )


def driver_stamp(root: Path = Path("/")) -> str:
    """Changes when one of the files does that drivers of GPUs and NPUs are found in."""
    facts: set[tuple[str, int, int]] = set()
    for path in _driver_files(root):
        with suppress(OSError):
            stat = path.stat()
            facts.add((str(path), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()[:16]


def _driver_files(root: Path) -> Iterator[Path]:
    for file in _found(root, _VENDORS):
        yield file
        library = _named(file)
        if library.startswith("/"):
            yield root / library.lstrip("/")
        elif library:
            yield from (place / library for folder in _FOLDERS for place in _found(root, folder))
    for folder in _FOLDERS:
        for pattern in _LIBRARIES:
            yield from _found(root, f"{folder}/{pattern}")


def _named(file: Path) -> str:
    """The library that one of the loader's files names: a path, or a name in the usual folders."""
    try:
        return os.fsdecode(file.read_bytes().split(b"\n")[0].strip().replace(b"\0", b""))
    except OSError:
        return ""


def _found(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except OSError:
        return []
