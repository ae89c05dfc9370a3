"""What a request says of its answer's text, under any of its names."""

from typing import Any

import pytest
from pydantic import ValidationError

from ov_server.answerformats import FormatFields, answer_format
from ov_server.core import AnswerFormat
from ov_server.errors import BadRequest

S = {"type": "integer"}


def asked(**fields: Any) -> AnswerFormat | None:
    return answer_format(FormatFields.model_validate(fields))


def schema(value: Any, param: str, strict: bool = False) -> AnswerFormat:
    return AnswerFormat("json_schema", value, strict, param)


def named(**more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": S, **more}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"grammar": "", "guided_json": "", "guided_regex": ""}, None),
        (
            {"response_format": {"type": "json_object"}},
            schema({"type": "object"}, "response_format"),
        ),
        ({"response_format": {"type": "json_object", "schema": S}}, schema(S, "response_format")),
        ({"response_format": named()}, schema(S, "response_format")),
        ({"response_format": named(strict=True)}, schema(S, "response_format", True)),
        ({"response_format": named(strict=None)}, schema(S, "response_format")),
        ({"guided_json": S}, schema(S, "guided_json")),
        ({"guided_json": '{"type": "integer"}'}, schema(S, "guided_json")),
        ({"guided_json": False}, schema(False, "guided_json")),
        ({"json_schema": S}, schema(S, "json_schema")),
        ({"json_schema": {}}, schema({}, "json_schema")),
        ({"guided_regex": "a+"}, AnswerFormat("regex", "a+", param="guided_regex")),
        (
            {"guided_choice": ["a", "b"]},
            AnswerFormat("choice", ("a", "b"), param="guided_choice"),
        ),
        ({"guided_grammar": "root"}, AnswerFormat("grammar", "root", param="guided_grammar")),
        ({"grammar": "root"}, AnswerFormat("grammar", "root", param="grammar")),
        ({"structured_outputs": {"json": S}}, schema(S, "structured_outputs.json")),
        ({"structured_outputs": {"json": "true"}}, schema(True, "structured_outputs.json")),
        (
            {"structured_outputs": {"json_object": True}},
            schema({"type": "object"}, "structured_outputs.json_object"),
        ),
        (
            {"structured_outputs": {"regex": "a"}},
            AnswerFormat("regex", "a", param="structured_outputs.regex"),
        ),
        (
            {"structured_outputs": {"choice": ["a"]}},
            AnswerFormat("choice", ("a",), param="structured_outputs.choice"),
        ),
        (
            {"structured_outputs": {"grammar": "g"}},
            AnswerFormat("grammar", "g", param="structured_outputs.grammar"),
        ),
        ({"structured_outputs": {}}, None),
        ({"json_schema": "", "guided_grammar": "", "guided_choice": []}, None),
        ({"structured_outputs": {"json": "", "regex": "", "choice": [], "grammar": ""}}, None),
        (
            {"structured_outputs": {"json": "", "choice": ["a"]}, "guided_choice": []},
            AnswerFormat("choice", ("a",), param="structured_outputs.choice"),
        ),
    ],
    ids=str,
)
def test_one_format_is_asked_for_by_any_name(
    fields: dict[str, Any], expected: AnswerFormat | None
) -> None:
    assert asked(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": named(), "guided_regex": "a"}, "guided_regex"),
        ({"guided_json": S, "json_schema": S}, "json_schema"),
        ({"structured_outputs": {"json": S, "regex": "a"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"regexp": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "5"}, "guided_json"),
        ({"guided_json": "[" * 100_000}, "guided_json"),
        ({"json_schema": '{"const": "\\ud800"}'}, "json_schema"),
        ({"structured_outputs": {"json": '{"minimum": NaN}'}}, "structured_outputs.json"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_can_not_be_meant_is_told(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "xml"}},
        {"response_format": "json"},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        {"guided_choice": [5]},
        {"guided_regex": 5},
        {"guided_choice": [""]},
        {"grammar": "x" * 200_001},
        {"structured_outputs": {"json": "x" * 200_001}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_has_another_shape_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**fields)
