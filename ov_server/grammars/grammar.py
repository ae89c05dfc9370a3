"""Grammars as trees: the texts that an answer may be. Builds them and writes them as EBNF for the
runtime. Pure; knows no JSON and no tools.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

LAST_CHARACTER = 0x10FFFF
_WIDE = 1000
"""Code points; classes of fewer cost the runtime little."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Just this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of these ranges of code points, both ends included."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the options; without any, nothing fits."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The node again and again, `least` to `most` times; None is without end."""

    node: "Node"
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What the rule of that name says."""

    name: str


Node = Literal | Characters | Sequence | Choice | Repeat | Rule

EMPTY = Literal("")
NOTHING = Choice(())
"""Fits no text at all, not even the empty one."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules by name; the texts are those of the rule `root`. Names are of letters, digits, `_`."""

    rules: Mapping[str, Node]
    root: str = "root"


def literal(text: str) -> Node:
    return Literal(text)


def characters(*ranges: str | tuple[int, int]) -> Node:
    """A class from pieces like "az" (a range), "x" (a character) or (0x20, 0x7e)."""
    pairs = [(ord(r[0]), ord(r[-1])) if isinstance(r, str) else r for r in ranges]
    return Characters(tuple(sorted(pairs))) if pairs else NOTHING


def sequence(*parts: Node) -> Node:
    flat: list[Node] = []
    for part in parts:
        if part == NOTHING:
            return NOTHING
        for piece in part.parts if isinstance(part, Sequence) else (part,):
            if isinstance(piece, Literal) and flat and isinstance(flat[-1], Literal):
                flat[-1] = Literal(flat[-1].text + piece.text)
            elif piece != EMPTY:
                flat.append(piece)
    if not flat:
        return EMPTY
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def choice(*options: Node) -> Node:
    flat: dict[Node, None] = {}
    for option in options:
        flat.update(dict.fromkeys(option.options if isinstance(option, Choice) else (option,)))
    return next(iter(flat)) if len(flat) == 1 else Choice(tuple(flat))


def repeat(node: Node, least: int = 0, most: int | None = None) -> Node:
    if most is not None and least > most:
        return NOTHING
    if most == 0 or node == EMPTY or (node == NOTHING and not least):
        return EMPTY
    if node == NOTHING:
        return NOTHING
    return node if least == most == 1 else Repeat(node, least, most)


def optional(node: Node) -> Node:
    return repeat(node, 0, 1)


def productive(rules: Mapping[str, Node]) -> set[str]:
    """The rules of which any text can come."""
    found: set[str] = set()
    before = -1
    while before != len(found):
        before = len(found)
        for name, node in rules.items():
            if name not in found and _gives(node, found):
                found.add(name)
    return found


def _gives(node: Node, known: set[str]) -> bool:
    match node:
        case Sequence(parts):
            return all(_gives(part, known) for part in parts)
        case Choice(options):
            return any(_gives(option, known) for option in options)
        case Repeat(inner, least):
            return not least or _gives(inner, known)
        case Rule(name):
            return name in known
    return True


def spoken(node: Node, mute: frozenset[int]) -> Node:
    """The node without the texts for which a model has no tokens: those that hold one of the `mute`
    bytes in UTF-8. Classes keep such characters where there are others to choose from."""
    match node:
        case Literal(text):
            return node if mute.isdisjoint(text.encode()) else NOTHING
        case Characters(ranges):
            return node if any(_speaks(*pair, mute) for pair in ranges) else NOTHING
        case Sequence(parts):
            return sequence(*(spoken(part, mute) for part in parts))
        case Choice(options):
            return choice(*(spoken(option, mute) for option in options))
        case Repeat(inner, least, most):
            return repeat(spoken(inner, mute), least, most)
    return node


def _speaks(first: int, last: int, mute: frozenset[int]) -> bool:
    """Looks at one character of each first byte."""
    while first <= last:
        if mute.isdisjoint(chr(first).encode("utf-8", "surrogatepass")[:1]):
            return True
        block = 1 if first < 0x80 else 0x40 if first < 0x800 else 0x1000
        block = block if first < 0x10000 else 0x40000
        first += block - first % block
    return False


def pruned(grammar: Grammar) -> Grammar | None:
    """Without what can't lead to a text, and without what `root` does not need; None when no text
    fits at all."""
    needed = reached(grammar).rules
    alive = productive(needed)
    if grammar.root not in alive:
        return None
    kept = {name: _without(node, alive) for name, node in needed.items() if name in alive}
    return reached(Grammar(kept, grammar.root))


def reached(grammar: Grammar) -> Grammar:
    """Without what `root` does not need."""
    kept: dict[str, Node] = {}
    todo = [grammar.root]
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = grammar.rules[name]
            todo += reversed(list(references(kept[name])))
    return Grammar(kept, grammar.root)


def _without(node: Node, alive: set[str]) -> Node:
    match node:
        case Sequence(parts):
            return sequence(*(_without(part, alive) for part in parts))
        case Choice(options):
            return choice(*(_without(o, alive) for o in options if _gives(o, alive)))
        case Repeat(inner, least, most):
            return repeat(_without(inner, alive), least, most) if _gives(inner, alive) else EMPTY
    return node


def references(node: Node) -> Iterable[str]:
    """The names of the rules that a node mentions."""
    match node:
        case Sequence(inner) | Choice(inner):
            for part in inner:
                yield from references(part)
        case Repeat(one):
            yield from references(one)
        case Rule(name):
            yield name


