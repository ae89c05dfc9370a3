"""Clients and priorities beside each other in one batch, over a fake runtime: who has a place, and
that an answer which steps back says what it would have said."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from benches import Asked, Bench, Got, end
from hypothesis import given, settings
from hypothesis import strategies as st

from ov_server.core import Priority, Sampling
from ov_server.errors import EngineFailed
from ov_server.grammars.completion import Network
from ov_server.grammars.gbnf import parse_gbnf
from ov_server.grammars.grammar import Rule, characters, choice, literal, prepared, sequence
from ov_server.markup import START, Reading
from ov_server.stepping import Plan

pytestmark = pytest.mark.anyio

NAMES = [chr(code) for code in range(0x4E00, 0x4E00 + 60)]
"""Prompts: the runtime tells one from another by its first character."""


def said_by(name: str, length: int = 60) -> str:
    return (f"the long answer of {name}, which goes on. " * length)[:length]


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    bench = Bench(max_running=4)
    yield bench
    await end(bench)


async def many(bench: Bench, count: int, client: str = "many", **more: object) -> list[Asked]:
    """So many requests of one client, at the step that the first of them are about to run in."""
    asked = [Asked(bench.job(name, said_by(name), client=client, **more)) for name in NAMES[:count]]
    bench.batch.submit(one.job for one in asked)
    await bench.steps.arrival()
    return asked


async def texts(asked: list[Asked]) -> list[str]:
    return [await one.text() for one in asked]


# Between clients.


async def test_one_request_beside_50_of_another_client_has_a_place_in_the_next_step(
    bench: Bench,
) -> None:
    asked = await many(bench, 50)
    await bench.steps.one()
    single = bench.ask("x", "short", client="single")
    await bench.steps.one()  # it came while the thread was in this one
    await bench.steps.one()
    assert bench.runtime.steps[-1] == [*NAMES[:3], "x"]
    assert bench.batch.stats().running == 4
    assert bench.batch.stats().preemptions == 1
    bench.steps.open()
    assert await single.text() == "short"
    assert await texts(asked) == [said_by(name) for name in NAMES[:50]]


async def test_who_stepped_back_is_the_next_of_its_client(bench: Bench) -> None:
    asked = await many(bench, 8)
    await bench.steps.one()
    bench.ask("x", "xx", client="single")
    bench.steps.open()
    await texts(asked)
    joined = [added.who for added in bench.runtime.added]
    assert joined == [*NAMES[:4], "x", NAMES[3], *NAMES[4:8]]


async def test_several_clients_come_to_even_numbers(bench: Bench) -> None:
    asked = await many(bench, 6)
    others = [bench.ask(name, said_by(name), client=name) for name in "xyz"]
    for _ in range(6):
        await bench.steps.one()
    assert sorted(bench.runtime.steps[-1]) == ["x", "y", "z", NAMES[0]]
    assert bench.batch.stats().preemptions == 3
    bench.steps.open()
    assert await texts(others) == [said_by(name) for name in "xyz"]
    assert await texts(asked) == [said_by(name) for name in NAMES[:6]]
    assert bench.batch.stats().preemptions == 3, "nobody's coming back costs somebody a place"


async def test_of_one_client_nobody_steps_back(bench: Bench) -> None:
    asked = await many(bench, 12, client="one")
    bench.steps.open()
    assert await texts(asked) == [said_by(name) for name in NAMES[:12]]
    assert [added.who for added in bench.runtime.added] == NAMES[:12]
    assert bench.batch.stats().preemptions == 0


async def test_answers_to_one_request_step_back_like_others(bench: Bench) -> None:
    name = NAMES[0]
    leader = bench.job(name, said_by(name), client="many")
    rest = [
        bench.job(name, said_by(name), client="many", leader=leader, index=i) for i in range(1, 6)
    ]
    asked = [Asked(job) for job in (leader, *rest)]
    bench.batch.submit(one.job for one in asked)
    await bench.steps.arrival()
    await bench.steps.one()
    await bench.steps.one()
    single = bench.ask("x", "short", client="single")
    await bench.steps.one()
    await bench.steps.one()
    assert sorted(bench.runtime.steps[-1]) == ["x", name, name, name]
    bench.steps.open()
    assert await single.text() == "short"
    assert await texts(asked) == [said_by(name)] * 6


# Priority.


async def test_interactive_joins_before_batch_that_came_earlier() -> None:
    bench = Bench(max_running=1)
    first = Asked(bench.job("a", "one"))
    later = [
        Asked(bench.job("b", "two", priority="batch")),
        Asked(bench.job("c", "six")),
    ]
    bench.batch.submit(one.job for one in (first, *later))
    await bench.steps.arrival()
    bench.steps.open()
    assert await texts([first, *later]) == ["one", "two", "six"]
    assert [added.who for added in bench.runtime.added] == list("acb")
    await end(bench)


async def test_batch_steps_back_and_goes_on_with_what_it_would_have_said(bench: Bench) -> None:
    asked = await many(bench, 4, priority="batch")
    for _ in range(5):
        await bench.steps.one()
    hasty = [bench.ask(name, "quick", client="many") for name in "xyz"]
    for _ in range(5):
        await bench.steps.one()
    assert sorted(bench.runtime.steps[-1]) == ["x", "y", "z", NAMES[0]]
    bench.steps.open()
    assert await texts(hasty) == ["quick"] * 3
    assert await texts(asked) == [said_by(name) for name in NAMES[:4]]
    assert bench.batch.stats().preemptions == 3


async def test_batch_does_not_wait_where_there_is_room(bench: Bench) -> None:
    asked = await many(bench, 3, priority="batch")
    hasty = bench.ask("x", "quick")
    bench.steps.open()
    assert await hasty.text() == "quick"
    await texts(asked)
    assert bench.batch.stats().preemptions == 0


async def test_where_one_runs_at_a_time_the_others_wait_here_and_none_steps_back() -> None:
    """A pipeline that keeps no prefixes has a queue of its own, in which nobody has a turn."""
    bench = Bench(max_running=4, keeps_prefixes=False)
    asked = await many(bench, 3, priority="batch")
    await bench.steps.one()
    hasty = bench.ask("x", "quick", client="single")
    bench.steps.open()
    assert await hasty.text() == "quick"
    assert await texts(asked) == [said_by(name) for name in NAMES[:3]]
    assert [added.who for added in bench.runtime.added] == [NAMES[0], "x", *NAMES[1:3]]
    assert bench.batch.stats().preemptions == 0
    await end(bench)


# What an answer goes on with.


async def test_a_structured_answer_goes_on_under_the_rest_of_its_grammar(bench: Bench) -> None:
    text = said_by("s")
    more = {"reading": Reading(held=True), "grammar": prepared({START: literal(text)}, [START])}
    held = [bench.job(name, text, client="many", **more) for name in NAMES[:4]]
    bench.batch.submit(held)
    await bench.steps.arrival()
    for _ in range(4):
        await bench.steps.one()
    single = bench.ask("x", "short", client="single")
    bench.steps.open()
    assert await single.text() == "short"
    assert await texts([Asked(job) for job in held]) == [text] * 4
    [back] = [added for added in bench.runtime.added if added.tokens > 1]
    assert back.who == NAMES[3]
    assert Network(parse_gbnf(str(back.plan.grammar))).rest("") == text[back.tokens - 1 :]


async def test_half_a_character_is_generated_anew_by_a_structured_answer() -> None:
    bench = Bench(max_running=1)
    more = {"reading": Reading(held=True), "grammar": prepared({START: literal("😀yes")}, [START])}
    held = bench.job("a", "😀yes", priority="batch", **more)
    bench.batch.submit([held])
    await bench.steps.arrival()
    hasty = bench.ask("x", "quick")
    bench.steps.open()
    assert await hasty.text() == "quick"
    assert await Asked(held).text() == "😀yes"
    assert bench.runtime.sliced("a") == [1, 1]
    await end(bench)


async def test_an_answer_whose_grammar_can_not_go_on_keeps_its_place() -> None:
    """So long a text under a rule that calls itself is too much to go on from."""
    bench = Bench(max_running=1)
    again = choice(characters("az"), sequence(characters("az"), Rule(START)))
    more = {"reading": Reading(held=True), "grammar": prepared({START: again}, [START])}
    deep = bench.job("a", "x" * 1300, priority="batch", max_tokens=5000, **more)
    bench.batch.submit([deep])
    await bench.steps.arrival()
    for _ in range(1200):
        await bench.steps.one()
    hasty = bench.ask("x", "quick")
    bench.steps.open()
    assert await hasty.text() == "quick"
    assert await Asked(deep).text() == "x" * 1300
    assert deep.stays
    assert bench.batch.stats().preemptions == 0
    await end(bench)


async def test_what_is_left_of_the_limits_counts_for_who_comes_back() -> None:
    bench = Bench(max_running=1)
    plan = Plan(Sampling(min_tokens=9), 20, seed=7)
    slow = bench.job("a", said_by("a"), plan=plan, priority="batch")
    bench.batch.submit([slow])
    await bench.steps.arrival()
    for _ in range(4):
        await bench.steps.one()
    hasty = bench.ask("x", "quick")
    bench.steps.open()
    await hasty.text()
    got = await Asked(slow).got()
    assert (got.text, got.reason) == (said_by("a")[:20], "length")
    first, again = (added for added in bench.runtime.added if added.who == "a")
    done = again.tokens - first.tokens
    assert (again.max_tokens, again.plan.sampling.min_tokens) == (20 - done, 9 - done)
    await end(bench)


async def test_a_client_can_not_keep_its_places_by_penalties(bench: Bench) -> None:
    counting = Plan(Sampling(frequency_penalty=0.5), 1000)
    asked = await many(bench, 4, plan=counting)
    await bench.steps.one()
    single = bench.ask("x", "short", client="single")
    bench.steps.open()
    assert await single.text() == "short"
    await texts(asked)
    assert bench.batch.stats().preemptions == 1


# Together with what else may happen.


async def stepped_back(bench: Bench) -> tuple[list[Asked], Asked]:
    """Four answers of one client, of which the last has stepped back for a long one of another."""
    asked = await many(bench, 4)
    await bench.steps.one()
    other = bench.ask("x", said_by("x"), client="single")
    await bench.steps.one()
    await bench.steps.one()
    assert bench.runtime.steps[-1] == [*NAMES[:3], "x"]
    return asked, other


async def test_a_client_may_leave_while_its_answer_has_stepped_back(bench: Bench) -> None:
    asked, other = await stepped_back(bench)
    bench.batch.cancel([asked.pop().job])
    bench.steps.open()
    assert await other.text() == said_by("x")
    assert await texts(asked) == [said_by(name) for name in NAMES[:3]]
    assert [added.who for added in bench.runtime.added].count(NAMES[3]) == 1


async def test_a_failed_step_costs_nobody_who_has_stepped_back_an_answer(bench: Bench) -> None:
    asked, other = await stepped_back(bench)
    bench.runtime.poison["X"] = 0
    guilty = bench.ask("X", "never said", client="third")
    bench.steps.open()
    assert isinstance((await guilty.got()).error, EngineFailed)
    assert await texts([*asked, other]) == [said_by(name) for name in (*NAMES[:4], "x")]
    assert bench.batch.stats().rebuilds == 1


async def test_who_breaks_the_step_after_coming_back_is_found(bench: Bench) -> None:
    asked, other = await stepped_back(bench)
    bench.runtime.poison[NAMES[3]] = 10
    bench.steps.open()
    guilty = asked.pop()
    assert isinstance((await guilty.got()).error, EngineFailed)
    assert await texts([*asked, other]) == [said_by(name) for name in (*NAMES[:3], "x")]


async def test_a_full_kv_cache_is_shared_as_well(bench: Bench) -> None:
    """Nobody joins until somebody leaves, but in the place of another one."""
    asked = await many(bench, 4)
    await bench.steps.one()
    bench.runtime.memory.add((NAMES[3], 2))
    await bench.steps.one()
    await bench.steps.one()
    assert bench.runtime.steps[-1] == [*NAMES[:4]]
    other = bench.ask("x", said_by("x", 5), client="single")
    await bench.steps.one()
    assert bench.runtime.steps[-1] == [*NAMES[:3]]
    await bench.steps.one()
    assert len(bench.runtime.steps[-1]) == 2, "its blocks are freed before another one joins"
    await bench.steps.one()
    assert sorted(bench.runtime.steps[-1]) == ["x", *NAMES[:2]]
    bench.steps.open()
    assert await other.text() == said_by("x", 5)
    assert await texts(asked) == [said_by(name) for name in NAMES[:4]]


async def test_a_prompt_that_found_the_cache_full_of_what_others_left_is_read_again() -> None:
    """The runtime frees what was cancelled behind the step, and drops who finds no room in it."""
    bench = Bench(max_running=1)
    bench.runtime.memory.add(("b", 0))
    ending = Asked(bench.job("a", "one END two", reading=Reading(stops=("END",))))
    next_one = Asked(bench.job("b", "six"))
    bench.batch.submit([ending.job, next_one.job])
    await bench.steps.arrival()
    bench.steps.open()
    assert await texts([ending, next_one]) == ["one ", "six"]
    assert bench.runtime.sliced("b") == [1, 1]
    await end(bench)


async def test_the_end_ends_those_who_have_stepped_back_too(bench: Bench) -> None:
    asked, other = await stepped_back(bench)
    await end(bench)
    assert all([(await one.got()).error for one in (*asked, other)])


# Whatever comes.

REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 12),  # before which step it comes
        st.sampled_from("pqr"),
        st.sampled_from(["interactive", "batch"]),
        st.integers(1, 12),  # tokens of its answer
        st.booleans(),  # held to a grammar
        st.sampled_from([None, None, None, "memory", "leaves", "poison"]),
    ),
    min_size=1,
    max_size=12,
)
Request = tuple[int, str, Priority, int, bool, str | None]


@settings(max_examples=40)
@given(REQUESTS, st.integers(1, 4))
def test_whatever_comes_each_answer_is_exact(requests: list[Request], places: int) -> None:
    asyncio.run(play(requests, places))


async def play(requests: list[Request], places: int) -> None:
    bench = Bench(max_running=places)
    anchor = bench.ask("a", said_by("a", 300), client="anchor")
    await bench.steps.arrival()
    asked: list[tuple[Asked, str, str | None]] = []
    for step in range(13):
        for number, (at, client, priority, length, held, fate) in enumerate(requests):
            if at != step:
                continue
            name, text = NAMES[number], said_by(NAMES[number], length)
            grammar = prepared({START: literal(text)}, [START]) if held else None
            reading = Reading(held=held)
            more = {"client": client, "priority": priority, "grammar": grammar, "reading": reading}
            asked.append((Asked(bench.job(name, text, **more)), text, fate))
            if fate == "memory":
                bench.runtime.memory.add((name, length // 2))
            if fate == "poison":
                bench.runtime.poison[name] = 0
            bench.batch.submit([asked[-1][0].job])
        await bench.steps.one()
        bench.batch.cancel([one.job for one, _, fate in asked if fate == "leaves"])
    bench.steps.open()
    assert await anchor.text() == said_by("a", 300)
    for one, text, fate in asked:
        if fate != "leaves":
            check(await one.got(), text, fate)
    await end(bench)


def check(got: Got, text: str, fate: str | None) -> None:
    if fate == "poison":
        assert isinstance(got.error, EngineFailed)
    elif fate == "memory" and got.reason == "length":
        assert text.startswith(got.text), "who is alone ends where the cache is full"
    elif fate == "memory" and got.error:
        assert "KV cache" in got.error.message
        assert not got.text
    else:
        assert (got.text, got.error) == (text, None)
