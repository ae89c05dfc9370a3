"""The engine's thread: order, admission, cancelling, and what a failed step costs whom."""

import asyncio
import gc
import math
import threading
from collections.abc import AsyncGenerator

import pytest
from benches import Asked, Bench, end
from fakes import FakePipeline, FakeRuntime, Turnstile, happens, soon, until

from ov_server.answergrammar import Cost, Demand, make
from ov_server.batch import Batch
from ov_server.calls import written
from ov_server.core import Sampling, Text, TokenLogprob, Tool
from ov_server.detokenizer import Detokenizer
from ov_server.errors import EngineFailed, Unavailable
from ov_server.grammars.completion import Network
from ov_server.grammars.gbnf import parse_gbnf
from ov_server.grammars.grammar import Rule, characters, choice, literal, prepared, sequence
from ov_server.jobs import Call, Job
from ov_server.markup import START, Reading
from ov_server.stepping import Plan
from ov_server.toolformats import FORMATS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    bench = Bench()
    yield bench
    await end(bench)


INNOCENT = [(name * 3, f"the answer of {name}") for name in "abcdefgh"]


# Answers.


async def test_an_answer_comes_whole_with_its_reason(bench: Bench) -> None:
    bench.steps.open()
    got = await bench.ask("a prompt", "an answer").got()
    assert (got.text, got.reason) == ("an answer", "stop")
    assert len(got.pieces) == len("an answer")


async def test_the_limit_ends_an_answer_with_length(bench: Bench) -> None:
    bench.steps.open()
    got = await bench.ask("a prompt", "an answer", max_tokens=2).got()
    assert (got.text, got.reason) == ("an", "length")


async def test_answers_run_side_by_side_in_the_order_they_came(bench: Bench) -> None:
    asked = await bench.ask_all(("a", "one"), ("b", "two"), ("c", "six"))
    bench.steps.open()
    assert [await a.text() for a in asked] == ["one", "two", "six"]
    assert bench.runtime.steps[:3] == [["a", "b", "c"]] * 3


async def test_no_more_than_max_running_run_at_once() -> None:
    bench = Bench(max_running=2)
    asked = await bench.ask_all(("a", "1"), ("b", "22"), ("c", "333"), ("d", "4"))
    assert (bench.batch.stats().running, bench.batch.stats().waiting) == (2, 2)
    bench.steps.open()
    assert [await a.text() for a in asked] == ["1", "22", "333", "4"]
    assert bench.runtime.steps[:4] == [["a", "b"], ["b", "c"], ["c", "d"], ["c"]]
    await end(bench)


async def test_the_thread_sleeps_when_there_is_nothing_to_do(bench: Bench) -> None:
    bench.steps.open()
    await bench.ask("a", "one").text()
    steps = len(bench.runtime.steps)
    await bench.ask("b", "two").text()
    assert len(bench.runtime.steps) <= steps + 4
    assert (bench.batch.stats().running, bench.batch.stats().waiting) == (0, 0)


async def test_every_call_of_the_pipeline_comes_from_its_one_thread(bench: Bench) -> None:
    asked = await bench.ask_all(("a", "one"))
    bench.batch.stats()
    bench.batch.cancel([asked[0].job])
    bench.steps.open()
    await bench.ask("b", "two").text()
    assert set().union(*bench.runtime.callers.values()) == bench.runtime.callers["step"]
    assert threading.get_ident() not in bench.runtime.callers["step"]


async def test_logprobs_stand_with_their_tokens(bench: Bench) -> None:
    bench.steps.open()
    plan = Plan(Sampling(), 100, logprobs=True)
    got = await bench.ask("a prompt", "hi!", plan=plan).got()
    said = [logprob for piece in got.pieces for logprob in piece.logprobs]
    assert said == [TokenLogprob(c, -0.25) for c in "hi!"]


async def test_an_end_without_a_token_ends_an_answer_with_logprobs(bench: Bench) -> None:
    """LLMPipeline's way of ending."""
    bench.runtime.ends_apart.add("a")
    bench.steps.open()
    plan = Plan(Sampling(), 100, logprobs=True)
    got = await bench.ask("a prompt", "hi!", plan=plan).got()
    assert (got.text, got.reason, got.error) == ("hi!", "stop", None)
    assert bench.batch.stats().rebuilds == 0


