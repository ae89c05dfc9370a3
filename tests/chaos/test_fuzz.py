"""Nonsense of all kinds: whatever is asked, the answer is one that is described, and nothing is
left of it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode, checks
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from sockets import listening

from ov_server.connections import Connection
from tests.model.clients import asking
from tests.model.servers import MODEL, ProcessServer
from tests.model.waiting import BOUND_S

from . import babble, nonsense
from .conftest import SHORT, Scale
from .local import HANGS_S, Local
from .swarm import Answer, ask
from .verdict import Law


def fuzz(
    scale: Scale, examples: int, made: SearchStrategy[Any], test: Callable[[Any], None]
) -> int:
    """Tries a test with so many made-up values: the same each time in the short part, others each
    time in all of it. Returns how many were tried."""
    tried = 0

    def one(value: Any) -> None:
        nonlocal tried
        tried += 1
        test(value)

    settings(
        max_examples=examples,
        derandomize=scale == SHORT,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )(given(made)(one))()
    return tried


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    with Local(tmp_path, log_level="ERROR", sessions_mb=2) as local:
        yield local


@pytest.fixture
def law(tmp_path: Path) -> Law:
    return Law((str(tmp_path),))


def test_made_up_bodies_get_an_answer_that_is_described(
    local: Local, law: Law, scale: Scale, record_property: Callable[[str, object], None]
) -> None:
    ends: Counter[int] = Counter()

    def ask(request: nonsense.Request) -> None:
        answer = local.ask("POST", request.target, request.headers, request.body)
        ends[answer.status] += 1
        law.judge("POST", answer, request.body)
        local.complaints.check()

    tried = fuzz(scale, scale.bodies, nonsense.REQUESTS, ask)
    assert tried >= scale.bodies
    assert ends[200] > tried / 20, "some are sense"
    record_property("bodies tried, lost: 0", f"{tried} ({dict(ends)})")
    local.check_rest()
    body = nonsense.written({"model": "a", **nonsense.VALID[0]})
    answer = local.ask("POST", b"/v1/chat/completions", [nonsense.JSON], body)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hello, world"
    local.check_rest()


# The API's own description.

_SECRET = "a-key-of-32-characters-and-more-xx"


def cases(operation: Any, model: str) -> SearchStrategy[Any]:
    """Requests that fit the description, and some that don't; half of them for what is there."""

    @st.composite
    def known(draw: st.DrawFn, made: SearchStrategy[Any]) -> Any:
        case = draw(made)
        if isinstance(case.body, dict) and draw(st.booleans()):
            case.body["model"] = model
        return case

    named = any(parameter.name == "name" for parameter in operation.path_parameters)
    there = [{"path_parameters": {"name": name}} for name in (model, "s1")] if named else []
    ways: list[dict[str, Any]] = [{}, *there]
    return known(
        st.one_of(*(operation.as_strategy(mode, **way) for mode in GenerationMode for way in ways))
    )


def operations(description: bytes) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(json.loads(description)).get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


def check(case: Any, response: schemathesis.Response, law: Law) -> None:
    """That an answer is one that may be, and as it is described."""
    headers = {name: values[0] for name, values in response.headers.items()}
    law.judge(case.method, Answer(response.status_code, headers, response.content))
    load_all_checks()
    true = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.not_a_server_error,
        checks.negative_data_rejection,
    ]
    case.validate_response(response, checks=true)


def send(local: Local, case: Any, headers: dict[str, str]) -> schemathesis.Response:
    """The answer to a case as its library wants it."""
    sent = requests.Request(**case.as_transport_kwargs("http://test")).prepare()
    sent.headers.update(headers)
    url = urlsplit(sent.url or "")
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    assert isinstance(body, bytes)
    raw = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in sent.headers.items()
        if name.lower() not in ("content-length", "host")
    ]
    answer = local.ask(sent.method or "", f"{url.path}?{url.query}".encode(), raw, body)
    return schemathesis.Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=sent,
        elapsed=0.0,
        verify=False,
    )


