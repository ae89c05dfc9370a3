"""Whatever ends a conversion, and wherever: nothing is lost, and the next run finishes it."""

import fcntl
import json
import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from .house import SCRIPT, House

STEPS = """
step() {
    count=$((count + 1))
    [[ -z $KILL_LIST ]] || printf '%s %s\\n' "$count" "${BASH_COMMAND//$'\\n'/ }" >>"$KILL_LIST"
    [[ $count != "$KILL_AT" ]] || kill -9 $$
    [[ -z $FULL_AT ]] || ((count < FULL_AT)) || { trap '' XFSZ && ulimit -S -f 0; }
}
[[ $0 != *ov-convert-model ]] || { count=0; set -T; trap step DEBUG; }
"""
"""Bash reads this before the script, counts its commands, and kills it before one of them; or lets
no write to a file succeed any more."""


@pytest.fixture
def steps(house: House) -> Path:
    file = house.home / "steps.sh"
    file.write_text(STEPS)
    house.env |= {"BASH_ENV": str(file), "KILL_AT": "", "KILL_LIST": "", "FULL_AT": ""}
    return file


TOUCHES = re.compile(r"mktemp|mkdir|mv|rm|exec|sync|wait|tool|printf '%s' ")
"""What a command begins with that changes the disk or starts something that does."""

WRITES = re.compile(r"mktemp|mkdir|wait|tool record|printf '%s' ")
"""The same of commands that need room."""


def forget(house: House, number: object) -> None:
    """The model "New", as if it had never been there."""
    house.call("--yes", "--remove", "new")
    (house.og / "New").rename(house.home / f"New {number}")


def steps_of(house: House, touches: re.Pattern[str] = TOUCHES) -> list[int]:
    """The numbers of the commands of a conversion of "New" that touch the disk, in order, where
    "Old" is converted before."""
    house.model("Old")
    house.convert()
    house.model("New")
    file = house.home / "commands"
    house.convert(KILL_LIST=str(file))
    forget(house, "while counting")
    lines = [line.partition(" ") for line in file.read_text().splitlines()]
    begun = next(n for n, line in enumerate(lines) if line[2].startswith("convert_one"))
    return sorted({int(line[0]) for line in lines[begun:] if touches.match(line[2])})


def is_as_it_should_be(house: House, models: set[str]) -> None:
    """After an end that nobody wanted: what was there is there."""
    assert set(house.registry) >= models
    assert set(house.registry) <= models | {"new"}
    assert house.originals == ["New", "Old"]
    names = [record["name"] for record in house.records]
    assert names == sorted(set(names))
    for entry in house.registry.values():
        assert (house.out / entry["path"] / "conversion.json").is_file()


def test_killed_before_any_step_it_loses_nothing(house: House, steps: Path) -> None:
    numbers = steps_of(house)
    assert len(numbers) > 20
    for number in numbers:
        house.model("New")
        done = house.call("--yes", "--no-verify", KILL_AT=str(number))
        assert done.returncode == -signal.SIGKILL
        is_as_it_should_be(house, {"old"})
        house.convert()
        assert set(house.registry) == {"old", "new"}, f"killed at command {number}"
        assert [record["name"] for record in house.records] == ["new", "old"]
        assert sorted(os.listdir(house.og)) == ["New", "Old"]
        originals = [Path(record["original"]).parent for record in house.records]
        assert originals == [house.og] * 2, f"killed at command {number}"
        assert house.left_behind == []
        forget(house, number)


def test_where_nothing_can_be_written_from_any_step_on_it_loses_nothing(
    house: House, steps: Path
) -> None:
    numbers = steps_of(house, WRITES)
    assert len(numbers) > 10
    for number in numbers:
        house.model("New")
        done = house.call("--yes", "--no-verify", FULL_AT=str(number))
        assert done.returncode == ("failed   New: " in done.stdout), done.stdout
        assert ("done     new: " in done.stdout) != ("failed   New: " in done.stdout)
        assert house.left_behind == []
        is_as_it_should_be(house, {"old"})
        house.convert()
        assert set(house.registry) == {"old", "new"}, f"full at command {number}"
        assert sorted(os.listdir(house.og)) == ["New", "Old"]
        [original] = [r["original"] for r in house.records if r["name"] == "new"]
        assert original == str(house.og / "New"), f"full at command {number}"
        forget(house, number)


def test_what_can_not_be_heard_is_not_taken_for_whole(house: House, steps: Path) -> None:
    """An export that leaves out tensors and says so, where nobody can write that down."""
    number, *_ = steps_of(house, re.compile("export_model"))
    house.model("New")
    done = house.call("--yes", "--no-verify", FULL_AT=str(number), STAND_IN="unheard")
    assert done.returncode == 1
    assert "what it said could not be kept whole: make room in" in done.stdout, done.stdout
    is_as_it_should_be(house, {"old"})
    assert [record["name"] for record in house.records] == ["old"]


@pytest.fixture
def gate(house: House) -> Path:
    """The export stops here, halfway."""
    path = house.home / "gate"
    os.mkfifo(path)
    return path


def halfway(gate: Path) -> None:
    assert gate.read_text() == "halfway\n"


