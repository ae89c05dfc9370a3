"""Several models in the registry: names, hot swap, eviction, failed loads, memory."""

import json
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from ov_server.modelfiles import embedded_model

from .clients import Leaver, Streamed, alphabet, asking, read_stream
from .servers import ProcessServer, process_server
from .waiting import BOUND_S, until


class House:
    """A server and the registry that it reads, which tests write as the converter does."""

    def __init__(self, server: ProcessServer, registry: Path, converted: Path):
        self.server = server
        self.registry = registry
        self.folder = registry.parent
        self._converted = converted
        self._models: dict[str, dict[str, Any]] = {}

    def convert(self, name: str) -> Path:
        """A model folder of its own."""
        return Path(shutil.copytree(self._converted, self.folder / name))

    def register(self, name: str, path: Path, **more: Any) -> None:
        self._models[name] = {"path": str(path), **more}
        self.write(json.dumps({"version": 1, "models": self._models}))

    def register_sound(self, **more: Any) -> None:
        """One that is there for all tests that need just any."""
        path = self.folder / "sound"
        self.register("sound", path if path.exists() else self.convert("sound"), **more)

    def write(self, text: str) -> None:
        part = self.registry.with_suffix(".part")
        part.write_text(text)
        part.rename(self.registry)

    def ask(self, name: str, **more: Any) -> Any:
        return self.server.post({**asking("Hello", max_tokens=2), "model": name, **more})

    def loads(self, name: str) -> int:
        return len(self.server.log_lines(" loaded ", f"model={name} "))


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with process_server(folder, cache, folder / "registry.json") as server:
        yield House(server, folder / "registry.json", converted)


@pytest.fixture(scope="module")
def small_house(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[House]:
    """A house with room for one model."""
    folder = tmp_path_factory.mktemp("small_house")
    with process_server(folder, cache, folder / "registry.json", OV_MAX_LOADED=1) as server:
        house = House(server, folder / "registry.json", converted)
        house.register("one", house.convert("one"))
        house.register("two", house.convert("two"))
        yield house


def letters(house: House, name: str) -> None:
    """One short stream, which has to be whole."""
    body, text = alphabet(0, 24)
    answer = read_stream(house.server, {**body, "model": name})
    answer.check(max_tokens=24)
    assert answer.text == text


@contextmanager
def long_stream(house: House, name: str, tokens: int) -> Generator[None]:
    """A stream that is in work when the block begins, and has to be whole after it."""
    body, text = alphabet(0, tokens)
    begun = Event()

    def saw(answer: Streamed) -> None:
        if answer.deltas:
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(read_stream, house.server, {**body, "model": name}, saw)
        assert begun.wait(BOUND_S)
        yield
        assert running.result().text == text


@contextmanager
def load_on(house: House, name: str, clients: int = 3) -> Generator[None]:
    """Clients that ask one thing after the other; all they get has to be whole."""
    over = Event()

    def work() -> int:
        asked = 0
        while not over.is_set() or not asked:
            letters(house, name)
            asked += 1
        return asked

    with ThreadPoolExecutor(clients) as pool:
        workers = [pool.submit(work) for _ in range(clients)]
        try:
            yield
        finally:
            over.set()
        assert all(worker.result() for worker in workers)


def test_two_models_answer_by_name_and_by_alias(house: House) -> None:
    gguf = embedded_model()
    assert gguf is not None
    house.register("org/folder", house.convert("names"), aliases=["default", "gpt-4o"])
    house.register("file", gguf)
    for name, answers in {
        "org/folder": "org/folder",
        "gpt-4o": "org/folder",
        "file": "file",
    }.items():
        assert house.ask(name).json()["model"] == answers
    assert {"org/folder", "file"} <= set(house.server.health()["models"]["loaded"])
    unknown = house.ask("folder")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert "org/folder" in unknown.json()["error"]["message"]
    card = house.server.get("/v1/models/org/folder").json()
    assert (card["id"], card["state"]) == ("org/folder", "loaded")


def test_many_first_requests_are_one_load(house: House) -> None:
    house.register("first", house.convert("first"))
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(letters, house, "first") for _ in range(6)]
        until(lambda: house.server.loading("first"), "a model that loads")
        assert house.server.get("/v1/models/first").json()["state"] == "loading"
        for one in asked:
            one.result()
    assert house.loads("first") == 1


def test_a_model_registered_elsewhere_is_swapped_under_load(house: House) -> None:
    house.register("moved", house.convert("moved-before"))
    letters(house, "moved")
    with load_on(house, "moved"), long_stream(house, "moved", tokens=200):
        house.register("moved", house.convert("moved-after"))
        until(lambda: house.loads("moved") == 2, "the load of the new one")
    until(lambda: house.server.log_lines(" unloaded ", "model=moved "), "the old one's end")
    letters(house, "moved")
    assert house.loads("moved") == 2


def test_a_model_converted_again_is_swapped_under_load(house: House) -> None:
    path = house.convert("again")
    house.register("again", path)
    letters(house, "again")
    new = house.convert("again-new")
    with load_on(house, "again"):
        path.rename(path.with_name("again-old"))
        new.rename(path)
        shutil.rmtree(path.with_name("again-old"))
        until(lambda: house.loads("again") == 2, "the load of the new one")
    until(lambda: house.server.log_lines(" unloaded ", "model=again "), "the old one's end")
    letters(house, "again")
    assert house.loads("again") == 2


