"""Clients for tests: streams read by hand, and sockets that can be cut off."""

import json
import socket
import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from .servers import MODEL, Server
from .waiting import BOUND_S

Body = dict[str, Any]


def asking(text: str, **more: Any) -> Body:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def going_on(text: str, beginning: str, **more: Any) -> Body:
    """Lets the model continue an answer, and so decides what it will say."""
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": beginning}]
    continuing = {"messages": messages, "continue_final_message": True}
    return {"model": MODEL, "temperature": 0, **continuing, **more}


def alphabet(start: int, tokens: int, **more: Any) -> tuple[Body, str]:
    """A request for letters, two tokens each, and the one text that answers it: whatever is
    lost or said twice shows."""
    letters = ascii_uppercase[start:] + ascii_uppercase[:start]
    cycle = "".join(f" {letter}," for letter in letters)
    exact = {"max_tokens": tokens, "ignore_eos": True, **more}
    body = going_on("Say the abc again and again.", (cycle * 2).strip(), **exact)
    return body, (cycle * tokens)[: tokens // 2 * 3]


def endless(text: str = "Tell me a long story.", **more: Any) -> Body:
    """An answer that takes far longer than a test waits, unless it is ended."""
    return asking(text, **{"max_tokens": 7000, "ignore_eos": True, **more})


def long_prompt(words: int) -> str:
    return " ".join(f"item{n}" for n in range(words))


@dataclass
class Streamed:
    """One streamed answer of one choice, joined."""

    deltas: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    done: bool = False

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    def add(self, chunk: dict[str, Any]) -> None:
        self.usage = chunk.get("usage") or self.usage
        self.error = chunk.get("error") or self.error
        for choice in chunk.get("choices", []):
            if content := choice["delta"].get("content"):
                self.deltas.append(content)
            logprobs = choice["logprobs"] or {"content": []}
            self.tokens += [token["token"] for token in logprobs["content"]]
            if choice["finish_reason"]:
                self.finish_reasons.append(choice["finish_reason"])

    def check(self, max_tokens: int) -> None:
        """That it is whole and agrees with itself."""
        assert self.error is None
        assert self.done
        assert len(self.finish_reasons) == 1, self.finish_reasons
        used = self.usage["completion_tokens"]
        assert self.usage["total_tokens"] == self.usage["prompt_tokens"] + used
        assert 0 < used <= max_tokens
        assert self.finish_reasons[0] in ("stop", "length" if used == max_tokens else "stop")
        if self.tokens:
            assert "".join(self.tokens) == self.text
            assert len(self.tokens) <= used


def chunks(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """The data of a stream's events; None is `[DONE]`."""
    for line in lines:
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield None if data == "[DONE]" else json.loads(data)


@contextmanager
def stream(server: Server, body: Body) -> Generator[Iterator[dict[str, Any] | None]]:
    """The chunks of an answer as they come; leaving early closes the connection."""
    asked = body | {"stream": True, "stream_options": {"include_usage": True}}
    with (
        server.http() as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as response,
    ):
        if response.status_code != 200:
            yield iter([json.loads(response.read())])
        else:
            yield chunks(response.iter_lines())


def read_stream(
    server: Server, body: Body, saw: Callable[[Streamed], object] = lambda answer: None
) -> Streamed:
    """The whole of a stream; `saw` is called after each chunk."""
    answer = Streamed()
    with stream(server, body) as events:
        for chunk in events:
            assert not answer.done, "something came after [DONE]"
            if chunk is None:
                answer.done = True
            else:
                answer.add(chunk)
            saw(answer)
    return answer


class Leaver:
    """A request on a bare socket, which can be cut off at any moment."""

    def __init__(self, server: Server, body: Body, request_id: str):
        data = json.dumps(body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nX-Request-Id: {request_id}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S)
        self._socket.sendall(head.encode() + data)
        self.received = b""

    def read_until(self, marker: bytes, times: int = 1) -> None:
        while self.received.count(marker) < times:
            data = self._socket.recv(65536)
            assert data, f"the server hung up after {self.received!r}"
            self.received += data

    def leave(self, *, abruptly: bool = True) -> None:
        """Closes; abruptly is with a reset, as when a process is killed or a cable pulled."""
        if abruptly:
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def __enter__(self) -> "Leaver":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
