"""What is read of a model's files, and what is said when they are none."""

import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import model_folder, put

from ov_server.core import Sampling
from ov_server.errors import LoadFailed
from ov_server.modelfiles import (
    FALLBACK_CONTEXT,
    ModelFiles,
    context_length,
    embedded_model,
    generation_defaults,
    glance,
    inspect,
    tree_size,
)


def configured(parent: Path, config: Any, name: str = "config.json") -> ModelFiles:
    folder = model_folder(parent, "m")
    (folder / name).write_text(config if isinstance(config, str) else json.dumps(config))
    return inspect(folder)


def gguf(path: Path, architecture: str, key: str, kind: int, raw: bytes) -> ModelFiles:
    """A GGUF header of two pairs: the architecture, and one more of any kind."""
    pairs = b""
    for name, code, value in (
        ("general.architecture", 8, struct.pack("<Q", len(architecture)) + architecture.encode()),
        (key, kind, raw),
    ):
        pairs += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", code) + value
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + pairs)
    return inspect(path)


def test_a_folder_is_told_by_format_size_and_age(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m", weights=1000)
    (folder / "vocabulary").write_text("12345")
    os.utime(folder / "config.json", (5e9, 5e9))
    files = inspect(folder)
    assert (files.format, files.is_gguf, files.path) == ("ir", False, folder)
    assert files.size == tree_size(folder) > 1005
    assert files.modified == 5e9


def test_a_gguf_file_is_told_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    (tmp_path / "other.gguf").write_bytes(b"GGUF" * 100)
    files = inspect(path)
    assert (files.format, files.is_gguf, files.size) == ("gguf", True, 4)


@pytest.mark.parametrize("change", ["size", "time", "inode", "new file", "removed file"])
def test_any_change_of_a_file_changes_the_stamp(tmp_path: Path, change: str) -> None:
    folder = model_folder(tmp_path, "m")
    before = inspect(folder)
    file = folder / "openvino_model.bin"
    stat = file.stat()
    if change == "size":
        file.write_text("w" * 101)
    elif change == "time":
        os.utime(file, ns=(1, 1))
    elif change == "inode":
        put(file, file.read_text())
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "new file":
        (folder / "more").touch()
    else:
        (folder / "config.json").unlink()
    assert inspect(folder).stamp != before.stamp


def test_the_stamp_stays_as_long_as_nothing_changes(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    assert inspect(folder) == inspect(folder)
    assert inspect(folder).stamp != inspect(model_folder(tmp_path, "n")).stamp


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"openvino_model\.xml"):
        inspect(tmp_path)


@pytest.mark.parametrize("path", ["nothing", "a\0b", "\ud800", "x" * 5000])
def test_a_path_that_is_not_there_is_no_model(tmp_path: Path, path: str) -> None:
    with pytest.raises(LoadFailed):
        inspect(tmp_path / path)


def test_another_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(LoadFailed, match=r"neither an OpenVINO model folder nor a \.gguf file"):
        inspect(tmp_path / "model.bin")


def test_a_refusal_names_no_path_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed) as caught:
        inspect(tmp_path / "nothing")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 2048}}, 2048),
        ({"max_position_embeddings": 512, "text_config": {"n_positions": 64}}, 512),
        ({}, FALLBACK_CONTEXT),
        ({"max_position_embeddings": "many"}, FALLBACK_CONTEXT),
        ({"max_position_embeddings": None, "text_config": None}, FALLBACK_CONTEXT),
        ({"text_config": "none"}, FALLBACK_CONTEXT),
        ({"text_config": [1]}, FALLBACK_CONTEXT),
        ("[]", FALLBACK_CONTEXT),
        ("{", FALLBACK_CONTEXT),
    ],
    ids=str,
)
def test_the_context_length_is_the_configs(tmp_path: Path, config: Any, length: int) -> None:
    assert context_length(configured(tmp_path, config)) == length


