"""A GPU that answers garbage, one that answers right, and what a server makes of them. The real
model on the CPU stands for both, what it says is changed where a GPU is to be wrong.
"""

import json
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from main import create_app
from ov_server.cancellation import Cancellation
from ov_server.core import Engine
from ov_server.engines import load_engine, this_machine
from ov_server.entries import Entry
from ov_server.machine import Machine
from ov_server.modelfiles import ModelFiles
from ov_server.pipelines import Serial
from ov_server.remote import RemotePipeline, Start
from ov_server.settings import Settings
from ov_server.stepping import Output

from .clients import asking
from .servers import MODEL, ThreadServer
from .waiting import BOUND_S, until

GARBAGE = 17
"""A token; which one is nobody's business."""


class Garbled(RemotePipeline):
    """Every token is another one."""

    def step(self) -> list[Output]:
        return [o._replace(tokens=[GARBAGE] * len(o.tokens)) for o in super().step()]


class GarbledSerial(Serial):
    def step(self) -> list[Output]:
        return [o._replace(tokens=[GARBAGE] * len(o.tokens)) for o in super().step()]


@dataclass
class House:
    """A machine with a GPU, in which CPUs work, and a registry with the embedded model."""

    folder: Path
    model: Path
    on_gpu: Callable[[Start, Cancellation], RemotePipeline] = RemotePipeline
    unpaged: bool = False
    serial_on_gpu: type[Serial] = Serial
    made: list[str] = field(default_factory=list)
    """The devices that pipelines were made on."""

    def paged(self, start: Start, cancellation: Cancellation) -> RemotePipeline:
        self.made.append(start.device)
        if self.unpaged:
            raise RuntimeError("there is no paged attention here")
        make = self.on_gpu if start.device == "GPU" else RemotePipeline
        return make(replace(start, device="CPU"), cancellation)

    def serial(self, path: Path, tokenizer: Any, device: str, properties: dict[str, Any]) -> Serial:
        kind = self.serial_on_gpu if device == "GPU" else Serial
        return kind(path, tokenizer, "CPU", properties)

    @property
    def machine(self) -> Machine:
        names = {"CPU": "a processor", "GPU": "an old one"}
        own = replace(this_machine(), devices=lambda: list(names), name=lambda name: names[name])
        return replace(own, paged=self.paged, serial=self.serial)

    def load(
        self, entry: Entry, files: ModelFiles, settings: Settings, cancellation: Cancellation
    ) -> Engine:
        return load_engine(entry, files, settings, cancellation, self.machine)

    def probe(self, asked: str) -> tuple[str, str, str | None]:
        used, warning = self.machine.choose(asked)
        return used, self.machine.name(used), warning

    @contextmanager
    def server(self) -> Generator[ThreadServer]:
        registry = self.folder / "registry.json"
        registry.write_text(
            json.dumps({"version": 1, "models": {MODEL: {"path": str(self.model)}}})
        )
        settings = Settings(
            device="GPU", cache_dir=self.folder / "cache", registry_path=registry, kv_cache_gb=1
        )
        with ThreadServer(settings, create_app(settings, self.load, self.probe)) as server:
            yield server


@pytest.fixture
def house(tmp_path: Path, converted: Path) -> House:
    return House(tmp_path, converted)


def capital(server: ThreadServer) -> str:
    done = server.post(asking("What is the capital of France?", temperature=0, max_tokens=12))
    assert done.status_code == 200, done.text
    return done.json()["choices"][0]["message"]["content"]


def test_a_gpu_that_says_garbage_serves_nobody(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.on_gpu = Garbled
    with house.server() as server:
        assert "Paris" in capital(server)
        assert house.made == ["CPU", "GPU", "CPU"]
        health = server.health()
        assert health["status"] == "degraded"
        assert health["device"]["used"] == "GPU"
        assert health["device"]["by_model"] == {MODEL: "CPU"}
        [reason] = health["reasons"]
        assert reason.startswith(f"{MODEL}: GPU answers otherwise than CPU (")
        assert ', not "The capital of France is' in reason
        assert "so it runs on CPU; fp16 or int8 may be right there" in reason
        until(lambda: workers() == 1, "the others to be gone")
        assert server.act(f"/v1/models/{MODEL}/unload").json()["state"] == "unloaded"
        house.made.clear()
        assert "Paris" in capital(server)
        assert house.made == ["CPU"]
        assert server.health()["reasons"] == [reason]
    told = [line for line in capsys.readouterr().err.splitlines() if " WARNING loaded " in line]
    assert ["GPU answers otherwise than CPU" in line for line in told] == [True, True]


def workers() -> int:
    children = psutil.Process().children()
    return sum("ov_server.worker" in child.cmdline() for child in children)


def test_a_gpu_that_answers_as_the_cpu_serves(house: House) -> None:
    with house.server() as server:
        assert "Paris" in capital(server)
        assert house.made == ["CPU", "GPU"]
        health = server.health()
        assert (health["status"], health["reasons"]) == ("ok", [])
        assert health["device"]["by_model"] == {MODEL: "GPU"}
        assert server.act(f"/v1/models/{MODEL}/unload").json()["state"] == "unloaded"
        house.made.clear()
        assert "Paris" in capital(server)
        assert house.made == ["GPU"]


def test_garbage_without_paged_attention_is_found_as_well(house: House) -> None:
    house.unpaged, house.serial_on_gpu = True, GarbledSerial
    with house.server() as server:
        assert "Paris" in capital(server)
        health = server.health()
        assert health["device"]["by_model"] == {MODEL: "CPU"}
        [reason] = health["reasons"]
        assert "GPU answers otherwise than CPU" in reason
        assert "there is no paged attention here" in reason


def test_a_load_is_called_off_in_the_middle_of_the_test(house: House) -> None:
    trying = threading.Event()

    class Slow(RemotePipeline):
        """Its worker stands still when it has been asked."""

        def step(self) -> list[Output]:
            psutil.Process(self.pid).suspend()
            trying.set()
            return super().step()

    house.on_gpu = Slow
    with house.server() as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.act, f"/v1/models/{MODEL}/load")
        assert trying.wait(BOUND_S)
        server.on_loop(server.app.state.models.stop())
        assert waiting.result(BOUND_S).status_code == 503
        assert workers() == 0
    assert not (house.folder / "cache" / "verdicts").exists()


def test_a_worker_that_is_lost_later_is_replaced_without_another_test(house: House) -> None:
    with house.server() as server:
        assert "Paris" in capital(server)
        [worker] = [c for c in psutil.Process().children() if "ov_server.worker" in c.cmdline()]
        worker.kill()
        assert "Paris" in capital(server)
        assert house.made == ["CPU", "GPU", "GPU"]
        assert server.health()["reasons"] == []
