"""Reading a file in whose place there may be anything: a folder, a pipe that nobody writes to."""

import errno
import os
import stat
from pathlib import Path


def read(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """All its bytes, and what the same open file says of itself. Raises OSError, also for what is
    no file, and ValueError for one of more than `most` bytes."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would never end
    try:
        facts = os.fstat(file)
        if stat.S_ISDIR(facts.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        if facts.st_size > most:
            raise ValueError(f"it has more than {most // 1_000_000} MB")
        with open(file, "rb", closefd=False) as opened:
            return opened.read(most), facts
    finally:
        os.close(file)
