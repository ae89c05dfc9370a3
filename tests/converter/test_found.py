"""What is said of conversions that are there already: in the list, in another run, and of those
that no name serves."""

import shlex
import shutil

import pytest

from .house import House, model

TASK = "text-generation-with-past"


def section(said: str, title: str) -> list[str]:
    """The lines below a title, without their indentation."""
    lines = iter(said.splitlines())
    for line in lines:
        if line.startswith(title):
            break
    below = []
    for line in lines:
        if not line.startswith("  "):
            break
        below.append(line.strip())
    return below


def listed(house: House, **env: str) -> str:
    done = house.call("--list", **env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_list_tells_what_is_converted_already(house: House) -> None:
    house.model("A")
    house.model("New")
    (house.source / "Link").symlink_to(model(house.home / "downloads" / "Real"))
    house.convert("--keep-original", "A", "Link")
    assert section(listed(house), "Besides") == [
        "A  is converted already, as a",
        f"New  ({TASK}, 0 MB)",
        "Link  is converted already, as link",
    ]


def test_the_list_tells_another_format_for_what_it_is(house: House) -> None:
    house.model("A")
    house.convert("--keep-original", "--weight-format", "fp16")
    assert section(listed(house), "Besides") == [f"A  ({TASK}, 0 MB); is converted to fp16, as a"]
    said = listed(house, OV_WEIGHT_FORMAT="fp16")
    assert section(said, "Besides") == ["A  is converted already, as a"]
    said = listed(house, OV_TASK="feature-extraction")
    assert section(said, "Besides") == ["A  (feature-extraction, 0 MB)"]


def test_the_list_tells_what_the_next_run_finishes(house: House) -> None:
    house.model("A")
    house.convert("--keep-original")
    [file] = house.out.glob("*/task-*/conversion.json")
    file.write_text(file.read_text().replace('"keep_original": true', '"keep_original": false'))
    line = "A  was converted before, as a, which the next run finishes"
    assert section(listed(house), "Besides") == [line]


def importing(said: str) -> list[str]:
    """The words of the command that a line ends with, as a shell reads them."""
    return shlex.split(said.split("ov-convert-model ")[1])


def test_what_is_not_registered_says_how_it_will_be(house: House) -> None:
    house.model("A")
    said = house.convert("--no-register")
    folder = house.out / "a" / f"task-{TASK}__wf-int8"
    [line] = [line for line in said.splitlines() if line.startswith("done ")]
    assert f"it is in {folder}, and is not registered; " in line
    words = importing(line)
    assert words == ["--import", str(folder)]
    [line] = section(listed(house), "Converted, and not registered:")
    assert line.startswith(f"a  ({TASK}, int8)  ov-convert-model ")
    assert importing(line) == words
    assert house.call("--no-verify", *words).returncode == 0
    assert "not registered" not in listed(house)
    assert f"a  ({TASK}, int8)  {folder}" in listed(house)


def test_a_conversion_that_only_a_link_serves_is_registered(house: House) -> None:
    house.model("A")
    house.convert("--no-register")
    [folder] = house.out.glob("a/task-*")
    (house.home / "way").symlink_to(folder)
    done = house.call("--no-verify", "--import", str(house.home / "way"), "--name", "b")
    assert done.returncode == 0
    assert "not registered" not in listed(house)


def test_a_names_folder_stands_for_its_one_conversion(house: House) -> None:
    house.model("A")
    house.convert("--no-register")
    done = house.call("--no-verify", "--import", "converted_models/a/")
    assert done.returncode == 0, done.stdout
    assert house.registry["a"]["path"] == f"a/task-{TASK}__wf-int8"


def test_of_several_conversions_in_a_names_folder_one_has_to_be_said(house: House) -> None:
    house.model("A")
    house.convert("--no-register")
    [folder] = house.out.glob("a/task-*")
    other = shutil.copytree(folder, folder.with_name(f"task-{TASK}__wf-fp16"))
    done = house.call("--no-verify", "--import", "converted_models/a")
    assert done.returncode == 2
    assert "There are 2 conversions in" in done.stdout
    assert str(folder) in done.stdout
    assert str(other) in done.stdout
    assert house.registry == {}


@pytest.mark.parametrize("words", [["--name", "Mine"], []])
def test_what_is_there_under_the_very_name_is_not_made_again(
    house: House, words: list[str]
) -> None:
    house.model("Mine")
    house.convert()
    done = house.call("--yes", "--no-verify", "Mine", *words)
    assert done.returncode == 0
    assert "skipped  Mine: it is converted already, as mine" in done.stdout
    assert "in use" not in done.stdout
    assert set(house.registry) == {"mine"}
    assert len(house.records) == 1


def test_another_name_format_or_task_makes_another_one(house: House) -> None:
    house.model("A")
    house.convert()
    house.convert("A", "--name", "b")
    assert "as b" in house.convert("A", "--name", "b")
    house.convert("A", "--name", "a", "--weight-format", "fp16")
    house.convert("A", "--name", "a", "--task", "feature-extraction")
    assert set(house.registry) == {"a", "b", "a-2", "a-3"}


def test_another_source_under_a_used_name_is_made(house: House) -> None:
    house.model("A")
    house.convert()
    house.model("B")
    house.convert("B", "--name", "a")
    assert set(house.registry) == {"a", "a-2"}


def test_a_second_name_of_a_conversion_is_its_name_as_well(house: House) -> None:
    house.model("A")
    house.convert()
    [folder] = house.out.glob("a/task-*")
    assert house.call("--no-verify", "--import", str(folder), "--name", "b").returncode == 0
    assert "it is converted already, as b" in house.convert("A", "--name", "b")
    assert set(house.registry) == {"a", "b"}


@pytest.mark.parametrize("words", [["A", "--name", "a"], ["A"], []])
def test_what_is_there_and_not_registered_is_not_made_again(house: House, words: list[str]) -> None:
    house.model("A")
    house.convert("--no-register", "--keep-original")
    said = house.convert(*words)
    assert "it is converted already, as a, and is not registered; to register it: ov-" in said
    assert len(house.records) == 1


def test_the_end_of_the_model_that_comes_along_is_said_once(house: House) -> None:
    house.model("SmolLM2-135M-Instruct")
    said = house.convert()
    assert set(house.registry) == {"smollm2-135m-instruct"}  # the name of the one that comes along
    line = "Now the server has the models that are registered, and no longer the one that comes"
    assert said.count(line) == 1
    house.model("B")
    assert line not in house.convert()


def test_int4_is_doubted_once_a_run_and_in_the_log(house: House) -> None:
    house.model("A")
    house.model("B")
    note = (
        "Note: int4 has been silently wrong on Intel's integrated GPUs: "
        "compare with ov-doctor --model NAME."
    )
    said = house.convert("--weight-format", "int4", "--keep-original")
    assert said.count(note) == 1
    assert said.index(note) < said.index("[1/2]")
    [log] = (house.out / ".logs").iterdir()
    assert note in log.read_text()
    assert note not in house.convert("--weight-format", "int4")
    assert note not in house.convert("--weight-format", "int8")


def test_the_newest_hundred_logs_are_kept(house: House) -> None:
    logs = house.out / ".logs"
    logs.mkdir(parents=True)
    old = [f"2020-01-01T00-00-00-{number}.log" for number in range(1000, 1104)]
    for name in (*old, "mine.txt"):
        (logs / name).touch()
    house.model("A")
    house.convert()
    left = sorted(file.name for file in logs.glob("*.log"))
    assert left[:-1] == old[-99:]
    assert left[-1] > "2020-01-02"
    assert (logs / "mine.txt").is_file()
