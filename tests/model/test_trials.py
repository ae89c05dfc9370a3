"""The process in which grammars are tried: what it refuses, what it survives, what it costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import settled

from ov_server.answergrammar import Demand
from ov_server.core import AnswerFormat, Tool
from ov_server.errors import BadRequest, Unavailable
from ov_server.grammars.grammar import Hold
from ov_server.markup import START
from ov_server.trials import Trials

from .waiting import BOUND_S, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def trials(converted: Path, cache: Path) -> AsyncIterator[Trials]:
    trials = Trials(converted, cache / "tiny" / "test")
    yield trials
    trials.close()


def asking(kind: Any, value: Any) -> Demand:
    return Demand(answer=AnswerFormat(kind, value, param="the field"))


def processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "ov_server.trial" in child.cmdline()]


async def refusal(work: Awaitable[Any]) -> str:
    with pytest.raises(BadRequest) as caught:
        await asyncio.wait_for(work, BOUND_S)
    assert caught.value.code == "invalid_schema"
    assert caught.value.param == "the field"
    return caught.value.message


async def test_a_grammar_is_made_once_and_then_remembered(trials: Trials) -> None:
    demand = asking("json_schema", {"type": "integer", "maximum": 5})
    first = await trials.made(demand)
    assert await trials.made(demand) is first
    assert len(processes()) == 1


async def test_what_is_remembered_blames_the_field_that_asks_now(trials: Trials) -> None:
    for param in ("guided_json", "response_format"):
        demand = Demand(answer=AnswerFormat("json_schema", {"type": "no"}, param=param))
        with pytest.raises(BadRequest) as caught:
            await trials.made(demand)
        assert caught.value.param == param
    tools = Demand(tools=(Tool("f", "", {"type": "no"}),), answer=demand.answer)
    with pytest.raises(BadRequest) as caught:
        await trials.made(tools)
    assert caught.value.param == "tools"


async def test_nothing_is_started_before_it_is_needed(converted: Path, cache: Path) -> None:
    trials = Trials(converted, cache / "tiny" / "test")
    assert processes() == []
    trials.close()


async def test_what_the_runtime_can_not_compile_is_refused_and_the_next_is_tried(
    trials: Trials,
) -> None:
    """Left recursion without end is one that only the runtime finds out about, if at all."""
    for text in ('root ::= root "a" | root', "root ::= x"):
        await refusal(trials.made(asking("grammar", text)))
    assert await trials.made(asking("grammar", 'root ::= "a" | "b" root'))


CONTRADICTIONS = [{"anyOf": [{"minimum": n}, {"maximum": -n}]} for n in range(40)]
HOSTILE: dict[str, Demand] = {
    "pattern": asking("regex", "((a{0,60}){0,60}){0,60}"),
    "repeat": asking("grammar", 'root ::= (([a-z "] | "x"){0,400} "y"){0,400}'),
    "ambiguous": asking("grammar", "root ::= a{1,900}\na ::= [^x]* [^y]* [^z]* [^x]*"),
    "lengths": asking("grammar", 'root ::= "\\"" ([^"] | "x"){0,3000} "\\""'),
}


async def test_what_would_take_for_ever_costs_its_sender_a_refusal(trials: Trials) -> None:
    told = await asyncio.gather(*(refusal(trials.made(demand)) for demand in HOSTILE.values()))
    assert len(told) == len(HOSTILE)
    assert await trials.made(asking("regex", "a+"))


async def test_alternatives_that_multiply_come_to_an_end(trials: Trials) -> None:
    told = await refusal(trials.made(asking("json_schema", {"allOf": CONTRADICTIONS})))
    assert "alternatives" in told


async def test_a_process_that_is_lost_is_replaced_and_nobody_is_told(trials: Trials) -> None:
    assert await trials.made(asking("regex", "a"))
    [process] = processes()
    process.kill()
    assert await trials.made(asking("regex", "b"))
    [other] = processes()
    assert other.pid != process.pid


async def test_one_that_takes_long_keeps_nobody_waiting(trials: Trials) -> None:
    slow = asyncio.create_task(refusal(trials.made(HOSTILE["repeat"])))
    await asyncio.to_thread(until, processes, "a process starts")
    assert await asyncio.wait_for(trials.made(asking("regex", "c"), "another"), BOUND_S)
    assert not slow.done()
    await slow


async def test_a_client_with_many_new_grammars_keeps_nobody_waiting(trials: Trials) -> None:
    ended: list[str] = []

    async def ask(name: str, client: str) -> None:
        await trials.made(asking("regex", f"{name}[0-9]{{1,9}}"), client)
        ended.append(name)

    many = [asyncio.create_task(ask(f"many{n}", "many")) for n in range(6)]
    await settled()
    await ask("single", "single")
    assert len(ended) <= 3, ended
    await asyncio.gather(*many)


async def test_a_process_that_is_ended_at_its_work_is_asked_for_again(trials: Trials) -> None:
    await asyncio.gather(*(trials.made(asking("regex", text), text) for text in "ab"))
    both = processes()
    assert len(both) == 2
    for process in both:
        process.suspend()
    asked = asyncio.create_task(trials.made(asking("regex", "c")))
    await settled()
    for process in both:
        process.kill()
    assert await asked


async def test_processes_that_were_ended_while_idle_cost_nobody_an_answer(trials: Trials) -> None:
    await asyncio.gather(*(trials.made(asking("regex", text), text) for text in "ab"))
    for process in processes():
        process.kill()
    assert await trials.made(asking("regex", "c"))


async def test_no_answer_waits_for_checks(trials: Trials) -> None:
    """Python's own patterns, with which the library matches names, may take for ever."""
    slow = {"patternProperties": {"^(a+)+$": {"type": "string"}}}
    text = json.dumps({"a" * 34 + "!": 1})
    made = await trials.made(asking("json_schema", {"type": "integer"}))
    checks = [asyncio.create_task(trials.fits(slow, text)) for _ in range(100)]
    assert await trials.rest(Hold(made.grammar, START), "-") == "1"
    assert sum(check.done() for check in checks) < 100
    for check in checks:
        check.cancel()


