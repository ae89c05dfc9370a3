"""Rules of a grammar in the making: gives names, and the same name to equal rules. Pure."""

from .grammar import NOTHING, Characters, Literal, Node, Rule


class Rulebook:
    def __init__(self, prefix: str = ""):
        """`prefix` begins all names, so that rules of several books do not collide."""
        self.rules: dict[str, Node] = {}
        self._prefix = prefix
        self._names: dict[Node, str] = {}
        self._count = 0

    def reserve(self, kind: str) -> str:
        """A name that is not taken; the caller writes its rule."""
        self._count += 1
        return f"{self._prefix}{kind}_{self._count}"

    def fixed(self, kind: str) -> str:
        """The name of the only rule of its kind."""
        return f"{self._prefix}{kind}"

    def name(self, node: Node, kind: str = "part", *, exact: bool = False) -> Node:
        """The node as a rule, the same for equal nodes; one leaf stays as it is. `exact`: the
        rule is called just so, as there is only one."""
        if isinstance(node, Literal | Characters | Rule) or node == NOTHING:
            return node
        if node not in self._names:
            self._names[node] = self.fixed(kind) if exact else self.reserve(kind)
            self.rules[self._names[node]] = node
        return Rule(self._names[node])
