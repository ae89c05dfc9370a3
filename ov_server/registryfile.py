"""The registry's file: when it has to be read again, and what stays when it is broken."""

import errno
import logging
from pathlib import Path

from . import plainfile
from .entries import Place, RegistryState, changes, parse_registry

log = logging.getLogger(__name__)

_MEND = "mend its permissions"
_REMEDY = {
    errno.EISDIR: "OV_REGISTRY_PATH must name the file, not its folder",
    errno.EINVAL: "put a file there",
}
_EMPTY = b'{"version":1,"models":{}}'
_LARGEST = 16_000_000
"""Bytes; it is parsed on the event loop."""


def keep_within(folder: Path) -> Place:
    """Takes paths that really lead into the folder, as what they lead to, so that a link which is
    turned later leads nowhere else."""

    def place(path: Path) -> Path:
        try:
            real, around = path.resolve(), folder.resolve()
        except (OSError, RuntimeError):  # links in a circle
            raise ValueError("path: it leads nowhere") from None
        if around not in real.parents:
            raise ValueError(
                "path: it leads out of OV_MODEL_OUT, and OV_CONFINE_MODELS is set; put the model "
                "there"
            )
        return real

    return place


class RegistryFile:
    """The last state that could be understood, and why the file says no other one now."""

    def __init__(self, path: Path, within: Path | None = None):
        self.path = path
        self._place = keep_within(within) if within else lambda path: path
        self.state = RegistryState()
        self.error: str | None = None
        self._signature: tuple[int, ...] | None = None
        self._text: bytes | None = None
        self.read()

    def refresh(self) -> None:
        """A stat; a read when time, size or inode are others than before."""
        if self._sign() != self._signature:
            self.read()

    def read(self) -> None:
        """Reads the file, and parses it when it says something else."""
        self._signature = self._sign()
        try:
            text = plainfile.read(self.path, _LARGEST)[0] if self._signature else _EMPTY
            if text == self._text:
                return
            state = parse_registry(text, self.path.parent, self._place)
        except OSError as error:
            self._signature = (-1,)  # to be tried again: mended permissions change no signature
            self._keep(f"it can't be read ({error.strerror}): {_REMEDY.get(error.errno, _MEND)}")
        except ValueError as error:
            self._keep(f"it is not a registry ({error}); mend its text")
        else:
            self._take(text, state)

    def _sign(self) -> tuple[int, ...] | None:
        try:
            stat = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return (-2,)
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _keep(self, error: str) -> None:
        if error != self.error:
            stay = "; the models it had stay" if self.state.entries else ""
            log.error("registry %s: %s%s", self.path, error, stay)
        self._text, self.error = None, error

    def _take(self, text: bytes, state: RegistryState) -> None:
        if said := changes(self.state, state):
            log.info("registry %s: %s", self.path, said)
        for name, mistake in state.mistakes.items():
            log.error("registry: %s is left out: %s", name, mistake)
        self._text, self.state, self.error = text, state, None
