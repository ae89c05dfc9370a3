"""Where models lie and what words mean: links, dots, and folders that can't be used."""

import os
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from .house import LLAMA, House, model, safetensors
from .hub import Hub
from .test_killed import begun

KINDS = [
    "plain",
    "Größe 模",
    'it\'s "q" `id` $HOME',
    "two\nlines",
    "end\n",
    "--yes",
    "-n",
    "*",
    "~x",
]


def closed(house: House, path: Path) -> None:
    house.obey_permissions()
    path.chmod(0o555 if path.is_dir() else 0o444)


def registry_in_a_file(house: House) -> dict[str, str]:
    (house.home / "file").touch()
    return {"OV_REGISTRY_PATH": str(house.home / "file" / "registry.json")}


def registry_in_a_closed_folder(house: House) -> dict[str, str]:
    (house.home / "closed").mkdir()
    closed(house, house.home / "closed")
    return {"OV_REGISTRY_PATH": str(house.home / "closed" / "sub" / "registry.json")}


def registry_behind_a_link_to_nothing(house: House) -> dict[str, str]:
    (house.home / "registry.json").symlink_to(house.home / "unmounted" / "registry.json")
    return {"OV_REGISTRY_PATH": str(house.home / "registry.json")}


def lock_of_another(house: House) -> dict[str, str]:
    (house.home / "registry.json.lock").touch()
    closed(house, house.home / "registry.json.lock")
    return {"OV_REGISTRY_PATH": str(house.home / "registry.json")}


def originals_in_a_file(house: House) -> dict[str, str]:
    (house.home / "file").touch()
    return {"OV_MODEL_OG": str(house.home / "file")}


def originals_behind_a_link_to_nothing(house: House) -> dict[str, str]:
    (house.home / "og").symlink_to(house.home / "unmounted")
    return {"OV_MODEL_OG": str(house.home / "og")}


def results_in_a_file(house: House) -> dict[str, str]:
    (house.home / "file").touch()
    return {"OV_MODEL_OUT": str(house.home / "file" / "out")}


def models_that_can_not_be_moved_away(house: House) -> dict[str, str]:
    closed(house, house.source)
    return {f"OV_MODEL_{name}": str(house.home / name) for name in ("OUT", "OG")}


CLOSED: list[tuple[Callable[[House], dict[str, str]], str, str]] = [
    (registry_in_a_file, "OV_REGISTRY_PATH", "--no-register"),
    (registry_in_a_closed_folder, "OV_REGISTRY_PATH", "--no-register"),
    (registry_behind_a_link_to_nothing, "OV_REGISTRY_PATH", "--no-register"),
    (lock_of_another, "OV_REGISTRY_PATH", "--no-register"),
    (originals_in_a_file, "OV_MODEL_OG", "--keep-original"),
    (originals_behind_a_link_to_nothing, "OV_MODEL_OG", "--keep-original"),
    (models_that_can_not_be_moved_away, "moved away from", "--keep-original"),
    (results_in_a_file, "OV_MODEL_OUT", ""),
]


@pytest.mark.parametrize(("how", "remedy", "without"), CLOSED)
def test_what_can_not_be_written_is_said_before_any_question(
    house: House, how: Callable[[House], dict[str, str]], remedy: str, without: str
) -> None:
    house.model("A")
    env = how(house)
    done = house.call("--no-verify", **env)
    assert done.returncode == 2
    assert remedy in done.stdout
    assert "Traceback" not in done.stdout
    assert "terminal" not in done.stdout  # which is what a question would end in
    assert not house.out.exists()
    if without:
        assert "done     a" in house.convert(without, **env)


def test_a_folder_that_can_not_be_moved_is_left_alone(house: House) -> None:
    folder = house.model("A")
    house.model("B")
    closed(house, folder)
    said = house.convert()
    assert "skipped  A: it can't be moved" in said
    assert set(house.registry) == {"b"}
    assert folder.is_dir()
    house.convert("--keep-original")
    assert set(house.registry) == {"a", "b"}


def test_an_import_does_not_check_a_model_that_it_can_not_register(house: House) -> None:
    file = house.source / "a.gguf"
    file.write_bytes(b"GGUF")
    done = house.call("--import", str(file), **registry_in_a_file(house))
    assert done.returncode == 2
    assert "OV_REGISTRY_PATH" in done.stdout
    assert "first words" not in done.stdout
    assert "So it is not registered" not in done.stdout


