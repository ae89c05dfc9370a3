"""What systemd is told, over a real socket."""

import asyncio
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import PATIENCE_S, log_lines, settled, until
from managers import Manager

from ov_server.notify import Heart, Supervisor, supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = tmp_path / "notify" if request.param == "path" else f"@ov-{uuid.uuid4()}"
    manager = Manager(address, PATIENCE_S)
    yield manager
    manager.close()


def test_it_tells_the_socket_that_the_environment_names(manager: Manager) -> None:
    supervisor({"NOTIFY_SOCKET": manager.address}).tell("READY=1", "STATUS=größer")
    assert manager.hear() == ["READY=1", "STATUS=größer"]


def test_what_it_was_told_is_not_for_processes_that_it_starts() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/home/me",
    }
    assert supervisor(environment) == Supervisor("/run/notify", 30.0)
    assert environment == {"HOME": "/home/me"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
    ],
)
def test_without_a_socket_of_this_machine_nobody_is_told(environment: dict[str, str]) -> None:
    nobody = supervisor(environment)
    assert nobody == Supervisor()
    with log_lines("ov_server.notify") as lines:
        nobody.tell("READY=1")
    assert lines.records == []


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "²"},
     {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)  # fmt: skip
def test_a_watchdog_that_is_off_or_another_process_s_gets_no_beats(
    watchdog: dict[str, str],
) -> None:
    assert supervisor({"NOTIFY_SOCKET": "/run/notify", **watchdog}).watchdog_s is None


def test_a_socket_that_is_gone_is_a_log_line_and_no_error(tmp_path: Path) -> None:
    with log_lines("ov_server.notify") as lines:
        Supervisor(str(tmp_path / "gone")).tell("READY=1")
    assert "READY=1" in str(lines)


async def test_a_manager_that_reads_nothing_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify", PATIENCE_S)
    beats: list[None] = []
    heart = Heart(Supervisor(manager.address, 0.001), lambda: str(beats.append(None)), lambda: None)
    with log_lines("ov_server.notify") as lines:
        heart.start()
        await until(lambda: len(lines.records) == 50)  # its queue is full; each would take a second
    assert "WATCHDOG=1" in str(lines)
    assert len(manager.heard()) == len(beats) - 50
    manager.close()


async def hear(manager: Manager) -> list[str]:
    return await asyncio.to_thread(manager.hear)


async def test_beats_come_with_the_status_as_it_is_then(manager: Manager) -> None:
    status = iter(["one", "two", *["three"] * 1000])
    address = supervisor({"NOTIFY_SOCKET": manager.address}).address
    Heart(Supervisor(address, 0.02), lambda: next(status), lambda: None).start()
    for said in ("one", "two", "three"):
        assert await hear(manager) == ["WATCHDOG=1", f"STATUS={said}"]


async def test_beats_stop_while_something_is_wrong_and_come_back(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify", PATIENCE_S)
    ill: list[str] = []
    heart = Heart(Supervisor(manager.address, 0.02), lambda: "", lambda: ill[0] if ill else None)
    with log_lines("ov_server.notify") as lines:
        heart.start()
        await asyncio.to_thread(manager.hear_of, "WATCHDOG=1")
        ill.append("an engine is stuck")
        await asyncio.to_thread(manager.hear_of, "STATUS=an engine is stuck")
        for _ in range(3):
            assert await hear(manager) == ["STATUS=an engine is stuck"]
        ill.clear()
        await asyncio.to_thread(manager.hear_of, "WATCHDOG=1")
    manager.close()
    assert len(lines.texts) == 1
    assert "an engine is stuck" in lines.texts[0]


async def test_a_loop_that_stands_still_does_not_beat(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify", PATIENCE_S)
    Heart(Supervisor(manager.address, 0.02), lambda: "", lambda: None).start()
    assert manager.hear() == ["WATCHDOG=1", "STATUS="]
    threading.Event().wait(0.1)  # here, on the loop
    assert manager.heard() == []
    assert await hear(manager) == ["WATCHDOG=1", "STATUS="]
    manager.close()


async def test_without_a_watchdog_there_is_no_beat_and_no_timer(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify", PATIENCE_S)
    asked: list[bool] = []
    Heart(Supervisor(manager.address), lambda: "", lambda: asked.append(True)).start()
    await settled()
    assert asked == []
    assert manager.heard() == []
    manager.close()


async def test_a_question_that_throws_is_no_beat_and_asked_again(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify", PATIENCE_S)
    asked: list[int] = []
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def ill() -> str | None:
        asked.append(1)
        if len(asked) == 2:
            raise RuntimeError("a bug")
        return None

    Heart(Supervisor(manager.address, 0.02), lambda: "", ill).start()
    await until(lambda: len(asked) == 4)
    assert len(errors) == 1
    assert len(manager.heard()) == 3
    manager.close()
