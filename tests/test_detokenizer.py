"""Tokens to text, when a character spans tokens and tokens span characters."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.detokenizer import Detokenizer, Window, mute_bytes, partial_tokens, visible

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Bytes:
    """A byte-level vocabulary made up on the way: a token is any piece of bytes."""

    def __init__(self, errors: str):
        self._ids: dict[bytes, int] = {}
        self._errors = errors
        self.calls = 0

    def tokens(self, pieces: list[bytes]) -> list[int]:
        return [self._ids.setdefault(piece, len(self._ids)) for piece in pieces]

    def decode(self, batch: list[list[int]]) -> list[str]:
        """`replace` gives U+FFFD for what is no whole character, `ignore` leaves it out."""
        self.calls += 1
        pieces = list(self._ids)
        whole = [b"".join(pieces[t] for t in tokens) for tokens in batch]
        return [text.decode("utf-8", self._errors) for text in whole]

    def detokenizer(self) -> Detokenizer:
        """For the tokens that are there by now."""
        return Detokenizer(self.decode, partial_tokens(self._ids))


class Spaces:
    """Words whose leading space depends on there being a word before, as SentencePiece's."""

    WORDS = ("Hello", "there", "you")

    def detokenizer(self) -> Detokenizer:
        return Detokenizer(self.decode, frozenset())

    def decode(self, batch: list[list[int]]) -> list[str]:
        return [" ".join(self.WORDS[t] for t in tokens) for tokens in batch]


def cut(text: str, cuts: list[int]) -> list[bytes]:
    raw = text.encode()
    places = sorted({0, len(raw), *(c % (len(raw) + 1) for c in cuts)})
    return [raw[a:b] for a, b in pairwise(places)]


def pieces_of(detokenizer: Detokenizer, tokens: list[int]) -> list[str]:
    window = Window()
    return [*(detokenizer.feed([(window, [t])])[0] for t in tokens), detokenizer.flush(window)]


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
    tokens = vocabulary.tokens(cut(text, cuts))
    detokenizer = vocabulary.detokenizer()
    for _ in ("as new", "as known"):
        pieces = pieces_of(detokenizer, tokens)
        assert "".join(pieces) == text
        assert not [piece for piece in pieces if BROKEN in piece]


