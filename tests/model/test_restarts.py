"""Answers that survive their server: killed or told to stop in the middle, full disk, with the real
model and OV_SESSIONS_DB.
"""

import json
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from .clients import Leaver, alphabet, asking, endless
from .servers import ProcessServer, process_server
from .test_sessions import TEXT, events, said, state, whole_events
from .waiting import until

Start = Callable[..., AbstractContextManager[ProcessServer]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def start(tmp_path: Path, cache: Path, database: Path) -> Start:
    """Starts a server on one file of sessions, again and again."""

    def start(grace_s: int = 20) -> AbstractContextManager[ProcessServer]:
        folder = tmp_path / "server"
        return process_server(folder, cache, OV_SESSIONS_DB=database, OV_STOP_GRACE_S=grace_s)

    return start


def load(server: ProcessServer) -> None:
    """So that streams have no comment lines while they wait for it."""
    assert server.post(asking("Hello", max_tokens=1)).status_code == 200


def numbered(client: Leaver) -> bytes:
    """The session's events that it has got, without comment lines and what the connection's own end
    says."""
    events = whole_events(client.received).split(b"\n\n")
    return b"".join(event + b"\n\n" for event in events if event.startswith(b"id: "))


def test_after_a_kill_the_rest_is_there_and_then_an_error(start: Start) -> None:
    body = endless(stream=True, session_id="mine")
    with start() as server:
        load(server)
        finished, text = alphabet(3, 60, stream=True, session_id="finished")
        before = server.post(finished).content
        assert said(before) == text
        with Leaver(server, body, "mine") as client:
            client.read_until(TEXT, times=20)
            client.leave()
            until(lambda: state(server, "mine")["next_index"] > 40, "more than the client has")
            server.stop(signal.SIGKILL)
    seen = numbered(client)
    count = seen.count(b"\n\n")
    with start() as server:
        assert events(server, "finished") == before
        with server.http() as http:
            place = {"Last-Event-ID": f"mine:{count - 1}"}
            rest = http.post("/v1/chat/completions", json=body, headers=place).content
        assert seen + rest == events(server, "mine")
        *missed, last = rest.decode().strip().split("\n\n")
        assert len(missed) > 10  # but for a tenth of a second, all that was made
        number, _, data = last.partition("\ndata: ")
        assert number == f"id: mine:{count + len(missed)}"
        error = json.loads(data)["error"]
        assert (error["code"], "Send the request again" in error["message"]) == (
            "answer_interrupted",
            True,
        )
        late = events(server, "mine", after=100_000)
        assert late == f"id: mine:100001\ndata: {data}\n\n".encode()
        assert server.health()["reasons"] == []
        assert server.stop() == 0


def test_killed_again_and_again_the_file_stays_sound(start: Start, database: Path) -> None:
    for round_ in range(3):
        with start() as server, Leaver(server, endless(stream=True), "mine") as client:
            for earlier in range(round_):
                assert state(server, f"whole-{earlier}")["state"] == "finished"
            name = f"whole-{round_}"
            assert server.post(asking("Hello", max_tokens=2, session_id=name)).status_code == 200
            client.read_until(TEXT, times=5)
            assert server.get("/v1/sessions/nobody").status_code == 404  # all that is is written
            server.stop(signal.SIGKILL)
            assert not server.log_lines("OV_SESSIONS_DB")
    assert not database.with_name("sessions.db.corrupt").exists()


def test_what_is_told_to_stop_writes_everything(start: Start) -> None:
    body, text = alphabet(5, 40, stream=True, session_id="short")
    with start(grace_s=0) as server:
        load(server)
        whole = server.post(body).content
        with Leaver(server, endless(stream=True, session_id="long"), "long") as client:
            client.read_until(TEXT, times=5)
            assert server.stop() == 0
            client.read_until(b"error")
    with start() as server:
        assert events(server, "short") == whole
        assert said(whole) == text
        stopped = events(server, "long")
        assert json.loads(stopped.split(b"data: ")[-1])["error"]["code"] == "unavailable"
        assert stopped.startswith(numbered(client))


def test_a_second_server_on_the_same_file_keeps_its_answers_in_memory(
    start: Start, tmp_path: Path, cache: Path, database: Path
) -> None:
    with (
        start() as first,
        process_server(tmp_path / "second", cache, OV_SESSIONS_DB=database) as second,
    ):
        assert first.health()["reasons"] == []
        body = asking("Hello", max_tokens=2, session_id="mine", stream=True)
        load(second)
        whole = second.post(body).content
        assert events(second, "mine") == whole
        [reason] = second.health()["reasons"]
        assert "another program has it open" in reason
        assert len(second.log_lines("OV_SESSIONS_DB", "in memory alone")) == 1
        assert first.get("/v1/sessions/mine").status_code == 404
