"""What a chat template can show, found out by rendering it."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from ov_server.calls import written
from ov_server.core import ChatRequest, Message, PastCall, Tool, ToolUse
from ov_server.errors import BadRequest
from ov_server.markup import Markers
from ov_server.prompt import Turn
from ov_server.templates import ChatTemplate, mended
from ov_server.toolformats import FORMATS, GENERIC, ToolFormat

TOOL = Tool("add", "Adds.", {"type": "object", "properties": {"number": {"type": "integer"}}})
HI = Message("user", "hi")


def template(
    form: ToolFormat | None = None,
    *,
    roles: Sequence[str] = ("system", "user", "assistant", "tool"),
    end: str = "",
    refuses: Callable[[Sequence[Turn]], bool] = lambda turns: False,
    without: str = "",
) -> Callable[[Sequence[Turn], bool, Mapping[str, Any]], str]:
    """A template in Python: shows these roles, and tools and calls in the form. Fails where an
    option holds the text `without`."""

    def render(turns: Sequence[Turn], begin: bool, options: Mapping[str, Any]) -> str:
        if refuses(turns):
            raise RuntimeError("Conversation roles must alternate")
        if without and without in json.dumps(options):
            raise RuntimeError("Unknown value")
        shown = json.dumps(options["tools"]) if form and "tools" in options else ""
        for turn in turns:
            if turn["role"] not in roles:
                continue
            calls = [c["function"] for c in turn.get("tool_calls", ())] if form else []
            text = (
                written(form, [(c["name"], c["arguments"]) for c in calls])
                if form and calls
                else ""
            )
            shown += f"<{turn['role']}>{turn['content']}{text}\n"
        effort = options.get("reasoning_effort", "")
        return shown + (f"<assistant>{effort}{end}" if begin else "")

    return render


def request(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest(messages or (HI,), **more)


@pytest.mark.parametrize("form", [f for f in FORMATS.values() if f is not GENERIC], ids=str)
def test_a_family_is_known_by_what_its_template_shows(form: ToolFormat) -> None:
    can = ChatTemplate(template(form), "").can
    assert can.form is form
    assert (can.tools, can.calls, can.results, can.several) == (True, True, True, True)
    assert (can.system, can.system_later, can.same_role, can.user_after_result) == (True,) * 4


def test_a_template_without_tools_is_told_of_them_in_words() -> None:
    chat = ChatTemplate(template(), "")
    assert chat.can.form is GENERIC
    assert not any([chat.can.tools, chat.can.calls, chat.can.results])
    prompt = chat.prompt(request(tools=(TOOL,), tool_use=ToolUse(("add",))))
    assert "<system># Tools" in prompt.text
    assert '"name": "add"' in prompt.text


def test_tools_that_may_not_be_called_are_told_only_by_the_template() -> None:
    said = request(tools=(TOOL,))
    assert "add" not in ChatTemplate(template(), "").prompt(said).text
    assert "add" in ChatTemplate(template(FORMATS["hermes"]), "").prompt(said).text


def test_a_template_whose_format_is_not_known_gets_ours() -> None:
    unknown = ToolFormat("x", ("CALL ", "NAME", " WITH ", "JSON"), "!!")
    chat = ChatTemplate(template(unknown), "")
    assert chat.can.form is GENERIC
    assert not chat.can.tools
    assert "# Tools" in chat.prompt(request(tools=(TOOL,), tool_use=ToolUse(("add",)))).text


def test_the_registry_may_name_the_format() -> None:
    chat = ChatTemplate(template(), "", tool_format="mistral")
    assert chat.can.form is FORMATS["mistral"]
    text = chat.prompt(request(tools=(TOOL,), tool_use=ToolUse(("add",)))).text
    assert "[TOOL_CALLS]" in text
    native = ChatTemplate(template(FORMATS["hermes"]), "", tool_format="hermes")
    assert native.can.tools


def test_a_conversation_is_bent_to_what_the_template_takes() -> None:
    def refuses(turns: Sequence[Turn]) -> bool:
        roles = [turn["role"] for turn in turns]
        two_calls = any(len(turn.get("tool_calls", ())) > 1 for turn in turns)
        late = "system" in roles[1:]
        pairs = list(pairwise(roles))
        return two_calls or late or ("user", "user") in pairs or ("tool", "user") in pairs

    can = ChatTemplate(template(FORMATS["mistral"], refuses=refuses), "").can
    assert not any([can.several, can.system_later, can.same_role, can.user_after_result])
    calls = (PastCall("a", "add", {"number": 1}), PastCall("b", "add", {"number": 2}))
    chat = ChatTemplate(template(FORMATS["mistral"], refuses=refuses), "")
    text = chat.prompt(
        request(
            HI,
            Message("user", "there"),
            Message("assistant", "", tool_calls=calls),
            Message("tool", "one", tool_call_id="a"),
            Message("tool", "two", tool_call_id="b"),
            Message("user", "and?"),
            Message("system", "late"),
        )
    ).text
    assert all(word in text for word in ("hi", "there", "one", "two", "and?", "late"))
    assert text.index('"number": 1') < text.index("one") < text.index('"number": 2')


def test_what_a_template_refuses_all_the_same_is_told() -> None:
    chat = ChatTemplate(template(refuses=lambda turns: True), "")
    with pytest.raises(BadRequest, match="alternate") as caught:
        chat.prompt(request())
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"template_options": {"style": "odd"}}, "chat_template_kwargs"),
        ({"template_options": {"style": "odd"}, "tools": (TOOL,)}, "chat_template_kwargs"),
        ({"tools": (Tool("odd"),)}, "tools"),
        ({"tools": (Tool("odd"),), "template_options": {"style": "plain"}}, "tools"),
        ({"tools": (Tool("odd"),), "template_options": {"style": "odd"}}, "messages"),
    ],
    ids=str,
)
def test_a_template_that_fails_is_told_by_the_field_without_which_it_does_not(
    fields: dict[str, Any], param: str
) -> None:
    chat = ChatTemplate(template(FORMATS["hermes"], without="odd"), "")
    with pytest.raises(BadRequest, match="Unknown value") as caught:
        chat.prompt(request(**fields))
    assert caught.value.param == param


# Reasoning.


@pytest.mark.parametrize(
    ("source", "opening"),
    [
        ("... '</think>' ...", "<think>"),
        ("[THINK] [/THINK]", "[THINK]"),
        ("<channel|>", "<|channel>thought\n"),
        ("{{ messages }}", None),
    ],
)
def test_markers_of_reasoning_are_found_in_the_template(source: str, opening: str | None) -> None:
    found = ChatTemplate(template(), source).reasoning
    assert (found and found.opening) == opening


@pytest.mark.parametrize(
    ("end", "thinking", "thought"),
    [
        ("", False, False),
        ("<think>\n", True, False),
        ("<think>\n\n</think>\n\n", False, True),
        ("</think>", False, True),
    ],
)
def test_where_the_prompt_ends_tells_whether_the_model_thinks(
    end: str, thinking: bool, thought: bool
) -> None:
    prompt = ChatTemplate(template(end=end), "</think>").prompt(request())
    assert (prompt.thinking, prompt.thought) == (thinking, thought)


def test_the_registry_says_what_reasoning_looks_like() -> None:
    own = Markers("<r>", "</r>")
    assert ChatTemplate(template(), "</think>", reasoning=own).reasoning == own
    assert ChatTemplate(template(), "</think>", reasoning=False).reasoning is None
    assert ChatTemplate(template(), "</think>", reasoning=True).reasoning is not None
    prompt = ChatTemplate(template(end="<think>"), "</think>", reasoning=False).prompt(request())
    assert not prompt.thinking


def test_options_reach_the_template() -> None:
    options = {"reasoning_effort": "high"}
    prompt = ChatTemplate(template(), "").prompt(request(template_options=options))
    assert prompt.text.endswith("<assistant>high")


def test_words_that_the_engine_does_not_know_are_mended() -> None:
    source = "{{ 'a'\n   'b' }}{% if x is undefined %}{{ y | tojson(ensure_ascii=False) }}"
    assert mended(source) == "{{ 'a' + 'b' }}{% if x is not defined %}{{ y | tojson }}"
