"""The schemas of the JSON Schema Test Suite as grammars: what is not noted as unenforced holds."""

import json
import re
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from grammars import Sampler
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from ov_server.grammars.completion import Network
from ov_server.grammars.grammar import Grammar, pruned
from ov_server.grammars.schemas import FREE, SchemaError, Schemas, Unenforced

SUITE = Path(__file__).parent / "suite"
DRAFTS = {
    "draft7": jsonschema.Draft7Validator,
    "draft2020-12": jsonschema.Draft202012Validator,
}
FILES = ("suite.json", "suite_optional.json")
TEXTS = 8
"""Drawn of each grammar."""
EXACT = Context(prec=2000)
ENFORCED = 540
"""Of the 640 schemas that are not optional, at least so many are held to in full."""

SPACES = "\\t-\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"
ECMA = {
    ".": "[^\\n\\r\\u2028\\u2029]",
    "$": "\\Z",
    "\\d": "[0-9]",
    "\\D": "[^0-9]",
    "\\w": "[A-Za-z0-9_]",
    "\\W": "[^A-Za-z0-9_]",
    "\\s": f"[{SPACES}]",
    "\\S": f"[^{SPACES}]",
}
"""What means other characters in Python's patterns, outside of classes, than in ECMA-262."""

Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    return json.loads((SUITE / name).read_text("utf-8"))


def stated(case: Case) -> Any:
    """The schema with its draft in it, which those of draft 7 leave to the folder they lie in."""
    schema = case["schema"]
    if isinstance(schema, bool) or "$schema" in schema:
        return schema
    return {"$schema": DRAFTS[case["draft"]].META_SCHEMA["$schema"], **schema}


def judged(node: Any) -> Any:
    """The schema with its patterns as Python has to read them."""
    if isinstance(node, list):
        return [judged(part) for part in node]
    if not isinstance(node, dict):
        return node
    found = {key: judged(value) for key, value in node.items()}
    if isinstance(pattern := found.get("pattern"), str):
        found["pattern"] = in_python(pattern)
    if isinstance(members := found.get("patternProperties"), dict):
        found["patternProperties"] = {in_python(key): value for key, value in members.items()}
    return found


def in_python(pattern: str) -> str:
    parts = r"\\.|\[(?:\\.|[^\]\\])*\]|[.$]"
    return re.sub(parts, lambda found: ECMA.get(found[0], found[0]), pattern)


def translated(case: Case) -> tuple[Grammar, list[Unenforced]] | str:
    """The grammar and what it leaves out, or why there is none."""
    schemas = Schemas(FREE)
    try:
        root = schemas.value(stated(case))
    except SchemaError as error:
        return str(error)
    grammar = pruned(Grammar({**schemas.rules, "root": root}))
    assert grammar is not None, "a schema that no value fits was not refused"
    return grammar, schemas.unenforced


def multiple_of(validator: Validator, step: float, value: Any, schema: Any) -> Any:
    """As the decimal digits say; jsonschema divides doubles."""
    if not validator.is_type(value, "number"):
        return
    if EXACT.remainder(Decimal(repr(value)), Decimal(repr(step))):
        yield jsonschema.ValidationError(f"{value} is no multiple of {step}")


def validator(case: Case) -> Validator:
    exact = jsonschema.validators.extend(DRAFTS[case["draft"]], {"multipleOf": multiple_of})
    checker = DRAFTS[case["draft"]].FORMAT_CHECKER
    return exact(judged(stated(case)), registry=Registry(), format_checker=checker)


def fits(judge: Validator, value: Any) -> bool | None:
    """None: jsonschema can't tell, as a schema or a pattern is not known to it."""
    try:
        return judge.is_valid(value)
    except (Unresolvable, re.error):
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each schema of the suite is a test of its own."""
    for argument, files in (("case", FILES), ("plain_case", FILES[:1])):
        if argument in metafunc.fixturenames:
            found = [case for name in files for case in cases(name)]
            ids = [f"{c['draft']}/{c['file']}: {c['description']}" for c in found]
            metafunc.parametrize(argument, found, ids=ids)


def test_a_text_of_a_schema_that_is_held_to_in_full_is_valid(case: Case) -> None:
    done = translated(case)
    if isinstance(done, str):
        assert done, "a refusal says why"
        return
    grammar, unenforced = done
    judge = validator(case)
    sampler = Sampler(grammar, seed=1)
    for text in (sampler.text() for _ in range(TEXTS)):
        value = json.loads(text)
        if not unenforced:
            assert fits(judge, value) is not False, text


def test_no_invalid_instance_is_a_text_of_a_schema_held_to_in_full(plain_case: Case) -> None:
    done = translated(plain_case)
    if isinstance(done, str) or done[1]:
        return
    network = Network(done[0])
    for instance in plain_case["invalid"]:
        text = json.dumps(instance, ensure_ascii=False, separators=(",", ":"))
        assert network.rest(text) != "", text


def test_most_of_the_suite_is_held_to_in_full() -> None:
    found = [translated(case) for case in cases(FILES[0])]
    assert sum(not isinstance(done, str) and not done[1] for done in found) >= ENFORCED
