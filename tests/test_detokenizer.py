"""Tokens to text, when a character spans tokens and tokens span characters."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.detokenizer import Decode, Window, feed, flush

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Bytes:
    """A byte-level vocabulary made up on the way: a token is any piece of bytes."""

    def __init__(self, errors: str):
        self._pieces: list[bytes] = []
        self._errors = errors

    def tokens(self, pieces: list[bytes]) -> list[int]:
        first = len(self._pieces)
        self._pieces += pieces
        return list(range(first, len(self._pieces)))

    def decode(self, batch: list[list[int]]) -> list[str]:
        """`replace` gives U+FFFD for what is no whole character, `ignore` leaves it out."""
        whole = [b"".join(self._pieces[t] for t in tokens) for tokens in batch]
        return [text.decode("utf-8", self._errors) for text in whole]


class Spaces:
    """Words whose leading space depends on there being a word before, as SentencePiece's."""

    WORDS = ("Hello", "there", "you")

    def decode(self, batch: list[list[int]]) -> list[str]:
        return [" ".join(self.WORDS[t] for t in tokens) for tokens in batch]


def cut(text: str, cuts: list[int]) -> list[bytes]:
    raw = text.encode()
    places = sorted({0, len(raw), *(c % (len(raw) + 1) for c in cuts)})
    return [raw[a:b] for a, b in pairwise(places)]


def pieces_of(decode: Decode, tokens: list[int]) -> list[str]:
    window = Window()
    return [*(feed(decode, [(window, [t])])[0] for t in tokens), flush(decode, window)]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BROKEN), max_size=60)
CUTS = st.lists(st.integers(0, 240), max_size=120)
EVERY_BYTE = list(range(240))
MID_CHARACTER = list(range(2, 240, 4))


@pytest.mark.parametrize("errors", ["replace", "ignore"])
@given(text=TEXTS, cuts=CUTS)
@example(text="🙂 emoji, 中文, العربية", cuts=EVERY_BYTE)
@example(text="🙂" * 40, cuts=EVERY_BYTE)
@example(text="🙂" * 40, cuts=MID_CHARACTER)
@example(text="é" * 60, cuts=list(range(1, 120, 2)))
def test_the_pieces_join_to_the_text_and_none_is_broken(
    errors: str, text: str, cuts: list[int]
) -> None:
    vocabulary = Bytes(errors)
    pieces = pieces_of(vocabulary.decode, vocabulary.tokens(cut(text, cuts)))
    assert "".join(pieces) == text
    assert not [piece for piece in pieces if BROKEN in piece]


@given(text=TEXTS, cuts=CUTS, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_several_tokens_at_once_give_the_same_text(
    text: str, cuts: list[int], sizes: list[int]
) -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens(cut(text, cuts))
    window, said, at = Window(), "", 0
    while at < len(tokens):
        size = sizes[at % len(sizes)]
        said += feed(vocabulary.decode, [(window, tokens[at : at + size])])[0]
        at += size
    assert said + flush(vocabulary.decode, window) == text


@given(st.lists(TEXTS, min_size=1, max_size=4), CUTS)
def test_answers_side_by_side_do_not_mix(texts: list[str], cuts: list[int]) -> None:
    vocabulary = Bytes("ignore")
    answers = [vocabulary.tokens(cut(text, cuts)) for text in texts]
    windows, said = [Window() for _ in texts], [""] * len(texts)
    for step in range(max(map(len, answers))):
        live = [i for i, tokens in enumerate(answers) if step < len(tokens)]
        news = [(windows[i], [answers[i][step]]) for i in live]
        for i, piece in zip(live, feed(vocabulary.decode, news), strict=True):
            said[i] += piece
    assert [s + flush(vocabulary.decode, w) for s, w in zip(said, windows, strict=True)] == texts


def test_a_whole_character_is_said_at_once() -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens([b"a", "é".encode(), b"b"])
    assert pieces_of(vocabulary.decode, tokens) == ["a", "é", "b", ""]


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_half_a_character_at_the_end_is_not_said(errors: str) -> None:
    vocabulary = Bytes(errors)
    tokens = vocabulary.tokens([b"ab", "🙂".encode()[:3]])
    assert "".join(pieces_of(vocabulary.decode, tokens)) == "ab"


def test_bytes_that_are_no_text_do_not_hold_back_what_follows() -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens([b"\x80"] * 40 + [b" text"])
    assert "".join(pieces_of(vocabulary.decode, tokens)).endswith(" text")


def test_a_space_that_a_word_before_gives_is_kept() -> None:
    assert pieces_of(Spaces().decode, [0, 1, 2]) == ["Hello", " there", " you", ""]


def test_a_window_goes_on_after_text_that_was_shown_before() -> None:
    decode = Spaces().decode
    window = Window([0], "Hello")
    assert feed(decode, [(window, [1])]) == [" there"]
    assert feed(decode, [(window, [2])]) == [" you"]


def test_nothing_new_asks_for_no_decoding() -> None:
    def decode(batch: list[list[int]]) -> list[str]:
        raise AssertionError("asked to decode nothing")

    assert feed(decode, []) == []
    assert flush(decode, Window()) == ""
