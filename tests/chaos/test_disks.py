"""Disks without room for the cache: who needs it is told so, others go on, nothing half-written is
taken for whole, and with room again it works."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ov_server.modelfiles import embedded_model
from tests.converter.smalldisk import SmallDisk, small_disk
from tests.model.clients import asking
from tests.model.servers import ROOT, ProcessServer, process_server

pytestmark = pytest.mark.full
ANYWHERE = (str(ROOT / "main.py"),)
FORM = {"response_format": {"type": "json_object"}, "max_tokens": 20}
NOTHING, HALF_A_KERNEL = 1_000_000, 60_000_000
"""Bytes that are left on the disk; a model's compiled kernels take 130 MB."""


class Cramped:
    """A server whose cache lies on a small disk. Where none can be mounted, its processes may not
    write long files."""

    def __init__(self, server: ProcessServer, disk: SmallDisk):
        self.server = server
        self.disk = disk

    def fill(self, left: int) -> None:
        if self.disk.mounted:
            self.disk.fill(left)
        else:
            self._limit(left)

    def free(self) -> None:
        (self.disk.seen / "filler").unlink(missing_ok=True)
        if not self.disk.mounted:
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        process = psutil.Process(self.server.process.pid)
        process.rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def ask(self, model: str, **more: Any) -> Any:
        return self.server.post({**asking("Hello", max_tokens=2), "model": model, **more})

    def kept(self, kind: str) -> list[str]:
        folder = self.disk.seen / kind
        return [entry.suffix for entry in folder.iterdir()] if folder.is_dir() else []


@pytest.fixture
def cramped(tmp_path: Path, converted: Path) -> Iterator[Cramped]:
    registry = tmp_path / "registry.json"
    models = {
        "sound": {"path": str(converted)},
        "file": {"path": str(embedded_model())},
        "kernels": {"path": str(converted), "device": "AUTO:CPU"},
    }
    registry.write_text(json.dumps({"version": 1, "models": models}))
    with small_disk(tmp_path / "cache") as disk:
        before = disk.prefix if disk.mounted else ()
        with process_server(
            tmp_path / "server", tmp_path / "cache", registry, ANYWHERE, before=before
        ) as server:
            yield Cramped(server, disk)


def test_a_full_disk_costs_only_what_needs_it(cramped: Cramped) -> None:
    cramped.fill(NOTHING)
    assert cramped.ask("sound").status_code == 200
    error = cramped.ask("file").json()["error"]
    assert error["code"] == "model_load_failed"
    assert "make room on its disk" in error["message"]
    assert cramped.kept("gguf") == []
    error = cramped.ask("sound", **FORM).json()["error"]
    assert error["code"] == "engine_failed"
    assert "make room on its disk" in error["message"]
    assert cramped.kept("tiny") == []
    assert cramped.ask("sound").status_code == 200
    cramped.free()
    assert cramped.ask("file").status_code == 200
    assert cramped.ask("sound", **FORM).status_code == 200
    assert (cramped.kept("gguf"), cramped.kept("tiny")) == ([""], [""])


def test_compiled_kernels_that_find_no_room_or_are_cut_short_cost_nobody_an_answer(
    cramped: Cramped,
) -> None:
    cramped.fill(HALF_A_KERNEL)
    assert cramped.ask("kernels").status_code == 200
    assert cramped.kept("kernels") == []
    cramped.free()
    cramped.server.act("/v1/models/kernels/unload")
    assert cramped.ask("kernels").status_code == 200
    [blob] = (cramped.disk.seen / "kernels").iterdir()
    size = blob.stat().st_size
    os.truncate(blob, size // 2)  # as a kill in the middle leaves it
    cramped.server.act("/v1/models/kernels/unload")
    assert cramped.ask("kernels").status_code == 200
