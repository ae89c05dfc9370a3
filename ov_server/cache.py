"""The cache folder: entries that are made whole or not at all, pruned by last use."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import LoadFailed
from .modelfiles import tree_size

log = logging.getLogger(__name__)


def folder(path: Path, make: Callable[[Path], None]) -> Path:
    """The folder at `path`; when it is not there, `make` fills it under another name first.

    Raises LoadFailed when the cache can't be written; what `make` raises goes through.
    """
    if not path.is_dir():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=path.name, suffix=".part", dir=path.parent))
        except OSError as error:
            raise LoadFailed(
                f"The cache folder can't be written ({error.strerror}): set OV_CACHE_DIR to a "
                "folder that can."
            ) from error
        try:
            make(part)
            _publish(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    os.utime(path)
    return path


def _publish(part: Path, path: Path) -> None:
    try:
        part.rename(path)
    except OSError:
        if not path.is_dir():  # not another process that was faster
            raise


def read(path: Path) -> str | None:
    """The text of a small entry, which counts as used; None when it is not there or can't be
    read."""
    with suppress(OSError, ValueError):
        text = path.read_text("utf-8")
        with suppress(OSError):
            os.utime(path)
        return text
    return None


def write(path: Path, text: str) -> None:
    """A small entry, which is only worth the time that it spares: a cache that can't be written is
    told in the log."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as error:
        log.warning("the cache folder can't be written (%s): see OV_CACHE_DIR", error.strerror)
        if part is not None:
            with suppress(OSError):
                os.unlink(part)


def prune(root: Path, limit_gb: float, keep: Path) -> None:
    """Removes the entries used longest ago, but `keep`, until the folder is within the limit."""
    entries = [
        entry
        for kind in ("gguf", "tiny", "kernels", "verdicts")
        for entry in (root / kind).glob("*")
    ]
    entries = [entry for entry in entries if entry != keep and entry.suffix != ".part"]
    sizes = {entry: tree_size(entry) or entry.stat().st_size for entry in entries}
    total = sum(sizes.values()) + tree_size(keep)
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total <= limit_gb * 1e9:
            return
        total -= sizes[entry]
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
