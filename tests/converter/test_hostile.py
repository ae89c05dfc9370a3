"""Files that lie, break or never end: each model and each entry fails for itself, and says so."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from .house import LLAMA, PROJECT, House

LIE = "x\ndone     other: int8\x1b[2J\x9b1m Größe"


@pytest.mark.parametrize(
    "config",
    [
        {**LLAMA, "quantization_config": {"quant_method": LIE}},
        {"architectures": [LIE]},
    ],
)
@pytest.mark.parametrize("words", [("--list",), ("--yes", "--no-verify"), ("--dry-run",)])
def test_a_models_files_do_not_speak_for_the_converter(
    house: House, config: dict[str, Any], words: tuple[str, ...]
) -> None:
    house.model("A", config)
    said = house.call(*words).stdout
    assert "?done     other" in said
    assert "\ndone" not in said
    assert "int8?[2J?1m Größe" in said


def test_what_the_tools_print_last_is_one_line(house: House) -> None:
    house.model("A")
    done = house.call("--yes", "--no-verify", STAND_IN="colours")
    assert done.returncode == 1
    [failed] = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert "optimum-cli failed: the end?]0;title?" in failed


@pytest.mark.parametrize("name", ["extra.json", ".ov-download.json", "config.json"])
def test_a_pipe_in_one_folder_keeps_nobody_waiting(house: House, name: str) -> None:
    house.model("A")
    (house.model("B") / name).unlink(missing_ok=True)
    os.mkfifo(house.source / "B" / name)
    assert f"{name} is a pipe" in house.call("--list").stdout
    assert f"{name} is a pipe" in house.convert()
    assert set(house.registry) == {"a"}
    assert house.call("--dry-run", "org/B").returncode == 0


ODD: dict[str, tuple[Any, str]] = {
    "aliases of no kind": ({"path": "x", "aliases": 5}, "aliases are no list"),
    "half a pair in an alias": ({"path": "x", "aliases": ["\ud800"]}, "half a surrogate pair"),
    "half a pair in a task": ({"path": "x", "task": "a\ud800"}, "half a surrogate pair"),
    "half a pair in a path": ({"path": "x\ud800"}, "names no path"),
    "a null character": ({"path": "x\0y"}, "names no path"),
    "a path of no kind": ({"path": ["x"]}, "names no path"),
    "an entry of no kind": ([1, 2], "it is no object"),
}


def register(house: House, models: dict[str, Any]) -> None:
    house.out.mkdir(exist_ok=True)
    (house.out / "registry.json").write_text(json.dumps({"version": 1, "models": models}))


@pytest.mark.parametrize("what", ODD)
def test_an_odd_entry_is_passed_over_in_every_mode(house: House, what: str) -> None:
    entry, why = ODD[what]
    house.model("A")
    register(house, {"odd": entry, "ok": {"path": "/ok"}})
    listed = house.call("--list").stdout
    assert "odd  BROKEN: " in listed
    assert why in listed
    assert "ok  (" in listed
    house.convert()
    assert set(house.registry) == {"odd", "ok", "a"}
    assert house.registry["odd"] == entry
    said = house.call("--yes", "--remove", "a")
    assert "deleted: " in said.stdout
    assert house.records == []
    said = house.call("--reindex")
    assert said.returncode == 0, said.stdout
    assert house.registry.get("odd", entry) == entry
    assert "odd" in said.stdout
    if isinstance(entry, dict):
        assert why in said.stdout
        assert house.call("--yes", "--remove", "odd").returncode == 0
    assert "odd" not in house.registry


def test_a_path_that_no_disk_takes_is_missing_and_keeps_nobody(house: House) -> None:
    house.model("A")
    register(house, {"long": {"path": "x" * 5000}})
    assert "MISSING" in house.call("--list").stdout
    house.convert()
    said = house.call("--reindex")
    assert said.returncode == 0
    assert "the files of long are not at" in said.stdout
    assert set(house.registry) == {"long", "a"}


def test_names_that_nobody_can_call_take_none_and_can_be_removed(house: House) -> None:
    house.model("A")
    register(house, {"x\na\ny": {"path": "/x"}, "b\ud800": {"path": "/y"}, "": {"path": "/z"}})
    assert house.call("--list").stdout.count("BROKEN: its name is none") == 3
    assert "done     a: " in house.convert()
    assert "\na\n" not in house.call("--reindex").stdout
    assert house.call("--yes", "--remove", "b\\ud800").returncode == 0
    assert house.call("--yes", "--remove", "x\na\ny").returncode == 0
    assert set(house.registry) == {"a", ""}


def test_a_registry_that_is_a_pipe_is_said(house: House) -> None:
    house.out.mkdir()
    os.mkfifo(house.out / "registry.json")
    done = house.call("--list")
    assert done.returncode == 2
    assert "registry.json is no file: move it away" in done.stdout


@pytest.mark.parametrize("name", ["source", "record", "registry", "exported", "room", "outward"])
def test_what_nobody_foresaw_is_one_line_with_a_remedy(name: str) -> None:
    program = [sys.executable, PROJECT / "scripts" / "lib" / f"{name}.py"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert not done.stderr
    assert done.stdout.startswith(f"{name}.py can't cope with what it found (TypeError main()")
    assert done.stdout.endswith("move that away, or report this line\n")


STRANGE: dict[str, str] = {
    "weights of no kind": json.dumps(
        {"name": "b", "task": "t", "weight_format": "int8", "weights": [1]}
    ),
    "too deep": "[" * 200_000,
    "words of no kind": '{"name": ["b"], "task": "t", "weight_format": "int8"}',
    "an original of no path": (
        '{"name": "b", "task": "t", "weight_format": "int8", "original": "a\\u0000b"}'
    ),
    "half a pair": '{"name": "b\\ud800", "task": "t", "weight_format": "int8"}',
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_conversion_json_hides_no_other(house: House, what: str) -> None:
    house.model("A")
    house.convert("--keep-original")
    folder = house.out / "0" / "task-t__wf-int8"
    folder.mkdir(parents=True)
    (folder / "conversion.json").write_text(STRANGE[what])
    said = house.call("--yes", "--no-verify", "--keep-original").stdout
    assert "skipped  A: it is converted already, as a" in said
    assert len([*house.out.glob("*/task-*/openvino_model.bin")]) == 1
    said = house.call("--reindex")
    assert said.returncode == 0, said.stdout
    assert "a" in house.registry


def test_where_it_can_not_be_told_nothing_is_converted_again(house: House) -> None:
    house.model("A")
    house.convert("--keep-original")
    folder = house.out / "b" / "task-t__wf-int8"
    folder.mkdir(parents=True)
    with (folder / "conversion.json").open("wb") as file:
        file.truncate(95_000_000)
    house.before = ("bash", "-c", 'ulimit -v 160000 && exec "$@"', "-")  # too little to read that
    done = house.call("--yes", "--no-verify", "--keep-original")
    assert done.returncode == 1
    assert "failed   A: whether it was converted before can't be told: record.py" in done.stdout
    assert len([*house.out.glob("*/task-*/openvino_model.bin")]) == 1


def test_a_name_that_was_taken_by_hand_is_written_down_as_well(house: House) -> None:
    house.model("good")
    gate = house.home / "gate"
    os.mkfifo(gate)
    process = house.start(STAND_IN_GATE=str(gate))
    assert gate.read_text() == "halfway\n"
    register(house, {"good": {"path": "/elsewhere"}})
    gate.write_text("go on")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert set(house.registry) == {"good", "good-2"}
    assert [record["name"] for record in house.records] == ["good-2"]
    assert "deleted: " in house.call("--yes", "--remove", "good-2").stdout
    assert house.records == []
    assert house.call("--reindex").returncode == 0
    assert set(house.registry) == {"good"}
