"""Many streaming clients at once, on bare sockets: reading must cost less than writing."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.model.waiting import BOUND_S


@dataclass
class Answer:
    """One response as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def data(self) -> list[str]:
        """Of the events of a stream."""
        lines = self.body.decode().splitlines()
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def outcome(self) -> str:
        """`whole`, the code of an error, or `broken` for what ends without either."""
        if self.status != 200:
            return str(json.loads(self.body)["error"]["code"])
        last = self.data[-1] if self.data else ""
        if last == "[DONE]":
            return "whole" if '"finish_reason":"' in self.data[-2] else "broken"
        return str(json.loads(last)["error"]["code"]) if last.startswith('{"error"') else "broken"


async def ask(
    port: int, body: dict[str, Any], address: str = "127.0.0.1", **headers: str
) -> Answer:
    """Sends a chat and reads its answer, chunk by chunk, to the end of the connection."""
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}\r\n"
        )
        writer.write(head.encode() + data)
        return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = int((await reader.readline()).split()[1])
    answer = Answer(status)
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(": ")
        answer.headers[name.lower()] = value
    if "content-length" in answer.headers:
        answer.body = await reader.readexactly(int(answer.headers["content-length"]))
        return answer
    pieces = []
    while size := int(await reader.readline(), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    answer.body = b"".join(pieces)
    return answer


async def swarm(
    port: int, clients: int, seconds: float, body: Callable[[int, int], dict[str, Any]]
) -> Counter[str]:
    """So many clients, each with an address of its own, ask again and again for some time, and
    wait as long as they are told to; how their answers ended."""
    ends: Counter[str] = Counter()
    over = asyncio.Event()

    async def client(number: int) -> None:
        asked = 0
        address = f"127.0.{number // 250}.{number % 250 + 2}"
        while not over.is_set():
            answer = await asyncio.wait_for(ask(port, body(number, asked), address), BOUND_S)
            ends[answer.outcome] += 1
            asked += 1
            if answer.status == 429:
                await _pause(over, float(answer.headers["retry-after"]))

    asyncio.get_running_loop().call_later(seconds, over.set)
    await asyncio.gather(*(client(number) for number in range(clients)))
    return ends


async def _pause(over: asyncio.Event, seconds: float) -> None:
    """As long as a refused client is asked to wait, or to the end."""
    waiting = asyncio.create_task(over.wait())
    await asyncio.wait({waiting}, timeout=seconds)
    waiting.cancel()
