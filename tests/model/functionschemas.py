"""How the tools of `functions` are written: JSON Schemas, in the manners of those who make them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class Function:
    name: str
    description: str
    parameters: Schema | None
    question: str


# How schemas are written.


def typed(kind: str, description: str, more: Schema) -> Schema:
    return {"type": kind} | ({"description": description} if description else {}) | more


def string(description: str = "", **more: Any) -> Schema:
    return typed("string", description, more)


def integer(description: str = "", **more: Any) -> Schema:
    return typed("integer", description, more)


def number(description: str = "", **more: Any) -> Schema:
    return typed("number", description, more)


def boolean(description: str = "", **more: Any) -> Schema:
    return typed("boolean", description, more)


def array(items: Schema, description: str = "", **more: Any) -> Schema:
    return typed("array", description, {"items": items} | more)


def strings(description: str = "", **more: Any) -> Schema:
    return array(string(), description, **more)


def pattern(regex: str, description: str = "", **more: Any) -> Schema:
    return string(description, pattern=regex, **more)


def form(name: str, description: str = "", **more: Any) -> Schema:
    return string(description, format=name, **more)


def enum(*values: str | int, about: str = "", **more: Any) -> Schema:
    kind = "integer" if isinstance(values[0], int) else "string"
    return typed(kind, about, {"enum": list(values)} | more)


def const(value: str | int) -> Schema:
    return {"const": value}


def obj(required: str = "", /, **properties: Schema) -> Schema:
    """An object; the names of what it has to have are one text, with blanks between."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": required.split()} if required else {})


def mapping(values: Schema | bool, description: str = "", **more: Any) -> Schema:
    return typed("object", description, {"additionalProperties": values} | more)


def any_of(*options: Schema) -> Schema:
    return {"anyOf": list(options)}


def one_of(*options: Schema) -> Schema:
    return {"oneOf": list(options)}


def all_of(*parts: Schema) -> Schema:
    return {"allOf": list(parts)}


def optional(schema: Schema, **more: Any) -> Schema:
    """pydantic's `X | None = None`."""
    return any_of(schema, {"type": "null"}) | {"default": None} | more


def nullable(schema: Schema) -> Schema:
    """OpenAI's way to say that a required value may be left out."""
    found = schema | {"type": [schema["type"], "null"]}
    return found | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def defs(**schemas: Schema) -> Schema:
    return {"$defs": schemas}


def about(description: str) -> Schema:
    return {"description": description}


CLOSED: Schema = {"additionalProperties": False}
OPEN: Schema = {"additionalProperties": True}


def each_object(node: Any, change: Callable[[Schema], Schema]) -> Any:
    """With a change to all schemas of objects within."""
    if isinstance(node, list):
        return [each_object(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: each_object(value, change) for key, value in node.items()}
    return inner | change(inner) if isinstance(inner.get("properties"), dict) else inner


def closed(schema: Schema) -> Schema:
    return each_object(schema, lambda _: CLOSED)


def zod(required: str = "", /, **properties: Schema) -> Schema:
    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    return closed(obj(required, **properties)) | draft


def zod4(required: str = "", /, **properties: Schema) -> Schema:
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return draft | closed(obj(required, **properties))


def strict(**properties: Schema) -> Schema:
    """OpenAI's strict mode: nothing may be left out or added."""
    return each_object(obj(**properties), lambda s: {"required": list(s["properties"])} | CLOSED)


def titled(key: str, schema: Schema) -> Schema:
    return schema if "$ref" in schema else {"title": key.replace("_", " ").title()} | schema


def pydantic(title: str, schema: Schema) -> Schema:
    """With the titles that pydantic writes everywhere."""
    found = {**schema, "title": title}
    if "properties" in schema:
        found["properties"] = {k: titled(k, v) for k, v in schema["properties"].items()}
    if "$defs" in schema:
        found["$defs"] = {name: pydantic(name, s) for name, s in schema["$defs"].items()}
    return found


def model(title: str, required: str = "", /, **properties: Schema) -> Schema:
    return pydantic(title, obj(required, **properties))


def rows(least: int, most: int | None, required: str = "", /, **properties: Schema) -> Schema:
    """An array of objects, so many of them."""
    bounds: Any = ({"minItems": least} if least else {}) | ({"maxItems": most} if most else {})
    return array(obj(required, **properties), **bounds)


def tool(
    name: str, description: str, question: str, required: str = "", /, **properties: Schema
) -> Function:
    return Function(name, description, obj(required, **properties), question)


DATE = r"^\d{4}-\d{2}-\d{2}$"
CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"
LATITUDE = number("Latitude in degrees", minimum=-90, maximum=90)
LONGITUDE = number("Longitude in degrees", minimum=-180, maximum=180)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
