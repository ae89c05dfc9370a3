"""How log lines look: for people, or one JSON object each; and what becomes of those that nothing
takes: a full disk, a pipe that nobody reads."""

import io
import json
import logging
import os
import select
import time
from contextlib import suppress
from typing import Any, TextIO


class TextLines(logging.Formatter):
    """One line for people; facts as name=value behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        facts = getattr(record, "facts", {})
        said = [f"{k}={v}" for k, v in facts.items() if v is not None]
        line = " ".join([super().formatMessage(record), *said])
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(char: str) -> str:
    """A client's words must not look like lines of the log, or move the terminal's cursor."""
    return char if char.isprintable() else ascii(char)[1:-1]


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str, form: str) -> None:
    """This package's lines to standard error; uvicorn's access lines would only repeat them."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logger = logging.getLogger("ov_server")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True


class Outlet(io.RawIOBase):
    """A file descriptor to write to, which never fails and hardly ever waits. What it does not take
    is lost, and how much that was is said when it takes something again."""

    def __init__(self, fd: int, patience_s: float = 0.05):
        self._fd = fd
        self._patience_s = patience_s
        self._lost = 0

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: Any, /) -> int:
        text = bytes(data)
        if self._lost and self._put(b"(%d bytes of output were lost here)\n" % self._lost):
            self._lost = 0
        at = 0
        while at < len(text) and (taken := self._put(text[at : at + select.PIPE_BUF])):
            at += taken
        self._lost += len(text) - at
        return len(text)

    def _put(self, text: bytes) -> int:
        """How much of it was taken. A pipe that has room takes at least PIPE_BUF bytes at once."""
        with suppress(OSError):
            patience_s = 0 if self._lost else self._patience_s
            if _has_room(self._fd, patience_s):
                return os.write(self._fd, text)
        return 0


def _has_room(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(seconds * 1000))


def sturdy(stream: TextIO | None, fd: int) -> TextIO:
    """What stands in for sys.stdout or sys.stderr. Nothing is kept back in it: what a full disk did
    not take would be tried again at the program's end, and make its exit a failure."""
    if stream is None:  # the program was started with it closed
        return open(os.devnull, "w")
    buffer = io.BufferedWriter(Outlet(fd))
    return io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True)
