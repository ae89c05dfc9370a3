"""One thread for each loaded model: takes jobs in, steps the pipeline, hands tokens out.

Owns every call of the pipeline, and what happens when a step fails. Knows no runtime: the pipeline
and the detokenizer are arguments. Whose turn it is, `Waiting` says.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from . import endings
from .arguments import Malformed
from .cancellation import Cancellation
from .core import EngineStats
from .detokenizer import Detokenizer
from .errors import ServerError, said
from .inbox import Inbox
from .jobs import Job, deliver
from .prefill import PrefixMemory, enough_to_read, next_part
from .stepping import NoPipeline, Output, Pipeline, PipelineLost
from .suspects import Failure, convict, on_trial
from .waiting import Waiting
from .wear import Wear

log = logging.getLogger(__name__)

_FRUITLESS_REBUILDS = 6
"""Rebuilds in a row without a token between them, after which the engine gives up."""


class Batch:
    """The jobs of one model and the thread that works on them."""

    def __init__(
        self,
        make_pipeline: Callable[[], Pipeline],
        detokenizer: Detokenizer,
        *,
        name: str,
        max_running: int,
        prefill_slice: int,
        burst_s: float = 0.02,
        closing_s: float = 5,
        patience_s: float = 30,
        cancellation: Cancellation | None = None,
    ):
        """`burst_s`: how long the first of a burst waits for the others; `closing_s`: how long a
        step may go on when the model is to be unloaded; `patience_s`: how long those who come wait
        for those who are there, when the pipeline is to be made anew behind them; `cancellation`:
        ends the making of a pipeline, when the model is to be unloaded."""
        self._make_pipeline = make_pipeline
        self._detokenizer = detokenizer
        self._max_running = max_running
        self._slice = prefill_slice
        self._closing_s = closing_s
        self._cancellation = cancellation or Cancellation()
        self._pipeline: Pipeline = make_pipeline()
        self._memory = PrefixMemory(self._pipeline.block)
        self._inbox = Inbox(burst_s)
        self._waiting = Waiting()
        self._active: dict[int, Job] = {}
        self._reader: Job | None = None
        self._part_next = False
        self._keys = 0
        self._full = False
        self._freeing = False
        self._heir: Job | None = None
        self._kv_usage = 0.0
        self._rebuilds = 0
        self._preemptions = 0
        self._fruitless = 0
        self._wear = Wear(patience_s)
        self._step_began: float | None = None
        self.failed = False
        self._thread = threading.Thread(target=self._run, name=f"engine {name}", daemon=True)
        self._thread.start()

    # From any thread.

    def coming(self) -> AbstractContextManager[None]:
        """While jobs are made: a batch with nothing to do waits for them a moment, since prompts
        that are read together take less time than one after the other."""
        return self._inbox.coming()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Hands jobs over; one that comes too late ends with an error."""
        handed = list(jobs)
        if not self._inbox.put(handed):
            for job in handed:
                job.fail(endings.stopping())

    def cancel(self, jobs: Iterable[Job], *, halt: bool = False) -> None:
        """Drops jobs, wherever they are, before the next step; `halt`: each is an answer then."""
        self._inbox.cancel(jobs, halt=halt)

    @property
    def stuck_s(self) -> float:
        """Seconds that the current step has been running; infinite when the thread is gone that
        nobody has ended."""
        if not (self._thread.is_alive() or self._inbox.closed):
            return math.inf
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    def stats(self) -> EngineStats:
        running = len(self._active)
        return EngineStats(
            running=running,
            waiting=len(self._waiting) + len(self._inbox),
            kv_usage=self._kv_usage if running else 0.0,
            rebuilds=self._rebuilds,
            preemptions=self._preemptions,
        )

    def close(self) -> None:
        """Ends all jobs with an error and frees the pipeline; returns when that is done."""
        self._inbox.close()
        self._thread.join(self._closing_s)
        if self._thread.is_alive():  # in a step or a making that does not end
            self._cancellation.call()
            self._pipeline.close()
            self._thread.join()
        del self._detokenizer, self._make_pipeline  # they held the tokenizer

    # The thread.

    def _run(self) -> None:
        while self._take():
            failure = self._work()
            if failure is not None and not self._inbox.closed:
                self._recover(failure)
            worn = self._wear.too_much(self._active, self._waiting, time.monotonic())
            if worn and not self._inbox.closed:
                log.info("the pipeline is made anew, to free what it keeps of grammars")
                self._begin_anew()
        for key in list(self._active):
            self._pipeline.cancel(key)
        self._drop_pipeline()
        self._fail_all(endings.stopping())

    def _work(self) -> Failure | None:
        """One step; what was said if it failed. The error itself would keep the pipeline in
        memory by its traceback while another one is made."""
        try:
            self._step_began = time.monotonic()
            self._drop_cancelled()
            self._admit()
            if self._pipeline.busy():
                self._part_next = False
                outputs = self._pipeline.step()
                self._freeing = False
                self._hand_out(outputs)
                self._kv_usage = self._pipeline.kv_usage()
        except Exception as error:
            return Failure(said(error), lost=isinstance(error, PipelineLost))
        finally:
            self._step_began = None
        return None

    def _take(self) -> bool:
        """Sleeps until there is something to do; False is the end."""
        busy = bool(self._active) or self._pipeline.busy()
        arrived = self._inbox.take(working=busy or bool(self._waiting), burst=not busy)
        for job in arrived:
            job.seen = self._memory.known(job.tokens)
        self._waiting.put(arrived, time.monotonic())
        return not self._inbox.closed

    def _drop_cancelled(self) -> None:
        everybody = (*self._waiting, *self._active.values())
        halted = [job for job in everybody if job.halted and not job.cancelled]
        self._waiting.drop()
        if self._reader is not None and self._reader.dropped:
            self._leave(self._reader)
        for job in [job for job in self._active.values() if job.dropped]:
            self._leave(job)
        for job in halted:
            job.finish(self._detokenizer.flush(job.window), "stop", time.monotonic(), "cancelled")
        deliver(job.call for job in halted)

    def _leave(self, job: Job) -> None:
        """Takes a job out of the pipeline; the next step frees its blocks."""
        self._gone(job)
        self._take_out(job)

    def _gone(self, job: Job) -> None:
        self._full = False
        if job is self._reader:
            self._reader = None
        self._active.pop(job.key, None)

    def _take_out(self, job: Job) -> None:
        self._freeing = True
        self._active.pop(job.key, None)
        self._pipeline.cancel(job.key)

    # Admission.

    def _admit(self) -> None:
        if self._active and self._wear.full:
            return  # until it is made anew
        now = time.monotonic()
        heir, self._heir = self._heir, None
        if heir is not None and heir in self._waiting and self._may_join(heir):
            self._let_join(heir, now)
        serial = not self._pipeline.keeps_prefixes  # the others would wait inside of it
        places = 1 if self._full or serial else self._max_running
        while self._waiting and len(self._active) < places:
            waiting = self._waiting.in_turn(self._active.values(), now)
            job = next((job for job in waiting if self._may_join(job)), None)
            others = (o for o in self._active.values() if not o.proven and o is not self._reader)
            if job is None or enough_to_read((o.unread for o in others), job.unread):
                return
            self._let_join(job, now)
        if self._waiting and not serial:
            self._exchange(now)

    def _let_join(self, job: Job, now: float) -> None:
        self._waiting.take(job, now)
        job.seen = self._memory.known(job.tokens)
        self._join(job)

    def _exchange(self, now: float) -> None:
        """Somebody steps back for one who waits, where that is fairer; one in a step."""
        found = self._waiting.exchange(self._active.values(), now, self._may_join)
        if found is None:
            return
        job, other = found
        full = self._full
        if not self._step_back(other, now):
            return
        self._full = full
        if full:
            self._heir = job  # whose room is free behind the next step
        else:
            self._let_join(job, now)

    def _step_back(self, job: Job, now: float) -> bool:
        """Lets a job wait for its turn, and go on then: its tokens are in the prefix cache."""
        try:
            cut = job.resume()
        except Exception as error:
            log.info("a structured answer keeps its place, it could not go on: %s", said(error))
            job.stays = True
            return False
        self._leave(job)
        if cut:
            job.window = self._detokenizer.window(job.tokens)
        self._memory.remember(job.tokens)
        job.seen = self._memory.known(job.tokens)
        self._waiting.put([job], now)
        self._preemptions += 1
        return True

    def _may_join(self, job: Job) -> bool:
        leader = job.leader
        if leader is not None and not (leader.ended or leader.cancelled or leader.generated):
            return False
        if (self._reader is not None or self._part_next) and job.unread > self._slice:
            return False  # a step reads a part of one prompt; short ones need not wait for it
        if self._on_trial() and (job.suspect or not job.generated):
            return all(other.proven for other in self._active.values())
        return not self._wear.too_soon(job, self._active.values())

    def _on_trial(self) -> bool:
        return on_trial((*self._active.values(), *self._waiting))

    def _join(self, job: Job, *, whole: bool = False) -> None:
        """Puts the job's prompt into the pipeline, whole or its next part."""
        slow = not whole and self._pipeline.keeps_prefixes and self._would_disturb(job)
        part = next_part(job.seen, len(job.tokens), self._slice, slow)
        job.joined_at = job.joined_at or time.monotonic()
        self._keys += 1
        job.key = self._keys
        job.proven = False
        job.cramped = self._freeing
        self._active[job.key] = job
        if job is self._reader or part is not None:
            self._part_next = True
        if part is None:
            self._reader = None if job is self._reader else self._reader
            self._wear.add(job)
            left = job.plan.max_tokens - len(job.generated)
            self._pipeline.add(job.key, job.tokens, job.plan.resumed(len(job.generated)), left)
        else:
            self._reader = job
            self._pipeline.add(job.key, job.tokens[:part], job.plan.reading(), 1)
            job.seen = part

    def _would_disturb(self, job: Job) -> bool:
        """Whether an answer streams that began before the job came; a burst shares its wait."""
        return any(o.streaming and o.first_token_at < job.arrived_at for o in self._active.values())

    def _part_read(self, job: Job) -> None:
        self._memory.remember(job.tokens[: job.seen])
        del self._active[job.key]
        self._join(job)

    # Tokens out.

    def _hand_out(self, outputs: list[Output]) -> None:
        now = time.monotonic()
        arrived: list[tuple[Job, Output]] = []
        dropped: list[Job] = []
        for output in outputs:
            job = self._active.get(output.key)
            if job is None:
                continue
            if output.finish == "memory":
                dropped.append(job)
            elif job is not self._reader:
                arrived.append((job, output))
            elif output.finish:
                self._part_read(job)
        texts = self._detokenizer.feed([(job.window, output.tokens) for job, output in arrived])
        for (job, output), text in zip(arrived, texts, strict=True):
            self._advance(job, output, text, now)
        if dropped:
            self._out_of_memory(dropped)
        deliver(job.call for job, _ in arrived)

    def _advance(self, job: Job, output: Output, text: str, now: float) -> None:
        if output.tokens:
            if not job.generated:
                job.first_token_at = now
                self._memory.remember(job.prompt)
            job.generated += output.tokens
            job.suspect = job.turned = job.cramped = False
            job.proven = True
            self._fruitless = 0
        try:
            job.read(text, output)
        except Malformed as error:
            self._leave(job)
            job.fail(endings.unreadable(error))
            return
        if job.reader.stopped:
            self._leave(job)
            self._memory.remember(job.tokens)
            job.end("stop", now)
        elif job.turns:
            self._turn(job, text)
        elif output.finish:
            self._leave(job)
            self._memory.remember(job.tokens)
            rest = self._detokenizer.flush(job.window)
            job.finish(rest, "stop" if output.finish == "stop" else "length", now)

    def _turn(self, job: Job, text: str) -> None:
        """Goes on with the job under another rule: as a new one, whose prompt is in the cache."""
        dropped = job.turn(text)  # first: what throws here has to find the job in its place
        self._take_out(job)
        if dropped:
            job.window = self._detokenizer.window(job.tokens)
        self._memory.remember(job.tokens)
        if self._wear.too_soon(job, self._active.values()):
            self._waiting.put_first([job], time.monotonic())
            return
        job.seen = self._memory.known(job.tokens)
        self._join(job, whole=True)

    def _out_of_memory(self, dropped: list[Job]) -> None:
        """The KV cache is full: these wait for the others; one that is alone ends where it is,
        unless it may have found what others left there."""
        alone = len(dropped) == len(self._active) == 1 and not dropped[0].cramped
        for job in dropped:
            self._gone(job)
        if not alone:
            log.warning("the KV cache is full: requests wait for room (see OV_KV_CACHE_GB)")
            self._full = True
            self._wait_first(dropped)
            return
        [job] = dropped
        if job.generated:
            rest = self._detokenizer.flush(job.window)
            job.finish(rest, "length", time.monotonic(), "kv_cache_full")
            deliver([job.call])
        else:
            job.fail(endings.too_large())

    # Faults.

    def _recover(self, failure: Failure) -> None:
        """Makes the pipeline anew and lets everybody go on but the job that broke it."""
        self._rebuilds += 1
        self._fruitless += not self._on_trial()  # a trial finds one guilty at each failure
        jobs = list(self._active.values())
        log.error("a step failed with %d requests running: %s", len(jobs), failure.reason)
        convict(jobs, failure)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Another pipeline, in which those who are running go on."""
        running = [job for job in self._active.values() if not job.ended]
        self._active.clear()
        self._reader = None
        self._freeing = False
        self._memory.clear()
        for job in running:
            job.seen = 0
        self._wait_first(running)
        self._rebuild()

    def _drop_pipeline(self) -> None:
        self._pipeline.close()
        self._pipeline = NoPipeline()

    def _wait_first(self, jobs: Iterable[Job]) -> None:
        going_on = [job for job in jobs if self._resume(job)]
        self._waiting.put_first(going_on, time.monotonic())

    def _resume(self, job: Job) -> bool:
        """Readies a job to join again; one whose grammar can't go on ends with an error."""
        try:
            if job.resume():
                job.window = self._detokenizer.window(job.tokens)
        except Exception as error:
            log.error("a structured answer can't go on: %s", said(error))
            job.fail(endings.interrupted())
            return False
        return True

    def _rebuild(self) -> None:
        self._drop_pipeline()
        self._wear.clear()
        try:
            if self._fruitless > _FRUITLESS_REBUILDS:
                raise RuntimeError("it failed again and again without a token between")
            started = time.monotonic()
            self._pipeline = self._make_pipeline()
            log.info("the pipeline was made anew in %.1f s", time.monotonic() - started)
        except Exception as error:
            if self._inbox.closed:
                return  # it was called off
            log.error("the pipeline can't be made anew: %s", said(error))
            self.failed = True
            self._inbox.close()
            self._fail_all(endings.guilty(said(error)))

    def _fail_all(self, error: ServerError) -> None:
        arrived = self._inbox.take(working=True, burst=False)
        jobs = [*self._active.values(), *self._waiting, *arrived]
        self._active.clear()
        self._waiting.clear()
        for job in jobs:
            job.fail(error)
