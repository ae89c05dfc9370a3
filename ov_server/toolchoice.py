"""OpenAI's tools, tool_choice and their legacy names, functions and function_call: the wire's
schema, and what they ask for. Pure.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from .core import Tool, ToolUse
from .errors import BadRequest

MOST_TOOLS = 1024

_NAME = r"^[A-Za-z0-9_.:/-]{1,128}$"
"""OpenAI's names, and the points, colons and slashes that MCP servers put into theirs."""


def _function_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise PydanticCustomError(
            "function_name", "a function's name is 1 to 128 letters, digits and _ . : / -"
        )
    return name


FunctionName = Annotated[
    str,
    AfterValidator(_function_name),
    WithJsonSchema({"type": "string", "pattern": _NAME}),
]


class WireFunction(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireTool(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["function"]
    function: WireFunction


class Named(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    name: str


class NamedTool(BaseModel):
    """`{"type": "function", "function": {"name": ...}}`, or with the name beside the type."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["function"]
    function: Named | None = None
    name: str | None = None


class Allowed(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    mode: Literal["auto", "required"] = "auto"
    tools: list[NamedTool] = Field(min_length=1, fail_fast=True)


class ChosenTools(BaseModel):
    """A named tool, or `{"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}`."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["function", "allowed_tools"]
    function: Named | None = None
    name: str | None = None
    allowed_tools: Allowed | None = None


ToolChoice = Literal["none", "auto", "required", "any"] | ChosenTools
FunctionChoice = Literal["none", "auto"] | Named


class ToolFields(BaseModel):
    """The fields of a request's body that are about tools."""

    model_config = ConfigDict(strict=True)

    tools: Annotated[list[WireTool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: (
        Annotated[list[WireFunction], Field(max_length=MOST_TOOLS, fail_fast=True)] | None
    ) = None
    function_call: FunctionChoice | None = None

    @property
    def legacy(self) -> bool:
        """Whether calls are asked for in the old way, and are to be answered so."""
        return bool(self.functions)


def offered(fields: ToolFields) -> tuple[Tool, ...]:
    """The tools that the model is told of. Raises BadRequest when two have one name."""
    if fields.tools and fields.functions:
        raise BadRequest("Say 'tools' or 'functions', not both.", param="functions")
    functions = fields.functions or [tool.function for tool in fields.tools or ()]
    place = "functions[{}]" if fields.functions else "tools[{}].function"
    seen: set[str] = set()
    for number, function in enumerate(functions):
        if function.name in seen:
            raise BadRequest(
                f"Two tools are called '{function.name}'. Give each its own name.",
                param=f"{place.format(number)}.name",
            )
        seen.add(function.name)
    return tuple(
        Tool(f.name, f.description or "", f.parameters or {}, bool(f.strict)) for f in functions
    )


def use_of(fields: ToolFields, tools: tuple[Tool, ...]) -> ToolUse:
    """Which of the tools may be called, and which must. Raises BadRequest for a name that is not
    offered."""
    if fields.function_call is not None and fields.tool_choice is not None:
        raise BadRequest("Say 'tool_choice' or 'function_call', not both.", param="function_call")
    param = "function_call" if fields.function_call is not None else "tool_choice"
    choice = fields.tool_choice if fields.function_call is None else fields.function_call
    several = fields.parallel_tool_calls is not False and not fields.functions
    everything = tuple(tool.name for tool in tools)
    if choice is None or choice == "auto":
        return ToolUse(everything, several=several)
    if choice == "none":
        return ToolUse()
    if not tools:
        raise BadRequest(f"'{param}' needs tools to choose from: say them in 'tools'.", param=param)
    if isinstance(choice, str):
        return ToolUse(everything, required=True, several=several)
    if isinstance(choice, ChosenTools) and choice.type == "allowed_tools":
        return _allowed(choice.allowed_tools, everything, several)
    name = choice.name if isinstance(choice, Named) else _name_of(choice)
    return ToolUse((_known(name, everything, param),), required=True, several=False)


def _allowed(said: Allowed | None, everything: tuple[str, ...], several: bool) -> ToolUse:
    if said is None:
        raise BadRequest(
            "'tool_choice' of the type allowed_tools needs its 'allowed_tools': "
            '{"mode": "auto", "tools": [...]}.',
            param="tool_choice.allowed_tools",
        )
    allowed = {_known(_name_of(tool), everything, "tool_choice") for tool in said.tools}
    names = tuple(name for name in everything if name in allowed)
    return ToolUse(names, said.mode == "required", several)


def _name_of(tool: NamedTool | ChosenTools) -> str | None:
    return tool.function.name if tool.function else tool.name


def _known(name: str | None, everything: tuple[str, ...], param: str) -> str:
    if name is None:
        raise BadRequest(
            f"'{param}' needs the function's name: "
            '{"type": "function", "function": {"name": ...}}.',
            param=param,
        )
    if name not in everything:
        shown = ", ".join(everything[:20])
        raise BadRequest(
            f"'{param}' names '{name[:128]}', which is none of the tools. They are: {shown}.",
            param=param,
        )
    return name
