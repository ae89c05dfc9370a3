"""What an answer may be: from the functions that may be called, and the format that is asked for,
to one grammar. Pure. Its rules are those that `markup` names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .arguments import Kinds
from .calls import name_end
from .core import AnswerFormat, Tool
from .grammars import styles
from .grammars.automata import ANY, Automaton, TooLarge, automaton, both, minimal, without
from .grammars.automata import END as AT_END
from .grammars.automata import START as AT_START
from .grammars.completion import Network
from .grammars.gbnf import GrammarError, parse_gbnf
from .grammars.grammar import (
    Grammar,
    Node,
    Prepared,
    Rule,
    choice,
    literal,
    optional,
    prepared,
    productive,
    reached,
    repeat,
    sequence,
    spoken,
    weight,
)
from .grammars.patterns import PatternError, matching, parse
from .grammars.rulebook import Rulebook
from .grammars.schemas import SchemaError, Schemas, Unenforced
from .grammars.strings import COUNTED, Strings
from .grammars.styles import Style
from .markup import ANSWER, CALLS, MOST_CALLS, START, Markers, headed_of, last_of, rest_of
from .toolformats import BRACED, FORMATS, JSON, KEYWORDS, NAME, PARAMETERS, ToolFormat

_TOGETHER, _LIGHT = 16, 60
"""Functions whose arguments are in one rule, and its weight. The time to compile it grows faster
than their number, so beyond that the name decides on the rule for the rest, at the price of one
more step a call."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the answers of a request are held to."""

    form: str = "generic"
    """The row of `toolformats`."""
    tools: tuple[Tool, ...] = ()
    """Those that may be called."""
    required: bool = False
    several: bool = True
    answer: AnswerFormat | None = None
    barred: str = ""
    """A text that stands nowhere in the answer, where nothing else is asked of it."""
    reasoning: Markers | None = None
    """What the answer may begin with."""

    @property
    def key(self) -> str:
        """Equal demands have equal keys, and others do not."""
        tools = [(tool.name, tool.parameters, tool.strict) for tool in self.tools]
        answer = self.answer and (self.answer.kind, self.answer.value, self.answer.strict)
        return json.dumps(
            (
                *(self.form, tools, self.required, self.several),
                *(answer, self.barred, str(self.reasoning)),
            )
        )

    @property
    def held(self) -> bool:
        """Whether answers are held to it from their first character."""
        return self.required or self.answer is not None or bool(self.barred)

    @property
    def param(self) -> str:
        """The field to blame when nothing else is known."""
        return self.answer.param if self.answer is not None else "tools"


@dataclass(frozen=True, slots=True)
class Cost:
    """What compiling a grammar costs, as seen in the trial."""

    memory: int = 0
    """Bytes that the runtime keeps of it."""
    seconds: float = 0.0
    """CPU time."""


@dataclass(frozen=True, slots=True)
class Made:
    """The grammar of a demand, and what it does not hold answers to: keywords and places."""

    grammar: Prepared
    by_name: bool = False
    """Whether a call's name decides on the rule for its rest."""
    unenforced: tuple[str, ...] = ()
    cost: Cost = Cost()
    kinds: Kinds = field(default_factory=dict)
    """The types of parameters, where the format needs them."""


class Refused(ValueError):
    """Nothing comes of the demand; `param` names the field to blame. `lasting`: nor will it when it
    is tried again."""

    def __init__(self, reason: str, param: str, *, lasting: bool = True):
        super().__init__(reason)
        self.reason = reason
        self.param = param
        self.lasting = lasting


def make(demand: Demand, mute: frozenset[int] = frozenset()) -> Made:
    """The grammar of a demand, without texts that hold a `mute` byte: the model has no token for
    it. Raises Refused, with what to do."""
    rules: dict[str, Node] = {}
    unenforced: list[str] = []
    kinds: dict[str, Mapping[str, frozenset[str]]] = {}
    options: list[Node] = []
    if demand.tools:
        rules |= _call_rules(demand, unenforced, kinds)
        options.append(Rule("all_calls"))
    if demand.answer is not None:
        rules |= _answer_rules(demand.answer, unenforced)
        if not demand.required:
            options.append(Rule("text"))
    if demand.barred:
        book = Rulebook("text_")
        fitting = without(ANY, matching(re.escape(demand.barred)))
        rules |= {"text": Strings(book).bare(fitting), **book.rules}
        options.append(Rule("text"))
    begins = [CALLS] if demand.tools and not demand.held else []
    if demand.held:
        rules[ANSWER] = sequence(repeat(literal("\n"), 0, 2), choice(*options))
        thinking = [literal(demand.reasoning.opening)] if demand.reasoning else []
        rules[START] = choice(*thinking, *options)
        begins += [START, ANSWER]
    turns = {rule(n) for n in range(len(demand.tools)) for rule in (headed_of, rest_of, last_of)}
    begins += [name for name in rules if name in turns]
    said = {name: spoken(node, mute) for name, node in rules.items()} if mute else rules
    try:
        grammar = prepared(said, begins)
    except ValueError as error:
        fits = str(error) in productive(rules)
        reason = "The model has no tokens for what fits it" if fits else "No text can fit it"
        raise Refused(f"{reason}. Change it.", demand.param) from None
    return Made(grammar, rest_of(0) in rules, tuple(unenforced), kinds=kinds)


