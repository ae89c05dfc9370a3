"""Answers that survive their connection: resumed, read by several, left, cancelled, timed out."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from apps import HI, Caller, Server, Start, data_of, problem
from fakes import Deaf, FakeEngine, settled, soon, until

from ov_server import openai
from ov_server.core import Arguments, ChatRequest, Finish, Role, Sampling, Text, ToolCall
from ov_server.errors import EngineFailed
from ov_server.sessions import Asked, Session
from ov_server.wire import Showing

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"model": "a", "messages": HI, "stream": True}


def body_of(**fields: Any) -> dict[str, Any]:
    return BODY | fields


def resume(server: Server, after: int, name: str = "mine", **fields: Any) -> Caller:
    headers = {"last_event_id": f"{name}:{after}"}
    return server.post("/v1/chat/completions", body_of(**fields), **headers)


async def text(server: Server, path: str, **headers: str) -> str:
    """The whole body of a GET that has to succeed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await soon(server.http.get(path, headers=named))
    assert response.status_code == 200, response.text
    return response.text


async def state(server: Server, name: str = "mine") -> dict[str, Any]:
    return json.loads(await text(server, f"/v1/sessions/{name}"))


def said(events: str) -> str:
    chunks = [json.loads(data) for data in data_of(events) if data != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def last_choice(events: str) -> dict[str, Any]:
    """The chunk with the finish_reason."""
    assert data_of(events)[-1] == "[DONE]"
    return json.loads(data_of(events)[-2])["choices"][0]


async def begun(server: Server, *steps: Any, **fields: Any) -> tuple[Caller, FakeEngine, str]:
    """A stream of these steps that has been read as far as its first text."""
    engine = await server.engine()
    engine.enqueue(*steps)
    caller = server.post("/v1/chat/completions", body_of(**fields))
    return caller, engine, await caller.until(f'"content":"{steps[0]}"')


# Ids and names.


async def test_each_event_has_the_sessions_id_and_its_number(server: Server) -> None:
    response = await server.chat(stream=True)
    name = response.headers["x-session-id"]
    events = response.text.removesuffix("\n\n").split("\n\n")
    for index, event in enumerate(events):
        assert re.fullmatch(f"id: {name}:{index}\ndata: [^\n]+", event)
    chunks = [json.loads(data) for data in data_of(response.text)[:-1]]
    assert [chunk.get("session_id") for chunk in chunks] == [name] + [None] * (len(chunks) - 1)


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_client_may_name_its_session(server: Server, by_header: bool) -> None:
    headers = {"X-Session-Id": "mine"} if by_header else {}
    body = body_of() if by_header else body_of(session_id="mine")
    response = await soon(server.http.post("/v1/chat/completions", json=body, headers=headers))
    assert response.headers["x-session-id"] == "mine"
    assert response.text.startswith("id: mine:0\n")
    assert (await state(server))["state"] == "finished"


async def test_whole_answers_are_sessions_of_one_event(server: Server) -> None:
    response = await server.chat(session_id="mine")
    assert response.headers["x-session-id"] == "mine"
    assert await text(server, "/v1/sessions/mine/events") == (
        f"id: mine:0\ndata: {response.text}\n\n"
    )


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "ä", "a\nb", 5])
async def test_names_are_short_and_plain(server: Server, name: Any) -> None:
    error = problem(await server.chat(session_id=name))
    assert error["param"] == "session_id"


async def test_the_body_and_the_header_have_to_agree(server: Server) -> None:
    body, headers = body_of(session_id="one"), {"X-Session-Id": "two"}
    response = await soon(server.http.post("/v1/chat/completions", json=body, headers=headers))
    assert (response.status_code, problem(response)["param"]) == (400, "session_id")
    response = await soon(
        server.http.post("/v1/chat/completions", json=BODY, headers={"X-Session-Id": "a b"})
    )
    assert "X-Session-Id" in problem(response)["message"]


# Resuming.


