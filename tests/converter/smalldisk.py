"""A small disk, and one that is mounted twice. With namespaces of one's own, which most users may
have, the small one is a tmpfs. Elsewhere it is a limit of 8 MB for each file, at which writes fail
as well.
"""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_MOUNT = 'mount -t tmpfs -o size=320m tmpfs "$1" && echo mounted && exec cat'
_BIND = 'mount --bind "$0" "$1" && shift && exec "$@"'
_LIMIT = "trap '' XFSZ && ulimit -f 8192 && exec \"$@\""
_LEFT = 8 << 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """`seen` is its folder for the test; programs called behind `prefix` have it at its place."""

    seen: Path
    prefix: tuple[str, ...]
    mounted: bool

    def fill(self, left: int = _LEFT) -> None:
        """But for so many bytes."""
        if self.mounted:
            disk = os.statvfs(self.seen)
            with (self.seen / "filler").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - left)


@contextmanager
def small_disk(folder: Path, *, apart: bool = False) -> Generator[SmallDisk]:
    """One of 320 MB at `folder`, which is made. What is on it goes with it.
    `apart`: another disk than the rest also where it is a limit."""
    folder.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", _MOUNT, "-", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() == b"mounted\n":
            enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount")
            seen = Path(f"/proc/{holder.pid}/root{folder}")
            yield SmallDisk(seen, (*enter, "--preserve-credentials", "--"), mounted=True)
            return
    with TemporaryDirectory(dir="/dev/shm") as memory:
        if apart:
            folder.rmdir()
            folder.symlink_to(memory)
        yield SmallDisk(folder, ("bash", "-c", _LIMIT, "-"), mounted=False)


@contextmanager
def mounted_again(folder: Path) -> Generator[SmallDisk]:
    """A folder of the same disk at `folder`, into which nothing can be renamed all the same;
    where that may not be mounted, one of another disk."""
    folder.mkdir(parents=True)
    if subprocess.run(
        ["unshare", "-rm", "true"], stderr=subprocess.DEVNULL, check=False
    ).returncode:
        with small_disk(folder, apart=True) as disk:
            yield disk
        return
    with TemporaryDirectory(dir=folder.parent, prefix=".") as real:
        mount = ("unshare", "-rm", "sh", "-c", _BIND, real, str(folder))
        yield SmallDisk(Path(real), mount, mounted=True)
