"""Disks that are full, before and in the middle of a conversion: nothing is lost, and the reason is
told, though the log lies on the same disk."""

from collections.abc import Generator

import pytest

from .house import House, safetensors
from .hub import Hub
from .smalldisk import SmallDisk, mounted_again, small_disk
from .test_downloads import FILES, REPO

FULL = "the disk is full"
LARGE = safetensors({"weight": [4000, 4000]})  # 32 MB


@pytest.fixture
def disk(house: House) -> Generator[SmallDisk]:
    """~/models is a small disk."""
    with small_disk(house.source) as disk:
        house.behind(disk)
        yield disk


def failure(said: str) -> str:
    [line] = [line for line in said.splitlines() if line.startswith("failed ")]
    return line


def test_an_export_that_fills_the_disk_leaves_everything_as_it_was(
    house: House, disk: SmallDisk
) -> None:
    house.model("Old")
    house.convert()
    before = house.registry
    house.model("New")
    done = house.call("--yes", "--no-verify", STAND_IN="fills")
    assert done.returncode == 1
    assert failure(done.stdout).startswith("failed   New: ")
    assert FULL in failure(done.stdout)
    assert "The log: " in done.stdout
    assert house.registry == before
    assert house.originals == ["New", "Old"]
    assert [record["name"] for record in house.records] == ["old"]
    assert house.left_behind == []


def test_what_is_missing_is_seen_also_where_the_export_filled_the_disk(
    house: House, disk: SmallDisk
) -> None:
    house.model("A")
    done = house.call("--yes", "--no-verify", STAND_IN="fills, misses")
    assert done.returncode == 1
    assert "lm_head.weight" in failure(done.stdout)
    assert house.records == []
    assert house.originals == ["A"]


def test_what_can_not_be_kept_is_not_taken_for_whole(house: House, disk: SmallDisk) -> None:
    house.model("A")
    temporary = str(house.home / "models")  # as the programs see it
    done = house.call("--yes", "--no-verify", STAND_IN="fills, misses", TMPDIR=temporary)
    assert done.returncode == 1
    reason = FULL if disk.mounted else "lm_head.weight"
    assert reason in failure(done.stdout)
    assert house.records == []
    assert house.originals == ["A"]


def test_a_download_that_fills_the_disk_goes_on_when_there_is_room(
    house: House, disk: SmallDisk
) -> None:
    disk.fill()
    hub = Hub(REPO, FILES)
    hub.told = {"model.safetensors": 1000}  # so that the look at the room passes
    with hub.serving() as address:
        house.env |= {"HF_ENDPOINT": address, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = house.call("--yes", "--no-verify", REPO)
    assert done.returncode == 1
    assert FULL in failure(done.stdout)
    mark = house.source / "Tiny-Chat.1" / ".ov-download.json"
    assert mark.read_text() == f'{{"repo": "{REPO}", "whole": false}}\n'


def test_an_original_that_does_not_fit_where_it_is_moved_stays(house: House) -> None:
    original = house.model("A")
    (original / "model.safetensors").write_bytes(LARGE)
    place = house.home / "elsewhere"
    with small_disk(place, apart=True) as disk:
        disk.fill()
        house.before = disk.prefix
        done = house.call("--yes", "--no-verify", OV_MODEL_OG=str(place))
        assert done.returncode == 1
        assert "its original can't be moved" in failure(done.stdout)
        assert not list(disk.seen.glob("A*"))
        assert not list(disk.seen.glob(".moving*"))
    assert set(house.registry) == {"a"}
    assert (original / "model.safetensors").read_bytes() == LARGE
    house.before = ()
    assert "a: was converted before, and is finished now" in house.convert()
    assert (house.og / "A" / "model.safetensors").read_bytes() == LARGE


def test_an_original_is_moved_to_another_disk(house: House) -> None:
    house.model("A")
    place = house.home / "elsewhere"
    with small_disk(place, apart=True) as disk:
        house.before = disk.prefix
        house.convert(OV_MODEL_OG=str(place))
        assert (disk.seen / "A" / "model.safetensors").is_file()
    assert [record["original"] for record in house.records] == [str(place / "A")]
    assert list(house.source.iterdir()) == [house.out]


def test_an_original_is_moved_to_another_disk_behind_a_link(house: House) -> None:
    house.model("A")
    place = house.home / "elsewhere"
    with small_disk(place) as disk:
        disk.fill()
        house.before = disk.prefix
        (house.source / "A" / "model.safetensors").write_bytes(LARGE)
        house.og.symlink_to(place)
        done = house.call("--yes", "--no-verify")
        assert (done.returncode == 1) == disk.mounted
        assert len(list(disk.seen.glob("A"))) + len(list(house.source.glob("A"))) == 1


def test_an_original_stays_where_what_arrived_is_not_whole(house: House) -> None:
    """Somebody takes a file out of the copy; `sync` comes just behind it."""
    original = house.model("A")
    programs = house.home / "programs"
    programs.mkdir()
    (programs / "sync").write_text('#!/bin/sh\nrm -f "$3"/original/tokenizer.json\n')
    (programs / "sync").chmod(0o755)
    place = house.home / "elsewhere"
    with small_disk(place, apart=True) as disk:
        house.before = disk.prefix
        env = {"OV_MODEL_OG": str(place), "PATH": f"{programs}:{house.env['PATH']}"}
        done = house.call("--yes", "--no-verify", **env)
        assert done.returncode == 1
        assert "'tokenizer.json' has not arrived whole" in failure(done.stdout)
        assert not list(disk.seen.iterdir())
    assert (original / "tokenizer.json").is_file()
    assert not list(house.source.glob(".mov*"))
    house.before = ()
    house.convert()
    assert house.originals == ["A"]


def test_an_original_is_copied_where_a_rename_is_not_allowed(house: House) -> None:
    """og_models is mounted from the same disk: half of it must never be under its final name."""
    house.model("A")
    programs = house.home / "programs"
    programs.mkdir()
    copied = house.home / "copied"
    (programs / "cp").write_text(f'#!/bin/sh\necho "$*" >>"{copied}"\nexec /bin/cp "$@"\n')
    (programs / "cp").chmod(0o755)
    with mounted_again(house.og) as disk:
        house.before = disk.prefix
        house.convert(PATH=f"{programs}:{house.env['PATH']}")
        assert ".moving-" in copied.read_text()
        assert [folder.name for folder in disk.seen.iterdir()] == ["A"]
    assert not (house.source / "A").exists()
    [record] = house.records
    assert record["original"] == str(house.og / "A")
