"""Faults under traffic: the server is told to stop, killed, loses its files, its registry, its disk
and its clock; others go on, and nobody's answer ends without an end."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from tests.model.clients import Leaver, alphabet, asking, endless, stream
from tests.model.servers import MODEL, ProcessServer, process_server
from tests.model.test_models import House, load_on, long_stream
from tests.model.waiting import until

from .conftest import Scale
from .swarm import Answer, ask

TELLING = (
    "-c",
    "import asyncio, main; main.launch(main.app);"
    "print('unread:', asyncio.run(main.app.state.sessions.find('', 'unread')).state)",
)
"""`main.py`, which says at its end what became of the session that nobody reads."""
STREAMS, WHOLE, WAITING = 20, 3, 5


@contextmanager
def crowd(server: ProcessServer, bodies: list[dict[str, Any]]) -> Generator[Future[list[Answer]]]:
    """So many clients at once; the answers as they were when their connections ended."""

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(*(ask(server.port, body) for body in bodies))

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: asyncio.run(all_of_them()))


def deserted(server: ProcessServer, body: dict[str, Any]) -> None:
    """An answer with a name, whose client is gone."""
    with Leaver(server, body | {"session_id": "unread", "stream": True}, "unread") as client:
        client.read_until(b'"content":"')
        client.leave()
    until(lambda: server.get("/v1/sessions/unread").json()["readers"] == 0, "no reader")


@contextmanager
def told_to_stop(
    folder: Path, cache: Path, grace_s: int, **body: Any
) -> Generator[tuple[ProcessServer, Future[list[Answer]]]]:
    """A server with streams, whole answers, others that wait and one that nobody reads, which has
    just been told to stop."""
    bounds: dict[str, Any] = {"OV_STOP_GRACE_S": grace_s, "OV_MAX_RUNNING": STREAMS + WHOLE + 1}
    with process_server(folder, cache, start=TELLING, **bounds) as server:
        deserted(server, body | {"max_tokens": 3 * body["max_tokens"]})  # it would end last
        bodies = [body | {"stream": n >= WHOLE} for n in range(WHOLE + STREAMS + WAITING)]
        with crowd(server, bodies) as answers:
            full = {"running": STREAMS + WHOLE + 1, "waiting": WAITING}
            until(lambda: server.queue() == full, "all of them")
            server.process.send_signal(signal.SIGTERM)
            yield server, answers


@pytest.mark.full
def test_what_is_in_work_ends_within_the_grace_time(
    cache: Path, converted: Path, tmp_path: Path
) -> None:
    body, text = alphabet(0, 80)
    with told_to_stop(tmp_path, cache, 85, **body) as (server, answers):
        assert [answer.outcome for answer in answers.result() if answer.data] == ["whole"] * 25
        whole = [json.loads(answer.body) for answer in answers.result() if not answer.data]
        assert [one["choices"][0]["message"]["content"] for one in whole] == [text] * WHOLE
        assert server.stop() == 0
    assert "unread: finished" in server.said
    assert "Traceback" not in server.log


def test_what_outlasts_the_grace_time_ends_with_an_error(
    cache: Path, converted: Path, tmp_path: Path
) -> None:
    with told_to_stop(tmp_path, cache, 1, **endless()) as (server, answers):
        outcomes = [answer.outcome for answer in answers.result()]
        assert server.stop() == 0
    assert outcomes == ["unavailable"] * (STREAMS + WHOLE + WAITING)
    assert [answer.status for answer in answers.result()[:WHOLE]] == [503] * WHOLE
    assert all(answer.data for answer in answers.result()[WHOLE : WHOLE + STREAMS])
    assert "unread: failed" in server.said
    assert "Traceback" not in server.log


# The process is killed.


@pytest.mark.full
def test_after_a_kill_under_streams_it_answers_from_what_it_had(
    cache: Path, converted: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.json"
    with process_server(tmp_path / "killed", cache, registry) as server, ExitStack() as cut:
        House(server, registry, converted).register("sound", converted)
        told, kept = registry.read_bytes(), sorted(cache.rglob("*"))
        for number in range(STREAMS):
            body = endless(stream=True) | {"model": "sound"}
            client = cut.enter_context(Leaver(server, body, f"cut-{number}"))
            client.read_until(b'"content":"')
        worker = server.worker()
        server.process.kill()
        until(lambda: not worker.is_running(), "the end of its worker")
    assert (registry.read_bytes(), sorted(cache.rglob("*"))) == (told, kept)
    with process_server(tmp_path / "again", cache, registry) as server:
        house = House(server, registry, converted)
        assert house.ask("sound").status_code == 200
        assert server.log_lines("into an OpenVINO model") == []
        assert server.health()["reasons"] == []


@pytest.mark.full
def test_a_kill_in_the_middle_of_a_conversion_leaves_nothing_that_is_taken_for_whole(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    with process_server(tmp_path / "killed", cache) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.act, f"/v1/models/{MODEL}/load")
        [conversion] = until(lambda: server.children("ov_server.conversion"), "a conversion")
        conversion.suspend()
        server.process.kill()
        conversion.kill()
        assert asked.exception() is not None
    assert [folder.suffix for folder in (cache / "gguf").iterdir()] == [".part"]
    with process_server(tmp_path / "again", cache) as server:
        assert server.post(asking("Hello", max_tokens=2)).status_code == 200
    assert [folder.suffix for folder in (cache / "gguf").iterdir()] == [""]


# Files, the registry's and the models'.


class Stage:
    """What the registry's path leads to: a link, which is turned in one stroke, so that no moment
    is without something there."""

    def __init__(self, registry: Path, folder: Path, good: dict[str, Any], more: dict[str, Any]):
        self._registry = registry
        self._folder = folder
        folder.mkdir()
        text = json.dumps({"version": 1, "models": good})
        self._texts = {
            "good": text.encode(),
            "more": json.dumps({"version": 1, "models": {**good, **more}}).encode(),
            "empty": b"",
            "cut short": text[: len(text) // 2].encode(),
            "garbage": os.urandom(5000),
            "deep": b"[" * 50_000,
        }
        self.forms = [*self._texts, "large", "a folder", "a pipe", "itself", "more", "good"]

    def show(self, form: str) -> None:
        thing = self._folder / form
        if not os.path.lexists(thing):
            self._make(form, thing)
        link = self._registry.with_suffix(".part")
        link.symlink_to(thing)
        link.rename(self._registry)

    def _make(self, form: str, thing: Path) -> None:
        if form == "a folder":
            thing.mkdir()
        elif form == "a pipe":
            os.mkfifo(thing)
        elif form == "itself":
            thing.symlink_to(thing)  # nobody can read it, not even root
        elif form == "large":
            with thing.open("wb") as file:
                file.truncate(1 << 34)
        else:
            thing.write_bytes(self._texts[form])

    @contextmanager
    def storm(self) -> Generator[None]:
        """All of that, some 100 times a second; then the good one."""
        over = Event()

        def work() -> int:
            shown = 0
            while not over.wait(0.01):
                self.show(self.forms[shown % len(self.forms)])
                shown += 1
            return shown

        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work)
            try:
                yield
            finally:
                over.set()
                assert working.result() > len(self.forms), "not all of them were shown"
                self.show("good")


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, converted: Path
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    registry = folder / "registry.json"
    with process_server(folder, cache, registry) as server:
        yield House(server, registry, converted)


def footprint(server: ProcessServer) -> tuple[int, int]:
    """Bytes and open files of the server's own process."""
    process = psutil.Process(server.process.pid)
    return process.memory_info().rss, process.num_fds()


