"""Finite automata over ranges of code points: what a set of short texts is while it is still being
put together. Deterministic ones only are kept; `loops.py` turns them back into grammar. Pure.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from .grammar import LAST_CHARACTER, Characters, Choice, Literal, Node, Repeat, Rule, Sequence

State = TypeVar("State", bound=Hashable)

Arrow = tuple[int, int, int]
"""The first and the last code point that it reads, and the state that it leads to."""

SCALARS = ((0, 0xD7FF), (0xE000, LAST_CHARACTER))
"""All characters: the code points without the surrogates."""

START, END = Characters(((-1, -1),)), Characters(((-2, -2),))
"""The borders of a text, as leaves of the node of a regular expression: ^ and $."""

STATES = 1000
"""More than these an automaton may not have, ..."""
PARTS = 4000
"""... and more than these the node that it is made of, with repeats written out."""


class TooLarge(ValueError):
    """An automaton would have more states than anything worth waiting for."""


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton without dead ends. It starts in state 0; when nothing fits, that
    is the only one and no end."""

    arrows: tuple[tuple[Arrow, ...], ...]
    """Those of each state, in order of what they read, without overlap."""
    ends: frozenset[int]

    @property
    def empty(self) -> bool:
        return not self.ends

    @cached_property
    def reach(self) -> list[int]:
        """For each state those that follow it, sooner or later, as bits."""
        found = [sum({1 << target for _, _, target in row}) for row in self.arrows]
        before: list[int] = []
        while before != found:
            before = found[:]
            for state in reversed(range(len(found))):
                for _, _, target in self.arrows[state]:
                    found[state] |= found[target]
        return found

    @property
    def lengths(self) -> tuple[int, int | None]:
        """Characters in the shortest and in the longest text; None is without end."""
        least, level = 0, {0}
        while not level & self.ends and not self.empty:
            level = {target for state in level for _, _, target in self.arrows[state]}
            least += 1
        if any(bits >> state & 1 for state, bits in enumerate(self.reach)):
            return least, None
        longest = dict.fromkeys(range(len(self.arrows)), 0)
        for state in sorted(longest, key=lambda s: self.reach[s].bit_count()):
            longest[state] = max((1 + longest[t] for _, _, t in self.arrows[state]), default=0)
        return least, longest[0]

    def after(self, state: int | None, text: str) -> int | None:
        """The state that a text leads to; None when it leads nowhere."""
        for character in text:
            state = None if state is None else _target(self.arrows[state], ord(character))
        return state

    def holds(self, text: str) -> bool:
        return self.after(0, text) in self.ends


def explored(
    start: State,
    steps: Callable[[State], Iterable[tuple[int, int, State]]],
    ends: Callable[[State], bool],
) -> Automaton:
    """The automaton of a function that tells where one gets from a state. Raises TooLarge."""
    numbers = {start: 0}
    rows: list[list[Arrow]] = []
    todo = [start]
    for state in todo:
        row: list[Arrow] = []
        for first, last, target in steps(state):
            if target not in numbers:
                numbers[target] = len(numbers)
                todo.append(target)
            row.append((first, last, numbers[target]))
        if len(numbers) > STATES:
            raise TooLarge(f"it needs more than {STATES} states")
        rows.append(_joined(row))
    return _trimmed(rows, {numbers[state] for state in todo if ends(state)})


def _joined(row: Iterable[Arrow]) -> list[Arrow]:
    """With neighbours that lead to the same state put together."""
    joined: list[Arrow] = []
    for first, last, target in sorted(row):
        if joined and joined[-1][1] + 1 == first and joined[-1][2] == target:
            joined[-1] = (joined[-1][0], last, target)
        else:
            joined.append((first, last, target))
    return joined


def _trimmed(rows: list[list[Arrow]], ends: set[int]) -> Automaton:
    """Without the states from which no end can be reached."""
    sources: list[set[int]] = [set() for _ in rows]
    for state, row in enumerate(rows):
        for _, _, target in row:
            sources[target].add(state)
    alive = set(ends)
    todo = list(ends)
    while todo:
        todo += (new := sources[todo.pop()] - alive)
        alive |= new
    names = {old: new for new, old in enumerate(sorted(alive | {0}))}
    arrows = (tuple((a, b, names[t]) for a, b, t in rows[old] if t in alive) for old in names)
    return Automaton(tuple(arrows), frozenset(names[end] for end in ends))