@pytest.mark.parametrize("keyed", [False, True])
def test_the_description_of_the_api_is_true(
    tmp_path: Path,
    law: Law,
    scale: Scale,
    keyed: bool,
    record_property: Callable[[str, object], None],
) -> None:
    more = {"api_keys": f"house={_SECRET}"} if keyed else {}
    key = {"authorization": f"Bearer {_SECRET}"} if keyed else {}
    ends: Counter[int] = Counter()
    with Local(tmp_path, log_level="ERROR", **more) as local:

        def ask(case: Any) -> None:
            response = send(local, case, key)
            ends[response.status_code] += 1
            check(case, response, law)
            if keyed:
                assert send(local, case, {}).status_code in (
                    200 if case.path == "/health" else 401,
                )
            local.complaints.check()

        raw = [(name.encode(), value.encode()) for name, value in key.items()]
        for operation in operations(local.ask("GET", b"/openapi.json", raw).body):
            most = scale.bodies // (8 if operation.body else 80)
            fuzz(scale, most, cases(operation, "a"), ask)
        local.check_rest()
    assert ends[200]
    figures = f"{ends.total()} ({dict(ends)})"
    record_property(f"requests by the description, keys {keyed}, lost: 0", figures)


# The real engine.


def visit(server: ProcessServer, scale: Scale, law: Law) -> int:
    """Requests by the description; how many."""

    def ask(case: Any) -> None:
        if isinstance(case.body, dict) and "messages" in case.body:
            case.body |= {"max_tokens": 3, "max_completion_tokens": None, "timeout": 60}
        check(case, case.call(base_url=server.url, timeout=BOUND_S), law)

    most = scale.bodies // 400
    described = operations(server.get("/openapi.json").content)
    return sum(fuzz(scale, most, cases(operation, MODEL), ask) for operation in described)


def test_the_real_server_survives_what_it_is_asked(
    server: ProcessServer,
    tmp_path: Path,
    scale: Scale,
    record_property: Callable[[str, object], None],
) -> None:
    law, ends = Law((str(tmp_path),)), Counter[str]()
    worker = server.worker().pid

    async def ask_all(bodies: list[dict[str, Any]]) -> list[Answer]:
        all_of_them = asyncio.gather(*(ask(server.port, body) for body in bodies))
        return await asyncio.wait_for(all_of_them, BOUND_S)

    def try_all(bodies: list[dict[str, Any]]) -> None:
        for body, answer in zip(bodies, asyncio.run(ask_all(bodies)), strict=True):
            law.judge("POST", answer, nonsense.written(body))
            ends[answer.outcome if answer.data or answer.status != 200 else "whole"] += 1

    short = {"model": MODEL, "max_tokens": 6, "max_completion_tokens": None, "timeout": 60}
    made = st.one_of(nonsense.held(**short), nonsense.mutants(**short))
    fuzz(scale, scale.bodies // 40, st.lists(made, min_size=4, max_size=4), try_all)
    assert server.worker().pid == worker
    assert server.gauge("ov_engine_rebuilds") == 0
    record_property("bodies for the real engine, lost: 0", f"{ends.total()} ({dict(ends)})")
    record_property("requests for the real server, lost: 0", visit(server, scale, law))
    assert server.post(asking("Hello", max_tokens=1)).status_code == 200
    server.wait_until_idle()
    assert "Traceback" not in server.log


# Connections.


class Quick(Connection):
    """Ends what does not come in parts of a second."""

    head_s = 0.2
    linger_s = 0.05

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.timeout_keep_alive = 0.05


async def hear(port: int, pieces: list[bytes]) -> bytes | None:
    """What is said to a client until the connection ends, or None: it still waits for a body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), HANGS_S)
        return await asyncio.wait_for(reader.read(), 1)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def test_what_is_no_http_ends_its_connection_at_the_most(
    local: Local, scale: Scale, record_property: Callable[[str, object], None]
) -> None:
    ends: Counter[str] = Counter()

    async def talk(all_pieces: list[list[bytes]]) -> list[bytes | None]:
        async with listening(Quick, local.app) as port:
            return await asyncio.gather(*(hear(port, pieces) for pieces in all_pieces))

    def say(all_pieces: list[list[bytes]]) -> None:
        for said in local.run(talk(all_pieces)):
            statuses = [
                int(code) for code in re.findall(rb"^HTTP/1\.1 (\d{3}) ", said or b"", re.M)
            ]
            assert all(status < 500 for status in statuses), said
            assert not said or said.startswith(b"HTTP/1.1 "), said
            ends[str(statuses[0]) if statuses else "waits" if said is None else "closed"] += 1
        local.check_rest()

    batches = st.lists(babble.streams(), min_size=20, max_size=20)
    fuzz(scale, scale.bodies // 40, batches, say)
    assert ends["200"]
    record_property("connections tried, lost: 0", f"{ends.total()} ({dict(ends)})")
