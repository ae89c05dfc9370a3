"""--remove, wherever it is killed and whatever runs beside it: an entry has its files, and files
that were forgotten don't come back."""

import fcntl
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .house import SCRIPT, House
from .test_killed import STEPS

TOUCHES = re.compile(r"mktemp|mv|rm|exec|flock|mapfile|tool|take_away|end_work|printf '%s\\0' ")
"""What the commands of a removal begin with that matter."""


def begun(house: House, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [SCRIPT, "--yes", *words],
        env=house.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def steps(house: House) -> Path:
    """Where the commands of the next call are listed."""
    file = house.home / "steps.sh"
    file.write_text(STEPS)
    house.env |= {"BASH_ENV": str(file), "KILL_AT": "", "KILL_LIST": "", "FULL_AT": ""}
    return house.home / "commands"


def test_killed_before_any_step_a_removal_happens_or_not(house: House, steps: Path) -> None:
    house.model("A")
    house.convert()
    assert house.call("--yes", "--remove", "a", KILL_LIST=str(steps)).returncode == 0
    lines = [line.partition(" ") for line in steps.read_text().splitlines()]
    start = next(n for n, line in enumerate(lines) if line[2].startswith("alone forget "))
    numbers = sorted({int(line[0]) for line in lines[start:] if TOUCHES.match(line[2])})
    assert len(numbers) > 10
    outcomes = set()
    for number in numbers:
        if not house.registry:
            house.convert("A")
        done = house.call("--yes", "--remove", "a", KILL_AT=str(number))
        assert done.returncode == -signal.SIGKILL
        names = set(house.registry)
        assert house.call("--reindex").returncode == 0
        assert set(house.registry) == names, f"killed at command {number}"
        assert {record["name"] for record in house.records} == names
        assert house.left_behind == []
        outcomes.add(len(names))
    assert outcomes == {0, 1}


def test_removals_and_reindexing_wait_for_each_other(house: House) -> None:
    house.model("A")
    house.convert()
    with (house.out / ".lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        processes = [begun(house, "--remove", "a"), begun(house, "--reindex")]
        for process in processes:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        assert set(house.registry) == {"a"}
        assert len(house.records) == 1
    for process in processes:
        assert process.wait(timeout=60) == 0
    assert house.registry == {}
    assert house.records == []


def test_what_was_registered_again_is_not_swept_away(house: House) -> None:
    house.model("A")
    house.convert()
    [folder] = house.out.glob("a/task-*")
    work = house.out / ".converting-abcdef"
    work.mkdir()
    (work / "removed").write_text(f"{house.out / 'registry.json'}\0{folder}\0")
    assert house.call("--reindex").returncode == 0
    assert house.left_behind == []
    assert len(house.records) == 1
    assert set(house.registry) == {"a"}
