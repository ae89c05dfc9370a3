"""API keys: what a list and a file of them say, and the file that changes while the server runs."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.keys import Key, Keys, parse_lines, parse_list, read_keys

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
MISTAKES = [
    "ann",
    "",
    "# nobody\n\n",
    f"an/n {ANN}",
    f"{'n' * 65} {ANN}",
    f"ann {'k' * 513}",
    "ann schlüssel-schlüssel",
    f"ann {ANN} requests_per_minute=0",
    f"ann {ANN} requests_per_minute=-1",
    f"ann {ANN} requests_per_minute=1.5",
    f"ann {ANN} requests_per_minute=",
    f"ann {ANN} requests_per_minute=1 requests_per_minute=2",
    f"ann {ANN} concurrent_requests=many",
    f"ann {ANN} models=",
    f"ann {ANN} models=a,,b",
    f"ann {ANN} models=a, b",
    f"ann {ANN} models=a models=b",
    f"ann {ANN} model=a",
    f"ann {ANN} and {BOB}",
    f"ann {ANN} # hers",
    f"ann {ANN}\nann {BOB}",
    f"ann {ANN}\nbob {ANN}",
]


def names(keys: tuple[Key, ...]) -> list[str]:
    return [key.name for key in keys]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def who(keys: Keys, shown: str) -> str | None:
    """Whose key that is, as the file says now."""
    keys.refresh()
    found = keys.find(shown.encode())
    return found.name if found else None


@pytest.fixture
def said() -> Iterator[list[logging.LogRecord]]:
    """What the log is told of keys."""
    records: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Kept()
    logger = logging.getLogger("ov_server.keys")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield records
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def told(records: list[logging.LogRecord], level: str) -> list[str]:
    return [record.getMessage() for record in records if record.levelname == level]


# Texts.


def test_a_list_names_keys_and_a_bare_one_is_named_after_its_place() -> None:
    keys = parse_list(f"ann={ANN}, {BOB},carl=c=d==")
    assert names(keys) == ["ann", "key-2", "carl"]
    assert len({key.digest for key in keys}) == 3


@pytest.mark.parametrize(
    "text", ["", ",", "ann=", f"ann={ANN},", "YWJj=", "YWJj==", f"={ANN}", f"a,key-1={ANN}"]
)
def test_a_list_with_a_mistake_says_which_key_it_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"key \d of the list: "):
        parse_list(text)


def test_a_file_has_a_key_a_line_with_its_limits() -> None:
    text = f"""# the house's keys

ann {ANN}
  bob\t{BOB}  requests_per_minute=60 concurrent_requests=4 models=a,org/model:1\r
