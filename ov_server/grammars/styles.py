"""How JSON is written: where white space may stand, and how its constants are spelt. Pure."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .grammar import EMPTY, NOTHING, Node, choice, literal, optional, repeat, sequence

_OTHERS = {
    "object": r"\{[\s\S]*",
    "array": r"\[[\s\S]*",
    "number": r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "boolean": "true|false",
    "null": "null",
}


def no_string(kinds: Iterable[str]) -> str:
    """The pattern of whole texts that are no strings where strings stand bare beside values of
    these types; of objects and arrays, those that begin so. For Python and for ECMA-262."""
    return "|".join(_OTHERS[kind] for kind in sorted(kinds) if kind in _OTHERS)


@dataclass(frozen=True, slots=True)
class Style:
    space: Node
    """What may stand behind a colon."""
    gap: Node
    """What may stand behind a comma."""
    margin: Node = EMPTY
    """What may stand behind an opening bracket and before a closing one."""
    true: str = "true"
    false: str = "false"
    null: str = "null"
    mark: str = '"'
    """What stands around a string; within another one than JSON's nothing is escaped."""
    keys: str = ""
    """The pattern of keys that the reader would not take for something else, where they stand bare;
    "" where they are strings."""
    names: str = ""
    """The pattern of additional keys, where keys stand bare."""
    closing: str = ""
    """What stands behind a value, where its strings stand bare."""

    @property
    def comma(self) -> Node:
        return sequence(literal(","), self.gap)

    def wrapped(self, opening: str, inner: Node, closing: str) -> Node:
        return sequence(literal(opening), self.margin, inner, self.margin, literal(closing))

    def member(self, key: Node, value: Node) -> Node:
        return sequence(key, literal(":"), self.space, value)

    def key(self, name: str) -> Node:
        """Where keys stand bare, nothing for one that could not be told from what is around it."""
        if self.keys:
            return literal(name) if re.fullmatch(self.keys, name) else NOTHING
        return self.value(name)

    def value(self, value: Any) -> Node:
        """One value that is known."""
        match value:
            case None:
                return literal(self.null)
            case bool():
                return literal(self.true if value else self.false)
            case dict():
                members = (self.member(self.key(k), self.value(v)) for k, v in value.items())
                return self.wrapped("{", self._listed(members), "}")
            case list():
                return self.wrapped("[", self._listed(map(self.value, value)), "]")
            case str() if self.mark != '"':
                held = NOTHING if self.mark in value else literal(value)
                return sequence(literal(self.mark), held, literal(self.mark))
        return literal(json.dumps(value, ensure_ascii=False))

    def _listed(self, nodes: Iterable[Node]) -> Node:
        parts: list[Node] = []
        for node in nodes:
            parts += [self.comma, node] if parts else [node]
        return sequence(*parts)


_SPACE = optional(literal(" "))
_INDENT = sequence(literal("\n"), repeat(literal(" "), 0, 20))
_BREAK = optional(choice(literal(" "), _INDENT))

COMPACT = Style(_SPACE, _SPACE)
"""On one line."""
FREE = Style(_SPACE, _BREAK, optional(_INDENT))
"""On one line or indented, as models like to write it."""
PYTHON = Style(_SPACE, _SPACE, true="True", false="False", null="None")
"""As a literal of Python."""

BRACED = Style(
    EMPTY,
    EMPTY,
    mark='<|"|>',
    keys=r'[^\s:"}]([^:]*[^\s:"])?',
    names="^[A-Za-z_][A-Za-z0-9_]*$",
)
"""As Gemma 4 writes arguments: `{a:1,b:<|"|>x<|"|>}`."""


class Keywords(Style):
    """The outermost object as Python's keyword arguments: `a=1, b="x"`."""

    def wrapped(self, opening: str, inner: Node, closing: str) -> Node:
        return inner

    def member(self, key: Node, value: Node) -> Node:
        return sequence(key, literal("="), value)


class Tags(Style):
    """The outermost object with a tag for each key: `<parameter=a>` value `</parameter>`."""

    @property
    def comma(self) -> Node:
        return EMPTY

    def wrapped(self, opening: str, inner: Node, closing: str) -> Node:
        return inner

    def member(self, key: Node, value: Node) -> Node:
        return sequence(literal("<parameter="), key, literal(">\n"), value, literal("\n"))


KEYWORDS = Keywords(
    _SPACE,
    _SPACE,
    keys=r"[^\s=)]([^=]*[^\s=])?",
    names="^[A-Za-z_][A-Za-z0-9_]*$",
)
TAGS = Tags(
    _SPACE,
    _SPACE,
    keys=r"[^\s>]([^>]*[^\s>])?",
    names="^[A-Za-z_][A-Za-z0-9_.-]*$",
    closing="\n</parameter>",
)
