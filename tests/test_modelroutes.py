"""The routes that load, unload and pin: while others load, stream, leave and convert again."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from apps import Server, Start, problem
from fakes import FakeEngine, happens, log_lines, model_folder, settled, soon, until, write_registry

from ov_server.errors import LoadFailed

pytestmark = pytest.mark.anyio

PIN: dict[str, Any] = {"pinned": True}
UNPIN: dict[str, Any] = {"pinned": False}


async def post(server: Server, path: str, body: Any = None) -> httpx.Response:
    return await soon(server.http.post(path, json=body) if body else server.http.post(path))


async def done(server: Server, path: str, body: Any = None) -> dict[str, Any]:
    """The body of what has to succeed."""
    response = await post(server, path, body)
    assert response.status_code == 200, response.text
    return response.json()


async def card(server: Server, name: str = "a") -> dict[str, Any]:
    return (await soon(server.http.get(f"/v1/models/{name}"))).json()


def slots(server: Server) -> dict[str, Any]:
    return server.app.state.models.slots()


# Load.


async def test_loading_answers_with_the_loaded_models_card(server: Server) -> None:
    body = await done(server, "/v1/models/a/load")
    assert server.loader.begun == ["a"]
    assert body == await card(server) | {"seconds": body["seconds"], "memory_mb": 321}
    assert (body["id"], body["state"], body["pinned"]) == ("a", "loaded", False)


async def test_loading_what_is_loaded_takes_no_time(server: Server) -> None:
    gate = server.loader.hold("a")
    first = server.post("/v1/models/a/load")
    await happens(gate.reached)
    await card(server)  # which takes some milliseconds
    gate.open.set()
    _, loaded = await first.answer()
    assert loaded["seconds"] > 0
    assert (await done(server, "/v1/models/a/load"))["seconds"] == 0
    assert server.loader.begun == ["a"]


@pytest.mark.parametrize("path", ["/v1/models/{}/load", "/models/{}/load"])
@pytest.mark.parametrize("name", ["org/model:1", "org%2Fmodel:1", "other", "load"])
async def test_names_with_slashes_and_aliases_load_too(start: Start, path: str, name: str) -> None:
    keys = {"org/model:1": {"aliases": ["other", "load"]}}
    async with start("org/model:1", keys=keys) as server:
        assert (await done(server, path.format(name)))["id"] == "org/model:1"
        assert server.loader.begun == ["org/model:1"]


async def test_two_clients_share_one_load_with_a_request(server: Server) -> None:
    gate = server.loader.hold("a")
    asking = server.call()
    loading = [server.post("/v1/models/a/load"), server.post("/v1/models/a/load")]
    await happens(gate.reached)
    assert (await card(server))["status"] == {"value": "loading"}
    gate.open.set()
    for caller in loading:
        status, body = await caller.answer()
        assert (status, body["state"]) == (200, "loaded")
    assert (await asking.answer())[0] == 200
    assert server.loader.begun == ["a"]


async def test_nothing_loads_for_a_client_that_left_while_others_loaded(server: Server) -> None:
    gate = server.loader.hold("b")
    first, second = server.post("/v1/models/b/load"), server.post("/v1/models/a/load")
    await happens(gate.reached)
    await settled()
    await second.leave()
    assert "a" not in slots(server)
    gate.open.set()
    assert (await first.answer())[0] == 200
    assert server.loader.begun == ["b"]


async def test_a_load_that_is_left_goes_on_for_the_next_one(server: Server) -> None:
    gate = server.loader.hold("a")
    leaving, pinning = server.post("/v1/models/a/load"), server.post("/v1/models/a/pin")
    await happens(gate.reached)
    await leaving.leave()
    await pinning.leave()
    gate.open.set()
    body = await done(server, "/v1/models/a/load")
    assert (body["state"], body["pinned"]) == ("loaded", False)
    assert server.loader.begun == ["a"]


async def test_a_load_that_fails_says_why_and_leaves_no_pin(server: Server) -> None:
    server.loader.errors["a"] = LoadFailed("no such layer")
    response = await post(server, "/v1/models/a/pin")
    assert (response.status_code, problem(response)["code"]) == (500, "model_load_failed")
    assert "no such layer" in problem(response)["message"]
    broken = await card(server)
    assert (broken["state"], broken["pinned"]) == ("broken", False)
    assert broken["status"] == {"value": "unloaded", "failed": True}


async def test_the_end_answers_a_client_that_waits_for_a_load(start: Start) -> None:
    async with start("a", "b") as server:
        gate = server.loader.hold("b")
        first, second = server.post("/v1/models/b/load"), server.post("/v1/models/a/load")
        await happens(gate.reached)
        await settled()
        stop = asyncio.create_task(server.app.state.models.stop())
        status, body = await second.answer()
        assert (status, body["error"]["code"]) == (503, "unavailable")
        gate.open.set()
        await soon(stop)
        await first.leave()


ACTIONS = ["load", "unload", "pin"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_unknown_model_is_a_404_that_lists_the_models(server: Server, action: str) -> None:
    response = await post(server, f"/v1/models/nobody/{action}")
    assert (response.status_code, problem(response)["code"]) == (404, "model_not_found")
    assert "a, b" in problem(response)["message"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_looking_at_the_paths_does_nothing(server: Server, action: str) -> None:
    for method in ("GET", "HEAD"):
        response = await server.http.request(method, f"/v1/models/a/{action}")
        assert response.status_code == 404
    await settled()
    assert server.loader.begun == []


async def test_no_request_to_these_routes_counts_as_a_completion(server: Server) -> None:
    await done(server, "/v1/models/a/load")
    text = (await server.http.get("/metrics")).text
    assert 'ov_requests_total{key="",outcome="ok",route="/v1/models/{name:path}/load"} 1.0' in text
    assert "ov_e2e_request_latency_seconds_count" not in text


# Unload.


async def test_unloading_frees_an_idle_model_before_it_answers(server: Server) -> None:
    engine = await server.engine()
    body = await done(server, "/v1/models/a/unload")
    assert engine.closed.is_set()
    assert body == await card(server)
    assert (body["state"], body["status"]) == ("unloaded", {"value": "unloaded"})


async def test_unloading_what_is_not_loaded_is_fine_and_loads_nothing(server: Server) -> None:
    assert (await done(server, "/v1/models/a/unload"))["state"] == "unloaded"
    assert server.loader.begun == []


async def test_an_answer_in_work_ends_on_the_model_that_was_unloaded(server: Server) -> None:
    engine = await server.engine()
    gate = asyncio.Event()
    engine.enqueue("one", gate, "two")
    caller = server.call(stream=True)
    await caller.until("one")
    assert (await done(server, "/v1/models/a/unload"))["state"] == "unloaded"
    assert not engine.closed.is_set()
    assert (await server.chat()).status_code == 200
    assert len(server.loader.engines) == 2
    gate.set()
    assert '"content":"two"' in await caller.until("[DONE]")
    await soon(caller.task)
    await happens(engine.closed)
    assert not server.loader.engines[1].closed.is_set()


async def test_a_model_that_is_unloaded_while_it_loads_serves_its_waiters_and_goes(
    server: Server,
) -> None:
    gate = server.loader.hold("a")
    waiting, pinning = server.call(), server.post("/v1/models/a/pin")
    await happens(gate.reached)
    assert (await done(server, "/v1/models/a/unload"))["state"] == "unloaded"
    gate.open.set()
    assert (await waiting.answer())[0] == 200
    status, body = await pinning.answer()
    assert (status, body["state"], body["pinned"]) == (200, "unloaded", False)
    await happens(server.loader.engines[0].closed)
    assert slots(server) == {}


async def test_the_place_of_a_busy_model_that_was_unloaded_is_free_at_once(start: Start) -> None:
    async with start("a", "b", max_loaded=1) as server:
        engine = await server.engine("a")
        gate = asyncio.Event()
        engine.enqueue("one", gate)
        busy = server.call(stream=True)
        await busy.until("one")
        waiting = server.post("/v1/models/b/load")
        await until(lambda: "b" in slots(server))
        await settled()
        assert server.loader.begun == ["a"]
        await done(server, "/v1/models/a/unload")
        assert (await waiting.answer())[1]["state"] == "loaded"
        gate.set()
        await busy.until("[DONE]")
        await soon(busy.task)


async def test_a_model_that_fails_to_close_is_unloaded_all_the_same(server: Server) -> None:
    (await server.engine()).close_error = RuntimeError("the device is lost")
    assert (await done(server, "/v1/models/a/unload"))["state"] == "unloaded"
    assert (await server.chat()).status_code == 200


# Pins.


async def test_a_pinned_model_outlasts_its_idle_time(start: Start) -> None:
    async with start("a", idle_unload_s=0.01) as server:
        assert (await done(server, "/v1/models/a/pin"))["pinned"] is True
        slot = slots(server)["a"]
        assert slot.timer is None
        assert (await server.chat()).status_code == 200
        assert slot.timer is None
        assert (await done(server, "/v1/models/a/pin", UNPIN))["pinned"] is False
        await until(lambda: "a" not in slots(server))
        assert server.loader.begun == ["a"]


async def test_pinning_a_loaded_model_ends_the_idle_time_that_runs(server: Server) -> None:
    await done(server, "/v1/models/a/load")
    assert slots(server)["a"].timer is not None
    await done(server, "/v1/models/a/pin", PIN)
    assert slots(server)["a"].timer is None


async def test_releasing_twice_starts_one_idle_time(server: Server) -> None:
    await done(server, "/v1/models/a/pin")
    await done(server, "/v1/models/a/pin", UNPIN)
    timer = slots(server)["a"].timer
    await done(server, "/v1/models/a/pin", UNPIN)
    assert timer is not None
    assert slots(server)["a"].timer is timer


async def test_a_pinned_model_makes_no_room_and_a_released_one_does(start: Start) -> None:
    async with start("a", "b", "c", max_loaded=2) as server:
        await done(server, "/v1/models/a/pin")
        await done(server, "/v1/models/b/load")
        await done(server, "/v1/models/c/load")
        assert sorted(slots(server)) == ["a", "c"]
        await done(server, "/v1/models/a/pin", UNPIN)
        await done(server, "/v1/models/c/pin")
        await done(server, "/v1/models/b/load")
        assert sorted(slots(server)) == ["b", "c"]


async def test_a_pin_beside_pinned_models_in_every_place_names_the_call_that_helps(
    start: Start,
) -> None:
    async with start("a", "org/p", max_loaded=1) as server:
        await done(server, "/v1/models/org/p/pin")
        for action in ("pin", "load"):
            response = await post(server, f"/v1/models/a/{action}")
            assert (response.status_code, problem(response)["code"]) == (503, "unavailable")
            said = problem(response)["message"]
            assert 'POST /v1/models/org/p/pin with {"pinned": false}' in said
            assert "OV_MAX_LOADED" in said
        assert (await card(server))["pinned"] is False
        assert server.loader.begun == ["org/p"]
        await done(server, "/v1/models/org/p/pin", UNPIN)
        assert (await done(server, "/v1/models/a/pin"))["pinned"] is True


async def test_want_of_room_is_a_warning_and_a_model_that_does_not_load_an_error(
    start: Start,
) -> None:
    async with start("a", "b", max_loaded=1) as server:
        await done(server, "/v1/models/a/pin")
        with log_lines("ov_server") as lines:
            assert (await post(server, "/v1/models/b/load")).status_code == 503
            assert (await server.chat(model="b")).status_code == 503
            assert (await post(server, "/v1/models/nobody/load")).status_code == 404
        told = [(r.levelno, r.exc_info) for r in lines.records if r.levelno > logging.INFO]
        assert told == [(logging.WARNING, None)] * 2
        await done(server, "/v1/models/a/pin", UNPIN)
        server.loader.errors["b"] = LoadFailed("no such layer")
        with log_lines("ov_server") as lines:
            assert (await post(server, "/v1/models/b/load")).status_code == 500
        assert [r.levelno for r in lines.records if "no such layer" in r.getMessage()] == [
            logging.ERROR
        ]


async def test_a_pin_wins_over_the_registry_until_the_model_is_unloaded(start: Start) -> None:
    async with start("a", "b", keys={"a": {"pinned": True}}) as server:
        await until(lambda: server.loader.begun == ["a"])
        assert (await done(server, "/v1/models/a/load"))["pinned"] is True
        assert slots(server)["a"].timer is None
        assert (await done(server, "/v1/models/a/pin", UNPIN))["pinned"] is False
        assert slots(server)["a"].timer is not None
        await done(server, "/v1/models/a/pin")
        assert (await done(server, "/v1/models/a/unload"))["pinned"] is False
        assert (await done(server, "/v1/models/a/load"))["pinned"] is False
        assert slots(server)["a"].timer is not None


async def test_a_pin_survives_another_registry_and_another_conversion(server: Server) -> None:
    await done(server, "/v1/models/a/pin")
    first = server.loader.engines[0]
    write_registry(server.folder / "registry.json", {"a": {"path": "a", "pinned": False}})
    model_folder(server.folder, "a", weights=200)
    assert (await server.chat()).status_code == 200
    await happens(first.closed)
    assert len(server.loader.engines) == 2
    assert (await card(server))["pinned"] is True
    assert slots(server)["a"].timer is None


async def test_releasing_loads_nothing(server: Server) -> None:
    assert (await done(server, "/v1/models/a/pin", UNPIN))["state"] == "unloaded"
    assert server.loader.begun == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"pinned": "no"}, "pinned"),
        ({"pinned": None}, "pinned"),
        ({"pin": False}, "pin"),
        ([], None),
    ],
)
async def test_a_body_of_a_pin_that_is_none_is_refused(
    server: Server, body: Any, param: str | None
) -> None:
    response = await soon(server.http.post("/v1/models/a/pin", json=body))
    assert (response.status_code, problem(response)["param"]) == (400, param)
    assert server.loader.begun == []


# llama-server's router, as Open WebUI calls it.


async def test_open_webui_loads_and_unloads_and_sees_it(server: Server) -> None:
    async def shown() -> dict[str, str]:
        cards = (await soon(server.http.get("/models"))).json()["data"]
        return {card["id"]: card["status"]["value"] for card in cards}

    assert await shown() == {"a": "unloaded", "b": "unloaded"}
    assert await done(server, "/models/load", {"model": "a"}) == {"success": True}
    assert await shown() == {"a": "loaded", "b": "unloaded"}
    assert await done(server, "/models/load", {"model": "a", "more": 1}) == {"success": True}
    assert await done(server, "/models/unload", {"model": "a"}) == {"success": True}
    assert await shown() == {"a": "unloaded", "b": "unloaded"}
    assert await done(server, "/v1/models/unload", {"model": "a"}) == {"success": True}
    assert server.loader.begun == ["a"]


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    ("body", "status"),
    [({"model": "x"}, 404), ({}, 400), ({"model": 5}, 400), ({"model": ""}, 400)],
)
async def test_what_llama_servers_routes_can_not_do_names_the_model(
    server: Server, action: str, body: Any, status: int
) -> None:
    response = await soon(server.http.post(f"/models/{action}", json=body))
    assert (response.status_code, problem(response)["param"]) == (status, "model")
    assert server.loader.begun == []


async def test_a_client_of_llama_servers_route_that_leaves_leaves_no_interest(
    server: Server,
) -> None:
    gate = server.loader.hold("b")
    first, second = server.post("/v1/models/b/load"), server.post("/models/load", {"model": "a"})
    await happens(gate.reached)
    await settled()
    await second.leave()
    gate.open.set()
    await first.answer()
    assert server.loader.begun == ["b"]


async def test_an_engine_that_stands_still_is_seen_also_when_it_was_replaced(
    server: Server, tmp_path: Path
) -> None:
    engine = await server.engine()
    assert isinstance(engine, FakeEngine)
    models = server.app.state.models
    assert models.stuck_s() == 0
    gate = asyncio.Event()
    engine.enqueue("one", gate)
    caller = server.call(stream=True)
    await caller.until("one")
    await done(server, "/v1/models/a/unload")
    engine.stuck_s = 7
    assert models.stuck_s() == 7
    gate.set()
    await soon(caller.task)
    await happens(engine.closed)
    await until(lambda: models.stuck_s() == 0)
