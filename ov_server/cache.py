"""The cache folder: entries that are made whole or not at all, pruned by last use."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import LoadFailed
from .modelfiles import tree_size

log = logging.getLogger(__name__)

_KINDS = ("gguf", "tiny", "kernels", "verdicts")


def folder(path: Path, make: Callable[[Path], None], size: int) -> Path:
    """The folder at `path`; when it is not there, `make` fills it under another name first, with
    some `size` bytes.

    Raises LoadFailed when the cache can't be written or has no room; what `make` raises goes
    through elsewhere.
    """
    if not path.is_dir():
        with _part(path) as part:
            try:
                make(part)
                _publish(part, path)
            except Exception as error:
                if (why := _refusal(part, size)) is None:
                    raise
                raise LoadFailed(
                    f"The cache folder takes no more ({why}): make room on its disk, or set "
                    "OV_CACHE_DIR to a folder on another one."
                ) from error
    os.utime(path)
    return path


@contextmanager
def _part(path: Path) -> Generator[Path]:
    """A folder beside it that is held as long as it is filled, and then is gone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=path.name, suffix=".part", dir=path.parent))
    except OSError as error:
        raise LoadFailed(
            f"The cache folder can't be written ({error.strerror}): set OV_CACHE_DIR to a "
            "folder that can."
        ) from error
    try:
        with _held(part):
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _held(part: Path) -> Generator[bool]:
    """Locks a folder, unless somebody else has; whether it did."""
    folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _locked(folder)
    finally:
        os.close(folder)


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also where the file system has no locks
        return False
    return True


def _refusal(part: Path, size: int) -> str | None:
    """Why so many bytes can't be written: what fails without room says many things, or nothing."""
    try:
        with (part / "room").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        return error.strerror
    return None


def _publish(part: Path, path: Path) -> None:
    try:
        part.rename(path)
    except OSError:
        if not path.is_dir():  # not another process that was faster
            raise


def _sweep(part: Path) -> None:
    with suppress(OSError), _held(part) as ours:
        if ours:
            shutil.rmtree(part, ignore_errors=True)


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
    """Removes the entries used longest ago, but `keep`, until the folder is within the limit, and
    what was being made when its process was killed."""
    for part in root.glob("*/*.part"):
        _sweep(part)
    used: list[tuple[float, int, Path]] = []
    for entry in (entry for kind in _KINDS for entry in (root / kind).glob("*")):
        if entry != keep and entry.suffix != ".part":
            with suppress(OSError):  # another process may prune as well
                facts = entry.stat()
                used.append((facts.st_mtime, tree_size(entry) or facts.st_size, entry))
    total = sum(size for _, size, _ in used) + tree_size(keep)
    for _, size, entry in sorted(used):
        if total <= limit_gb * 1e9:
            return
        total -= size
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
