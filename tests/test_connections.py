"""Connections that do not behave, at a real socket under uvloop."""

import asyncio
import socket

import pytest
from fakes import settled, soon
from sockets import client, listening
from starlette.types import Receive, Scope, Send

from ov_server.connections import Connection, watch_peers

GET = b"GET /somewhere HTTP/1.1\r\nHost: test\r\n\r\n"
NEVER_S = 1000


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


class Quick(Connection):
    head_s = 0.05


class Patient(Connection):
    head_s = NEVER_S
    linger_s = 0.05


@pytest.mark.anyio
async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with listening(Quick, hello) as port, client(port) as silent:
        assert await silent.answer() == ""


@pytest.mark.anyio
async def test_headers_that_come_too_slowly_are_answered_and_end_the_connection() -> None:
    async with listening(Quick, hello) as port, client(port) as slow:
        slow.send(GET[:-2])
        answer = await slow.answer()
    assert answer.startswith("HTTP/1.1 408 ")
    assert "connection: close" in answer
    assert answer.endswith("have not come within 0.05 s.")


@pytest.mark.anyio
async def test_each_byte_of_a_head_does_not_begin_its_time_anew() -> None:
    async with listening(Quick, hello) as port, client(port) as slow:

        async def drip() -> None:
            for _ in range(10_000):
                slow.send(b"a")
                await slow.writer.drain()

        slow.send(b"GET / HTTP/1.1\r\nX: ")
        dripping = asyncio.create_task(drip())
        assert (await slow.answer()).startswith("HTTP/1.1 408 ")
        dripping.cancel()


@pytest.mark.anyio
async def test_the_head_behind_an_answer_has_the_same_time() -> None:
    async with listening(Quick, hello) as port, client(port) as slow:
        slow.send(GET)
        await slow.hears(b"hello")
        slow.send(b"GET /")
        assert (await slow.answer()).startswith("HTTP/1.1 408 ")


@pytest.mark.anyio
async def test_an_answer_that_takes_longer_than_a_head_may_is_not_cut_off() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await passed.wait()
        await hello(scope, receive, send)

    passed = asyncio.Event()
    async with listening(Quick, late) as port, client(port) as waiting, client(port) as silent:
        waiting.send(GET)
        assert await silent.answer() == ""
        passed.set()
        await waiting.hears(b"hello")


TOO_LONG = [
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET /" + b"a" * 9000, 414),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 6000 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
    (b"GET / HTTP/1.1\r\n" + b"a" * 40_000, 431),
    (b"\r\n" * 20_000, 431),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("head", "status"), TOO_LONG)
async def test_a_head_that_is_too_long_is_refused(head: bytes, status: int) -> None:
    async with listening(Patient, hello) as port, client(port) as wordy:
        wordy.send(head)
        answer = await wordy.answer()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "connection: close" in answer


@pytest.mark.anyio
async def test_a_head_as_long_as_allowed_is_answered() -> None:
    async with listening(Patient, hello) as port, client(port) as wordy:
        wordy.send(b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nX: " + b"b" * 24_000 + b"\r\n\r\n")
        await wordy.hears(b"hello")


@pytest.mark.anyio
async def test_an_endless_head_behind_a_running_request_ends_the_connection() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await _left(receive)
        left.set()

    left = asyncio.Event()
    async with listening(Patient, endless) as port, client(port) as pushy:
        pushy.send(GET)
        await pushy.hears(b"begun")
        pushy.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        await soon(left.wait())


@pytest.mark.anyio
async def test_nonsense_behind_a_second_request_ends_the_answer_to_the_first() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await _left(receive)
        await hello(scope, receive, send)
        heard_nothing.set()

    heard_nothing = asyncio.Event()
    async with listening(Patient, late) as port, client(port) as pushy:
        pushy.send(GET + GET + b"\0")
        assert await pushy.answer() == ""
        await soon(heard_nothing.wait())


@pytest.mark.anyio
async def test_what_a_refused_client_goes_on_sending_does_not_keep_it_from_the_answer() -> None:
    async with listening(Patient, hello) as port, client(port) as wordy:
        wordy.send(b"GET /" + b"a" * 10_000_000)
        answer = await wordy.answer()
    assert answer.startswith("HTTP/1.1 414 ")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "lengths",
    [b"-1", b"+1", b"1\r\nContent-Length: 2", b"1\r\nTransfer-Encoding: chunked", b"1, 1", b"x"],
)
async def test_a_length_that_is_none_is_refused(lengths: bytes) -> None:
    async with listening(Patient, hello) as port, client(port) as liar:
        liar.send(b"POST / HTTP/1.1\r\nContent-Length: " + lengths + b"\r\n\r\nxyz")
        assert (await liar.answer()).startswith("HTTP/1.1 400 ")