def test_models_that_can_not_be_looked_for_are_no_success(house: House) -> None:
    nowhere = str(house.home / "unmounted")
    file = house.home / "file"
    file.touch()
    for word, env, reason in [
        ((), {"OV_MODEL_SRC": nowhere}, "there is no folder"),
        (("org/model",), {"OV_MODEL_SRC": nowhere}, "there is no folder"),
        ((), {"OV_MODEL_SRC": str(file)}, "is no folder"),
        ((), {"HOME": nowhere}, "there is no folder"),
    ]:
        done = house.call("--yes", *word, **env)
        assert done.returncode == 2
        assert reason in done.stdout
        assert "OV_MODEL_SRC" in done.stdout
    house.obey_permissions()
    house.source.chmod(0o311)
    done = house.call("--yes")
    assert done.returncode == 2
    assert "can't be read" in done.stdout
    house.source.chmod(0o755)


def test_the_environment_is_missed_before_any_question(house: House) -> None:
    house.model("A")
    done = house.call(OV_CONVERT_ENV="/nowhere")
    assert "convert-env" in done.stdout
    assert "terminal" not in done.stdout


@pytest.fixture
def real(house: House) -> Path:
    """Where ~/models really is: it is a link."""
    house.source.rmdir()
    real = house.home / "big disk" / "models"
    real.mkdir(parents=True)
    house.source.symlink_to(real)
    return real


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_behind_a_link_is_converted_and_moved_once(
    house: House, real: Path, name: str
) -> None:
    house.model(name)
    house.convert(str(real / name))
    assert os.listdir(house.og) == [name]
    assert "is converted already" in house.convert("--", str(house.og / name))
    assert "is converted already" in house.convert("--", name)
    assert len(house.records) == 1


def test_a_part_of_the_path_may_be_a_link(house: House) -> None:
    (house.home / "way").symlink_to(house.home)
    way = house.home / "way" / "models"
    house.model("A")
    house.convert("--keep-original", OV_MODEL_SRC=str(way))
    assert "is converted already" in house.convert()
    house.model("B")
    house.convert(str(house.source / "B"), OV_MODEL_SRC=str(way))
    assert os.listdir(house.og) == ["B"]
    assert len(house.records) == 2


def test_a_folder_that_is_named_twice_is_one(house: House, real: Path) -> None:
    house.model("A")
    house.convert("A", str(real / "A"), "models/A/", f"{house.source}/./A/.")
    assert len(house.records) == 1


def test_two_never_work_on_one_folder_under_two_paths(house: House, real: Path) -> None:
    gate = house.home / "gate"
    os.mkfifo(gate)
    house.model("A")
    with begun(house, gate) as first:
        done = house.call("--yes", "--no-verify", OV_MODEL_SRC=str(real))
        assert "skipped  A: another ov-convert-model works on it now" in done.stdout
        gate.write_text("go on")
        first.communicate(timeout=60)


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_that_is_a_link_stays_and_is_converted_once(house: House, name: str) -> None:
    elsewhere = model(house.home / "downloads" / "Real")
    (house.source / name).symlink_to(elsewhere)
    house.convert()
    house.convert("--", name)
    house.convert(str(elsewhere))
    assert "is converted already" in house.convert()
    assert len(house.records) == 1
    assert (house.source / name).is_symlink()
    assert elsewhere.is_dir()


def test_a_link_to_another_model_is_that_model(house: House) -> None:
    house.model("Z")
    (house.source / "A").symlink_to("Z")
    house.convert()
    assert list(house.registry) == ["z"]
    assert (house.og / "Z").is_dir()


def test_a_repository_that_is_a_link_to_nothing_is_downloaded_beside(house: House) -> None:
    (house.source / "Tiny").symlink_to("/nowhere")
    said = house.convert("--dry-run", "some-org/Tiny")
    assert f"to {house.source}/some-org--Tiny" in said
    assert f"to {house.source}/a--og_models" in house.convert("--dry-run", "a/og_models")


