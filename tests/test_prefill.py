"""How much of a prompt a step reads, and what is remembered of prompts read before."""

from hypothesis import given
from hypothesis import strategies as st

from ov_server.prefill import PrefixMemory, next_part

TOKENS = st.lists(st.integers(0, 3), max_size=40)


def test_a_prompt_is_read_whole_when_nobody_streams() -> None:
    assert next_part(0, 10_000, 32, streaming=False) is None


def test_a_prompt_is_read_in_parts_while_others_stream() -> None:
    parts, read = [], 0
    while (part := next_part(read, 100, 32, streaming=True)) is not None:
        parts.append(part)
        read = part
    assert parts == [32, 64, 96]


def test_what_fits_a_part_is_read_whole() -> None:
    assert next_part(68, 100, 32, streaming=True) is None
    assert next_part(67, 100, 32, streaming=True) == 99


def test_whole_blocks_of_a_prompt_are_known_again() -> None:
    memory = PrefixMemory(4)
    memory.remember(range(10))
    assert memory.known(range(10)) == 8
    assert memory.known(range(7)) == 4
    assert memory.known([*range(5), 99, 99, 99]) == 4
    assert memory.known([9, *range(9)]) == 0


def test_a_block_behind_another_beginning_is_another_block() -> None:
    memory = PrefixMemory(2)
    memory.remember([1, 2, 5, 6])
    assert memory.known([3, 4, 5, 6]) == 0


def test_nothing_is_known_after_clearing() -> None:
    memory = PrefixMemory(2)
    memory.remember([1, 2])
    memory.clear()
    assert memory.known([1, 2]) == 0


def test_the_blocks_remembered_longest_ago_are_forgotten() -> None:
    memory = PrefixMemory(1, limit=3)
    memory.remember([1, 2])
    memory.remember([3])
    memory.remember([1])
    memory.remember([4])
    assert [memory.known([t]) for t in (1, 3, 4)] == [1, 1, 1]
    assert memory.known([1, 2]) == 1


@given(TOKENS, TOKENS, st.integers(1, 8))
def test_only_whole_blocks_of_the_common_beginning_are_known(
    first: list[int], second: list[int], block: int
) -> None:
    memory = PrefixMemory(block)
    memory.remember(first)
    common = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    assert memory.known(second) == common // block * block


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 64), st.booleans())
def test_a_part_ends_within_the_prompt_and_is_no_longer_than_a_slice(
    read: int, left: int, size: int, streaming: bool
) -> None:
    part = next_part(read, read + left, size, streaming)
    if part is not None:
        assert read < part < read + left
        assert part - read <= size
