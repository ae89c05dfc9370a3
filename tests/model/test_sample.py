"""A model's first words: what the converter goes by before a conversion counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from converter.house import House

from ov_server.engines import load_engine
from ov_server.entries import Entry
from ov_server.errors import LoadFailed
from ov_server.modelfiles import embedded_model, inspect
from ov_server.pipelines import load_tokenizer
from ov_server.settings import Settings
from ov_server.tinymodel import write


@pytest.fixture(scope="session")
def babbling(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads and says one token for ever."""
    folder = tmp_path_factory.mktemp("babbling")
    write(folder, converted, max(load_tokenizer(converted).get_vocab().values()) + 1)
    return folder


def sampled(cache: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ov_server.sample", *words]
    env = os.environ | {"OV_CACHE_DIR": str(cache)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_a_model_says_its_first_words(converted: Path, cache: Path) -> None:
    done = sampled(cache, converted)
    assert done.returncode == 0
    assert done.stdout == 'It says: "The capital of France is Paris."\n'


def test_a_gguf_file_does_so_too_and_figures_come_with_it(server: object, cache: Path) -> None:
    model = embedded_model()
    assert model is not None
    said = json.loads(sampled(cache, model, "--json", "--tokens", "4").stdout)
    assert said["text"] == "The capital of France"
    assert said["tokens"] == 4
    assert said["seconds"] > 0


def test_one_that_only_repeats_itself_is_no_model(babbling: Path, cache: Path) -> None:
    done = sampled(cache, babbling)
    assert done.returncode == 1
    assert "one token again and again" in done.stderr


def test_what_does_not_load_says_why(tmp_path: Path, cache: Path) -> None:
    done = sampled(cache, tmp_path)
    assert done.returncode == 1
    assert "openvino_model.xml" in done.stderr
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    assert "openvino_model.bin" in sampled(cache, tmp_path).stderr
    (tmp_path / "openvino_model.bin").touch()
    assert "openvino_tokenizer.xml" in sampled(cache, tmp_path).stderr
    (tmp_path / "openvino_tokenizer.xml").write_text("<net/>")
    done = sampled(cache, tmp_path, "--device", "CPU")
    assert done.returncode == 1
    assert "it does not run on CPU" in done.stderr


def test_a_conversion_counts_when_it_speaks(
    tmp_path: Path, converted: Path, babbling: Path, cache: Path
) -> None:
    house = House(tmp_path / "home", {"OV_CACHE_DIR": str(cache)})
    house.model("Speaks")
    house.model("Babbles")
    done = house.call("--yes", "Speaks", STAND_IN_MODEL=str(converted))
    assert done.returncode == 0, done.stdout
    assert 'It says: "The capital of France is Paris."' in done.stdout
    done = house.call("--yes", "Babbles", STAND_IN_MODEL=str(babbling))
    assert done.returncode == 1
    assert "failed   Babbles: it was converted, but it loads, but says one token" in done.stdout
    assert set(house.registry) == {"speaks"}
    assert (house.source / "Babbles").is_dir()


def test_models_are_registered_where_they_are(
    tmp_path: Path, converted: Path, babbling: Path, cache: Path
) -> None:
    house = House(tmp_path / "home", {"OV_CACHE_DIR": str(cache)})
    file = embedded_model()
    assert file is not None
    assert house.call("--import", str(file), "--name", "Small").returncode == 0
    assert house.call("--import", str(converted), "--name", "As IR").returncode == 0
    done = house.call("--import", str(babbling))
    assert done.returncode == 2
    assert "So it is not registered" in done.stdout
    assert set(house.registry) == {"small", "as-ir"}
    assert house.registry["small"] | {"weight_format": "gguf"} == house.registry["small"]
    assert Path(house.registry["as-ir"]["path"]) == converted
    assert house.call("--yes", "--remove", "as-ir").returncode == 0
    assert (converted / "openvino_model.xml").is_file()
    assert set(house.registry) == {"small"}


def test_a_model_of_another_task_is_not_loaded_as_one_that_chats(converted: Path) -> None:
    entry = Entry(name="a", path=converted, task="feature-extraction")
    with pytest.raises(LoadFailed, match="is for feature-extraction"):
        load_engine(entry, inspect(converted), Settings())
