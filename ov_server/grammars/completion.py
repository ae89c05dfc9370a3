"""What a grammar says of a text that was cut off: its shortest end, and all its ends. Pure.

The grammar becomes a network of states (a recursive transition network), the text is run through
it as in Earley's parser (Communications of the ACM 13, 1970), and from the places where it may
stand at its end the cheapest way out is taken.
"""

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from .grammar import (
    EMPTY,
    NOTHING,
    Characters,
    Choice,
    Grammar,
    Literal,
    Node,
    Repeat,
    Rule,
    Sequence,
    choice,
    pruned,
    sequence,
)

NONE = Grammar({})
"""No text, not even the empty one."""

MOST_STEPS = 1_000_000
"""Steps along a text, a second's work; an answer takes some twenty for each character."""

Item = tuple[int, int]
"""A state, and where in the text its rule began."""

Ranges = tuple[tuple[int, int], ...]


class Network:
    """The states of a grammar. Every rule has one first and one last state."""

    def __init__(self, grammar: Grammar):
        self._owner: list[str] = []
        self._free: list[list[int]] = []
        self._reads: list[list[tuple[Ranges, int]]] = []
        self._calls: list[list[tuple[str, int]]] = []
        self._grammar = grammar
        self._name = ""
        self._first: dict[str, int] = {}
        self._ends: dict[int, str] = {}
        self._steps = 0
        for name, node in grammar.rules.items():
            self._name = name
            self._first[name], last = self._state(), self._state()
            self._ends[last] = name
            self._free[self._build(node, self._first[name])].append(last)

    def _state(self) -> int:
        """A new one, of the rule that is being built."""
        self._owner.append(self._name)
        self._free.append([])
        self._reads.append([])
        self._calls.append([])
        return len(self._free) - 1

    def _build(self, node: Node, start: int) -> int:
        """Adds what the node says behind `start`; returns the state behind it."""
        match node:
            case Literal(text):
                for character in text:
                    start = self._read(((ord(character), ord(character)),), start)
                return start
            case Characters(ranges):
                return self._read(ranges, start)
            case Sequence(parts):
                for part in parts:
                    start = self._build(part, start)
                return start
            case Choice(options):
                end = self._state()
                for option in options:
                    begin = self._state()
                    self._free[start].append(begin)
                    self._free[self._build(option, begin)].append(end)
                return end
            case Repeat():
                return self._repeat(node, start)
            case Rule(name):
                end = self._state()
                self._calls[start].append((name, end))
                return end

    def _read(self, ranges: Ranges, start: int) -> int:
        end = self._state()
        self._reads[start].append((ranges, end))
        return end

    def _repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self._build(node.node, start)
        if node.most is None:
            turn, end = self._state(), self._state()
            self._free[start].append(turn)
            self._free[turn].append(end)
            self._free[self._build(node.node, turn)].append(turn)
            return end
        end = self._state()
        self._free[start].append(end)
        for _ in range(node.most - node.least):
            start = self._build(node.node, start)
            self._free[start].append(end)
        return end

    # Where a text may stand.

    def rest(self, text: str) -> str | None:
        """The shortest text that completes this one; None when it can't be completed."""
        return self._way_out(*self._read_through(text))

    def residue(self, text: str, prefix: str = "residue_") -> Grammar:
        """The grammar of all texts that complete this one; without any rule when none does. The
        names of the rules that are new begin with the prefix, which no other name may do.

        Every state becomes a rule for what may follow it (a right-linear grammar), and so does
        every end of a rule that was begun within the text. Raises ValueError when there are too
        many ways to read the text: it is computed where others wait.
        """
        items, waiting = self._read_through(text, MOST_STEPS)
        rules: dict[str, Node] = {}
        todo: list[int] = []

        def behind(state: int) -> Node:
            todo.append(state)
            return Rule(f"{prefix}state_{state}")

        def outside(rule: str, origin: int) -> Node:
            """What follows a rule that began there."""
            name = f"{prefix}behind_{rule}_{origin}"
            if name not in rules:
                rules[name] = NOTHING  # while it is being written
                done = [EMPTY] if rule == self._grammar.root and origin == 0 else []
                rules[name] = choice(
                    *done,
                    *(
                        sequence(behind(after), outside(self._owner[after], begun))
                        for after, begun in sorted(waiting[origin].get(rule, ()))
                    ),
                )
            return Rule(name)

        root = choice(
            *(
                sequence(behind(state), outside(self._owner[state], origin))
                for state, origin in sorted(items)
                if self._reads[state] or self._ends.get(state) == self._grammar.root
            )
        )
        while todo:
            state = todo.pop()
            if (name := f"{prefix}state_{state}") not in rules:
                rules[name] = choice(
                    *([EMPTY] if state in self._ends else []),
                    *(behind(after) for after in self._free[state]),
                    *(sequence(Characters(r), behind(after)) for r, after in self._reads[state]),
                    *(sequence(Rule(rule), behind(after)) for rule, after in self._calls[state]),
                )
        name = f"{prefix}rest"
        return pruned(Grammar({**self._grammar.rules, **rules, name: root}, name)) or NONE

    def _read_through(
        self, text: str, most: float = math.inf
    ) -> tuple[set[Item], list[dict[str, set[Item]]]]:
        """The items at the end of the text, and what waits for the rules that began before."""
        self._steps = 0
        waiting: list[dict[str, set[Item]]] = []
        items = self._closed({(self._first[self._grammar.root], 0)}, waiting)
        for character in text:
            code = ord(character)
            reached = {
                (after, origin)
                for state, origin in items
                for ranges, after in self._reads[state]
                if _holds(ranges, code)
            }
            items = self._closed(reached, waiting)
            if self._steps > most:
                raise ValueError("there are too many ways to read the text")
        return items, waiting

    def _closed(self, items: set[Item], waiting: list[dict[str, set[Item]]]) -> set[Item]:
        """All items at a place of the text, from those that reading led to. Notes in `waiting`,
        for each place and rule, what goes on when the rule that began there has ended."""
        here: dict[str, set[Item]] = {}
        waiting.append(here)
        place = len(waiting) - 1
        empty: set[str] = set()
        found: set[Item] = set()
        todo = list(items)
        while todo:
            item = todo.pop()
            self._steps += 1
            if item in found:
                continue
            found.add(item)
            state, origin = item
            todo += [(after, origin) for after in self._free[state]]
            for rule, after in self._calls[state]:
                here.setdefault(rule, set()).add((after, origin))
                todo.append((self._first[rule], place))
                if rule in empty:
                    todo.append((after, origin))
            if (ended := self._ends.get(state)) is not None:
                todo += waiting[origin].get(ended, ())
                if origin == place:
                    empty.add(ended)
        return found

    # The way out.

    def _way_out(self, items: set[Item], waiting: list[dict[str, set[Item]]]) -> str | None:
        """Dijkstra's algorithm over the items: reading costs the characters read, and a rule's end
        leads to what waits for it."""
        texts: dict[Item, str] = {}
        queue: list[tuple[int, int, Item, str]] = []
        for number, item in enumerate(sorted(items)):
            heapq.heappush(queue, (0, number, item, ""))
        pushed = len(queue)
        while queue:
            cost, _, item, text = heapq.heappop(queue)
            if item in texts:
                continue
            texts[item] = text
            state, origin = item
            ended = self._ends.get(state)
            if ended == self._grammar.root and origin == 0:
                return text
            steps = [((after, origin), "") for after in self._free[state]]
            steps += [((after, origin), _shown(ranges)) for ranges, after in self._reads[state]]
            steps += [
                ((after, origin), self._texts[self._first[rule]])
                for rule, after in self._calls[state]
                if math.isfinite(self._costs[self._first[rule]])
            ]
            if ended is not None:
                steps += [(waiter, "") for waiter in sorted(waiting[origin].get(ended, ()))]
            for following, more in steps:
                pushed += 1
                heapq.heappush(queue, (cost + len(more), pushed, following, text + more))
        return None

    @cached_property
    def _costs(self) -> list[float]:
        return [math.inf if text is None else len(text) for text in self._found]

    @cached_property
    def _texts(self) -> list[str]:
        return [text or "" for text in self._found]

    @cached_property
    def _found(self) -> list[str | None]:
        """For each state the shortest text from there to the end of its rule."""
        texts: list[str | None] = [None] * len(self._free)
        for state in self._ends:
            texts[state] = ""
        changed = True
        while changed:
            changed = False
            for state in range(len(texts) - 1, -1, -1):
                for text in self._ways(state, texts):
                    if texts[state] is None or len(text) < len(texts[state] or ""):
                        texts[state] = text
                        changed = True
        return texts

    def _ways(self, state: int, texts: list[str | None]) -> Iterator[str]:
        for after in self._free[state]:
            if (rest := texts[after]) is not None:
                yield rest
        for ranges, after in self._reads[state]:
            if (rest := texts[after]) is not None:
                yield _shown(ranges) + rest
        for rule, after in self._calls[state]:
            inner, rest = texts[self._first[rule]], texts[after]
            if inner is not None and rest is not None:
                yield inner + rest


def _holds(ranges: Ranges, code: int) -> bool:
    if len(ranges) == 1:
        return ranges[0][0] <= code <= ranges[0][1]
    at = bisect_right(ranges, (code, math.inf))
    return at > 0 and ranges[at - 1][1] >= code


def _shown(ranges: Ranges) -> str:
    """A character of the class that looks harmless."""
    for likely in "0a ":
        if _holds(ranges, ord(likely)):
            return likely
    return chr(ranges[0][0])
