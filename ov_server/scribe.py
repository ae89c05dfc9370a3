"""What is written of answers into their file, and what becomes of errors: it is mended, made anew
or left alone for a while. Knows neither the thread that calls it nor requests.

What the file has of an answer is its beginning without a hole; of one whose end it never got, it
says so.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from .journalfile import Corrupt, Ending, Heading, JournalFile, Kept, Unfit

log = logging.getLogger(__name__)

Name = tuple[str, str]
"""A session's owner and id."""

_SHARE = 8
"""One answer takes at most this part of the file."""
_STALE = 10_000
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_AGAIN = "it is tried again with later requests"
_REMEDY = {
    sqlite3.SQLITE_FULL: f"it has no room; free its disk, or raise OV_SESSIONS_DB_MB: {_AGAIN}",
    sqlite3.SQLITE_IOERR: f"its disk is full, or fails; mend that: {_AGAIN}",
    sqlite3.SQLITE_BUSY: "another program has it open; each server needs a file of its own",
    sqlite3.SQLITE_READONLY: f"it may not be written; mend its permissions: {_AGAIN}",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; name a file that the server may write",
}


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Times and sizes that only tests make others."""

    batch_s: float = 0.1
    """From one transaction to the next, at the least."""
    rest_s: float = 30
    """How long a file that can't be written is left alone."""
    waiting: int = 16_000_000
    """Characters that may wait to be written."""
    spare: int = 16 << 20
    """Bytes of the disk below which the file does not grow."""


@dataclass(frozen=True, slots=True)
class Begun:
    key: object
    heading: Heading


