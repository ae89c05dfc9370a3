"""Texts of a grammar at random, to be checked by who knows what they should be."""

import math
import random
from collections.abc import Iterator, Mapping
from functools import lru_cache

from ov_server.grammars.completion import Network
from ov_server.grammars.grammar import (
    Characters,
    Choice,
    Grammar,
    Literal,
    Node,
    Repeat,
    Rule,
    Sequence,
)

DEEPEST = 12
"""Rules within rules, after which the shortest way is taken."""
LIKELY = 'aZ09_- ."\\\n/@:é€😀'


class Sampler:
    """Draws texts of a grammar. They come to an end: deep down the cheapest way is taken."""

    def __init__(self, grammar: Grammar, seed: int = 0):
        self._grammar = grammar
        self._random = random.Random(seed)
        self._costs = _costs(grammar.rules)

    def text(self) -> str:
        parts: list[str] = []
        todo: list[tuple[Node, int]] = [(Rule(self._grammar.root), 0)]
        while todo:
            node, depth = todo.pop()
            match node:
                case Literal(text):
                    parts.append(text)
                case Characters(ranges):
                    parts.append(self._character(ranges))
                case Sequence(inner):
                    todo += ((part, depth) for part in reversed(inner))
                case Choice(options):
                    todo.append((self._option(options, depth), depth))
                case Repeat(inner, least, most):
                    todo += [(inner, depth)] * self._times(inner, least, most, depth)
                case Rule(name):
                    todo.append((self._grammar.rules[name], depth + 1))
        return "".join(parts)

    def _character(self, ranges: tuple[tuple[int, int], ...]) -> str:
        likely = _likely(ranges)
        if likely and self._random.random() < 0.5:
            return self._random.choice(likely)
        first, last = self._random.choice(ranges)
        return chr(self._random.choice((first, last, self._random.randint(first, last))))

    def _option(self, options: tuple[Node, ...], depth: int) -> Node:
        fair = [option for option in options if math.isfinite(_cost(option, self._costs))]
        if depth > DEEPEST:
            return min(fair, key=lambda option: _cost(option, self._costs))
        return self._random.choice(fair)

    def _times(self, inner: Node, least: int, most: int | None, depth: int) -> int:
        if depth > DEEPEST or not math.isfinite(_cost(inner, self._costs)):
            return least
        wanted = self._random.choice((0, 1, 1, 2, 3))
        return least + (wanted if most is None else min(wanted, most - least))


@lru_cache
def _likely(ranges: tuple[tuple[int, int], ...]) -> list[str]:
    return [c for c in LIKELY if any(first <= ord(c) <= last for first, last in ranges)]


def _costs(rules: Mapping[str, Node]) -> dict[str, float]:
    """How many rules the shallowest text of each rule needs."""
    costs = dict.fromkeys(rules, math.inf)
    changed = True
    while changed:
        changed = False
        for name, node in rules.items():
            if (cost := 1 + _cost(node, costs)) < costs[name]:
                costs[name] = cost
                changed = True
    return costs


def _cost(node: Node, costs: Mapping[str, float]) -> float:
    match node:
        case Sequence(parts):
            return sum(_cost(part, costs) for part in parts)
        case Choice(options):
            return min((_cost(option, costs) for option in options), default=math.inf)
        case Repeat(inner, least):
            return least * _cost(inner, costs) if least else 0
        case Rule(name):
            return costs[name]
    return 0


BORDERS = '>"\n=:[{|'
"""Behind these something begins."""


def tempted(grammar: Grammar, chance: random.Random, lures: list[str], count: int) -> Iterator[str]:
    """Texts of a grammar with lures in them where it lets these through: mostly the first ones, and
    where something begins."""
    network = Network(grammar)
    sampler = Sampler(grammar, chance.randrange(10**9))
    for _ in range(count):
        text = sampler.text()
        for _ in range(6):
            borders = [n for n, character in enumerate(text, 1) if character in BORDERS]
            places = borders if borders and chance.random() < 0.6 else range(1, len(text))
            lure = lures[int(len(lures) * chance.random() ** 3)]
            begun = text[: chance.choice(places)] + lure
            rest = network.rest(begun)
            text = text if rest is None else begun + rest
        yield text
