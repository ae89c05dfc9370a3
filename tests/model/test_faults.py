"""`main.py` where the machine fails it: outputs that nothing takes, no more files to open."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from .servers import ROOT, Server, environment, free_port
from .waiting import BOUND_S, until

FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096)); "
SCARCE = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "


class Faulty(Server):
    """A server whose outputs a test gives it."""

    def __init__(self, port: int, process: "subprocess.Popen[str]"):
        self.port = port
        self.process = process

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(BOUND_S)


@contextmanager
def faulty(folder: Path, start: str = "", **outputs: Any) -> Generator[Faulty]:
    port = free_port()
    env = environment(
        PORT=port, HOST="127.0.0.1", OV_DEVICE="CPU", OV_REGISTRY_PATH=folder / "registry.json"
    )
    command = [sys.executable, "-c", f"{start}import main; main.launch(main.app)"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, **outputs)
    server = Faulty(port, process)
    try:
        until(server.accepting, "a server that listens")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_full_disk_under_its_outputs_costs_only_them(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full, faulty(tmp_path, stdout=full, stderr=full) as server:
        for _ in range(20):
            assert server.get("/v1/nothing").status_code == 404
        assert server.get("/health").status_code == 200
        assert server.stop() == 0


def test_it_starts_without_outputs(tmp_path: Path) -> None:
    closed = "import os; os.close(1); os.close(2); os.execv({0!r}, [{0!r}, '-c', {1!r}])"
    again = "import main; main.launch(main.app)"
    start = closed.format(sys.executable, again) + "\n"
    with faulty(tmp_path, start) as server:
        assert server.get("/v1/nothing").status_code == 404
        assert server.stop() == 0


@pytest.mark.parametrize("reads", [True, False], ids=["leaves", "stands still"])
def test_a_reader_of_its_outputs_that_does_not_read_costs_only_them(
    tmp_path: Path, reads: bool
) -> None:
    end, begin = os.pipe()
    with faulty(tmp_path, stdout=begin, stderr=begin) as server:
        os.close(begin)
        if reads:
            assert b"ov-llm-server" in os.read(end, 10_000)
            os.close(end)
        for _ in range(20 if reads else 400):
            assert server.get("/v1/nothing" + "x" * 190).status_code == 404
        assert server.stop() == 0
        if not reads:
            os.close(end)


def test_connections_beyond_all_files_are_lost_and_the_server_goes_on(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, faulty(tmp_path, SCARCE, stderr=log) as server:
        address = ("127.0.0.1", server.port)
        with ExitStack() as open_ones:
            for _ in range(200):
                open_ones.enter_context(socket.create_connection(address, timeout=BOUND_S))
            last = open_ones.enter_context(socket.create_connection(address, timeout=BOUND_S))
            assert last.recv(1) == b"", "a connection that can't be served is closed"
        until(lambda: answers(server), "a server that answers again")
        assert server.get("/health").status_code == 200
        assert server.stop() == 0
    assert len((tmp_path / "log").read_text()) < 20_000


def test_it_may_open_as_many_files_as_the_machine_allows(tmp_path: Path) -> None:
    with faulty(tmp_path, FEW) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"^Max open files +4096 +4096 ", limits, re.M)


def answers(server: Server) -> bool:
    try:
        return server.get("/health").status_code == 200
    except httpx.TransportError:
        return False
