"""What models are called: questions before any work, slugs, and names that are in use."""

from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from .house import House
from .terminal import Terminal


@contextmanager
def seated(house: House, *words: str) -> Generator[Terminal]:
    with closing(house.sit_down("--no-verify", *words)) as terminal:
        yield terminal


@pytest.mark.parametrize(
    ("folder", "slug"),
    [
        ("Qwen3-8B", "qwen3-8b"),
        ("My Model (v2)", "my-model-v2"),
        ("a__b..c", "a-b-c"),
        ("--leading", "leading"),
        ("-n", "n"),
        ('it\'s "quoted" $HOME `id`', "it-s-quoted-home-id"),
        ("Crème_brûlée", "cr-me-br-l-e"),
        ("模型", "model"),
        ("two\nlines\t", "two-lines"),
        ("star*[a-z]?", "star-a-z"),
        ("back\\slash; rm -rf ~", "back-slash-rm-rf"),
        ("x" * 200, "x" * 100),
    ],
)
def test_names_of_all_kinds_become_slugs(house: House, folder: str, slug: str) -> None:
    house.model(folder)
    house.convert()
    assert list(house.registry) == [slug]
    assert house.originals == [folder]
    assert (house.og / folder).is_dir()


@pytest.mark.parametrize("folder", ["-n", "--name", "a b", "it's", "*"])
def test_folders_are_named_whatever_they_are_called(house: House, folder: str) -> None:
    house.model(folder)
    house.model("Other")
    house.convert("--", folder)
    assert house.originals == sorted([folder, "Other"])
    assert len(house.registry) == 1


def test_each_model_is_asked_for_before_any_work(house: House) -> None:
    for name in ("A", "B", "C"):
        house.model(name)
    with seated(house) as terminal:
        terminal.until("Custom name for A? Blank for a: ")
        terminal.type("\n")
        terminal.until("Custom name for B? Blank for b: ")
        terminal.type("The Assistant!\n")
        terminal.until("Custom name for C? Blank for c: ")
        assert not house.out.exists()
        terminal.type("\n")
        assert terminal.end() == 0
    assert set(house.registry) == {"a", "the-assistant", "c"}


def test_an_answer_that_does_not_come_changes_nothing(house: House) -> None:
    house.model("A")
    with seated(house) as terminal:
        terminal.until("Blank for a: ")
        terminal.type("\x04")
        terminal.until("nothing was converted")
        assert terminal.end() == 2
    assert not house.out.exists()


def test_ctrl_c_at_a_question_changes_nothing(house: House) -> None:
    house.model("A")
    with seated(house) as terminal:
        terminal.until("Blank for a: ")
        terminal.type("\x03")
        assert terminal.end() != 0
    assert not house.out.exists()


def test_a_name_that_has_to_be_changed_is_said(house: House) -> None:
    house.model("A")
    with seated(house) as terminal:
        terminal.until("Blank for a: ")
        terminal.type("Größe 2\n")
        terminal.until("so it will be 'gr-e-2'")
        assert terminal.end() == 0
    assert set(house.registry) == {"gr-e-2"}


def test_without_a_terminal_it_says_so_and_stops(house: House) -> None:
    house.model("A")
    done = house.call("--no-verify")
    assert done.returncode == 2
    assert "--yes" in done.stdout
    assert not house.out.exists()


def test_nothing_is_asked_where_the_name_is_said(house: House) -> None:
    house.model("A")
    assert house.call("--no-verify", "--name", "B").returncode == 0
    assert set(house.registry) == {"b"}


def test_a_name_in_use_gets_a_number_and_says_so(house: House) -> None:
    for folder in ("model a", "Model-A", "MODEL_A"):
        house.model(folder)
    said = house.convert()
    assert set(house.registry) == {"model-a", "model-a-2", "model-a-3"}
    assert "The name 'model-a' is in use, so it will be 'model-a-2'." in said
    assert "The name 'model-a' is in use, so it will be 'model-a-3'." in said


def test_aliases_and_folders_are_in_use_as_well(house: House) -> None:
    house.model("A")
    house.convert()
    file = house.out / "registry.json"
    file.write_text(file.read_text().replace('"path"', '"aliases": ["b"], "path"'))
    house.model("B")
    house.convert("--no-register")
    house.model("B")
    house.convert()
    assert set(house.registry) == {"a", "b-3"}
    assert [record["name"] for record in house.records] == ["a", "b-2", "b-3"]


def test_what_the_owner_wrote_into_the_registry_stays(house: House) -> None:
    house.model("A")
    house.convert()
    file = house.out / "registry.json"
    said = '"pinned": true, "note": "Größe", "path"'
    file.write_text(file.read_text().replace('"path"', said).replace("{", '{"comment": 1,', 1))
    house.model("B")
    house.convert()
    assert house.registry["a"]["pinned"] is True
    assert house.registry["a"]["note"] == "Größe"
    assert '"comment": 1' in file.read_text()
    assert house.call("--reindex").returncode == 0
    assert house.registry["a"]["note"] == "Größe"
    assert set(house.registry) == {"a", "b"}


def test_a_name_whose_folder_is_somebody_elses_is_in_use(house: House) -> None:
    """Nothing can be renamed into a file, a link to nothing, or another disk behind a link."""
    house.out.mkdir()
    (house.out / "a").write_text("mine")
    (house.out / "b").symlink_to("/nowhere/b")
    (house.home / "elsewhere").mkdir()
    (house.out / "c").symlink_to(house.home / "elsewhere")
    for name in "ABC":
        house.model(name)
    said = house.convert()
    assert "The name 'a' is in use, so it will be 'a-2'." in said
    assert set(house.registry) == {"a-2", "b-2", "c-2"}
    assert (house.out / "a").read_text() == "mine"
    assert not list((house.home / "elsewhere").iterdir())
