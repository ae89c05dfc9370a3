"""The SQLite file of answers that outlive the server: its tables and bounds, and what of it may be
believed. It belongs to one thread of one process, and knows no event loop and no session.

Its time is that of servers that ran: what a clock jumps, and how long a machine was off, makes
nothing older. A row of `events` holds pieces that came together, joined by newlines.
"""

import os
import sqlite3
import stat
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"SQLite format 3\0"
_APPLICATION = 0x6F767373
"""PRAGMA application_id (sqlite.org/fileformat.html, 1.3.16)."""
_VERSION = 1
_PAGE = 4096
_LOCKED_S = 0.5
_FULL, _ROOMY = 0.9, 0.8
"""When sessions are pruned, and to what part of the bound."""
_FREE_PAGES = 256
_FREED_AT_ONCE = 2048
_WAL_BYTES = 4 << 20
_FEW_PAGES = 256

_TABLES = f"""
BEGIN EXCLUSIVE;
CREATE TABLE clock (uptime REAL NOT NULL);
INSERT INTO clock VALUES (0);
CREATE TABLE sessions (
    row INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
    chosen INTEGER NOT NULL, model TEXT NOT NULL, created REAL NOT NULL, cut TEXT NOT NULL,
    state TEXT, error TEXT, tokens INTEGER, count INTEGER, ended REAL, UNIQUE (owner, id)
);
CREATE INDEX sessions_by_end ON sessions (ended);
CREATE TABLE events (
    session INTEGER NOT NULL, first INTEGER NOT NULL, tokens INTEGER NOT NULL,
    pieces BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX events_by_session ON events (session, first);
PRAGMA application_id={_APPLICATION};
PRAGMA user_version={_VERSION};
COMMIT;
"""


class Unfit(Exception):
    """A file that is not to be touched; says why, and what to do."""


class Corrupt(Exception):
    """What the file says can't be so."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known of a session when it begins."""

    owner: str
    id: str
    digest: str
    chosen: bool
    model: str
    created: float
    cut: str
    """The piece that ends it for readers, where its own end is never kept."""

    @property
    def name(self) -> tuple[str, str]:
        return self.owner, self.id


@dataclass(frozen=True, slots=True)
class Ending:
    state: str
    error: str | None
    """As errors.told writes it."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A session as it was found."""

    heading: Heading
    pieces: tuple[str, ...]
    tokens: int
    ending: Ending | None
    """None where it was cut off: there was more than these pieces, or there would have been."""


