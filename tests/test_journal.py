"""The journal of answers, with real files: what is found again, bounds, and everything that may be
wrong with a database.
"""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeClock, Lines, log_lines, soon

from ov_server.journal import Journal
from ov_server.journalfile import Ending, Heading, Kept
from ov_server.scribe import Rhythm

pytestmark = pytest.mark.anyio

DONE = Ending("finished", None, 7)
PIECES = ['{"one":"ä 😀 \\n"}', "", '{"half":"\ud83d"}', "[DONE]"]


def heading(name: str = "mine", owner: str = "") -> Heading:
    return Heading(owner, name, "digest", True, "a model", 12.5, "it was cut")


@asynccontextmanager
async def journal(
    path: Path,
    clock: FakeClock | None = None,
    *,
    size_mb: float = 10,
    keep_s: float = 60,
    rhythm: Rhythm | None = None,
) -> AsyncGenerator[Journal]:
    opened = Journal(path, size_mb, keep_s, clock or FakeClock(), rhythm)
    try:
        yield opened
    finally:
        await soon(opened.close())


def write(
    journal: Journal,
    pieces: Iterable[str] = PIECES,
    said: Heading | None = None,
    ending: Ending | None = DONE,
) -> None:
    """A session from its beginning to its end."""
    key = begin(journal, pieces, said)
    journal.ended(key, ending)


def begin(journal: Journal, pieces: Iterable[str], said: Heading | None = None) -> object:
    key = object()
    journal.begun(key, said or heading())
    for tokens, piece in enumerate(pieces, 1):
        journal.added(key, piece, tokens)
    return key


async def found(journal: Journal, name: str = "mine", owner: str = "") -> Kept | None:
    return await soon(journal.find(owner, name))


async def pieces(journal: Journal, name: str = "mine") -> list[str] | None:
    kept = await found(journal, name)
    return None if kept is None else list(kept.pieces)


async def names(journal: Journal, count: int) -> list[int]:
    """Which of the sessions "0", "1" and so on there are."""
    return [i for i in range(count) if await found(journal, str(i))]


def files(path: Path) -> list[Path]:
    """The database and what SQLite has beside it."""
    return list(path.parent.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "sessions.db"


# What is found again.


@pytest.mark.parametrize("how", [DONE, Ending("failed", '{"message": "It broke."}', 3)])
async def test_a_session_outlives_the_journal_that_wrote_it(path: Path, how: Ending) -> None:
    async with journal(path) as first:
        write(first, ending=how)
    async with journal(path) as second:
        assert await found(second) == Kept(heading(), tuple(PIECES), how.tokens, how)


async def test_what_was_told_before_is_found_at_once(path: Path) -> None:
    async with journal(path, rhythm=Rhythm(batch_s=3600)) as opened:
        key = begin(opened, PIECES[:2])
        assert await found(opened) == Kept(heading(), tuple(PIECES[:2]), 2, None)
        opened.added(key, PIECES[2], 3)
        assert await found(opened) == Kept(heading(), tuple(PIECES[:3]), 3, None)


async def test_a_session_without_its_end_is_as_far_as_it_came(path: Path) -> None:
    async with journal(path) as first:
        begin(first, PIECES[:2])
        begin(first, [], heading("empty"))
    async with journal(path) as second:
        assert await found(second) == Kept(heading(), tuple(PIECES[:2]), 2, None)
        assert await found(second, "empty") == Kept(heading("empty"), (), 0, None)


async def test_a_new_session_takes_the_place_of_its_name_and_owner(path: Path) -> None:
    async with journal(path) as opened:
        write(opened, ["theirs"], heading(owner="else"))
        write(opened, ["old"])
        write(opened, ["new"], replace(heading(), digest="another"))
        kept = await found(opened)
        assert kept is not None
        assert (kept.pieces, kept.heading.digest) == (("new",), "another")
        theirs = await found(opened, owner="else")
        assert theirs is not None
        assert theirs.pieces == ("theirs",)
        assert await found(opened, owner="nobody") is None


async def test_what_is_to_be_forgotten_is_not_there(path: Path) -> None:
    async with journal(path) as opened:
        write(opened, ending=None)
        assert await found(opened) is None


async def test_after_its_end_a_journal_takes_nothing_and_fails_nobody(path: Path) -> None:
    async with journal(path) as opened:
        pass
    write(opened)
    assert await found(opened) is None


async def test_nobody_else_may_read_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        async with journal(path) as opened:
            write(opened)
            await found(opened)
            modes = [file.stat().st_mode & 0o777 for file in files(path)]
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]


