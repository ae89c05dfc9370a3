"""Repositories that are downloaded first: whole, broken off, and taken up again."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from .house import LLAMA, PROJECT, House, safetensors
from .hub import Hub
from .test_killed import begun

REPO = "some-org/Tiny-Chat.1"
FILES = {
    "config.json": json.dumps(LLAMA).encode(),
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors": safetensors({"weight": [4000, 4000]}),  # hf writes 10 MB at a time
    "model-q4.gguf": b"GGUF",
    "onnx/model.onnx": b"onnx",
    "original/consolidated.00.pth": b"pth",
}


@pytest.fixture
def hub(house: House) -> Generator[Hub]:
    hub = Hub(REPO, FILES)
    with hub.serving() as address:
        house.env |= {"HF_ENDPOINT": address, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        yield hub


@pytest.fixture
def gate(house: House) -> Path:
    """The export stops here, halfway."""
    path = house.home / "gate"
    os.mkfifo(path)
    return path


def weights(house: House) -> Path:
    return house.og / "Tiny-Chat.1" / "model.safetensors"


def test_a_repository_is_downloaded_and_converted(house: House, hub: Hub) -> None:
    house.convert(REPO)
    assert set(house.registry) == {"tiny-chat-1"}
    assert weights(house).read_bytes() == FILES["model.safetensors"]
    [record] = house.records
    assert record["source"] == REPO
    fetched = {name for name, _ in hub.asked}
    assert fetched == {"config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"}


def test_what_is_there_is_not_downloaded_again(house: House, hub: Hub) -> None:
    house.convert(REPO)
    before = list(hub.asked)
    house.convert(REPO, "--weight-format", "fp16")
    assert hub.asked == before
    assert set(house.registry) == {"tiny-chat-1", "tiny-chat-1-2"}


def test_a_connection_that_breaks_is_taken_up_again(house: House, hub: Hub) -> None:
    hub.breaks = 1
    house.convert(REPO)
    assert weights(house).read_bytes() == FILES["model.safetensors"]
    assert [start for name, start in hub.asked if name == "model.safetensors"][1] > 0


def test_a_download_that_is_killed_goes_on_where_it_stopped(house: House, hub: Hub) -> None:
    hub.stands.set()
    process = house.start(REPO)
    assert hub.halfway.wait(60)
    for each in psutil.Process(process.pid).children(recursive=True):
        each.kill()
    process.kill()
    process.communicate()

    done = house.call("--yes", "--no-verify")
    assert done.returncode == 0
    assert f"its download is unfinished: call ov-convert-model {REPO}" in done.stdout
    assert house.registry == {}

    hub.stands.clear()
    house.convert(REPO)
    assert set(house.registry) == {"tiny-chat-1"}
    assert weights(house).read_bytes() == FILES["model.safetensors"]


def test_a_repository_that_is_not_there_is_said(house: House, hub: Hub) -> None:
    house.model("A")
    done = house.call("--yes", "--no-verify", "some-org/Nothing", "A")
    assert done.returncode == 1
    assert "failed   Nothing: the hub does not give it" in done.stdout
    assert set(house.registry) == {"a"}


def test_a_folder_of_the_same_name_is_left_alone(house: House, hub: Hub) -> None:
    own = house.model("Tiny-Chat.1")
    house.convert(REPO)
    assert (own / "model.safetensors").read_bytes() == safetensors({"weight": [4, 8]})
    assert (house.og / "some-org--Tiny-Chat.1").is_dir()
    assert set(house.registry) == {"some-org-tiny-chat-1"}


def test_what_has_gone_since_is_downloaded_again(house: House, hub: Hub) -> None:
    assert house.call("--yes", REPO).returncode == 1  # it is no model that speaks
    (house.source / "Tiny-Chat.1" / "model.safetensors").unlink()
    house.convert(REPO)
    assert weights(house).read_bytes() == FILES["model.safetensors"]


def test_a_gated_repository_is_told_from_a_broken_connection(house: House, hub: Hub) -> None:
    hub.gated = True
    done = house.call("--yes", "--no-verify", REPO)
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    assert "the hub does not give it" in line
    assert "auth login" in line
    assert "\x1b" not in line
    assert not (house.source / "Tiny-Chat.1").exists()


def test_a_repository_that_does_not_fit_is_refused_before(house: House, hub: Hub) -> None:
    hub.told = {"model.safetensors": 10**18}
    done = house.call("--yes", "--no-verify", REPO)
    assert done.returncode == 1
    assert "its download needs 1000000000.0 GB in" in done.stdout
    assert "are free: make room" in done.stdout
    assert hub.asked == []
    assert not (house.source / "Tiny-Chat.1").exists()


def test_two_never_download_one_repository(house: House, hub: Hub) -> None:
    hub.stands.set()
    process = house.start(REPO)
    assert hub.halfway.wait(60)
    for words in ((REPO,), (REPO, "--name", "other")):
        done = house.call("--yes", "--no-verify", *words)
        assert done.returncode == 1
        assert "another ov-convert-model works on it now" in done.stdout
    assert "another ov-convert-model works on it now" in house.convert()
    hub.stands.clear()
    hub.closing.set()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert set(house.registry) == {"tiny-chat-1"}


@pytest.mark.parametrize("keeps", [(), ("--keep-original",)])
def test_what_another_run_has_downloaded_meanwhile_is_not_taken_for_new(
    house: House, hub: Hub, gate: Path, keeps: tuple[str, ...]
) -> None:
    house.model("First")
    with begun(house, gate, "First", REPO) as first:
        house.convert(REPO, *keeps)
        before = list(hub.asked)
        gate.write_text("go on")
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 0, said
    assert "skipped  Tiny-Chat.1: it is converted already, as tiny-chat-1" in said
    assert hub.asked == before
    assert set(house.registry) == {"first", "tiny-chat-1"}
    [mark] = house.source.rglob(".ov-download.json")
    assert '"whole": true' in mark.read_text()


def test_what_another_run_converts_now_is_not_marked_unfinished(
    house: House, hub: Hub, gate: Path
) -> None:
    house.model("First")
    with begun(house, gate, "First", REPO) as first:
        other = house.home / "other"
        os.mkfifo(other)
        with begun(house, other, REPO) as second:
            gate.write_text("go on")
            said, _ = first.communicate(timeout=60)
            assert "failed   Tiny-Chat.1: another ov-convert-model works on it now" in said
            other.write_text("go on")
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 0, said
    assert set(house.registry) == {"first", "tiny-chat-1"}
    [mark] = house.og.rglob(".ov-download.json")
    assert '"whole": true' in mark.read_text()


def room(folder: Path, printed: str) -> int:
    (folder / "printed").write_text(printed)
    program = PROJECT / "scripts" / "lib" / "room.py"
    return int(subprocess.check_output([sys.executable, program, folder, folder / "printed"]))


def test_what_has_come_of_a_download_needs_no_room(tmp_path: Path) -> None:
    printed = json.dumps([{"file": "a", "size": "32.0M"}, {"file": "b", "size": "-"}])
    assert room(tmp_path, printed) == 32_000_000
    part = tmp_path / ".cache" / "huggingface" / "download" / "x.y.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(12_000_000))
    assert room(tmp_path, printed) == 20_000_000


@pytest.mark.parametrize("printed", ["", "usage: hf", "[{}]", '{"a": 1}', '[{"size": "large"}]'])
def test_a_download_whose_size_can_not_be_told_needs_none(tmp_path: Path, printed: str) -> None:
    assert room(tmp_path, printed) == 0
