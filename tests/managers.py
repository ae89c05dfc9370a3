"""The other end of sd_notify's protocol: a datagram socket where systemd's would be."""

import socket
from pathlib import Path


class Manager:
    """Hears what a service says. Waits for it; the bound only ends a test that fails."""

    def __init__(self, path: Path | str, bound_s: float = 90):
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._socket.settimeout(bound_s)

    def hear(self) -> list[str]:
        """The lines of the next message."""
        return self._socket.recv(4096).decode().split("\n")

    def hear_of(self, line: str) -> list[str]:
        """The lines of the next message that has this one; what comes before is forgotten."""
        while line not in (said := self.hear()):
            pass
        return said

    def heard(self) -> list[list[str]]:
        """What has been said up to now and was not listened to."""
        said = []
        self._socket.setblocking(False)
        try:
            while True:
                said.append(self._socket.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return said
        finally:
            self._socket.settimeout(90)

    def close(self) -> None:
        self._socket.close()