def minimal(automaton: Automaton) -> Automaton:
    """The smallest automaton of the same texts, by Moore's refinement."""
    blocks = [int(state in automaton.ends) for state in range(len(automaton.arrows))]
    count = 0
    while count != (count := len(set(blocks))):
        seen: dict[Hashable, int] = {}
        blocks = [
            seen.setdefault(
                (blocks[state], tuple(_joined((a, b, blocks[t]) for a, b, t in row))), len(seen)
            )
            for state, row in enumerate(automaton.arrows)
        ]
    first = {block: state for state, block in reversed(list(enumerate(blocks)))}
    return explored(
        blocks[0],
        lambda block: [(a, b, blocks[t]) for a, b, t in automaton.arrows[first[block]]],
        lambda block: first[block] in automaton.ends,
    )


# Putting them together.


def _combined(one: Automaton, other: Automaton, holds: Callable[[bool, bool], bool]) -> Automaton:
    """The texts for which `holds` is true of "is it one's?" and "is it the other's?"."""
    pair = tuple[int | None, int | None]

    def steps(state: pair) -> Iterator[tuple[int, int, pair]]:
        pairs = zip((one, other), state, strict=True)
        rows = [a.arrows[s] if s is not None else () for a, s in pairs]
        cuts = {cut for row in rows for first, last, _ in row for cut in (first, last + 1)}
        for first, after in pairwise(sorted(cuts)):
            target = (_target(rows[0], first), _target(rows[1], first))
            if target != (None, None):
                yield first, after - 1, target

    return explored((0, 0), steps, lambda s: holds(s[0] in one.ends, s[1] in other.ends))


def both(one: Automaton, other: Automaton) -> Automaton:
    return _combined(one, other, lambda a, b: a and b)


def either(one: Automaton, other: Automaton) -> Automaton:
    return _combined(one, other, lambda a, b: a or b)


def without(one: Automaton, other: Automaton) -> Automaton:
    """The texts of one that are not the other's."""
    return _combined(one, other, lambda a, b: a and not b)


def _target(row: tuple[Arrow, ...], code: int) -> int | None:
    at = bisect_right(row, code, key=lambda arrow: arrow[0]) - 1
    return row[at][2] if at >= 0 and row[at][1] >= code else None


# Making them.

ANY = Automaton((tuple((first, last, 0) for first, last in SCALARS),), frozenset({0}))
"""Every text."""


def words(texts: Iterable[str]) -> Automaton:
    """Just these texts."""
    wanted = sorted(set(texts))
    prefixes = {text[:end] for text in wanted for end in range(len(text) + 1)}
    following: dict[str, list[str]] = {prefix: [] for prefix in prefixes | {""}}
    for prefix in sorted(prefixes - {""}):
        following[prefix[:-1]].append(prefix)
    return explored(
        "",
        lambda text: [(ord(more[-1]), ord(more[-1]), more) for more in following[text]],
        set(wanted).__contains__,
    )


def beginning_with(texts: Iterable[str]) -> Automaton:
    """All texts that begin with one of these."""
    start = Choice(tuple(Literal(text) for text in texts))
    return automaton(Sequence((start, Repeat(Characters(SCALARS)))))


def counted(least: int, most: int | None) -> Automaton:
    """The texts of `least` to `most` characters."""
    last = least if most is None else most

    def steps(count: int) -> Iterator[tuple[int, int, int]]:
        if count < last or most is None:
            yield from ((first, end, min(count + 1, last)) for first, end in SCALARS)

    return explored(0, steps, lambda count: count >= least and (most is None or count <= most))


def ending_before(mark: str) -> Automaton:
    """The texts after which `mark` can be written so that its first occurrence is that one."""

    def steps(matched: int) -> Iterator[tuple[int, int, int]]:
        for first, last in _others(mark):
            yield first, last, 0
        for character in set(mark):
            if (after := _matched(mark, matched, character)) < len(mark):
                yield ord(character), ord(character), after

    def ends(matched: int) -> bool:
        for character in mark[:-1]:
            matched = _matched(mark, matched, character)
            if matched == len(mark):
                return False
        return True

    return explored(0, steps, ends)


def _matched(mark: str, matched: int, character: str) -> int:
    """How much of the mark has been read behind one more character."""
    seen = mark[:matched] + character
    return next(n for n in range(len(seen), -1, -1) if mark[:n] == seen[len(seen) - n :])


