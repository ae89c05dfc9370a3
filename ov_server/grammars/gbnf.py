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
    repeat,
    sequence,
)

_DEEPEST = 100
_MOST_TIMES = 10_000
_TIMES = f"{{2}}, {{2,}}, {{2,5}} or {{,5}}, up to {_MOST_TIMES}"
_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\r\n]*)
    |(?P<rule>[A-Za-z0-9_-]+)\s*::=
    |(?P<name>[A-Za-z0-9_-]+)
    |(?P<text>"(?:[^"\\]|\\(?s:.))*")
    |(?P<class>\[(?:[^\]\\]|\\(?s:.))*\])
    |(?P<times>\{[^{}"]*\}|[*+?])
    |(?P<mark>[().|])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([nrt])|([^0-9A-Za-z]))|([^\\])",
    re.DOTALL,
)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}
_NEVER = [(0, 0), (0xD800, 0xDFFF)]
"""Code points that no answer holds: the null character, which the runtime takes for the end of a
text, and halves of surrogate pairs, which are no characters."""

_LARK = re.compile(
    r"^[ \t]*(?:[?!]?[A-Za-z_][\w.]*[ \t]*:(?![:=])|%(?:import|ignore|declare)\b)", re.MULTILINE
)
_REMEDIES = {
    '"': "the text is not closed; it ends with a double quote",
    "'": "texts stand in double quotes",
    "[": "the class is not closed; it ends with ]",
    "{": f"a repetition is {_TIMES}; a schema is sent as response_format or guided_json",
    "<": "tokens are not understood, and names stand without < and >; write texts and names",
    "!": "tokens are not understood; write texts and classes",
    "/": "patterns are not understood in a grammar; write classes and repetitions, as in [0-9]+",
    ":": "a rule is name ::= ...",
    "=": "a rule is name ::= ...",
    ";": "a rule ends where the next one begins; leave it out",
    ",": "parts stand side by side; leave it out",
}
"""What to do where something begins that is not GBNF, by its first character."""


class GrammarError(ValueError):
    """The text is no grammar; the message says where and why."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int

    @property
    def shown(self) -> str:
        """For errors, which need not say all of it."""
        return self.text if len(self.text) <= 50 else f"{self.text[:50]}..."


def parse_gbnf(text: str) -> Grammar:
    """The grammar of a GBNF text, whose texts are those of its rule `root`. Raises GrammarError."""
    if "::=" not in text and _LARK.search(text):
        raise GrammarError(
            "it looks like Lark's syntax (start: ...), which is not understood; write it in "
            "llama.cpp's GBNF, where a rule is name ::= ... and root is the whole text"
        )
    parser = _Parser(_tokens(text))
    rules = parser.rules()
    if _named("root") not in rules:
        raise GrammarError("there is no rule named root, the whole text; write root ::= ...")
    for name, line in parser.used.items():
        if _named(name) not in rules:
            raise GrammarError(
                f"line {line}: there is no rule '{name}'; write {name} ::= ..., or put it in "
                "double quotes if it is a text"
            )
    found = pruned(Grammar(rules, _named("root")))
    if found is None:
        raise GrammarError(
            "no text fits it: every way through root goes on for ever; give it one that ends"
        )
    return found


def _tokens(text: str) -> list[_Token]:
    tokens, at, line = [], 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            remedy = _REMEDIES.get(text[at], "write it as llama.cpp's GBNF, or leave it out")
            raise GrammarError(f"line {line}: {text[at : at + 20]!r} can't be read: {remedy}")
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
        self.used: dict[str, int] = {}
        """Names of rules that are mentioned, with the line of their first mention."""

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
                raise GrammarError(
                    f"line {token.line}: '{token.shown}' stands outside of a rule; a rule is "
                    "name ::= ..., and every ) has its ("
                )
            name = _named(token.text)
            if name in rules:
                raise GrammarError(
                    f"line {token.line}: there are two rules '{token.shown}'; write one, with | "
                    "between its ways"
                )
            rules[name] = self._alternatives()
        return rules

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise GrammarError(
                f"line {self._next.line}: it is nested too deeply; give inner parts their own rules"
            )
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
            self.used.setdefault(token.text, token.line)
            return Rule(_named(token.text))
        if token.kind == "text":
            return _text(token)
        if token.kind == "class":
            return _class(token)
        if token.text == ".":
            return Characters(complement(_NEVER))
        if token.text != "(":
            raise GrammarError(
                f"line {token.line}: '{token.shown}' repeats nothing; put it behind what it repeats"
            )
        inner = self._alternatives()
        if self._take().text != ")":
            raise GrammarError(f"line {token.line}: the parenthesis is not closed; it ends with )")
        return inner

    def _times(self) -> tuple[int, int | None]:
        token = self._take()
        plain: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if token.text in plain:
            return plain[token.text]
        least, comma, most = (part.strip() for part in token.text[1:-1].partition(","))
        numbers = [part for part in (least, most) if part]
        if not numbers or not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
            raise GrammarError(
                f"line {token.line}: {token.shown} can't be read: a repetition is {_TIMES}"
            )
        first = int(least or 0)
        last = int(most) if most else None if comma else first
        if (last or 0) > _MOST_TIMES or first > (_MOST_TIMES if last is None else last):
            raise GrammarError(
                f"line {token.line}: the bounds {token.shown} can't be met; the smaller one comes "
                f"first, and {_MOST_TIMES} is the largest"
            )
        return first, last


def _named(name: str) -> str:
    """A rule's name in letters, digits and underscores; no two names become one."""
    return "user_" + name.replace("_", "_u").replace("-", "_d")


