"""The cache folder: whole entries or none, whatever ends their making, and pruning by last use."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from ov_server import cache
from ov_server.errors import LoadFailed

YEAR_S = 365 * 86400
TOO_MUCH = 2**62
"""Bytes that no disk has."""


def whole(part: Path) -> None:
    (part / "file").write_text("whole")


def entry(root: Path, name: str, *, used_at: float) -> Path:
    folder = root / "gguf" / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 1000)
    os.utime(folder, (used_at, used_at))
    return folder


def test_what_is_made_once_is_there_for_good(tmp_path: Path) -> None:
    made = [cache.folder(tmp_path / "gguf" / "a", whole, 5) for _ in range(2)]
    assert made == [tmp_path / "gguf" / "a"] * 2
    assert [path.name for path in tmp_path.rglob("*")] == ["gguf", "a", "file"]


def test_what_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def half(part: Path) -> None:
        whole(part)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        cache.folder(tmp_path / "gguf" / "a", half, 5)
    assert list((tmp_path / "gguf").iterdir()) == []


def test_what_fails_where_there_is_no_room_says_so(tmp_path: Path) -> None:
    def half(part: Path) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    with pytest.raises(LoadFailed, match=r"takes no more .*: make room"):
        cache.folder(tmp_path / "gguf" / "a", half, TOO_MUCH)
    assert list((tmp_path / "gguf").iterdir()) == []


def test_what_a_killed_process_was_making_goes_and_what_is_being_made_stays(tmp_path: Path) -> None:
    keep = entry(tmp_path, "keep", used_at=0)
    left = entry(tmp_path, "left.part", used_at=0)
    held = entry(tmp_path, "held.part", used_at=0)
    folder = os.open(held, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    cache.prune(tmp_path, 1, keep)
    assert (left.exists(), held.exists()) == (False, True)
    os.close(folder)
    cache.prune(tmp_path, 1, keep)
    assert not held.exists()


def test_a_folder_is_held_while_it_is_filled(tmp_path: Path) -> None:
    def make(part: Path) -> None:
        cache.prune(tmp_path, 1, tmp_path / "gguf" / "a")
        whole(part)

    assert (cache.folder(tmp_path / "gguf" / "a", make, 5) / "file").read_text() == "whole"


@pytest.mark.parametrize("jump", [0, 10 * YEAR_S, -10 * YEAR_S], ids=["no", "ahead", "back"])
def test_what_was_used_longest_ago_goes_whatever_the_clock_says(tmp_path: Path, jump: int) -> None:
    now = time.time() + jump
    old, newer = (entry(tmp_path, name, used_at=now + at) for at, name in enumerate("ab"))
    keep = entry(tmp_path, "keep", used_at=now - 100)
    cache.prune(tmp_path, 2500e-9, keep)
    assert [folder.exists() for folder in (old, newer, keep)] == [False, True, True]
