"""Automata back into grammar: a state becomes what may follow it. One that leads to itself is a
repeat; states that lead to each other are rules that call each other at their ends, which the
runtime takes sixty times faster than repeats within repeats. Pure.
"""

from collections.abc import Callable

from .automata import Automaton
from .grammar import NOTHING, Choice, Node, Rule, choice, repeat, sequence
from .rulebook import Rulebook

Ranges = tuple[tuple[int, int], ...]

WIDE = 200
"""A class of more characters than these costs the runtime milliseconds in each state."""
DEEPEST = 16
"""Choices within choices, after which a rule begins."""


def wide(ranges: Ranges) -> bool:
    return sum(last - first + 1 for first, last in ranges) > WIDE


def wide_states(automaton: Automaton) -> int:
    """How many states read a wide class: what the runtime pays for an automaton."""
    return sum(wide(tuple((a, b) for a, b, _ in row)) for row in automaton.arrows)


def written(
    automaton: Automaton, spell: Callable[[Ranges], Node], end: Node, book: Rulebook
) -> Node:
    """The texts of a minimal automaton, each followed by `end`; `spell` writes a character out of
    a class."""
    return NOTHING if automaton.empty else _Writer(automaton, spell, end, book).text()


class _Writer:
    def __init__(
        self, automaton: Automaton, spell: Callable[[Ranges], Node], end: Node, book: Rulebook
    ):
        self._ends = automaton.ends
        self._end = end
        self._spell = spell
        self._book = book
        self._ways = [_classes(row) for row in automaton.arrows]
        self._whole = [bits | 1 << state for state, bits in enumerate(automaton.reach)]
        self._uses = [0] * len(self._ways)
        for ways in self._ways:
            for target in ways:
                self._uses[target] += 1
        self._depths: dict[int, int] = {}
        self._after: dict[int, Node] = {}
        """What may follow a state, for those that are done."""

    def text(self) -> Node:
        """States that reach each other reach the same states, and fewer than those before them."""
        components: dict[int, list[int]] = {}
        for state, bits in enumerate(self._whole):
            components.setdefault(bits, []).append(state)
        for _, states in sorted(components.items(), key=lambda item: item[0].bit_count()):
            self._component(states)
        return self._after[0]

    def _component(self, states: list[int]) -> None:
        if len(states) == 1:
            self._after[states[0]] = self._shared(states[0], self._following(states[0]))
            return
        names = {state: self._book.reserve("state") for state in states}
        self._after.update({state: Rule(name) for state, name in names.items()})
        for state, name in names.items():
            self._book.rules[name] = self._following(state)

    def _following(self, state: int) -> Node:
        ways = self._ways[state]
        loop = repeat(self._spell(ways[state])) if state in ways else sequence()
        options = [
            sequence(option, self._after[target])
            for target, ranges in ways.items()
            if target != state
            for option in _options(self._spell(ranges))
        ]
        return sequence(loop, choice(*([self._end] if state in self._ends else []), *options))

    def _shared(self, state: int, node: Node) -> Node:
        """As a rule when it is needed again, when a wide class makes it dear, or when what follows
        is deep."""
        ways = self._ways[state]
        depth = max((self._depths.get(target, 0) for target in ways), default=0)
        depth += len(ways) + (state in self._ends) > 1
        dear = any(wide(ranges) for ranges in ways.values())
        if self._uses[state] - (state in ways) > 1 or dear or depth > DEEPEST:
            return self._book.name(node)
        self._depths[state] = depth
        return node


def _classes(row: tuple[tuple[int, int, int], ...]) -> dict[int, Ranges]:
    """What is read on the way to each state."""
    found: dict[int, Ranges] = {}
    for first, last, target in row:
        found[target] = (*found.get(target, ()), (first, last))
    return found


def _options(node: Node) -> tuple[Node, ...]:
    """Choices are multiplied out, as the runtime is slow where they are rules of their own."""
    return node.options if isinstance(node, Choice) else (node,)
