from collections.abc import Iterator

import pytest
from converter.house import House
from model.servers import ROOT, ProcessServer, process_server


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """One whose converter is the real one, and reaches no hub."""
    env = {"OV_CONVERT_ENV": str(ROOT / ".venv-convert"), "HF_HUB_OFFLINE": "1"}
    return House(tmp_path_factory.mktemp("house"), env, bound_s=900)


@pytest.fixture(scope="session")
def server(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """`python main.py`, started before there is a registry."""
    folder = tmp_path_factory.mktemp("server")
    with process_server(folder, folder / "cache", house.out / "registry.json") as server:
        yield server
