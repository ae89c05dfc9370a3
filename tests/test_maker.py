"""How pipelines are made where something fails."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePipeline, FakeRuntime

from ov_server.cancellation import Cancellation
from ov_server.machine import Machine, Resident
from ov_server.maker import Maker, Site
from ov_server.remote import Start
from ov_server.settings import Settings
from ov_server.stepping import Pipeline, PipelineHung, PipelineLost


class Working(FakePipeline):
    capacity, pid = 640, 4711


@dataclass
class Shop:
    """A machine whose pipelines come or fail as they are told."""

    errors: deque[Exception] = field(default_factory=deque)
    serial_error: Exception | None = None
    started: list[Start] = field(default_factory=list)
    cancellation: Cancellation = field(default_factory=Cancellation)

    def paged(self, start: Start, cancellation: Cancellation) -> Resident:
        assert cancellation is self.cancellation
        self.started.append(start)
        if self.errors:
            raise self.errors.popleft()
        return Working(FakeRuntime())

    def serial(
        self, path: Path, tokenizer: Any, device: str, properties: dict[str, Any]
    ) -> Pipeline:
        assert (path, tokenizer, device) == (Path("model"), "a tokenizer", "GPU")
        if self.serial_error is not None:
            raise self.serial_error
        return FakePipeline(FakeRuntime())

    def make(self, device: str = "GPU") -> tuple[Pipeline, Site]:
        machine = Machine(list, str, "2026.4", str, self.paged, self.serial)
        settings = Settings(cache_dir=Path("/cache"), prefill_chunk=256)
        maker = Maker(machine, Path("model"), "a tokenizer", settings, self.cancellation)
        return maker.make(device, 3)


def test_a_pipeline_is_made_in_a_process_of_its_own() -> None:
    shop = Shop()
    pipeline, site = shop.make()
    assert isinstance(pipeline, Working)
    assert site == Site(640, 4711)
    properties = {"ENABLE_MMAP": False, "CACHE_DIR": "/cache/kernels"}
    assert shop.started == [Start(Path("model"), "GPU", properties, 3, 256)]


@pytest.mark.parametrize(
    ("device", "more"),
    [
        ("CPU", set()),
        ("NPU", {"CACHE_DIR"}),
        ("AUTO", {"CACHE_DIR", "ENABLE_STARTUP_FALLBACK"}),
        ("AUTO:GPU,CPU", {"CACHE_DIR", "ENABLE_STARTUP_FALLBACK"}),
    ],
)
def test_what_a_device_is_told(device: str, more: set[str]) -> None:
    shop = Shop()
    shop.make(device)
    assert shop.started[0].properties.keys() == {"ENABLE_MMAP"} | more


def test_a_process_that_is_lost_is_started_once_more() -> None:
    shop = Shop(deque([PipelineLost("it ended")]))
    assert shop.make()[1].paged
    shop = Shop(deque([PipelineLost("it ended"), PipelineLost("it ended again")]))
    with pytest.raises(PipelineLost, match="again"):
        shop.make()


def test_one_that_hangs_or_is_called_off_is_not() -> None:
    shop = Shop(deque([PipelineHung("no answer")]))
    with pytest.raises(PipelineHung):
        shop.make()
    assert len(shop.started) == 1
    shop = Shop(deque([PipelineLost("it ended")]))
    shop.cancellation.call()
    with pytest.raises(PipelineLost):
        shop.make()
    assert len(shop.started) == 1


def test_without_paged_attention_requests_come_one_by_one() -> None:
    _, site = Shop(deque([RuntimeError("no paged attention")])).make()
    assert not site.paged
    assert site.warning is not None
    assert "one request at a time" in site.warning
    assert "no paged attention" in site.warning


def test_what_does_neither_says_why_the_first_did_not() -> None:
    with pytest.raises(RuntimeError, match="the first reason"):
        Shop(deque([RuntimeError("the first reason")]), RuntimeError("another")).make()
