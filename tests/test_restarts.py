"""Answers that survive the server, with OV_SESSIONS_DB: over an app, its end or its loss, and the
next one on the same file.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from apps import Server, Start, data_of, problem
from fakes import soon, until
from test_sessionroutes import begun, problem_of, resume, said, state, text

from ov_server.errors import EngineFailed
from ov_server.sessions import Asked

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@asynccontextmanager
async def restarted(start: Start, database: Path, **said: Any) -> AsyncGenerator[Server]:
    async with start(sessions_db=database, **said) as server:
        yield server


async def ask(server: Server, *steps: Any, **fields: Any) -> str:
    """A stream to its end."""
    (await server.engine()).enqueue(*steps)
    return (await server.chat(**{"stream": True, "session_id": "mine"} | fields)).text


async def lost(server: Server, database: Path) -> Path:
    """What a server that is killed now leaves behind."""
    response = await soon(server.http.get("/v1/sessions/nobody"))
    assert response.status_code == 404  # read behind all that was written before
    return left_behind(database)


def left_behind(database: Path) -> Path:
    copy = database.with_name("copy.db")
    shutil.copy(database, copy)
    shutil.copy(f"{database}-wal", f"{copy}-wal")
    return copy


# What has ended.


async def test_a_finished_answer_is_the_same_behind_a_restart(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        whole = await ask(server, "one ", "zwölf ", "😀")
        before = await state(server)
    async with restarted(start, database) as server:
        assert await text(server, "/v1/sessions/mine/events") == whole
        assert await state(server) == before
        for after in range(whole.count("\n\n")):
            rest = await resume(server, after).rest()
            assert whole.endswith(rest)
            assert whole.removesuffix(rest).count("\n\n") == after + 1
        response = await soon(server.http.delete("/v1/sessions/mine"))
        assert response.json()["state"] == "finished"
        assert server.loader.engines == []


async def test_what_is_wrong_with_a_resume_is_wrong_behind_a_restart(
    start: Start, database: Path
) -> None:
    async with restarted(start, database) as server:
        await ask(server, "one")
    async with restarted(start, database) as server:
        error = problem_of(await resume(server, 1, temperature=0.5).answer())
        assert error["code"] == "session_in_use"
        error = problem_of(await resume(server, 99).answer())
        assert error["param"] == "last_event_id"
        error = problem_of(await resume(server, 0, "nobody").answer())
        assert error["code"] == "session_not_found"


async def test_whole_answers_survive_as_well(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        answer = await server.chat()
    name = answer.headers["x-session-id"]
    async with restarted(start, database) as server:
        events = await text(server, f"/v1/sessions/{name}/events")
        assert events == f"id: {name}:0\ndata: {answer.text}\n\n"


async def test_an_error_is_the_same_behind_a_restart(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        whole = await ask(server, "one", EngineFailed("It broke."))
        await ask(server, EngineFailed("It broke at once."), session_id="refused")
        nameless = await server.chat(temperature=7)
        assert nameless.status_code == 400
    async with restarted(start, database) as server:
        assert await text(server, "/v1/sessions/mine/events") == whole
        assert (await state(server))["error"] == "It broke."
        response = await soon(server.http.get("/v1/sessions/refused/events"))
        assert (response.status_code, problem(response)["code"]) == (500, "engine_failed")
        assert problem(response)["message"] == "It broke at once."


async def test_several_read_what_was_read_back(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        whole = await ask(server, "one ", "two")
    async with restarted(start, database) as server:
        readers = [server.get("/v1/sessions/mine/events") for _ in range(3)]
        assert [await reader.rest() for reader in readers] == [whole] * 3


async def test_a_new_answer_takes_the_name(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        await ask(server, "old")
    async with restarted(start, database) as server:
        assert said(await text(server, "/v1/sessions/mine/events")) == "old"
        new = await ask(server, "new")
        assert await text(server, "/v1/sessions/mine/events") == new
    async with restarted(start, database) as server:
        assert await text(server, "/v1/sessions/mine/events") == new


async def test_who_looks_for_an_old_answer_gets_the_new_one(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        await ask(server, "old")
    async with restarted(start, database) as server:
        sessions = server.app.state.sessions
        looking = asyncio.create_task(sessions.find("", "mine"))
        await asyncio.wait({looking}, timeout=0)  # the file is asked
        assert not looking.done()
        new = sessions.begin(Asked("mine", chosen=True), "a")
        assert await soon(looking) is new


async def test_who_still_reads_an_old_answer_does_not_bring_it_back(
    start: Start, database: Path
) -> None:
    async with restarted(start, database) as server:
        await ask(server, "old")
    async with restarted(start, database, sessions_mb=0.04) as server:
        old = await soon(server.app.state.sessions.find("", "mine"))
        new = await ask(server, "new")
        for i in range(12):  # they take its place in memory
            await ask(server, *["word " * 50] * 20, session_id=f"more-{i}")
        assert await text(server, "/v1/sessions/mine/events") == new
        assert old.next == new.count("\n\n")


async def test_what_memory_has_dropped_comes_from_the_file(start: Start, database: Path) -> None:
    async with restarted(start, database, sessions_mb=0.04) as server:
        first = await ask(server, *["a word " * 5] * 9)
        opened = asyncio.Event()
        opened.set()
        steps = ["word " * 50, opened] * 60
        long = await ask(server, *steps, session_id="long")
        assert await text(server, "/v1/sessions/mine/events") == first
        assert await text(server, "/v1/sessions/long/events") == long
        assert (await state(server, "long"))["first_index"] == 0


# What was cut off.


def last_error(events: str) -> dict[str, Any]:
    return json.loads(data_of(events)[-1])["error"]


async def test_an_answer_that_was_running_ends_with_an_error(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        _, _, seen = await begun(server, "one ", "two ", asyncio.Event(), session_id="mine")
        caller = server.get("/v1/sessions/mine/events")
        seen = await caller.until("two ")
        copy = await lost(server, database)
    count = seen.count("\n\n")
    async with restarted(start, copy) as server:
        whole = await text(server, "/v1/sessions/mine/events")
        assert whole.startswith(seen)
        [error] = whole.removeprefix(seen).strip().split("\n\n")
        assert error.startswith(f"id: mine:{count}\n")
        assert last_error(whole)["code"] == "answer_interrupted"
        found = await state(server)
        assert (found["state"], found["next_index"]) == ("failed", count + 1)
        assert found["tokens"] == 2
        assert "Send the request again" in found["error"]


async def test_who_has_more_than_was_kept_is_told_of_the_end(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        _, _, seen = await begun(server, "one ", asyncio.Event(), session_id="mine")
        copy = await lost(server, database)
    count = seen.count("\n\n")
    async with restarted(start, copy) as server:
        for after in (count - 1, count, count + 5):
            events = await resume(server, after).rest()
            assert events.startswith(f"id: mine:{after + 1}\n")
            assert events.count("\n\n") == 1
            assert last_error(events)["code"] == "answer_interrupted"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_had_said_nothing_is_an_error_by_status(
    start: Start, database: Path, stream: bool
) -> None:
    async with restarted(start, database) as server:
        gate = server.loader.hold("a")
        caller = server.call(stream=stream, session_id="mine")
        await until(gate.reached.is_set)
        copy = await lost(server, database)
        gate.open.set()
        await caller.leave()
    async with restarted(start, copy) as server:
        response = await soon(server.http.get("/v1/sessions/mine/events"))
        assert (response.status_code, problem(response)["code"]) == (410, "answer_interrupted")


async def test_the_name_of_what_was_cut_off_is_free(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        await begun(server, "one ", asyncio.Event(), session_id="mine")
        copy = await lost(server, database)
    async with restarted(start, copy) as server:
        assert said(await ask(server, "new")) == "new"


async def test_the_end_of_the_server_is_written(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        caller, _, _ = await begun(server, "one ", asyncio.Event(), session_id="mine")
        await caller.leave()
    async with restarted(start, database) as server:
        events = await text(server, "/v1/sessions/mine/events")
        assert said(events) == "one "
        assert last_error(events)["code"] == "unavailable"


# What is wrong with the file.


async def test_without_a_file_answers_go_on_and_health_tells(start: Start, tmp_path: Path) -> None:
    async with restarted(start, tmp_path) as server:  # a folder
        whole = await ask(server, "one")
        assert await text(server, "/v1/sessions/mine/events") == whole
        response = await soon(server.http.get("/v1/sessions/nobody"))
        assert response.status_code == 404
        health = (await soon(server.http.get("/health"))).json()
        assert health["status"] == "degraded"
        [reason] = health["reasons"]
        assert reason.startswith(f"sessions: OV_SESSIONS_DB {tmp_path}: it can't be opened")


async def test_a_sound_file_is_no_reason(start: Start, database: Path) -> None:
    async with restarted(start, database) as server:
        await soon(server.http.get("/v1/sessions/nobody"))
        assert (await soon(server.http.get("/health"))).json()["reasons"] == []