@contextmanager
def begun(house: House, gate: Path, *words: str) -> Generator["subprocess.Popen[str]"]:
    process = house.start(*words, STAND_IN_GATE=str(gate))
    try:
        halfway(gate)
        yield process
    finally:
        if process.poll() is None:
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_cleans_up(
    house: House, gate: Path, number: signal.Signals
) -> None:
    house.model("A")
    with begun(house, gate) as process:
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130
    assert "failed   A: stopped" in said
    assert "The log: " in said
    assert house.left_behind == []
    assert house.records == []
    assert house.originals == ["A"]


def test_ctrl_c_ends_it_at_once(house: House, gate: Path) -> None:
    house.model("A")
    with closing(house.sit_down("--yes", "--no-verify", STAND_IN_GATE=str(gate))) as terminal:
        halfway(gate)
        terminal.type("\x03")
        assert terminal.end() == 130
    assert house.left_behind == []
    assert house.originals == ["A"]


def test_a_connection_that_drops_does_not_end_it(house: House, gate: Path) -> None:
    house.model("A")
    house.model("B")
    with closing(house.sit_down("--yes", "--no-verify", STAND_IN_GATE=str(gate))) as terminal:
        for _ in "AB":
            halfway(gate)
            terminal.hang_up()
            gate.write_text("go on")
        terminal.end()
    assert set(house.registry) == {"a", "b"}
    assert house.left_behind == []


def test_a_reader_that_leaves_does_not_end_it(house: House, gate: Path) -> None:
    house.model("A")
    with begun(house, gate) as process:
        assert process.stdout is not None
        process.stdout.close()
        gate.write_text("go on")
        process.wait(timeout=60)
    assert set(house.registry) == {"a"}


def test_two_at_once_lose_nothing(house: House, gate: Path) -> None:
    house.model("A")
    with begun(house, gate, "A") as first:
        house.model("a!")  # for the same name
        assert "'a' is in use, so it will be 'a-2'" in house.convert("a!")
        gate.write_text("go on")
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert set(house.registry) == {"a", "a-2"}
    assert house.originals == ["A", "a!"]


def test_a_name_that_is_taken_meanwhile_is_left_to_its_owner(house: House, gate: Path) -> None:
    house.model("A")
    with begun(house, gate) as first:
        own = {"version": 1, "models": {"b": {"path": "/b", "aliases": ["a"]}}}
        (house.out / "registry.json").write_text(json.dumps(own))
        gate.write_text("go on")
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 0, said
    assert set(house.registry) == {"b", "a-2"}
    assert house.registry["b"] == own["models"]["b"]


def test_a_terminal_that_stops_who_writes_in_the_background_stops_nothing(house: House) -> None:
    house.model("A")
    with closing(house.sit_down("--yes", "--no-verify", tostop=True)) as terminal:
        terminal.until("done     a")
        assert terminal.end() == 0


def test_half_a_move_to_another_disk_is_swept_away(house: House) -> None:
    part = house.og / ".moving-abcdef"
    part.mkdir(parents=True)
    (part / "model.safetensors").write_bytes(b"half")
    house.out.mkdir()
    house.model("A")
    house.convert()
    assert house.left_behind == []


def test_a_move_to_another_disk_is_left_to_whoever_is_at_it(house: House) -> None:
    """Another run may have other results and the same originals."""
    elsewhere = house.home / "elsewhere"
    elsewhere.mkdir()
    house.out.mkdir()
    for half in (house.og / ".moving-abcdef", house.source / ".moved-abcdef"):
        half.mkdir(parents=True)
        with (half / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            house.model(half.name[1:])
            house.convert(OV_MODEL_OUT=str(elsewhere))
            assert half.is_dir()
        house.model(f"{half.name[1:]} again")
        house.convert()
        assert not half.exists()


def test_two_never_work_on_the_same_model(house: House, gate: Path) -> None:
    house.model("A")
    with begun(house, gate) as first:
        assert "skipped  A: another ov-convert-model works on it now" in house.convert()
        done = house.call("--yes", "--no-verify", "A")
        assert done.returncode == 1
        assert "failed   A: another ov-convert-model works on it now" in done.stdout
        gate.write_text("go on")
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert set(house.registry) == {"a"}
    assert [record["name"] for record in house.records] == ["a"]


def test_many_that_end_together_are_all_registered(house: House) -> None:
    names = [f"m{number}" for number in range(8)]
    for name in names:
        house.model(name)
    processes = [house.start(name) for name in names]
    for process in processes:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert set(house.registry) == set(names)
    assert house.left_behind == []


def test_an_export_that_outlives_its_converter_is_not_disturbed(house: House, gate: Path) -> None:
    """The lock is the export's as well: another run does not take its folder away."""
    house.model("A")
    with begun(house, gate) as first:
        first.kill()
        first.wait()
        done = house.call("--yes", "--no-verify")
        assert "another ov-convert-model works on it now" in done.stdout
        gate.write_text("go on")
        first.communicate()  # its output ends with the export
    house.convert()
    assert set(house.registry) == {"a"}
    assert house.left_behind == []


def test_what_an_export_leaves_behind_holds_nothing_up(house: House) -> None:
    house.model("A")
    house.bound_s = 30
    house.convert(STAND_IN="leaves")
    assert set(house.registry) == {"a"}


def test_the_script_is_named_as_the_steps_expect() -> None:
    assert SCRIPT.name == "ov-convert-model"