# Calls.


def _call_rules(
    demand: Demand, unenforced: list[str], kinds: dict[str, Mapping[str, frozenset[str]]]
) -> dict[str, Node]:
    """The rules `all_calls`, and for what follows the opening of the calls or their heads."""
    form = FORMATS[demand.form]
    schemas = Schemas(_style(form), "arguments_")
    calls: list[tuple[Node, ...]] = []
    for tool in demand.tools:
        try:
            part, arguments, kinds[tool.name] = _arguments(form, schemas, tool)
        except SchemaError as error:
            raise Refused(
                f"The parameters of '{tool.name}' can't be used: {error}", "tools"
            ) from None
        unenforced += _unenforced(schemas, tool.strict, "tools", f" of '{tool.name}'")
        schemas.unenforced.clear()
        known = {NAME: literal(tool.name), part: arguments}
        calls.append(tuple(known.get(text) or _loose(text) for text in form.call))
    _all_fit(schemas.rules, demand.tools, calls)
    whole = [sequence(*call) for call in calls]
    heavy = len(calls) > 1 and weight([*schemas.rules.values(), *whole]) > _LIGHT
    many = len(calls) > _TOGETHER or heavy
    if many:
        whole = [_loose(_named(form, tool)) for tool in demand.tools]
    rules = {**schemas.rules, "call": choice(*whole)}
    rules |= _row_of_calls(form, demand.several, many)
    for number, (tool, call) in enumerate(zip(demand.tools, calls, strict=True)):
        one = reached(Grammar({**schemas.rules, "call": sequence(*call)}, "call"))
        if form.heads and (many or not demand.held):
            rest = Network(one).residue(form.lead(tool.name), f"headed_{number}_")
            rules |= {**rest.rules, headed_of(number): sequence(Rule(rest.root), Rule("behind"))}
        if many:
            rest = Network(one).residue(_named(form, tool), f"rest_{number}_")
            rules |= {**rest.rules, rest_of(number): sequence(Rule(rest.root), Rule("behind"))}
            rules[last_of(number)] = sequence(Rule(rest.root), Rule("over"))
    return rules


def _all_fit(
    rules: Mapping[str, Node], tools: tuple[Tool, ...], calls: list[tuple[Node, ...]]
) -> None:
    """Raises Refused when there is a function whose parameters no arguments fit."""
    whole = {tool.name: sequence(*call) for tool, call in zip(tools, calls, strict=True)}
    alive = productive({**rules, **{f"call of {name}": call for name, call in whole.items()}})
    for name in whole:
        if f"call of {name}" not in alive:
            raise Refused(
                f"No arguments can fit the parameters of '{name}': every value goes on for ever. "
                "Require less of them.",
                "tools",
            )


def _row_of_calls(form: ToolFormat, several: bool, many: bool) -> dict[str, Node]:
    """The rules for the calls of an answer and for what follows one. `many`: what is behind a
    name is another rule's."""
    several = several and bool(form.again)
    end, finish = _loose(form.end), _loose(form.finish)
    over = sequence(end, finish)
    further = sequence(_loose(form.again), Rule("call"))
    if many:
        behind = sequence(end, choice(finish, further)) if several else over
        first = sequence(_loose(form.begin), Rule("call"))
    else:
        most = MOST_CALLS - 1 if several else 0
        behind = sequence(end, repeat(sequence(further, end), 0, most), finish)
        first = sequence(_loose(form.begin), Rule("call"), Rule("behind"))
    all_calls = sequence(literal(form.opening), first)
    return {"behind": behind, "over": over, CALLS: first, "all_calls": all_calls}


