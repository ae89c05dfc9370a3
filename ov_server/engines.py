"""A loaded model: its tokenizer, its pipeline's thread, its limits. Imports openvino_genai, so
it is itself imported when it is needed, not with the app.
"""

import asyncio
import logging
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
import openvino_tokenizers

from . import cache
from .batch import Batch
from .core import (
    BUILT_IN,
    ChatRequest,
    Done,
    EngineStats,
    Event,
    Finish,
    Role,
    Timings,
    Usage,
)
from .detokenizer import Detokenizer, Window, partial_tokens
from .entries import Entry
from .errors import BadRequest, ContextTooLong, LoadFailed, said
from .jobs import Call, Job
from .memory import give_memory_back
from .modelfiles import ModelFiles, context_length, generation_defaults
from .pipelines import Serial, generation_config, load_tokenizer
from .prompt import Turn, open_ended, template_messages
from .remote import RemotePipeline, Start
from .settings import Settings
from .stepping import Pipeline, PipelineLost, Plan

log = logging.getLogger(__name__)

_CONVERSION = 2
"""Counts the ways in which GGUF files have been converted; what another way made is left behind."""
_NEVER_CUT = 2**30
"""Tokens above which a tokenizer may cut: it would drop them without a word."""


def load_engine(entry: Entry, files: ModelFiles, settings: Settings) -> "TextEngine":
    """Loads on the device asked for, else on CPU with a warning. Blocks for seconds.

    Raises LoadFailed with the runtime's reason.
    """
    device, warning = choose_device(entry.device or settings.device)
    try:
        path = openvino_folder(files, settings.cache_dir)
        cache.prune(settings.cache_dir, settings.cache_gb, keep=path)
        try:
            return TextEngine(entry, files, path, settings, device, warning)
        except Exception as error:
            if device == "CPU":
                raise
            reason = f"it does not load on {device} ({said(error)}), so it runs on CPU"
            return TextEngine(entry, files, path, settings, "CPU", reason)
    except LoadFailed:
        raise
    except Exception as error:
        give_memory_back()
        raise LoadFailed(
            f"The model '{entry.name}' does not load: {said(error)}. "
            "Convert it again; the server's log has the whole error."
        ) from error


def choose_device(asked: str) -> tuple[str, str | None]:
    """The device to load on, and why it is not the one asked for."""
    devices = ov.Core().available_devices
    kind = asked.split(":")[0].split(".")[0]
    if kind in ("AUTO", "MULTI", "HETERO") or any(d.split(".")[0] == kind for d in devices):
        return asked, None
    return "CPU", (
        f"OpenVINO finds no device {asked} (it finds {', '.join(devices)}), so models run on CPU; "
        "install the device's driver, or set OV_DEVICE=CPU"
    )


def device_name(device: str) -> str:
    """The maker's name of a device. Loads its plugin, as the first model would."""
    try:
        return str(ov.Core().get_property(device.split(":")[0], "FULL_DEVICE_NAME"))
    except RuntimeError:
        return device


def openvino_folder(files: ModelFiles, cache_dir: Path) -> Path:
    """The model as an OpenVINO folder; a GGUF file is converted once and kept in the cache."""
    if not files.is_gguf:
        return files.path
    made = cache_dir / "gguf" / f"{files.stamp}-{_CONVERSION}"
    return cache.folder(made, lambda folder: _convert_gguf(files, folder))


def _use_tensors_once() -> None:
    """OpenVINO's bindings build their table of numpy types at the first use of a tensor; two
    threads at once, one with the table's lock and one with Python's, wait for each other for ever.
    Loads are one at a time, and come before any request."""
    _ = ov.Tensor(np.zeros(1, np.int64)).data


def _convert_gguf(files: ModelFiles, folder: Path) -> None:
    """In a process of its own: a broken file makes the runtime crash, and memory comes back."""
    started = time.monotonic()
    link = folder / "model.gguf"  # the runtime writes the OpenVINO model beside what it reads
    link.symlink_to(files.path.resolve())
    command = [sys.executable, "-m", __name__, str(link)]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    link.unlink()
    if run.returncode:
        why = run.stderr.strip().splitlines()[-1:] if run.returncode > 0 else []
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


