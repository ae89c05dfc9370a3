import re

import pytest
from grammars import Sampler
from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.grammars.automata import minimal
from ov_server.grammars.grammar import Characters, Grammar, literal, pruned
from ov_server.grammars.loops import written
from ov_server.grammars.patterns import Inexpressible, PatternError, matching, parse
from ov_server.grammars.rulebook import Rulebook

ATOMS = st.sampled_from(
    ["a", "b", "-", r"\d", r"\w", r"\s", "[a-c]", "[^a]", "[b-]", ".", r"\.", r"\n", r"\x61", "^"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map("|".join)
        | inner.map("(?:{})".format)
        | inner.map("({})$".format)
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        )
    ),
    max_leaves=6,
)
TEXTS = st.text("ab-1_ .\n", max_size=6)


def pythons(pattern: str) -> re.Pattern[str]:
    """The same in Python's dialect, where $ also stands before a last line feed."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


@given(PATTERNS, TEXTS)
@example("^a|b$", "ba")
@example("(^|b)a", "ba")
@example("^^a", "a")
@example("(?:^a)*b", "cb")
@example("(?:a$|b)", "ab")
def test_a_pattern_matches_what_it_matches_elsewhere(pattern: str, text: str) -> None:
    assert matching(pattern).holds(text) == (pythons(pattern).search(text) is not None)


@given(PATTERNS, st.integers(0, 9))
def test_texts_written_by_it_match(pattern: str, seed: int) -> None:
    book = Rulebook()
    node = written(minimal(matching(pattern)), Characters, literal(""), book)
    if (grammar := pruned(Grammar({**book.rules, "root": node}))) is not None:
        text = Sampler(grammar, seed).text()
        assert matching(pattern).holds(text)


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        (r"^\p{L}+$", ["größe", "Ж"], ["", "a1"]),
        (r"^\P{Lu}$", ["a", "1"], ["A"]),
        (r"^\p{Letter}$", ["a"], ["1"]),
        (r"^\u00e9$", ["é"], ["e"]),
        (r"^\u{1F600}$", ["😀"], [""]),
        (r"^\uD83D\uDE00$", ["😀"], ["\N{REPLACEMENT CHARACTER}"]),
        (r"^\cA$", ["\x01"], ["A"]),
        (r"^[\]\-a]$", ["]", "-", "a"], ["\\"]),
        (r"^[\d-x]$", ["7", "-", "x"], ["y"]),
        (r"^[]$", [], ["", "a"]),
        (r"^[^]$", ["a", "\n"], [""]),
        (r"^.$", ["a"], ["\n", "\u2028"]),
        (r"^\d$", ["7"], ["\u0667"]),
        (r"^\s$", [" ", "\xa0", "\ufeff"], ["a"]),
        (r"^(?<year>\d{4})$", ["2024"], ["24"]),
        (r"^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
        (r"^\/\$$", ["/$"], ["/"]),
        (r"\A(?P<year>\d{4})\Z", ["2024"], ["24", "x2024"]),
    ],
)
def test_ecmas_dialect(pattern: str, fits: list[str], others: list[str]) -> None:
    automaton = matching(pattern)
    assert [text for text in fits + others if automaton.holds(text)] == fits


@pytest.mark.parametrize(
    "pattern",
    [
        *("(", ")", "a)", "[a", "*a", "a**", "a{3,2}", "a{x}", "[z-a]", "{", "\\"),
        *(r"\q", r"\u12", r"\x", r"\p", r"\u{110000}", "a{999999999}", "(" * 70 + ")" * 70),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        parse(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?i)a",
        "(?>a)",
        r"\b",
        r"\B",
        r"(a)\1",
        r"\p{Script=Greek}",
    ],
)
def test_what_no_automaton_can_tell_is_said_so(pattern: str) -> None:
    with pytest.raises(Inexpressible, match="can't be enforced, at character"):
        parse(pattern)