"""
    ann, bob = parse_lines(text)
    assert (ann.name, ann.requests_per_minute, ann.concurrent_requests, ann.models) == (
        "ann",
        None,
        None,
        None,
    )
    assert (bob.name, bob.requests_per_minute, bob.concurrent_requests) == ("bob", 60, 4)
    assert bob.models == {"a", "org/model:1"}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_file_is_named_with_its_line_and_without_the_key(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (each has its words)
        parse_lines(text)
    words = str(caught.value)
    assert words.startswith(("line ", "it holds no key"))
    assert not [key for key in (ANN, BOB, "schlüssel-schlüssel", "k" * 513) if key in words]


@given(
    st.lists(
        st.lists(
            st.sampled_from(["#", "ann", "models=a", "requests_per_minute=5", "\ufeff", "\0", "k="])
            | st.text(max_size=30),
            max_size=5,
        ).map(" ".join),
        max_size=4,
    )
)
@example(["ann key", "ann key"])
def test_any_text_is_keys_or_a_mistake(lines: list[str]) -> None:
    text = "\n".join(lines)
    for parse in (parse_lines, parse_list):
        try:
            keys = parse(text)
        except ValueError:
            continue
        assert keys
        assert len(set(names(keys))) == len({key.digest for key in keys}) == len(keys)


def test_a_key_shows_nothing_of_itself() -> None:
    [key] = parse_list(f"ann={ANN}")
    assert ANN not in repr(key)
    assert repr(key.digest) not in repr(key)


def test_every_value_that_looks_like_a_path_is_one(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", f"ann {ANN}")
    assert names(read_keys(str(path))) == ["ann"]
    for value in ("/nowhere/keys", "~/no such file of keys", "./nowhere", "../nowhere"):
        with pytest.raises(ValueError, match="can't be read: No such file"):
            read_keys(value)
    with pytest.raises(ValueError, match="no such home folder"):
        read_keys("~nobody-here/keys")


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "other bytes", "large"])
def test_what_is_no_file_of_keys_is_said_and_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "other bytes":
        path.write_bytes(b"ann \xff\xfe")
    else:
        path.write_text(f"ann {ANN}\n" + "#" * 1_000_001)
    with pytest.raises(ValueError, match=r"it is|can't be read|it has more than"):
        read_keys(str(path))


# The keys of a running server.


def test_a_key_is_found_by_itself_alone() -> None:
    keys = Keys(f"ann={ANN},bob={BOB}")
    assert keys.needed
    assert (who(keys, ANN), who(keys, BOB)) == ("ann", "bob")
    for shown in ("", ANN[:-1], ANN + " ", ANN.upper(), f"ann={ANN}"):
        assert who(keys, shown) is None


def test_without_a_setting_no_key_is_needed() -> None:
    keys = Keys(None)
    assert not keys.needed
    assert who(keys, ANN) is None


def test_a_change_of_the_file_is_seen_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", f"ann {ANN}\n")
    keys = Keys(str(path))
    assert (who(keys, ANN), who(keys, BOB)) == ("ann", None)
    written(path, f"ann {ANN}\nbob {BOB} requests_per_minute=1\n")
    assert (who(keys, ANN), who(keys, BOB)) == ("ann", "bob")
    written(path, f"bob {BOB}\n")
    assert (who(keys, ANN), who(keys, BOB)) == (None, "bob")


def test_a_key_is_gone_at_once_however_coarse_the_files_clock_is(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", f"ann {ANN}\n")
    keys = Keys(str(path))
    for number in range(200):  # of one size, and many within one tick of the kernel's clock
        shown = f"key-of-ann-{number:06}"
        written(path, f"ann {shown}\n")
        assert who(keys, shown) == "ann"
        assert who(keys, f"key-of-ann-{number - 1:06}") is None


@pytest.mark.parametrize("years", [-10, 10])
def test_a_change_is_seen_whatever_the_clock_says(tmp_path: Path, years: int) -> None:
    path = tmp_path / "keys"
    keys = Keys(str(path))
    for name, key in (("ann", ANN), ("bob", BOB), ("ann", ANN)):
        written(path, f"{name} {key}\n")
        os.utime(path, (at := time.time() + years * 365 * 86400, at))
        assert who(keys, key) == name


@pytest.mark.parametrize("trouble", ["gone", "empty", "a mistake", "a folder", "no folder", "FIFO"])
def test_a_file_that_is_broken_later_takes_nothing_away(
    tmp_path: Path, trouble: str, said: list[logging.LogRecord]
) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    path = written(folder / "keys", f"ann {ANN}\n")
    keys = Keys(str(path))
    assert who(keys, ANN) == "ann"
    if trouble in ("empty", "a mistake"):
        written(path, "" if trouble == "empty" else "ann")
    else:
        path.unlink()
        if trouble == "a folder":
            path.mkdir()
        elif trouble == "no folder":
            folder.rmdir()
        elif trouble == "FIFO":
            os.mkfifo(path)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert who(keys, ANN) == "ann"
        assert who(keys, "") is None
    assert os.listdir("/proc/self/fd") == before
    assert keys.needed
    assert keys.error
    assert len(told(said, "ERROR")) == 1
    if trouble in ("empty", "a mistake", "gone"):
        written(path, f"bob {BOB}\n")
        assert (who(keys, BOB), who(keys, ANN), keys.error) == ("bob", None, None)


def test_a_file_that_could_never_be_read_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys = Keys(str(path))
    assert keys.needed
    assert who(keys, ANN) is None
    assert who(keys, "") is None
    assert keys.error
    written(path, f"ann {ANN}\n")
    assert who(keys, ANN) == "ann"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_warned_of_once(
    tmp_path: Path, mode: int, said: list[logging.LogRecord]
) -> None:
    path = written(tmp_path / "keys", f"ann {ANN}\n")
    path.chmod(mode)
    keys = Keys(str(path))
    assert who(keys, ANN) == who(keys, ANN) == "ann"
    assert len(told(said, "WARNING")) == (1 if mode & 0o077 else 0)
    assert not [record for record in said if ANN in record.getMessage()]


def test_a_key_that_can_be_guessed_is_warned_of(said: list[logging.LogRecord]) -> None:
    Keys(f"ann={ANN},bob=secret")
    [line] = told(said, "WARNING")
    assert "bob" in line
    assert "ann" not in line
    assert "secret" not in line
