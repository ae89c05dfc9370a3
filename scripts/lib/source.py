"""What a downloaded model folder is: whole or not, for which task, how large. Standard library.

`source.py FOLDER [TASK]` prints the task, the bytes of its weights, their number and a note, with
tabs between; `source.py --task FOLDER` only the task. Where the folder can't be converted, it
prints the reason and exits with 3.
"""

import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ending

UNFIT = ending.REFUSED
MARK = ".ov-download.json"
"""Written into a folder by the converter's own download: {"repo": ..., "whole": true or false}."""

_TASKS = {
    "ForCausalLM": "text-generation-with-past",
    "LMHeadModel": "text-generation-with-past",
    "ForSequenceClassification": "text-classification",
    "ForSpeechSeq2Seq": "automatic-speech-recognition-with-past",
    "ForTextToSpeech": "text-to-audio",
}
"""By the end of the name in config.json's `architectures`."""
_EMBEDS = ("modules.json", "1_Pooling", "config_sentence_transformers.json")
"""Any of these makes a model one of sentence-transformers', whatever its architecture."""
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm_char.model",
    "vocab.txt",
    "vocab.json",
    "tekken.json",
    "tiktoken.model",
    "qwen.tiktoken",
)
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PROCESSED = ("image-text-to-text", "automatic-speech-recognition-with-past")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_SETTINGS = ("config.json", "tokenizer_config.json", "generation_config.json", MARK)
_NEEDED = {*_INDEXES, *_TOKENIZERS, *_PROCESSORS, *_TEMPLATES, *_SETTINGS}
"""What is read where it is there, by this program or by an export."""
_MOST_JSON = 100_000_000
"""Bytes; safetensors' own limit of a header."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_BYTES = {"float32": 4, "float64": 8}
"""Of a weight, by config.json's torch_dtype; all others have 2."""


