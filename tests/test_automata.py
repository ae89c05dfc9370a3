import pytest
from grammars import Sampler
from hypothesis import given
from hypothesis import strategies as st

from ov_server.grammars.automata import (
    ANY,
    Automaton,
    TooLarge,
    automaton,
    beginning_with,
    both,
    counted,
    either,
    ending_before,
    minimal,
    without,
    words,
)
from ov_server.grammars.grammar import (
    Characters,
    Grammar,
    Literal,
    Repeat,
    Sequence,
    choice,
    literal,
    pruned,
    repeat,
    sequence,
)
from ov_server.grammars.loops import written
from ov_server.grammars.rulebook import Rulebook

TEXTS = st.text("abc", max_size=7)
LEAVES = st.sampled_from([literal("a"), literal("bc"), Characters(((0x61, 0x62),))])
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(sequence, inner, inner)
        | st.builds(choice, inner, inner)
        | st.builds(repeat, inner, st.integers(0, 2), st.sampled_from([None, 2, 3]))
    ),
    max_leaves=6,
)
AUTOMATA = NODES.map(automaton) | st.frozensets(TEXTS, max_size=4).map(words)


@given(AUTOMATA, AUTOMATA, TEXTS)
def test_combined_they_hold_what_both_or_either_or_only_one_holds(
    one: Automaton, other: Automaton, text: str
) -> None:
    assert both(one, other).holds(text) == (one.holds(text) and other.holds(text))
    assert either(one, other).holds(text) == (one.holds(text) or other.holds(text))
    assert without(one, other).holds(text) == (one.holds(text) and not other.holds(text))


@given(AUTOMATA, TEXTS)
def test_the_minimal_one_holds_the_same_texts(one: Automaton, text: str) -> None:
    small = minimal(one)
    assert small.holds(text) == one.holds(text)
    assert len(small.arrows) <= len(one.arrows)
    assert small == minimal(without(ANY, without(ANY, small)))


@given(st.frozensets(TEXTS), TEXTS)
def test_words_are_just_these(wanted: frozenset[str], text: str) -> None:
    assert words(wanted).holds(text) == (text in wanted)


@given(TEXTS, st.integers(0, 4), st.none() | st.integers(0, 6))
def test_counting(text: str, least: int, most: int | None) -> None:
    held = least <= len(text) and (most is None or len(text) <= most)
    assert counted(least, most).holds(text) == held


@given(st.frozensets(TEXTS, min_size=1), TEXTS)
def test_beginnings(beginnings: frozenset[str], text: str) -> None:
    assert beginning_with(beginnings).holds(text) == text.startswith(tuple(beginnings))


@given(st.text("ab", min_size=1, max_size=4), st.text("abc", max_size=8))
def test_before_a_mark_stands_what_can_be_told_from_it(mark: str, text: str) -> None:
    assert ending_before(mark).holds(text) == ((text + mark).find(mark) == len(text))


@given(AUTOMATA)
def test_lengths(one: Automaton) -> None:
    small = minimal(one)
    if small.empty:
        return
    least, most = small.lengths
    assert not both(small, counted(least, least)).empty
    assert least == 0 or both(small, counted(0, least - 1)).empty
    if most is None:
        assert not both(small, counted(40, None)).empty
    else:
        assert not both(small, counted(most, most)).empty
        assert both(small, counted(most + 1, None)).empty


@given(AUTOMATA, st.integers(0, 99))
def test_what_is_written_holds_the_same_texts(one: Automaton, seed: int) -> None:
    book = Rulebook()
    node = written(minimal(one), Characters, literal("!"), book)
    grammar = pruned(Grammar({**book.rules, "root": node}))
    assert (grammar is None) == one.empty
    if grammar is not None:
        text = Sampler(grammar, seed).text()
        assert text.endswith("!")
        assert one.holds(text[:-1])


def test_no_character_is_half_a_pair() -> None:
    assert not ANY.holds("\ud800")
    assert not counted(1, 1).holds("\udfff")
    assert ANY.holds("😀")


def test_what_grows_without_bounds_is_refused() -> None:
    letter = Characters(((0x61, 0x62),))
    far = Sequence((Repeat(letter), Literal("a"), Repeat(letter, 20, 20)))
    with pytest.raises(TooLarge, match="states"):
        automaton(far)
    with pytest.raises(TooLarge, match="parts"):
        automaton(Repeat(Repeat(letter, 1000, 1000), 1000, 1000))
