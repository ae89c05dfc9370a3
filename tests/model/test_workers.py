"""The processes that models run in: what becomes of answers when one is lost."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import psutil

from .clients import Streamed, alphabet, asking, long_prompt, read_stream, stream
from .servers import MODEL, ProcessServer, process_server
from .waiting import until


def test_a_worker_that_is_killed_costs_nobody_an_answer(server: ProcessServer) -> None:
    with ThreadPoolExecutor(5) as pool:
        running, begun = [], []
        for number in range(4):
            middle = Event()
            body, text = alphabet(3 * number, 100)
            saw = lambda answer, m=middle: m.set() if answer.deltas else None  # noqa: E731
            running.append((pool.submit(read_stream, server, body, saw), text))
            begun.append(middle)
        assert all(middle.wait(60) for middle in begun)
        prompt = asking(f"newcomer {long_prompt(150)}", max_tokens=4, ignore_eos=True)
        newcomer = pool.submit(read_stream, server, prompt)
        until(lambda: server.queue()["running"] == 5, "the newcomer's prompt in work")
        server.worker().kill()
        for future, text in running:
            answer: Streamed = future.result()
            answer.check(max_tokens=100)
            assert answer.text == text
        newcomer.result().check(max_tokens=4)
        assert server.health()["reasons"] == []
        assert len(server.workers()) == 1


def test_a_worker_that_is_killed_while_it_loads_is_replaced(cache: Path, tmp_path: Path) -> None:
    with process_server(tmp_path, cache) as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post, asking("Hello", max_tokens=2))
        server.worker().kill()
        assert answer.result().status_code == 200
        assert server.health()["reasons"] == []
        assert len(server.workers()) == 1


def test_a_worker_that_hangs_does_not_hold_up_the_end(cache: Path, tmp_path: Path) -> None:
    with process_server(tmp_path, cache, OV_STOP_GRACE_S=1) as server:
        body, _ = alphabet(0, 200)
        with stream(server, body) as chunks:
            assert next(chunks) is not None
            hung = server.worker()
            until(lambda: server.queue()["running"] == 1, "a running answer")
            hung.suspend()
        assert server.stop(signal.SIGTERM) == 0
        assert not hung.is_running()


def test_a_load_that_hangs_is_called_off_by_an_unload_and_by_the_end(
    cache: Path, tmp_path: Path
) -> None:
    with process_server(tmp_path, cache, OV_STOP_GRACE_S=1) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(f"POST /v1/models/{MODEL}/load HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            hung = server.worker()
            hung.suspend()
        until(lambda: server.log_lines("POST /v1/models", "load"), "a client that is seen to leave")
        assert server.loading(MODEL)
        assert server.act(f"/v1/models/{MODEL}/unload").json()["state"] == "unloaded"
        assert not hung.is_running()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.act, f"/v1/models/{MODEL}/load")
            hung = server.worker()
            hung.suspend()
            assert server.stop(signal.SIGTERM) == 0
            assert not hung.is_running()
            assert "stopping" in waiting.result().text


def test_a_gguf_file_that_is_never_read_does_not_hold_up_the_end(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with (
        process_server(tmp_path, cache, OV_STOP_GRACE_S=1) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(server.act, f"/v1/models/{MODEL}/load")
        hung = until(lambda: server.children("ov_server.conversion"), "a conversion")[0]
        hung.suspend()
        assert server.stop(signal.SIGTERM) == 0
        assert not hung.is_running()
        assert "stopping" in waiting.result().text
    assert list((cache / "gguf").iterdir()) == []


def test_no_file_of_a_model_is_mapped_so_it_may_be_written_in_place(
    server: ProcessServer, converted: Path
) -> None:
    for process in (psutil.Process(server.process.pid), server.worker()):
        mapped = {Path(each.path) for each in process.memory_maps()}
        assert [path for path in mapped if path.is_relative_to(converted)] == []