def test_a_registry_that_is_replaced_100_times_a_second_costs_nobody_an_answer(
    house: House, tmp_path: Path, scale: Scale
) -> None:
    sound = {"sound": {"path": str(house.convert("storm"))}}
    guest = {"guest": {"path": str(house.convert("guest"))}}
    stage, server = Stage(house.registry, tmp_path / "stage", sound, guest), house.server
    stage.show("more")
    assert [house.ask(name).status_code for name in ("sound", "guest")] == [200, 200]
    over = Event()

    def visit() -> set[int]:
        """Those who ask for the guest find it, or are told that it is not there."""
        met = set()
        while not over.is_set():
            met.add(house.ask("guest").status_code)
            assert server.get("/v1/models").status_code == 200
        return met

    def weather(seconds: float) -> None:
        with stage.storm(), load_on(house, "sound"):
            over.wait(seconds)

    with ThreadPoolExecutor(1) as pool:
        guests = pool.submit(visit)
        weather(scale.seconds / 6)
        memory, files = footprint(server)
        weather(scale.seconds / 6)
        over.set()
        assert guests.result() <= {200, 404}
    until(lambda: server.health()["registry_error"] is None, "the good registry", seconds=1)
    assert house.ask("guest").status_code == 404
    assert house.loads("sound") == 1, "what did not change was loaded again"
    after, files_after = footprint(server)
    assert after < memory * 1.1
    assert files_after <= files + 5, "descriptors that nobody closes"


