"""ov-doctor on this machine as it is, with the real model and a real server."""

import os
import subprocess
from pathlib import Path

from machines import read_page

from .servers import ROOT, ProcessServer


def test_this_machine_has_its_page_and_nothing_is_changed(
    server: ProcessServer, converted: Path, cache: Path, tmp_path: Path
) -> None:
    before = sorted(cache.rglob("*"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OV_")}
    done = subprocess.run(
        [ROOT / "scripts" / "ov-doctor"],
        env=environment
        | {"HOME": str(tmp_path), "HOST": "127.0.0.1", "PORT": str(server.port)}
        | {"OV_DEVICE": "CPU", "OV_CACHE_DIR": str(cache)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    page = read_page(done.returncode, done.stdout)
    line = next(x for x in page.text.splitlines() if "smollm2-135m-instruct on CPU" in x)
    assert line.startswith("  ok ")
    assert "tokens/s" in line
    assert "Paris" in line
    assert f"the server answers on port {server.port}: ok" in page.text
    assert "its devices: CPU (" in page.text
    assert "packages are those of requirements.lock" in page.text
    assert sorted(cache.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []
    assert converted.is_dir()
