"""How much chaos: a short part in `make test`, all of it in `make test-chaos`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.model.clients import asking
from tests.model.servers import ProcessServer, process_server


@dataclass(frozen=True)
class Scale:
    """`clients` stream at once for `seconds`; so many `requests` and `rounds` in the search for
    leaks; so many `bodies` are made up."""

    clients: int
    seconds: int
    requests: int
    rounds: int
    bodies: int


SHORT = Scale(clients=40, seconds=6, requests=150, rounds=3, bodies=400)
FULL = Scale(clients=200, seconds=60, requests=2000, rounds=20, bodies=10_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="all of the chaos, which takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: belongs to all of the chaos alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        items[:] = [item for item in items if item.get_closest_marker("full") is None]


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    return FULL if request.config.getoption("--full") else SHORT


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The embedded model as an OpenVINO folder, as a server makes it."""
    with process_server(tmp_path_factory.mktemp("converting"), cache) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
    (folder,) = (cache / "gguf").iterdir()
    return folder


@pytest.fixture
def server(tmp_path: Path, cache: Path, converted: Path) -> Iterator[ProcessServer]:
    with process_server(tmp_path / "server", cache) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures that tests have recorded."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
