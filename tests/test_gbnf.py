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
        ("root ::= .", ["a", "\n", "🙂"], ["", "ab", "\0"]),
        ("root ::= [^]", ["a", "\n", "]"], ["", "\0"]),
        ("root ::= [a-]", ["a", "-"], ["b"]),
        ("root ::= [\\^^]", ["^"], ["a"]),
        ("root ::= [\\x00-\\x02]", ["\1", "\2"], ["\0", "\3"]),
        ("root ::= [^a\\x00-\\x1F]", ["b", "é", "🙂"], ["a", "\0", "\n"]),
        ("root ::= [^b]", ["a", "\1"], ["b", "\0"]),
        ("root ::= [\\U0010FFFF\\ud7ff]", ["\U0010ffff", "\ud7ff"], ["a"]),
        ('root ::= "a"{ 1 , 2 }', ["a", "aa"], ["", "aaa"]),
        ('root ::= "a"{,2}', ["", "aa"], ["aaa"]),
        ('root ::= "a"{0,0} "b"', ["b"], ["ab"]),
        ('root ::= "two\nlines"', ["two\nlines"], ["two"]),
        ('root::="a"b\nb::="c"', ["ac"], ["a"]),
        ('root ::=\r\n  "a" # here\r\n  | b\r\n# there\r\nb ::= "c"\r\n', ["a", "c"], ["b"]),
        ('root ::= "a" # ends\rb ::= "c"', ["a"], ["ac"]),
        ('root ::= (\n  "a"\n  | ("b"\n)\n)+', ["ab"], [""]),
        ('root ::= a |\n  b\na ::= "1"\nb ::= "2"', ["1", "2"], ["12"]),
        ('root ::= 1st -2 UPPER-Case\n1st ::= "1"\n-2 ::= "2"\nUPPER-Case ::= "3"', ["123"], ["1"]),
        (
            'root ::= a-_b a_-b a--b a__b a_d a-d\na-_b ::= "1"\na_-b ::= "2"\na--b ::= "3"\n'
            'a__b ::= "4"\na_d ::= "5"\na-d ::= "6"',
            ["123456"],
            ["113456"],
        ),
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
        ('start: "a"', "Lark's syntax"),
        ('?start: value\n?value: "a" -> a', "Lark's syntax"),
        ("// c\nstart : /a+/\n%import common.WS", "Lark's syntax"),
        ('root = "a"', "line 1: '= \"a\"' can't be read: a rule is name ::="),
        ('root := "a"', "a rule is name ::="),
        ('\n<root> ::= "a"', "line 2: '<root> ::= \"a\"' can't be read: tokens are not"),
        ("root ::= !<[5]>", "tokens are not understood"),
        ("root ::= /a+/", "patterns are not understood"),
        ("root ::= 'a'", "double quotes"),
        ('root ::= "a";', "leave it out"),
        ('{"type": "object"}', "response_format"),
        ("root ::= my-rule", "line 1: there is no rule 'my-rule'"),
        ('root ::= "a"\n  | a_b-c', "line 2: there is no rule 'a_b-c'"),
        ('root ::= "a', "line 1: '\"a' can't be read: the text is not closed"),
        ("root ::= [a", "the class is not closed"),
        ('root ::= "a" )', "every ) has its ("),
        ('root ::= "a"\nx ::= "\\d"', 'line 2: \\d can\'t be read in "\\d"; there are'),
        ("root ::= [\\xg1]", "\\x can't be read"),
        ('root ::= "\\U00110000"', "line 1: \\U00110000 in "),
        ("root ::= [a-\\UFFFFFFFF]", "beyond the last character"),
        ('root ::= "a\\x00"', "U+0000, which no answer can hold"),
        ('root ::= "a\0"', "U+0000, which no answer can hold"),
        ('root ::= "\\ud83d\\ude00"', "U+D83D, which no answer can hold"),
        ("root ::= [\\x00]", "no character that an answer can hold"),
        ("root ::= [\\ud800-\\udfff]", "no character that an answer can hold"),
        ("root ::= [^\\x00-\\U0010FFFF]", "no character that an answer can hold"),
        ("root ::= []", "no character that an answer can hold"),
        ('root ::= "a"{}', "{} can't be read: a repetition is {2}"),
        ('root ::= "a"{,}', "can't be read: a repetition is {2}"),
        ('root ::= "a"{3,0}', "bounds {3,0}"),
        ('root ::= "a"{' + "9" * 5000 + "}", "a repetition is {2}"),
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
