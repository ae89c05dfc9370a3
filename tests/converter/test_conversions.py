"""ov-convert-model from a folder to the registry, and every way in which an export fails."""

import json
import os
import shutil

import pytest

from .house import House, gguf, model, safetensors

WHERE = "task-text-generation-with-past__wf-int8"


def test_a_folder_becomes_a_model_that_has_a_name(house: House) -> None:
    original = house.model("Qwen3-0.6B")
    said = house.convert()
    assert "done     qwen3-0-6b: int8" in said
    assert house.registry == {
        "qwen3-0-6b": {
            "path": f"qwen3-0-6b/{WHERE}",
            "task": "text-generation-with-past",
            "weight_format": "int8",
        }
    }
    assert not original.exists()
    assert (house.og / "Qwen3-0.6B" / "model.safetensors").is_file()
    assert house.left_behind == []


def test_what_it_was_made_from_is_written_down(house: House) -> None:
    house.model("A")
    house.convert("--weight-format", "int4")
    [record] = house.records
    assert record["name"] == "a"
    assert record["source"] == "A"
    assert record["original"] == str(house.og / "A")
    assert record["weight_format"] == "int4"
    assert record["command"][1:3] == ["export", "openvino"]
    assert record["seconds"] >= 0
    assert record["bytes"] > 0
    assert record["original_bytes"] == len(safetensors({"weight": [4, 8]}))
    assert len(record["weights"]["model.safetensors"]["sha256"]) == 64
    assert set(record["versions"]) >= {"optimum-intel", "nncf", "openvino"}
    assert record["converted_at"].startswith("20")


@pytest.mark.parametrize("form", ["fp32", "fp16", "int8", "int4"])
def test_the_format_and_the_task_reach_optimum(house: House, form: str) -> None:
    house.model("A")
    house.convert(f"--weight-format={form}")
    words = (house.out / "a" / WHERE.replace("int8", form) / "words.txt").read_text().split("\n")
    assert words[words.index("--weight-format") + 1] == form
    assert words[words.index("--task") + 1] == "text-generation-with-past"
    assert ("--group-size-fallback" in words) == (form == "int4")
    assert "--trust-remote-code" not in words


def test_a_task_can_be_forced_and_code_be_trusted(house: House) -> None:
    house.model("A")
    house.convert("--task", "feature-extraction", "--trust-remote-code")
    assert house.registry["a"]["task"] == "feature-extraction"
    [record] = house.records
    assert {"--trust-remote-code", "--library"} <= set(record["command"])


def test_the_environment_says_what_the_options_do_not(house: House) -> None:
    house.model("A")
    elsewhere = house.home / "elsewhere"
    house.convert(
        OV_WEIGHT_FORMAT="fp16",
        OV_TASK="text-classification",
        OV_MODEL_OUT=str(elsewhere / "out"),
        OV_MODEL_OG=str(elsewhere / "og"),
        OV_REGISTRY_PATH=str(elsewhere / "registry.json"),
    )
    models = json.loads((elsewhere / "registry.json").read_text())["models"]
    assert models["a"]["path"] == "out/a/task-text-classification__wf-fp16"
    assert (elsewhere / "og" / "A").is_dir()