async def test_a_client_that_comes_back_gets_what_it_missed_and_the_rest(server: Server) -> None:
    gate = asyncio.Event()
    first, _, seen = await begun(server, "one ", "two ", gate, "three", session_id="mine")
    await first.leave()
    second = resume(server, 1)
    missed = await second.until("two ")
    assert said(missed) == "two "
    gate.set()
    rest = missed + await second.rest()
    whole = await text(server, "/v1/sessions/mine/events")
    kept = seen[: seen.index("id: mine:2")] if "id: mine:2" in seen else seen
    assert kept + rest == whole
    assert said(whole) == "one two three"


@pytest.mark.parametrize("after", range(6))
async def test_from_every_event_on_the_bytes_are_the_same(server: Server, after: int) -> None:
    whole = (await server.chat(stream=True, session_id="mine")).text
    place = f"mine:{after}"
    for rest in (
        await text(server, "/v1/sessions/mine/events", last_event_id=place),
        await text(server, f"/v1/sessions/mine/events?last_event_id={place}"),
        await resume(server, after).rest(),
        await resume(server, after, session_id="mine").rest(),
    ):
        assert whole.endswith(rest)
        assert whole.removesuffix(rest).count("\n\n") == after + 1


async def test_several_read_at_once_and_get_the_same(server: Server) -> None:
    gate = asyncio.Event()
    first, _, seen = await begun(server, "one ", gate, "two", session_id="mine")
    others = [server.get("/v1/sessions/mine/events") for _ in range(3)]
    for other in others:
        await other.until("one ")
    assert (await state(server))["readers"] == 4
    gate.set()
    rests = [await other.rest() for other in others]
    whole = await text(server, "/v1/sessions/mine/events")
    assert seen + await first.rest() == whole
    assert len(set(rests)) == 1
    assert whole.endswith(rests[0])
    assert (await state(server))["readers"] == 0


async def test_a_resume_has_the_same_body(server: Server) -> None:
    await server.chat(stream=True, session_id="mine")
    error = problem_of(await resume(server, 1, temperature=0.5).answer())
    assert error["code"] == "session_in_use"
    assert "/v1/sessions/mine/events" in error["message"]