def test_a_load_that_fails_says_so_and_disturbs_nobody(house: House) -> None:
    house.register_sound()
    letters(house, "sound")
    garbage = house.folder / "broken"
    garbage.mkdir()
    (garbage / "openvino_model.xml").write_text("<net>garbage")
    (garbage / "openvino_model.bin").write_bytes(b"garbage")
    (garbage / "openvino_tokenizer.xml").write_text("<net>garbage")
    house.register("broken", garbage)
    with long_stream(house, "sound", tokens=60):
        for streamed in (True, False):  # the second try is a load of its own, and fails as well
            failed = house.ask("broken", stream=streamed)
            assert failed.status_code == 500
            error = failed.json()["error"]
            assert error["code"] == "model_load_failed"
            assert "broken" in error["message"]
            assert str(house.folder) not in error["message"]
    assert len(house.server.log_lines("'broken' does not load")) == 2
    shutil.rmtree(garbage)
    house.convert("broken")
    letters(house, "broken")


def test_a_folder_that_is_gone_is_told_with_its_remedy(house: House) -> None:
    house.register("gone", house.folder / "gone")
    failed = house.ask("gone")
    assert failed.status_code == 500
    assert "correct its path" in failed.json()["error"]["message"]
    assert house.server.get("/v1/models/gone").json()["state"] == "broken"


def test_a_broken_registry_keeps_serving(house: House) -> None:
    house.register_sound()
    letters(house, "sound")
    loads = house.loads("sound")
    good = house.registry.read_text()
    with long_stream(house, "sound", tokens=80):
        for broken in (good[: len(good) // 2], "", "[]", '{"version": 9, "models": {}}'):
            house.write(broken)
            assert house.ask("sound").status_code == 200
            health = house.server.health()
            assert health["status"] == "degraded"
            assert health["registry_error"]
        house.write(good)
        assert house.ask("sound").status_code == 200
    assert house.server.health()["registry_error"] is None
    assert house.loads("sound") == loads


def test_an_answer_that_fills_the_context_ends_with_length(house: House) -> None:
    house.register("short", house.convert("short"), context_length=96)
    body = {**asking("Tell me a story.", ignore_eos=True), "model": "short"}
    answer = read_stream(house.server, body)
    assert answer.finish_reasons == ["length"]
    assert answer.usage["total_tokens"] == 96
    refused = house.ask("short", messages=[{"role": "user", "content": "x " * 100}])
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert "maximum context length is 96 tokens" in refused.json()["error"]["message"]
    letters_fit = house.ask("short")
    assert letters_fit.status_code == 200


def test_a_registry_entrys_defaults_are_taken_without_a_load(house: House) -> None:
    house.register_sound()
    letters(house, "sound")
    loads = house.loads("sound")
    body = {**asking("Hello"), "model": "sound"}
    house.register_sound(defaults={"max_tokens": 3, "ignore_eos": True})
    assert house.server.post(body).json()["usage"]["completion_tokens"] == 3
    assert house.ask("sound").json()["usage"]["completion_tokens"] == 2
    house.register_sound(defaults={"max_tokens": 5, "ignore_eos": True})
    assert house.server.post(body).json()["usage"]["completion_tokens"] == 5
    assert house.loads("sound") == loads


def test_a_busy_model_is_not_evicted(small_house: House) -> None:
    house, server = small_house, small_house.server
    letters(house, "one")
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.enter_context(long_stream(house, "one", tokens=150))
        other = pool.submit(letters, house, "two")
        until(lambda: server.loading("two"), "a model that waits for room")
        assert server.loaded("one")
        assert not other.done()
        stack.close()  # the stream is whole
        other.result()
    assert server.health()["models"]["loaded"] == ["two"]
    letters(house, "one")
    assert server.health()["models"]["loaded"] == ["one"]


def test_who_waits_for_room_may_leave(small_house: House) -> None:
    house, server = small_house, small_house.server
    letters(house, "one")
    before = house.loads("two")
    with long_stream(house, "one", tokens=150):
        body = {**asking("Hello", stream=True), "model": "two"}
        with Leaver(server, body, "no-room") as client:
            until(lambda: server.loading("two"), "a model that waits for room")
            client.leave()
        until(lambda: not server.loading("two"), "a load called off")
        assert "outcome=client left" in server.log_line("id=no-room ")
        assert server.loaded("one")
    letters(house, "one")
    assert house.loads("two") == before


def test_models_take_turns_under_load(small_house: House) -> None:
    before = {name: small_house.loads(name) for name in ("one", "two")}
    letters(small_house, "one")
    with load_on(small_house, "one", clients=2), load_on(small_house, "two", clients=1):
        until(lambda: small_house.loads("two") > before["two"], "a turn of the other")


def test_an_idle_model_gives_its_memory_back(cache: Path, converted: Path, tmp_path: Path) -> None:
    with process_server(tmp_path, cache, tmp_path / "registry.json") as server:
        house = House(server, tmp_path / "registry.json", converted)
        until(lambda: server.health()["device"]["used"], "the runtime's import")
        before = rss(server)
        house.register("idle", house.convert("idle"), idle_unload_s=1)
        letters(house, "idle")
        loaded = rss(server)
        until(lambda: server.log_lines(" unloaded ", "model=idle "), "the unload")
        assert server.health()["models"]["loaded"] == []
        assert rss(server) - before < (loaded - before) / 2
        letters(house, "idle")


def rss(server: ProcessServer) -> int:
    """Of the server and its workers."""
    process = psutil.Process(server.process.pid)
    return sum(p.memory_info().rss for p in (process, *process.children()))