def test_a_registry_that_nobody_asks_for_is_not_looked_at(house: House, tmp_path: Path) -> None:
    stage = Stage(house.registry, tmp_path / "stage", {}, {})
    stage.show("empty")
    assert house.server.health()["registry_error"]
    before = house.server.log_lines("registry")
    with stage.storm():
        Event().wait(0.5)
    assert house.server.log_lines("registry") == before
    assert house.server.health()["registry_error"] is None


def spoil(folder: Path, how: str) -> None:
    """Does to a model's files what somebody may do while it serves."""
    for file in folder.iterdir():
        if how == "emptied":
            file.write_bytes(b"")
        elif how == "garbage, as if long ago":
            file.write_bytes(os.urandom(1000))
            os.utime(file, (1, 1))
    if how == "gone":
        shutil.rmtree(folder)


@pytest.mark.full
@pytest.mark.parametrize("how", ["gone", "emptied", "garbage, as if long ago"])
def test_a_model_outlives_its_files(house: House, how: str) -> None:
    name = how.partition(",")[0]
    folder = house.convert(name)
    house.register(name, folder)
    assert house.ask(name).status_code == 200
    with ExitStack() as streams:
        for _ in range(4):
            streams.enter_context(long_stream(house, name, tokens=120))
        spoil(folder, how)
        replaced = how.startswith("garbage")  # by what is not being written any more
        assert house.ask(name).status_code == (500 if replaced else 200)
    if how == "gone":
        assert house.ask(name).status_code == 200
    shutil.rmtree(folder, ignore_errors=True)
    house.convert(name)
    assert house.ask(name).status_code == 200


@pytest.mark.full
def test_without_its_files_a_lost_worker_ends_its_answers_with_errors(house: House) -> None:
    folder = house.convert("lost")
    house.register("lost", folder)
    assert house.ask("lost").status_code == 200
    others = [worker.pid for worker in house.server.workers()]
    house.server.act("/v1/models/lost/unload")
    assert house.ask("lost").status_code == 200
    [worker] = [worker for worker in house.server.workers() if worker.pid not in others]
    body = endless(stream=True) | {"model": "lost"}
    with crowd(house.server, [body] * 4) as answers:
        until(lambda: house.server.queue("lost")["running"] == 4, "four streams")
        shutil.rmtree(folder)
        worker.kill()
        assert [answer.outcome for answer in answers.result()] == ["engine_failed"] * 4
    assert house.ask("lost").json()["error"]["code"] == "model_load_failed"
    house.convert("lost")
    assert house.ask("lost").status_code == 200


# The clock.

JUMPY = """
import pathlib, time
real, jump = time.time, pathlib.Path({!r})
time.time = lambda: real() + float(jump.read_text())
import main
main.launch(main.app)
"""
"""`main.py`, whose wall clock a test may set."""
DECADE_S = 10 * 365 * 86400


@pytest.mark.full
def test_a_clock_that_jumps_ends_nothing(cache: Path, converted: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"

    def jump(seconds: int) -> None:
        part = clock.with_suffix(".part")
        part.write_text(str(seconds))
        part.rename(clock)

    jump(0)
    start = ("-c", JUMPY.format(str(clock)))
    bounds: dict[str, Any] = {"OV_IDLE_UNLOAD_S": 60, "OV_SESSION_TTL_S": 60}
    with process_server(tmp_path / "jumpy", cache, start=start, **bounds) as server:
        for number, seconds in enumerate((DECADE_S, -DECADE_S, 0)):
            body, text = alphabet(0, 60, session_id=f"kept-{number}")
            told = []
            with stream(server, body) as chunks:
                for chunk in chunks:
                    told.append(chunk)
                    if len(told) == 5:
                        jump(seconds)
            said = [c["choices"][0]["delta"].get("content", "") for c in told if c and c["choices"]]
            assert "".join(said) == text
            assert abs(server.health()["uptime_s"]) < 1000
            for earlier in range(number + 1):
                kept = server.get(f"/v1/sessions/kept-{earlier}")
                assert kept.json()["state"] == "finished"
        assert len(server.log_lines(" loaded ")) == 1
        assert server.log_lines(" unloaded ") == []
        assert server.stop() == 0
