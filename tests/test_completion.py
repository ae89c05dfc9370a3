"""What a grammar says of texts that were cut off."""

import json
from typing import Any

import pytest
from grammars import Sampler
from hypothesis import given, settings
from hypothesis import strategies as st
from toolschemas import REALISTIC

from ov_server.grammars.completion import NONE, Network
from ov_server.grammars.gbnf import parse_gbnf
from ov_server.grammars.grammar import Grammar, Rule, characters, choice, pruned, sequence
from ov_server.grammars.schemas import FREE, Schemas
from ov_server.schemacheck import fits


def grammar(schema: Any) -> Grammar:
    schemas = Schemas(FREE)
    node = schemas.value(schema)
    found = pruned(Grammar({**schemas.rules, "root": node}))
    assert found is not None
    return found


def rest(text: str, cut: str) -> str | None:
    return Network(parse_gbnf(text)).rest(cut)


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ('root ::= "abc"', "", "abc"),
        ('root ::= "abc"', "a", "bc"),
        ('root ::= "abc"', "abc", ""),
        ('root ::= "abc"', "b", None),
        ('root ::= "abc"', "abcd", None),
        ('root ::= "long" | "lo"', "l", "o"),
        ("root ::= [0-9]{3}", "1", "00"),
        ('root ::= "a"* "b"', "aaa", "b"),
        ('root ::= "(" root ")" | "x"', "((", "x))"),
        ('root ::= root "a" | "b"', "baa", ""),
        ('root ::= a a a\na ::= "" | "x"', "xx", ""),
        ('root ::= dead | "ok"\ndead ::= dead "x"', "o", "k"),
    ],
    ids=str,
)
def test_the_shortest_end_is_found(text: str, cut: str, expected: str | None) -> None:
    assert rest(text, cut) == expected


def test_open_brackets_and_what_is_required_are_completed() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}, "b": {"enum": [7]}},
        "required": ["a", "b"],
    }
    network = Network(grammar(schema))
    assert network.rest('{"a": ["x\\') == '"],"b":7}'.replace('"]', '""]', 1)
    assert network.rest('{"a": [') == '],"b":7}'
    assert network.rest('{"a": [], "b": 8') is None


@pytest.mark.parametrize("name", REALISTIC)
def test_wherever_an_answer_is_cut_off_it_can_be_completed(name: str) -> None:
    schema, _ = REALISTIC[name]
    found = grammar(schema)
    network, sampler = Network(found), Sampler(found, seed=5)
    for _ in range(3):
        text = sampler.text()
        for cut in {len(text) * share // 7 for share in range(8)}:
            end = network.rest(text[:cut])
            assert end is not None
            assert fits(schema, text[:cut] + end)


@settings(max_examples=30)
@given(st.sampled_from(sorted(REALISTIC)), st.integers(0, 1000), st.floats(0, 1))
def test_what_may_follow_a_text_is_a_grammar_of_its_own(name: str, seed: int, share: float) -> None:
    found = grammar(REALISTIC[name][0])
    text = Sampler(found, seed).text()
    cut = int(len(text) * share)
    residue = Network(found).residue(text[:cut])
    assert Network(residue).rest(text[cut:]) == ""
    other = Sampler(residue, seed).text()
    assert Network(found).rest(text[:cut] + other) == ""


def test_nothing_follows_what_is_no_beginning() -> None:
    assert Network(parse_gbnf('root ::= "a"')).residue("b") is NONE


def test_a_long_text_takes_no_long_time() -> None:
    network = Network(grammar({"type": "array", "items": {"type": "string"}}))
    assert network.rest(json.dumps(["x" * 20_000])[:-2]) == '"]'


def test_a_text_with_too_many_readings_is_given_up() -> None:
    letter = characters("az")
    again = choice(letter, sequence(Rule("root"), Rule("root")))
    with pytest.raises(ValueError, match="too many ways"):
        Network(Grammar({"root": again})).residue("a" * 3000)
