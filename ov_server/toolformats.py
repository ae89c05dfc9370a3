"""How model families write tool calls: one row each. Pure data; `calls` reads by it and
`answergrammar` holds models to it.

An answer with calls is `opening begin CALL end (again CALL end)* finish`. In these texts white
space is what the family writes, and any is understood; CALL is `call`, in which NAME and one kind
of arguments stand for themselves.
"""

from dataclasses import dataclass
from itertools import takewhile

NAME = "NAME"
"""The function's name, bare."""
JSON = "JSON"
"""The arguments as a JSON object."""
KEYWORDS = "KEYWORDS"
"""The arguments as Python writes them: `a=1, b="x", c=[True, None]`."""
PARAMETERS = "PARAMETERS"
"""A tag for each argument, `<parameter=a>` value `</parameter>`, and `</function>`."""
BRACED = "BRACED"
"""Gemma's: `{a:1,b:<|"|>x<|"|>,c:{d:true}}`, with bare keys and strings that escape nothing."""
ARGUMENTS = (JSON, KEYWORDS, PARAMETERS, BRACED)

QUOTE = '<|"|>'
"""What stands around a string in BRACED arguments."""


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """A row of the table."""

    name: str
    call: tuple[str, ...]
    opening: str = ""
    """Anywhere in the text it begins the calls."""
    heads: tuple[str, ...] = ()
    """So the text may begin with a call, white space aside, where nothing else tells; the
    function's name stands for %s."""
    begin: str = ""
    end: str = ""
    again: str = ""
    """Behind a call it says that another one follows; "" is one call an answer."""
    finish: str = ""
    known_by: tuple[str, ...] = ()
    """Texts that all stand in a call as the family's chat template shows it."""
    hints: tuple[str, ...] = ()
    """Texts that all stand in the template itself, where it does not show calls."""

    @property
    def texts(self) -> list[str]:
        """All that it writes around names and arguments."""
        quotes = [QUOTE] if BRACED in self.call else []
        return [self.opening, self.begin, *self.call, self.end, self.again, self.finish, *quotes]

    def lead(self, name: str) -> str:
        """A call's text up to its arguments."""
        parts = takewhile(lambda part: part not in ARGUMENTS, self.call)
        return "".join(name if part == NAME else part for part in parts).rstrip()


_OBJECT = ('{"name": "', NAME, '", "arguments": ', JSON, "}")

FORMATS = {
    row.name: row
    for row in (
        ToolFormat(
            "qwen3-coder",
            call=("\n<function=", NAME, ">\n", PARAMETERS, "\n"),
            opening="<tool_call>",
            end="</tool_call>",
            again="\n<tool_call>",
            known_by=("<tool_call>", "<function=", "<parameter="),
            hints=("<tool_call>", "<function=", "<parameter="),
        ),
        ToolFormat(
            "hermes",
            call=("\n", *_OBJECT, "\n"),
            opening="<tool_call>",
            end="</tool_call>",
            again="\n<tool_call>",
            known_by=("<tool_call>", '"arguments"'),
            hints=("<tool_call>", "arguments"),
        ),
        ToolFormat(
            "mistral",
            call=(NAME, "[ARGS]", JSON),
            opening="[TOOL_CALLS]",
            again="[TOOL_CALLS]",
            known_by=("[TOOL_CALLS]", "[ARGS]"),
            hints=("[TOOL_CALLS]", "[ARGS]"),
        ),
        ToolFormat(
            "mistral-list",
            call=_OBJECT,
            opening="[TOOL_CALLS]",
            begin="[",
            again=", ",
            finish="]",
            known_by=("[TOOL_CALLS]", '"arguments"'),
            hints=("[TOOL_CALLS]",),
        ),
        ToolFormat(
            "phi-4",
            call=_OBJECT,
            opening="<|tool_call|>",
            begin="[",
            again=", ",
            finish="]<|/tool_call|>",
            known_by=("<|tool_call|>", "<|/tool_call|>"),
            hints=("<|tool|>", "<|/tool|>"),
        ),
        ToolFormat(
            "gemma",
            call=("call:", NAME, BRACED),
            opening="<|tool_call>",
            end="<tool_call|>",
            again="<|tool_call>",
            known_by=("<|tool_call>call:",),
            hints=("<|tool_call>call:",),
        ),
        ToolFormat(
            "pythonic",
            call=(NAME, "(", KEYWORDS, ")"),
            heads=("[%s(",),
            begin="[",
            again=", ",
            finish="]",
            known_by=("[%s(",),
            hints=("func_name1(params_name1",),
        ),
        ToolFormat(
            "llama3",
            call=('{"name": "', NAME, '", "parameters": ', JSON, "}"),
            opening="<|python_tag|>",
            heads=('{"name":"%s","parameters":', '{"name":"%s","arguments":'),
            again="; ",
            known_by=('{"name": "%s", "parameters"',),
            hints=("<|python_tag|>", '"parameters"'),
        ),
        ToolFormat(
            "generic",
            call=("\n", *_OBJECT, "\n"),
            opening="<tool_call>",
            end="</tool_call>",
            again="\n<tool_call>",
        ),
    )
}
"""In the order in which a template is looked at: the first row that fits it."""

GENERIC = FORMATS["generic"]
"""For models whose template knows no tools: a system prompt of ours tells them of it."""


def format_of(call: str | None, function: str, template: str) -> ToolFormat | None:
    """The row of a family, by a call of `function` as its chat template shows it, or, where it
    shows none, by the template's own text. None when no row fits."""
    for row in FORMATS.values():
        telling = row.hints if call is None else row.known_by
        texts = [text.replace("%s", function) for text in telling]
        if texts and all(text in (template if call is None else call) for text in texts):
            return row
    return None
