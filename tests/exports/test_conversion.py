"""A download becomes a model that answers by its name, while the server runs."""

import shutil
from pathlib import Path

import pytest
from converter.house import House
from model.clients import asking
from model.servers import ROOT, ProcessServer

DOWNLOAD = ROOT / ".cache" / "SmolLM2-135M-Instruct"
"""What `make test-convert` makes: a Hugging Face folder of the embedded model's weights."""
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
    download = Path(shutil.copytree(DOWNLOAD, house.source / f"SmolLM2 {form}"))
    original = sizes(download)
    question = {**asking("What is the capital of France?", temperature=0), "model": name}
    assert server.post(question).status_code == 404

    done = house.call("--name", name, "--weight-format", form, download.name)
    assert done.returncode == 0, done.stdout
    assert "It says: " in done.stdout

    answer = server.post(question).json()
    assert answer["model"] == name
    assert "Paris" in answer["choices"][0]["message"]["content"]
    folder = house.out / name / f"task-{TASK}__wf-{form}"
    assert sizes(folder)["openvino_model.bin"] < share * original["model.safetensors"]
    [record] = [record for record in house.records if record["name"] == name]
    assert record["weight_format"] == form
    assert record["versions"]["openvino"].startswith("20")
    assert (house.out / house.registry[name]["path"]).samefile(folder)
    assert not download.exists()
    assert sizes(house.og / download.name) == original
    assert house.left_behind == []
