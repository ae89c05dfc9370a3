"""A model's first words, on a device of one's choice: whether a conversion speaks before it counts,
and whether a GPU says what the CPU does. Serves nobody.

`python -m ov_server.sample MODEL [--task TASK] [--device DEVICE] [--tokens N] [--json]` prints what
it says; or why it says nothing, and exits with 1.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai

from .conversion import openvino_folder
from .core import Sampling
from .errors import LoadFailed, said
from .modelfiles import inspect
from .pipelines import Paged, Renderer, load_tokenizer
from .settings import read_settings
from .stepping import Plan

_QUESTION = "What is the capital of France?"
_BEGINNING = "The capital of France is"
"""For models without a chat template."""
_REPEATED = 4
"""Tokens; so many times the same one, and nothing else, is no text."""


class Silent(Exception):
    """The model loads, and says nothing that could be an answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model said: text, or figures as text, and what it took without the load."""

    text: str
    tokens: int
    seconds: float


def sample(path: Path, task: str, device: str, tokens: int) -> Sample:
    """Loads a model and lets it work once, greedily. Raises Silent, or what the runtime does."""
    said = _SAMPLERS.get(task, _chat)(path, device, tokens)
    if not said.text.strip():
        raise Silent("it loads, but its answer is empty")
    return said


def _chat(path: Path, device: str, tokens: int) -> Sample:
    tokenizer = load_tokenizer(path)
    templated = bool(tokenizer.chat_template)
    prompt = _BEGINNING
    if templated:
        prompt = Renderer(tokenizer)([{"role": "user", "content": _QUESTION}], True, {})
    encoded = tokenizer.encode(prompt, add_special_tokens=not templated).input_ids.data
    pipeline = Paged(path, device, {"ENABLE_MMAP": False}, kv_cache_gb=1, chunk=256)
    pipeline.warm_up()
    started = time.monotonic()
    plan = Plan(Sampling(temperature=0.0), tokens)
    pipeline.add(0, np.asarray(encoded).reshape(-1).tolist(), plan, tokens)
    ids: list[int] = []
    while pipeline.busy():
        for output in pipeline.step():
            ids += output.tokens
    seconds = time.monotonic() - started
    text = tokenizer.decode(ids)
    if len(ids) >= _REPEATED and len(set(ids)) == 1:
        raise Silent(f"it loads, but says one token again and again: {json.dumps(text)}")
    return Sample(text, len(ids), seconds)


def _vision(path: Path, device: str, tokens: int) -> Sample:
    pipeline = genai.VLMPipeline(path, device)
    image = ov.Tensor(np.full((1, 64, 64, 3), 127, np.uint8))
    started = time.monotonic()
    done = pipeline.generate(
        "What is in the image?", images=[image], max_new_tokens=tokens, do_sample=False
    )
    return Sample(done.texts[0], tokens, time.monotonic() - started)


def _transcription(path: Path, device: str, tokens: int) -> Sample:
    """Of a second of a tone: any text will do, none as well."""
    pipeline = genai.WhisperPipeline(path, device)
    tone = (0.3 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)).astype(np.float32)
    started = time.monotonic()
    done = pipeline.generate(tone.tolist(), max_new_tokens=tokens)
    return Sample(done.texts[0].strip() or "(nothing: a tone)", 0, time.monotonic() - started)


def _embedding(path: Path, device: str, tokens: int) -> Sample:
    pipeline = genai.TextEmbeddingPipeline(path, device)
    started = time.monotonic()
    vector = [float(x) for x in pipeline.embed_query(_QUESTION)]
    seconds = time.monotonic() - started
    if not all(map(math.isfinite, vector)) or not any(vector):
        raise Silent("it loads, but its embedding is no vector of finite numbers")
    return Sample(f"{len(vector)} numbers", 0, seconds)


def _rerank(path: Path, device: str, tokens: int) -> Sample:
    pipeline = genai.TextRerankPipeline(path, device)
    started = time.monotonic()
    scores = pipeline.rerank(_QUESTION, ["Paris is the capital of France.", "I like cheese."])
    seconds = time.monotonic() - started
    if not scores or not all(math.isfinite(score) for _, score in scores):
        raise Silent("it loads, but its scores are no finite numbers")
    return Sample(", ".join(f"{score:.3f}" for _, score in scores), 0, seconds)


def _speech(path: Path, device: str, tokens: int) -> Sample:
    pipeline = genai.Text2SpeechPipeline(path, device)
    started = time.monotonic()
    speech = np.asarray(pipeline.generate(_QUESTION).speeches[0].data)
    return Sample(f"{speech.size} samples", 0, time.monotonic() - started)


_SAMPLERS: Mapping[str, Callable[[Path, str, int], Sample]] = {
    "image-text-to-text": _vision,
    "automatic-speech-recognition-with-past": _transcription,
    "automatic-speech-recognition": _transcription,
    "feature-extraction": _embedding,
    "text-classification": _rerank,
    "text-to-audio": _speech,
}
"""By task; all others chat."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Lets a model say its first words.")
    parser.add_argument("model", type=Path, help="an OpenVINO folder or a .gguf file")
    parser.add_argument("--task", default="text-generation-with-past")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="for programs: text, tokens, seconds")
    asked = parser.parse_args()
    try:
        folder = openvino_folder(inspect(asked.model), read_settings().cache_dir)
        found = sample(folder, asked.task, asked.device, asked.tokens)
    except (Silent, LoadFailed) as error:
        sys.exit(str(error))
    except Exception as error:
        sys.exit(f"it does not run on {asked.device}: {said(error)}")
    shown = json.dumps(asdict(found)) if asked.json else f"It says: {json.dumps(found.text)}"
    sys.stdout.write(f"{shown}\n")


if __name__ == "__main__":
    main()
