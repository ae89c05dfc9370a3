"""Every schema of the JSON Schema Test Suite as response_format, while others stream."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from test_suite_grammars import stated

from ov_server.schemacheck import fits

from .clients import alphabet, asking, read_stream
from .servers import ProcessServer

SUITE = Path(__file__).parents[1] / "suite" / "suite.json"
CASES: list[dict[str, Any]] = json.loads(SUITE.read_text("utf-8"))
STREAMS, AT_ONCE, TOKENS = 4, 20, 120
VALID, REFUSED, MISFIT = "valid answer", "refused with a reason", "misfit"


def outcome(server: ProcessServer, case: dict[str, Any], *, strict: bool) -> str:
    """What came of a schema; an AssertionError when it is none of the outcomes above."""
    schema = stated(case)
    form = {"name": "suite", "schema": schema, "strict": strict}
    asked = {"response_format": {"type": "json_schema", "json_schema": form}}
    response = server.post(asking("Answer with JSON.", max_tokens=24, temperature=0.9, **asked))
    if response.status_code == 400:
        error = response.json()["error"]
        assert error["code"] == "invalid_schema", error
        assert error["param"] == "response_format", error
        assert len(error["message"]) > 20
        return REFUSED
    assert response.status_code == 200, response.text
    text = response.json()["choices"][0]["message"]["content"]
    return VALID if fits(schema, text) else MISFIT


def keep_streaming(server: ProcessServer, number: int, done: Event) -> int:
    """Reads one stream after the other until it is told to stop; how many were as they should."""
    body, text = alphabet(3 * number, TOKENS)
    rounds = 0
    while not done.is_set():
        answer = read_stream(server, body)
        answer.check(max_tokens=TOKENS)
        assert answer.text == text
        rounds += 1
    return rounds


def test_every_schema_is_answered_or_refused_and_harms_nobody(server: ProcessServer) -> None:
    done = Event()
    before = server.gauge("ov_engine_rebuilds")
    with ThreadPoolExecutor(STREAMS + AT_ONCE) as pool:
        streams = [pool.submit(keep_streaming, server, n, done) for n in range(STREAMS)]
        try:
            strict = list(pool.map(lambda case: outcome(server, case, strict=True), CASES))
            again = [c for c, came in zip(CASES, strict, strict=True) if came == REFUSED]
            list(pool.map(lambda case: outcome(server, case, strict=False), again))
        finally:
            done.set()
        assert all(stream.result() > 0 for stream in streams)
    counted = Counter(strict)
    assert counted[MISFIT] == 0
    assert counted[VALID] > 0.8 * len(CASES)
    assert server.gauge("ov_engine_rebuilds") == before