@pytest.mark.anyio
async def test_a_body_that_nobody_reads_and_never_ends_ends_the_connection() -> None:
    async with listening(Quick, hello) as port, client(port) as pushy:
        pushy.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        await pushy.hears(b"hello")
        pushy.send(b"a" * 100_000)
        assert await pushy.answer() == ""


@pytest.mark.anyio
async def test_a_body_that_nobody_reads_does_not_count_as_a_head() -> None:
    async with listening(Patient, hello) as port, client(port) as pushy:
        pushy.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        await pushy.hears(b"hello")
        pushy.send(b"a" * 1_000_000 + GET)
        await pushy.hears(b"hello")


class Spouting:
    """An app that goes on with its answer as fast as it may, until its client is gone."""

    def __init__(self) -> None:
        self.sent = 0
        self.over = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_left(receive))
        await send({"type": "http.response.start", "status": 200})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"a" * 4096, "more_body": True})
            self.sent += 4096
            await settled()
        self.over.set()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.anyio
async def test_a_client_that_stops_reading_is_cut_off_and_little_is_kept_for_it() -> None:
    class Strict(Connection):
        stalled_s = 0.2

    app = Spouting()
    async with listening(Strict, app) as port:
        deaf = socket.create_connection(("127.0.0.1", port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(GET)
        await soon(app.over.wait())
        deaf.close()
    assert app.sent < 10_000_000


@pytest.mark.anyio
async def test_a_client_that_reads_slowly_but_reads_is_served() -> None:
    class Strict(Connection):
        stalled_s = NEVER_S

    app = Spouting()
    async with listening(Strict, app) as port, client(port) as slow:
        slow.send(GET)
        for _ in range(100):
            await soon(slow.reader.readexactly(100_000))
        assert not app.over.is_set()


def test_accepted_connections_inherit_what_the_listening_one_was_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch_peers(listener, gone_s=7)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


# Fields behind a body.

CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says the names of the headers as they are when the body has been read, and its length."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    said = b" ".join(name for name, _ in scope["headers"]) + b" %d" % length
    headers = [(b"content-length", b"%d" % len(said)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@pytest.mark.anyio
async def test_fields_behind_a_body_are_no_headers() -> None:
    async with listening(Patient, echo) as port, client(port) as sly:
        sly.send(CHUNKED + b"2\r\n{}\r\n0\r\nAuthorization: Bearer key\r\nOrigin: x\r\n\r\n")
        assert (await sly.answer()).endswith("\r\n\r\nhost transfer-encoding 2")


@pytest.mark.anyio
@pytest.mark.parametrize("field", [b"x: y\r\n", b"a"])
async def test_fields_behind_a_body_have_an_end(field: bytes) -> None:
    async with listening(Patient, echo) as port, client(port) as endless:
        endless.send(CHUNKED + b"2\r\n{}\r\n0\r\nx: ")
        await settled()
        for _ in range(4):
            endless.send(field * (12_000 // len(field)))
            await settled()
        assert await endless.answer() == ""


@pytest.mark.anyio
async def test_a_body_in_many_small_chunks_is_whole() -> None:
    async with listening(Patient, echo) as port, client(port) as chatty:
        chatty.send(CHUNKED)
        for _ in range(300):
            chatty.send(b"1\r\n")
            await settled()
            chatty.send(b"x\r\n" + b"400\r\n" + b"y" * 1024 + b"\r\n")
        chatty.send(b"0\r\n")
        await settled()
        chatty.send(b"\r\n")
        assert (await chatty.answer()).endswith(f" {300 * 1025}")
