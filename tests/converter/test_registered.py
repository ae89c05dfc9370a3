"""Entries and their ends: the registry made anew, and models that are removed."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .house import House, model

ODD = ["two\nlines", "Größe", 'it\'s "q" $HOME', "tab\tend\t", "--yes"]


def write(house: House, models: dict[str, Any]) -> None:
    house.out.mkdir(exist_ok=True)
    (house.out / "registry.json").write_text(json.dumps({"version": 1, "models": models}))


def reindex(house: House, **env: str) -> str:
    done = house.call("--reindex", **env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def remove(house: House, name: str, **env: str) -> str:
    done = house.call("--yes", "--remove", name, **env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def kept(house: House, ending: str) -> list[Path]:
    return sorted(house.out.glob(f"registry.json.*.{ending}"))


def test_a_broken_registry_behind_a_link_is_set_aside_where_it_is(house: House) -> None:
    house.model("A")
    house.convert()
    real = house.home / "elsewhere" / "real.json"
    real.parent.mkdir()
    real.write_text("{broken")
    (house.out / "registry.json").unlink()
    (house.out / "registry.json").symlink_to(real)
    said = reindex(house)
    assert (house.out / "registry.json").is_symlink()
    [aside] = real.parent.glob("real.json.*.broken")
    assert aside.read_text() == "{broken"
    assert f"written by hand, is only in {aside} now" in said
    assert set(house.registry) == {"a"}


def test_a_registry_that_can_not_be_read_is_not_set_aside(house: House) -> None:
    write(house, {"x": {"path": "/x"}})
    (house.out / "registry.json").chmod(0)
    house.obey_permissions()
    done = house.call("--reindex")
    assert done.returncode == 2
    assert "can't be read" in done.stdout
    (house.out / "registry.json").chmod(0o600)
    assert set(house.registry) == {"x"}
    assert not kept(house, "broken")


def test_entries_whose_disk_is_gone_stay_and_are_told(house: House) -> None:
    house.model("A")
    house.convert()
    entry = {"path": "/unmounted/b", "aliases": ["c"], "pinned": True}
    write(house, {**house.registry, "b": entry})
    shutil.rmtree(house.out / "a")
    before = house.registry
    said = reindex(house)
    assert house.registry == before
    assert "the files of a are not at" in said
    assert "--remove b" in said
    assert not kept(house, "bak")


def test_an_entry_that_is_changed_is_kept_in_a_copy(house: House) -> None:
    house.model("A")
    house.convert()
    [entry] = house.registry.values()
    write(house, {"a": {**entry, "task": "mine", "pinned": True}, "x": "oops"})
    text = (house.out / "registry.json").read_text()
    said = reindex(house)
    assert house.registry == {"a": {**entry, "pinned": True}}
    assert "left out: x" in said
    [copy] = kept(house, "bak")
    assert str(copy) in said
    assert copy.read_text() == text
    reindex(house)
    assert kept(house, "bak") == [copy]


def test_a_conversion_that_was_moved_by_hand_keeps_its_keys(house: House) -> None:
    house.model("A")
    house.convert()
    [entry] = house.registry.values()
    write(house, {"a": {**entry, "pinned": True}})
    (house.out / "a").rename(house.out / "b")
    reindex(house)
    assert house.registry["a"]["pinned"] is True
    assert (house.out / house.registry["a"]["path"]).is_dir()
    assert len(kept(house, "bak")) == 1


def test_an_entry_of_a_conversions_name_is_not_taken_over(house: House) -> None:
    house.model("A")
    house.convert("--no-register")
    mine = {"path": "/unmounted/mine", "aliases": ["a-2"]}
    write(house, {"a": mine})
    reindex(house)
    assert house.registry["a"] == mine
    assert set(house.registry) == {"a", "a-3"}


@pytest.fixture
def linked(house: House) -> str:
    """Where conversions go, which is a link."""
    (house.home / "big disk").mkdir()
    house.out.symlink_to(house.home / "big disk")
    return str(house.home / "big disk")


def test_removing_deletes_what_it_says_behind_links(house: House, linked: str) -> None:
    for name in ("A", "B", "C"):
        house.model(name)
    house.convert()
    entries = house.registry
    entries["b"]["path"] = f"{linked}/b/{Path(entries['b']['path']).name}"
    entries["c"]["path"] = f"../models/converted_models/{entries['c']['path']}"
    way = house.home / "way"
    way.mkdir()
    elsewhere = way / "registry.json"
    entries["a"]["path"] = f"{house.out}/{entries['a']['path']}"
    elsewhere.write_text(json.dumps({"version": 1, "models": entries}))
    for name in ("a", "b", "c"):
        said = remove(house, name, OV_REGISTRY_PATH=str(elsewhere))
        assert f"{name}: removed; deleted: /" in said
        assert not (house.out / name).exists()
    assert house.left_behind == []
    assert house.originals == ["A", "B", "C"]


def test_two_names_of_one_path_keep_each_others_files(house: House, linked: str) -> None:
    house.model("A")
    house.convert()
    [entry] = house.registry.values()
    other = {**entry, "path": f"{linked}/{entry['path']}"}
    write(house, {"a": entry, "b": other})
    said = remove(house, "a")
    assert "its files stay at" in said
    assert "for b" in said
    assert len(house.records) == 1
    assert set(house.registry) == {"b"}


def test_a_file_in_a_conversion_keeps_it(house: House) -> None:
    house.model("A")
    house.convert()
    [entry] = house.registry.values()
    write(house, {"a": entry, "b": {"path": f"{entry['path']}/b.gguf"}})
    assert "its files stay at" in remove(house, "a")
    assert len(house.records) == 1


def test_what_was_imported_is_never_deleted(house: House) -> None:
    house.model("A")
    house.convert()
    [folder] = house.out.glob("a/task-*")
    imported = house.home / "usb" / "a" / folder.name
    shutil.copytree(folder, imported)
    remove(house, "a")
    assert house.call("--no-verify", "--import", str(imported)).returncode == 0
    [name] = house.registry
    facts = json.loads((imported / "conversion.json").read_text())
    (imported / "conversion.json").write_text(json.dumps({**facts, "name": name}))
    assert "its files stay at" in remove(house, name)
    assert (imported / "openvino_model.bin").is_file()


def test_a_link_is_deleted_and_not_what_it_points_to(house: House) -> None:
    house.model("A")
    house.convert()
    [folder] = house.out.glob("a/task-*")
    shutil.move(folder, house.home / "moved")
    folder.symlink_to(house.home / "moved")
    assert f"a: removed; deleted: the link {folder}, and what it" in remove(house, "a")
    assert not folder.is_symlink()
    assert (house.home / "moved" / "openvino_model.bin").is_file()


def test_a_link_to_nothing_stays_and_its_entry_goes(house: House) -> None:
    house.out.mkdir()
    (house.out / "gone").symlink_to("/unmounted")
    write(house, {"a": {"path": "gone"}})
    assert "is a link to nothing, and stays" in remove(house, "a")
    assert house.registry == {}
    assert (house.out / "gone").is_symlink()


def test_a_removal_that_is_not_meant_changes_nothing(house: House) -> None:
    house.model("A")
    house.convert()
    with closing(house.sit_down("--remove", "a")) as terminal:
        terminal.until("this deletes ")
        terminal.until("[y/N] ")
        terminal.type("n\n")
        terminal.until("Nothing was changed.")
        assert terminal.end() == 1
    assert set(house.registry) == {"a"}
    assert len(house.records) == 1


def test_an_original_that_is_gone_is_said_before_the_deletion(house: House) -> None:
    house.model("A")
    house.convert()
    shutil.rmtree(house.og / "A")
    assert "its original is no longer at" in remove(house, "a")


def test_a_conversion_that_can_not_be_deleted_stays_registered(house: House) -> None:
    house.model("A")
    house.convert()
    house.obey_permissions()
    (house.out / "a").chmod(0o555)
    done = house.call("--yes", "--remove", "a")
    (house.out / "a").chmod(0o755)
    assert done.returncode == 2
    assert "can't be deleted" in done.stdout
    assert set(house.registry) == {"a"}
    assert len(house.records) == 1


@pytest.mark.parametrize("name", ODD)
def test_paths_of_all_kinds_are_listed_and_removed(house: House, name: str) -> None:
    folder = house.home / name / "Made"
    model(folder)
    (folder / "openvino_model.xml").write_text("<net/>")
    assert house.call("--no-verify", "--import", str(folder)).returncode == 0
    listed = house.call("--list").stdout
    assert "MISSING" not in listed
    assert house.call("--no-verify", "--import", str(folder), "--name", "b").returncode == 0
    assert "for b" in remove(house, "made")
    assert set(house.registry) == {"b"}


def test_a_path_that_is_not_utf_8_is_refused(house: House) -> None:
    folder = model(house.home / os.fsdecode(b"caf\xe9"))
    (folder / "openvino_model.xml").write_text("<net/>")
    done = house.call("--no-verify", "--import", str(folder))
    assert done.returncode == 2
    assert "is not UTF-8" in done.stdout
    assert house.registry == {}


def test_an_entry_that_is_none_can_be_removed(house: House) -> None:
    write(house, {"x": "oops", "y": {"path": "~nobody-of-that-name/x"}})
    assert "names no files" in remove(house, "x")
    assert "not at" in remove(house, "y")
    assert house.registry == {}
