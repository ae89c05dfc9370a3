"""What a request says of its answer's text: OpenAI's response_format, and the fields by which
vLLM's and llama.cpp's clients say the same. Pure.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .core import AnswerFormat
from .errors import BadRequest
from .mistakes import spoilt

_LONGEST = 200_000
"""Characters of a schema or a grammar."""

Text = Annotated[str, Field(max_length=_LONGEST)]
Schema = dict[str, Any] | bool
Choices = Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=5000)]


class NamedSchema(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    name: str | None = None
    schema_: Schema = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    schema_: Schema | None = Field(None, alias="schema")


class StructuredOutputs(BaseModel):
    """vLLM's successor of the guided_ fields."""

    model_config = ConfigDict(strict=True, extra="allow")

    json_: Schema | Text | None = Field(None, alias="json")
    regex: Text | None = None
    choice: Choices | None = None
    grammar: Text | None = None
    json_object: bool | None = None
    structural_tag: Any = None


class FormatFields(BaseModel):
    """The fields of a request's body that say what its answer's text has to be. Empty texts and
    lists are as if they were left out: some clients send them for what they don't use."""

    model_config = ConfigDict(strict=True)

    response_format: ResponseFormat | None = None
    guided_json: Schema | Text | None = None
    guided_regex: Text | None = None
    guided_choice: Choices | None = None
    guided_grammar: Text | None = None
    structured_outputs: StructuredOutputs | None = None
    json_schema: Schema | Text | None = None
    grammar: Text | None = None


def answer_format(fields: FormatFields) -> AnswerFormat | None:
    """The one format that is asked for. Raises BadRequest when there are two, or when a schema is
    missing or no JSON."""
    found = list(_formats(fields))
    if len(found) > 1:
        raise BadRequest(
            f"'{found[0].param}' and '{found[1].param}' both say what the answer has to be. "
            "Leave one of them out.",
            param=found[1].param,
        )
    return found[0] if found else None


def _formats(fields: FormatFields) -> Iterator[AnswerFormat]:
    if fields.response_format is not None:
        yield from _response_format(fields.response_format)
    for param, schema in (("guided_json", fields.guided_json), ("json_schema", fields.json_schema)):
        if schema is not None and schema != "":
            yield AnswerFormat("json_schema", _schema(schema, param), param=param)
    if fields.guided_regex:
        yield AnswerFormat("regex", fields.guided_regex, param="guided_regex")
    if fields.guided_choice:
        yield AnswerFormat("choice", tuple(fields.guided_choice), param="guided_choice")
    for param, text in (("guided_grammar", fields.guided_grammar), ("grammar", fields.grammar)):
        if text:
            yield AnswerFormat("grammar", text, param=param)
    if fields.structured_outputs is not None:
        yield from _structured_outputs(fields.structured_outputs)


def _response_format(said: ResponseFormat) -> Iterator[AnswerFormat]:
    if said.type == "json_object":
        schema = said.schema_ if said.schema_ is not None else {"type": "object"}
        yield AnswerFormat("json_schema", _schema(schema, "response_format.schema"))
    elif said.type == "json_schema":
        if said.json_schema is not None:
            schema = _schema(said.json_schema.schema_, "response_format.json_schema.schema")
            yield AnswerFormat("json_schema", schema, bool(said.json_schema.strict))
        elif said.schema_ is not None:  # as llama.cpp has it
            yield AnswerFormat("json_schema", _schema(said.schema_, "response_format.schema"))
        else:
            raise BadRequest(
                "'response_format' of the type json_schema needs its 'json_schema'.",
                param="response_format.json_schema",
            )


def _structured_outputs(said: StructuredOutputs) -> Iterator[AnswerFormat]:
    field = "structured_outputs"
    if said.structural_tag is not None:
        raise BadRequest(
            f"'{field}.structural_tag' is not supported: say tools, or a grammar.",
            param=f"{field}.structural_tag",
            code="unsupported_parameter",
        )
    if said.model_extra and not said.model_dump(exclude=set(said.model_extra), exclude_none=True):
        raise BadRequest(
            f"'{field}' says none of json, json_object, regex, choice and grammar.", param=field
        )
    if said.json_ is not None and said.json_ != "":
        param = f"{field}.json"
        yield AnswerFormat("json_schema", _schema(said.json_, param), param=param)
    if said.json_object:
        yield AnswerFormat("json_schema", {"type": "object"}, param=f"{field}.json_object")
    if said.regex:
        yield AnswerFormat("regex", said.regex, param=f"{field}.regex")
    if said.choice:
        yield AnswerFormat("choice", tuple(said.choice), param=f"{field}.choice")
    if said.grammar:
        yield AnswerFormat("grammar", said.grammar, param=f"{field}.grammar")


def _schema(said: Schema | str, param: str) -> Schema:
    """A schema from a value, or from a text of JSON as vLLM takes it."""
    if not isinstance(said, str):
        return said
    try:
        value = json.loads(said)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadRequest(
            f"'{param}' is a text that is no JSON: {why}. Mend it, or send an object.", param=param
        ) from None
    if (mistake := spoilt(value)) is not None:
        place = f"at {mistake.path} " if mistake.path else ""
        raise BadRequest(f"{param}: {place}{mistake.said}.", param=param)
    if not isinstance(value, dict | bool):
        raise BadRequest(f"'{param}' has to be a schema: an object or a boolean.", param=param)
    return value
