"""The last word on whether a text fits its schema."""

from typing import Any

import pytest

from ov_server.schemacheck import fits

REMOTE = {"$ref": "https://example.com/never-fetched.json"}


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"type": "integer"}, "5", True),
        ({"type": "integer"}, '"5"', False),
        ({"type": "integer"}, "", False),
        ({"type": "integer"}, "5 and more", False),
        ({"type": "number"}, "NaN", False),
        ({}, "[" * 100_000, False),
        (True, "null", True),
        (False, "null", False),
        ({"uniqueItems": True}, "[1, 1]", False),
        ({"not": {"type": "integer"}}, "5", False),
        ({"multipleOf": 0.01}, "0.29", True),
        ({"multipleOf": 0.01}, "0.295", False),
        ({"multipleOf": 7}, '"no number"', True),
        ({"pattern": r"^\d$"}, '"٣"', False),
        ({"pattern": r"^\p{Letter}$"}, '"é"', True),
        ({"pattern": "(?=a)b"}, '"x"', True),
        ({"patternProperties": {r"^\p{Letter}$": False}}, '{"a": 1}', True),
        ({"format": "time"}, '"20:00:00Z"', True),
        ({"format": "date"}, '"tomorrow"', False),
        (REMOTE, "5", True),
        ({"type": "string", "allOf": [REMOTE]}, "5", False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}, False]}, "[1]", True),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_text_fits_or_does_not(schema: Any, text: str, expected: bool) -> None:
    assert fits(schema, text) is expected
