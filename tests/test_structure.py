"""What of an answer has to fit a schema."""

from ov_server.core import AnswerFormat, Arguments, ChatRequest, Message, Text, Tool, ToolCall
from ov_server.structure import Structure

ASKED = (Message("user", "hi"),)
TOOLS = (Tool("f", "", {"type": "object"}), Tool("g"))


def test_calls_are_paired_with_their_functions_parameters() -> None:
    structure = Structure(ChatRequest(ASKED, tools=TOOLS))
    for event in (
        Text("Let me see."),
        ToolCall(0, "a", "f"),
        Arguments('{"x"', 0),
        ToolCall(0, "b", "g", index=1),
        Arguments(": 1}", 0),
        Arguments("{}", 0, index=1),
        ToolCall(1, "c", "g"),
    ):
        structure.add(event)
    assert list(structure.pairs()) == [({"type": "object"}, '{"x": 1}'), ({}, "{}"), ({}, "")]


def test_texts_are_paired_with_the_schema_that_was_asked_for() -> None:
    schema = {"type": "integer"}
    request = ChatRequest(ASKED, tools=TOOLS, answer=AnswerFormat("json_schema", schema))
    structure = Structure(request)
    for event in (Text("1"), Text("2"), Text("7", 1), ToolCall(0, "a", "g", index=2)):
        structure.add(event)
    assert list(structure.pairs()) == [({}, ""), (schema, "12"), (schema, "7")]


def test_other_texts_have_nothing_to_fit() -> None:
    for answer in (None, AnswerFormat("regex", "a")):
        structure = Structure(ChatRequest(ASKED, answer=answer))
        structure.add(Text("a"))
        assert list(structure.pairs()) == []
