"""OpenAI's tools, tool_choice and their legacy names, functions and function_call: the wire's
schema, and what they ask for. Pure.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from .core import Tool, ToolUse
from .errors import BadRequest

MOST_TOOLS = 1024

FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")]
"""OpenAI's names, and the points, colons and slashes that MCP servers put into theirs."""


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

    @property
    def said(self) -> str | None:
        return self.function.name if self.function else self.name


class Allowed(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    mode: Literal["auto", "required"] = "auto"
    tools: list[NamedTool] = Field(min_length=1)


class AllowedTools(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["allowed_tools"]
    allowed_tools: Allowed


ToolChoice = Literal["none", "auto", "required", "any"] | NamedTool | AllowedTools
FunctionChoice = Literal["none", "auto"] | Named


class ToolFields(BaseModel):
    """The fields of a request's body that are about tools."""

    model_config = ConfigDict(strict=True)

    tools: Annotated[list[WireTool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[WireFunction], Field(max_length=MOST_TOOLS)] | None = None
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
    if isinstance(choice, AllowedTools):
        allowed = {_known(tool.said, everything, param) for tool in choice.allowed_tools.tools}
        names = tuple(name for name in everything if name in allowed)
        return ToolUse(names, choice.allowed_tools.mode == "required", several)
    if isinstance(choice, str):
        return ToolUse(everything, required=True, several=several)
    name = choice.said if isinstance(choice, NamedTool) else choice.name
    return ToolUse((_known(name, everything, param),), required=True, several=False)


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
            f"'{param}' names '{name}', which is none of the tools. They are: {shown}.", param=param
        )
    return name
