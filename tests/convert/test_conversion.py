"""A download becomes a model that answers by its name, while the server runs."""

import json
from pathlib import Path

import pytest
from model.clients import asking
from model.servers import ProcessServer

from .conftest import House

TASK = "text-generation-with-past"


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file, by its path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


@pytest.mark.parametrize(("form", "share"), [("int8", 0.6), ("int4", 0.45)])
def test_a_download_answers_by_its_new_name(
    house: House, server: ProcessServer, form: str, share: float
) -> None:
    name = f"smollm2-{form}"
    download = house.download(f"SmolLM2 {form}")
    original = sizes(download)
    question = {**asking("What is the capital of France?", temperature=0), "model": name}
    assert server.post(question).status_code == 404

    house.convert("--name", name, "--weight-format", form, str(download))

    answer = server.post(question).json()
    assert answer["model"] == name
    assert "Paris" in answer["choices"][0]["message"]["content"]
    folder = house.converted / name / f"task-{TASK}__wf-{form}"
    made = sizes(folder)
    assert made["openvino_model.bin"] < share * original["model.safetensors"]
    record = json.loads((folder / "conversion.json").read_text())
    assert record["weight_format"] == form
    entry = json.loads(house.registry.read_text())["models"][name]
    assert (house.registry.parent / entry["path"]).samefile(folder)
    assert not download.exists()
    assert sizes(house.originals / download.name) == original
