"""Schemas as people write them, each with values that fit: functions and tools of the common
clients, models of pydantic, what zod and LangChain make."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Json = Any


def obj(required: list[str] | None = None, /, **properties: Json) -> dict[str, Json]:
    names = list(properties) if required is None else required
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def array(items: Json, **more: Json) -> dict[str, Json]:
    return {"type": "array", "items": items, **more}


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
NULL = {"type": "null"}


class Color(StrEnum):
    red = "red"
    green = "green"


class Address(BaseModel):
    street: str
    city: str
    zip: str = Field(pattern=r"^\d{5}(-\d{4})?$")


class User(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    age: int = Field(ge=0, le=150)
    email: str | None = None
    address: Address | None = None
    tags: list[str] = []
    favourite: Color = Color.red
    scores: dict[str, float] = {}


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, gt=0, lt=10)


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool = True


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    since: date
    seen: datetime | None = None
    chip: UUID


class Shop(BaseModel):
    site: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    prices: list[Annotated[float, Field(ge=0, multiple_of=0.01)]]
    place: tuple[float, float]
    mixed: int | str | None
    flags: set[Literal["a", "b", "c"]] = set()


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid")
    left: "Node | None" = None
    right: "Node | None" = None
    key: Annotated[str, Field(min_length=1, max_length=8)]


class Step(BaseModel):
    explanation: str
    output: str


class Reasoning(BaseModel):
    steps: list[Step]
    final_answer: str


REALISTIC: dict[str, tuple[Json, list[Json]]] = {
    "pydantic user": (
        User.model_json_schema(),
        [{"name": "A", "age": 3}, {"name": "B", "age": 150, "email": None, "tags": ["x"]}],
    ),
    "pydantic union": (
        Owner.model_json_schema(),
        [
            {
                "pet": {"kind": "dog", "good": False},
                "since": "2024-02-29",
                "seen": "2024-01-31T12:00:00Z",
                "chip": "123e4567-e89b-12d3-a456-426614174000",
            }
        ],
    ),
    "pydantic shop": (
        Shop.model_json_schema(),
        [{"site": "https://a.de/x?y=1", "prices": [1, 0.99], "place": [1.5, -2], "mixed": None}],
    ),
    "pydantic tree": (Tree.model_json_schema(), [{"value": 1, "children": [{"value": 2}]}]),
    "pydantic node": (Node.model_json_schema(), [{"left": {"key": "a"}, "key": "abc"}]),
    "openai steps": (
        {**Reasoning.model_json_schema(), "additionalProperties": False},
        [{"steps": [{"explanation": "a", "output": "b"}], "final_answer": "c"}],
    ),
    "openai weather": (
        {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. Boston"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
        [{"location": "Berlin"}, {"location": "Berlin", "unit": "celsius"}],
    ),
    "openai strict weather": (
        obj(location=STRING, unit={"type": ["string", "null"], "enum": ["c", "f", None]}),
        [{"location": "x", "unit": None}, {"location": "x", "unit": "f"}],
    ),
    "openai email": (
        obj(to=array(STRING), subject=STRING, body={"type": ["string", "null"]}),
        [{"to": ["a@b.c"], "subject": "s", "body": None}],
    ),
    "openai knowledge base": (
        obj(
            query=STRING,
            options=obj(
                num_results=NUMBER,
                domain_filter={"type": ["string", "null"]},
                sort_by={"type": ["string", "null"], "enum": ["relevance", "date", None]},
            ),
        ),
        [{"query": "q", "options": {"num_results": 3, "domain_filter": None, "sort_by": "date"}}],
    ),
    "openai linked list": (
        {
            **obj(linked_list={"$ref": "#/$defs/node"}),
            "$defs": {"node": obj(value=NUMBER, next={"anyOf": [{"$ref": "#/$defs/node"}, NULL]})},
        },
        [{"linked_list": {"value": 1, "next": {"value": 2.5, "next": None}}}],
    ),
    "openai ui": (
        {
            "name": "ui",
            **obj(
                type={"type": "string", "enum": ["div", "button"]},
                label=STRING,
                children=array({"$ref": "#"}),
                attributes=array(obj(name=STRING, value=STRING)),
            ),
        },
        [{"type": "div", "label": "", "children": [], "attributes": [{"name": "a", "value": "b"}]}],
    ),
    "openai moderation": (
        obj(
            is_violating=BOOLEAN,
            category={"type": ["string", "null"], "enum": ["violence", "hate", None]},
            explanation_if_violating={"type": ["string", "null"]},
        ),
        [{"is_violating": False, "category": None, "explanation_if_violating": None}],
    ),
    "openai research paper": (
        obj(title=STRING, authors=array(STRING), abstract=STRING, keywords=array(STRING)),
        [{"title": "t", "authors": ["a"], "abstract": "x", "keywords": []}],
    ),
    "openai anyOf": (
        obj(
            item={
                "anyOf": [
                    obj(name=STRING, age=NUMBER),
                    obj(number=STRING, street=STRING, city=STRING),
                ]
            }
        ),
        [{"item": {"name": "a", "age": 1}}, {"item": {"number": "1", "street": "s", "city": "c"}}],
    ),
    "no parameters": ({"type": "object", "properties": {}}, [{}]),
    "no parameters, closed": (obj(), [{}]),
    "home assistant light": (
        obj(
            [],
            name=STRING,
            area=STRING,
            floor=STRING,
            domain=array({"type": "string", "enum": ["light"]}),
            brightness={"type": "integer", "minimum": 0, "maximum": 100},
            color=STRING,
            temperature={"type": "integer", "minimum": 0},
        ),
        [{"name": "Lamp", "brightness": 40}, {"area": "Kitchen", "domain": ["light"]}, {}],
    ),
    "home assistant climate": (
        obj(["temperature"], temperature=NUMBER, area=STRING, floor=STRING),
        [{"temperature": 21.5, "area": "Bath"}],
    ),
    "home assistant todo": (
        obj(item=STRING, name={"type": "string", "enum": ["Shopping", "Work"]}),
        [{"item": "milk", "name": "Shopping"}],
    ),
    "home assistant timer": (
        obj(
            [],
            hours={"type": "integer", "minimum": 0},
            minutes={"type": "integer", "minimum": 0, "maximum": 59},
            seconds={"type": "integer", "minimum": 0, "maximum": 59},
            name=STRING,
        ),
        [{"minutes": 5}, {"hours": 1, "name": "tea"}],
    ),
    "mcp read file": (
        {
            **obj(["path"], path=STRING, tail=NUMBER, head=NUMBER),
            "$schema": "http://json-schema.org/draft-07/schema#",
        },
        [{"path": "/etc/hosts", "head": 10}],
    ),
    "mcp edit file": (
        {
            **obj(
                ["path", "edits"],
                path=STRING,
                edits=array(obj(oldText=STRING, newText=STRING)),
                dryRun={"type": "boolean", "default": False},
            ),
            "$schema": "http://json-schema.org/draft-07/schema#",
        },
        [{"path": "a", "edits": [{"oldText": "x", "newText": "y"}], "dryRun": True}],
    ),
    "mcp memory": (
        obj(
            entities=array(
                {
                    "type": "object",
                    "properties": {
                        "name": STRING,
                        "entityType": STRING,
                        "observations": array(STRING),
                    },
                    "required": ["name", "entityType", "observations"],
                }
            )
        ),
        [{"entities": [{"name": "n", "entityType": "t", "observations": ["o"]}]}],
    ),
    "mcp fetch": (
        {
            "description": "Parameters for fetching a URL.",
            "properties": {
                "url": {"format": "uri", "minLength": 1, "title": "Url", "type": "string"},
                "max_length": {
                    "default": 5000,
                    "exclusiveMaximum": 1000000,
                    "exclusiveMinimum": 0,
                    "type": "integer",
                },
                "start_index": {"default": 0, "minimum": 0, "type": "integer"},
                "raw": {"default": False, "type": "boolean"},
            },
            "required": ["url"],
            "title": "Fetch",
            "type": "object",
        },
        [{"url": "https://example.com", "max_length": 999999, "raw": True}],
    ),
    "mcp git": (
        obj(
            ["repo_path"],
            repo_path=STRING,
            max_count={"type": "integer", "default": 10},
            start_timestamp={"anyOf": [STRING, NULL], "default": None},
        ),
        [{"repo_path": ".", "start_timestamp": None}],
    ),
    "mcp time": (
        obj(
            source_timezone=STRING,
            time={"type": "string", "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$"},
            target_timezone=STRING,
        ),
        [{"source_timezone": "UTC", "time": "9:05", "target_timezone": "Europe/Berlin"}],
    ),
    "mcp sequential thinking": (
        obj(
            ["thought", "nextThoughtNeeded", "thoughtNumber", "totalThoughts"],
            thought=STRING,
            nextThoughtNeeded=BOOLEAN,
            thoughtNumber={"type": "integer", "minimum": 1},
            totalThoughts={"type": "integer", "minimum": 1},
            isRevision=BOOLEAN,
        ),
        [{"thought": "t", "nextThoughtNeeded": True, "thoughtNumber": 1, "totalThoughts": 12}],
    ),
    "mcp github issue": (
        obj(
            ["owner", "repo", "title"],
            owner=STRING,
            repo=STRING,
            title=STRING,
            body=STRING,
            assignees=array(STRING),
            milestone=NUMBER,
            labels=array(STRING),
        ),
        [{"owner": "o", "repo": "r", "title": "t", "labels": ["bug"]}],
    ),
    "mcp github search": (
        obj(
            ["q"],
            q=STRING,
            order={"type": "string", "enum": ["asc", "desc"]},
            page={"type": "number", "minimum": 1},
            per_page={"type": "number", "minimum": 1, "maximum": 100},
        ),
        [{"q": "x", "page": 1, "per_page": 100}, {"q": "x", "per_page": 30.5}],
    ),
    "mcp browser": (
        obj(
            ["action"],
            action={"enum": ["click", "type", "scroll"]},
            coordinate=array(NUMBER, minItems=2, maxItems=2),
            text=STRING,
        ),
        [{"action": "click", "coordinate": [10, 20.5]}],
    ),
    "mcp sql": (
        obj(["sql"], sql=STRING, params=array({"type": ["string", "number", "boolean", "null"]})),
        [{"sql": "select 1", "params": ["a", 1, None, True]}],
    ),
    "langchain multiply": (
        {
            "description": "Multiply two numbers.",
            "properties": {
                "a": {"title": "A", "type": "integer"},
                "b": {"title": "B", "type": "integer"},
            },
            "required": ["a", "b"],
            "title": "multiply",
            "type": "object",
        },
        [{"a": -4, "b": 123456789}],
    ),
    "langchain extraction": (
        {
            "title": "Data",
            "type": "object",
            "properties": {"people": array({"$ref": "#/definitions/Person"})},
            "required": ["people"],
            "definitions": {
                "Person": {
                    "type": "object",
                    "properties": {
                        "name": {"anyOf": [STRING, NULL], "default": None},
                        "height_in_meters": {"anyOf": [STRING, NULL], "default": None},
                    },
                }
            },
        },
        [{"people": [{"name": "Anna", "height_in_meters": None}]}],
    ),
    "zod 3": (
        {
            **obj(
                ["id", "state"],
                id={"type": "string", "format": "uuid"},
                state={"type": "string", "const": "open"},
                priority={"type": "integer", "exclusiveMinimum": 0, "maximum": 5},
                due={"type": "string", "format": "date-time"},
                meta={"type": "object", "additionalProperties": {}},
                pair={"type": "array", "minItems": 2, "maxItems": 2, "items": [STRING, NUMBER]},
            ),
            "$schema": "http://json-schema.org/draft-07/schema#",
        },
        [
            {
                "id": "123e4567-e89b-12d3-a456-426614174000",
                "state": "open",
                "priority": 5,
                "meta": {"a": [1, {"b": None}]},
                "pair": ["x", 1],
            }
        ],
    ),
    "zod 4 record": (
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **obj(
                counts={
                    "type": "object",
                    "propertyNames": {"type": "string", "enum": ["a", "b"]},
                    "additionalProperties": INTEGER,
                },
                any={"type": "object", "propertyNames": STRING, "additionalProperties": {}},
                size={
                    "type": "integer",
                    "minimum": -9007199254740991,
                    "maximum": 9007199254740991,
                },
            ),
        },
        [{"counts": {"a": 1, "b": 2}, "any": {"x": [None]}, "size": -5}],
    ),
    "zod union": (
        obj(
            shape={
                "anyOf": [
                    obj(type={"type": "string", "const": "circle"}, radius=NUMBER),
                    obj(type={"type": "string", "const": "square"}, side=NUMBER),
                ]
            }
        ),
        [{"shape": {"type": "square", "side": 2}}],
    ),
    "oneOf constants": (
        {
            "oneOf": [
                {"const": "low", "title": "Low"},
                {"const": "high", "title": "High"},
            ]
        },
        ["low", "high"],
    ),
    "oneOf by required": (
        {
            **obj([], path=STRING, url={"type": "string", "format": "uri"}),
            "oneOf": [{"required": ["path"]}, {"required": ["url"]}],
        },
        [{"path": "a"}, {"url": "https://a.b"}],
    ),
    "if and then": (
        {
            **obj(["kind"], kind={"enum": ["file", "text"]}, path=STRING, text=STRING),
            "if": {"properties": {"kind": {"const": "file"}}},
            "then": {"required": ["path"]},
            "else": {"required": ["text"]},
        },
        [{"kind": "file", "path": "a"}, {"kind": "text", "text": "b"}],
    ),
    "several ifs": (
        {
            **obj(["op"], op={"enum": ["add", "del", "list"]}, key=STRING, value=STRING),
            "allOf": [
                {
                    "if": {"properties": {"op": {"const": "add"}}, "required": ["op"]},
                    "then": {"required": ["key", "value"]},
                },
                {
                    "if": {"properties": {"op": {"const": "del"}}, "required": ["op"]},
                    "then": {"required": ["key"]},
                },
            ],
        },
        [{"op": "add", "key": "a", "value": "b"}, {"op": "del", "key": "a"}, {"op": "list"}],
    ),
    "allOf with bases": (
        {
            "allOf": [{"$ref": "#/$defs/named"}, {"$ref": "#/$defs/sized"}],
            "$defs": {
                "named": {"type": "object", "properties": {"name": STRING}, "required": ["name"]},
                "sized": {"type": "object", "properties": {"size": INTEGER}, "required": ["size"]},
            },
            "unevaluatedProperties": False,
        },
        [{"name": "a", "size": 1}],
    ),
    "dependent": (
        {
            **obj(["card"], card=STRING, address=STRING, zip=STRING),
            "dependentRequired": {"zip": ["address"]},
        },
        [{"card": "1"}, {"card": "1", "address": "x", "zip": "y"}],
    ),
    "patterned keys": (
        {
            "type": "object",
            "patternProperties": {"^x-": STRING, "^[0-9]+$": INTEGER},
            "additionalProperties": False,
        },
        [{"x-a": "b", "12": 3}],
    ),
    "environment": (
        {
            **obj(["command"], command=STRING, args=array(STRING)),
            "additionalProperties": STRING,
        },
        [{"command": "ls", "args": ["-l"], "HOME": "/root"}],
    ),
    "colors": (
        obj(
            hex={"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"},
            alpha={
                "type": "number",
                "minimum": 0,
                "maximum": 1,
            },
        ),
        [{"hex": "#00ff7F", "alpha": 0.5}, {"hex": "#000000", "alpha": 1.0}],
    ),
    "coordinates": (
        obj(
            lat={"type": "number", "minimum": -90, "maximum": 90},
            lon={"type": "number", "minimum": -180, "maximum": 180},
        ),
        [{"lat": 52.52, "lon": -13.405}, {"lat": -90, "lon": 180}],
    ),
    "slug": (
        obj(slug={"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$"}),
        [{"slug": "a-b-c1"}],
    ),
    "semantic version": (
        obj(version={"type": "string", "pattern": r"^v?(0|[1-9]\d*)\.\d+\.\d+(-[\w.]+)?$"}),
        [{"version": "v1.20.3-rc.1"}],
    ),
    "host and port": (
        obj(
            host={"anyOf": [{"format": "ipv4"}, {"format": "hostname"}], "type": "string"},
            port={"type": "integer", "minimum": 1, "maximum": 65535},
        ),
        [{"host": "10.0.0.1", "port": 65535}, {"host": "a.example", "port": 80}],
    ),
    "contact": (
        obj(mail={"type": "string", "format": "email"}, at={"type": "string", "format": "time"}),
        [{"mail": "a.b+c@ex-ample.org", "at": "12:30:00+02:00"}],
    ),
    "rating": (
        obj(stars={"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 5}),
        [
            {"stars": 4.5},
            {"stars": 5},
        ],
    ),
    "quarters": (obj(minutes={"type": "integer", "multipleOf": 15}), [{"minutes": 45}]),
    "weekdays": (
        obj(
            days=array({"enum": ["mon", "tue", "wed", "thu", "fri"]}, uniqueItems=True, minItems=1)
        ),
        [{"days": ["mon"]}, {"days": ["fri", "mon"]}],
    ),
    "tuple with rest": (
        {"type": "array", "prefixItems": [STRING, INTEGER], "items": BOOLEAN, "minItems": 1},
        [["a"], ["a", 1], ["a", 1, True, False]],
    ),
    "matrix": (array(array(NUMBER, minItems=2, maxItems=2), maxItems=4), [[[1, 2], [3, 4.5]]]),
    "any value": (obj(value={}), [{"value": [1, "a", None, {"b": True}]}]),
    "boolean or text": ({"type": ["boolean", "string"]}, [True, "a"]),
    "answer": (
        obj(answer={"type": "string", "enum": ["yes", "no"]}, why=STRING),
        [{"answer": "no", "why": "so"}],
    ),
    "chart": (
        obj(
            type={"enum": ["bar", "line"]},
            series=array(obj(["x", "y"], x=array(NUMBER), y=array(NUMBER), name=STRING)),
        ),
        [{"type": "bar", "series": [{"x": [1], "y": [2]}]}],
    ),
    "json patch": (
        array(
            {
                "oneOf": [
                    obj(op={"enum": ["add", "replace"]}, path=STRING, value={}),
                    obj(op={"const": "remove"}, path=STRING),
                ]
            }
        ),
        [[{"op": "add", "path": "/a", "value": 1}, {"op": "remove", "path": "/b"}]],
    ),
    "expression": (
        {
            "$ref": "#/$defs/expr",
            "$defs": {
                "expr": {
                    "anyOf": [
                        NUMBER,
                        obj(op={"enum": ["+", "*"]}, args=array({"$ref": "#/$defs/expr"})),
                    ]
                }
            },
        },
        [{"op": "+", "args": [1, {"op": "*", "args": [2, 3]}]}],
    ),
    "not a keyword": (
        obj(name={"type": "string", "not": {"enum": ["admin", "root"]}}),
        [{"name": "adm"}, {"name": "roots"}],
    ),
}
