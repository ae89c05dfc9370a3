"""A terminal with a person before it."""

import os
import pty
import select
import signal
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

BOUND_S = 60


class Terminal:
    """Runs a program as a login session does: its input, output and errors are a terminal."""

    def __init__(
        self, words: Sequence[str | Path], env: dict[str, str], cwd: Path, tostop: bool = False
    ):
        self.shown = ""
        self.pid, self._fd = pty.fork()
        if not self.pid:
            settings = termios.tcgetattr(0)
            settings[3] &= ~termios.ECHO
            settings[3] |= termios.TOSTOP if tostop else 0
            termios.tcsetattr(0, termios.TCSANOW, settings)
            os.chdir(cwd)
            os.execve(words[0], list(map(str, words)), env)

    def until(self, text: str) -> None:
        """Reads until the text has been shown, and forgets what came before."""
        while text not in self.shown:
            if not self._read():
                raise AssertionError(f"{text!r} was not shown, but {self.shown!r}")
        self.shown = self.shown.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def hang_up(self) -> None:
        """As when the connection drops."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def end(self) -> int:
        """Reads to the end; the exit code."""
        while self._fd >= 0 and self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.hang_up()
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.end()

    def _read(self) -> str:
        ready, _, _ = select.select([self._fd], [], [], BOUND_S)
        assert ready, f"nothing more was shown than {self.shown!r}"
        try:
            text = os.read(self._fd, 65536).decode("utf-8", "replace")
        except OSError:  # the other end is closed
            return ""
        self.shown += text
        return text
