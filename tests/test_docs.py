"""The documents name everything that a person can set, send or ask for."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

import main
from ov_server import modelroutes, proberoutes, sessionroutes
from ov_server.entries import Entry
from ov_server.openai import ChatBody
from ov_server.refusals import REFUSED
from ov_server.settings import Settings

ROOT = Path(__file__).parent.parent
ROUTERS = (main.router, modelroutes.router, proberoutes.router, sessionroutes.router)
ROUTES = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]


def words(document: str) -> set[str]:
    """What stands in a document between backquotes."""
    text = (ROOT / document).read_text("utf-8")
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split()}


def default(name: str) -> str:
    """A setting's default as a person would write it; empty when it has none."""
    value = Settings.model_fields[name].default
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).replace(str(Path.home()), "~")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_in_the_readme_with_its_default(name: str) -> None:
    variable = f"OV_{name.upper()}"
    lines = [x for x in (ROOT / "README.md").read_text("utf-8").splitlines() if variable in x]
    assert lines
    if said := default(name):
        assert [x for x in lines if re.search(rf"(?<![\w.]){re.escape(said)}(?![\w.])", x)]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_in_the_environment_file_with_its_default(name: str) -> None:
    lines = (ROOT / "ov-server.env").read_text("utf-8").splitlines()
    assert f"OV_{name.upper()}={default(name)}" in [
        line.removeprefix("#").strip() for line in lines
    ]


def test_the_environment_file_has_no_other_variables() -> None:
    text = (ROOT / "ov-server.env").read_text("utf-8")
    known = {f"OV_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"OV_[A-Z_]+", text)) <= known


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_a_route_is_in_the_specification(path: str) -> None:
    text = (ROOT / "SERVICE_SPEC.md").read_text("utf-8")
    plain = path.replace("{name:path}", "{name}")
    assert plain in text or plain.removeprefix("/v1") in text


@pytest.mark.parametrize("name", ChatBody.model_fields)
def test_a_field_of_a_request_is_in_the_specification(name: str) -> None:
    assert name in words("SERVICE_SPEC.md")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_field_is_in_the_specification(name: str) -> None:
    assert name in words("SERVICE_SPEC.md")


@pytest.mark.parametrize("name", [name for name in Entry.model_fields if name != "name"])
def test_a_key_of_an_entry_is_in_the_registrys_format(name: str) -> None:
    assert name in words("docs/REGISTRY_FORMAT.md")
