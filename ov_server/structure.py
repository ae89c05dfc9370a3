"""What of an answer has to fit a schema: collected while the answer goes by. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from .core import Arguments, ChatRequest, Event, Text, ToolCall

Schema = Mapping[str, Any] | bool


class Structure:
    """The structured texts and the arguments of one request's answers."""

    def __init__(self, request: ChatRequest):
        self._tools = {tool.name: tool.parameters for tool in request.tools}
        answer = request.answer
        self._schema = answer.value if answer and answer.kind == "json_schema" else None
        self._texts: dict[int, str] = {}
        self._called: dict[tuple[int, int], str] = {}
        self._arguments: dict[tuple[int, int], str] = {}

    def add(self, event: Event) -> None:
        match event:
            case Text(text, index) if text and self._schema is not None:
                self._texts[index] = self._texts.get(index, "") + text
            case ToolCall(call, _, name, index):
                self._called[index, call] = name
            case Arguments(text, call, index):
                self._arguments[index, call] = self._arguments.get((index, call), "") + text

    def pairs(self) -> Iterator[tuple[Schema, str]]:
        """Each schema with the text that has to fit it."""
        for place, name in self._called.items():
            yield self._tools[name], self._arguments.get(place, "")
        for index, text in self._texts.items():
            if self._schema is not None and not any(i == index for i, _ in self._called):
                yield self._schema, text
