"""A model's files as an OpenVINO folder: GGUF files are converted once. Imports openvino_genai."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import openvino_tokenizers

from . import cache
from .cancellation import Cancellation
from .errors import LoadFailed, said
from .modelfiles import ModelFiles, gguf_metadata

log = logging.getLogger(__name__)

_LIMIT_S = 1200
"""Seconds that the largest GGUF file may take."""
_CONVERSION = 2
"""Counts the ways in which GGUF files have been converted; what another way made is left behind."""


def openvino_folder(
    files: ModelFiles, cache_dir: Path, cancellation: Cancellation | None = None
) -> Path:
    """The model as an OpenVINO folder; a GGUF file is converted once and kept in the cache.

    Raises LoadFailed, also when it is called off.
    """
    if not files.is_gguf:
        return files.path
    wanted = cancellation or Cancellation()
    kept = kept_at(files, cache_dir)
    return cache.folder(kept, lambda folder: _convert_gguf(files, folder, wanted), files.size)


def kept_at(files: ModelFiles, cache_dir: Path) -> Path:
    """Where a GGUF file's conversion is, once it has been made."""
    return cache_dir / "gguf" / f"{files.stamp}-{_CONVERSION}"


def _convert_gguf(files: ModelFiles, folder: Path, cancellation: Cancellation) -> None:
    """In a process of its own: a broken file makes the runtime crash, and memory comes back."""
    gguf_metadata(files.path)  # the runtime makes a model of one that is cut short, or crashes
    started = time.monotonic()
    link = folder / "model.gguf"  # the runtime writes the OpenVINO model beside what it reads
    link.symlink_to(files.path.resolve())
    command = [sys.executable, "-m", __name__, str(link)]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is the server's
    ) as run:
        try:
            with cancellation.ending(run.kill):
                _, words = run.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            run.kill()
            raise LoadFailed(
                f"The GGUF file '{files.path.name}' is still not read after {_LIMIT_S} s. "
                "Look at the machine's memory and disk, and send the request again."
            ) from None
    link.unlink()
    if run.returncode:
        why = words.strip().splitlines()[-1:] if run.returncode > 0 else []
        raise LoadFailed(
            f"The GGUF file '{files.path.name}' can't be read: "
            f"{why[0] if why else 'the runtime crashes on it, so it is probably cut short'}. "
            "Download it again; OpenVINO reads the llama and qwen families."
        )
    seconds = time.monotonic() - started
    log.info("made '%s' into an OpenVINO model in %.1f s", files.path.name, seconds)


def convert_gguf(path: Path) -> None:
    """Writes an OpenVINO model and tokenizer beside a GGUF file."""
    save = {"enable_save_ov_model": True}
    genai.ContinuousBatchingPipeline(path, genai.SchedulerConfig(), "CPU", save, save)
    _uncut(path.parent / "openvino_tokenizer.xml")


def _uncut(tokenizer: Path) -> None:
    """The runtime gives a GGUF file's tokenizer a limit of 8192 tokens, whatever the model's, and
    drops what comes before: takes the limit out."""
    core = ov.Core()
    core.add_extension(openvino_tokenizers._ext_path)
    model = core.read_model(tokenizer)
    for node in model.get_ops():
        if node.get_type_name() == "Minimum":
            limit = ov.opset13.constant(2**31 - 1, dtype=np.int32)
            node.input(1).replace_source_output(limit.output(0))
    part = tokenizer.with_name("uncut.xml")
    ov.save_model(model, part, compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        part.with_suffix(suffix).replace(tokenizer.with_suffix(suffix))


if __name__ == "__main__":
    try:
        convert_gguf(Path(sys.argv[1]))
    except Exception as error:
        sys.exit(said(error))
