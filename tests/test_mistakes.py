"""What is wrong with a value, in the words of its wire."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from ov_server.mistakes import Mistake, Place, explain, path, spoilt

NAN, HALF = float("nan"), "\ud800"


def _even(number: int) -> int:
    if number % 2:
        raise PydanticCustomError("odd", "it is odd", {"place": ("deep", 3)})
    return number


class Part(BaseModel):
    model_config = ConfigDict(strict=True)

    kind: Literal["one", "two"]
    size: float = Field(1, gt=0, lt=10)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    parts: str | list[Part] | None = None
    choice: Literal["all", "none"] | Part = "all"
    free: dict[str, Any] | bool | str | None = None
    flag: bool | Part | None = None
    stop: (
        Annotated[str, Field(max_length=3)]
        | Annotated[list[str], Field(max_length=2, min_length=1)]
    ) = ""
    count: int = Field(0, ge=0, le=9)
    odd: Annotated[int, AfterValidator(_even)] = 0
    other: str = Field("a", alias="else", min_length=1, pattern="^[a-z]*$")


def found(value: Any, plain: dict[str, str] | None = None) -> list[Mistake]:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate(value)
    return explain(caught.value.errors(), value, plain)


@pytest.mark.parametrize(
    ("value", "where", "said"),
    [
        ({"parts": 5}, "parts", "it must be a string or a list, and is 5"),
        ({"parts": {}}, "parts", "it must be a string or a list, and is an object"),
        ({"parts": ["x"]}, "parts[0]", 'it must be an object, and is "x"'),
        ({"parts": [{"kind": "one"}, {}]}, "parts[1].kind", "it is required, and is missing"),
        (
            {"parts": [{"kind": "no"}]},
            "parts[0].kind",
            'it must be "one" or "two", and is "no"',
        ),
        ({"choice": "some"}, "choice", 'it must be "all", "none" or an object, and is "some"'),
        ({"choice": None}, "choice", 'it must be "all", "none" or an object, and is null'),
        ({"choice": {"kind": 1}}, "choice.kind", 'it must be "one" or "two", and is 1'),
        ({"choice": {}}, "choice.kind", "it is required, and is missing"),
        (
            {"choice": {"kind": "one", "size": 10}},
            "choice.size",
            "it must be less than 10, and is 10",
        ),
        (
            {"choice": {"kind": "one", "size": 0.0}},
            "choice.size",
            "it must be more than 0, and is 0.0",
        ),
        (
            {"choice": {"kind": "one", "size": "1"}},
            "choice.size",
            'it must be a number, and is "1"',
        ),
        ({"free": 5}, "free", "it must be an object, true, false or a string, and is 5"),
        ({"flag": "on"}, "flag", 'it must be true, false or an object, and is "on"'),
        ({"flag": [1]}, "flag", "it must be true, false or an object, and is a list"),
        ({"stop": 5}, "stop", "it must be a string or a list, and is 5"),
        ({"stop": "four"}, "stop", "it may have at most 3 characters, and has 4"),
        ({"stop": ["a", 5]}, "stop[1]", "it must be a string, and is 5"),
        ({"stop": ["a"] * 3}, "stop", "it may hold at most 2 items, and holds 3"),
        ({"stop": []}, "stop", "it must hold at least 1 item"),
        (
            {"stop": HALF},
            "stop",
            "it holds half a surrogate pair, which is no character; send whole characters",
        ),
        ({"count": -1}, "count", "it must be at least 0, and is -1"),
        ({"count": 10}, "count", "it must be at most 9, and is 10"),
        ({"count": 1.5}, "count", "it must be a whole number, and is 1.5"),
        ({"count": "x" * 99}, "count", f'it must be a whole number, and is "{"x" * 49}...'),
        ({"odd": 1}, "odd.deep[3]", "it is odd"),
        ({"else": ""}, "else", "it must have at least 1 character"),
        ({"else": "A"}, "else", "small letters"),
        ({"more": 1}, "more", "Extra inputs are not permitted"),
        (5, "", "it must be an object, and is 5"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_mistake_is_told_with_its_place_and_what_is_expected(
    value: Any, where: str, said: str
) -> None:
    mistake = found(value, {"string_pattern_mismatch": "small letters"})[0]
    assert (mistake.path, mistake.said) == (where, said)


def test_each_mistake_is_told_once_and_in_the_order_of_the_fields() -> None:
    value = {"count": -1, "parts": [{"kind": 1}, 5], "choice": 5}
    assert [mistake.path for mistake in found(value)] == [
        "parts[0].kind",
        "parts[1]",
        "choice",
        "count",
    ]


def test_thousands_of_mistakes_are_told_as_well() -> None:
    assert len(found({"parts": [5] * 20_000})) == 20_000


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ((), ""),
        (("a",), "a"),
        (("messages", 0, "content"), "messages[0].content"),
        (("x-y", "z_1"), "x-y.z_1"),
        (("a", "og:title", 2), 'a["og:title"][2]'),
        (("a", ""), 'a[""]'),
        (("é",), '["\\u00e9"]'),
        (("a", HALF), 'a["\\ud800"]'),
        (("a" * 99,), "a" * 50),
        ((":" * 99,), f'["{":" * 50}"]'),
    ],
    ids=str,
)
def test_a_place_is_written_as_code_would_reach_it(place: Place, shown: str) -> None:
    assert path(place) == shown


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (HALF, ()),
        ({"a": ["b", {"c": f"x{HALF}y"}]}, ("a", 1, "c")),
        ({"a": {HALF: 1}}, ("a", HALF)),
        ([1, NAN, HALF], (1,)),
        ({"b": [float("inf")], "a": HALF}, ("b", 0)),
        ({"a": -float("inf")}, ("a",)),
    ],
    ids=ascii,
)
def test_what_json_can_not_carry_is_found_where_it_stands(value: Any, place: Place) -> None:
    mistake = spoilt(value)
    assert mistake is not None
    assert mistake.place == place
    mistake.path.encode()


def test_what_json_can_carry_is_let_through() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (None, True, 10**100, -1.5, "é🙂\0", {"": [{}]}, deep):
        assert spoilt(value) is None
