"""What --import does with GGUF files and with conversions that have no name."""

import shutil

import pytest

from .house import House, gguf


@pytest.mark.parametrize(
    ("kind", "offset", "least"), [(0, 0, 1024), (2, 32, 32 + 144), (12, 0, 144), (99, 4096, 4096)]
)
def test_a_gguf_file_that_is_cut_short_is_not_imported(
    house: House, kind: int, offset: int, least: int
) -> None:
    file = house.source / "cut.gguf"
    whole = len(gguf(kind, offset, least))
    file.write_bytes(gguf(kind, offset, least - 1))
    done = house.call("--no-verify", "--import", "cut.gguf")
    assert done.returncode == 2
    assert f"cut short: {whole - 1} of {whole} bytes. Download it again" in done.stdout
    assert house.registry == {}
    file.write_bytes(gguf(kind, offset, least))
    assert house.call("--no-verify", "--import", "cut.gguf").returncode == 0


def unregistered(house: House) -> str:
    """A conversion that no name serves yet."""
    house.model("A")
    house.convert("--no-register", "--task", "feature-extraction", "--weight-format", "fp16")
    [folder] = house.out.glob("a/task-*")
    return str(folder)


def test_what_was_not_registered_is_imported_as_what_it_is(house: House) -> None:
    folder = unregistered(house)
    assert house.call("--no-verify", "--import", folder).returncode == 0
    assert house.registry == {
        "a": {
            "path": "a/task-feature-extraction__wf-fp16",
            "task": "feature-extraction",
            "weight_format": "fp16",
        }
    }
    assert house.records[0]["register"] is True
    assert house.call("--yes", "--remove", "a").returncode == 0
    assert house.registry == {}
    assert house.records == []
    assert house.originals == ["A"]


def test_what_was_not_registered_is_imported_under_another_name(house: House) -> None:
    folder = unregistered(house)
    assert house.call("--no-verify", "--import", folder, "--name", "b").returncode == 0
    house.call("--reindex")
    assert set(house.registry) == {"b"}
    assert house.call("--yes", "--remove", "b").returncode == 0
    assert house.records == []


def test_a_conversion_of_another_machine_stays_when_it_is_removed(house: House) -> None:
    brought = house.home / "brought"
    shutil.copytree(unregistered(house), brought)
    assert house.call("--no-verify", "--import", str(brought)).returncode == 0
    [name] = house.registry
    assert name == "a-2"  # a is the conversion that nobody serves
    assert house.registry[name]["task"] == "feature-extraction"
    shutil.rmtree(house.out / "a")
    assert house.call("--no-verify", "--import", str(brought), "--name", "a").returncode == 0
    assert house.call("--yes", "--remove", "a").returncode == 0
    assert (brought / "conversion.json").is_file()
