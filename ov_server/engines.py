"""A loaded model: its tokenizer, its pipeline's thread, its limits. Imports openvino_genai, so
it is itself imported when it is needed, not with the app.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov

from . import cache
from .answergrammar import Demand, Made
from .batch import Batch
from .cancellation import Cancellation
from .conversion import openvino_folder
from .core import (
    BUILT_IN,
    ChatRequest,
    Done,
    EngineStats,
    Event,
    Finish,
    Message,
    Role,
    Said,
    Timings,
    Usage,
)
from .detokenizer import Detokenizer, mute_bytes, partial_tokens, visible
from .entries import CHAT_TASKS, Entry
from .errors import BadRequest, ContextTooLong, EngineFailed, LoadFailed, ServerError, said
from .jobs import Call, Job, Ticket
from .machine import Machine, driver_stamp
from .maker import Maker
from .markup import START, Reading
from .memory import give_memory_back, process_mb
from .modelfiles import ModelFiles, context_length, generation_defaults
from .pipelines import Renderer, Serial, generation_config, load_tokenizer
from .remote import RemotePipeline
from .selftest import BEGINNINGS, QUESTION, Questions, SelfTest, Unfit
from .settings import Settings
from .stepping import Pipeline, Plan
from .structure import Schema, Structure
from .templates import ChatTemplate, Prompt
from .trials import Trials

log = logging.getLogger(__name__)

_NEVER_CUT = 2**30
"""Tokens above which a tokenizer may cut: it would drop them without a word."""
_PIECE = 2**15
"""Characters of a long prompt that are counted in one call of the tokenizer."""


def load_engine(
    entry: Entry,
    files: ModelFiles,
    settings: Settings,
    cancellation: Cancellation | None = None,
    machine: Machine | None = None,
) -> "TextEngine":
    """Loads on the device asked for, else on CPU with a warning. Blocks for seconds.

    Raises LoadFailed with the runtime's reason, or when it is called off.
    """
    wanted = cancellation or Cancellation()
    machine = machine or this_machine()
    if entry.task not in CHAT_TASKS:
        raise LoadFailed(
            f"The model '{entry.name}' is for {entry.task}, and this version of the server runs "
            "models that chat. If it is one, correct its task in the registry."
        )
    try:
        path = openvino_folder(files, settings.cache_dir, wanted)
        cache.prune(settings.cache_dir, settings.cache_gb, keep=path)
        device, warning = machine.choose(entry.device or settings.device)
        if device != "CPU":
            made = _beside_the_cpu(entry, files, path, settings, device, wanted, machine)
            if isinstance(made, TextEngine):
                return made
            warning = made
            give_memory_back()
        return TextEngine(entry, files, path, settings, "CPU", warning, wanted, machine)
    except LoadFailed:
        raise
    except Exception as error:
        give_memory_back()
        raise LoadFailed(
            f"The model '{entry.name}' does not load: {said(error)}. "
            "Convert it again; the server's log has the whole error."
        ) from error


def _beside_the_cpu(
    entry: Entry,
    files: ModelFiles,
    path: Path,
    settings: Settings,
    device: str,
    cancellation: Cancellation,
    machine: Machine,
) -> "TextEngine | str":
    """The engine on another device; else why it is not to run there."""
    test = SelfTest(files.stamp, device, machine, settings.cache_dir, cancellation)
    verdict = test.verdict()
    if verdict is not None and verdict.warning is not None:
        return verdict.warning
    untried = test if verdict is None else None
    try:
        return TextEngine(
            entry, files, path, settings, device, None, cancellation, machine, untried
        )
    except Unfit as error:
        return str(error)
    except Exception as error:
        if cancellation.called:
            raise
        return f"it does not load on {device} ({said(error)}), so it runs on CPU"


def this_machine() -> Machine:
    return Machine(
        devices=lambda: ov.Core().available_devices,
        name=device_name,
        version=ov.__version__,
        driver=driver_stamp,
        paged=RemotePipeline,
        serial=Serial,
    )


def devices() -> dict[str, str]:
    """OpenVINO's devices, each with its maker's name."""
    return {device: device_name(device) for device in ov.Core().available_devices}


def device_name(device: str) -> str:
    """The maker's name of a device. Loads its plugin, as the first model would."""
    try:
        return str(ov.Core().get_property(device.split(":")[0], "FULL_DEVICE_NAME"))
    except RuntimeError:
        return device


