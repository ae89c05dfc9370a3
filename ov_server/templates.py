"""A model's chat template: what it can show is found out by rendering, once, at the load.

Knows the template engine as a function. What is seen in rendered text counts, not what the
template's source mentions: llama.cpp's server and OpenVINO Model Server came to the same.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from .core import ChatRequest, Message, PastCall, Tool, ToolUse
from .errors import BadRequest, said
from .markup import Markers
from .prompt import Abilities, Turn, described_tool, open_ended, template_messages
from .toolformats import FORMATS, GENERIC, format_of

log = logging.getLogger(__name__)

Render = Callable[[Sequence[Turn], bool, Mapping[str, Any]], str]
"""Renders messages, with the beginning of an answer or without it, and with more variables of the
template. Raises RuntimeError where the template or its engine does not accept them."""

REASONING = (
    Markers("<think>", "</think>"),
    Markers("[THINK]", "[/THINK]"),
    Markers("<|channel>thought\n", "<channel|>"),
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),
    Markers("<seed:think>", "</seed:think>"),
)
"""What model families write around their reasoning: Qwen, DeepSeek, Phi-4 and most others;
Mistral; Gemma 4; Command R; Seed."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the model reads it."""

    text: str
    thinking: bool
    """It ends inside of the model's reasoning."""
    thought: bool
    """It ends behind it: the model is not to think."""


_BLAMED = {
    "messages": "these messages",
    "tools": "these tools",
    "chat_template_kwargs": "what chat_template_kwargs or reasoning_effort say",
}


class ChatTemplate:
    """Renders requests as far as the template can, and the rest of them as text."""

    def __init__(
        self,
        render: Render,
        source: str,
        tool_format: str | None = None,
        reasoning: Markers | bool | None = None,
    ):
        """`tool_format` and `reasoning` are the registry's say; None is what the template tells."""
        self._render = render
        self.can = _abilities(render, source, tool_format)
        found = next((m for m in REASONING if m.closing in source), None)
        self.reasoning = (reasoning if isinstance(reasoning, Markers) else found) or None
        if reasoning is False:
            self.reasoning = None

    @property
    def markers(self) -> list[str]:
        """The texts around calls and reasoning. Some are tokens that decoding leaves out."""
        around = (self.reasoning.opening, self.reasoning.closing) if self.reasoning else ()
        return [*self.can.form.texts, *around]

    def prompt(self, request: ChatRequest) -> Prompt:
        """Raises BadRequest where the template does not accept the messages."""
        options = dict(request.template_options)
        if request.tools and self.can.tools:
            options["tools"] = [described_tool(tool) for tool in request.tools]

        def render(turns: list[Turn]) -> str:
            return self._render(turns, not request.continue_final, options)

        told = request.tools if request.tool_use.names or self.can.shows_tools else ()
        turns = template_messages(request.messages, told, self.can)
        try:
            text = open_ended(turns, render) if request.continue_final else render(turns)
        except (RuntimeError, ValueError) as error:
            param = self._guilty(request)
            raise BadRequest(
                f"The model's chat template does not accept {_BLAMED[param]}: {said(error)}.",
                param=param,
            ) from None
        return self._ending(text)

    def _guilty(self, request: ChatRequest) -> str:
        """The field without which the template accepts the request."""
        without = {
            "chat_template_kwargs": replace(request, template_options={}),
            "tools": replace(request, tools=(), tool_use=ToolUse()),
        }
        for param, rest in without.items():
            if rest != request:
                with suppress(BadRequest):
                    self.prompt(rest)
                    return param
        return "messages"

    def _ending(self, text: str) -> Prompt:
        if self.reasoning is None:
            return Prompt(text, thinking=False, thought=False)
        end = text.rstrip()
        return Prompt(
            text,
            thinking=end.endswith(self.reasoning.opening.rstrip()),
            thought=end.endswith(self.reasoning.closing),
        )


def mended(source: str) -> str:
    """A template in words that the runtime's engine understands, where it fails on some that
    Jinja has: texts side by side that make one, `is undefined`, and options of `tojson`."""
    source = re.sub(r"(?<=')\s*\n\s*(?=')|(?<=\")\s*\n\s*(?=\")", " + ", source)
    source = re.sub(r"\bis undefined\b", "is not defined", source)
    source = re.sub(r"\bis not undefined\b", "is defined", source)
    return re.sub(r"tojson\(ensure_ascii=\w+\)", "tojson", source)


# The probe.

_TOOL = Tool(
    "probe_tool",
    "probe_description",
    {"type": "object", "properties": {"probe_key": {"type": "string"}}, "required": ["probe_key"]},
)
_CALLS = [PastCall(f"probe000{n}", "probe_tool", {"probe_key": f"probe_value{n}"}) for n in "01"]
_RESULTS = [Message("tool", f"probe_result{n}", "probe_tool", f"probe000{n}") for n in "01"]
_QUESTION = Message("user", "probe_question")
_AGAIN = Message("user", "probe_again")
_SYSTEM = Message("system", "probe_system")
_ANSWER = Message("assistant", "probe_answer")
_ALL = Abilities(tools=True, calls=True, results=True, several=True)
"""Shows everything to the template as it is."""


def _abilities(render: Render, source: str, tool_format: str | None) -> Abilities:
    """What can be seen of a made-up conversation when it is rendered."""

    def shown(*messages: Message, described: Sequence[Tool] = (_TOOL,)) -> str:
        """Nothing when the template does not accept it."""
        options = {"tools": [described_tool(tool) for tool in described]} if described else {}
        try:
            return render(template_messages(messages, (), _ALL), True, options)
        except RuntimeError:
            return ""

    one, two = (Message("assistant", "", tool_calls=tuple(_CALLS[:n])) for n in (1, 2))
    behind = shown(_QUESTION, one, _RESULTS[0]).partition("probe_question")[2]
    call = behind if _holds(behind, "probe_tool", "probe_key", "probe_value0") else None
    if call is not None and '\\"probe_key' in call:
        call = None  # as a text in quotes
    found = format_of(call, "probe_tool", source)
    form = FORMATS[tool_format] if tool_format else found or GENERIC
    natively = found is not None and found is form
    question = shown(_QUESTION)
    if found is None and "probe_tool" in question:
        log.info("no format of tool calls is known that this template shows: ours is used")
    several = shown(_QUESTION, two, *_RESULTS)
    return Abilities(
        form=form,
        tools=natively and _holds(question, "probe_tool", "probe_key"),
        tools_with_system=natively and _shows_tools_with_system(render),
        calls=natively and call is not None,
        results=natively and "probe_result0" in behind,
        several=_holds(several, "probe_value0", "probe_value1", "probe_result0", "probe_result1"),
        system="probe_system" in shown(_SYSTEM, _QUESTION, described=()),
        system_later="probe_system" in shown(_QUESTION, _ANSWER, _SYSTEM, _AGAIN, described=()),
        same_role=_holds(shown(_QUESTION, _AGAIN, described=()), "probe_question", "probe_again"),
        user_after_result="probe_again" in shown(_QUESTION, one, _RESULTS[0], _AGAIN),
    )


def _holds(text: str, *words: str) -> bool:
    return all(word in text for word in words)


def _shows_tools_with_system(render: Render) -> bool:
    can = Abilities(tools_with_system=True)
    try:
        text = render(template_messages([_SYSTEM, _QUESTION], [_TOOL], can), True, {})
    except RuntimeError:
        return False
    return _holds(text, "probe_system", "probe_tool", "probe_key")