# Stop strings.


async def test_a_stop_string_across_tokens_ends_the_answer_before_it(bench: Bench) -> None:
    bench.steps.open()
    got = await bench.ask("a prompt", "one END two", reading=Reading(stops=("END",))).got()
    assert (got.text, got.reason) == ("one ", "stop")
    await bench.ask("b", "next").text()
    assert bench.runtime.steps.count(["a"]) == len("one END")


async def test_the_beginning_of_a_stop_string_is_shown_when_it_does_not_go_on(bench: Bench) -> None:
    bench.steps.open()
    got = await bench.ask("a prompt", "one EN", reading=Reading(stops=("END",))).got()
    assert (got.text, got.reason) == ("one EN", "stop")


async def test_the_beginning_of_a_stop_string_is_shown_at_the_limit(bench: Bench) -> None:
    bench.steps.open()
    got = await bench.ask(
        "a prompt", "one END", reading=Reading(stops=("END",)), max_tokens=6
    ).got()
    assert (got.text, got.reason) == ("one EN", "length")


# Clients that leave.


async def test_a_waiting_job_that_is_cancelled_never_runs() -> None:
    bench = Bench(max_running=1)
    first, second, third = await bench.ask_all(("a", "one"), ("b", "two"), ("c", "six"))
    bench.batch.cancel([second.job])
    bench.steps.open()
    assert await first.text() == "one"
    assert await third.text() == "six"
    assert [added.who for added in bench.runtime.added] == ["a", "c"]
    await end(bench)


async def test_a_running_job_that_is_cancelled_leaves_before_the_next_step(bench: Bench) -> None:
    first, second = await bench.ask_all(("a", "a long answer"), ("b", "two"))
    await bench.steps.one()
    bench.batch.cancel([first.job])
    bench.steps.open()
    assert await second.text() == "two"
    assert bench.runtime.steps == [["a", "b"], ["a", "b"], ["b"]]
    assert bench.runtime.cancelled == ["a"]


async def test_the_last_jobs_cancelling_frees_its_blocks(bench: Bench) -> None:
    [only] = await bench.ask_all(("a", "a long answer"))
    bench.batch.cancel([only.job])
    await bench.steps.one()
    assert bench.runtime.cancelled == ["a"]
    assert bench.batch.stats().running == 0
    bench.steps.open()
    assert await bench.ask("b", "two").text() == "two"