def _points(token: _Token) -> list[tuple[str, int]]:
    """The characters inside of a text or a class: as they are written, and their code points."""
    inside, at = token.text[1:-1], 0
    points: list[tuple[str, int]] = []
    while at < len(inside):
        match = _ESCAPE.match(inside, at)
        if match is None:
            raise GrammarError(
                f"line {token.line}: {inside[at : at + 2]} can't be read in {token.shown}; "
                r"there are \n, \r, \t, \x41, \u00e9, \U0001F642, and \ before a mark"
            )
        *digits, letter, mark, plain = match.groups()
        code = next((int(hexadecimal, 16) for hexadecimal in digits if hexadecimal), None)
        if code is None:
            code = ord(_NAMED[letter] if letter else mark or plain)
        if code > LAST_CHARACTER:
            raise GrammarError(
                f"line {token.line}: {match[0]} in {token.shown} is beyond the last character, "
                r"which is \U0010FFFF; write one up to there"
            )
        points.append((match[0], code))
        at = match.end()
    return points


def _text(token: _Token) -> Node:
    codes = [code for _, code in _points(token)]
    for code in codes:
        if any(first <= code <= last for first, last in _NEVER):
            raise GrammarError(
                f"line {token.line}: {token.shown} holds U+{code:04X}, which no answer can hold; "
                r"leave it out, and write characters beyond \uFFFF as \U and eight digits"
            )
    return literal("".join(map(chr, codes)))


def _class(token: _Token) -> Node:
    """Without what no answer holds, whether it is named or comes with a range or a negation."""
    points = _points(token)
    negated = token.text.startswith("[^")
    ranges: list[tuple[int, int]] = []
    at = int(negated)
    while at < len(points):
        first = last = points[at][1]
        if at + 2 < len(points) and points[at + 1][0] == "-":
            last = points[at + 2][1]
            at += 2
        if last < first:
            raise GrammarError(
                f"line {token.line}: the range in {token.shown} runs backwards; the smaller "
                "character comes first"
            )
        ranges.append((first, last))
        at += 1
    others = merged(ranges) if negated else complement(ranges)
    held = complement([*others, *_NEVER])
    if not held:
        raise GrammarError(
            f"line {token.line}: the class {token.shown} holds no character that an answer can "
            "hold (U+0000 and halves of surrogate pairs are none); put one in, or leave it out"
        )
    return Characters(held)


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