def _named(form: ToolFormat, tool: Tool) -> str:
    """A call's text up to where the name is known."""
    return "".join(form.call[: form.call.index(NAME)]) + tool.name + name_end(form)


def _arguments(
    form: ToolFormat, schemas: Schemas, tool: Tool
) -> tuple[str, Node, Mapping[str, frozenset[str]]]:
    """What stands for a function's arguments in the format, their text, and their types."""
    schema = _as_object(tool.parameters)
    if KEYWORDS in form.call:
        return KEYWORDS, *schemas.arguments(schema, styles.KEYWORDS)
    if PARAMETERS in form.call:
        text, kinds = schemas.arguments(schema, styles.TAGS)
        return PARAMETERS, sequence(text, literal("</function>")), kinds
    return BRACED if BRACED in form.call else JSON, schemas.value(schema), {}


def _style(form: ToolFormat) -> Style:
    if KEYWORDS in form.call:
        return styles.PYTHON
    return styles.BRACED if BRACED in form.call else styles.COMPACT


_OF_KEYS = {
    *("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames"),
    *("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "required"),
    *("dependencies", "dependentRequired", "dependentSchemas", "minProperties"),
}
"""Keywords that say which keys an object has, beside `properties`."""
_SAYS_NOTHING = ([], {}, None)
"""Values with which most of them don't."""


def _as_object(parameters: Mapping[str, Any] | bool) -> Mapping[str, Any]:
    """A schema of arguments, which are an object; an empty one where no keys are spoken of."""
    schema: dict[str, Any] = dict(parameters) if isinstance(parameters, Mapping) else {}
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise SchemaError(("type",), "arguments are an object; say type: object")
    schema["type"] = "object"
    others = schema.keys() & {"additionalProperties", "unevaluatedProperties"}
    spoken = {key for key in _OF_KEYS & schema.keys() if schema[key] not in _SAYS_NOTHING}
    if not schema.get("properties") and not others and not spoken:
        schema["additionalProperties"] = False
    return schema


def _loose(text: str) -> Node:
    """A format's text, in which white space may be left out."""
    pieces = re.split(r"(\s+)", text)
    return sequence(*(optional(literal(p)) if p.isspace() else literal(p) for p in pieces))


# The text.


def _answer_rules(answer: AnswerFormat, unenforced: list[str]) -> dict[str, Node]:
    """The rule `text` and those it needs."""
    try:
        if answer.kind == "json_schema":
            schemas = Schemas(styles.FREE, "text_")
            node = schemas.value(answer.value)
            unenforced += _unenforced(schemas, answer.strict, answer.param)
            return {**schemas.rules, "text": node}
        if answer.kind == "regex":
            book = Rulebook("text_")
            return {"text": Strings(book).bare(_whole(answer.value)), **book.rules}
        if answer.kind == "choice":
            if any("\0" in text for text in answer.value):
                raise GrammarError("a text holds U+0000, which no answer can hold; leave it out")
            return {"text": choice(*map(literal, answer.value))}
        given = parse_gbnf(answer.value)
        return {**given.rules, "text": Rule(given.root)}
    except (SchemaError, GrammarError, TooLarge) as error:
        raise Refused(f"It can't be used: {error}.", answer.param) from None


def _whole(pattern: str) -> Automaton:
    """The texts that fit a pattern from end to end, without those that hold U+0000: the runtime
    would take it for the end of the text."""
    try:
        fitting = automaton(sequence(AT_START, parse(pattern), AT_END), search=True)
    except PatternError as error:
        raise GrammarError(f"{error}; change the pattern") from None
    found = both(fitting, matching(r"^[^\x00]*$"))
    if found.empty and not fitting.empty:
        raise GrammarError("every text that fits holds U+0000, which no answer can hold; change it")
    return minimal(found)


def _unenforced(schemas: Schemas, strict: bool, param: str, whose: str = "") -> list[str]:
    said = [_placed(left) for left in schemas.unenforced]
    if said and strict:
        lengths = {"minLength", "maxLength"} & {left.keyword for left in schemas.unenforced}
        raise Refused(
            f"With strict: true the model has to be held to the whole schema{whose}, and it can't "
            f"be to {', '.join(said)}. Leave that out, or say strict: false. "
            + (f"Lengths are held to up to {COUNTED} characters. " if lengths else "")
            + "SERVICE_SPEC.md tells what can be held to.",
            param,
        )
    return [f"{text} in {param}{whose}" for text in said]


def _placed(left: Unenforced) -> str:
    return left.keyword if left.place == left.keyword else f"{left.keyword} at {left.place}"
