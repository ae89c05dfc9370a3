"""Options that can't be honoured are refused, never ignored."""

import pytest

from .house import House

REFUSED = {
    "remove twice": (["--remove", "a", "--remove", "b"], "call it for each"),
    "import twice": (["--import", "a", "--import=b"], "call it for each"),
    "name twice": (["--name", "x", "--name", "y"], "--name can be given once"),
    "format twice": (["--weight-format=int8", "--weight-format=int4"], "given once"),
    "a value that is an option": (["--name", "--dry-run"], "--name=--dry-run"),
    "a value that ends options": (["--remove", "--", "a"], "--remove needs a value"),
    "a value for none": (["--yes=1"], "--yes takes no value"),
    "a value for a mode": (["--list=all"], "--list takes no value"),
    "no value": (["A", "--name"], "--name needs a value"),
    "an empty value": (["--name", ""], "--name needs a value"),
    "an empty value after =": (["--task="], "--task needs a value"),
    "nothing to remove": (["--remove", ""], "--remove needs a value"),
    "nothing to import": (["--import="], "--import needs a value"),
    "an empty name": (["A", ""], "is empty"),
    "a list with a name": (["--list", "--name", "x"], "--name has no effect on --list"),
    "a dry list": (["--list", "--dry-run"], "--dry-run has no effect"),
    "a reindex in a format": (["--weight-format", "int4", "--reindex"], "--weight-format has no"),
    "a reindex without check": (["--reindex", "--no-verify"], "--no-verify has no effect"),
    "a removal that keeps": (["--remove", "a", "--keep-original"], "--keep-original has no"),
    "a removal with a task": (["--remove=a", "--task", "text-to-audio"], "--task has no effect"),
    "an import with trust": (["--import", "a", "--trust-remote-code"], "--trust-remote-code has"),
    "an import for nothing": (["--import", "a", "--no-register"], "--no-register has no effect"),
    "two modes": (["--list", "--reindex"], "can't be had together"),
    "an unknown one with a value": (["--nothing=1"], "There is no option --nothing;"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_ignored_is_refused(house: House, what: str) -> None:
    words, reason = REFUSED[what]
    for name in ("A", "B"):
        house.model(name)
    house.convert("--keep-original", "A")
    before = (house.out / "registry.json").read_text()
    done = house.call("--yes", *words)
    assert done.returncode == 2
    assert reason in done.stdout
    assert (house.out / "registry.json").read_text() == before
    assert house.originals == ["A", "B"]
    assert len(house.records) == 1


def test_a_value_may_look_like_an_option_where_it_is_meant(house: House) -> None:
    house.model("A")
    house.convert("--name=--My Name")
    assert set(house.registry) == {"my-name"}


@pytest.mark.parametrize("name", ["OV_WEIGHT_FORMAT", "OV_TASK"])
def test_a_wrong_setting_is_called_by_its_name(house: House, name: str) -> None:
    done = house.call("--yes", **{name: "nothing"})
    assert done.returncode == 2
    assert done.stdout.startswith(name)


def test_a_name_that_comes_too_late_is_said(house: House) -> None:
    house.model("A")
    house.convert("--keep-original")
    [file] = house.out.glob("*/task-*/conversion.json")
    file.write_text(file.read_text().replace('"keep_original": true', '"keep_original": false'))
    assert "it was converted before as a" in house.convert("A", "--name", "b")
    assert set(house.registry) == {"a"}
    house.convert("A", "--name", "b")
    assert set(house.registry) == {"a", "b"}
