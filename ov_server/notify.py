"""What systemd is told: ready, stopping, and beats while the server is alive. sd_notify(3)'s
protocol. Knows no model; whether all is well is asked of its caller.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The service manager that started this process, if one did and wants to hear of it."""

    address: str | bytes | None = None
    """Of its datagram socket; a leading null byte is Linux' abstract namespace."""
    watchdog_s: float | None = None
    """It ends the process after so many seconds without a beat."""

    def tell(self, *lines: str, wait_s: float = 1) -> None:
        """Sends assignments such as READY=1; where the manager is behind with reading, it waits
        for it. What can't be sent is logged, and no error: the server's work does not depend on who
        started it."""
        if self.address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(wait_s)
                sender.sendto("\n".join(lines).encode(), self.address)
        except OSError as error:
            log.warning("systemd can't be told %s: %s", lines[0], error.strerror or error)


def supervisor(environment: MutableMapping[str, str]) -> Supervisor:
    """The one that the environment names. It is taken out of there, since processes that this one
    starts have nothing to tell it."""
    said = {name: environment.pop(name, "") for name in _VARIABLES}
    path = said["NOTIFY_SOCKET"]
    if not path.startswith(("/", "@")):
        return Supervisor()  # none, or a kind of socket that no manager on this machine has
    address = os.fsencode("\0" + path[1:]) if path.startswith("@") else path
    ours = said["WATCHDOG_PID"] in ("", str(os.getpid()))
    microseconds = said["WATCHDOG_USEC"]
    wanted = ours and microseconds.isascii() and microseconds.isdigit() and int(microseconds)
    return Supervisor(address, int(microseconds) / 1e6 if wanted else None)


_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Heart:
    """Beats on the event loop, twice in the time that the watchdog allows, and so only while the
    loop runs, which it never holds up: another beat comes. `ill` says why there should be no beat.
    Without a watchdog there is no timer."""

    def __init__(
        self, supervisor: Supervisor, status: Callable[[], str], ill: Callable[[], str | None]
    ):
        self._supervisor = supervisor
        self._status = status
        self._ill = ill
        self._stopped = False

    def start(self) -> None:
        """In the running loop."""
        if self._supervisor.watchdog_s is not None:
            self._beat(asyncio.get_running_loop(), self._supervisor.watchdog_s / 2)

    def _beat(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        loop.call_later(seconds, self._beat, loop, seconds)
        if (why := self._ill()) is None:
            self._stopped = False
            self._supervisor.tell("WATCHDOG=1", f"STATUS={self._status()}", wait_s=0)
            return
        if not self._stopped:
            log.error("%s: systemd's watchdog is told no more, and restarts the server", why)
        self._stopped = True
        self._supervisor.tell(f"STATUS={why}", wait_s=0)
