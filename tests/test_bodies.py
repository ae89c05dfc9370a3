"""Bodies that are too large, too slow or compressed, and what their clients get to read."""

import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from apps import HI, Server, Start, problem
from fakes import settled, soon
from sockets import client, listening
from starlette.types import Message, Receive, Scope, Send

from ov_server.bodies import Bodies
from ov_server.connections import Connection
from ov_server.metrics import Figures, Recorder
from ov_server.values import MOST_VALUES, crowded, unwieldy

MB = 2**20
JSON = {"content-type": "application/json"}


class Upload:
    """A request on the bare ASGI interface, whose pieces a test sends, to an app that echoes."""

    def __init__(self, headers: dict[str, str], bodies: Bodies | None = None, **limits: float):
        """`bodies` is another upload's, with which it shares what may be read at once."""
        self._pieces: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self.got: list[bytes] = []
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}
        self.bodies = bodies or Bodies(self._app, most_mb=1, **limits)
        app = Recorder(self.bodies, Figures())
        self.task = asyncio.create_task(app(scope, self._pieces.get, self._sent.put))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.got.append(message["body"])
        assert not message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"error": {"code": null}}'})

    def send(self, body: bytes, more: bool = True) -> None:
        self._pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._pieces.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, str | None, bool]:
        """Status, code of the error, and whether the connection is to be closed."""
        start, body = await soon(self._sent.get()), await soon(self._sent.get())
        closes = (b"connection", b"close") in start["headers"]
        return start["status"], json.loads(body["body"])["error"]["code"], closes

    @property
    def silent(self) -> bool:
        return self._sent.empty()


@asynccontextmanager
async def upload(
    headers: dict[str, str], bodies: Bodies | None = None, **limits: float
) -> AsyncGenerator[Upload]:
    upload = Upload(headers, bodies, **limits)
    try:
        yield upload
    finally:
        upload.leave()
        await soon(upload.task)


@pytest.mark.anyio
async def test_a_body_in_pieces_arrives_as_one() -> None:
    async with upload({"transfer-encoding": "chunked"}) as sent:
        sent.send(b"one ")
        sent.send(b"two", more=False)
        assert await sent.answer() == (200, None, False)
    assert sent.got == [b"one two"]


@pytest.mark.anyio
async def test_a_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    async with upload({"content-length": str(MB + 1)}) as sent:
        assert await sent.answer() == (413, "body_too_large", True)
    assert not sent.got


@pytest.mark.anyio
async def test_a_body_without_a_length_is_refused_where_it_passes_the_limit() -> None:
    async with upload({"transfer-encoding": "chunked"}) as sent:
        sent.send(b"a" * MB)
        sent.send(b"a")
        assert await sent.answer() == (413, "body_too_large", True)
    assert not sent.got


@pytest.mark.anyio
async def test_a_body_of_the_limit_is_read() -> None:
    async with upload({"content-length": str(MB)}) as sent:
        sent.send(b"a" * MB, more=False)
        assert await sent.answer() == (200, None, False)


