"""How much of a prompt one step may read, so that answers already streaming do not stall.

A pipeline reads a prompt in chunks whose size is fixed when it is made. A smaller piece is read
by asking for one token after the first part of the prompt: the KV blocks of that part stay in
the prefix cache, and the next, longer part begins behind them. Pure: no pipeline, no thread.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

_AT_ONCE = 2048
"""Tokens of prompts that are read at once, unless one alone has more."""


class PrefixMemory:
    """What the prefix cache is likely to hold: the blocks of prompts read lately.

    A wrong guess costs a longer step, never a wrong answer.
    """

    def __init__(self, block: int, limit: int = 4096):
        """`block` is the KV block in tokens, `limit` how many blocks are remembered."""
        self._block = block
        self._limit = limit
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def remember(self, tokens: Sequence[int]) -> None:
        for key in self._keys(tokens):
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self._limit:
            self._blocks.popitem(last=False)

    def known(self, tokens: Sequence[int]) -> int:
        """How many of the first tokens need not be read again, in whole blocks."""
        count = 0
        for key in self._keys(tokens):
            if key not in self._blocks:
                break
            count += self._block
        return count

    def clear(self) -> None:
        self._blocks.clear()

    def _keys(self, tokens: Sequence[int]):
        key = 0
        for start in range(0, len(tokens) - self._block + 1, self._block):
            key = hash((key, tuple(tokens[start : start + self._block])))
            yield key


def next_part(read: int, length: int, size: int, streaming: bool) -> int | None:
    """Tokens of the prompt that the next step's part should end at; None is all of it.

    `read` tokens of `length` are in the cache, `size` is the slice while others stream.
    """
    if not streaming or length - read <= size:
        return None
    return read + size


def enough_to_read(reading: Iterable[int], more: int) -> bool:
    """Whether a prompt had better wait, of which `more` tokens are unread, where these numbers are
    being read: who comes meanwhile with more right to it need not wait for all of them then."""
    tokens = sum(reading)
    return tokens > 0 and tokens + more > _AT_ONCE