FAILURES = {
    "fails": "optimum-cli failed: ValueError: the shards do not fit",
    "full": "the disk is full",
    "killed": "probably because the memory was full",
    "code": "--trust-remote-code",
    "missing": "lm_head.weight",
    "no tokenizer": "made no tokenizer",
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_leaves_everything_as_it_was(house: House, how: str) -> None:
    house.model("Old")
    house.convert()
    before = house.registry
    house.model("New")
    done = house.call("--yes", "--no-verify", STAND_IN=how)
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    assert line.startswith("failed   New: ")
    assert FAILURES[how] in line
    assert house.registry == before
    assert (house.source / "New" / "model.safetensors").is_file()
    assert [record["name"] for record in house.records] == ["old"]
    assert house.left_behind == []


def test_one_that_fails_does_not_keep_the_others(house: House) -> None:
    for name in ("A", "B", "C"):
        house.model(name)
    (house.source / "B" / "config.json").write_text("{broken")
    done = house.call("--yes", "--no-verify", "A", "B", "C")
    assert done.returncode == 1
    assert set(house.registry) == {"a", "c"}
    assert "failed   B: config.json is broken" in done.stdout


def test_what_is_incomplete_is_skipped_with_its_reason(house: House) -> None:
    house.model("Whole")
    (house.source / "Empty").mkdir()
    done = house.call("--yes", "--no-verify")
    assert done.returncode == 0
    assert "skipped  Empty: there is no config.json" in done.stdout
    assert set(house.registry) == {"whole"}


def test_a_model_that_does_not_speak_does_not_count(house: House) -> None:
    house.model("A")
    done = house.call("--yes")
    assert done.returncode == 1
    assert "failed   A: it was converted, but" in done.stdout
    assert house.records == []
    assert house.registry == {}
    assert (house.source / "A").is_dir()


def test_the_log_has_what_was_said(house: House) -> None:
    house.model("A")
    said = house.convert()
    log = said.split("The log: ")[1].strip()
    with open(log, encoding="utf-8") as file:
        text = file.read()
    assert "hold the word error" in text
    assert "done     a" in text


def test_the_original_can_stay(house: House) -> None:
    house.model("A")
    house.convert("--keep-original")
    assert (house.source / "A").is_dir()
    assert "it is converted already, as a" in house.convert()
    assert len(house.records) == 1
    house.convert("--weight-format", "fp16", "A")
    assert set(house.registry) == {"a", "a-2"}


def test_what_lies_elsewhere_stays_there(house: House) -> None:
    folder = model(house.home / "downloads" / "B")
    house.convert(str(folder))
    house.convert("downloads/B", "--weight-format", "fp16")
    assert folder.is_dir()
    assert set(house.registry) == {"b", "b-2"}


def test_a_model_can_be_left_out_of_the_registry(house: House) -> None:
    house.model("A")
    house.convert("--no-register")
    assert house.registry == {}
    assert len(house.records) == 1
    assert house.call("--reindex").returncode == 0
    assert set(house.registry) == {"a"}


def test_an_original_is_converted_again_from_where_it_was_moved(house: House) -> None:
    house.model("A")
    house.convert()
    house.convert("A", "--weight-format", "fp16", "--name", "a fp16")
    assert set(house.registry) == {"a", "a-fp16"}
    assert house.originals == ["A"]


def test_nothing_is_done_in_a_dry_run(house: House) -> None:
    house.model("A")
    done = house.call("--dry-run")
    assert done.returncode == 0
    assert "task text-generation-with-past, to int8" in done.stdout
    assert not house.out.exists()


def test_a_dry_run_tells_what_would_fail(house: House) -> None:
    (house.source / "Empty").mkdir()
    done = house.call("--dry-run")
    assert done.returncode == 0
    assert "skipped  Empty: there is no config.json" in done.stdout
    done = house.call("--dry-run", "Nowhere")
    assert done.returncode == 1
    assert "failed   Nowhere: there is no such folder" in done.stdout


def test_what_is_served_as_it_is_is_pointed_to(house: House) -> None:
    file = house.source / "small one.gguf"
    file.write_bytes(gguf())
    assert "--import" in house.convert()
    assert house.call("--no-verify", "--import", "small one.gguf").returncode == 0
    assert set(house.registry) == {"small-one"}
    assert "gguf" not in house.convert()
    folder = house.source / "Made"
    folder.mkdir()
    (folder / "openvino_model.xml").write_text("<net/>")
    assert "--import" in house.call("--list").stdout
    assert house.call("--no-verify", "--import", str(folder)).returncode == 0
    assert "Made  is served as it is, as made" in house.call("--list").stdout


def test_what_can_not_be_imported_is_said(house: House) -> None:
    (house.source / "cut.gguf").write_bytes(b"")
    house.model("A")
    for what, reason in {
        "/nowhere": "There is nothing at /nowhere.",
        "cut.gguf": "does not begin with 'GGUF'",
        "A": "named without --import",
    }.items():
        done = house.call("--no-verify", "--import", what)
        assert done.returncode == 2
        assert reason in done.stdout
    assert house.registry == {}


def test_what_is_finished_without_a_name_is_said(house: House) -> None:
    house.model("A")
    house.convert("--no-register", "--keep-original")
    [file] = house.out.glob("*/task-*/conversion.json")
    file.write_text(file.read_text().replace('"keep_original": true', '"keep_original": false'))
    assert "a: was converted before, and only its original" in house.convert("--dry-run")
    said = house.convert()
    assert "a: was converted before, and is not registered; to register it: ov-" in said
    assert "Now that a model is registered" not in said
    assert house.registry == {}
    assert (house.og / "A").is_dir()


def test_links_in_an_original_lead_where_they_led(house: House) -> None:
    original = house.model("A")
    blobs = house.home / "blobs"
    blobs.mkdir()
    (original / "model.safetensors").rename(blobs / "weights")
    (original / "model.safetensors").symlink_to("../../blobs/weights")
    (original / "sub").mkdir()
    links = {
        "inner": ("tokenizer.json", "tokenizer.json"),
        "sub/up": ("../tokenizer.json", "../tokenizer.json"),
        "sub/out": ("../../../blobs", str(blobs)),
        "sub/through": ("out/weights", f"{blobs}/weights"),
        "round": ("../A/tokenizer.json", "tokenizer.json"),
        "absolute": (f"{original}/tokenizer.json", "tokenizer.json"),
        "away": (f"{blobs}/weights", f"{blobs}/weights"),
        "gone": ("../../nowhere", str(house.home / "nowhere")),
    }
    for name, (said, _) in links.items():
        (original / name).symlink_to(said)
    (house.og / "A").mkdir(parents=True)  # so that it gets another name
    house.convert()
    moved = house.og / "A-2"
    assert (moved / "model.safetensors").read_bytes() == (blobs / "weights").read_bytes()
    assert {name: os.readlink(moved / name) for name in links} == {
        name: wanted for name, (_, wanted) in links.items()
    }
    assert "it is converted already" in house.convert("A-2")


def test_removing_takes_the_conversion_and_leaves_the_original(house: House) -> None:
    for name in ("A", "B"):
        house.model(name)
    house.convert()
    done = house.call("--remove", "a")
    assert done.returncode == 2
    assert "--yes" in done.stdout
    done = house.call("--yes", "--remove", "c")
    assert done.returncode == 2
    assert "there are: a, b" in done.stdout
    assert f"its original is {house.og}/A" in house.call("--yes", "--remove", "a").stdout
    assert set(house.registry) == {"b"}
    assert [record["name"] for record in house.records] == ["b"]
    assert house.originals == ["A", "B"]


def test_removing_leaves_what_was_not_converted_under_that_name(house: House) -> None:
    house.model("A")
    house.convert()
    [folder] = house.out.glob("a/task-*")
    assert house.call("--no-verify", "--import", str(folder), "--name", "b").returncode == 0
    assert house.call("--yes", "--remove", "b").returncode == 0
    assert [record["name"] for record in house.records] == ["a"]
    assert house.call("--no-verify", "--import", str(folder), "--name", "c").returncode == 0
    assert house.call("--yes", "--remove", "a").returncode == 0
    assert [record["name"] for record in house.records] == ["a"]
    assert set(house.registry) == {"c"}


def test_removing_works_also_where_the_files_have_gone(house: House) -> None:
    house.model("A")
    house.convert()
    shutil.rmtree(house.out / "a")
    done = house.call("--yes", "--remove", "a")
    assert done.returncode == 0
    assert done.stdout.startswith("a: removed; its files are not at ")
    assert house.registry == {}


def test_a_broken_entry_is_not_taken_for_a_yes(house: House) -> None:
    house.out.mkdir()
    text = '{"version": 1, "models": {"x": "oops"}}'
    (house.out / "registry.json").write_text(text)
    assert house.call("--remove", "x").returncode == 2
    assert (house.out / "registry.json").read_text() == text


@pytest.mark.parametrize("folder", ["tab\there", "two\nlines", "plain"])
def test_what_a_killed_run_left_is_finished_whatever_it_is_called(
    house: House, folder: str
) -> None:
    house.model(folder)
    house.convert("--keep-original", "--no-register")
    [file] = house.out.glob("*/task-*/conversion.json")
    stays, listed = '"keep_original": true', '"register": false'
    text = file.read_text()
    assert stays in text
    assert listed in text
    text = text.replace(stays, '"keep_original": false').replace(listed, '"register": true')
    file.write_text(text)
    house.model("tab")  # another one
    house.convert()
    assert len(house.registry) == 2
    assert house.originals == sorted([folder, "tab"])
    assert (house.og / folder).is_dir()


def test_a_registry_may_be_a_link(house: House) -> None:
    elsewhere = house.home / "elsewhere" / "real.json"
    elsewhere.parent.mkdir()
    elsewhere.write_text('{"version": 1, "models": {}}')
    house.out.mkdir()
    (house.out / "registry.json").symlink_to(elsewhere)
    house.model("A")
    house.convert()
    assert (house.out / "registry.json").is_symlink()
    assert set(house.registry) == {"a"}


def test_the_registry_is_the_one_that_the_service_reads(house: House) -> None:
    settings = house.home / ".config" / "ov-llm-server" / "ov-server.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("PORT=9001\nOV_REGISTRY_PATH=~/reg & more/registry.json\n")
    house.model("A")
    house.convert()
    assert house.registry == {}
    models = json.loads((house.home / "reg & more" / "registry.json").read_text())["models"]
    assert set(models) == {"a"}


def test_the_same_call_twice_makes_one_conversion(house: House) -> None:
    house.model("A")
    house.convert("A")
    assert "skipped  A: it is converted already, as a" in house.convert("A")
    assert len(house.records) == 1
    house.convert("A", "--name", "b")
    assert set(house.registry) == {"a", "b"}


def test_one_folder_can_not_be_for_originals_and_downloads(house: House) -> None:
    house.model("A")
    done = house.call("--yes", OV_MODEL_OG=str(house.source))
    assert done.returncode == 2
    assert house.originals == ["A"]


def test_names_of_any_bytes_are_converted(house: House) -> None:
    name = os.fsdecode(b"caf\xe9")
    house.model(name)
    house.convert()
    assert list(house.registry) == ["caf"]
    assert (house.og / name).is_dir()


def test_too_little_room_is_said_before_any_work(house: House) -> None:
    folder = house.model("A")
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        file.truncate(1 << 42)  # 4 TB of holes
    done = house.call("--yes", "--no-verify")
    assert done.returncode == 1
    assert "failed   A: it needs about" in done.stdout
    assert house.left_behind == []


def test_the_way_to_the_environment_is_said(house: House) -> None:
    house.model("A")
    done = house.call("--yes", OV_CONVERT_ENV=str(house.home / "nowhere"))
    assert done.returncode == 2
    assert "convert-env" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--weight-format", "int3"],
        ["--weight-format"],
        ["--task", "chat"],
        ["--list", "--remove", "x"],
        ["--import", "A", "B"],
        ["--remove", "A", "--dry-run"],
        ["--name", "***"],
        ["--no-such-option"],
        ["--name", "x", "A", "B"],
    ],
)
def test_a_wrong_option_stops_everything(house: House, words: list[str]) -> None:
    house.model("A")
    house.model("B")
    done = house.call("--yes", *words)
    assert done.returncode == 2
    assert words[0] in done.stdout
    assert not house.out.exists()


def test_a_broken_registry_is_said_before_any_work_and_made_anew(house: House) -> None:
    house.model("A")
    house.convert()
    file = house.out / "registry.json"
    file.write_text('{"version": 1, "models": {"a":')
    house.model("B")
    done = house.call("--yes", "--no-verify")
    assert done.returncode == 2
    assert "--reindex" in done.stdout
    assert (house.source / "B").is_dir()
    assert house.call("--reindex").returncode == 0
    assert set(house.registry) == {"a"}
    [aside] = house.out.glob("registry.json.*.broken")
    assert aside.read_text().endswith('{"a":')
