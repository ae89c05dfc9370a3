"""Many clients at once: every answer is whole and agrees with itself."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ov_server.core import ChatRequest, Message, Sampling, collect
from ov_server.settings import Settings

from .clients import Body, Streamed, alphabet, asking, endless, long_prompt, read_stream
from .servers import MODEL, Server, ThreadServer
from .waiting import BOUND_S, until

REQUESTS = 32


def mixed(number: int) -> Body:
    """Request `number` of a mix of lengths and parameters."""
    most = 8 + 5 * (number % 9)
    kinds: list[Body] = [
        asking("What is the capital of France?", temperature=0),
        asking("Tell me a story.", temperature=1.2, ignore_eos=True, logprobs=True),
        asking(f"{long_prompt(60)} What was that?", seed=number, top_p=0.9, ignore_eos=True),
        asking("Write a list.", stop=["\n", "2."], repetition_penalty=1.1),
        asking("Write a poem.", temperature=1.0, n=2, ignore_eos=True),
        asking("你好，请介绍一下北京。", temperature=0, presence_penalty=0.5),  # noqa: RUF001
        asking("Tell me a story.", frequency_penalty=0.5, min_p=0.1, min_tokens=5),
    ]
    return {**kinds[number % len(kinds)], "max_tokens": most}


def check_whole(answer: dict[str, Any], body: Body) -> None:
    most, usage = body["max_tokens"], answer["usage"]
    assert len(answer["choices"]) == body.get("n", 1)
    assert 0 < usage["completion_tokens"] <= most * len(answer["choices"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    for choice in answer["choices"]:
        assert choice["finish_reason"] in ("stop", "length")
        if body.get("ignore_eos"):
            assert choice["finish_reason"] == "length"
            assert choice["message"]["content"]
    if body.get("ignore_eos"):
        assert usage["completion_tokens"] == most * len(answer["choices"])


def check_shown(text: str, body: Body) -> None:
    assert "\N{REPLACEMENT CHARACTER}" not in text
    assert not any(stop in text for stop in body.get("stop", []))


def ask(server: Server, number: int) -> None:
    body = mixed(number)
    if number % 2 or "n" in body:
        response = server.post(body)
        assert response.status_code == 200, response.text
        check_whole(response.json(), body)
        for choice in response.json()["choices"]:
            check_shown(choice["message"]["content"], body)
    else:
        answer = read_stream(server, body)
        answer.check(body["max_tokens"])
        check_shown(answer.text, body)
        if body.get("ignore_eos"):
            assert answer.usage["completion_tokens"] == body["max_tokens"]


def test_32_mixed_requests_at_once(server: Server) -> None:
    with ThreadPoolExecutor(REQUESTS) as pool:
        for done in [pool.submit(ask, server, number) for number in range(REQUESTS)]:
            done.result()
    server.wait_until_idle()
    assert server.health()["status"] == "ok"


def test_side_by_side_no_stream_takes_anothers_text(server: Server) -> None:
    asked = [alphabet(start, 40) for start in range(16)]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: read_stream(server, one[0]), asked))
    for answer, (_, text) in zip(answers, asked, strict=True):
        answer.check(max_tokens=40)
        assert answer.text == text
    server.wait_until_idle()


def test_a_long_prompt_read_in_parts_is_not_cut_short_by_a_short_one(server: Server) -> None:
    begun = Event()

    def saw(answer: Streamed) -> None:
        if answer.deltas:
            begun.set()

    body, text = alphabet(4, 20)
    body["messages"].insert(0, {"role": "system", "content": long_prompt(120)})
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(read_stream, server, endless(max_tokens=200), saw)
        assert begun.wait(BOUND_S)
        long = pool.submit(read_stream, server, body)
        until(lambda: server.queue()["running"] == 2, "the long prompt being read")
        short = [server.post(asking("Hello", max_tokens=2)).status_code for _ in range(6)]
        answer = long.result()
        ahead.result().check(max_tokens=200)
    assert short == [200] * 6
    answer.check(max_tokens=20)
    assert (answer.text, answer.usage["completion_tokens"]) == (text, 20)


def test_health_and_models_answer_while_others_stream(server: Server) -> None:
    asked = [asking("Tell me a story.", max_tokens=60, ignore_eos=True) for _ in range(8)]
    with ThreadPoolExecutor(len(asked)) as pool:
        running = [pool.submit(read_stream, server, body) for body in asked]
        seen = []
        while not all(one.done() for one in running):
            assert server.get("/v1/models").status_code == 200
            seen.append(server.queue()["running"])
        for one in running:
            one.result().check(max_tokens=60)
    assert max(seen) == 8


# Two places for all.


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[ThreadServer]:
    registry = tmp_path_factory.mktemp("small") / "none.json"
    settings = Settings(device="CPU", cache_dir=cache, registry_path=registry, max_running=2)
    with ThreadServer(settings) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


@contextmanager
def two_streams(server: Server, **more: Any) -> Generator[list[Future[Streamed]]]:
    """They have begun, and take both places for far longer than a short answer takes. In the end
    each has all of its text."""
    tokens, begun = 200, [Event(), Event()]
    asked = [alphabet(start, tokens, **more) for start in (3, 11)]

    def stream(number: int) -> Streamed:
        saw = lambda answer: begun[number].set() if answer.deltas else None  # noqa: E731
        return read_stream(server, asked[number][0], saw)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(stream, number) for number in (0, 1)]
        assert all(seen.wait(BOUND_S) for seen in begun)
        yield running
        for future, (_, text) in zip(running, asked, strict=True):
            future.result().check(max_tokens=tokens)
            assert future.result().text == text


def test_an_interactive_answer_does_not_wait_for_batch(small: ThreadServer) -> None:
    before = small.gauge("ov_preemptions")
    with two_streams(small, priority="batch") as running:
        short, text = alphabet(5, 20)
        assert small.post(short).json()["choices"][0]["message"]["content"] == text
        assert not any(one.done() for one in running)
    assert small.gauge("ov_preemptions") == before + 1


def test_one_client_does_not_wait_for_all_of_anothers_answers(small: ThreadServer) -> None:
    async def ask() -> str:
        request = ChatRequest(
            (Message("user", "Hello"),),
            Sampling(max_tokens=8, ignore_eos=True),
            client="somebody else",
        )
        async with small.app.state.models.lease(MODEL) as engine:
            return (await collect(engine.chat(request))).choices[0].finish_reason

    before = small.gauge("ov_preemptions")
    with two_streams(small) as running:
        assert small.on_loop(ask()) == "length"
        assert not any(one.done() for one in running)
    assert small.gauge("ov_preemptions") == before + 1
