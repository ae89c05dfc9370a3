"""Files that lie, break or never end: each model and each entry fails for itself, and says so."""

import json
import os
from typing import Any

import pytest

from .house import LLAMA, House

LIE = "x\ndone     other: int8\x1b[2J\x9b1m"


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
    assert not {"\x1b", "\x9b"} & set(said)


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