class JournalFile:
    """What may raise, raises sqlite3.Error, and Corrupt where it reads."""

    def __init__(self, path: Path, size: float, keep_s: float, spare: int):
        """`size`: its bound in bytes. `keep_s`: how long sessions stay behind their end. `spare`:
        bytes of the disk that the file leaves to others."""
        self.path = path.absolute()
        self._most = max(16, int(size / _PAGE))
        self._keep_s = keep_s
        self._spare = spare
        self._connection: sqlite3.Connection | None = None
        self._seen: tuple[int, int] | None = None
        self._offset = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def is_there(self) -> bool:
        """Whether what is open has not been removed or renamed meanwhile."""
        return self._seen == self._glance()

    def _glance(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    # Its life.

    def open(self, at: float) -> None:
        """Makes the file where there is none. `at` is now, on the clock of this process. Raises
        Unfit, OSError and sqlite3.Error."""
        self._look()
        connection = sqlite3.connect(self.path, timeout=_LOCKED_S, isolation_level=None)
        try:
            self._set_up(connection)
            [uptime] = connection.execute("SELECT uptime FROM clock").fetchone()
        except BaseException:
            connection.close()
            raise
        self._offset = uptime - at
        self._connection, self._seen = connection, self._glance()

    def _look(self) -> None:
        """SQLite would take whatever lies there for its own, or wait at a pipe for ever."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)  # people's conversations
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            head = os.read(descriptor, 100) if regular else b"?"
        finally:
            os.close(descriptor)
        ours = head[:16] == _MAGIC and head[68:72] == _APPLICATION.to_bytes(4, "big")
        if head and not ours:
            raise Unfit("it is not a database of this server; name another file, or move it away")

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        [version] = db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise Unfit(
                "a newer version of the server wrote it; name another file, or start that version"
            )
        if version < _VERSION:  # made just now, or by a server that was killed at once
            db.executescript(_TABLES)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        db.execute(f"PRAGMA max_page_count={self._most}")

    def close(self, at: float | None = None) -> None:
        """`at`: now, where the file is sound."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(sqlite3.Error):
            if at is not None:
                connection.execute("UPDATE clock SET uptime = ?", (at + self._offset,))
        with suppress(sqlite3.Error):
            connection.close()

    def put_aside(self) -> Path:
        """Closes the file and renames it; where it is then. Raises OSError."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.corrupt")
        self.path.replace(aside)
        with suppress(FileNotFoundError):
            os.replace(f"{self.path}-wal", f"{aside}-wal")
        return aside

    # Writing.

    @contextmanager
    def transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def begin(self, said: Heading) -> int:
        """A session's row; whatever had its name is gone."""
        self.drop(said.name)
        values = (said.owner, said.id, said.digest, said.chosen, said.model, said.created, said.cut)
        row = self._db.execute(
            "INSERT INTO sessions (owner, id, digest, chosen, model, created, cut)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        ).lastrowid
        assert row is not None
        return row

    def add(self, row: int, first: int, pieces: Sequence[str], tokens: int) -> int:
        """Pieces from the index `first` on; how many bytes they take."""
        data = "\n".join(pieces).encode("utf-8", "surrogatepass")
        self._db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            (row, first, tokens, data, zlib.crc32(data)),
        )
        return len(data)

    def end(self, row: int, how: Ending, count: int, at: float) -> None:
        """`count`: how many pieces there are."""
        self._db.execute(
            "UPDATE sessions SET state = ?, error = ?, tokens = ?, count = ?, ended = ?"
            " WHERE row = ?",
            (how.state, how.error, how.tokens, count, at + self._offset, row),
        )

    def cut(self, at: float, row: int | None = None) -> None:
        """Nothing more will come of a session, or of any."""
        which, more = ("", ()) if row is None else (" AND row = ?", (row,))
        self._db.execute(
            f"UPDATE sessions SET ended = ? WHERE ended IS NULL{which}", (at + self._offset, *more)
        )

    def drop(self, name: tuple[str, str]) -> None:
        self._delete("owner = ? AND id = ?", name)

    def forget(self, row: int) -> None:
        self._delete("row = ?", (row,))

    def clear(self) -> None:
        self._delete("1")

    def tidy(self, at: float) -> None:
        """Removes what is too old, then the oldest until there is room in the file, which does not
        grow while its disk is nearly full: to remove from it then would take room as well."""
        now = at + self._offset
        self._delete("ended <= ?", (now - self._keep_s,))
        most = self._most
        if self._left() < self._spare:
            most = min(most, max(_FEW_PAGES, self._pragma("page_count")))
        if self._used() > most * _FULL:
            self._prune(most * _ROOMY)
        self._db.execute("UPDATE clock SET uptime = ?", (now,))

    def shrink(self) -> None:
        """Gives back some of what is free, where it is much. A transaction of its own."""
        free = self._pragma("freelist_count")
        if free > max(_FREE_PAGES, self._pragma("page_count") / 4):
            # Only executescript steps through all of it.
            self._db.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")

    def relieve(self) -> None:
        """Makes room in a file, or on a disk, that is full: half of what has ended goes."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # its room is used again
        with self.transaction():
            self._prune(self._used() / 2)

    def _prune(self, pages: float) -> None:
        while self._used() > pages:
            oldest = self._db.execute(
                "SELECT row FROM sessions WHERE ended IS NOT NULL ORDER BY ended, row LIMIT 1"
            ).fetchone()
            if oldest is None:
                break  # the rest are being written
            self._delete("row = ?", oldest)

    def _delete(self, which: str, values: Sequence[Any] = ()) -> None:
        rows = f"SELECT row FROM sessions WHERE {which}"
        self._db.execute(f"DELETE FROM events WHERE session IN ({rows})", values)
        self._db.execute(f"DELETE FROM sessions WHERE {which}", values)

    def _left(self) -> int:
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _used(self) -> int:
        return self._pragma("page_count") - self._pragma("freelist_count")

    def _pragma(self, name: str) -> int:
        return self._db.execute(f"PRAGMA {name}").fetchone()[0]

    # Reading.

    def find(self, name: tuple[str, str], at: float) -> Kept | None:
        since = at + self._offset - self._keep_s
        found = self._db.execute(
            "SELECT row, digest, chosen, model, created, cut, state, error, tokens, count"
            " FROM sessions WHERE owner = ? AND id = ? AND (ended IS NULL OR ended > ?)",
            (*name, since),
        ).fetchone()
        if found is None:
            return None
        row, digest, chosen, model, created, cut, state, error, tokens, count = found
        pieces, so_far = self._pieces(row)
        if count not in (None, len(pieces)):
            raise Corrupt(f"{count} events were written, {len(pieces)} are there")
        heading = Heading(*name, digest, bool(chosen), model, created, cut)
        ending = Ending(state, error, tokens) if state else None
        return Kept(heading, pieces, so_far if ending is None else tokens, ending)

    def _pieces(self, row: int) -> tuple[tuple[str, ...], int]:
        pieces: list[str] = []
        so_far = 0
        for first, tokens, data, crc in self._db.execute(
            "SELECT first, tokens, pieces, crc FROM events WHERE session = ? ORDER BY first", (row,)
        ):
            if first != len(pieces) or zlib.crc32(data) != crc:
                raise Corrupt("events are missing, or not as they were written")
            pieces += data.decode("utf-8", "surrogatepass").split("\n")
            so_far = tokens
        return tuple(pieces), so_far