def _others(mark: str) -> Iterator[tuple[int, int]]:
    """All characters that are not in the mark."""
    for low, high in SCALARS:
        for code in sorted({ord(c) for c in mark if low <= ord(c) <= high}):
            if low < code:
                yield low, code - 1
            low = code + 1
        if low <= high:
            yield low, high


def automaton(node: Node, *, search: bool = False) -> Automaton:
    """The texts of a node without rules; with `search` those in which one of them stands. START
    and END count as borders of the text. Raises TooLarge."""
    if _size(node) > PARTS:
        raise TooLarge(f"written out it has more than {PARTS} parts")
    return _Net(node, search).determined()


def _size(node: Node) -> int:
    match node:
        case Literal(text):
            return len(text) + 1
        case Sequence(parts) | Choice(parts):
            return 1 + sum(map(_size, parts))
        case Repeat(inner, least, most):
            return 1 + _size(inner) * max(least, most or 0, 1)
        case Rule(name):
            raise ValueError(f"a rule, {name}, in a regular expression")
    return 1


class _Net:
    """A nondeterministic automaton, after Thompson (CACM 11, 1968)."""

    def __init__(self, node: Node, search: bool):
        self._free: list[list[int]] = []
        self._reads: list[list[Arrow]] = []
        first = self._state()
        last = self._build(node, first)
        if search:
            self._reads[first] += [(low, high, first) for low, high in SCALARS]
            entry, first = first, self._state()
            self._free[first].append(entry)
            end = self._state()
            self._free[last].append(end)
            self._reads[end] += [(low, high, end) for low, high in SCALARS]
            last = end
        self._first, self._last = first, last

    def _state(self) -> int:
        self._free.append([])
        self._reads.append([])
        return len(self._free) - 1

    def _build(self, node: Node, start: int) -> int:
        match node:
            case Literal(text):
                for character in text:
                    start = self._read(((ord(character), ord(character)),), start)
            case Characters(ranges):
                start = self._read(ranges, start)
            case Sequence(parts):
                for part in parts:
                    start = self._build(part, start)
            case Choice(options):
                end = self._state()
                for option in options:
                    begin = self._state()
                    self._free[start].append(begin)
                    self._free[self._build(option, begin)].append(end)
                return end
            case Repeat():
                return self._repeat(node, start)
        return start

    def _read(self, ranges: Iterable[tuple[int, int]], start: int) -> int:
        end = self._state()
        self._reads[start] += [(first, last, end) for first, last in ranges]
        return end

    def _repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self._build(node.node, start)
        end = self._state()
        if node.most is None:
            turn = self._state()
            self._free[start] += [turn]
            self._free[turn] += [end]
            self._free[self._build(node.node, turn)] += [turn]
            return end
        for _ in range(node.most - node.least):
            self._free[start] += [end]
            begin = self._state()
            self._free[start] += [begin]
            start = self._build(node.node, begin)
        self._free[start] += [end]
        return end

    def determined(self) -> Automaton:
        """By the subsets of states; the borders are crossed without reading."""
        start = self._closed({self._first}, START)
        last = self._last
        return explored(
            start,
            self._steps,
            lambda s: last in self._closed(s, END, *([START] if s == start else [])),
        )

    def _closed(self, states: Iterable[int], *borders: Characters) -> frozenset[int]:
        crossed = {border.ranges[0] for border in borders}
        found = set(states)
        todo = list(found)
        while todo:
            state = todo.pop()
            near = self._free[state] + [t for a, b, t in self._reads[state] if (a, b) in crossed]
            todo += (new := set(near) - found)
            found |= new
        return frozenset(found)

    def _steps(self, states: frozenset[int]) -> Iterator[tuple[int, int, frozenset[int]]]:
        arrows = {arrow for state in states for arrow in self._reads[state] if arrow[0] >= 0}
        cuts = sorted({cut for first, last, _ in arrows for cut in (first, last + 1)})
        places = {cut: place for place, cut in enumerate(cuts)}
        reached: list[set[int]] = [set() for _ in cuts]
        for first, last, target in arrows:
            for place in range(places[first], places[last + 1]):
                reached[place].add(target)
        closed: dict[frozenset[int], frozenset[int]] = {}
        for place, targets in enumerate(map(frozenset, reached)):
            if targets:
                if targets not in closed:
                    closed[targets] = self._closed(targets)
                yield cuts[place], cuts[place + 1] - 1, closed[targets]