def test_a_repository_behind_a_link_is_moved(house: House, real: Path) -> None:
    files = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "tokenizer.json": b"{}",
        "model.safetensors": safetensors({"weight": [4, 8]}),
    }
    assert LLAMA["architectures"] == ["LlamaForCausalLM"]
    with Hub("o/Tiny", files).serving() as address:
        env = {"HF_ENDPOINT": address, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        house.convert("o/Tiny", **env)
        house.convert("o/Tiny", OV_MODEL_SRC=str(real), **env)
    assert os.listdir(house.og) == ["Tiny"]
    assert len(house.records) == 1


def test_a_dot_is_where_one_is(house: House) -> None:
    house.model("B")
    here = model(house.home / "downloads" / "B")
    house.cwd = here.parent
    for word in ("./B", "../downloads/B/", str(here), "~/downloads/B"):
        house.convert(word)
    house.cwd = here
    house.convert(".")
    [record] = house.records
    assert record["original"] == str(here)
    house.cwd = here.parent
    house.convert("B")
    assert (house.og / "B").is_dir()
    house.convert("B", "--weight-format", "fp16")
    assert [r["original"] for r in house.records][1:] == [str(house.og / "B")] * 2


def test_a_dot_in_a_model_of_ours_is_that_model(house: House, real: Path) -> None:
    house.model("A")
    house.cwd = house.source / "A"
    house.convert(".")
    assert os.listdir(house.og) == ["A"]


def test_two_dots_behind_a_link_mean_what_they_mean_to_the_kernel(house: House) -> None:
    house.model("A", {})
    model(house.home / "other" / "A")
    (house.home / "other" / "deep").mkdir()
    (house.source / "way").symlink_to(house.home / "other" / "deep")
    house.convert("models/way/../A")
    [record] = house.records
    assert record["original"] == str(house.home / "other" / "A")
    assert (house.source / "A").is_dir()


WHOLE = [".", "..", "/", "~", "~/models", "~/models/og_models", "~/models/converted_models", "./up"]


@pytest.mark.parametrize("word", [*WHOLE, "og_models", "converted_models", "up", "../models/."])
def test_what_is_more_than_a_model_is_never_one(house: House, word: str) -> None:
    (house.source / "up").symlink_to(house.home)
    house.og.mkdir()
    house.out.mkdir()
    for folder in (house.home, house.source, house.og, house.out):
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            model(house.home / "m" / folder.name / name)
            (house.home / "m" / folder.name / name / name).rename(folder / name)
    house.cwd = house.source
    done = house.call("--yes", "--no-verify", word, OV_MODEL_OUT=str(house.out))
    assert done.returncode == 1, done.stdout
    assert f"failed   {word}: it is no model's folder" in done.stdout
    assert house.records == []
    assert house.source.is_dir()


def test_a_folder_that_holds_the_results_is_not_moved(house: House) -> None:
    folder = house.model("A")
    said = house.convert(OV_MODEL_OUT=str(folder / "out"))
    assert "skipped  A: it is no model's folder" in said
    assert folder.is_dir()


def test_what_is_served_from_a_folder_keeps_it_where_it_is(house: House) -> None:
    folder = house.model("A")
    (folder / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    assert house.call("--no-verify", "--import", str(folder / "a.gguf")).returncode == 0
    house.convert()
    assert set(house.registry) == {"a", "a-2"}
    assert (folder / "a.gguf").is_file()


SERVED = '"served": {"path": "A/a.gguf"}'
BROKEN = ["[]", f'{{"version": 1, "models": {{{SERVED},}}}}']


@pytest.mark.parametrize("text", BROKEN)
def test_an_original_stays_where_nobody_knows_what_is_served_from_it(
    house: House, text: str
) -> None:
    folder = house.model("A")
    registry = house.source / "registry.json"
    registry.write_text(text)
    env = {"OV_REGISTRY_PATH": str(registry)}
    said = house.convert("--no-register", **env)
    assert (folder / "tokenizer.json").is_file()
    [done] = [line for line in said.splitlines() if line.startswith("done     a: ")]
    assert "its original stays where it is" in done
    assert "it is converted already, as a; its original stays" in house.convert(
        "--no-register", **env
    )
    assert len(house.records) == 1
    registry.unlink()
    house.convert("--no-register", **env)
    assert os.listdir(house.og) == ["A"]


def test_an_original_that_is_served_stays_whatever_else_is_registered(house: House) -> None:
    folder = house.model("A")
    (house.source / "registry.json").write_text(
        f'{{"version": 1, "models": {{"odd": {{"path": "y\\u0000"}}, {SERVED}}}}}'
    )
    house.call("--yes", "--no-verify", OV_REGISTRY_PATH=str(house.source / "registry.json"))
    assert len(house.records) == 1
    assert (folder / "tokenizer.json").is_file()


def test_questions_come_after_the_look_at_the_folders(house: House) -> None:
    house.model("A")
    path = registry_in_a_file(house)["OV_REGISTRY_PATH"]
    with closing(house.sit_down("--no-verify", OV_REGISTRY_PATH=path)) as terminal:
        terminal.until("OV_REGISTRY_PATH")
        assert terminal.end() == 2


def test_three_folders_are_three_also_behind_links(house: House) -> None:
    house.model("A")
    (house.home / "way").symlink_to(house.source)
    for env in (
        {"OV_MODEL_OG": str(house.home / "way")},
        {"OV_MODEL_OG": str(house.out)},
    ):
        done = house.call("--yes", **env)
        assert done.returncode == 2
        assert "three folders" in done.stdout
    assert house.originals == ["A"]