def problem_of(answer: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    return answer[1]["error"] | {"status": answer[0]}


async def test_a_resume_of_what_never_was_is_an_error(server: Server) -> None:
    for after, name in ((0, "nobody"), (3, "mine:1")):
        error = problem_of(await resume(server, after, name).answer())
        assert (error["status"], error["code"]) == (404, "session_not_found")
    for path in ("/v1/sessions/nobody", "/v1/sessions/nobody/events"):
        response = await soon(server.http.get(path))
        assert (response.status_code, problem(response)["code"]) == (404, "session_not_found")


async def test_a_resume_says_what_is_wrong_with_its_place(server: Server) -> None:
    await server.chat(stream=True, session_id="mine")
    for place in ("mine", "mine:x", ":1", "mine:-1", "mine:99"):
        response = await soon(
            server.http.get("/v1/sessions/mine/events", headers={"Last-Event-ID": place})
        )
        assert (response.status_code, problem(response)["param"]) == (400, "last_event_id")
    response = await soon(
        server.http.get("/v1/sessions/mine/events", headers={"Last-Event-ID": "other:1"})
    )
    assert "other" in problem(response)["message"]
    assert problem_of(await resume(server, 1, stream=False).answer())["param"] == "stream"
    assert problem_of(await resume(server, 1, session_id="other").answer())["param"] == "session_id"


async def test_what_is_no_longer_kept_is_gone(start: Start) -> None:
    async with start(sessions_mb=0.04) as server:
        open_gate = asyncio.Event()
        open_gate.set()
        (await server.engine()).enqueue(*["word " * 50, open_gate] * 60)
        whole = (await server.chat(stream=True, session_id="mine")).text
        first = (await state(server))["first_index"]
        assert first > 10
        response = await soon(server.http.get("/v1/sessions/mine/events"))
        assert (response.status_code, problem(response)["code"]) == (410, "events_gone")
        assert f"Go on from {first - 1}" in problem(response)["message"]
        place = f"mine:{first - 1}"
        rest = await text(server, "/v1/sessions/mine/events", last_event_id=place)
        assert whole.endswith(rest)
        assert len(rest) < 5000


async def test_a_reader_that_falls_behind_is_told_so(start: Start) -> None:
    async with start(sessions_mb=0.04) as server:
        (await server.engine()).enqueue(*["word " * 50] * 60)
        response = await server.chat(stream=True)  # all of it comes before anybody can read
        assert (response.status_code, problem(response)["code"]) == (410, "events_gone")


async def test_a_name_in_use_is_taken_until_its_answer_has_ended(server: Server) -> None:
    gate = asyncio.Event()
    first, _, _ = await begun(server, "one", gate, session_id="mine")
    for stream in (True, False):
        response = await server.chat(stream=stream, session_id="mine")
        assert (response.status_code, problem(response)["code"]) == (409, "session_in_use")
    gate.set()
    await first.rest()
    assert (await server.chat(stream=True, session_id="mine")).status_code == 200


# Leaving.


async def test_an_answer_with_a_chosen_name_goes_on_without_its_client(server: Server) -> None:
    gate = asyncio.Event()
    first, engine, _ = await begun(server, "one ", gate, "two", session_id="mine")
    await first.leave()
    assert engine.running == 1
    gate.set()
    await until(lambda: engine.running == 0)
    assert said(await text(server, "/v1/sessions/mine/events")) == "one two"
    assert (await state(server))["state"] == "finished"


async def test_an_answer_without_one_ends_with_its_last_reader(server: Server) -> None:
    gate = asyncio.Event()
    first, engine, seen = await begun(server, "one ", gate, "two")
    name = re.findall("id: (.*):0", seen)[0]
    second = server.get(f"/v1/sessions/{name}/events")
    await second.until("one ")
    await first.leave()
    assert engine.running == 1
    await second.leave()
    assert engine.running == 0
    events = await text(server, f"/v1/sessions/{name}/events")
    assert said(events) == "one "
    assert json.loads(data_of(events)[-1])["error"]["code"] == "answer_ended"


@pytest.mark.parametrize("stream", [True, False])
async def test_nobody_comes_back(start: Start, stream: bool) -> None:
    async with start(cancel_after_disconnect_s=0) as server:
        engine = await server.engine()
        engine.enqueue("one", asyncio.Event())
        caller = server.call(stream=stream, session_id="mine")
        await until(lambda: engine.running == 1)
        await caller.leave()
        await until(lambda: engine.running == 0)
        assert (await state(server))["state"] == "failed"


async def test_a_reader_in_time_keeps_the_answer(start: Start) -> None:
    async with start(cancel_after_disconnect_s=3600) as server:
        gate = asyncio.Event()
        first, engine, _ = await begun(server, "one", gate, session_id="mine")
        await first.leave()
        second = resume(server, 0)
        await second.until("one")
        await second.leave()
        assert engine.running == 1
        gate.set()
        await until(lambda: engine.running == 0)


# Cancelling.


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_cancelled_answer_ends_where_it_is(server: Server, method: str) -> None:
    caller, engine, _ = await begun(server, "one ", asyncio.Event(), "two", session_id="mine")
    path = "/v1/cancel/mine" if method == "POST" else "/v1/sessions/mine"
    for _ in range(2):
        response = await soon(server.http.request(method, path))
        assert response.status_code == 200
        assert response.json()["state"] == "cancelled"
    rest = await caller.rest()
    assert said(rest) == ""
    assert last_choice(rest)["finish_reason"] == "stop"
    assert last_choice(rest)["stop_reason"] == "cancelled"
    assert engine.running == 0


async def test_a_cancelled_whole_answer_is_what_there_was(server: Server) -> None:
    engine = await server.engine()
    engine.enqueue("one ", asyncio.Event(), "two")
    caller = server.call(session_id="mine", n=2)
    await until(lambda: engine.running == 1)
    await settled()
    assert (await soon(server.http.post("/v1/cancel/mine"))).json()["state"] == "cancelled"
    status, body = await caller.answer()
    assert status == 200
    assert [choice["message"]["content"] for choice in body["choices"]] == ["one ", "one "]
    assert {choice["stop_reason"] for choice in body["choices"]} == {"cancelled"}


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_cancelled_before_it_has_begun(server: Server, stream: bool) -> None:
    gate = server.loader.hold("a")
    caller = server.call(stream=stream, session_id="mine", n=2)
    await until(gate.reached.is_set)
    assert (await soon(server.http.post("/v1/cancel/mine"))).json()["state"] == "cancelled"
    if stream:
        ends = [json.loads(data)["choices"][0] for data in data_of(await caller.rest())[2:4]]
    else:
        ends = (await caller.answer())[1]["choices"]
    assert [end["finish_reason"] for end in ends] == ["stop", "stop"]
    assert [end["stop_reason"] for end in ends] == ["cancelled", "cancelled"]
    gate.open.set()


async def test_what_has_ended_stays_as_it_ended(server: Server) -> None:
    whole = (await server.chat(stream=True, session_id="mine")).text
    assert (await soon(server.http.delete("/v1/sessions/mine"))).json()["state"] == "finished"
    assert await text(server, "/v1/sessions/mine/events") == whole


# Errors and time.


async def test_an_error_in_the_stream_is_an_event_that_can_be_read_again(server: Server) -> None:
    (await server.engine()).enqueue("one", EngineFailed("It broke."))
    whole = (await server.chat(stream=True, session_id="mine")).text
    assert json.loads(data_of(whole)[-1])["error"]["message"] == "It broke."
    assert await text(server, "/v1/sessions/mine/events") == whole
    assert (await state(server))["error"] == "It broke."


async def test_an_answer_that_was_refused_is_refused_again(server: Server) -> None:
    (await server.engine()).enqueue(EngineFailed("It broke."))
    assert (await server.chat(stream=True, session_id="mine")).status_code == 500
    response = await soon(server.http.get("/v1/sessions/mine/events"))
    assert (response.status_code, problem(response)["message"]) == (500, "It broke.")


@pytest.mark.parametrize("where", ["setting", "body"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_has_a_deadline(start: Start, stream: bool, where: str) -> None:
    limits = {"request_timeout_s": 0.01} if where == "setting" else {}
    async with start(**limits) as server:
        engine = await server.engine()
        engine.enqueue("one", asyncio.Event())
        fields = {"timeout": 0.01} if where == "body" else {"timeout": 5}
        response = await server.chat(stream=stream, **fields)
        error = json.loads(data_of(response.text)[-1] if stream else response.text)["error"]
        assert (error["code"], response.status_code) == ("timeout", 200 if stream else 504)
        assert "OV_REQUEST_TIMEOUT_S" in error["message"]
        assert response.headers.get("x-should-retry") == (None if stream else "false")
        assert engine.running == 0


@pytest.mark.parametrize("value", [0, -1, "5", True])
async def test_a_bad_timeout_is_refused(server: Server, value: Any) -> None:
    assert problem(await server.chat(timeout=value))["param"] == "timeout"


async def test_the_end_of_the_server_ends_what_nobody_reads(start: Start) -> None:
    async with start() as server:
        caller, engine, _ = await begun(server, "one", asyncio.Event(), session_id="mine")
        await caller.leave()
        sessions = server.app.state.sessions
    assert engine.running == 0
    assert (await soon(sessions.find("", "mine"))).error.code == "unavailable"


async def test_calls_in_a_cancelled_stream_are_shown_as_far_as_they_came(server: Server) -> None:
    call = ToolCall(0, "call_1", "f")
    steps = (Role(), Text("so"), call, Arguments('{"a"', 0), asyncio.Event(), Finish("tool_calls"))
    engine = await server.engine()
    engine.enqueue(*steps)
    caller = server.post("/v1/chat/completions", body_of(session_id="mine"))
    await caller.until("arguments")
    assert (await state(server))["tokens"] == 3
    await soon(server.http.post("/v1/cancel/mine"))
    assert last_choice(await caller.rest())["stop_reason"] == "cancelled"


# Keys.

ANN, BOB = ({"Authorization": f"Bearer {name}-0123456789abcdef"} for name in ("ann", "bob"))
KEYS = "ann=ann-0123456789abcdef,bob=bob-0123456789abcdef"


async def test_a_session_is_its_keys_own(start: Start) -> None:
    async with start(api_keys=KEYS) as server:
        paths = ("/v1/sessions/mine", "/v1/sessions/mine/events")
        body = body_of(session_id="mine")
        mine = await soon(server.http.post("/v1/chat/completions", json=body, headers=ANN))
        for path in paths:
            assert (await soon(server.http.get(path, headers=ANN))).status_code == 200
            assert (await soon(server.http.get(path, headers=BOB))).status_code == 404
        for method, path in (("DELETE", paths[0]), ("POST", "/v1/cancel/mine")):
            response = await soon(server.http.request(method, path, headers=BOB))
            assert problem(response)["code"] == "session_not_found"
        theirs = await soon(server.http.post("/v1/chat/completions", json=body, headers=BOB))
        assert theirs.status_code == 200, "the same name is another session"
        again = await soon(server.http.get(paths[1], headers=ANN))
        assert again.text == mine.text != theirs.text


async def test_a_key_bounds_what_its_client_asks_at_once(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ann ann-0123456789abcdef concurrent_requests=1\nbob bob-0123456789abcdef\n")
    async with start(api_keys=str(keys)) as server:
        engine, gate = await server.engine(), asyncio.Event()
        engine.enqueue("one", gate)
        path, body = "/v1/chat/completions", body_of(session_id="mine")
        first = server.post(path, body, **ANN)
        await first.until("one")
        await first.leave()  # the answer goes on, so it counts
        refused = await soon(server.http.post(path, json=BODY, headers=ANN))
        assert (refused.status_code, problem(refused)["code"]) == (429, "rate_limit_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await soon(server.http.post(path, json=BODY, headers=BOB))).status_code == 200
        gate.set()
        await until(lambda: engine.running == 0)
        assert (await soon(server.http.post(path, json=BODY, headers=ANN))).status_code == 200


# Ends that come early.


def producing(server: Server) -> tuple[Session, FakeEngine]:
    """A session that has been started, whose producer has not run yet."""
    state = server.app.state
    session = state.sessions.begin(Asked("early", chosen=True), "a")
    engine = server.loader.engines[-1]
    showing = Showing(openai, openai.Heading("x", 0, "a", ""), choices=1, streamed=True)
    session.start(showing, engine.chat(ChatRequest((), Sampling())), 60)
    return session, engine


async def test_a_producer_that_has_not_run_yet_can_be_cancelled(server: Server) -> None:
    await server.engine()
    session, _ = producing(server)
    session.cancel()
    await soon(session.over())
    assert session.state == "cancelled"
    assert last_choice(await text(server, "/v1/sessions/early/events"))["finish_reason"] == "stop"


async def test_a_producer_that_has_not_run_yet_can_be_stopped(server: Server) -> None:
    (await server.engine()).enqueue(asyncio.Event())
    session, engine = producing(server)
    await soon(session.stop(EngineFailed("It broke.")))
    assert session.state == "failed"
    assert engine.running == 0


async def test_the_server_ends_while_an_answer_is_being_cancelled(server: Server) -> None:
    engine = await server.engine()
    engine.enqueue("one", Deaf(), "two")
    session, _ = producing(server)
    await until(lambda: session.begun)
    session.cancel()
    await soon(session.stop(EngineFailed("It ends.")))
    events = await text(server, "/v1/sessions/early/events")
    assert json.loads(data_of(events)[-1])["error"]["message"] == "It ends."
    assert events.count('"role":"assistant"') == 1


async def test_an_answer_larger_than_what_is_kept_still_reaches_its_client(start: Start) -> None:
    async with start(sessions_mb=0.01) as server:
        (await server.engine()).enqueue("word " * 4000)
        assert (await server.chat()).json()["choices"][0]["message"]["content"] == "word " * 4000
