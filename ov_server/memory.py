"""How much memory the server takes, and how it comes back after a model has left."""

import ctypes
import gc
from contextlib import suppress

import psutil

_M_ARENA_MAX = -8
"""glibc's malloc.h."""


def rss_mb() -> int:
    """Resident memory in MB of this process and the workers that its models run in."""
    server = psutil.Process()
    total = server.memory_info().rss
    for worker in server.children(recursive=True):
        with suppress(psutil.Error):  # one may end meanwhile
            total += worker.memory_info().rss
    return total // 1_000_000


def process_mb(pid: int) -> int:
    """Resident memory in MB of one process; 0 when it has just ended."""
    try:
        return psutil.Process(pid).memory_info().rss // 1_000_000
    except psutil.Error:
        return 0


def limit_arenas() -> None:
    """Two heaps for all threads; with one for each of them, every load would leave 25 MB behind.

    To be called before there are threads.
    """
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Frees what Python and the C library keep for later."""
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL("libc.so.6").malloc_trim(0)
