"""Token ids to text, piece by piece. Knows no runtime: decoding is a function it is given."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import groupby

Decode = Callable[[list[list[int]]], list[str]]
"""Texts of several token sequences, special tokens left out."""

_HALF = "\N{REPLACEMENT CHARACTER}"
_BYTE = re.compile(rb"<0x[0-9A-F]{2}>")
_PENDING_LIMIT = 16
"""Tokens after which a window moves on, though no whole character has come of them."""


class Window:
    """One answer's last tokens: those already shown, and those that wait for a whole character.

    A character may span tokens, and a token's text may depend on the one before it (a leading
    space), so new text is what decoding the window with the new tokens adds. After vLLM's
    `detokenize_incrementally`. It is right for decoders that put U+FFFD for half a character
    and for those that leave it out.
    """

    __slots__ = ("ids", "read", "shown")

    def __init__(self, context: Sequence[int] = (), text: str = ""):
        self.ids: list[int] = list(context)
        self.read = len(self.ids)
        self.shown = text

    @property
    def waiting(self) -> bool:
        """Whether tokens wait for a whole character."""
        return len(self.ids) > self.read

    def _advance(self, new: Sequence[int], text: str, rest: str, *, whole: bool = False) -> str:
        """Takes in new tokens, whose texts with and without the window are known. `whole`: the
        last of them ends a character, so a U+FFFD is one."""
        forced = whole or len(self.ids) + len(new) - self.read >= _PENDING_LIMIT
        half = 0 if forced else len(text) - len(text.rstrip(_HALF))
        added = text[len(self.shown) : len(text) - half]
        self.ids += new
        if added or forced:
            self.ids = self.ids[self.read :]
            self.read = len(self.ids)
            self.shown = rest[: len(rest) - half]
        return added


class Detokenizer:
    """The texts of all answers of one model.

    Decoding costs the runtime half a millisecond a call, so the texts of tokens that always read
    the same are kept: those of whole characters, whose text a token before was seen not to
    change.
    """

    def __init__(self, decode: Decode, partial: Container[int] | None = None):
        """`partial`: ids of tokens that are not whole characters; without it nothing is kept."""
        self._decode = decode
        self._partial = partial
        self._texts: dict[int, str] = {}

    def window(self, tokens: Sequence[int]) -> Window:
        """A window on what follows these tokens, whose text was shown before."""
        return Window(tokens[-1:], self._decode([list(tokens[-1:])])[0] if tokens else "")

    def feed(self, news: Sequence[tuple[Window, list[int]]]) -> list[str]:
        """The text that each window's new tokens complete; at most one decoding call."""
        texts = [self._known(window, new) for window, new in news]
        unknown = [i for i, text in enumerate(texts) if text is None]
        if unknown:
            batch: list[list[int]] = []
            for window, new in (news[i] for i in unknown):
                batch += [window.ids + new, window.ids[window.read :] + new]
            decoded = self._decode(batch)
            for i, text, rest in zip(unknown, decoded[::2], decoded[1::2], strict=True):
                window, new = news[i]
                self._learn(window, new, text, rest)
                texts[i] = window._advance(new, text, rest, whole=self._whole(new))
        return [text or "" for text in texts]

    def flush(self, window: Window) -> str:
        """The text still waiting at the end, without half a character."""
        if window.waiting:
            return self._decode([window.ids])[0].rstrip(_HALF)[len(window.shown) :]
        return ""

    def _whole(self, new: list[int]) -> bool:
        return self._partial is not None and bool(new) and new[-1] not in self._partial

    def _known(self, window: Window, new: list[int]) -> str | None:
        if len(new) != 1 or window.waiting:
            return None if new else ""
        text = self._texts.get(new[0])
        return text and window._advance(new, window.shown + text, text, whole=True)

    def _learn(self, window: Window, new: list[int], text: str, rest: str) -> None:
        """Keeps a token's text when it is the same alone and after text that can be seen."""
        alone = len(new) == 1 and not window.waiting and self._whole(new)
        if alone and window.shown.strip() and rest and text == window.shown + rest:
            self._texts[new[0]] = rest


def partial_tokens(vocabulary: Mapping[bytes, int]) -> frozenset[int]:
    """The ids of tokens that are not whole characters of UTF-8; `<0xE4>` is how vocabularies made
    with SentencePiece write a byte."""
    return frozenset(token for piece, token in vocabulary.items() if not _is_text(piece))


def mute_bytes(vocabulary: Mapping[bytes, int]) -> frozenset[int]:
    """The bytes that no token holds, of those that vocabularies do leave out: control characters,
    and the first bytes of rare characters."""
    held = set(b"".join(vocabulary))
    held |= {int(piece[3:5], 16) for piece in vocabulary if _BYTE.fullmatch(piece)}
    return frozenset({*range(0x20), *range(0xC2, 0xF5)} - {*b"\t\n\r"} - held)


def _is_text(piece: bytes) -> bool:
    if _BYTE.fullmatch(piece):
        return False
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


_SPECIAL = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def visible(decode: Decode, vocabulary: Mapping[bytes, int], texts: Iterable[str]) -> Decode:
    """`decode`, which leaves special tokens out, but for those that stand in one of the texts."""
    marks = {mark for text in texts for mark in _SPECIAL.findall(text)}
    tokens = {vocabulary[m.encode()]: m for m in marks if m.encode() in vocabulary}
    hidden = {token: mark for token, mark in tokens.items() if not decode([[token]])[0]}

    def decode_all(batch: list[list[int]]) -> list[str]:
        if not any(token in hidden for ids in batch for token in ids):
            return decode(batch)
        parts = [[list(run) for _, run in groupby(ids, hidden.__contains__)] for ids in batch]
        plain = [run for runs in parts for run in runs if run[0] not in hidden]
        texts = iter(decode(plain) if plain else [])
        return [
            "".join(
                "".join(hidden[token] for token in run) if run[0] in hidden else next(texts)
                for run in runs
            )
            for runs in parts
        ]

    return decode_all if hidden else decode
