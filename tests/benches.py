"""A batch over a fake runtime whose steps the test lets through, and what it answers."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from fakes import FakeRuntime, Turnstile, soon

from ov_server.batch import Batch
from ov_server.core import EndedBy, Finish, FinishReason, Sampling, Text
from ov_server.detokenizer import Detokenizer
from ov_server.errors import ServerError
from ov_server.jobs import Call, Job, Ticket
from ov_server.stepping import Plan


@dataclass
class Got:
    """All that came of one job."""

    text: str = ""
    reason: FinishReason | None = None
    by: EndedBy | None = None
    pieces: list[Text] = field(default_factory=list)
    error: ServerError | None = None


class Asked:
    """One answer that was asked for."""

    def __init__(self, job: Job):
        self.job = job

    async def got(self) -> Got:
        """Waits for the end of it."""
        got = Got()
        try:
            await soon(self._read(got))
        except ServerError as error:
            got.error = error
        return got

    async def text(self) -> str:
        got = await self.got()
        assert got.error is None, got.error
        return got.text

    async def _read(self, got: Got) -> None:
        async for item in self.job.call.items():
            if isinstance(item, Text):
                got.text += item.text
                got.pieces.append(item)
            elif isinstance(item, Finish):
                got.reason, got.by = item.reason, item.by
                return


class Bench:
    """A batch over a fake runtime whose steps the test lets through."""

    def __init__(
        self,
        *,
        max_running: int = 16,
        prefill_slice: int = 8,
        burst_s: float = 60,
        closing_s: float = 60,
        patience_s: float = 60,
        keeps_prefixes: bool = True,
    ):
        self.ended = False
        self.runtime = FakeRuntime(keeps_prefixes=keeps_prefixes)
        self.batch = Batch(
            self.runtime.make,
            Detokenizer(self.runtime.decode),
            name="test",
            max_running=max_running,
            prefill_slice=prefill_slice,
            burst_s=burst_s,
            closing_s=closing_s,
            patience_s=patience_s,
        )

    @property
    def steps(self) -> Turnstile:
        return self.runtime.stepping

    def job(self, prompt: str, answer: str, **more: Any) -> Job:
        plan = more.pop("plan", None) or Plan(Sampling(), more.pop("max_tokens", 1000))
        call = more.pop("call", None) or Call(asyncio.get_running_loop())
        reason = more.pop("reason", "stop")
        self.runtime.script(prompt, answer, reason)
        tokens = [ord(c) for c in prompt]
        ticket = Ticket(more.pop("client", ""), more.pop("priority", "interactive"))
        return Job(call, tokens, plan, arrived_at=time.monotonic(), ticket=ticket, **more)

    def ask(self, prompt: str, answer: str, **more: Any) -> Asked:
        asked = Asked(self.job(prompt, answer, **more))
        self.batch.submit([asked.job])
        return asked

    async def ask_all(self, *pairs: tuple[str, str]) -> list[Asked]:
        """Asks all in one go; returns when the first step that has them all is about to run."""
        asked = [Asked(self.job(prompt, answer)) for prompt, answer in pairs]
        self.batch.submit(a.job for a in asked)
        await self.steps.arrival()
        return asked


async def end(bench: Bench) -> None:
    if not bench.ended:
        bench.ended = True
        bench.steps.open()
        await soon(asyncio.to_thread(bench.batch.close))
