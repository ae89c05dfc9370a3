"""The jobs of one model that wait: whose turn it is to join, and who steps back for whom.

Fair between clients by the number of their answers. Knows no pipeline, no thread and no clock.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator

from .jobs import Job

_PATIENCE_S = 300
"""So long in all a batch job waits; from then on it counts as interactive. Clients of OpenAI's SDK
give up after 600 s."""
_CLIENTS = 1000
"""So many are remembered with the time of their last turn."""


class Waiting:
    """First those who were running and lost their place by no fault of theirs, then the others:
    interactive before batch, the client with the fewest running answers, of those the one whose
    last turn is the longest ago, then by arrival.

    Times are seconds of one monotonic clock, as `now`.
    """

    def __init__(self) -> None:
        self._first: deque[Job] = deque()
        self._others: list[Job] = []
        self._tickets = 0
        self._turns = 0
        self._last_turn: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def __iter__(self) -> Iterator[Job]:
        yield from self._first
        yield from self._others

    def put(self, jobs: Iterable[Job], now: float) -> None:
        """Newcomers; or who stepped back, and then stands before the later ones of its client."""
        for job in jobs:
            if not job.ticket.number:
                self._tickets += 1
                job.ticket.number = self._tickets
            job.ticket.waits(now)
            self._others.append(job)

    def put_first(self, jobs: Iterable[Job], now: float) -> None:
        """Those who were running, in their order, before all that wait."""
        running = list(jobs)
        for job in running:
            job.ticket.waits(now)
        self._first.extendleft(reversed(running))

    def take(self, job: Job, now: float) -> None:
        """It joins."""
        job.ticket.joins(now)
        if job in self._first:
            self._first.remove(job)
            return
        self._others.remove(job)
        self._turns += 1
        self._last_turn[job.ticket.client] = self._turns
        self._last_turn.move_to_end(job.ticket.client)
        if len(self._last_turn) > _CLIENTS:
            self._last_turn.popitem(last=False)

    def drop(self) -> None:
        """Those that are to be dropped."""
        self._first = deque(job for job in self._first if not job.dropped)
        self._others = [job for job in self._others if not job.dropped]

    def clear(self) -> None:
        self._first.clear()
        self._others.clear()

    def longest_s(self, now: float) -> float:
        """How long somebody has waited since it was last put here; 0 when nobody waits."""
        since = [at for job in self if (at := job.ticket.since) is not None]
        return now - min(since, default=now)

    def in_turn(self, active: Collection[Job], now: float) -> list[Job]:
        """All of them; who may join first comes first."""
        running = Counter(job.ticket.client for job in active)

        def turn(job: Job) -> tuple[bool, int, int, int]:
            last = self._last_turn.get(job.ticket.client, 0)
            return not _urgent(job, now), running[job.ticket.client], last, job.ticket.number

        return [*self._first, *sorted(self._others, key=turn)]

    def exchange(
        self, active: Collection[Job], now: float, may_join: Callable[[Job], bool]
    ) -> tuple[Job, Job] | None:
        """Who may join in whose place, when all places are taken; None when all is fair.

        Each makes things strictly better, so none is ever taken back: more interactive answers
        run, or just as many and the numbers of two clients' come closer.
        """
        running = Counter(job.ticket.client for job in active)
        asking = {job: (_urgent(job, now), running[job.ticket.client]) for job in self}
        yielding = {who: _yielding(*who, active, running, now) for who in set(asking.values())}
        if not any(yielding.values()):
            return None
        for job in self.in_turn(active, now):
            other = yielding[asking[job]]
            if other is not None and may_join(job):
                return job, other
        return None


def _yielding(
    urgent: bool, count: int, active: Iterable[Job], running: Counter[str], now: float
) -> Job | None:
    """Who steps back for a job, of whose client so many run: batch for what is urgent, else one of
    a client that has two more; the one whose coming back costs least."""

    def yields(other: Job) -> bool:
        others = _urgent(other, now)
        more = running[other.ticket.client] - count
        return other.may_step_back and (urgent > others or (urgent == others and more >= 2))

    def price(other: Job) -> tuple[bool, int, bool, float, int, int]:
        compiling_s = other.cost.seconds if other.plan.grammar is not None else 0.0
        most, newest = -running[other.ticket.client], -other.ticket.number
        counts = other.plan.counts
        return _urgent(other, now), most, counts, compiling_s, len(other.generated), newest

    return min(filter(yields, active), key=price, default=None)


def _urgent(job: Job, now: float) -> bool:
    """Whether it is interactive, or batch that has waited long enough; that stays so."""
    return job.ticket.priority == "interactive" or job.ticket.waited_s(now) >= _PATIENCE_S
