"""Streams that survive: cut off, resumed, read twice, cancelled, with the real model."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .clients import Leaver, alphabet, asking, chunks, endless
from .servers import ProcessServer, process_server
from .waiting import until

TEXT = b'"content":"'
PERSONS = {
    "type": "object",
    "properties": {
        "persons": {
            "type": "array",
            "minItems": 40,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": ["name", "age"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["persons"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[ProcessServer]:
    with process_server(tmp_path_factory.mktemp("sessions"), cache, OV_MAX_RUNNING=1) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server
        server.wait_until_idle()


def events(server: ProcessServer, name: str, after: int | None = None) -> bytes:
    """All events of a session to its end, behind one of them."""
    headers = {} if after is None else {"Last-Event-ID": f"{name}:{after}"}
    with server.http() as client:
        response = client.get(f"/v1/sessions/{name}/events", headers=headers)
    assert response.status_code == 200, response.text
    return response.content


def said(stream: bytes) -> str:
    found = [chunk for chunk in chunks(stream.decode().splitlines()) if chunk]
    return "".join(c["delta"].get("content", "") for chunk in found for c in chunk["choices"])


def whole_events(response: bytes) -> bytes:
    """Without the half of an event at the end, at which the client was cut off."""
    return dechunked(response.partition(b"\r\n\r\n")[2])


def dechunked(body: bytes) -> bytes:
    """The content of whole chunks of HTTP's chunked encoding, up to the last end of an event."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length or len(rest) < length + 2:
            break
        content += rest[:length]
        body = rest[length + 2 :]
    return content[: content.rfind(b"\n\n") + 2]


@pytest.mark.parametrize("again", ["post", "get"])
def test_a_stream_that_is_cut_off_goes_on_where_it_was(server: ProcessServer, again: str) -> None:
    body, text = alphabet(3, 60, stream=True, session_id=f"cut-{again}")
    with Leaver(server, body, f"cut-{again}") as client:
        client.read_until(TEXT, times=10)
        client.leave()
    seen = whole_events(client.received)
    last = seen.count(b"\n\n") - 1
    place = {"Last-Event-ID": f"cut-{again}:{last}"}
    with server.http() as http:
        if again == "post":
            rest = http.post("/v1/chat/completions", json=body, headers=place).content
        else:
            rest = http.get(f"/v1/sessions/cut-{again}/events", headers=place).content
    assert seen + rest == events(server, f"cut-{again}")
    assert said(seen + rest) == text
    assert (seen + rest).endswith(b"data: [DONE]\n\n")
    assert f"id: cut-{again}:{last + 1}\n".encode() == rest[: rest.index(b"\n") + 1]


def test_several_read_one_answer_as_it_comes(server: ProcessServer) -> None:
    body, text = alphabet(5, 120, stream=True, session_id="shared")
    with Leaver(server, body, "shared") as client:
        client.read_until(TEXT, times=2)
        got: list[bytes] = []
        readers = [
            threading.Thread(target=lambda: got.append(events(server, "shared"))) for _ in range(4)
        ]
        for reader in readers:
            reader.start()
        until(lambda: state(server, "shared")["readers"] >= 2, "readers")
        for reader in readers:
            reader.join()
        client.read_until(b"[DONE]")
    assert {said(stream) for stream in got} == {text}
    assert len(set(got)) == 1


def state(server: ProcessServer, name: str) -> dict[str, Any]:
    return server.get(f"/v1/sessions/{name}").json()


def structured(**more: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "persons", "schema": PERSONS}}
    return asking("Invent people.", response_format=form, max_tokens=4000, **more)


@pytest.mark.parametrize("stream", [True, False])
def test_a_cancelled_structured_answer_fits_its_schema(server: ProcessServer, stream: bool) -> None:
    name = f"structured-{stream}"
    got: list[httpx.Response] = []

    def ask() -> None:
        got.append(server.post(structured(session_id=name, stream=stream)))

    asking_thread = threading.Thread(target=ask)
    asking_thread.start()
    until(lambda: server.get(f"/v1/sessions/{name}").status_code == 200, "the session")
    until(lambda: state(server, name)["tokens"] > 30, "an answer in the middle")
    assert server.act(f"/v1/cancel/{name}").json()["state"] == "cancelled"
    asking_thread.join()
    if stream:
        text = said(got[0].content)
        [end] = [
            c for c in chunks(got[0].text.splitlines()) if c and c["choices"][0]["finish_reason"]
        ]
        choice = end["choices"][0]
    else:
        choice = got[0].json()["choices"][0]
        text = choice["message"]["content"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "cancelled")
    assert len(json.loads(text)["persons"]) >= 40
    server.wait_until_idle()


def test_what_waits_is_cancelled_without_a_token(server: ProcessServer) -> None:
    with Leaver(server, endless(stream=True), "in front") as first:
        first.read_until(TEXT)
        with Leaver(server, endless(stream=True, session_id="waits"), "waits") as second:
            until(lambda: server.queue()["waiting"] == 1, "a request in the queue")
            assert server.act("/v1/cancel/waits").json()["tokens"] == 0
            second.read_until(b"[DONE]")
            assert b'"stop_reason":"cancelled"' in second.received
        first.leave()
    server.wait_until_idle()


def test_an_answer_that_takes_too_long_ends_with_an_error(server: ProcessServer) -> None:
    response = server.post(endless(stream=True, timeout=1))
    assert json.loads(response.text.split("data: ")[-1])["error"]["code"] == "timeout"
    assert server.post(endless(timeout=1)).status_code == 504
    server.wait_until_idle()