@dataclass(frozen=True, slots=True)
class Added:
    key: object
    piece: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Without an ending nothing is kept of it."""

    key: object
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class Lost:
    """More came than could be written: all that was begun is cut, and these are not there."""

    names: frozenset[Name]


Write = Begun | Added | Ended | Lost


@dataclass(frozen=True, slots=True)
class Place:
    """How far a session is written."""

    row: int
    count: int = 0
    size: int = 0


class Scribe:
    """What the thread does, and what it makes of errors."""

    def __init__(self, file: JournalFile, size_mb: float, rhythm: Rhythm):
        self.trouble: str | None = None
        self._file = file
        self._share = size_mb * 1e6 / _SHARE
        self._rest_s = rhythm.rest_s
        self._rest_until = -float("inf")
        self._places: dict[object, Place] = {}
        """Of the sessions that are being written; any other one is not, whatever comes of it."""
        self._torn = True
        """Sessions stand in the file that nobody writes any more."""
        self._stale: set[Name] = set()
        """What the file has under these names has been replaced, and could not be removed."""
        self._clear = False
        """There were too many of them: all goes."""

    def write(self, ops: Sequence[Write], at: float) -> None:
        if at < self._rest_until:
            self._skip(ops)
            return
        if not self._attempt(lambda: self._batch(ops, at), at):
            self._skip(ops)
            return
        with suppress(sqlite3.Error):
            self._file.shrink()
        if self.trouble:
            log.info("sessions are kept in %s again", self._file.path)
            self.trouble = None

    def find(self, name: Name, at: float) -> Kept | None:
        if name in self._stale or self._clear:
            return None
        if not self._file.is_open and at < self._rest_until:
            return None
        found: list[Kept | None] = []
        self._attempt(lambda: found.append(self._file.find(name, at)), at, reads=True)
        return found[0] if found else None

    def close(self, at: float) -> None:
        self._file.close(at)

    def _attempt(self, work: Callable[[], None], at: float, *, reads: bool = False) -> bool:
        """Whether it was done, perhaps after the file was mended."""
        try:
            try:
                self._opened(at)
                work()
            except (sqlite3.Error, Corrupt) as error:
                self._mend(error, reads=reads)
                self._opened(at)
                work()
        except Exception as error:
            self._rest(error, at)
            return False
        return True

    def _opened(self, at: float) -> None:
        if self._file.is_open and not self._file.is_there:
            self._file.close()
            self._places = {}
        if not self._file.is_open:
            self._file.open(at)
            self._torn = True

    def _mend(self, error: Exception, *, reads: bool) -> None:
        """Raises the error where nothing can be done about it."""
        code = _code(error)
        if isinstance(error, Corrupt) or code in _CORRUPT:
            aside = self._file.put_aside()
            self._places = {}
            log.warning(
                "OV_SESSIONS_DB %s is corrupt (%s): it lies at %s now, a new one is begun, and "
                "older answers can't be read again", self._file.path, error, aside
            )  # fmt: skip
        elif code in _NO_ROOM and self._file.is_open and not reads:
            self._file.relieve()
        else:
            raise error

    def _rest(self, error: Exception, at: float) -> None:
        """Leaves the file alone for a while. One that is full can still be read."""
        self._rest_until = at + self._rest_s
        self._places, self._torn = {}, True
        if _code(error) not in _NO_ROOM:
            self._file.close()
        if not isinstance(error, sqlite3.Error | OSError | Unfit | Corrupt):
            log.error("the journal of sessions failed", exc_info=error)
        self._complain(_trouble(error))

    def _complain(self, why: str) -> None:
        trouble = f"OV_SESSIONS_DB {self._file.path}: {why}"
        if trouble != self.trouble:
            log.warning("%s. Answers are kept in memory alone.", trouble)
        self.trouble = trouble

    def _skip(self, ops: Sequence[Write]) -> None:
        for op in ops:
            if isinstance(op, Begun):
                self._stale.add(op.heading.name)
            elif isinstance(op, Lost):
                self._stale |= op.names
        if len(self._stale) > _STALE:
            self._stale, self._clear = set(), True

    # One transaction.

    def _batch(self, ops: Sequence[Write], at: float) -> None:
        places = dict(self._places)
        with self._file.transaction():
            self._settle(at)
            runs: dict[object, list[Added]] = {}
            for op in ops:
                match op:
                    case Begun():
                        places[op.key] = Place(self._file.begin(op.heading))
                    case Added():
                        runs.setdefault(op.key, []).append(op)
                    case Ended():
                        self._add(places, op.key, runs.pop(op.key, []), at)
                        self._end(places.pop(op.key, None), op.ending, at)
                    case Lost():
                        self._lose(op, at)
                        places, runs = {}, {}
            for key, run in runs.items():
                self._add(places, key, run, at)
            if any(not isinstance(op, Added) for op in ops):
                self._file.tidy(at)
        self._places, self._torn, self._stale, self._clear = places, False, set(), False

    def _settle(self, at: float) -> None:
        """Says in the file what could not be said before."""
        if self._torn:
            self._file.cut(at)
        if self._clear:
            self._file.clear()
        for name in self._stale:
            self._file.drop(name)

    def _add(
        self, places: dict[object, Place], key: object, run: Sequence[Added], at: float
    ) -> None:
        place = places.get(key)
        if place is None or not run:
            return
        pieces = [added.piece for added in run]
        size = place.size + sum(map(len, pieces))
        if size > self._share:
            self._file.cut(at, places.pop(key).row)
            return
        self._file.add(place.row, place.count, pieces, run[-1].tokens)
        places[key] = replace(place, count=place.count + len(pieces), size=size)

    def _end(self, place: Place | None, ending: Ending | None, at: float) -> None:
        if place is None:
            return
        if ending is None:
            self._file.forget(place.row)
        else:
            self._file.end(place.row, ending, place.count, at)

    def _lose(self, lost: Lost, at: float) -> None:
        log.warning(
            "%s can't be written as fast as answers come: they end early in it", self._file.path
        )
        self._file.cut(at)
        for name in lost.names:
            self._file.drop(name)


def _code(error: Exception) -> int:
    """SQLite's primary result code; -1 for other errors."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


def _trouble(error: Exception) -> str:
    if isinstance(error, Unfit):
        return str(error)
    if isinstance(error, OSError):
        return f"it can't be opened ({error.strerror}); name a file that the server may write"
    return _REMEDY.get(_code(error)) or f"it can't be used ({error}); name another file"
