"""How much of the machine others use while something is measured, and waiting until they don't.

"Ours" are this process and all that it started; what the host takes away counts as others'.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

QUIET = 0.1
"""Share of the machine's CPU time that others may use in a measurement that counts as quiet."""

_LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: seconds on the wall, CPU seconds of the whole machine and of ours."""

    at: float
    busy: float
    ours: float

    def others(self) -> float:
        """Share of the machine, 0 to 1, that others used since then."""
        now = mark()
        theirs = (now.busy - self.busy) - (now.ours - self.ours)
        return max(0.0, theirs / ((now.at - self.at) * (psutil.cpu_count() or 1)))


def mark() -> Mark:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return Mark(time.perf_counter(), sum(times) - idle - twice, _ours())


def _ours() -> float:
    """Those that ended are in the children's times of the process that started them."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


class Patience:
    """The seconds that one part may lose to others: waiting for them, and measuring again."""

    def __init__(self, seconds: float):
        self.left = seconds

    def wait(self) -> None:
        """Until others use next to nothing, or no patience is left."""
        while self.left > 0:
            before = mark()
            time.sleep(_LOOK_S)
            if before.others() < QUIET:
                return
            self.left -= _LOOK_S
