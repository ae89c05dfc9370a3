"""A KV cache that is too small for all: answers wait for room or end with a reason."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ov_server.batch import Batch
from ov_server.core import Finish, Sampling
from ov_server.detokenizer import Detokenizer
from ov_server.jobs import Call, Job
from ov_server.stepping import Plan

pytestmark = [pytest.mark.anyio, pytest.mark.full]
BLOCKS, TOKENS = 12, 96
"""Blocks of 32 tokens in the cache, and tokens of each answer: two fit."""


@pytest.fixture
def batch(converted: Path) -> Iterator[Batch]:
    from ov_server.pipelines import Paged, load_tokenizer

    properties: dict[str, Any] = {"ENABLE_MMAP": False}
    batch = Batch(
        lambda: Paged(converted, "CPU", properties, kv_cache_gb=0, kv_blocks=BLOCKS, chunk=256),
        Detokenizer(load_tokenizer(converted).decode),
        name="small",
        max_running=16,
        prefill_slice=32,
    )
    yield batch
    batch.close()


def job(number: int, tokens: int) -> Job:
    """A prompt of 40 tokens of its own, and an answer that goes on to its limit."""
    plan = Plan(Sampling(temperature=0.0, ignore_eos=True), tokens)
    prompt = [1000 + 7 * number + n for n in range(40)]
    return Job(Call(asyncio.get_running_loop()), prompt, plan, arrived_at=0)


async def told(job: Job) -> tuple[int, str, str | None]:
    """How many tokens an answer had, and why it ended."""
    async for event in job.call.items():
        if isinstance(event, Finish):
            return len(job.generated), event.reason, event.by
    raise AssertionError("it never ended")


async def test_streams_that_fill_the_kv_cache_all_come_to_their_end(batch: Batch) -> None:
    jobs = [job(number, TOKENS) for number in range(6)]
    for each in jobs:
        batch.submit([each])
    ends = await asyncio.gather(*(told(each) for each in jobs))
    assert ends == [(TOKENS, "length", None)] * len(jobs), "not all of them fit at once"
    assert batch.stats().rebuilds == 0


async def test_one_that_alone_fills_the_kv_cache_ends_with_a_reason_and_others_go_on(
    batch: Batch,
) -> None:
    large, *small = [job(0, 4000), *(job(number, 60) for number in range(1, 4))]
    for each in (large, *small):
        batch.submit([each])
    ends = await asyncio.gather(*(told(each) for each in (large, *small)))
    tokens, *why = ends[0]
    assert why == ["length", "kv_cache_full"]
    assert tokens > (BLOCKS - 2) * 32 - 40, "nearly all of the cache"
    assert ends[1:] == [(60, "length", None)] * 3
    later = job(9, TOKENS)
    batch.submit([later])
    assert await told(later) == (TOKENS, "length", None)


async def test_what_was_left_early_gives_its_blocks_and_memory_back(batch: Batch) -> None:
    async def waves(numbers: range) -> None:
        """Answers of which every second one is cancelled at its first token."""
        for first in numbers:
            jobs = [job(4 * first + number, 8) for number in range(4)]
            batch.submit(jobs)
            for each in jobs[::2]:
                await anext(each.call.items())
                batch.cancel([each])
            ends = await asyncio.gather(*(told(each) for each in jobs[1::2]))
            assert ends == [(8, "length", None)] * 2

    await waves(range(5))
    before = psutil.Process().memory_info().rss
    await waves(range(5, 25))
    assert psutil.Process().memory_info().rss < before * 1.05
    alone = job(9999, (BLOCKS - 2) * 32 - 40)
    batch.submit([alone])
    assert await told(alone) == ((BLOCKS - 2) * 32 - 40, "length", None), "blocks are missing"
    assert batch.stats().kv_usage == 0