# Bounds.


async def test_sessions_stay_for_a_while_behind_their_end(path: Path) -> None:
    clock = FakeClock()
    async with journal(path, clock, keep_s=60) as opened:
        running = begin(opened, PIECES, heading("running"))
        write(opened)
        await found(opened)
        clock.advance(59)
        assert await found(opened)
        clock.advance(1)
        assert await found(opened) is None
        opened.ended(running, DONE)
        assert await found(opened, "running")
    assert rows(path) == ["running"]


def size(path: Path) -> int:
    return path.stat().st_size


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT id FROM sessions ORDER BY id")]


@pytest.mark.parametrize("start", [-1e9, 0.0, 1e9])
async def test_only_the_time_that_servers_run_makes_sessions_older(
    path: Path, start: float
) -> None:
    first, second = FakeClock(), FakeClock()
    async with journal(path, first, keep_s=60) as opened:
        write(opened)
        begin(opened, PIECES, heading("cut"))
        assert await found(opened)
        first.advance(40)
        write(opened, said=heading("other"))
    second.now = start  # whatever the clock says by now
    async with journal(path, second, keep_s=60) as opened:
        assert await found(opened)
        second.advance(20)
        assert await found(opened) is None
        assert await found(opened, "cut")  # it ended with its server
        second.advance(40)
        assert await found(opened, "cut") is None


async def test_the_oldest_make_room(path: Path) -> None:
    async with journal(path, size_mb=1) as opened:
        running = begin(opened, ["kept"], heading("running"))
        for i in range(60):
            write(opened, ["x" * 49_999], heading(str(i)))
            await found(opened)
        kept = await names(opened, 60)
        assert 10 < len(kept) < 20
        assert kept == list(range(60 - len(kept), 60))
        opened.ended(running, DONE)
        assert await pieces(opened, "running") == ["kept"]
        assert opened.trouble is None
    assert size(path) <= 1e6


async def test_a_smaller_bound_shrinks_the_file(path: Path) -> None:
    async with journal(path) as opened:
        for i in range(80):
            write(opened, ["x" * 99_999], heading(str(i)))
    assert size(path) > 8e6
    async with journal(path, size_mb=1) as opened:
        for _ in range(4):
            write(opened)
            await found(opened)
        assert (await names(opened, 80))[-1] == 79
    assert size(path) < 1.4e6


async def test_the_file_does_not_grow_while_its_disk_is_nearly_full(path: Path) -> None:
    async with journal(path, size_mb=100, rhythm=Rhythm(spare=1 << 60)) as opened:
        for i in range(60):
            write(opened, ["x" * 49_999], heading(str(i)))
            await found(opened)
        kept = await names(opened, 60)
        assert 10 < len(kept) < 20
        assert kept[-1] == 59
        assert opened.trouble is None
    assert size(path) < 1.2e6


async def test_the_write_ahead_log_stays_small(path: Path) -> None:
    async with journal(path) as opened:
        key = begin(opened, [])
        for _ in range(300):
            opened.added(key, "x" * 1000, 1)
            await found(opened)
        assert size(path.with_name("sessions.db-wal")) < 6e6


async def test_one_answer_takes_a_share_of_the_file_at_the_most(path: Path) -> None:
    async with journal(path, size_mb=1) as opened:
        key = begin(opened, [])
        for i in range(20):
            opened.added(key, f"{i}" * 10_000, i)
            await found(opened)
        opened.ended(key, DONE)
        kept = await found(opened)
        assert kept is not None
        assert kept.ending is None
        assert list(kept.pieces) == [f"{i}" * 10_000 for i in range(len(kept.pieces))]
        assert 5 < len(kept.pieces) < 20


