"""Token ids to text, piece by piece. Knows no runtime: decoding is a function it is given."""

from collections.abc import Callable, Sequence

Decode = Callable[[list[list[int]]], list[str]]
"""Texts of several token sequences, special tokens left out."""

_HALF = "\N{REPLACEMENT CHARACTER}"
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

    def _advance(self, new: Sequence[int], text: str, rest: str) -> str:
        """Takes in new tokens, whose texts with and without the window are known."""
        forced = len(self.ids) + len(new) - self.read >= _PENDING_LIMIT
        half = 0 if forced else len(text) - len(text.rstrip(_HALF))
        added = text[len(self.shown) : len(text) - half]
        self.ids += new
        if added or forced:
            self.ids = self.ids[self.read :]
            self.read = len(self.ids)
            self.shown = rest[: len(rest) - half]
        return added


def feed(decode: Decode, news: Sequence[tuple[Window, list[int]]]) -> list[str]:
    """The text that each window's new tokens complete; one decoding call for all of them."""
    if not news:
        return []
    batch: list[list[int]] = []
    for window, new in news:
        batch += [window.ids + new, window.ids[window.read :] + new]
    texts = decode(batch)
    return [w._advance(new, texts[2 * i], texts[2 * i + 1]) for i, (w, new) in enumerate(news)]


def flush(decode: Decode, window: Window) -> str:
    """The text still waiting at the end, without half a character."""
    if len(window.ids) == window.read:
        return ""
    return decode([window.ids])[0].rstrip(_HALF)[len(window.shown) :]