def test_the_context_length_of_a_gguf_file_is_its_architectures(tmp_path: Path) -> None:
    files = gguf(tmp_path / "m.gguf", "llama", "llama.context_length", 4, struct.pack("<I", 8192))
    assert context_length(files) == 8192


def test_a_gguf_file_that_does_not_say_has_the_usual_context(tmp_path: Path) -> None:
    files = gguf(tmp_path / "m.gguf", "llama", "qwen.context_length", 4, struct.pack("<I", 8192))
    assert context_length(files) == FALLBACK_CONTEXT


@pytest.mark.parametrize(
    ("kind", "raw"), [(8, struct.pack("<Q", 4) + b"many"), (6, struct.pack("<f", float("nan")))]
)
def test_a_context_length_that_is_no_number_is_no_crash(
    tmp_path: Path, kind: int, raw: bytes
) -> None:
    files = gguf(tmp_path / "m.gguf", "llama", "llama.context_length", kind, raw)
    with suppress(LoadFailed):
        assert context_length(files) == FALLBACK_CONTEXT


def test_a_broken_gguf_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF\3")
    with pytest.raises(LoadFailed, match=r"'m\.gguf'.*Download it again"):
        context_length(inspect(path))


def test_a_gguf_file_that_ends_before_its_tensors_do_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tensor = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 8, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor
    whole = head + bytes(-len(head) % 32 + 32)
    path.write_bytes(whole[:-1])
    with pytest.raises(LoadFailed, match=rf"cut short: {len(whole) - 1} of {len(whole)} bytes"):
        context_length(inspect(path))
    path.write_bytes(whole)
    assert context_length(inspect(path)) == FALLBACK_CONTEXT


def test_generation_defaults_are_the_models(tmp_path: Path) -> None:
    config = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.9, "eos_token_id": 2}
    files = configured(tmp_path, config, "generation_config.json")
    assert generation_defaults(files) == Sampling(temperature=0.6, top_k=20, top_p=0.9)


def test_no_sampling_is_greedy_whatever_temperature_stands_beside(tmp_path: Path) -> None:
    config = {"do_sample": False, "temperature": 0.6}
    files = configured(tmp_path, config, "generation_config.json")
    assert generation_defaults(files).temperature == 0


@pytest.mark.parametrize("config", ["{", "[]", {"temperature": "hot"}, {"top_k": [1]}], ids=str)
def test_odd_generation_defaults_are_none(tmp_path: Path, config: Any) -> None:
    files = configured(tmp_path, config, "generation_config.json")
    assert generation_defaults(files) == Sampling()


def test_the_embedded_model_is_a_gguf_file_that_tells_its_context() -> None:
    path = embedded_model()
    assert path is not None
    assert context_length(inspect(path)) == 8192


def test_the_size_of_a_tree_counts_every_file(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a").write_bytes(bytes(70))
    (tmp_path / "b").write_bytes(bytes(7))
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert tree_size(tmp_path) == 77


def test_a_glance_tells_a_replaced_file_from_an_untouched_one(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    before = glance(file)
    assert glance(file) == before
    other = tmp_path / "other.gguf"
    other.write_bytes(b"two")
    other.replace(file)
    assert glance(file) != before


@pytest.mark.parametrize("name", ["openvino_model.xml", "config.json", "openvino_tokenizer.bin"])
def test_a_glance_tells_any_rewritten_file_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    before = glance(tmp_path)
    assert glance(tmp_path) == before
    (tmp_path / name).write_text("longer")
    assert glance(tmp_path) != before


@pytest.mark.parametrize("name", ["openvino_model.bin", "openvino_tokenizer.xml"])
def test_a_folder_without_one_of_its_files_is_named_with_it(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path, "a")
    inspect(folder)
    (folder / name).unlink()
    with pytest.raises(LoadFailed, match=f"'a' holds no {name}. Convert the model again"):
        inspect(folder)


@pytest.mark.parametrize("path", ["gone", "a\0b", "x" * 5000])
def test_a_glance_at_nothing_tells_nothing(tmp_path: Path, path: str) -> None:
    assert glance(tmp_path / path) == ()
