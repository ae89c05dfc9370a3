"""A hub of models on loopback, as `hf download` asks for it: the list of a repository's files,
their sizes and tags, their bytes from any place on. It can break off, or stand still, halfway.
"""

import hashlib
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """One repository. `asked` are the files that were fetched, with the byte they began at."""

    def __init__(self, repo: str, files: Mapping[str, bytes]):
        self.repo = repo
        self.files = files
        self.asked: list[tuple[str, int]] = []
        self.breaks = 0
        """So many more times a file is broken off in the middle."""
        self.told: dict[str, int] = {}
        """Sizes that are told when somebody asks before, where they are others."""
        self.gated = False
        self.stands = threading.Event()
        """Set: a file stands still in the middle."""
        self.halfway = threading.Event()
        self.closing = threading.Event()

    @contextmanager
    def serving(self) -> Generator[str]:
        """Its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"hub": self})


def _tag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.gated and "/resolve/" in path:
            self._head(0, status=403, X_Error_Code="GatedRepo")
        elif path.startswith(f"/api/models/{self.hub.repo}/tree/"):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _tag(content)}
                    for name, content in self.hub.files.items()
                ]
            )
        elif path.startswith(f"/api/models/{self.hub.repo}"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            self._json({"id": self.hub.repo, "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/{self.hub.repo}/resolve/"):
            self._file(path.split("/", 5)[5], body=body)
        else:
            self._head(0, status=404, X_Error_Code="RepoNotFound")

    def _json(self, value: object) -> None:
        text = json.dumps(value).encode()
        self._head(len(text))
        self.wfile.write(text)

    def _head(self, length: int, status: int = 200, **more: str) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _file(self, name: str, *, body: bool) -> None:
        content = self.hub.files[name]
        said = self.headers.get("Range")
        start = int(said.removeprefix("bytes=").split("-")[0]) if said else 0
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        ranged = {"Content_Range": span} if said else {}
        length = len(content) - start if body else self.hub.told.get(name, len(content))
        self._head(length, 206 if said else 200, ETag=f'"{_tag(content)}"', **ranged)
        if body:
            self.hub.asked.append((name, start))
            self._pour(content[start:])

    def _pour(self, content: bytes) -> None:
        """Large files stop in the middle, where that is asked for."""
        half = len(content) // 2 if len(content) > 1_000_000 else 0
        self.wfile.write(content[:half])
        if half:
            self.hub.halfway.set()
            if self.hub.stands.is_set():
                self.hub.closing.wait()
            if self.hub.breaks:
                self.hub.breaks -= 1
                self.close_connection = True
                return
        self.wfile.write(content[half:])
