"""Parts `structured`, what a schema costs, and `suite`, the JSON Schema Test Suite as answers."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from ov_server.modelfiles import EMBEDDED_NAME
from ov_server.schemacheck import fits

from . import client, loads, subjects
from .machine import moment
from .pairs import measure, ratios
from .quiet import Patience
from .report import Line, Section, at_least, at_most, line
from .subjects import HttpSubject

_SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "chapters": {
            "type": "array",
            "minItems": 60,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "mood": {"enum": ["bright", "calm", "dark"]},
                    "pages": {"type": "integer", "minimum": 1, "maximum": 40},
                },
                "required": ["text", "mood", "pages"],
            },
        },
    },
    "required": ["title", "chapters"],
}
"""Too long for any answer here, so that both sides generate as many tokens."""

_SUITE = Path(__file__).parent.parent / "tests" / "suite" / "suite.json"
_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
_AT_ONCE = 4


def structured(patience: Patience) -> Section:
    lines: list[Line] = []
    with subjects.server() as server:
        form = {"type": "json_schema", "json_schema": {"name": "story", "schema": _SCHEMA}}
        held = replace(server, more={"response_format": form, "ignore_eos": None})
        free = replace(server, name="without")
        for subject in (held, free):
            subject.run(loads.short("warm up", 4))
        for streams, pairs in ((1, 9), (4, 7)):
            texts = lambda round_, n=streams: loads.short(f"structured {n} {round_}", n)  # noqa: E731
            measured = measure(held, free, texts, pairs, patience)
            what = f"short prompts, {streams} {'stream' if streams == 1 else 'streams'}"
            rate = lambda run: run.tokens_per_s  # noqa: E731
            lines.append(ratios(what, measured, rate, "tokens/s", at_least(0.85)))
    return Section(
        "structured",
        "What a JSON schema costs",
        "The same prompts with response_format (an object with an array of objects: strings, an "
        "enum, bounded integers) and without, 64 tokens each, greedy, on one server that knows "
        "the schema.",
        "without",
        tuple(lines),
        moment(),
    )


def suite(patience: Patience) -> Section:
    """Counts, not times: nothing is waited for."""
    cases = json.loads(_SUITE.read_text("utf-8"))
    with subjects.server() as server, ThreadPoolExecutor(_AT_ONCE) as pool:
        strict = list(pool.map(lambda case: _outcome(server, case, strict=True), cases))
        refused = [c for c, came in zip(cases, strict, strict=True) if came == "refused"]
        loose = list(pool.map(lambda case: _outcome(server, case, strict=False), refused))
    return Section(
        "suite",
        "The JSON Schema Test Suite as response_format",
        f"All {len(cases)} schemas of drafts 7 and 2020-12, each once with strict: true, and those "
        "that were refused once more without; at most 32 tokens, so many an answer is cut off and "
        "completed. Valid is what the library jsonschema says.",
        "",
        (*_counts("strict", strict), *_counts("the refused ones, not strict", loose)),
        moment(),
    )


def _counts(what: str, outcomes: list[str]) -> Iterator[Line]:
    counted = Counter(outcomes)
    goal = at_most(0) if what == "strict" else None
    yield line(f"{what}: valid answers", [counted["valid"]])
    yield line(f"{what}: 400 with a reason", [counted["refused"]])
    yield line(f"{what}: answers that do not fit", [counted["misfit"]], goal=goal)


def _outcome(server: HttpSubject, case: dict[str, Any], *, strict: bool) -> str:
    schema = case["schema"]
    if case["draft"] == "draft7" and isinstance(schema, dict):
        schema = {"$schema": _DRAFT_7, **schema}
    form = {"name": "suite", "schema": schema, "strict": strict}
    response = httpx.post(
        f"http://{client.HOST}:{server.port}/v1/chat/completions",
        json={
            "model": EMBEDDED_NAME,
            "messages": [{"role": "user", "content": "Answer with JSON."}],
            "max_tokens": 32,
            "response_format": {"type": "json_schema", "json_schema": form},
        },
        timeout=300,
        trust_env=False,
    )
    if response.status_code == 400:
        return "refused"
    response.raise_for_status()
    text = response.json()["choices"][0]["message"]["content"]
    return "valid" if fits(schema, text) else "misfit"
