"""The registry file: read again when it is another one, and never the worse for being broken."""

import json
import os
from collections import Counter
from pathlib import Path, PosixPath
from typing import Any

import pytest
from fakes import model_folder, put, write_registry

from main import Registry
from ov_server.errors import ModelNotFound
from ov_server.modelfiles import EMBEDDED_NAME


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.entries()]


def of(path: Path, *models: str, **more: Any) -> Registry:
    return Registry(write_registry(path / "registry.json", {m: {"path": m} for m in models}))


def counted(path: Path) -> tuple[Path, Counter[str]]:
    """The path, and how often it is looked at and used at all: to be looked at or to be read."""
    calls: Counter[str] = Counter()

    class Counted(PosixPath):
        def stat(self, **options: Any) -> os.stat_result:
            calls["stat"] += 1
            return super().stat(**options)

        def __fspath__(self) -> str:
            calls["use"] += 1
            return super().__fspath__()

    return Counted(path), calls


def test_a_new_entry_is_there_at_once(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    write_registry(registry.path, {"a": {"path": "a"}, "b": {"path": "b"}})
    assert registry.find("b").path == tmp_path / "b"
    assert names(registry) == ["a", "b"]


def test_a_removed_entry_is_gone_at_once(tmp_path: Path) -> None:
    registry = of(tmp_path, "a", "b")
    write_registry(registry.path, {"b": {"path": "b"}})
    with pytest.raises(ModelNotFound, match="Models here: b"):
        registry.find("a")


def test_a_file_of_the_same_time_and_another_size_is_read_again(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    stat = registry.path.stat()
    registry.path.write_text(json.dumps({"version": 1, "models": {"a": {"path": "elsewhere"}}}))
    os.utime(registry.path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert registry.path.stat().st_ino == stat.st_ino
    assert registry.find("a").path.name == "elsewhere"


def test_another_file_of_the_same_time_and_size_is_read_again(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    stat = registry.path.stat()
    write_registry(registry.path, {"a": {"path": "z"}})
    os.utime(registry.path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert registry.path.stat().st_size == stat.st_size
    assert registry.find("a").path.name == "z"


def test_an_older_file_is_read_again(tmp_path: Path) -> None:
    """A backup that was put back."""
    registry = of(tmp_path, "a")
    registry.path.write_text(registry.path.read_text().replace('"path": "a"', '"path": "z"'))
    os.utime(registry.path, ns=(1, 1))
    assert registry.find("a").path.name == "z"


def test_a_miss_reads_the_file_again_though_it_looks_the_same(tmp_path: Path) -> None:
    """A file system whose clock is coarse: time, size and inode are as before."""
    registry = of(tmp_path, "a")
    stat = registry.path.stat()
    registry.path.write_text(registry.path.read_text().replace('{"a":', '{"b":'))
    os.utime(registry.path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert registry.find("b").name == "b"


def test_an_unknown_name_is_not_found_and_the_names_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as caught:
        of(tmp_path, "b", "a").find("c")
    assert (caught.value.status, caught.value.param) == (404, "model")
    assert caught.value.message == "The model 'c' does not exist. Models here: a, b."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '{"version": 1}',
        '{"version": 1, "models": []}',
        '{"version": 2, "models": {}}',
        '{"models": {}}',
        "[" * 100_000,
        "\ud800",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_broken_file_takes_nothing_away_and_is_told(tmp_path: Path, text: str) -> None:
    registry = of(tmp_path, "a")
    registry.path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert registry.find("a").name == "a"
    assert registry.error
    with pytest.raises(ModelNotFound, match="Models here: a"):
        registry.find("b")


def test_a_mended_file_ends_the_error(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    registry.path.write_text("{")
    assert names(registry) == ["a"]
    write_registry(registry.path, {"b": {"path": "b"}})
    assert names(registry) == ["b"]
    assert registry.error is None


def test_the_same_text_put_back_ends_the_error(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    text = registry.path.read_text()
    registry.path.write_text("{")
    assert names(registry) == ["a"]
    put(registry.path, text)
    assert names(registry) == ["a"]
    assert registry.error is None


def test_a_pipe_in_its_place_holds_nothing_up(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    registry.path.unlink()
    os.mkfifo(registry.path)
    assert names(registry) == ["a"]
    assert registry.error == "it can't be read (it is no file): put a file there"
    registry.path.unlink()
    write_registry(registry.path, {"b": {"path": "b"}})
    assert names(registry) == ["b"]
    assert registry.error is None


def test_a_folder_in_its_place_takes_nothing_away(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    registry.path.unlink()
    registry.path.mkdir()
    assert names(registry) == ["a"]
    assert registry.error
    assert "can't be read" in registry.error


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "no text", "too much text"])
def test_whatever_lies_there_no_descriptor_is_left_open(tmp_path: Path, kind: str) -> None:
    registry = of(tmp_path, "a")
    registry.path.unlink()
    if kind == "a folder":
        registry.path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(registry.path)
    else:
        registry.path.write_bytes(b"\xff" if kind == "no text" else b" " * 16_000_001)
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        assert names(registry) == ["a"]
    assert registry.error
    assert os.listdir("/proc/self/fd") == before


def test_a_file_broken_from_the_start_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "registry.json").write_text("{")
    registry = Registry(tmp_path / "registry.json")
    assert registry.error
    write_registry(registry.path, {"a": {"path": "a"}})
    assert registry.find("a").name == "a"


def test_a_file_that_was_removed_has_no_models(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    registry.path.unlink()
    assert registry.error is None
    assert names(registry) == [EMBEDDED_NAME]
    write_registry(registry.path, {"a": {"path": "a"}})
    assert names(registry) == ["a"]


def test_an_entry_with_a_mistake_is_left_out_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    good = {"path": "good"}
    registry = Registry(write_registry(path, {"bad": {"path": "x", "pinned": 1}, "good": good}))
    assert names(registry) == ["good"]
    assert "pinned" in registry.state.mistakes["bad"]
    with pytest.raises(ModelNotFound):
        registry.find("bad")


def test_a_home_of_nobody_costs_no_other_entry(tmp_path: Path) -> None:
    models = {"bad": {"path": "~nobody-here/model"}, "good": {"path": "good"}}
    registry = Registry(write_registry(tmp_path / "registry.json", models))
    assert registry.find("good").name == "good"
    assert "bad" in registry.state.mistakes


def test_an_alias_finds_its_model(tmp_path: Path) -> None:
    models = {"a": {"path": "a", "aliases": ["gpt-4o", "x"]}}
    registry = Registry(write_registry(tmp_path / "registry.json", models))
    assert registry.find("gpt-4o") is registry.find("x") is registry.find("a")
    assert names(registry) == ["a"]


def test_ov_model_path_answers_for_names_that_are_not_registered(tmp_path: Path) -> None:
    write_registry(tmp_path / "registry.json", {"a": {"path": "a"}})
    registry = Registry(tmp_path / "registry.json", model_folder(tmp_path, "My_Model 1"))
    assert registry.find("anything").name == "my-model-1"
    assert registry.find("my-model-1").path == tmp_path / "My_Model 1"
    assert registry.find("a").name == "a"
    assert names(registry) == ["a", "my-model-1"]


def test_ov_model_path_stands_alone_without_a_registry(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json", tmp_path / "m.gguf")
    assert names(registry) == ["m"]


def test_the_embedded_model_serves_only_when_there_is_no_other(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json")
    assert registry.find(EMBEDDED_NAME).path.suffix == ".gguf"
    with pytest.raises(ModelNotFound, match=EMBEDDED_NAME):
        registry.find("a")
    write_registry(registry.path, {"a": {"path": "a"}})
    assert names(registry) == ["a"]
    with pytest.raises(ModelNotFound):
        registry.find(EMBEDDED_NAME)


def test_a_hit_among_200_entries_is_one_stat_and_no_parse(tmp_path: Path) -> None:
    write_registry(tmp_path / "registry.json", {f"m{i}": {"path": f"m{i}"} for i in range(200)})
    path, calls = counted(tmp_path / "registry.json")
    registry = Registry(path)
    state = registry.state
    calls.clear()
    for i in range(200):
        assert registry.find(f"m{i}").name == f"m{i}"
    assert calls == {"stat": 200, "use": 200}
    assert registry.state is state


def test_a_change_is_one_parse(tmp_path: Path) -> None:
    write_registry(tmp_path / "registry.json", {"a": {"path": "a"}})
    path, calls = counted(tmp_path / "registry.json")
    registry = Registry(path)
    put(tmp_path / "registry.json", '{"version": 1, "models": {"a": {"path": "z"}}}')
    calls.clear()
    for _ in range(5):
        assert registry.find("a").path.name == "z"
    assert calls["use"] - calls["stat"] == 1


def test_a_touch_without_a_change_keeps_the_state(tmp_path: Path) -> None:
    registry = of(tmp_path, "a")
    state = registry.state
    os.utime(registry.path, ns=(5, 5))
    registry.find("a")
    assert registry.state is state