def _use_tensors_once() -> None:
    """OpenVINO's bindings build their table of numpy types at the first use of a tensor; two
    threads at once, one with the table's lock and one with Python's, wait for each other for ever.
    Loads are one at a time, and come before any request."""
    _ = ov.Tensor(np.zeros(1, np.int64)).data


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
        cancellation: Cancellation,
        machine: Machine,
        test: SelfTest | None = None,
    ):
        """`test`: what the device has to pass first."""
        self._name = entry.name
        self.device = device
        self.warning = warning
        self._test = test
        self._kv_cache_gb = entry.kv_cache_gb or settings.kv_cache_gb
        self._defaults = generation_defaults(files).over(BUILT_IN)
        self._tokenizer = load_tokenizer(path)
        self._maker = Maker(machine, path, self._tokenizer, settings, cancellation)
        _use_tensors_once()
        renderer = Renderer(self._tokenizer)
        self._template = ChatTemplate(
            renderer, renderer.source, entry.tool_format, entry.reasoning_markers
        )
        self._checks: set[asyncio.Task[None]] = set()
        self._misfits = 0
        vocabulary = self._tokenizer.get_vocab()
        tiny = settings.cache_dir / "tiny" / files.stamp
        self._trials = Trials(path, tiny, mute_bytes(vocabulary))
        shown = visible(self._tokenizer.decode, vocabulary, self._template.markers)
        self._detokenizer = Detokenizer(shown, partial_tokens(vocabulary))
        self._batch = Batch(
            self._make_pipeline,
            self._detokenizer,
            name=entry.name,
            max_running=settings.max_running,
            prefill_slice=settings.prefill_slice,
            cancellation=cancellation,
        )
        limits = (entry.context_length, context_length(files), self._site.capacity)
        self.context_length = min(limit for limit in limits if limit)

    def _make_pipeline(self) -> Pipeline:
        """The first one is tried, where it has to be."""
        test, self._test = self._test, None
        if test is None:
            pipeline, self._site = self._maker.make(self.device, self._kv_cache_gb)
        else:
            make = self._maker.make
            pipeline, self._site = test.tried(make, self._kv_cache_gb, self._questions())
        why = self._site.warning
        if why is not None and why not in (self.warning or ""):
            self.warning = "; ".join(filter(None, (self.warning, why)))
        return pipeline

    def _questions(self) -> Questions:
        """What a self-test asks of this model."""
        prompts = [self._encoded(text, special=True) for text in BEGINNINGS]
        with suppress(ServerError):
            question = ChatRequest((Message("user", QUESTION),))
            prompts.insert(0, self._encoded(self._template.prompt(question).text))
        return Questions(prompts, lambda tokens: self._tokenizer.decode(tokens))

    @property
    def failed(self) -> bool:
        return self._batch.failed

    @property
    def stuck_s(self) -> float:
        return self._batch.stuck_s

    def memory_mb(self) -> int:
        return process_mb(self._site.pid)

    def stats(self) -> EngineStats:
        return replace(self._batch.stats(), misfits=self._misfits)

    def close(self) -> None:
        self._trials.close()
        self._batch.close()
        del self._tokenizer, self._template, self._detokenizer, self._maker
        give_memory_back()

    async def chat(
        self, request: ChatRequest, halt: Cancellation | None = None
    ) -> AsyncGenerator[Event]:
        arrived = time.monotonic()
        jobs: list[Job] = []
        structure = Structure(request)
        halt = halt or Cancellation()
        try:
            tools = len(request.tools)
            prompt = await asyncio.to_thread(self._template.prompt, request)
            made = await self._made(request, prompt)
            with self._batch.coming():
                tokens = await asyncio.to_thread(self._tokens, prompt.text, tools)
                plan = self._plan(request, len(tokens))
                call = Call(asyncio.get_running_loop())
                jobs += self._jobs(call, tokens, plan, request, prompt, made, arrived)
                self._batch.submit(jobs)
            yield Role(len(tokens))
            with halt.ending(lambda: self._batch.cancel(jobs, halt=True)):
                async for event in self._events(call, jobs):
                    structure.add(event)
                    yield event
            self._check(structure)
            yield _done(tokens, jobs)
        finally:
            self._batch.cancel(job for job in jobs if not job.ended)

    async def _events(self, call: Call, jobs: list[Job]) -> AsyncGenerator[Said | Finish]:
        """What the jobs say until the last one has ended; what is held to a form ends in it."""
        open_answers = len(jobs)
        async for event in call.items():
            if isinstance(event, Finish):
                for more in await self._completion(jobs[event.index], event):
                    yield more
                open_answers -= 1
            yield event
            if not open_answers:
                return

    def _check(self, structure: Structure) -> None:
        """Counts, while nobody waits for it, what does not fit its schema."""

        async def check(schema: Schema, text: str) -> None:
            with suppress(ServerError):  # the model is being unloaded
                valid = await self._trials.fits(schema, text)
                self._misfits += not valid  # in a statement of its own: others count meanwhile

        for schema, text in structure.pairs():
            task = asyncio.create_task(check(schema, text))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    async def _made(self, request: ChatRequest, prompt: Prompt) -> Made | None:
        """The grammar of what the request is held to, tried; None when it is held to nothing."""
        use, barred = request.tool_use, self._barred(request)
        if not use.names and request.answer is None and not barred:
            return None
        made = await self._trials.made(
            Demand(
                form=self._template.can.form.name,
                tools=tuple(tool for tool in request.tools if tool.name in use.names),
                required=use.required,
                # a model that was not trained for calls goes on calling once it has begun
                several=use.several and (self._template.can.shows_tools or not use.required),
                answer=request.answer,
                barred=barred,
                reasoning=None if prompt.thought else self._template.reasoning,
            ),
            request.client,
        )
        for left in made.unenforced:
            log.warning("'%s' is not held to %s", self._name, left)
        return made

    def _barred(self, request: ChatRequest) -> str:
        """What the answer is kept from: the beginning of what opens calls, where the model knows of
        calls and none may be made. It would write one all the same."""
        told = request.tools or any(m.tool_calls or m.role == "tool" for m in request.messages)
        sampling = request.sampling
        if not told or request.tool_use.names or request.answer is not None:
            return ""
        if request.continue_final or sampling.ignore_eos or sampling.min_tokens:
            return ""  # a grammar alone decides when an answer ends
        opening = self._template.can.form.opening
        return opening[: (len(opening) + 1) // 2]

    async def _completion(self, job: Job, finish: Finish) -> list[Said]:
        """The end of arguments or of a structured text that was cut off, so that it is valid."""
        cut = finish.reason == "length" or finish.by is not None or job.reader.stopped
        if not cut or job.hold is None or not job.reader.unfinished:
            return []
        rest = await self._trials.rest(job.hold, job.reader.held_text)
        if rest is None:
            raise EngineFailed(
                "The answer was cut off and can't be completed. Raise max_tokens, or make the "
                "schema simpler."
            )
        return job.reader.complete(rest)

    def _tokens(self, prompt: str, tools: int) -> list[int]:
        """The prompt's token ids. Raises ContextTooLong for one that is far too long: the tokenizer
        holds Python's lock, for a second a megabyte at worst, so it is given pieces until that is
        known."""
        if len(prompt) > 4 * _PIECE:
            counted = 0
            for at in range(0, len(prompt), _PIECE):
                counted += len(self._encoded(prompt[at : at + _PIECE]))
                if counted > self.context_length * 1.25:
                    raise ContextTooLong(self.context_length, counted, tools=tools, counted=False)
        return self._encoded(prompt)

    def _encoded(self, text: str, *, special: bool = False) -> list[int]:
        """The template writes the special tokens, so none are added."""
        encoded = self._tokenizer.encode(text, add_special_tokens=special, max_length=_NEVER_CUT)
        ids = encoded.input_ids.data
        return np.asarray(ids).reshape(-1).tolist()

    def _plan(self, request: ChatRequest, prompt_tokens: int) -> Plan:
        """Decides every parameter, within the model's limits."""
        if request.logprobs and not self._site.paged:
            raise BadRequest(
                f"On {self.device} the model tells no logprobs; leave it out.", param="logprobs"
            )
        left = self.context_length - prompt_tokens
        if left <= 0:
            raise ContextTooLong(self.context_length, prompt_tokens, tools=len(request.tools))
        sampling = request.sampling.over(self._defaults)
        tokens = min(sampling.max_tokens or left, left)
        seed = random.getrandbits(32) if sampling.seed is None else sampling.seed % 2**32
        plan = Plan(sampling, tokens, request.logprobs, seed=seed)
        try:
            generation_config(plan, tokens).validate()
        except RuntimeError as error:
            raise BadRequest(f"The parameters don't fit together: {said(error)}.") from None
        return plan

    def _jobs(
        self,
        call: Call,
        tokens: list[int],
        plan: Plan,
        request: ChatRequest,
        prompt: Prompt,
        made: Made | None,
        arrived: float,
    ) -> list[Job]:
        use = request.tool_use
        reading = Reading(
            stops=request.stop,
            reasoning=self._template.reasoning,
            thinking=prompt.thinking,
            form=self._template.can.form if use.names else None,
            names=use.names,
            kinds={} if made is None else made.kinds,
            held=made is not None and START in made.grammar.needs,
            ends_anywhere=not use.names and request.answer is None,
            by_name=made is not None and made.by_name,
        )
        jobs: list[Job] = []
        for index in range(request.choices):
            job = Job(
                call,
                tokens,
                plan.another(index),
                index=index,
                reading=reading,
                grammar=None if made is None else made.grammar,
                cost=None if made is None else made.cost,
                window=self._detokenizer.window(tokens) if request.continue_final else None,
                leader=jobs[0] if jobs else None,
                ticket=Ticket(request.client, request.priority),
                arrived_at=arrived,
            )
            jobs.append(job)
        return jobs


def _done(prompt: list[int], jobs: list[Job]) -> Done:
    predicted = sum(len(job.generated) for job in jobs)
    first = min(job.first_token_at or job.ended_at for job in jobs)
    return Done(
        Usage(len(prompt), predicted, sum(job.thought for job in jobs)),
        Timings(
            prompt_tokens=len(prompt),
            prompt_ms=(first - min(job.joined_at for job in jobs)) * 1e3,
            predicted_tokens=predicted,
            predicted_ms=(max(job.ended_at for job in jobs) - first) * 1e3,
        ),
    )
