"""Structured answers and calls of the real model: cut off, stopped, streamed, interrupted."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from ov_server.schemacheck import fits

from .clients import Body, Streamed, asking, read_stream, stream
from .servers import ProcessServer
from .waiting import until

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 3, "maxLength": 40},
        "price": {"type": "number", "minimum": 0.5, "exclusiveMaximum": 100},
        "tags": {"type": "array", "items": {"enum": ["new", "old", "rare"]}, "minItems": 2},
        "parts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["name", "count"],
            },
        },
    },
    "required": ["title", "price", "tags", "parts"],
}
TOOL = {"type": "function", "function": {"name": "sell", "parameters": SCHEMA}}
QUESTION = "Sell my old 'clock' for 5 €, with all of its parts. 🕰"


def formatted(**more: Any) -> Body:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    return asking(QUESTION, response_format=form, **more)


def calling(**more: Any) -> Body:
    return asking(QUESTION, tools=[TOOL], tool_choice="required", **more)


def choices(server: ProcessServer, bodies: list[Body]) -> list[Any]:
    """The first answer of each, asked for all at once."""

    def choice(body: Body) -> Any:
        response = server.post(body)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(choice, bodies))


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_that_is_cut_off_is_valid_all_the_same(
    server: ProcessServer, temperature: float
) -> None:
    lengths = [*range(1, 30, 2), 45, 70]
    bodies = [formatted(max_tokens=most, temperature=temperature) for most in lengths]
    for choice in choices(server, bodies):
        assert choice["finish_reason"] in ("stop", "length")
        assert fits(SCHEMA, choice["message"]["content"]), choice


def test_a_call_that_is_cut_off_is_valid_or_none(server: ProcessServer) -> None:
    lengths = [*range(1, 40, 3), 60]
    bodies = [calling(max_tokens=most, temperature=0.9, seed=most) for most in lengths]
    made = 0
    for choice in choices(server, bodies):
        assert choice["finish_reason"] in ("tool_calls", "length")
        assert not choice["message"]["content"]
        for call in choice["message"].get("tool_calls", ()):
            made += 1
            assert call["function"]["name"] == "sell"
            assert fits(SCHEMA, call["function"]["arguments"]), choice
    assert 0 < made < len(bodies)


def test_a_stop_string_ends_a_structured_answer_and_it_is_completed(server: ProcessServer) -> None:
    bodies = [formatted(max_tokens=100, stop=stop) for stop in ("e", '"', ",", "}")]
    for choice in choices(server, bodies):
        assert choice["finish_reason"] in ("stop", "length")
        assert fits(SCHEMA, choice["message"]["content"]), choice


def test_a_structured_stream_joined_is_the_whole_answer(server: ProcessServer) -> None:
    body = formatted(max_tokens=60, temperature=0)
    whole = server.post(body).json()["choices"][0]["message"]["content"]
    streamed = read_stream(server, body)
    assert streamed.text == whole
    assert streamed.done


def test_every_one_of_several_answers_is_valid(server: ProcessServer) -> None:
    body = formatted(max_tokens=50, temperature=1.2, n=4)
    choices = server.post(body).json()["choices"]
    assert len({choice["message"]["content"] for choice in choices}) > 1
    assert all(fits(SCHEMA, choice["message"]["content"]) for choice in choices)


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"guided_choice": ["yes", "no", "maybe so"]}, {"yes", "no", "maybe so"}),
        ({"structured_outputs": {"choice": ["ja", "nein"]}}, {"ja", "nein"}),
        ({"guided_regex": "(tick|tock)!"}, {"tick!", "tock!"}),
        ({"grammar": 'root ::= "(" ("a" | "b") ")"'}, {"(a)", "(b)"}),
    ],
    ids=str,
)
def test_other_formats_hold_the_text(
    server: ProcessServer, fields: dict[str, Any], texts: set[str]
) -> None:
    bodies = [asking(QUESTION, temperature=1.5, seed=seed, **fields) for seed in range(4)]
    assert {choice["message"]["content"] for choice in choices(server, bodies)} <= texts


@pytest.mark.parametrize(
    "text", ["éa", "a\nb", "d\xe9cembre 2", "\x01f\x7f0", "🙂a\u2028f", "\t\r\n9", '"\\b"', "ÿþ0"]
)
def test_the_runtime_reads_our_grammars_as_we_write_them(server: ProcessServer, text: str) -> None:
    """It mixes up some characters with digits that follow them, unless they stand apart."""
    body = asking(QUESTION, guided_choice=[text])
    assert server.post(body).json()["choices"][0]["message"]["content"] == text
    schema = {"type": "object", "properties": {text: {"const": text}}, "required": [text]}
    [choice] = server.post(asking(QUESTION, guided_json=schema)).json()["choices"]
    assert json.loads(choice["message"]["content"]) == {text: text}


def test_a_schema_that_nothing_fits_costs_a_400_that_says_so(server: ProcessServer) -> None:
    for schema, told in (
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no value"),
        ({"type": "array", "items": {}, "uniqueItems": True}, "uniqueItems"),
        ({"$ref": "#/$defs/missing"}, "missing"),
    ):
        form = {"name": "n", "schema": schema, "strict": True}
        body = asking("x", response_format={"type": "json_schema", "json_schema": form})
        response = server.post(body)
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["param"], error["code"]) == ("response_format", "invalid_schema")
        assert told in error["message"]


def test_what_does_not_fit_is_counted(server: ProcessServer) -> None:
    """No grammar holds an answer to `uniqueItems` of any integers."""
    items = {"type": "integer", "minimum": 1, "maximum": 2}
    schema = {"type": "array", "items": {"anyOf": [items, {"type": "string"}]}, "minItems": 9}
    form = {"name": "n", "schema": {**schema, "maxItems": 9, "uniqueItems": True}}
    asked = {"response_format": {"type": "json_schema", "json_schema": form}, "temperature": 1.5}
    body = asking("Say 1 and 2.", **asked, max_tokens=12)

    def counted() -> int:
        return int(server.gauge("ov_structured_output_misfits"))

    before = counted()
    values = [json.loads(choice["message"]["content"]) for choice in choices(server, [body] * 6)]
    misfits = sum(len(each) != len(set(map(json.dumps, each))) for each in values)
    assert misfits > 0
    until(lambda: counted() - before == misfits, "all that do not fit to be counted")


@pytest.mark.parametrize("body", [formatted(max_tokens=200), calling(max_tokens=200)])
def test_a_lost_worker_costs_no_structured_answer(server: ProcessServer, body: Body) -> None:
    """It goes on under the grammar of what may follow the text so far."""
    middle = Event()
    pieces: list[str] = []

    def read() -> str:
        with stream(server, {**body, "temperature": 0}) as chunks:
            for chunk in chunks:
                for choice in chunk["choices"] if chunk else ():
                    calls = choice["delta"].get("tool_calls", ())
                    pieces.extend(c["function"]["arguments"] for c in calls)
                    pieces.append(choice["delta"].get("content") or "")
                assert not (chunk and "error" in chunk), chunk
                if len([piece for piece in pieces if piece]) > 6:
                    middle.set()
        return "".join(pieces)

    before = server.gauge("ov_engine_rebuilds")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(read)
        until(middle.is_set, "the middle of the answer")
        server.worker().kill()
        assert fits(SCHEMA, answer.result()), answer.result()
    assert server.gauge("ov_engine_rebuilds") == before + 1


def test_logprobs_stand_with_text_and_not_with_calls(server: ProcessServer) -> None:
    [choice] = server.post(calling(max_tokens=40, logprobs=True)).json()["choices"]
    assert choice["logprobs"] is None or choice["logprobs"]["content"] == []
    answer: Streamed = read_stream(server, formatted(max_tokens=30, logprobs=True))
    assert answer.text.startswith("".join(answer.tokens))


def test_without_tools_to_call_no_call_is_written_into_the_text(server: ProcessServer) -> None:
    """Agents ask so for their last answer; the model has seen calls, and would go on."""
    messages: list[Body] = []
    for city in ("Bern", "Rome", "Oslo"):
        call = {"name": "sell", "arguments": json.dumps({"title": city})}
        messages += [
            {"role": "user", "content": f"Sell it in {city}."},
            {"role": "assistant", "content": None, "tool_calls": [{"id": city, "function": call}]},
            {"role": "tool", "tool_call_id": city, "content": f"Sold in {city}."},
        ]
    messages.append({"role": "user", "content": "Sell it in Paris."})
    body = asking("", messages=messages, temperature=0, max_tokens=40)
    for more in ({"tools": [TOOL], "tool_choice": "none"}, {}):
        answer = server.post(body | more).json()
        [choice] = answer["choices"]
        assert choice["message"]["content"]
        assert "<tool_" not in choice["message"]["content"]
        assert "tool_calls" not in choice["message"]
        assert read_stream(server, body | more).text == choice["message"]["content"]


def test_what_the_model_has_no_tokens_for_is_refused_or_left_out(server: ProcessServer) -> None:
    """Its vocabulary lacks the byte that begins U+40000; at such a place it would say anything."""
    alone = server.post(asking(QUESTION, guided_choice=["\U00040000"], max_tokens=8))
    assert alone.status_code == 400
    assert alone.json()["error"]["code"] == "invalid_schema"
    [choice] = choices(server, [asking(QUESTION, guided_choice=["a\U00040000", "b"], max_tokens=8)])
    assert (choice["message"]["content"], choice["finish_reason"]) == ("b", "stop")
