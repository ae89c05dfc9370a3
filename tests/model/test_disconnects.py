"""Clients that leave, at every stage of their request: nothing is worked on for nobody.

The server runs one answer at a time, so that the second one waits; every abandoned answer is
one that would take minutes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .clients import Leaver, alphabet, asking, endless, long_prompt, read_stream, stream
from .servers import MODEL, ProcessServer, process_server
from .waiting import until

SECONDS = 30
TEXT = b'"content":"'


def register(registry: Path, models: dict[str, dict[str, str]]) -> None:
    part = registry.with_suffix(".part")
    part.write_text(json.dumps({"version": 1, "models": models}))
    part.rename(registry)


@pytest.fixture(scope="module")
def narrow(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[ProcessServer]:
    folder = tmp_path_factory.mktemp("narrow")
    registry = folder / "registry.json"
    register(registry, {MODEL: {"path": str(converted)}})
    limits: dict[str, Any] = {"OV_MAX_RUNNING": 1, "OV_PREFILL_CHUNK": 32, "OV_KV_CACHE_GB": 1}
    with process_server(folder, cache, registry, **limits) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


def left(server: ProcessServer, request_id: str) -> str:
    """The request's line in the log, when the server has seen that its client left."""
    line = server.log_line(f"id={request_id} ")
    assert "outcome=client left" in line
    return line


def works(server: ProcessServer) -> None:
    """The next request is served as if nothing had been."""
    body, text = alphabet(0, 20)
    assert read_stream(server, body).text == text
    server.wait_until_idle()


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("abruptly", [True, False])
def test_in_the_middle_of_an_answer(narrow: ProcessServer, streamed: bool, abruptly: bool) -> None:
    name = f"middle-{streamed}-{abruptly}"
    with Leaver(narrow, endless(stream=streamed), name) as client:
        if streamed:
            client.read_until(TEXT, times=8)
        until(lambda: narrow.queue()["running"] == 1, "an answer in work")
        client.leave(abruptly=abruptly)
    narrow.wait_until_idle(seconds=SECONDS)
    left(narrow, name)
    works(narrow)


def test_in_the_middle_of_several_answers(narrow: ProcessServer) -> None:
    with Leaver(narrow, endless(stream=True, n=3), "several") as client:
        client.read_until(TEXT, times=8)
        assert narrow.queue() == {"running": 1, "waiting": 2}
        client.leave()
    narrow.wait_until_idle(seconds=SECONDS)
    left(narrow, "several")


@pytest.mark.parametrize("streamed", [True, False])
def test_in_the_queue(narrow: ProcessServer, streamed: bool) -> None:
    name = f"queued-{streamed}"
    with Leaver(narrow, endless(stream=True), "ahead") as ahead:
        ahead.read_until(TEXT, times=2)
        with Leaver(narrow, endless(stream=streamed), name) as client:
            until(lambda: narrow.queue()["waiting"] == 1, "a request that waits")
            client.leave()
        until(lambda: narrow.queue() == {"running": 1, "waiting": 0}, "the one ahead", SECONDS)
        assert "answer_tokens=0" in left(narrow, name)
        ahead.read_until(TEXT, times=ahead.received.count(TEXT) + 5)
        ahead.leave()
    narrow.wait_until_idle(seconds=SECONDS)


@pytest.mark.parametrize("streamed", [True, False])
def test_in_prefill(narrow: ProcessServer, streamed: bool) -> None:
    name = f"prefill-{streamed}"
    prompt = f"{name} {long_prompt(500)}"
    with Leaver(narrow, endless(prompt, stream=streamed), name) as client:
        until(lambda: narrow.queue()["running"] == 1, "a prompt being read")
        client.leave()
    narrow.wait_until_idle(seconds=SECONDS)
    line = left(narrow, name)
    assert "first_token_s" not in line, "the prompt was read before the client left"
    works(narrow)


@pytest.mark.parametrize("streamed", [True, False])
def test_before_the_first_byte_while_the_model_loads(narrow: ProcessServer, streamed: bool) -> None:
    name = f"loading-{streamed}"
    models = json.loads(narrow.registry.read_text())["models"]
    register(narrow.registry, {**models, name: models[MODEL]})
    with Leaver(narrow, {**endless(stream=streamed), "model": name}, name) as client:
        until(lambda: narrow.loading(name), "a model that loads")
        client.leave()
    assert "answer_tokens=0" in left(narrow, name)
    until(lambda: not narrow.loading(name), "the end of the load")
    narrow.wait_until_idle(name, SECONDS)
    assert narrow.post({**asking("Hello", max_tokens=1), "model": name}).status_code == 200


def test_many_at_once(narrow: ProcessServer) -> None:
    leavers = [Leaver(narrow, endless(stream=bool(n % 3)), f"many-{n}") for n in range(12)]
    try:
        until(lambda: narrow.queue() == {"running": 1, "waiting": 11}, "all of them in line")
    finally:
        for leaver in leavers:
            leaver.leave()
    narrow.wait_until_idle(seconds=SECONDS)
    for n in range(12):
        left(narrow, f"many-{n}")
    works(narrow)


def test_the_kv_cache_comes_free(narrow: ProcessServer) -> None:
    def usage_while_streaming(text: str) -> float:
        with stream(narrow, endless(text)) as chunks:
            while not next(filter(None, chunks))["choices"][0]["delta"].get("content"):
                pass
            return narrow.gauge("ov_kv_cache_usage_perc")

    before = usage_while_streaming("Hello")
    narrow.wait_until_idle(seconds=SECONDS)
    full = usage_while_streaming(f"cache {long_prompt(300)}")
    narrow.wait_until_idle(seconds=SECONDS)
    after = usage_while_streaming("Hello")
    narrow.wait_until_idle(seconds=SECONDS)
    assert full > 5 * before > 0
    assert after < full / 2
