from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import asking
from .servers import ProcessServer, process_server


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all servers, so that the embedded model is converted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[ProcessServer]:
    """`python main.py` with the embedded model, loaded."""
    with process_server(tmp_path_factory.mktemp("server"), cache) as server:
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
        yield server


@pytest.fixture(scope="session")
def converted(server: ProcessServer, cache: Path) -> Path:
    """The embedded model as an OpenVINO folder, as the server made it."""
    (folder,) = (cache / "gguf").iterdir()
    return folder
