"""`main.py` and `uvicorn main:app` as a person or systemd starts and stops them."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from threading import Event

import httpx
import pytest

from .clients import Streamed, alphabet, asking, endless, read_stream, stream
from .servers import MODEL, ROOT, ProcessServer, environment, free_port, process_server
from .waiting import BOUND_S, until


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**{"HOST": "127.0.0.1", "PORT": free_port(), **settings}),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def one_message(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed start says, which is no traceback."""
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert 'File "' not in said, said
    return done.stderr


def test_it_says_where_it_listens_and_which_model_answers(server: ProcessServer) -> None:
    assert f"http://127.0.0.1:{server.port}" in server.said
    assert MODEL in server.said
    assert "curl" in server.said


def test_the_printed_curl_works_as_it_stands(server: ProcessServer) -> None:
    command = server.said[server.said.index("curl ") :]
    if which("curl"):
        env = os.environ | {"NO_PROXY": "*", "no_proxy": "*"}
        done = subprocess.run(
            command,
            shell=True,
            env=env,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=True,
        )
        assert "Paris" in done.stdout
    else:
        url, body = command.split()[1], command.split("-d '")[1].rsplit("'", 1)[0]
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(url, content=body, headers=headers, timeout=BOUND_S, trust_env=False)
        assert "Paris" in answer.text


def test_the_log_tells_the_settings_the_load_and_each_request(server: ProcessServer) -> None:
    with server.http() as client:
        body = asking("Hi", max_tokens=3, ignore_eos=True)
        done = client.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "me-1"})
    assert done.headers["X-Request-Id"] == "me-1"
    line = server.log_line("id=me-1 ")
    for fact in (f"model={MODEL}", "stream=False", "answer_tokens=3", "status=200", "outcome=ok"):
        assert fact in line
    assert f"prompt_tokens={done.json()['usage']['prompt_tokens']}" in line
    assert "device=CPU" in server.log_line("ov-llm-server")
    assert "rss_mb=" in server.log_line(" loaded ", MODEL)
    assert "France" not in server.log


def test_a_second_start_uses_the_converted_model_and_sigterm_ends_it_well(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    with process_server(tmp_path / "first", cache) as first:
        assert first.post(asking("Hello", max_tokens=1)).status_code == 200
    with process_server(tmp_path / "second", cache) as second:
        body, text = alphabet(0, 60)
        middle = Event()

        def pause(answer: Streamed) -> None:
            if len(answer.deltas) == 5:
                middle.set()

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(read_stream, second, body, pause)
            assert middle.wait(BOUND_S)
            assert second.stop(signal.SIGTERM) == 0
            answer = running.result()
    assert answer.text == text, "an answer in work was cut off"
    answer.check(max_tokens=60)
    assert "Traceback" not in second.log
    assert len(first.log_lines("into an OpenVINO model")) == 1
    assert second.log_lines("into an OpenVINO model") == []


def test_an_answer_that_outlasts_the_grace_time_ends_with_an_error_event(
    cache: Path, tmp_path: Path
) -> None:
    with process_server(tmp_path, cache, OV_STOP_GRACE_S=1) as stopping:
        middle = Event()

        def pause(answer: Streamed) -> None:
            if answer.deltas:
                middle.set()

        with ThreadPoolExecutor(2) as pool:
            running = pool.submit(read_stream, stopping, endless(), pause)
            whole = pool.submit(stopping.post, endless())
            assert middle.wait(BOUND_S)
            until(lambda: stopping.queue()["running"] == 2, "two running answers")
            assert stopping.stop(signal.SIGTERM) == 0
            answer, refused = running.result(), whole.result()
    assert answer.text
    assert answer.error is not None
    assert "stopping" in answer.error["message"]
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, answer.error["type"])
    assert "Traceback" not in stopping.log


def test_ctrl_c_ends_it_without_a_traceback(cache: Path, tmp_path: Path) -> None:
    with process_server(tmp_path, cache) as idle:
        assert idle.stop(signal.SIGINT) == 0
    assert "Traceback" not in idle.log


def test_a_second_ctrl_c_stops_at_once_and_without_a_traceback(cache: Path, tmp_path: Path) -> None:
    with process_server(tmp_path, cache) as busy, stream(busy, endless()) as chunks:
        assert next(chunks) is not None
        until(lambda: busy.queue()["running"] == 1, "a running answer")
        busy.process.send_signal(signal.SIGINT)
        until(lambda: "Ctrl-C again" in busy.said, "the server says that it waits")
        assert busy.stop(signal.SIGINT) == 0
    assert "Traceback" not in busy.log
    assert "leaked" not in busy.log


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = one_message(run("main.py", PORT=port))
    assert len(said.splitlines()) == 1
    assert str(port) in said
    assert "PORT=" in said


@pytest.mark.parametrize("port", ["http", "²", "0", "65536"])
def test_a_port_that_is_none_is_one_clear_line(port: str) -> None:
    said = one_message(run("main.py", PORT=port))
    assert len(said.splitlines()) == 1
    assert f"PORT={port}" in said


@pytest.mark.parametrize("how", ["main.py", "uvicorn"])
def test_a_bad_setting_stops_the_start_and_is_named(how: str) -> None:
    uvicorn = ["-m", "uvicorn", "main:app", "--port", str(free_port())]
    arguments = uvicorn if how == "uvicorn" else [how]
    said = one_message(run(*arguments, OV_MAX_LOADED="none", OV_LOG_LEVEL="LOUD"))
    assert "OV_MAX_LOADED" in said
    assert "OV_LOG_LEVEL" in said


def test_uvicorn_serves_the_app(cache: Path, tmp_path: Path) -> None:
    port = free_port()
    env = environment(
        OV_DEVICE="CPU", OV_CACHE_DIR=cache, OV_REGISTRY_PATH=tmp_path / "registry.json"
    )
    arguments = ["-m", "uvicorn", "main:app", "--port", str(port), "--workers", "1"]
    server = ProcessServer(arguments, env, port, tmp_path)
    try:
        until(server.ready, "a server that answers")
        assert [model["id"] for model in server.get("/v1/models").json()["data"]] == [MODEL]
        server.stop()
    finally:
        server.kill()


def test_importing_the_app_loads_no_runtime() -> None:
    code = "import sys, main; print([m for m in sys.modules if m.startswith('openvino')])"
    done = run("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