async def test_a_job_cancelled_while_its_prompt_is_read_in_parts_leaves(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    long = bench.ask("b" * 40, "two")
    await bench.steps.one()
    await bench.steps.one()
    bench.batch.cancel([long.job])
    next_one = bench.ask("c" * 40, "six")
    bench.steps.open()
    assert await next_one.text() == "six"
    assert await stream.text() == "a long answer, while others come"
    assert bench.runtime.sliced("b")[-1] < 40


# Prompts read in parts.


async def test_a_long_prompt_is_read_in_parts_while_others_stream(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    long = bench.ask("b" * 20, "two")
    bench.steps.open()
    assert await long.text() == "two"
    assert await stream.text() == "a long answer, while others come"
    assert bench.runtime.sliced("b") == [8, 16, 20]
    assert [a.max_tokens for a in bench.runtime.added if a.who == "b"] == [1, 1, 1000]


async def test_a_long_prompt_is_read_whole_when_nobody_streams(bench: Bench) -> None:
    bench.steps.open()
    await bench.ask("b" * 20, "two").text()
    assert bench.runtime.sliced("b") == [20]


async def test_prompts_that_come_together_are_read_whole(bench: Bench) -> None:
    asked = await bench.ask_all(*[(name * 20, "an answer") for name in "abcd"])
    bench.steps.open()
    assert [await a.text() for a in asked] == ["an answer"] * 4
    assert [added.tokens for added in bench.runtime.added] == [20] * 4


async def test_an_idle_batch_waits_for_the_rest_of_a_burst(bench: Bench) -> None:
    bench.steps.open()
    with bench.batch.coming(), bench.batch.coming():
        first = bench.ask("a", "one")
        second = bench.ask("b", "two")
    assert [await first.text(), await second.text()] == ["one", "two"]
    assert bench.runtime.steps[0] == ["a", "b"]


async def test_a_burst_that_does_not_come_holds_nobody_up() -> None:
    bench = Bench(burst_s=0.001)
    bench.steps.open()
    with bench.batch.coming():
        assert await bench.ask("a", "one").text() == "one"
    await end(bench)


async def test_a_batch_that_works_does_not_wait_for_a_burst(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer"))
    with bench.batch.coming():
        other = bench.ask("b", "two")
        bench.steps.open()
        assert await other.text() == "two"
        assert await stream.text() == "a long answer"


async def test_a_prompt_read_before_is_not_read_in_parts_again(bench: Bench) -> None:
    bench.runtime.script("b" * 20, "two")
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    first = bench.ask("b" * 20, "two")
    bench.steps.open()
    await first.text()
    bench.runtime.added.clear()
    await bench.ask("b" * 20, "two").text()
    assert bench.runtime.sliced("b") == [20]
    await stream.text()


async def test_one_long_prompt_is_read_at_a_time(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    asked = [bench.ask("b" * 20, "two"), bench.ask("c" * 20, "six")]
    bench.steps.open()
    assert [await a.text() for a in asked] == ["two", "six"]
    assert [added.who for added in bench.runtime.added] == list("abbbccc")
    b, c = (next(i for i, s in enumerate(bench.runtime.steps) if who in s) for who in "bc")
    assert c - b == 3, "a step read parts of two prompts"
    await stream.text()


async def test_a_short_prompt_does_not_wait_for_a_long_one(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    long = bench.ask("b" * 80, "the long one's answer")
    await bench.steps.one()
    short = bench.ask("c", "six")
    await bench.steps.one()
    assert [added.who for added in bench.runtime.added][-1] == "c"
    bench.steps.open()
    assert await short.text() == "six"
    assert await long.text() == "the long one's answer"
    assert await stream.text() == "a long answer, while others come"


# A full KV cache.


async def test_a_job_without_memory_waits_for_the_others_and_goes_on(bench: Bench) -> None:
    first, second = await bench.ask_all(("a", "one two three"), ("b", "four five six seven"))
    bench.runtime.memory.add(("b", 4))
    bench.steps.open()
    assert await first.text() == "one two three"
    got = await second.got()
    assert (got.text, got.reason) == ("four five six seven", "stop")
    again = [added.tokens for added in bench.runtime.added if added.who == "b"]
    assert again == [1, 5]


async def test_newcomers_wait_too_while_the_kv_cache_is_full(bench: Bench) -> None:
    first, second = await bench.ask_all(("a", "one"), ("b", "two"))
    bench.runtime.memory.add(("b", 0))
    await bench.steps.one()
    third = bench.ask("c", "six")
    bench.steps.open()
    assert [await a.text() for a in (first, second, third)] == ["one", "two", "six"]
    assert [added.who for added in bench.runtime.added] == list("abbc")


async def test_a_lone_answer_that_fills_the_kv_cache_ends_with_length(bench: Bench) -> None:
    bench.runtime.memory.add(("a", 3))
    bench.steps.open()
    got = await bench.ask("a prompt", "one two three").got()
    assert (got.text, got.reason, got.by) == ("one", "length", "kv_cache_full")


async def test_a_lone_prompt_that_does_not_fit_the_kv_cache_is_an_error(bench: Bench) -> None:
    bench.runtime.memory.add(("a", 0))
    bench.steps.open()
    got = await bench.ask("a prompt", "one two three").got()
    assert isinstance(got.error, EngineFailed)
    assert "OV_KV_CACHE_GB" in got.error.message
    assert await bench.ask("b", "two").text() == "two"


async def test_jobs_that_lose_their_memory_together_all_go_on(bench: Bench) -> None:
    """The runtime drops every running answer at once when it can schedule none."""
    pairs = [("a", "one two three"), ("b", "four five six"), ("c", "seven eight")]
    asked = await bench.ask_all(*pairs)
    bench.runtime.memory |= {("a", 4), ("b", 4), ("c", 4)}
    bench.steps.open()
    got = [await a.got() for a in asked]
    assert [(g.text, g.reason) for g in got] == [(answer, "stop") for _, answer in pairs]


async def test_new_prompts_that_lose_their_memory_together_are_all_answered(bench: Bench) -> None:
    asked = await bench.ask_all(("a", "one"), ("b", "two"))
    bench.runtime.memory |= {("a", 0), ("b", 0)}
    bench.steps.open()
    assert [await a.text() for a in asked] == ["one", "two"]


# Failed steps.


async def test_only_the_guilty_request_fails_and_eight_others_go_on(bench: Bench) -> None:
    asked = await bench.ask_all(*INNOCENT)
    for _ in range(3):
        await bench.steps.one()
    bench.runtime.poison["X"] = 0
    guilty = bench.ask("X", "never said")
    bench.steps.open()
    got = await guilty.got()
    assert isinstance(got.error, EngineFailed)
    assert got.text == ""
    assert [await a.text() for a in asked] == [answer for _, answer in INNOCENT]
    assert bench.batch.stats().rebuilds == 1
    assert not bench.batch.failed


async def test_a_guilty_request_among_those_that_came_together_is_found(bench: Bench) -> None:
    bench.runtime.poison["X"] = 0
    asked = await bench.ask_all(*INNOCENT[:4], ("X", "never said"), *INNOCENT[4:])
    bench.steps.open()
    guilty = asked.pop(4)
    assert isinstance((await guilty.got()).error, EngineFailed)
    assert [await a.text() for a in asked] == [answer for _, answer in INNOCENT]


async def test_a_request_that_breaks_in_the_middle_of_its_answer_is_found(bench: Bench) -> None:
    bench.runtime.poison["X"] = 5
    asked = await bench.ask_all(*INNOCENT, ("X", "is never said whole"))
    bench.steps.open()
    got = await asked.pop().got()
    assert (got.text, type(got.error)) == ("is ne", EngineFailed)
    assert [await a.text() for a in asked] == [answer for _, answer in INNOCENT]


async def test_a_failure_that_does_not_come_again_costs_nobody_an_answer(bench: Bench) -> None:
    asked = await bench.ask_all(*INNOCENT)
    for _ in range(3):
        await bench.steps.one()
    bench.runtime.poison["a"] = 3
    bench.runtime.making = Turnstile()
    making = asyncio.create_task(bench.runtime.making.arrival())
    bench.steps.open()
    await soon(making)
    bench.runtime.poison.clear()
    bench.runtime.making.open()
    assert [await a.text() for a in asked] == [answer for _, answer in INNOCENT]


@pytest.mark.parametrize("count", [2, 3, 6])
async def test_several_guilty_requests_at_once_take_nobody_else_down(
    bench: Bench, count: int
) -> None:
    asked = await bench.ask_all(*INNOCENT)
    for _ in range(3):
        await bench.steps.one()
    names = "UVWXYZ"[:count]
    bench.runtime.poison |= dict.fromkeys(names, 0)
    guilty = [Asked(bench.job(name, "never said")) for name in names]
    bench.batch.submit(a.job for a in guilty)
    bench.steps.open()
    assert [type((await a.got()).error) for a in guilty] == [EngineFailed] * count
    got = [await a.got() for a in asked]
    assert [(g.text, g.error) for g in got] == [(answer, None) for _, answer in INNOCENT]
    assert not bench.batch.failed


async def test_an_innocent_request_in_a_burst_of_guilty_ones_is_answered(bench: Bench) -> None:
    names = "UVWXYZ"
    bench.runtime.poison |= dict.fromkeys(names, 0)
    asked = await bench.ask_all(*[(name, "never said") for name in names], ("a", "one"))
    bench.steps.open()
    innocent = asked.pop()
    assert await innocent.text() == "one"
    assert [type((await a.got()).error) for a in asked] == [EngineFailed] * len(names)


async def test_a_suspect_is_not_blamed_for_what_a_newcomer_does(bench: Bench) -> None:
    bench.runtime.poison |= {"X": 0, "Y": 0}
    bench.runtime.making = Turnstile()
    suspect, guilty = await bench.ask_all(("s", "the suspect's answer"), ("X", "never said"))
    making = asyncio.create_task(bench.runtime.making.arrival())
    bench.steps.open()
    await soon(making)
    newcomer = bench.ask("Y", "never said")
    bench.runtime.making.open()
    assert isinstance((await guilty.got()).error, EngineFailed)
    assert isinstance((await newcomer.got()).error, EngineFailed)
    assert await suspect.text() == "the suspect's answer"


async def test_a_process_that_was_ended_from_outside_costs_nobody_an_answer(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer"))
    await bench.steps.one()
    newcomer = bench.ask("b", "two")
    await bench.steps.one()
    bench.runtime.losses = 1
    bench.steps.open()
    assert [await stream.text(), await newcomer.text()] == ["a long answer", "two"]
    assert bench.batch.stats().rebuilds == 1


async def test_a_request_that_loses_the_process_twice_is_guilty(bench: Bench) -> None:
    [only] = await bench.ask_all(("a", "one"))
    bench.runtime.losses = 2
    bench.steps.open()
    assert isinstance((await only.got()).error, EngineFailed)
    assert await bench.ask("b", "two").text() == "two"


async def test_a_step_without_end_is_ended_when_the_model_leaves() -> None:
    bench = Bench(closing_s=0.01)
    [stream] = await bench.ask_all(("a", "a long answer"))
    await soon(asyncio.to_thread(bench.batch.close))
    assert isinstance((await stream.got()).error, Unavailable)


async def test_a_prompt_being_read_in_parts_survives_anothers_poison(bench: Bench) -> None:
    [stream] = await bench.ask_all(("a", "a long answer, while others come"))
    await bench.steps.one()
    long = bench.ask("b" * 40, "two")
    await bench.steps.one()
    bench.runtime.poison["X"] = 0
    guilty = bench.ask("X", "never said")
    bench.steps.open()
    assert isinstance((await guilty.got()).error, EngineFailed)
    assert await long.text() == "two"
    assert await stream.text() == "a long answer, while others come"


async def test_what_a_recovery_repeats_draws_with_another_seed_and_less_to_say(
    bench: Bench,
) -> None:
    plan = Plan(Sampling(min_tokens=5), 100, seed=7)
    job = bench.job("a", "an answer", plan=plan)
    bench.batch.submit([job])
    await bench.steps.arrival()
    for _ in range(3):
        await bench.steps.one()
    bench.runtime.poison["X"] = 0
    guilty = bench.ask("X", "never said")
    bench.steps.open()
    await guilty.got()
    assert await Asked(job).text() == "an answer"
    first, again = (added for added in bench.runtime.added if added.who == "a")
    done = again.tokens - first.tokens
    assert again.max_tokens == 100 - done
    assert (again.plan.seed, again.plan.sampling.min_tokens) == (7 + done, max(0, 5 - done))


async def test_stop_strings_hold_across_a_recovery(bench: Bench) -> None:
    job = bench.job("a", "one END two", reading=Reading(stops=("END",)))
    bench.batch.submit([job])
    await bench.steps.arrival()
    for _ in range(5):
        await bench.steps.one()
    bench.runtime.poison["X"] = 0
    guilty = bench.ask("X", "never said")
    bench.steps.open()
    await guilty.got()
    assert await Asked(job).text() == "one "


async def test_an_answer_under_a_grammar_goes_on_with_what_may_follow(bench: Bench) -> None:
    text = sequence(literal("an "), characters("az"), literal("nswer"))
    grammar = prepared({START: text}, [START])
    reading = Reading(held=True)
    begun = bench.job("a", "an answer", reading=reading, grammar=grammar)
    assert begun.plan.grammar == 'root ::= start\nstart ::= "an " [a-z] "nswer"\n'
    bench.batch.submit([begun])
    await bench.steps.arrival()
    for _ in range(4):
        await bench.steps.one()
    bench.runtime.poison["X"] = 0
    bench.ask("X", "never said")
    bench.steps.open()
    assert await Asked(begun).text() == "an answer"
    assert Network(parse_gbnf(begun.plan.grammar)).rest("") == "swer"


async def test_half_a_character_is_generated_anew_under_a_grammar(bench: Bench) -> None:
    """The grammar of the rest knows nothing of a token that had no text yet."""
    grammar = prepared({START: literal("😀yes")}, [START])
    begun = bench.job("a", "😀yes", reading=Reading(held=True), grammar=grammar)
    bench.batch.submit([begun])
    await bench.steps.arrival()
    await bench.steps.one()
    bench.runtime.losses = 1
    bench.steps.open()
    assert await Asked(begun).text() == "😀yes"
    assert bench.runtime.sliced("a") == [1, 1]


async def test_who_turns_to_another_rule_does_not_open_a_full_kv_cache(bench: Bench) -> None:
    """Newcomers wait until somebody has left for good."""
    bench.steps.open()
    bench.runtime.memory.add(("b", 2))
    form = FORMATS["hermes"]
    text = "Now.\n" + written(form, [("f", {})])
    tools = make(Demand(form.name, (Tool("f"),)))
    reading = Reading(form=form, names=("f",))
    calling = Asked(bench.job("a", text, reading=reading, grammar=tools.grammar))
    dropped = Asked(bench.job("b", "another answer"))
    bench.batch.submit([calling.job, dropped.job])
    assert (await calling.got()).reason == "tool_calls"
    assert await dropped.text() == "another answer"
    together = [step for step in bench.runtime.steps if set(step) == {"a", "b"}]
    assert len(together) == 3


async def test_an_answer_whose_grammar_can_not_go_on_ends_alone(bench: Bench) -> None:
    """So long a text under a rule that calls itself is too much to go on from."""
    again = choice(characters("az"), sequence(characters("az"), Rule(START)))
    deep = prepared({START: again}, [START])
    long = bench.job("a", "x" * 1500, reading=Reading(held=True), grammar=deep, max_tokens=5000)
    bench.batch.submit([long])
    await bench.steps.arrival()
    for _ in range(1200):
        await bench.steps.one()
    innocent = bench.ask("b", "innocent")
    bench.runtime.poison["X"] = 0
    bench.ask("X", "never said")
    bench.steps.open()
    assert await innocent.text() == "innocent"
    got = await Asked(long).got()
    assert got.error is None or "structured" in got.error.message
    assert not bench.batch.failed


async def test_an_answer_that_was_dropped_for_memory_goes_on_under_its_grammar(
    bench: Bench,
) -> None:
    bench.steps.open()
    bench.runtime.memory.add(("a", 4))
    grammar = prepared({START: literal("yes-and-no")}, [START])
    dropped = bench.job("a", "yes-and-no", reading=Reading(held=True), grammar=grammar)
    other = bench.job("b", "another answer")
    bench.batch.submit([other, dropped])
    assert await Asked(dropped).text() == "yes-and-no"
    again = [added.plan.grammar for added in bench.runtime.added if added.who == "a"]
    assert Network(parse_gbnf(str(again[-1]))).rest("") == "and-no"


def structured(
    bench: Bench, prompt: str, gigabytes: int, answer: str = "yes", seconds: float = 0
) -> Job:
    """An answer under a grammar of its own, of which the pipeline keeps so much."""
    rule = {START: choice(literal(answer), literal(prompt))}
    memory = gigabytes * 1_000_000_000
    reading = Reading(held=True)
    more = {"reading": reading, "grammar": prepared(rule, [START]), "cost": Cost(memory, seconds)}
    return bench.job(prompt, answer, **more)


async def test_what_grammars_leave_behind_is_freed_when_nobody_is_there(bench: Bench) -> None:
    bench.steps.open()
    for prompt, made in (("a", 1), ("b", 1), ("c", 2), ("d", 2)):
        job = structured(bench, prompt, 0 if prompt in "ab" else 2)
        bench.batch.submit([job])
        assert await Asked(job).text() == "yes"
        await until(lambda n=made: len(bench.runtime.made) >= n)
    assert bench.batch.stats().rebuilds == 0


async def test_nobody_joins_a_pipeline_that_grammars_have_filled(bench: Bench) -> None:
    heavy = structured(bench, "a", 4)
    bench.batch.submit([heavy])
    await bench.steps.arrival()
    late = bench.ask("b", "late")
    bench.steps.open()
    assert await Asked(heavy).text() == "yes"
    assert await late.text() == "late"
    assert len(bench.runtime.made) == 2
    assert not any({"a", "b"} <= set(step) for step in bench.runtime.steps)


async def test_who_has_waited_long_does_not_wait_for_a_long_answer() -> None:
    bench = Bench(patience_s=0)
    heavy = structured(bench, "a", 4, "yes" * 300)
    bench.batch.submit([heavy])
    await bench.steps.arrival()
    for _ in range(3):
        await bench.steps.one()
    late = bench.ask("b", "late")
    for _ in range(12):
        await bench.steps.one()
    assert await late.text() == "late"
    assert not heavy.ended
    assert len(bench.runtime.made) == 2
    bench.steps.open()
    assert await Asked(heavy).text() == "yes" * 300
    await end(bench)


async def test_grammars_that_cost_much_keep_a_distance(bench: Bench) -> None:
    """Who streams is left alone for a while behind each; others join meanwhile."""
    streaming = bench.ask("a", "x" * 60)
    await bench.steps.arrival()
    await bench.steps.one()
    for prompt in "bc":
        job = structured(bench, prompt, 0, seconds=1000)
        bench.batch.submit([job])
    cheap = structured(bench, "d", 0)
    bench.batch.submit([cheap])
    bench.steps.open()
    assert await Asked(cheap).text() == "yes"
    assert await streaming.text() == "x" * 60
    assert await Asked(job).text() == "yes"
    joined = [added.who for added in bench.runtime.added]
    assert joined == ["a", "b", "d", "c"]


async def test_a_decoder_that_throws_once_makes_nothing_be_said_twice(bench: Bench) -> None:
    asked = await bench.ask_all(*INNOCENT)
    for _ in range(3):
        await bench.steps.one()
    bench.runtime.decode_errors.append(RuntimeError("no decoder"))
    bench.steps.open()
    assert [await a.text() for a in asked] == [answer for _, answer in INNOCENT]


async def test_the_broken_pipeline_is_gone_before_another_is_made(bench: Bench) -> None:
    """Two at once would take the memory of two KV caches."""
    bench.runtime.poison["X"] = 0
    bench.steps.open()
    await bench.ask("X", "never said").got()
    assert await bench.ask("a", "one").text() == "one"
    gc.collect()
    assert len(bench.runtime.made) == 2
    assert bench.runtime.alive_at_rebuild == 0


async def test_a_pipeline_that_can_not_be_made_anew_fails_all(bench: Bench) -> None:
    asked = await bench.ask_all(*INNOCENT)
    await bench.steps.one()
    bench.runtime.poison["a"] = 1
    bench.runtime.make_errors.append(RuntimeError("out of memory"))
    bench.steps.open()
    for a in asked:
        assert isinstance((await a.got()).error, EngineFailed)
    assert bench.batch.failed
    assert isinstance((await bench.ask("b", "two").got()).error, Unavailable)


async def test_a_pipeline_that_never_works_is_given_up(bench: Bench) -> None:
    """Not rebuilt for ever: each request that comes is guilty until the engine has failed."""
    bench.runtime.poison |= dict.fromkeys("abcdefgh", 0)
    bench.steps.open()
    for name in "abcdefgh":
        got = await bench.ask(name, "never said").got()
        assert got.error is not None
        if bench.batch.failed:
            break
    assert bench.batch.failed


async def test_the_errors_text_names_no_file(bench: Bench) -> None:
    bench.runtime.poison["X"] = 0
    bench.steps.open()
    error = (await bench.ask("X", "never said").got()).error
    assert error is not None
    assert "poison in X" in error.message


# Several answers to one prompt.


async def test_further_answers_start_when_the_first_has_read_the_prompt(bench: Bench) -> None:
    call = Call(asyncio.get_running_loop())
    leader = bench.job("a prompt", "an answer", call=call)
    others = [bench.job("a prompt", "an answer", call=call, index=i, leader=leader) for i in (1, 2)]
    bench.batch.submit([leader, *others])
    await bench.steps.arrival()
    await bench.steps.one()
    bench.steps.open()
    texts, ended = ["", "", ""], 0
    async for item in call.items():
        if isinstance(item, Text):
            texts[item.index] += item.text
        else:
            ended += 1
        if ended == 3:
            break
    assert texts == ["an answer"] * 3
    assert bench.runtime.steps[:2] == [["a"], ["a", "a", "a"]]


async def test_cancelling_all_answers_of_a_request_ends_them(bench: Bench) -> None:
    leader = bench.job("a prompt", "an answer")
    other = bench.job("a prompt", "an answer", index=1, leader=leader)
    bench.batch.submit([leader, other])
    await bench.steps.arrival()
    bench.batch.cancel([leader, other])
    bench.steps.open()
    assert await bench.ask("b", "two").text() == "two"
    assert [added.who for added in bench.runtime.added] == ["a", "b"]


# The end.


async def test_closing_ends_running_and_waiting_answers_with_an_error() -> None:
    bench = Bench(max_running=1)
    endless = "x" * 100_000
    asked = [bench.ask("a", endless, max_tokens=10**6), bench.ask("b", endless)]
    await bench.steps.arrival()
    await end(bench)
    for a in asked:
        error = (await a.got()).error
        assert isinstance(error, Unavailable)
        assert error.retry_after


async def test_a_job_that_comes_after_the_end_gets_an_error(bench: Bench) -> None:
    await end(bench)
    assert isinstance((await bench.ask("a", "one").got()).error, Unavailable)


async def test_closing_frees_the_pipeline(bench: Bench) -> None:
    bench.steps.open()
    await bench.ask("a", "one").text()
    await end(bench)
    gc.collect()
    assert [ref() for ref in bench.runtime.made] == [None]


async def test_a_loop_that_is_gone_does_not_stop_the_thread(bench: Bench) -> None:
    """A client's loop may have ended with its answers under way, as in a shut-down."""
    made = threading.Event()
    jobs: list[Job] = []

    async def visitor() -> None:
        jobs.append(bench.job("a", "one two three"))
        bench.batch.submit(jobs)
        made.set()

    await asyncio.to_thread(asyncio.run, visitor())
    await happens(made)
    bench.steps.open()
    assert await bench.ask("b", "two").text() == "two"


# What a watchdog sees.


async def test_a_step_tells_how_long_it_has_been_running(bench: Bench) -> None:
    assert bench.batch.stuck_s == 0
    asked = bench.ask("a", "answer")
    await bench.steps.arrival()
    first = bench.batch.stuck_s
    assert first > 0
    await until(lambda: bench.batch.stuck_s > first)
    bench.steps.open()
    await asked.text()
    await until(lambda: bench.batch.stuck_s == 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_is_gone_is_stuck_for_ever() -> None:
    class Deadly(FakePipeline):
        def busy(self) -> bool:
            raise RuntimeError("a bug that nobody foresaw")

    runtime = FakeRuntime()
    make = lambda: Deadly(runtime)  # noqa: E731
    batch = Batch(make, Detokenizer(runtime.decode), name="a", max_running=1, prefill_slice=8)
    await until(lambda: batch.stuck_s == math.inf)
    await soon(asyncio.to_thread(batch.close))
    assert batch.stuck_s == 0


# Halting.


async def test_what_is_halted_ends_where_it_is() -> None:
    bench = Bench(max_running=1)
    [running] = await bench.ask_all(("A running", "one two three four"))
    waiting = bench.ask("B waits", "never said")
    for _ in range(4):
        await bench.steps.one()
    bench.batch.cancel([running.job, waiting.job], halt=True)
    bench.steps.open()
    got = await running.got()
    assert got.text
    assert "one two three four".startswith(got.text)
    assert got.text != "one two three four"
    assert (got.reason, got.by) == ("stop", "cancelled")
    late = await waiting.got()
    assert (late.text, late.reason, late.by) == ("", "stop", "cancelled")
    assert await bench.ask("C after", "goes on").text() == "goes on"
    await end(bench)


async def test_half_a_character_is_left_out_of_what_is_halted(bench: Bench) -> None:
    [asked] = await bench.ask_all(("A emoji", "😀😀😀"))
    for _ in range(2):
        await bench.steps.one()
    bench.batch.cancel([asked.job], halt=True)
    bench.steps.open()
    assert (await asked.got()).text == "😀"


async def test_a_halt_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    bench.steps.open()
    asked = bench.ask("A", "done")
    assert await asked.text() == "done"
    bench.batch.cancel([asked.job], halt=True)
    assert await bench.ask("B", "next").text() == "next"
