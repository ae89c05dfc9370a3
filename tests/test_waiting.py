"""Whose turn it is, and who steps back: with jobs alone, and a clock that the test reads out."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ov_server.answergrammar import Cost
from ov_server.core import Priority, Sampling
from ov_server.grammars.grammar import literal, prepared
from ov_server.jobs import Call, Job, Ticket
from ov_server.markup import START, Reading
from ov_server.stepping import Plan
from ov_server.waiting import Waiting

PATIENCE_S = 300


def job(client: str, priority: Priority = "interactive", **more: Any) -> Job:
    loop = asyncio.new_event_loop()
    loop.close()
    plan = more.pop("plan", Plan(Sampling(), 100))
    return Job(Call(loop), [1], plan, arrived_at=0, ticket=Ticket(client, priority), **more)


def running(*jobs: Job, tokens: int = 3) -> list[Job]:
    """They have a place and have said something since they joined."""
    waiting = Waiting()
    waiting.put(jobs, 0)
    for one in jobs:
        waiting.take(one, 0)
        one.generated = [1] * tokens
        one.proven = True
    return list(jobs)


def waiting_for(*jobs: Job, now: float = 0) -> Waiting:
    waiting = Waiting()
    waiting.put(jobs, now)
    return waiting


def anybody(_: Job) -> bool:
    return True


def fill(waiting: Waiting, active: list[Job], places: int, now: float = 0) -> list[Job]:
    """Who joins until all places are taken, in that order."""
    joined: list[Job] = []
    while len(waiting) and len(active) < places:
        one = waiting.in_turn(active, now)[0]
        waiting.take(one, now)
        active.append(one)
        joined.append(one)
    return joined


def clients(jobs: Iterable[Job]) -> str:
    return "".join(one.ticket.client for one in jobs)


# The order.


def test_of_one_client_who_came_first_is_first() -> None:
    jobs = [job("a") for _ in range(9)]
    assert fill(waiting_for(*jobs), [], 9) == jobs


def test_clients_take_turns() -> None:
    jobs = [job(name) for name in "aaaabbc"]
    assert clients(fill(waiting_for(*jobs), [], 7)) == "abcabaa"


def test_who_has_fewer_running_answers_is_first() -> None:
    active = running(*(job(name) for name in "aab"))
    jobs = [job(name) for name in "aabbcc"]
    assert clients(fill(waiting_for(*jobs), active, 99)) == "cbcaba"


def test_of_two_the_one_whose_turn_is_longer_ago_is_first() -> None:
    waiting = waiting_for(*(job(name) for name in "aaabbb"))
    alone = [clients(fill(waiting, [], 1)) for _ in range(6)]
    assert "".join(alone) == "ababab"


def test_two_that_come_one_request_at_a_time_do_not_starve_a_third() -> None:
    """Each of them is there again when the other one ends, and has nothing waiting meanwhile."""
    waiting = waiting_for(*(job("a") for _ in range(20)))
    order = ""
    for turn in range(12):
        waiting.put([job("bc"[turn % 2])] if turn % 3 else [], 0)
        order += clients(fill(waiting, [], 1))
    assert order.count("a") >= 4


def test_interactive_is_before_batch_whoever_has_more() -> None:
    active = running(*(job("a") for _ in range(5)))
    waiting = waiting_for(job("b", "batch"), job("a"), job("b", "batch"))
    assert [one.ticket.priority for one in fill(waiting, active, 8)] == [
        "interactive",
        "batch",
        "batch",
    ]


def test_batch_that_has_waited_long_enough_is_interactive() -> None:
    old = job("a", "batch")
    waiting = waiting_for(old)
    waiting.put([job("b")], PATIENCE_S - 1)
    assert clients(waiting.in_turn([], PATIENCE_S - 1)) == "ba"
    assert clients(waiting.in_turn([], PATIENCE_S)) == "ab"


def test_what_it_waits_is_added_up_and_not_forgotten() -> None:
    old, other = job("a", "batch"), job("a")
    waiting = waiting_for(old)
    waiting.take(old, PATIENCE_S - 2)
    waiting.put([old], 1000)
    waiting.put([other], 1000)
    assert waiting.in_turn([], 1001) == [other, old]
    assert waiting.in_turn([], 1002) == [old, other]
    waiting.take(old, 1002)
    old.proven = True
    assert waiting.exchange([old], 1003, anybody) is None


def test_those_who_were_running_come_before_all() -> None:
    first, second = running(job("a", "batch"), job("a", "batch"))
    waiting = waiting_for(job("b"))
    waiting.put_first([first, second], 0)
    assert waiting.in_turn([], 0)[:2] == [first, second]
    assert list(waiting) == waiting.in_turn([], 0)


def test_who_stepped_back_comes_before_the_later_ones_of_its_client() -> None:
    jobs = [job("a") for _ in range(3)]
    waiting = waiting_for(*jobs)
    waiting.take(jobs[0], 0)
    waiting.put([jobs[0]], 5)
    assert waiting.in_turn([], 5) == jobs


def test_the_cancelled_are_dropped() -> None:
    front, other, left = (job("a") for _ in range(3))
    waiting = waiting_for(other, left)
    waiting.put_first([front], 0)
    front.cancelled = other.cancelled = True
    waiting.drop()
    assert list(waiting) == [left]
    waiting.clear()
    assert len(waiting) == 0


def test_the_longest_wait_is_that_since_it_was_last_running() -> None:
    waiting = Waiting()
    assert waiting.longest_s(7) == 0
    old = job("a")
    waiting.put([old], 1)
    waiting.put([job("b")], 3)
    assert waiting.longest_s(7) == 6
    waiting.take(old, 7)
    waiting.put_first([old], 8)
    assert waiting.longest_s(9) == 6


# Stepping back.


def test_a_client_with_two_more_gives_up_one() -> None:
    active = running(job("a"), job("a"))
    asking = job("b")
    found = waiting_for(job("a"), asking).exchange(active, 0, anybody)
    assert found == (asking, active[1])


def test_nobody_steps_back_for_one_answer_more() -> None:
    active = running(job("a"), job("a"), job("b"))
    assert waiting_for(job("b"), job("a")).exchange(active, 0, anybody) is None


def test_nobody_steps_back_for_who_may_not_join() -> None:
    active = running(job("a"), job("a"), job("a"))
    held_up, other = job("b"), job("c")
    waiting = waiting_for(held_up, other)
    assert waiting.exchange(active, 0, lambda one: one is other) == (other, active[2])
    assert waiting.exchange(active, 0, lambda one: False) is None


def test_batch_steps_back_for_interactive_of_its_own_client_too() -> None:
    active = running(job("a"), job("a", "batch"))
    asking = job("a")
    assert waiting_for(asking).exchange(active, 0, anybody) == (asking, active[1])


def test_interactive_never_steps_back_for_batch() -> None:
    active = running(*(job("a") for _ in range(4)))
    assert waiting_for(job("b", "batch")).exchange(active, 0, anybody) is None


def test_batch_steps_back_before_interactive_does() -> None:
    active = running(*(job("a") for _ in range(4)), job("b", "batch"))
    asking = job("c")
    assert waiting_for(asking).exchange(active, 0, anybody) == (asking, active[4])


def test_the_client_with_the_most_is_the_one_that_gives() -> None:
    active = running(*(job(name) for name in "aaabbbbcc"))
    found = waiting_for(job("d")).exchange(active, 0, anybody)
    assert found is not None
    assert found[1].ticket.client == "b"


def test_the_answer_that_has_least_to_lose_steps_back() -> None:
    held: dict[str, Any] = {
        "reading": Reading(held=True),
        "grammar": prepared({START: literal("yes")}, [START]),
    }
    dear = job("a", cost=Cost(0, 2), **held)
    cheap = job("a", cost=Cost(0, 0.1), **held)
    counting = [Sampling(presence_penalty=0.5), Sampling(frequency_penalty=-0.5)]
    anew = [job("a", plan=Plan(s, 100)) for s in counting]
    long, short = job("a"), job("a")
    active = running(*anew, dear, cheap, long, short)
    long.generated *= 9
    order = []
    while len(active) > 1:
        found = waiting_for(job("b")).exchange(active, 0, anybody)
        assert found is not None
        order.append(found[1])
        active.remove(found[1])
    assert order == [short, long, cheap, dear, anew[1]]


def test_who_can_not_step_back_stays() -> None:
    """Without a token since it joined, or with a grammar that is lost."""
    active = running(job("a"), job("a"))
    active[0].proven = False
    active[1].stays = True
    assert waiting_for(job("b")).exchange(active, 0, anybody) is None


# In the long run.

ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from("abcd"), st.sampled_from(["interactive", "batch"])
    ),
    max_size=40,
)


class Play:
    """Steps of a batch: who comes, who joins, who steps back, a token each, who ends."""

    def __init__(self, places: int, length: int):
        self.waiting = Waiting()
        self.active: list[Job] = []
        self.places = places
        self.length = length
        self.exchanges = 0

    def step(self, arrived: list[Job], now: float) -> None:
        self.waiting.put(arrived, now)
        fill(self.waiting, self.active, self.places, now)
        assert len(self.active) == self.places or not len(self.waiting), "a place is left empty"
        found = self.waiting.exchange(self.active, now, anybody)
        if found is not None:
            before = self.worth()
            joins, leaves = found
            self.active.remove(leaves)
            self.waiting.put([leaves], now)
            self.waiting.take(joins, now)
            joins.proven = False
            self.active.append(joins)
            assert self.worth() > before, "nothing is better than before"
            self.exchanges += 1

    def end(self) -> None:
        for one in self.active:
            one.generated.append(1)
            one.proven = True
        self.active = [one for one in self.active if len(one.generated) < self.length]

    def worth(self) -> tuple[int, int]:
        urgent = sum(one.ticket.priority == "interactive" for one in self.active)
        return urgent, -sum(
            n * n for n in Counter(one.ticket.client for one in self.active).values()
        )


@given(ARRIVALS, st.integers(1, 4), st.integers(1, 6))
def test_everybody_ends_no_place_is_left_empty_and_each_exchange_helps(
    arrivals: list[tuple[int, str, Priority]], places: int, length: int
) -> None:
    play, jobs = Play(places, length), [(at, job(who, what)) for at, who, what in arrivals]
    for step in range(31 + len(jobs) * length):
        play.step([one for at, one in jobs if at == step], step)
        play.end()
    assert not play.active
    assert not len(play.waiting)
    assert all(len(one.generated) == length for _, one in jobs)


@given(ARRIVALS, st.integers(1, 6))
def test_while_nobody_comes_or_ends_it_comes_to_rest(
    arrivals: list[tuple[int, str, Priority]], places: int
) -> None:
    """No two answers take turns in stepping back for each other."""
    play = Play(places, 10**6)
    play.step([job(who, what) for _, who, what in arrivals], 0)
    for _ in range(len(arrivals) + 1):
        play.end()
        play.step([], 0)
    exchanges = play.exchanges
    play.end()
    play.step([], 0)
    assert play.exchanges == exchanges


@given(st.integers(2, 8), st.integers(1, 60), st.integers(2, 40))
def test_a_single_request_beside_many_long_answers_has_a_place_at_once(
    places: int, many: int, length: int
) -> None:
    play = Play(places, length)
    play.step([job("a") for _ in range(many)], 0)
    play.end()
    single = job("b")
    play.step([single], 1)
    assert single in play.active
