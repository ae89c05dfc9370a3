"""Keys and TLS over real sockets, as a person starts the server."""

import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .servers import MODEL, ROOT, ProcessServer, environment, free_port
from .waiting import BOUND_S, until

KEY = "ann-0123456789abcdef"
CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"


@pytest.mark.parametrize("how", [["main.py"], ["-m", "uvicorn", "main:app"]])
@pytest.mark.parametrize("what", ["missing", "empty", "a mistake"])
def test_a_bad_file_of_keys_stops_the_start_and_is_named(
    tmp_path: Path, how: list[str], what: str
) -> None:
    path = tmp_path / "keys"
    if what != "missing":
        path.write_text(f"ann {KEY}\nbob\n" if what == "a mistake" else "")
    done = subprocess.run(
        [sys.executable, *how],
        cwd=ROOT,
        env=environment(HOST="127.0.0.1", PORT=free_port(), OV_API_KEYS=path),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode != 0
    assert "OV_API_KEYS: " in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_uvicorn_serves_tls_and_asks_for_a_key(cache: Path, tmp_path: Path) -> None:
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*CERTIFICATE.split(), *files, *names], check=True, capture_output=True)
    port = free_port()
    env = environment(
        OV_DEVICE="CPU",
        OV_CACHE_DIR=cache,
        OV_REGISTRY_PATH=tmp_path / "registry.json",
        OV_API_KEYS=f"ann={KEY}",
    )
    start = ["-m", "uvicorn", "main:app", "--port", str(port), "--workers", "1"]
    start += ["--ssl-certfile", str(tmp_path / "cert.pem")]
    start += ["--ssl-keyfile", str(tmp_path / "key.pem")]
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    url = f"https://localhost:{port}"
    server = ProcessServer(start, env, port, tmp_path)
    try:
        until(server.accepting, "a server that listens")
        with httpx.Client(base_url=url, verify=trusted, trust_env=False, timeout=BOUND_S) as client:
            assert list(client.get("/health").json()) == ["status", "version"]
            assert client.get("/v1/models").status_code == 401
            shown = {"Authorization": f"Bearer {KEY}", "Origin": url}
            models = client.get("/v1/models", headers=shown).json()["data"]
            assert [model["id"] for model in models] == [MODEL]
            foreign = shown | {"Origin": "https://evil.example"}
            assert client.get("/v1/models", headers=foreign).status_code == 403
        server.stop()
        assert "key=ann" in server.log
        assert KEY not in server.log
    finally:
        server.kill()
