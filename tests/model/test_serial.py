"""LLMPipeline, the fall-back for devices without paged attention, behind the same thread."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ov_server.batch import Batch
from ov_server.cancellation import Cancellation
from ov_server.core import ChatRequest, Finish, Message, Sampling, Text, collect
from ov_server.detokenizer import Detokenizer
from ov_server.entries import entry_of
from ov_server.errors import BadRequest, EngineFailed
from ov_server.jobs import Call, Job
from ov_server.machine import Resident
from ov_server.markup import Reading
from ov_server.modelfiles import inspect
from ov_server.remote import Start
from ov_server.settings import Settings
from ov_server.stepping import Plan

from .waiting import BOUND_S, until

GREEDY = Sampling(temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def tokenizer(converted: Path) -> Any:
    import openvino_genai

    return openvino_genai.Tokenizer(converted)


@pytest.fixture(scope="module")
def batch(converted: Path, tokenizer: Any) -> Iterator[Batch]:
    from ov_server.pipelines import Serial

    batch = Batch(
        lambda: Serial(converted, tokenizer, "CPU", {}),
        Detokenizer(tokenizer.decode),
        name="serial",
        max_running=4,
        prefill_slice=32,
    )
    yield batch
    batch.close()


@pytest.fixture
def ids(tokenizer: Any) -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()

    return encode


def counting(ids: Callable[[str], list[int]], tokens: int, **more: Any) -> Job:
    """A job for `, F, G, ...`; to be made on the loop that listens."""
    prompt = ids(", ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "ABCDE"))
    call = Call(asyncio.get_running_loop())
    return Job(call, prompt, Plan(GREEDY, tokens), arrived_at=time.monotonic(), **more)


async def take(job: Job, enough: int = 10_000) -> tuple[list[str], str | None]:
    """A job's texts and finish reason; None when `enough` texts came first."""
    texts: list[str] = []
    async for item in job.call.items():
        match item:
            case Text():
                texts.append(item.text)
            case Finish():
                return texts, item.reason
        if len(texts) == enough:
            return texts, None
    raise AssertionError("a call's items have no end")


def idle(batch: Batch) -> bool:
    stats = batch.stats()
    return (stats.running, stats.waiting) == (0, 0)


def run_through(batch: Batch, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test's work on a loop of its own; the batch has nothing left to do after it."""
    asyncio.run(work())
    until(lambda: idle(batch), "an idle batch")


def test_tokens_come_one_by_one(batch: Batch, ids: Callable[[str], list[int]]) -> None:
    async def run() -> None:
        job = counting(ids, 8)
        batch.submit([job])
        texts, reason = await take(job)
        assert "".join(texts) == ", F, G, H, I"
        assert len(texts) == 8
        assert reason == "length"
        assert len(job.generated) == 8

    run_through(batch, run)


def test_a_stop_string_ends_the_answer(batch: Batch, ids: Callable[[str], list[int]]) -> None:
    async def run() -> None:
        job = counting(ids, 400, reading=Reading(stops=(" H,",)))
        batch.submit([job])
        texts, reason = await take(job)
        assert "".join(texts) == ", F, G,"
        assert reason == "stop"

    run_through(batch, run)


def test_two_jobs_are_answered_one_after_the_other(
    batch: Batch, ids: Callable[[str], list[int]]
) -> None:
    async def run() -> None:
        first, second = counting(ids, 12), counting(ids, 6)
        batch.submit([first, second])
        answers = await asyncio.gather(take(first), take(second))
        assert ["".join(texts) for texts, _ in answers] == [", F, G, H, I, J, K", ", F, G, H"]
        assert first.ended_at <= second.first_token_at

    run_through(batch, run)


def test_a_cancelled_job_makes_way_for_the_next(
    batch: Batch, ids: Callable[[str], list[int]]
) -> None:
    async def run() -> None:
        abandoned, queued, second = (counting(ids, tokens) for tokens in (4000, 4000, 4))
        batch.submit([abandoned, queued, second])
        assert (await take(abandoned, enough=3))[1] is None
        batch.cancel([abandoned, queued])
        assert await take(second) == ([",", " F", ",", " G"], "length")
        assert not abandoned.ended
        assert len(abandoned.generated) < 400
        assert queued.generated == []

    run_through(batch, run)


def test_a_grammar_that_does_not_compile_costs_only_its_own_job(
    batch: Batch, ids: Callable[[str], list[int]]
) -> None:
    async def run() -> None:
        poison, innocent = counting(ids, 4), counting(ids, 4)
        poison.plan = Plan(GREEDY, 4, grammar='root ::= "a')
        batch.submit([poison])
        with pytest.raises(EngineFailed):
            await take(poison)
        batch.submit([innocent])
        assert await take(innocent) == ([",", " F", ",", " G"], "length")

    asyncio.run(run())
    assert not batch.failed


def test_whoever_waits_for_a_token_hears_that_the_pipeline_is_closed(
    converted: Path, tokenizer: Any, ids: Callable[[str], list[int]]
) -> None:
    from ov_server.pipelines import Serial

    pipeline = Serial(converted, tokenizer, "CPU", {})
    pipeline.add(1, ids("A, B, C,"), Plan(GREEDY, 4000), 4000)
    assert pipeline.step()

    def drain() -> None:
        while True:
            pipeline.step()

    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(drain)
        pipeline.close()
        with pytest.raises(RuntimeError, match="closed"):
            draining.result(BOUND_S)


def test_a_device_without_paged_attention_is_told_and_answers(converted: Path) -> None:
    from ov_server.engines import load_engine, this_machine

    def unpaged(start: Start, cancellation: Cancellation) -> Resident:
        raise RuntimeError("there is no paged attention here")

    entry, files = entry_of(converted, "unpaged"), inspect(converted)
    machine = replace(this_machine(), paged=unpaged)
    engine = load_engine(entry, files, Settings(device="CPU"), machine=machine)
    question = (Message("user", "What is the capital of France?"),)

    async def run() -> None:
        answer = await collect(
            engine.chat(ChatRequest(question, GREEDY.over(Sampling(max_tokens=8))))
        )
        assert "Paris" in answer.choices[0].text
        with pytest.raises(BadRequest, match="logprobs"):
            await collect(engine.chat(ChatRequest(question, GREEDY, logprobs=True)))

    try:
        assert engine.warning
        assert "no paged attention here" in engine.warning
        asyncio.run(run())
    finally:
        engine.close()