@given(text=TEXTS, cuts=CUTS, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_several_tokens_at_once_give_the_same_text(
    text: str, cuts: list[int], sizes: list[int]
) -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens(cut(text, cuts))
    detokenizer = vocabulary.detokenizer()
    window, said, at = Window(), "", 0
    while at < len(tokens):
        size = sizes[at % len(sizes)]
        said += detokenizer.feed([(window, tokens[at : at + size])])[0]
        at += size
    assert said + detokenizer.flush(window) == text


@given(st.lists(TEXTS, min_size=1, max_size=4), CUTS)
def test_answers_side_by_side_do_not_mix(texts: list[str], cuts: list[int]) -> None:
    vocabulary = Bytes("ignore")
    answers = [vocabulary.tokens(cut(text, cuts)) for text in texts]
    detokenizer = vocabulary.detokenizer()
    windows, said = [Window() for _ in texts], [""] * len(texts)
    for step in range(max(map(len, answers))):
        live = [i for i, tokens in enumerate(answers) if step < len(tokens)]
        news = [(windows[i], [answers[i][step]]) for i in live]
        for i, piece in zip(live, detokenizer.feed(news), strict=True):
            said[i] += piece
    assert [s + detokenizer.flush(w) for s, w in zip(said, windows, strict=True)] == texts


def test_a_whole_character_is_said_at_once() -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens([b"a", "é".encode(), b"b"])
    assert pieces_of(vocabulary.detokenizer(), tokens) == ["a", "é", "b", ""]


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_half_a_character_at_the_end_is_not_said(errors: str) -> None:
    vocabulary = Bytes(errors)
    tokens = vocabulary.tokens([b"ab", "🙂".encode()[:3]])
    assert "".join(pieces_of(vocabulary.detokenizer(), tokens)) == "ab"


def test_bytes_that_are_no_text_do_not_hold_back_what_follows() -> None:
    vocabulary = Bytes("replace")
    tokens = vocabulary.tokens([b"\x80"] * 40 + [b" text"])
    assert "".join(pieces_of(vocabulary.detokenizer(), tokens)).endswith(" text")


def test_a_space_that_a_word_before_gives_is_kept() -> None:
    assert pieces_of(Spaces().detokenizer(), [0, 1, 2]) == ["Hello", " there", " you", ""]


def test_a_window_goes_on_after_text_that_was_shown_before() -> None:
    detokenizer = Spaces().detokenizer()
    window = Window([0], "Hello")
    assert detokenizer.feed([(window, [1])]) == [" there"]
    assert detokenizer.feed([(window, [2])]) == [" you"]


def test_nothing_new_asks_for_no_decoding() -> None:
    def decode(batch: list[list[int]]) -> list[str]:
        raise AssertionError("asked to decode nothing")

    detokenizer = Detokenizer(decode)
    assert detokenizer.feed([]) == []
    assert detokenizer.feed([(Window(), [])]) == [""]
    assert detokenizer.flush(Window()) == ""


def test_a_text_that_is_known_is_not_decoded_again() -> None:
    vocabulary = Bytes("replace")
    tokens = 2 * vocabulary.tokens([b"a", b" dog", "é".encode(), b" dog", b"."])
    detokenizer = vocabulary.detokenizer()
    said = pieces_of(detokenizer, tokens)
    asked = vocabulary.calls
    assert pieces_of(detokenizer, tokens) == said
    assert "".join(said) == 2 * "a dogé dog."
    assert vocabulary.calls == asked


def test_garbage_does_not_teach_others_wrong_text() -> None:
    """A decoder that leaves halves out shows the second half of a character as nothing."""
    vocabulary = Bytes("ignore")
    half, rest = "你".encode()[:1], "你".encode()[1:]
    word, first, second = vocabulary.tokens([b"word", b"a" + half, rest + b"c"])
    detokenizer = vocabulary.detokenizer()
    assert "".join(pieces_of(detokenizer, [word, second, second])) == "wordcc"
    assert "".join(pieces_of(detokenizer, [word, first, second])) == "worda你c"


def test_a_text_that_depends_on_the_token_before_is_never_taken_as_known() -> None:
    detokenizer = Spaces().detokenizer()
    for _ in range(2):
        assert "".join(pieces_of(detokenizer, [0, 1, 2, 1])) == "Hello there you there"
    assert pieces_of(detokenizer, [1, 0])[0] == "there"


def test_partial_tokens_are_those_that_are_no_text_alone() -> None:
    vocabulary = {b" whole": 0, "é".encode(): 1, b"\xc3": 2, b"a\xe4": 3, b"\xa0c": 4, b"": 5}
    assert partial_tokens(vocabulary) == {2, 3, 4}


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_a_replacement_character_that_is_text_is_said(errors: str) -> None:
    vocabulary = Bytes(errors)
    hi, sign, half = vocabulary.tokens([b"hi", BROKEN.encode(), "é".encode()[:1]])
    for tokens, text in (([hi, sign, sign], f"hi{BROKEN * 2}"), ([sign, hi], f"{BROKEN}hi")):
        assert "".join(pieces_of(vocabulary.detokenizer(), tokens)) == text
    assert "".join(pieces_of(vocabulary.detokenizer(), [hi, half])) == "hi"


def test_a_byte_as_sentencepiece_writes_it_is_no_whole_character() -> None:
    assert partial_tokens({b"<0xE4>": 0, b"<0x0A>": 1, b"<0xe4>": 2, b"word": 3}) == {0, 1}


# Special tokens.


def test_special_tokens_that_mark_calls_are_shown_and_others_are_not() -> None:
    texts = {0: "", 1: "", 2: "", 3: "f", 4: "{}", 5: "<tool_call>"}
    calls: list[list[list[int]]] = []

    def decode(batch: list[list[int]]) -> list[str]:
        calls.append(batch)
        return ["".join(texts[token] for token in tokens) for tokens in batch]

    vocabulary = {b"<s>": 0, b"[TOOL_CALLS]": 1, b"[ARGS]": 2, b"f": 3, b"{}": 4, b"<tool_call>": 5}
    seen = visible(decode, vocabulary, ["[TOOL_CALLS]", "NAME", "[ARGS]", "<tool_call>"])
    assert seen([[0, 1, 3, 2, 4], [3], [], [1]]) == [
        "[TOOL_CALLS]f[ARGS]{}",
        "f",
        "",
        "[TOOL_CALLS]",
    ]
    calls.clear()
    assert seen([[0, 3], [5, 4]]) == ["f", "<tool_call>{}"]
    assert len(calls) == 1


def test_a_tokenizer_that_shows_all_markers_decodes_as_before() -> None:
    def decode(batch: list[list[int]]) -> list[str]:
        return ["<tool_call>" for _ in batch]

    assert visible(decode, {b"<tool_call>": 5}, ["<tool_call>"]) is decode


def test_bytes_that_no_token_holds_are_told() -> None:
    rest = {bytes([byte]): byte for byte in (*range(0x20), *range(0xC2, 0xF5))}
    spelt = {b"<0xF1>": 300, b"a\x04": 301}
    left_out = (b"\xf1", b"\xf3", b"\x04", b"\x05", b"\n")
    some = {piece: number for piece, number in rest.items() if piece not in left_out}
    assert mute_bytes(rest) == frozenset()
    assert mute_bytes(some | spelt) == {0xF3, 0x05}
