"""Grammars that clients write, in llama.cpp's GBNF, to grammar trees. Pure.

The format: github.com/ggml-org/llama.cpp/blob/master/grammars/README.md. A new line ends nothing:
the next rule begins where a name stands before `::=`.
"""

import re
from dataclasses import dataclass

from .grammar import (
    LAST_CHARACTER,
    Characters,
    Grammar,
    Node,
    Rule,
    choice,
    literal,
    pruned,
    references,
    repeat,
    sequence,
)

_DEEPEST = 100
_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<rule>[A-Za-z_][\w-]*)\s*::=
    |(?P<name>[A-Za-z_][\w-]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<class>\[(?:[^\]\\]|\\.)*\])
    |(?P<times>\{\s*\d*\s*(?:,\s*\d*\s*)?\}|[*+?])
    |(?P<mark>[().|])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|(.)", re.DOTALL
)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


class GrammarError(ValueError):
    """The text is no grammar; the message says where and why."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse_gbnf(text: str) -> Grammar:
    """The grammar of a GBNF text, whose texts are those of its rule `root`. Raises GrammarError."""
    parser = _Parser(_tokens(text))
    rules = parser.rules()
    if _named("root") not in rules:
        raise GrammarError("there is no rule named root; write root ::= ...")
    for node in rules.values():
        for used in references(node):
            if used not in rules:
                raise GrammarError(f"a rule uses '{_shown(used)}', which is not there")
    found = pruned(Grammar(rules, _named("root")))
    if found is None:
        raise GrammarError("no text fits it: every way through root goes on for ever")
    return found


def _tokens(text: str) -> list[_Token]:
    tokens, at, line = [], 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise GrammarError(f"line {line}: {text[at : at + 20]!r} can't be read")
        kind = str(match.lastgroup)
        if kind != "skip":
            tokens.append(_Token(kind, match[kind], line))
        line += match[0].count("\n")
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token]):
        self._tokens = [*tokens, _Token("end", "the end", tokens[-1].line if tokens else 1)]
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def rules(self) -> dict[str, Node]:
        rules: dict[str, Node] = {}
        while self._next.kind != "end":
            token = self._take()
            if token.kind != "rule":
                raise GrammarError(f"line {token.line}: '{token.text}' stands outside of a rule")
            name = _named(token.text)
            if name in rules:
                raise GrammarError(f"line {token.line}: there are two rules '{token.text}'")
            rules[name] = self._alternatives()
        return rules

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise GrammarError(f"line {self._next.line}: it is nested too deeply")
        options = [self._sequence()]
        while self._next.text == "|" and self._next.kind == "mark":
            self._take()
            options.append(self._sequence())
        self._depth -= 1
        return choice(*options)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._next.kind not in ("rule", "end") and self._next.text not in ("|", ")"):
            part = self._item()
            while self._next.kind == "times":
                part = repeat(part, *self._times())
            parts.append(part)
        return sequence(*parts)

    def _item(self) -> Node:
        token = self._take()
        if token.kind == "name":
            return Rule(_named(token.text))
        if token.kind == "text":
            return literal("".join(_unescaped(token.text[1:-1])))
        if token.kind == "class":
            return _class(token)
        if token.text == ".":
            return Characters(((0, LAST_CHARACTER),))
        if token.text != "(":
            raise GrammarError(f"line {token.line}: '{token.text}' repeats nothing")
        inner = self._alternatives()
        if self._take().text != ")":
            raise GrammarError(f"line {token.line}: the parenthesis is not closed")
        return inner

    def _times(self) -> tuple[int, int | None]:
        token = self._take()
        plain: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if token.text in plain:
            return plain[token.text]
        least, comma, most = token.text.strip("{} ").partition(",")
        bounds = int(least or 0), int(most) if most.strip() else None
        if not comma:
            bounds = bounds[0], bounds[0]
        if max(bounds[0], bounds[1] or 0) > 10_000 or bounds[0] > (bounds[1] or bounds[0]):
            raise GrammarError(f"line {token.line}: the bounds {token.text} can't be met")
        return bounds


def _named(name: str) -> str:
    """A rule's name in letters, digits and underscores; no two names become one."""
    return "user_" + name.replace("_", "__").replace("-", "_")


def _shown(name: str) -> str:
    parts = name.removeprefix("user_").split("__")
    return "_".join(part.replace("_", "-") for part in parts)


def _unescaped(text: str) -> list[str]:
    found = _ESCAPE.findall(text)
    return [
        chr(int(x or u or upper, 16)) if x or u or upper else _NAMED.get(escaped, escaped) or plain
        for x, u, upper, escaped, plain in found
    ]


def _class(token: _Token) -> Node:
    inside = token.text[1:-1]
    negated = inside.startswith("^")
    ranges: list[tuple[int, int]] = []
    pieces = [(m[0], "".join(_unescaped(m[0]))) for m in _ESCAPE.finditer(inside[negated:])]
    at = 0
    while at < len(pieces):
        first = last = ord(pieces[at][1])
        if at + 2 < len(pieces) and pieces[at + 1][0] == "-":
            last = ord(pieces[at + 2][1])
            at += 2
        if last < first:
            raise GrammarError(f"line {token.line}: the range in {token.text} runs backwards")
        ranges.append((first, last))
        at += 1
    return Characters(complement(ranges) if negated else merged(ranges))


def merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same code points in order, no two ranges touching."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def complement(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """All other code points."""
    found, start = [], 0
    for first, last in merged(ranges):
        if first > start:
            found.append((start, first - 1))
        start = last + 1
    return (*found, (start, LAST_CHARACTER)) if start <= LAST_CHARACTER else tuple(found)