# EBNF, in the dialect of XGrammar, which is that of llama.cpp's GBNF:
# xgrammar.mlc.ai/docs/defining_structures/ebnf_grammar.html. XGrammar (0.1.31) writes control
# characters and those of 0x7F to 0xFF as \x and digits, and reads that back with whatever digits
# follow: "éa" becomes one character. In a class of its own such a character comes to no harm.

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A grammar of which texts may begin with any of several rules. Their EBNF is at hand: writing
    that of a large one takes longer than a token."""

    rules: Mapping[str, Node]
    lines: Mapping[str, str]
    """The EBNF of each rule."""
    needs: Mapping[str, tuple[str, ...]]
    """By rule that a text may begin with: all rules that it leads to, itself among them."""

    def ebnf(self, *begins: str, before: str = "") -> str:
        """The EBNF of the texts of one of these rules, behind a text that has to come first."""
        root = sequence(Literal(before), choice(*map(Rule, begins)))
        names = dict.fromkeys(name for rule in begins for name in self.needs[rule])
        return f"root ::= {_written(root, {})}\n" + "".join(self.lines[name] for name in names)

    def heaviest(self) -> str:
        """The one of those rules that leads to the greatest weight."""
        return max(self.needs, key=lambda rule: weight(self.rules[n] for n in self.needs[rule]))

    def rooted(self, rule: str, before: str = "") -> Grammar:
        """The same as a tree."""
        return reached(Grammar({**self.rules, "root": sequence(Literal(before), Rule(rule))}))


def weight(nodes: Iterable[Node]) -> int:
    """What compiling these costs the runtime: the states that read a wide class, a hundredth of a
    second each at the most."""
    return sum(map(_wide, nodes))


def _wide(node: Node) -> int:
    match node:
        case Characters(ranges):
            return int(sum(last - first for first, last in ranges) > _WIDE)
        case Sequence(parts) | Choice(parts):
            return sum(map(_wide, parts))
        case Repeat(inner, least, most):
            return _wide(inner) * max(least, most or 1)
    return 0


def prepared(rules: Mapping[str, Node], begins: Iterable[str]) -> Prepared:
    """Raises ValueError with the name of a rule in `begins` that no text fits."""
    alive = productive(rules)
    for rule in begins:
        if rule not in alive:
            raise ValueError(rule)
    kept = {name: _without(node, alive) for name, node in rules.items() if name in alive}
    needs = {rule: tuple(reached(Grammar(kept, rule)).rules) for rule in begins}
    used = {name for names in needs.values() for name in names}
    lines = {name: f"{name} ::= {_written(kept[name], {})}\n" for name in used}
    return Prepared({name: kept[name] for name in used}, lines, needs)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a text is held to: a rule of a grammar, behind a text that has come already."""

    grammar: Prepared
    rule: str
    before: str = ""

    def ebnf(self) -> str:
        return self.grammar.ebnf(self.rule, before=self.before)

    def rooted(self) -> Grammar:
        return self.grammar.rooted(self.rule, self.before)


def ebnf(grammar: Grammar) -> str:
    """The grammar as text, with `root` first. It has to be pruned."""
    order = [grammar.root, *(name for name in grammar.rules if name != grammar.root)]
    named = {grammar.root: "root"}
    return "".join(
        f"{named.get(name, name)} ::= {_written(grammar.rules[name], named)}\n" for name in order
    )


def _written(node: Node, named: Mapping[str, str], *, inner: bool = False) -> str:
    match node:
        case Literal(text):
            parts = _text(text)
            text, alone = " ".join(parts), len(parts) == 1
        case Characters(ranges):
            parts = _classes(ranges)
            text, alone = " | ".join(parts), len(parts) == 1
        case Rule(name):
            return named.get(name, name)
        case Repeat(one, least, most):
            again = _written(one, named, inner=True)
            return (f"({again})" if isinstance(one, Repeat) else again) + _times(least, most)
        case Sequence(parts):
            text, alone = " ".join(_written(part, named, inner=True) for part in parts), False
        case Choice(options):
            text, alone = " | ".join(_written(option, named) for option in options), False
    return f"({text})" if inner and not alone else text


def _times(least: int, most: int | None) -> str:
    plain = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    bounds = f"{{{least},{'' if most is None else most}}}"
    return plain.get((least, most), f"{{{least}}}" if least == most else bounds)


def _harmed(character: str) -> bool:
    return (character < " " and character not in _NAMED) or "\x7f" <= character <= "\xff"


def _text(text: str) -> list[str]:
    """A text as literals and classes, one behind the other."""
    parts: list[str] = []
    for harmed, run in groupby(text, _harmed):
        if harmed:
            parts += [f"[{_plain(character)}]" for character in run]
        else:
            parts.append('"' + "".join(f"\\{c}" if c in '"\\' else _plain(c) for c in run) + '"')
    return parts or ['""']


def _classes(ranges: Iterable[tuple[int, int]]) -> list[str]:
    """A class as one, and one more for each range that would be harmed in it. Without the null
    character, which ends XGrammar's strings."""
    together, alone = "", []
    for first, last in ((chr(max(1, low)), chr(high)) for low, high in ranges if high):
        text = _bound(first) if first == last else f"{_bound(first)}-{_bound(last)}"
        if _harmed(first) or _harmed(last):
            alone.append(f"[{text}]")
        else:
            together += text
    return [f"[{together}]", *alone] if together else alone


def _bound(character: str) -> str:
    return f"\\{character}" if character in '[]^-\\"' else _plain(character)


def _plain(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    return _NAMED.get(character, f"\\x{code:02X}" if code < 0x80 else f"\\U{code:08X}")
