"""Processes of ours beside the server's, and messages over a socket pair.

What multiprocessing's Connection does, with fewer calls: it is on the way of every token.
"""

import os
import pickle
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("!Q")
_PIECE = 65536


class Channel:
    """One end. Messages are pickled, each after its length in 8 bytes; both ends run this code."""

    def __init__(self, end: socket.socket):
        self._socket = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._rest = b""

    def limit(self, seconds: float) -> None:
        """How long sending and receiving may stand still from now on; without it, for ever."""
        self._socket.settimeout(seconds)

    def send(self, message: Any) -> None:
        """Raises OSError when the other side is gone, TimeoutError when it takes nothing."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        """Waits for a message. Raises EOFError or OSError when the other side is gone,
        TimeoutError when it says nothing."""
        head = self._take(_LENGTH.size)
        return pickle.loads(self._take(*_LENGTH.unpack(head)))

    def waiting(self) -> bool:
        """Whether receive() has something to read: a message, its beginning, or the end."""
        return bool(self._rest or self._poll.poll(0))

    def close(self) -> None:
        self._socket.close()

    def _take(self, size: int) -> bytes:
        pieces = [self._rest]
        missing = size - len(self._rest)
        while missing > 0:
            piece = self._socket.recv(max(missing, _PIECE))
            if not piece:
                raise EOFError("the other process is gone")
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]


class Child:
    """`python -m MODULE FD` at the other end of a channel. It ends when the channel is closed, so
    it outlives neither this object nor, when its work is done, a server that was killed."""

    def __init__(self, module: str):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                start_new_session=True,  # Ctrl-C is the server's, which lets answers finish
            )
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Has it ended, from any thread; who waits for its answer hears that it is gone."""
        self._process.kill()

    def wait(self) -> int:
        """The exit code, when it has ended."""
        return self._process.wait()

    def close(self) -> int:
        """Ends it and the channel, which gives all its memory back; its exit code."""
        self.kill()  # first: at the channel's end it would report work that it still has
        code = self.wait()
        self.channel.close()
        return code