async def test_what_comes_faster_than_it_can_be_written_leaves_no_hole(path: Path) -> None:
    async with journal(path, rhythm=Rhythm(batch_s=3600, waiting=1000)) as opened:
        write(opened, ["old"], heading("replaced"))
        early = begin(opened, ["one", "two"], heading("early"))
        await found(opened)  # written; what follows waits for the next one who asks
        opened.added(early, "three", 3)
        late = begin(opened, ["one"], heading("late"))
        replaced = begin(opened, ["new"], heading("replaced"))
        opened.added(early, "x" * 1000, 4)
        for key in (early, late, replaced):
            opened.added(key, "the end", 5)
            opened.ended(key, DONE)
        write(opened, PIECES, heading("later"))
        kept = await found(opened, "early")
        assert kept is not None
        assert (kept.pieces, kept.ending) == (("one", "two"), None)
        assert await pieces(opened, "late") is None
        assert await pieces(opened, "replaced") is None
        assert await pieces(opened, "later") == PIECES


# What may be wrong.


def make(path: Path) -> None:
    path.touch()


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def somebody_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE sessions (id)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA application_id={0x6F767373}")
        database.execute("PRAGMA user_version=2")
        database.execute("CREATE TABLE sessions (id)")


UNFIT = [
    (garbage, "not a database of this server"),
    (somebody_elses, "not a database of this server"),
    (newer, "newer version"),
    (Path.mkdir, "can't be opened"),
    (os.mkfifo, "not a database of this server"),
    (lambda path: path.symlink_to("nowhere/at/all"), "can't be opened"),
]


