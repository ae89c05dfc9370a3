"""Models: who gets which engine, when it loads, when it goes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fakes import (
    FakeClock,
    FakeEngine,
    FakeLoader,
    Visit,
    happens,
    model_folder,
    models_on_disk,
    put,
    settled,
    soon,
    write_registry,
)

from main import Models, Registry
from ov_server.errors import LoadFailed, ModelNotFound, Unavailable
from ov_server.settings import Settings

pytestmark = pytest.mark.anyio


class House:
    """Models with everything around them that a test may hold, turn or break."""

    def __init__(self, folder: Path, *names: str, keys: dict[str, Any] | None = None, **said: Any):
        self.folder = folder
        self.registry_path = models_on_disk(folder, *names, **(keys or {}))
        self.registry = Registry(self.registry_path)
        self.loader = FakeLoader()
        self.clock = FakeClock()
        settings = Settings.model_validate(
            {"registry_path": self.registry_path, "kv_cache_gb": 1, **said}
        )
        self.models = Models(self.registry, settings, self.loader, self.clock)

    def visit(self, name: str) -> Visit:
        return Visit(self.models, name)

    async def pass_by(self, name: str) -> FakeEngine:
        """A whole request."""
        visit = self.visit(name)
        engine = await visit.engine()
        await visit.end()
        assert isinstance(engine, FakeEngine)
        return engine

    @property
    def loaded(self) -> list[str]:
        return sorted(name for name, slot in self.models.slots().items() if slot.engine)


async def test_a_lease_gives_the_models_engine_and_keeps_it_for_the_next(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    first = await house.pass_by("a")
    assert first.name == "a"
    assert await house.pass_by("a") is first
    assert house.loader.begun == ["a"]


async def test_an_alias_leads_to_the_same_engine(tmp_path: Path) -> None:
    house = House(tmp_path, "a", keys={"a": {"aliases": ["gpt-4o"]}})
    assert await house.pass_by("gpt-4o") is await house.pass_by("a")


async def test_any_number_of_waiters_share_one_load(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    gate = house.loader.hold("a")
    visits = [house.visit("a") for _ in range(20)]
    await happens(gate.reached)
    assert all(visit.waits for visit in visits)
    gate.open.set()
    engines = {id(await visit.engine()) for visit in visits}
    assert len(engines) == 1
    assert house.loader.begun == ["a"]


async def test_the_loop_goes_on_while_a_model_loads(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    await house.pass_by("b")
    gate = house.loader.hold("a")
    slow = house.visit("a")
    await happens(gate.reached)
    await house.pass_by("b")
    assert slow.waits
    assert house.models.slots()["a"].state == "loading"
    gate.open.set()
    await slow.engine()


async def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    with pytest.raises(ModelNotFound, match="Models here: a"):
        await house.visit("b").engine()


# Loads that fail.


async def test_a_failed_load_answers_all_waiters_and_the_next_request_tries_again(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, "a")
    house.loader.errors["a"] = LoadFailed("no such layer")
    gate = house.loader.hold("a")
    visits = [house.visit("a") for _ in range(3)]
    await happens(gate.reached)
    gate.open.set()
    for visit in visits:
        with pytest.raises(LoadFailed, match="no such layer"):
            await visit.engine()
    await settled()
    assert house.loader.begun == ["a"]
    assert house.models.slots() == {}
    await house.pass_by("a")
    assert house.loader.begun == ["a", "a"]


async def test_an_unexpected_error_of_a_load_is_told_without_its_text(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    house.loader.errors["a"] = RuntimeError("secret")
    with pytest.raises(LoadFailed) as caught:
        await house.visit("a").engine()
    assert "secret" not in caught.value.message


async def test_a_model_whose_files_are_gone_does_not_load(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    (tmp_path / "a" / "openvino_model.xml").unlink()
    with pytest.raises(LoadFailed, match=r"openvino_model\.xml"):
        await house.visit("a").engine()
    assert house.loader.begun == []


async def test_a_loaded_model_outlives_its_files(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    engine = await house.pass_by("a")
    (tmp_path / "a" / "openvino_model.xml").unlink()
    assert await house.pass_by("a") is engine


async def test_files_being_written_do_not_replace_what_is_loaded(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    engine = await house.pass_by("a")
    put(tmp_path / "a" / "openvino_model.bin", "half of", age_s=0)
    assert await house.pass_by("a") is engine
    put(tmp_path / "a" / "openvino_model.bin", "half of it, and the rest")
    assert await house.pass_by("a") is not engine


async def test_a_failed_load_lets_the_next_model_load(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    house.loader.errors["a"] = LoadFailed("broken")
    bad, good = house.visit("a"), house.visit("b")
    with pytest.raises(LoadFailed):
        await bad.engine()
    assert await good.engine()


# Room.


async def test_the_least_recently_used_model_makes_room(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", "c", max_loaded=2)
    for name in ("a", "b", "a"):
        house.clock.advance(1)
        await house.pass_by(name)
    await house.pass_by("c")
    assert house.loaded == ["a", "c"]
    assert [engine.name for engine in house.loader.engines if engine.closed.is_set()] == ["b"]


async def test_an_evicted_model_has_left_before_the_next_one_loads(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    first = await house.pass_by("a")
    gate = house.loader.hold("b")
    visit = house.visit("b")
    await happens(gate.reached)
    assert first.closed.is_set()
    gate.open.set()
    await visit.engine()


async def test_a_busy_model_is_waited_for(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    busy = house.visit("a")
    engine = await busy.engine()
    assert isinstance(engine, FakeEngine)
    other = house.visit("b")
    await settled()
    assert other.waits
    assert not engine.closed.is_set()
    await busy.end()
    await other.engine()
    assert engine.closed.is_set()
    assert house.loaded == ["b"]


async def test_nobody_overtakes_a_model_that_waits_for_room(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    busy = house.visit("a")
    await busy.engine()
    waiting = house.visit("b")
    await settled()
    late = house.visit("a")
    await settled()
    assert late.waits
    await busy.end()
    await waiting.engine()
    assert late.waits
    await waiting.end()
    await late.engine()
    assert house.loader.begun == ["a", "b", "a"]


async def test_those_who_are_held_back_for_it_may_pass_after_a_while(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    busy = house.visit("a")
    engine = await busy.engine()
    waiting = house.visit("b")
    await settled()
    late = house.visit("a")
    await settled()
    assert late.waits
    house.clock.advance(20)
    assert await late.engine() is engine
    await late.end()
    house.clock.advance(40)
    later = house.visit("a")
    await settled()
    assert later.waits, "now the other one may have its turn"
    await busy.end()
    await waiting.engine()
    await waiting.end()
    await later.engine()
    house.clock.advance(1000)
    assert (await house.pass_by("a")).name == "a"


async def test_unloads_under_requests_do_not_make_ever_more_engines(tmp_path: Path) -> None:
    house = House(tmp_path, "a", max_loaded=2)
    visits = []
    for _ in range(3):
        visits.append(house.visit("a"))
        await visits[-1].engine()
        await house.models.unload("a")
    last = house.visit("a")
    await settled()
    assert last.waits
    await visits[0].end()
    await last.engine()


async def test_those_who_were_held_back_go_on_when_the_waiting_one_leaves(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    busy = house.visit("a")
    engine = await busy.engine()
    waiting = house.visit("b")
    await settled()
    late = house.visit("a")
    await settled()
    await waiting.leave()
    assert await late.engine() is engine
    assert house.loader.begun == ["a"]


async def test_a_pinned_model_answers_while_another_waits_for_room(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", "p", keys={"p": {"pinned": True}}, max_loaded=2)
    pinned = await house.pass_by("p")
    busy = house.visit("a")
    await busy.engine()
    waiting = house.visit("b")
    await settled()
    assert waiting.waits
    assert await house.pass_by("p") is pinned
    await busy.end()
    await waiting.engine()
    assert house.loaded == ["b", "p"]


async def test_pinned_models_in_every_place_are_a_refusal(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "p", keys={"p": {"pinned": True}}, max_loaded=1)
    await house.pass_by("p")
    with pytest.raises(Unavailable, match="OV_MAX_LOADED"):
        await house.visit("a").engine()
    assert house.loader.begun == ["p"]
    await house.pass_by("p")


async def test_the_memory_limit_refuses_before_the_load(tmp_path: Path) -> None:
    house = House(tmp_path, "a", memory_limit_gb=0.5)
    with pytest.raises(Unavailable, match=r"needs 1\.0 GB.*OV_MEMORY_LIMIT_GB"):
        await house.visit("a").engine()
    assert house.loader.begun == []


async def test_the_memory_limit_counts_weights_and_kv_caches(tmp_path: Path) -> None:
    keys = {"big": {"kv_cache_gb": 2}}
    house = House(tmp_path, "a", "b", "big", keys=keys, memory_limit_gb=3.5)
    await house.pass_by("a")
    house.clock.advance(1)
    await house.pass_by("b")
    assert house.loaded == ["a", "b"]
    await house.pass_by("big")
    assert house.loaded == ["b", "big"]


async def test_memory_counts_until_it_is_given_back(tmp_path: Path) -> None:
    """A replaced model that still answers takes its memory; the new one waits for it."""
    house = House(tmp_path, "a", memory_limit_gb=1.5)
    busy = house.visit("a")
    old = await busy.engine()
    model_folder(tmp_path, "a", weights=200)
    new = house.visit("a")
    await settled()
    assert new.waits
    await busy.end()
    assert await new.engine() is not old


async def test_an_engine_that_fails_to_close_does_not_keep_its_room(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", "c", memory_limit_gb=1.5)
    engine = await house.pass_by("a")
    engine.close_error = RuntimeError("the device is lost")
    assert await house.pass_by("b")
    assert await house.pass_by("c")


# Hot swap.


async def test_a_model_converted_again_is_picked_up_while_requests_run(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    running = [house.visit("a"), house.visit("a")]
    old = await running[0].engine()
    assert isinstance(old, FakeEngine)
    model_folder(tmp_path, "a", weights=200)
    new = await house.pass_by("a")
    assert new is not old
    assert await running[1].engine() is old
    await running[0].end()
    await settled()
    assert not old.closed.is_set()
    await running[1].end()
    await happens(old.closed)
    assert not new.closed.is_set()
    assert await house.pass_by("a") is new


async def test_another_device_in_the_entry_is_another_engine(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    old = await house.pass_by("a")
    write_registry(house.registry_path, {"a": {"path": "a", "device": "NPU"}})
    assert await house.pass_by("a") is not old
    await happens(old.closed)


async def test_other_defaults_in_the_entry_are_not_another_engine(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    engine = await house.pass_by("a")
    write_registry(house.registry_path, {"a": {"path": "a", "defaults": {"temperature": 0}}})
    assert await house.pass_by("a") is engine


async def test_a_model_replaced_while_it_loads_serves_its_waiters_and_goes(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    gate = house.loader.hold("a")
    early = house.visit("a")
    await happens(gate.reached)
    model_folder(tmp_path, "a", weights=200)
    late = house.visit("a")
    await settled()
    gate.open.set()
    old, new = await early.engine(), await late.engine()
    assert old is not new
    assert isinstance(old, FakeEngine)
    await early.end()
    await happens(old.closed)
    assert house.models.slots()["a"].engine is new


async def test_a_model_that_left_the_registry_is_freed(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    gone = await house.pass_by("a")
    write_registry(house.registry_path, {"b": {"path": "b"}})
    await house.pass_by("b")
    await happens(gone.closed)
    assert house.loaded == ["b"]


async def test_a_broken_registry_frees_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    engine = await house.pass_by("a")
    house.registry_path.write_text('{"version": 1, "mod')
    await house.pass_by("b")
    assert await house.pass_by("a") is engine


async def test_a_failed_engine_is_loaded_anew_by_the_next_request(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    broken = await house.pass_by("a")
    broken.failed = True
    await settled()
    assert house.loader.begun == ["a"]
    assert await house.pass_by("a") is not broken
    await happens(broken.closed)


async def test_a_failed_engine_does_not_outlive_its_files(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    broken = await house.pass_by("a")
    broken.failed = True
    (tmp_path / "a" / "openvino_model.xml").unlink()
    with pytest.raises(LoadFailed, match=r"openvino_model\.xml"):
        await house.visit("a").engine()
    put(tmp_path / "a" / "openvino_model.xml", "<net/>")
    assert await house.pass_by("a") is not broken


@pytest.mark.parametrize("years", [-10, 10])
async def test_files_of_a_clock_that_was_wrong_are_taken_at_once(
    tmp_path: Path, years: int
) -> None:
    house = House(tmp_path, "a")
    engine = await house.pass_by("a")
    put(tmp_path / "a" / "openvino_model.bin", "another one", age_s=years * 365 * 86400)
    another = await house.pass_by("a")
    assert another is not engine
    assert await house.pass_by("a") is another


# Idle models.


async def test_an_idle_model_is_unloaded(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    engine = await house.pass_by("a")
    house.clock.advance(59)
    await settled()
    assert house.loaded == ["a"]
    house.clock.advance(1)
    await happens(engine.closed)
    assert house.models.slots() == {}


async def test_a_request_starts_the_idle_time_again(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    engine = await house.pass_by("a")
    house.clock.advance(59)
    await house.pass_by("a")
    house.clock.advance(59)
    await settled()
    assert house.loaded == ["a"]
    house.clock.advance(1)
    await happens(engine.closed)


async def test_a_model_at_work_is_not_idle(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    await house.pass_by("a")
    long, short = house.visit("a"), house.visit("a")
    await long.engine()
    await short.engine()
    await short.end()
    house.clock.advance(1000)
    await settled()
    assert house.loaded == ["a"]
    await long.end()
    house.clock.advance(59)
    await settled()
    assert house.loaded == ["a"]


async def test_zero_keeps_models_loaded(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=0)
    await house.pass_by("a")
    house.clock.advance(1e9)
    await settled()
    assert house.loaded == ["a"]


async def test_the_entry_decides_its_own_idle_time(tmp_path: Path) -> None:
    keys = {"a": {"idle_unload_s": 10}, "p": {"idle_unload_s": 10, "pinned": True}}
    house = House(tmp_path, "a", "b", "p", keys=keys, idle_unload_s=60)
    for name in ("a", "b", "p"):
        await house.pass_by(name)
    house.clock.advance(10)
    await settled()
    assert house.loaded == ["b", "p"]
    house.clock.advance(1000)
    await settled()
    assert house.loaded == ["p"]


async def test_a_model_that_was_replaced_does_not_take_its_successor_along(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    await house.pass_by("a")
    house.clock.advance(30)
    model_folder(tmp_path, "a", weights=200)
    new = await house.pass_by("a")
    house.clock.advance(30)
    await settled()
    assert house.models.slots()["a"].engine is new


# Clients that leave.


async def test_nothing_loads_for_a_client_that_left_while_others_loaded(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    gate = house.loader.hold("a")
    first, second = house.visit("a"), house.visit("b")
    await happens(gate.reached)
    await second.leave()
    gate.open.set()
    await first.engine()
    await settled()
    assert house.loader.begun == ["a"]


async def test_one_of_two_leaving_changes_nothing_for_the_other(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    gate = house.loader.hold("a")
    house.visit("a")
    leaving, staying = house.visit("b"), house.visit("b")
    await happens(gate.reached)
    await leaving.leave()
    gate.open.set()
    assert await staying.engine()


async def test_a_load_whose_client_left_is_kept_and_idles(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    gate = house.loader.hold("a")
    visit = house.visit("a")
    await happens(gate.reached)
    await visit.leave()
    next_one = house.visit("a")
    await settled()
    gate.open.set()
    await next_one.engine()
    await next_one.end()
    assert house.loader.begun == ["a"]
    house.clock.advance(60)
    await settled()
    assert house.loaded == []


async def test_a_load_that_nobody_waits_for_any_more_is_unloaded_when_idle(tmp_path: Path) -> None:
    house = House(tmp_path, "a", idle_unload_s=60)
    gate = house.loader.hold("a")
    visit = house.visit("a")
    await happens(gate.reached)
    await visit.leave()
    fill = house.models.slots()["a"].fill
    assert fill is not None
    gate.open.set()
    await soon(fill)
    house.clock.advance(60)
    await happens(house.loader.engines[0].closed)


# Pinned ones and the end.


async def test_warming_loads_and_a_failure_is_no_error(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    house.loader.errors["b"] = LoadFailed("broken")
    await soon(house.models.warm("a"))
    await soon(house.models.warm("b"))
    await soon(house.models.warm("nobody"))
    assert house.loaded == ["a"]


async def test_stopping_closes_every_engine_also_busy_ones(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    idle = await house.pass_by("a")
    visit = house.visit("b")
    busy = await visit.engine()
    assert isinstance(busy, FakeEngine)
    await soon(house.models.stop())
    assert idle.closed.is_set()
    assert busy.closed.is_set()
    await visit.end()
    assert house.models.slots() == {}


async def test_stopping_calls_a_load_off(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    gate = house.loader.hold("a")
    loading, queued = house.visit("a"), house.visit("b")
    await happens(gate.reached)
    await soon(house.models.stop())
    for visit in (loading, queued):
        with pytest.raises(Unavailable):
            await visit.engine()
    assert (house.loader.begun, house.loader.called_off) == (["a"], ["a"])
    assert house.models.broken() == {}, "what was called off is not broken"


async def test_stopping_frees_what_was_loaded_before_it_was_called_off(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    gate = house.loader.hold("a", deaf=True)
    loading = house.visit("a")
    await happens(gate.reached)
    stop = asyncio.create_task(house.models.stop())
    await settled()
    assert not stop.done()
    gate.open.set()
    await soon(stop)
    assert house.loader.engines[0].closed.is_set()
    await loading.leave()


async def test_a_load_is_not_called_off_while_somebody_waits_for_it(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    gate = house.loader.hold("a")
    first, second, behind = house.visit("a"), house.visit("a"), house.visit("b")
    await happens(gate.reached)
    await soon(house.models.unload("a"))
    await first.leave()
    assert house.loader.called_off == []
    await second.leave()
    await behind.engine()
    assert house.loader.called_off == ["a"]
    await behind.end()


async def test_an_unload_ends_a_load_that_nobody_waits_for(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    gate = house.loader.hold("a")
    visit = house.visit("a")
    await happens(gate.reached)
    await visit.leave()
    assert house.loader.called_off == []
    await soon(house.models.unload("a"))
    assert house.loader.called_off == ["a"]
    assert await house.pass_by("a") is house.loader.engines[0]


async def test_a_load_that_takes_for_ever_is_seen(tmp_path: Path) -> None:
    house = House(tmp_path, "a")
    gate = house.loader.hold("a")
    visit = house.visit("a")
    await happens(gate.reached)
    slot = house.models.slots()["a"]
    assert 0 < house.models.loading_s()["a"] < 100
    assert house.models.stuck_s() == 0
    assert slot.load_began is not None
    slot.load_began -= 3700
    assert 3700 < house.models.loading_s()["a"] < 3800
    assert 100 < house.models.stuck_s() < 200
    gate.open.set()
    await visit.engine()
    assert house.models.loading_s() == {}
    assert house.models.stuck_s() == 0
    await visit.end()


async def test_stopping_answers_those_who_wait_for_room(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b", max_loaded=1)
    busy = house.visit("a")
    await busy.engine()
    waiting = house.visit("b")
    await settled()
    late = house.visit("a")
    await settled()
    await soon(house.models.stop())
    for visit in (waiting, late, house.visit("a")):
        with pytest.raises(Unavailable):
            await visit.engine()
    await busy.end()


async def test_what_an_engine_does_is_told_by_name(tmp_path: Path) -> None:
    house = House(tmp_path, "a", "b")
    await house.pass_by("a")
    assert {name: stats.kv_usage for name, stats in house.models.stats().items()} == {"a": 0.25}