@pytest.mark.anyio
async def test_only_so_many_large_bodies_are_read_at_once() -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(upload({"transfer-encoding": "chunked"}))

        async def another() -> Upload:
            sent = upload({"transfer-encoding": "chunked"}, first.bodies)
            return await stack.enter_async_context(sent)

        others = [await another() for _ in range(15)]
        for sent in (first, *others):
            sent.send(b"a" * MB)
        await settled()
        late, small = await another(), await another()
        late.send(b"a" * (MB // 2))
        assert await late.answer() == (503, "unavailable", True)
        small.send(b"{}", more=False)
        assert (await small.answer())[0] == 200
        first.send(b"", more=False)
        assert (await first.answer())[0] == 200
        again = await another()
        again.send(b"a" * (MB // 2), more=False)
        assert (await again.answer())[0] == 200


@pytest.mark.anyio
async def test_what_a_refused_client_still_sends_is_read_to_its_end() -> None:
    async with upload({"content-length": str(5 * MB)}) as sent:
        await sent.answer()
        for _ in range(4):
            sent.send(b"a" * MB)
        assert sent.silent
        sent.send(b"a" * MB, more=False)
        await soon(sent.task)
        assert not sent.silent


@pytest.mark.anyio
async def test_a_refused_client_that_never_ends_is_left() -> None:
    async with upload({"content-length": str(5 * MB)}, linger_s=0.01) as sent:
        await sent.answer()
        await soon(sent.task)
        assert not sent.silent


@pytest.mark.anyio
async def test_a_body_that_stops_is_a_408() -> None:
    async with upload({"content-length": "10"}, pause_s=0.01, linger_s=0) as sent:
        sent.send(b"a")
        assert await sent.answer() == (408, "body_too_slow", True)


@pytest.mark.anyio
async def test_a_body_that_drips_is_a_408() -> None:
    async with upload({"content-length": "10"}, whole_s=0.05, linger_s=0) as sent:

        async def drip() -> None:
            while sent.silent:
                sent.send(b"")
                await asyncio.to_thread(int)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(drip())
            assert await sent.answer() == (408, "body_too_slow", True)


@pytest.mark.anyio
async def test_a_client_that_leaves_in_the_middle_is_no_request() -> None:
    async with upload({"content-length": "10"}) as sent:
        sent.send(b"a")
        sent.leave()
        await soon(sent.task)
    assert sent.silent
    assert not sent.got


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "br", "zstd"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    async with upload({"content-length": "10", "content-encoding": encoding}) as sent:
        assert await sent.answer() == (415, "unsupported_encoding", True)


@pytest.mark.anyio
async def test_a_server_that_stops_answers_an_upload() -> None:
    async with upload({"content-length": "10"}) as sent:
        sent.send(b"a")
        await settled()
        sent.task.cancel()
        assert await sent.answer() == (503, "unavailable", True)


CROWDS = {
    "numbers": b"[" + b"1," * MOST_VALUES + b"1]",
    "objects": b"[" + b"{}," * MOST_VALUES + b"1]",
    "nested": b"[" * (MOST_VALUES + 1),
    "strings": b"[" + b'"",' * 5 * MOST_VALUES + b"1]",
    "members": b"{" + b'"a":1,' * MOST_VALUES + b'"a":1}',
    "behind a string": b'["\\"\\\\",' + b"1," * MOST_VALUES + b"1]",
    "behind a text that looks like an end": b'{"a":"\\\\\\"","b":[' + b"1," * MOST_VALUES,
    "wide characters": ("[" + "1," * MOST_VALUES + "1]").encode("utf-16"),
}


@pytest.mark.parametrize("body", CROWDS.values(), ids=list(CROWDS))
def test_a_body_of_too_many_values_is_known(body: bytes) -> None:
    assert crowded(body)


PLAIN = {
    "text": json.dumps({"a": '[{,\\"' * MOST_VALUES}).encode(),
    "as many as may be": json.dumps(list(range(MOST_VALUES))).encode(),
    "code": json.dumps([{"content": '{"a": ["b", "c"]}' * 1000}] * 100).encode(),
    "slashes": json.dumps({"a": "\\" * MOST_VALUES, "b": "," * 2 * MOST_VALUES}).encode(),
}


@pytest.mark.parametrize("body", PLAIN.values(), ids=list(PLAIN))
def test_commas_in_texts_are_no_values(body: bytes) -> None:
    assert not crowded(body)


def test_texts_are_counted_together_and_each_for_itself() -> None:
    half = b"[" + b"1," * (MOST_VALUES // 2) + b"1]"
    assert not crowded(half)
    assert crowded(half, half)
    assert crowded(b'"', half, half, b'"')


def test_objects_of_too_many_members_are_known_alone_and_together() -> None:
    assert unwieldy([{"a": MANY}])
    assert not unwieldy([{str(n): {} for n in range(1000)}] * 4)
    assert unwieldy(({str(n): {} for n in range(1000)},) * 6)
    assert not unwieldy([1] * MOST_VALUES)


@pytest.mark.anyio
async def test_too_many_values_are_refused_in_openais_shape(server: Server) -> None:
    said = await soon(
        server.http.post("/v1/chat/completions", content=CROWDS["numbers"], headers=JSON)
    )
    assert said.status_code == 413
    assert problem(said)["code"] == "body_too_large"
    assert str(MOST_VALUES) in problem(said)["message"]


@pytest.mark.anyio
async def test_too_many_values_in_the_arguments_of_calls_are_refused(server: Server) -> None:
    call = {"name": "f", "arguments": json.dumps({"a": [1] * (MOST_VALUES // 2)})}
    said = await server.chat(messages=[{"role": "assistant", "function_call": call}] * 3 + HI)
    assert said.status_code == 400
    assert problem(said)["param"] == "messages"


MANY = {str(number): 0 for number in range(3000)}
CALLED: list[Any] = [
    {"role": "assistant", "function_call": {"name": "f", "arguments": json.dumps(MANY)}}
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": HI * 10_001}, "messages"),
        ({"messages": [{}] * 10_000}, "messages[0].role"),
        ({"messages": [1] * 10_000}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [1] * 10_000}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}] * 10_001}]},
            "messages[0].content",
        ),
        ({"tools": [1] * 1024}, "tools[0]"),
        ({"chat_template_kwargs": {"a": MANY}}, "chat_template_kwargs"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": MANY}}]}, "tools"),
        ({"messages": [*CALLED, *HI]}, "messages"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_long_lists_are_bounded_and_the_first_mistake_is_told(
    server: Server, fields: dict[str, Any], param: str
) -> None:
    said = await server.chat(**fields)
    assert (said.status_code, problem(said)["param"]) == (400, param)


# At a real socket.


@asynccontextmanager
async def served(start: Start, **settings: object) -> AsyncGenerator[int]:
    async with start("a", max_body_mb=1, **settings) as server, served_app(server) as port:
        yield port


def served_app(server: Server) -> Any:
    return listening(Connection, server.app)


HUGE = 100 * MB


def pieces(size: int = HUGE) -> Iterator[bytes]:
    for _ in range(size // MB):
        yield b"a" * MB


async def in_pieces(size: int = HUGE) -> AsyncIterator[bytes]:
    for piece in pieces(size):
        yield piece


def with_http_client(port: int) -> tuple[int, str]:
    """Sends all before it reads anything."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = JSON | {"Content-Length": str(HUGE)}
        connection.request("POST", "/v1/chat/completions", pieces(), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def with_http_client_in_chunks(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        path = "/v1/chat/completions"
        connection.request("POST", path, pieces(), JSON, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def with_httpx(port: int) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with httpx.Client(timeout=20, trust_env=False, verify=False) as http:
        answer = http.post(url, content=b"a" * HUGE, headers=JSON)
        return answer.status_code, answer.text


def with_the_sdk(port: int) -> tuple[int, str]:
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=20
    ) as sdk:
        long: Any = [{"role": "user", "content": "a" * HUGE}]
        with pytest.raises(openai.APIStatusError) as caught:
            sdk.chat.completions.create(model="a", messages=long)
    return caught.value.status_code, caught.value.response.text


SENDERS = [with_http_client, with_http_client_in_chunks, with_httpx, with_the_sdk]


@pytest.mark.anyio
@pytest.mark.parametrize("sender", SENDERS)
async def test_a_client_that_sends_far_too_much_reads_why_it_is_refused(
    start: Start, sender: Callable[[int], tuple[int, str]]
) -> None:
    async with served(start) as port:
        status, body = await asyncio.wait_for(asyncio.to_thread(sender, port), 30)
    assert status == 413
    assert "OV_MAX_BODY_MB" in json.loads(body)["error"]["message"]


@pytest.mark.anyio
async def test_the_refusal_comes_before_the_body(start: Start) -> None:
    async with served(start) as port, client(port) as eager:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
        eager.send(head + b"Content-Length: 99999999\r\n\r\n")
        await eager.hears(b"HTTP/1.1 413 ")
        await eager.hears(b"connection: close\r\n")
        await eager.hears(b'"body_too_large"}}')


@pytest.mark.anyio
async def test_a_client_that_asks_first_is_told_and_need_not_send(start: Start) -> None:
    head = b"POST /v1/models HTTP/1.1\r\nContent-Type: application/json\r\n"
    head += b"Expect: 100-continue\r\nContent-Length: "
    async with served(start) as port, client(port) as polite, client(port) as modest:
        polite.send(head + b"99999999\r\n\r\n")
        await polite.hears(b"HTTP/1.1 413 ")
        modest.send(head + b"2\r\n\r\n")
        await modest.hears(b"HTTP/1.1 100 Continue\r\n\r\n")
        modest.send(b"{}")
        await modest.hears(b"HTTP/1.1 405 ")