def look(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize(("lay", "why"), UNFIT)
async def test_what_is_not_the_servers_is_left_alone(
    path: Path, lay: Callable[[Path], None], why: str
) -> None:
    path.parent.mkdir()
    lay(path)
    before, clock = look(path), FakeClock()
    with log_lines("ov_server.scribe") as lines:
        async with journal(path, clock) as opened:
            for _ in range(3):
                clock.advance(30)
                write(opened)
                assert await found(opened) is None
            assert opened.trouble is not None
            assert str(path) in opened.trouble
            assert why in opened.trouble
            assert warnings(lines) == [f"{opened.trouble}. Answers are kept in memory alone."]
            assert look(path) == before
            move_away(path)
            write(opened)
            assert await found(opened) is None  # for half a minute nobody looks
            clock.advance(30)
            write(opened)
            assert await pieces(opened) == PIECES
            assert opened.trouble is None


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def warnings(lines: Lines) -> list[str]:
    return [line.getMessage() for line in lines.records if line.levelname in ("WARNING", "ERROR")]


async def test_a_path_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    make(tmp_path / "file")
    async with journal(tmp_path / "file" / "sessions.db") as opened:
        write(opened)
        assert await found(opened) is None
        assert "can't be opened" in str(opened.trouble)


def flip(path: Path) -> None:
    """One letter of an event is another one."""
    data = path.read_bytes()
    place = data.rindex(b"word 5 ")
    path.write_bytes(data[:place] + b"W" + data[place + 1 :])


def zero_the_middle(path: Path) -> None:
    data = path.read_bytes()
    half = len(data) // 2 // 4096 * 4096
    path.write_bytes(data[:half] + bytes(8192) + data[half + 8192 :])


def scramble_behind_the_first_page(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


def cut_off(path: Path) -> None:
    os.truncate(path, size(path) // 2)


def lose_an_event(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM events WHERE first = (SELECT max(first) FROM events)")
        database.commit()


@pytest.mark.parametrize(
    "spoil", [lose_an_event, flip, zero_the_middle, scramble_behind_the_first_page, cut_off]
)
async def test_a_corrupt_file_is_put_aside(path: Path, spoil: Callable[[Path], None]) -> None:
    async with journal(path) as opened:
        write(opened, [f"word {i} " * 2000 for i in range(9)])
    spoil(path)
    spoilt = look(path) or b""
    with log_lines("ov_server.scribe") as lines:
        async with journal(path) as opened:
            assert await found(opened) is None
            write(opened)
            assert await pieces(opened) == PIECES
            assert opened.trouble is None
    [warning] = warnings(lines)
    assert f"it lies at {path}.corrupt now" in warning
    aside = look(path.with_name("sessions.db.corrupt"))
    assert aside is not None
    assert aside[4096:] == spoilt[4096:]  # opening it may write the first page


@contextmanager
def small_files(most: int) -> Generator[None]:
    """Writes fail beyond so many bytes of a file, as they do on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_tried_again(path: Path) -> None:
    clock = FakeClock()
    async with journal(path, clock) as opened:
        for i in range(20):
            write(opened, ["x" * 5000], heading(str(i)))
        torn = begin(opened, ["one"], heading("torn"))
        await found(opened)
        with small_files(300_000), log_lines("ov_server.scribe") as lines:
            for _ in range(3):
                write(opened, ["x" * 300_000], heading("large"))
                write(opened, ["new"], heading("19"))
                opened.added(torn, "x" * 300_000, 2)
                assert await pieces(opened, "large") is None
                assert await pieces(opened, "19") is None
                assert await pieces(opened, "18") == ["x" * 5000]  # read all the same
            assert "disk is full" in str(opened.trouble)
            assert len(warnings(lines)) == 1
        clock.advance(30)
        opened.added(torn, "three", 3)
        opened.ended(torn, DONE)
        write(opened)
        assert await pieces(opened) == PIECES
        assert opened.trouble is None
        assert await pieces(opened, "19") is None
        kept = await found(opened, "torn")
        assert kept is None or (kept.pieces, kept.ending) == (("one",), None)


async def test_a_full_file_makes_room_for_all_that_came_together(path: Path) -> None:
    async with journal(path, size_mb=0.4, rhythm=Rhythm(batch_s=3600)) as opened:
        for i in range(9):
            write(opened, ["x" * 40_000], heading(str(i)))
            await found(opened)
        for i in range(3):
            write(opened, ["x" * 48_000], heading(f"new {i}"))
        assert [await pieces(opened, f"new {i}") for i in range(3)] == [["x" * 48_000]] * 3
        assert opened.trouble is None


async def test_a_full_file_makes_room_or_rests(path: Path) -> None:
    clock = FakeClock()
    async with journal(path, clock, size_mb=0.4) as opened:
        write(opened, ["x" * 45_000], heading("old"))
        running = [begin(opened, ["x" * 40_000], heading(str(i))) for i in range(12)]
        await found(opened)
        assert "OV_SESSIONS_DB_MB" in str(opened.trouble)
        clock.advance(30)
        write(opened)
        assert await pieces(opened) == PIECES
        assert opened.trouble is None
        for key in running:
            opened.ended(key, DONE)
        assert await names(opened, 12) == []
    assert size(path) <= 0.4e6


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Generator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield other


async def test_a_file_that_somebody_else_has_open_is_told_and_tried_again(path: Path) -> None:
    async with journal(path) as opened:
        write(opened, ["old"], heading("old"))
        write(opened, ["old"], heading("replaced"))
    clock = FakeClock()
    with held(path) as other:
        async with journal(path, clock) as opened:
            write(opened, said=heading("replaced"))
            assert await found(opened) is None
            assert "another program has it open" in str(opened.trouble)
            other.communicate()
            clock.advance(30)
            assert await found(opened, "replaced") is None
            write(opened)
            assert await found(opened, "replaced") is None
            assert await pieces(opened) == PIECES
            assert await pieces(opened, "old") == ["old"]
            assert opened.trouble is None


async def test_a_file_that_is_removed_is_made_anew(path: Path) -> None:
    async with journal(path) as opened:
        torn = begin(opened, ["one"], heading("torn"))
        await found(opened)
        for file in files(path):
            file.unlink()
        opened.added(torn, "two", 2)
        write(opened)
        assert await pieces(opened) == PIECES
        assert await pieces(opened, "torn") is None
    async with journal(path) as opened:
        assert await pieces(opened) == PIECES


async def test_a_file_that_a_killed_server_was_making_is_made(path: Path) -> None:
    path.parent.mkdir()
    make(path)
    async with journal(path) as opened:
        write(opened)
        assert await pieces(opened) == PIECES
