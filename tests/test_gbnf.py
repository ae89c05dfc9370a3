"""Grammars that clients write."""

import pytest

from ov_server.grammars.completion import Network
from ov_server.grammars.gbnf import GrammarError, complement, merged, parse_gbnf
from ov_server.grammars.grammar import LAST_CHARACTER, ebnf


def accepts(grammar: str, text: str) -> bool:
    return Network(parse_gbnf(grammar)).rest(text) == ""


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        ('root ::= "a" | "b" "c"', ["a", "bc"], ["", "b", "ac"]),
        ('root ::= ("a" | "b") "c"', ["ac", "bc"], ["a", "abc"]),
        ('root ::= "a"*', ["", "aaa"], ["b"]),
        ('root ::= "a"+ "b"?', ["a", "aab"], ["b", ""]),
        ('root ::= "a"{2}', ["aa"], ["a", "aaa"]),
        ('root ::= "a"{2,}', ["aa", "aaaa"], ["a"]),
        ('root ::= "a"{1,3}', ["a", "aaa"], ["aaaa"]),
        ("root ::= [a-c0-9_]", ["b", "5", "_"], ["d", "-"]),
        ("root ::= [a\\-z]", ["a", "-", "z"], ["b"]),
        ("root ::= [^a-z]", ["A", "\n", "é"], ["b"]),
        ("root ::= [\\]\\\\]", ["]", "\\"], ["["]),
        ("root ::= .", ["a", "\n", "🙂"], ["", "ab"]),
        ('root ::= "\\n\\t\\"\\\\\\x41\\u00e9\\U0001F642"', ['\n\t"\\Aé🙂'], ["n"]),
        ("root ::= item-list\nitem-list ::= x_1+\nx_1 ::= [0-9]", ["12"], ["x"]),
        ('# said first\nroot ::= # here\n  "a" # and\n  | "b"\n\nother ::= "c"', ["a", "b"], ["c"]),
        ('root ::= ""', [""], ["a"]),
        ('root ::= "(" root ")" | "x"', ["x", "((x))"], ["(x"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_grammar_means_what_it_says(grammar: str, good: list[str], bad: list[str]) -> None:
    assert all(accepts(grammar, text) for text in good)
    assert not any(accepts(grammar, text) for text in bad)
    written = ebnf(parse_gbnf(grammar))
    assert all(accepts(written, text) for text in good)


@pytest.mark.parametrize(
    ("grammar", "told"),
    [
        ("", "no rule named root"),
        ('start ::= "a"', "no rule named root"),
        ("root ::= my-rule", "'my-rule'"),
        ("root ::= a_b-c", "'a_b-c'"),
        ('root ::= "a', "line 1"),
        ('root ::= "a"\nroot ::= "b"', "line 2: there are two"),
        ('"a"', "outside of a rule"),
        ('root ::= ("a"', "not closed"),
        ("root ::= *", "repeats nothing"),
        ('root ::= "a"{3,1}', "bounds"),
        ('root ::= "a"{1,100000}', "bounds"),
        ("root ::= [z-a]", "backwards"),
        ("root ::= root", "for ever"),
        ("root ::= " + "(" * 200 + '"a"' + ")" * 200, "nested"),
        ("root ::= %", "can't be read"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_grammar_is_told_with_its_line(grammar: str, told: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_gbnf(grammar)
    assert told in str(caught.value)


def test_ranges_are_merged_and_turned_round() -> None:
    assert merged([(5, 9), (1, 4), (20, 20), (8, 12)]) == ((1, 12), (20, 20))
    assert complement([(0, 4), (6, LAST_CHARACTER)]) == ((5, 5),)
    assert complement([]) == ((0, LAST_CHARACTER),)
