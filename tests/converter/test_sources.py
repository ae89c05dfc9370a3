"""What a downloaded folder is taken for: whole or not, and for which task."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .house import LLAMA, PROJECT, model, safetensors


def look(folder: Path, task: str = "") -> tuple[int, str]:
    """The exit code and what is said."""
    program = [sys.executable, PROJECT / "scripts" / "lib" / "source.py", folder, task]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return done.returncode, done.stdout.rstrip("\n")


def test_a_whole_folder_tells_its_task_and_size(tmp_path: Path) -> None:
    code, said = look(model(tmp_path / "m"))
    size = len(safetensors({"weight": [4, 8]}))
    assert code == 0
    assert said.split("\t") == ["text-generation-with-past", str(size), "32", ""]


def test_one_without_a_chat_template_is_noted(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in look(folder)[1]
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert "no chat template" not in look(folder)[1]


TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "llama": (LLAMA, "text-generation-with-past"),
    "gpt2": ({"architectures": ["GPT2LMHeadModel"]}, "text-generation-with-past"),
    "qwen-vl": (
        {"architectures": ["Qwen2VLForConditionalGeneration"], "vision_config": {}},
        "image-text-to-text",
    ),
    "phi-v": ({"architectures": ["Phi3VForCausalLM"], "img_processor": {}}, "image-text-to-text"),
    "whisper": (
        {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"},
        "automatic-speech-recognition-with-past",
    ),
    "bert": ({"architectures": ["BertModel"]}, "feature-extraction"),
    "rerank": ({"architectures": ["XLMRobertaForSequenceClassification"]}, "text-classification"),
    "speech": ({"architectures": ["SpeechT5ForTextToSpeech"]}, "text-to-audio"),
}


@pytest.mark.parametrize("kind", TASKS)
def test_the_task_is_found_from_the_config(tmp_path: Path, kind: str) -> None:
    config, task = TASKS[kind]
    folder = model(tmp_path / "m", config)
    (folder / "preprocessor_config.json").write_text("{}")
    assert look(folder) == (0, look(folder)[1])
    assert look(folder)[1].split("\t")[0] == task
    assert look(folder, "text-to-audio")[1].split("\t")[0] == "text-to-audio"


def test_an_embedding_model_of_a_chat_architecture_is_one(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "modules.json").write_text("[]")
    assert look(folder)[1].startswith("feature-extraction")


def put(name: str, content: bytes | str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def take(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def shards(*names: str) -> Callable[[Path], None]:
    index = {"weight_map": dict(enumerate(names))}
    return put("model.safetensors.index.json", json.dumps(index))


def header(text: bytes, data: int = 64) -> Callable[[Path], None]:
    return put("model.safetensors", struct.pack("<Q", len(text)) + text + bytes(data))


def shape(said: str) -> Callable[[Path], None]:
    tensor = f'{{"w": {{"dtype": "BF16", "shape": [{said}], "data_offsets": [0, 64]}}}}'
    return header(tensor.encode())


def endless(folder: Path) -> None:
    """A header of 40 GB, in a file that takes no room."""
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 40 << 30))
        file.truncate(60 << 30)


def pipe(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def nothing(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to("nowhere")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
WHOLE = safetensors({"weight": [4, 8]})
UNFIT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (take("config.json"), "there is no config.json"),
    "broken config": (put("config.json", "{"), "config.json is broken"),
    "config of another kind": (put("config.json", "[]"), "config.json is no JSON object"),
    "config is a pointer": (put("config.json", POINTER), "pointer of git-lfs"),
    "no weights": (take("model.safetensors"), "there are no weights"),
    "weights are a pointer": (put("model.safetensors", POINTER), "model.safetensors is a pointer"),
    "weights cut short": (put("model.safetensors", WHOLE[:-1]), "is cut short"),
    "weights too long": (put("model.safetensors", WHOLE + b"x"), "is cut short"),
    "weights with half a header": (put("model.safetensors", WHOLE[:20]), "is cut short"),
    "empty weights": (put("model.safetensors", b""), "is broken"),
    "weights of rubbish": (
        put("model.safetensors", struct.pack("<Q", 4) + b"{{{{" + bytes(20)),
        "is broken",
    ),
    "weights with a deep header": (header(b"[" * 200_000), "model.safetensors is broken"),
    "weights with an endless header": (endless, "model.safetensors is broken"),
    "a shape of infinity": (shape("1e999"), "model.safetensors is broken"),
    "a shape of no number": (shape("NaN"), "model.safetensors is broken"),
    "a shape below zero": (shape("-32"), "model.safetensors is broken"),
    "a shape with a fraction": (shape("3.5"), "model.safetensors is broken"),
    "a shape larger than its file": (shape("4294967296, 4294967296"), "is broken"),
    "a pipe for a config": (pipe("config.json"), "config.json is a pipe"),
    "a pipe for weights": (pipe("model.safetensors"), "model.safetensors is a pipe"),
    "a pipe for a mark": (pipe(".ov-download.json"), ".ov-download.json is a pipe"),
    "a pipe that nobody needs": (pipe("extra.json"), "extra.json is a pipe"),
    "a pipe for a tokenizer": (pipe("tokenizer.model"), "tokenizer.model is a pipe"),
    "a link to nothing": (nothing("extra.json"), "extra.json is a link to nothing"),
    "a folder for a config": (
        put("tokenizer_config.json/x", b""),
        "tokenizer_config.json is a folder",
    ),
    "missing shard": (shards("model.safetensors", "b.safetensors"), "1 of its 2 files of weights"),
    "no tokenizer": (take("tokenizer.json"), "it has no tokenizer"),
    "tokenizer is a pointer": (put("tokenizer.json", POINTER), "tokenizer.json is a pointer"),
    "unfinished": (
        put(".cache/huggingface/download/x.incomplete", b""),
        "its download is unfinished",
    ),
    "unfinished, ours": (
        put(".ov-download.json", '{"repo": "a/b", "whole": false}'),
        "call ov-convert-model a/b",
    ),
    "quantized": (
        put("config.json", json.dumps({**LLAMA, "quantization_config": {"quant_method": "awq"}})),
        "quantized already (awq)",
    ),
    "unknown": (put("config.json", '{"architectures": ["T5Thing"]}'), "tells no task: say --task"),
    "architectures of no kind": (put("config.json", '{"architectures": 5}'), "no model's do"),
    "an index of no kind": (
        put("model.safetensors.index.json", '{"weight_map": [1]}'),
        "no model's do",
    ),
    "no architecture": (put("config.json", "{}"), "tells no task: say --task"),
    "vision without its processor": (
        put("config.json", '{"architectures": ["X"], "vision_config": {}}'),
        "no preprocessor_config.json",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_not_whole_is_told_with_the_remedy(tmp_path: Path, what: str) -> None:
    change, reason = UNFIT[what]
    folder = model(tmp_path / "m")
    change(folder)
    code, said = look(folder)
    assert code == 3
    assert reason in said


OTHERS = {
    "openvino_model.xml": "--import",
    "model.gguf": "--import",
    "adapter_config.json": "adapter",
    "model_index.json": "makes images",
    "snapshots": "cache of the hub",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_something_else_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "openvino_model.bin").write_bytes(b"")
    assert look(tmp_path) == (3, look(tmp_path)[1])
    assert OTHERS[name] in look(tmp_path)[1]


def test_a_download_that_was_finished_later_is_whole(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    put(".cache/huggingface/download/x.incomplete", b"")(folder)
    os.utime(folder / ".cache/huggingface/download/x.incomplete", (1_000_000, 1_000_000))
    assert look(folder)[0] == 3
    put(".cache/huggingface/download/model.safetensors.metadata", b"")(folder)
    assert look(folder)[0] == 0


def test_shards_count_together(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "b.safetensors").write_bytes(WHOLE)
    shards("model.safetensors", "b.safetensors")(folder)
    assert look(folder)[1].split("\t")[1:3] == [str(2 * len(WHOLE)), "64"]


def test_old_weights_are_counted_by_their_type(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", {**LLAMA, "torch_dtype": "float32"})
    take("model.safetensors")(folder)
    put("pytorch_model.bin", bytes(400))(folder)
    assert look(folder)[1].split("\t")[1:3] == ["400", "100"]


def test_weights_of_other_programs_do_not_count(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    put("consolidated.safetensors", WHOLE)(folder)
    put("training_args.bin", bytes(1000))(folder)
    assert look(folder)[1].split("\t")[1] == str(len(WHOLE))


def test_a_folder_that_is_called_like_a_file_harms_nobody(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "extra.json").mkdir()
    assert look(folder)[0] == 0