_ODD = (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What JSON raises that is not of the form it should have."""


class Unfit(Exception):
    """The folder can't be converted; the message says why and what to do."""


def look(folder: Path, asked: str) -> tuple[str, int, int, str]:
    """The task (`asked`, if that says one), bytes and number of weights, and a note or ''."""
    _only_files(folder)
    _whole_download(folder)
    config = _config(folder)
    files = weights(folder)
    for file in [*files, *folder.glob("*.json"), *folder.glob("*.model")]:
        if file.is_file():
            _no_pointer(file)
    if not files:
        raise Unfit("there are no weights in it (*.safetensors, *.bin): download it again")
    numbers = sum(_numbers(file, config) for file in files)
    _not_quantized(config)
    task = asked or task_of(folder, config)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise Unfit("it has no tokenizer (tokenizer.json, tokenizer.model): download it again")
    if task in _PROCESSED and not any((folder / name).is_file() for name in _PROCESSORS):
        raise Unfit("it has no preprocessor_config.json: download it again")
    note = ""
    if task.startswith("text-generation") and not _chats(folder):
        note = "it has no chat template, so it can't chat: look for its -Instruct or -it version"
    return task, sum(file.stat().st_size for file in files), numbers, note


def weights(folder: Path) -> list[Path]:
    """The files of weights that an export reads. Raises Unfit where an index names missing ones."""
    for index, pattern in zip(_INDEXES, ("*.safetensors", "*.bin"), strict=True):
        if (folder / index).is_file():
            names = sorted(set(_json(folder / index).get("weight_map", {}).values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise Unfit(
                    f"{len(missing)} of its {len(names)} files of weights are missing, "
                    f"{missing[0]} among them: download it again, that goes on where it stopped"
                )
            return [folder / name for name in names]
        found = [f for f in sorted(folder.glob(pattern)) if _holds_model(f)]
        if found:
            return found
    return []


def _holds_model(file: Path) -> bool:
    beside = ("consolidated", "adapter", "training_args", "optimizer", "scheduler", "openvino")
    return file.is_file() and not file.name.startswith(beside)


def task_of(folder: Path, config: dict[str, Any]) -> str:
    """Hugging Face's name of what the model does. Raises Unfit where config.json does not tell."""
    kinds = [kind for kind in config.get("architectures") or [] if isinstance(kind, str)]
    if any((folder / name).exists() for name in _EMBEDS):
        return "feature-extraction"
    if config.get("model_type") == "whisper":
        return "automatic-speech-recognition-with-past"
    if any(key in config for key in ("vision_config", "img_processor", "vision_tower")):
        return "image-text-to-text"
    for kind in kinds:
        for end, task in _TASKS.items():
            if kind.endswith(end):
                return task
        if kind.endswith("Model"):
            return "feature-extraction"
    raise Unfit(f"config.json ({', '.join(kinds) or 'no architectures'}) tells no task: say --task")


def task_of_export(folder: Path) -> str:
    """The same of an OpenVINO folder, which may have no config.json."""
    _only_files(folder)
    config = folder / "config.json"
    return task_of(folder, _json(config)) if config.is_file() else "text-generation-with-past"


def _only_files(folder: Path) -> None:
    """Raises Unfit where an export would wait for ever, or fail late: opening a FIFO waits for
    somebody who writes. Folders of other names harm nobody."""
    for file in sorted(folder.iterdir()):
        read = file.name in _NEEDED or file.suffix in (".json", ".model", ".safetensors", ".bin")
        if not read or file.is_file() or (file.is_dir() and file.name not in _NEEDED):
            continue
        if file.is_symlink() and not file.exists():
            raise Unfit(f"{file.name} is a link to nothing: download it again")
        kind = "a folder" if file.is_dir() else "a pipe or a device"
        raise Unfit(f"{file.name} is {kind} instead of a file: move it away, or download it again")


def _whole_download(folder: Path) -> None:
    mark = _json(folder / MARK) if (folder / MARK).is_file() else {}
    if mark.get("whole") is False or (not mark and _broke_off(folder / ".cache")):
        again = f"ov-convert-model {mark['repo']}" if "repo" in mark else "hf download again"
        raise Unfit(f"its download is unfinished: call {again}, it goes on where it stopped")


def _broke_off(cache: Path) -> bool:
    """Whether the last thing that `hf download --local-dir` left is a part of a file."""
    parts = [file.stat().st_mtime for file in cache.rglob("*.incomplete")]
    files = [file.stat().st_mtime for file in cache.rglob("*.metadata")]
    return bool(parts) and max(parts) >= max(files, default=0)


def _config(folder: Path) -> dict[str, Any]:
    """config.json, or the reason why there is none."""
    others = {
        "openvino_model.xml": "it is an OpenVINO model already: ov-convert-model --import",
        "openvino_language_model.xml": "it is an OpenVINO model already: ov-convert-model --import",
        "*.gguf": "it holds a GGUF file, which is served as it is: ov-convert-model --import FILE",
        "adapter_config.json": "it is an adapter without its model: merge them first",
        "model_index.json": "it makes images (diffusers), which the server does not",
        "snapshots": "it is a cache of the hub: name the folder below snapshots",
    }
    config = folder / "config.json"
    if not config.is_file() or not weights(folder):
        for pattern, reason in others.items():
            if next(folder.glob(pattern), None):
                raise Unfit(reason)
    if not config.is_file():
        raise Unfit("there is no config.json in it: it is no model, or not all of one")
    return _json(config)


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_JSON:
            raise ValueError
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError, MemoryError):
        _no_pointer(file)
        raise Unfit(f"{file.name} is broken: download it again") from None
    if not isinstance(value, dict):
        raise Unfit(f"{file.name} is no JSON object: download it again")
    return value


def _no_pointer(file: Path) -> None:
    with file.open("rb") as content:
        if content.read(len(_POINTER)) == _POINTER:
            raise Unfit(
                f"{file.name} is a pointer of git-lfs instead of the file: call git lfs pull in "
                "it, or download it with hf"
            )


def _numbers(file: Path, config: dict[str, Any]) -> int:
    """How many weights a file holds; those of a *.bin file are estimated."""
    if file.suffix == ".safetensors":
        return sum(math.prod(tensor["shape"]) for tensor in _tensors(file))
    text = config.get("text_config")
    said = config.get("torch_dtype") or config.get("dtype")
    said = said or (text.get("torch_dtype") if isinstance(text, dict) else None)
    return file.stat().st_size // _BYTES.get(str(said), 2)


def _tensors(file: Path) -> Iterator[dict[str, Any]]:
    """The header: 8 bytes of its length, then JSON. github.com/huggingface/safetensors#format"""
    size = file.stat().st_size
    with file.open("rb") as content:
        try:
            (length,) = struct.unpack("<Q", content.read(8))
            if _MOST_JSON < length < size:
                raise ValueError
            header = json.loads(content.read(length)) if length < size else {}
            tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
            end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
            if not all(_fits(tensor["shape"], size) for tensor in tensors):
                raise ValueError
        except (*_ODD, RecursionError, MemoryError):
            raise Unfit(f"{file.name} is broken: download it again") from None
    if length >= size or 8 + length + end != size:
        raise Unfit(f"{file.name} is cut short: download it again")
    yield from tensors


def _fits(shape: list[Any], size: int) -> bool:
    """Whether it is a shape, of no more numbers than a file of so many bytes has bits."""
    whole = len(shape) <= 64 and all(type(n) is int and 0 <= n <= 8 * size for n in shape)
    return whole and math.prod(shape) <= 8 * size


def _not_quantized(config: dict[str, Any]) -> None:
    found = config.get("quantization_config") or config.get("compression_config")
    if isinstance(found, dict):
        how = found.get("quant_method", "in some way")
        raise Unfit(f"its weights are quantized already ({how}): download the original model")


def _chats(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _TEMPLATES):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(_json(config).get("chat_template"))


def main(folder: str, task: str = "") -> None:
    try:
        if folder == "--task":
            facts: tuple[object, ...] = (task_of_export(Path(task)),)
        else:
            facts = look(Path(folder), task)
    except Unfit as unfit:
        ending.say(f"{unfit}\n")
        sys.exit(UNFIT)
    except OSError as error:
        ending.say(f"it can't be read: {error.strerror}\n")
        sys.exit(UNFIT)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        ending.say(f"its JSON files say what no model's do ({error}): download it again\n")
        sys.exit(UNFIT)
    ending.say("\t".join(map(str, facts)) + "\n")


if __name__ == "__main__":
    ending.to_the_end(main)