class TextEngine:
    """A text model. Its thread is the batch's; its methods are the event loop's."""

    def __init__(
        self,
        entry: Entry,
        files: ModelFiles,
        path: Path,
        settings: Settings,
        device: str,
        warning: str | None,
    ):
        self.device = device
        self.warning = warning
        self._path = path
        self._settings = settings
        self._kv_cache_gb = entry.kv_cache_gb or settings.kv_cache_gb
        self._capacity = 0
        self._tells_logprobs = True
        self._defaults = generation_defaults(files).over(BUILT_IN)
        self._tokenizer = load_tokenizer(path)
        _use_tensors_once()
        self._batch = Batch(
            self._make_pipeline,
            Detokenizer(self._tokenizer.decode, partial_tokens(self._tokenizer.get_vocab())),
            name=entry.name,
            max_running=settings.max_running,
            prefill_slice=settings.prefill_slice,
        )
        limits = (entry.context_length, context_length(files), self._capacity)
        self.context_length = min(limit for limit in limits if limit)

    def _make_pipeline(self) -> Pipeline:
        """A pipeline, warmed up; LLMPipeline where the device has no paged attention."""
        # mapped weights would take their process down when somebody overwrites the file
        properties: dict[str, Any] = {"ENABLE_MMAP": False}
        if self.device != "CPU":  # on CPU loading from this cache takes longer than compiling
            properties["CACHE_DIR"] = str(self._settings.cache_dir / "kernels")
        try:
            return self._make_paged(properties)
        except PipelineLost:
            raise
        except Exception as error:
            reason = said(error)
            try:
                serial = Serial(self._path, self._tokenizer, self.device, properties)
            except Exception:
                raise error from None
            self._tells_logprobs = False
            self.warning = f"one request at a time, since it has no paged attention: {reason}"
            return serial

    def _make_paged(self, properties: dict[str, Any]) -> Pipeline:
        """In a process of its own: see worker.py."""
        start = Start(
            self._path, self.device, properties, self._kv_cache_gb, self._settings.prefill_chunk
        )
        try:
            pipeline = RemotePipeline(start)
        except PipelineLost as lost:  # perhaps somebody ended it: the next one tells
            log.warning("%s: another one is started", lost)
            pipeline = RemotePipeline(start)
        self._capacity = pipeline.capacity
        return pipeline

    @property
    def failed(self) -> bool:
        return self._batch.failed

    def stats(self) -> EngineStats:
        return self._batch.stats()

    def close(self) -> None:
        self._batch.close()
        del self._tokenizer
        give_memory_back()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        arrived = time.monotonic()
        jobs: list[Job] = []
        try:
            with self._batch.coming():
                prompt = await asyncio.to_thread(self._prompt, request)
                plan = self._plan(request, len(prompt))
                call = Call(asyncio.get_running_loop())
                jobs += self._jobs(call, prompt, plan, request, arrived)
                self._batch.submit(jobs)
            yield Role(len(prompt))
            open_answers = len(jobs)
            async for event in call.items():
                yield event
                open_answers -= isinstance(event, Finish)
                if not open_answers:
                    break
            yield _done(prompt, jobs)
        finally:
            self._batch.cancel(job for job in jobs if not job.ended)

    def _prompt(self, request: ChatRequest) -> list[int]:
        """The prompt's token ids. The template writes the special tokens, so none are added."""
        rendered = self._render(request)
        encoded = self._tokenizer.encode(rendered, add_special_tokens=False, max_length=_NEVER_CUT)
        ids = encoded.input_ids.data
        return np.asarray(ids).reshape(-1).tolist()

    def _render(self, request: ChatRequest) -> str:
        options = dict(request.template_options)

        def render(messages: list[Turn]) -> str:
            return self._tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=not request.continue_final,
                extra_context=options,
            )

        messages = template_messages(request.messages)
        try:
            return open_ended(messages, render) if request.continue_final else render(messages)
        except (RuntimeError, ValueError) as error:
            raise BadRequest(
                f"The model's chat template does not accept these messages: {said(error)}.",
                param="messages",
            ) from None

    def _plan(self, request: ChatRequest, prompt_tokens: int) -> Plan:
        """Decides every parameter, within the model's limits."""
        if request.logprobs and not self._tells_logprobs:
            raise BadRequest(
                f"On {self.device} the model tells no logprobs; leave it out.", param="logprobs"
            )
        left = self.context_length - prompt_tokens
        if left <= 0:
            raise ContextTooLong(self.context_length, prompt_tokens)
        sampling = request.sampling.over(self._defaults)
        tokens = min(sampling.max_tokens or left, left)
        seed = random.getrandbits(32) if sampling.seed is None else sampling.seed % 2**32
        plan = Plan(sampling, tokens, request.logprobs, request.json_schema, seed)
        try:
            generation_config(plan, tokens).validate()
        except RuntimeError as error:
            raise BadRequest(f"The parameters don't fit together: {said(error)}.") from None
        return plan

    def _jobs(
        self, call: Call, prompt: list[int], plan: Plan, request: ChatRequest, arrived: float
    ) -> list[Job]:
        jobs: list[Job] = []
        context = prompt[-1:] if request.continue_final else []
        shown = self._tokenizer.decode([context])[0] if context else ""
        for index in range(request.choices):
            job = Job(
                call,
                prompt,
                plan.another(index),
                index=index,
                stop=request.stop,
                window=Window(context, shown),
                leader=jobs[0] if jobs else None,
                arrived_at=arrived,
            )
            jobs.append(job)
        return jobs


def _done(prompt: list[int], jobs: list[Job]) -> Done:
    predicted = sum(len(job.generated) for job in jobs)
    first = min(job.first_token_at or job.ended_at for job in jobs)
    return Done(
        Usage(len(prompt), predicted),
        Timings(
            prompt_tokens=len(prompt),
            prompt_ms=(first - min(job.joined_at for job in jobs)) * 1e3,
            predicted_tokens=predicted,
            predicted_ms=(max(job.ended_at for job in jobs) - first) * 1e3,
        ),
    )


if __name__ == "__main__":
    try:
        convert_gguf(Path(sys.argv[1]))
    except Exception as error:
        sys.exit(said(error))