async def test_schemas_have_a_limit_of_size(trials: Trials) -> None:
    told = await refusal(trials.made(asking("json_schema", {"description": "x" * 3_000_000})))
    assert "3000" in told
    assert processes() == []


async def test_closing_does_not_wait_for_a_process_that_starts(
    converted: Path, cache: Path
) -> None:
    trials = Trials(converted, cache / "tiny" / "test")
    asked = asyncio.create_task(trials.made(asking("regex", "a")))
    await asyncio.to_thread(until, processes, "a process starts")
    await asyncio.to_thread(trials.close)
    with pytest.raises(Unavailable):
        await asked
    assert processes() == []


async def test_texts_are_completed_and_checked_there(trials: Trials) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    made = await trials.made(asking("json_schema", schema))
    assert await trials.rest(Hold(made.grammar, START), '{"a": 1') == "}"
    assert await trials.fits(schema, '{"a": 1}')
    assert not await trials.fits(schema, "{}")


async def test_many_different_schemas_do_not_fill_the_memory(trials: Trials) -> None:
    await trials.made(asking("regex", "a"))
    [process] = processes()
    before = process.memory_info().rss
    for number in range(60):
        schema = {"type": "object", "properties": {f"key{number}": {"type": "string"}}}
        await trials.made(asking("json_schema", schema))
    assert processes() == [process]
    assert process.memory_info().rss - before < 900_000_000


async def test_tools_are_tried_and_the_memory_they_take_is_told(trials: Trials) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    made = await trials.made(Demand(tools=(Tool("f", "", schema),)))
    assert made.cost.seconds > 0
    many = tuple(Tool(f"f{n}", "", schema) for n in range(40))
    assert (await trials.made(Demand(tools=many))).by_name


async def test_closing_ends_the_process(converted: Path, cache: Path) -> None:
    trials = Trials(converted, cache / "tiny" / "test")
    await trials.made(asking("regex", "a"))
    [process] = processes()
    await asyncio.to_thread(trials.close)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
