"""`python main.py` as systemd runs it: what it says on the notify socket, and when it is silent."""

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from managers import Manager

from .clients import asking, endless, stream
from .servers import MODEL, ProcessServer, process_server
from .waiting import BOUND_S, until

IMPATIENT = ("-c", "import main; main.launch(main.app, stuck_s=1)")
"""`main.py` as a start, but for how long a step may take."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify", BOUND_S)
    yield manager
    manager.close()


def watched(
    manager: Manager, cache: Path, start: Sequence[str] = ("main.py",)
) -> AbstractContextManager[ProcessServer]:
    """A server with a watchdog that wants a beat every 0.4 s."""
    folder = Path(manager.address).parent
    notify = manager.address
    return process_server(folder, cache, start=start, NOTIFY_SOCKET=notify, WATCHDOG_USEC=400_000)


def test_it_is_ready_when_it_listens_beats_and_says_that_it_stops(
    manager: Manager, cache: Path
) -> None:
    with ThreadPoolExecutor(1) as pool, watched(manager, cache) as server:
        assert "READY=1" in manager.hear()
        assert manager.hear_of("WATCHDOG=1") == ["WATCHDOG=1", "STATUS=in memory: no model"]
        loading = pool.submit(server.act, f"/v1/models/{MODEL}/load")
        manager.hear_of(f"STATUS=in memory: {MODEL}")
        card = loading.result().json()
        assert card["seconds"] > 0
        worker = server.worker()
        assert 0.5 < card["memory_mb"] / (worker.memory_info().rss / 1e6) < 2
        for process in psutil.Process(server.process.pid).children(recursive=True):
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & process.environ().keys()
        manager.hear_of("WATCHDOG=1")
        assert server.stop(signal.SIGTERM) == 0
        manager.hear_of("STOPPING=1")
    assert "Traceback" not in server.log


def test_ready_is_said_of_a_port_that_answers(
    manager: Manager, cache: Path, tmp_path: Path
) -> None:
    def told(server: ProcessServer) -> bool:
        return "READY=1" in manager.hear()

    with process_server(tmp_path, cache, ready=told, NOTIFY_SOCKET=manager.address) as server:
        assert server.get("/health/ready").status_code == 200
        assert server.stop(signal.SIGTERM) == 0
        assert [said[0] for said in manager.heard()] == ["STOPPING=1"], "beats that nobody wants"


def test_running_answers_get_the_time_that_was_set_and_systemd_knows(
    manager: Manager, cache: Path, tmp_path: Path
) -> None:
    with (
        process_server(tmp_path, cache, NOTIFY_SOCKET=manager.address, OV_STOP_GRACE_S=1) as server,
        stream(server, endless()) as chunks,
    ):
        assert next(chunks) is not None
        until(lambda: server.queue()["running"] == 1, "a running answer")
        server.process.send_signal(signal.SIGTERM)
        assert "EXTEND_TIMEOUT_USEC=31000000" in manager.hear_of("STOPPING=1")
        until(lambda: not server.accepting(), "a closed port")
        last = [chunk for chunk in chunks if chunk is not None][-1]
        assert "stopping" in last["error"]["message"]
        assert server.stop() == 0


def test_beats_stop_when_an_engine_hangs_in_the_middle_of_an_answer(
    manager: Manager, cache: Path
) -> None:
    with watched(manager, cache, start=IMPATIENT) as server:
        with stream(server, endless()) as chunks:
            assert next(chunks) is not None
            until(lambda: server.queue()["running"] == 1, "a running answer")
            hung = server.worker()
            hung.suspend()
            while (said := manager.hear())[0] == "WATCHDOG=1" or said[0] == "READY=1":
                pass
            assert said[0].startswith("STATUS=an engine makes no more steps")
            for _ in range(3):
                assert "WATCHDOG=1" not in manager.hear()
            assert server.health()["status"] == "ok", "the loop itself goes on"
            hung.resume()
            manager.hear_of("WATCHDOG=1")
        assert server.post(asking("Hello", max_tokens=1)).status_code == 200
