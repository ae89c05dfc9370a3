import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from model.servers import ROOT, ProcessServer, environment, process_server

DOWNLOADED = ROOT / ".cache" / "SmolLM2-135M-Instruct"
LONGEST_S = 900


class House:
    """A person's folders of models, and the server that reads the registry in them."""

    def __init__(self, folder: Path):
        self.source = folder / "models"
        self.originals = self.source / "og_models"
        self.converted = self.source / "converted_models"
        self.registry = self.converted / "registry.json"
        self.source.mkdir()

    def download(self, name: str) -> Path:
        """A Hugging Face folder under a name of its own, as it lies there after a download."""
        assert DOWNLOADED.exists(), "not made yet: make test-convert does it"
        return Path(shutil.copytree(DOWNLOADED, self.source / name))

    def convert(self, *arguments: str) -> str:
        """What the converter says. It has no terminal and no network; what it fails with is
        shown."""
        done = subprocess.run(
            [ROOT / "scripts" / "ov-convert-model", *arguments],
            env=environment(OV_MODEL_SRC=self.source, HF_HUB_OFFLINE=1),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="session")
def server(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """`python main.py`, started before there is a registry."""
    folder = tmp_path_factory.mktemp("server")
    with process_server(folder, folder / "cache", house.registry) as server:
        yield server
