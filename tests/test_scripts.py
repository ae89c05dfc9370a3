"""ov-warm-models and ov-load-profile against the real app, whose engines are fakes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from apps import healthy
from fakes import FakeLoader, models_on_disk
from model.servers import ThreadServer, free_port

from main import create_app
from ov_server.errors import LoadFailed
from ov_server.settings import Settings

SCRIPTS = Path(__file__).parent.parent / "scripts"

PROFILES = """
# sets of models
small: a
both:   a b   # two of them
alias: other

slashes: org/model:1
missing: a nowhere
nothing: nowhere
"""


class Desk:
    """A person at a shell, and the server that the scripts find."""

    def __init__(self, server: ThreadServer, loader: FakeLoader, folder: Path):
        self.server = server
        self.loader = loader
        self.folder = folder
        self.home = folder / "my home"
        self.config = self.home / ".config" / "ov-llm-server"
        self.config.mkdir(parents=True)
        self.env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PORT": str(server.port)}

    def run(self, name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        script = self.folder / "a link"
        script.unlink(missing_ok=True)
        script.symlink_to(SCRIPTS / name)
        return subprocess.run(
            [script, *arguments],
            env={k: v for k, v in (self.env | env).items() if v},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    def warm(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("ov-warm-models", *arguments, **env)

    def load(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("ov-load-profile", *arguments, **env)

    def cards(self) -> dict[str, dict[str, Any]]:
        return {card["id"]: card for card in self.server.get("/v1/models").json()["data"]}

    def loaded(self) -> list[str]:
        return [name for name, card in self.cards().items() if card["state"] == "loaded"]

    def pinned(self) -> list[str]:
        return [name for name, card in self.cards().items() if card["pinned"]]


Open = Callable[..., Desk]


@pytest.fixture
def desks(tmp_path: Path) -> Iterator[Open]:
    servers: list[ThreadServer] = []

    def open_desk(*names: str, keys: dict[str, Any] | None = None, **said: Any) -> Desk:
        registry = models_on_disk(tmp_path, *names, **(keys or {}))
        settings = Settings.model_validate(
            {"registry_path": registry, "device": "CPU", "kv_cache_gb": 1, **said}
        )
        loader = FakeLoader()
        server = ThreadServer(settings, create_app(settings, loader, healthy))
        server.__enter__()
        servers.append(server)
        return Desk(server, loader, tmp_path)

    yield open_desk
    for server in servers:
        server.__exit__()


@pytest.fixture
def desk(desks: Open) -> Desk:
    desk = desks("a", "b", "org/model:1", keys={"b": {"aliases": ["other"]}})
    (desk.config / "profiles.conf").write_text(PROFILES)
    return desk


# ov-warm-models.


def test_all_models_are_loaded_and_each_has_a_line(desks: Open) -> None:
    desk = desks("a", "b", "org/model:1", max_loaded=2)
    done = desk.warm()
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["a", "b", "org/model:1"]
    for line in lines:
        seconds, s, memory, mb = line.split()[1:]
        assert float(seconds) >= 0
        assert (s, memory, mb) == ("s", "321", "MB")
    assert desk.loader.begun == ["a", "b", "org/model:1"]
    assert last == "Loaded now: b, org/model:1"


def test_models_of_other_tasks_are_left_out(desks: Open) -> None:
    desk = desks("a", "b", keys={"a": {"task": "feature-extraction"}})
    assert desk.warm().returncode == 0
    assert desk.loader.begun == ["b"]


def test_named_models_are_loaded_and_one_that_fails_is_said(desk: Desk) -> None:
    desk.loader.errors["b"] = LoadFailed("no such layer")
    done = desk.warm("org/model:1", "b", "no body?", "../x", "a")
    assert (done.returncode, done.stderr) == (1, "")
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "failed: no such layer" in lines["b"]
    assert "failed: The model 'no body?' does not exist." in lines["no body?"]
    assert "failed: " in lines["../x"]
    assert desk.loaded() == ["a", "org/model:1"]


def test_that_nothing_is_loaded_is_said(desk: Desk) -> None:
    done = desk.warm("nobody")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "Loaded now: nothing"


@pytest.mark.parametrize("script", ["ov-warm-models", "ov-load-profile"])
def test_help_is_given_without_a_server(desk: Desk, script: str) -> None:
    done = desk.run(script, "--help", PORT="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script}")
    assert "http://localhost:1" in done.stdout
    assert desk.run(script, "--what").returncode == 2


@pytest.mark.parametrize("arguments", [["ov-warm-models"], ["ov-warm-models", "a"],
                                       ["ov-load-profile", "small"]])  # fmt: skip
def test_a_server_that_does_not_answer_is_one_clear_line(desk: Desk, arguments: list[str]) -> None:
    done = desk.run(*arguments, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "OV_SERVER_URL" in done.stderr


def test_what_is_no_ov_llm_server_is_said(desk: Desk) -> None:
    done = desk.warm(OV_SERVER_URL=f"{desk.server.url}/elsewhere")
    assert done.returncode != 0
    assert "There is no GET /elsewhere/v1/models" in done.stderr


ANSWERS = {
    "a page": "<html>hello</html>",
    "nothing": "",
    "a list": "[1]",
    "another's models": '{"data": [{"id": "a"}]}',
    "a model that is not loaded": '{"data": [{"id": "a", "state": "unloaded", "pinned": false, '
    '"capabilities": ["chat"], "aliases": []}]}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("script", ["ov-warm-models", "ov-load-profile"])
def test_a_program_that_answers_otherwise_is_one_clear_line(
    desk: Desk, script: str, answer: str
) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    (desk.config / "profiles.conf").write_text("small: a")
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = Thread(target=stranger.serve_forever)
        thread.start()
        words = ["small"] if script == "ov-load-profile" else ["a"]
        done = desk.run(script, *words, PORT=str(stranger.server_port))
        stranger.shutdown()
        thread.join()
    assert done.returncode == 3
    url = f"http://localhost:{stranger.server_port}"
    assert f"what answers at {url} is no ov-llm-server" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("how", ["OV_SERVER_URL", "with /v1", "PORT", "ov-server.env"])
def test_the_server_is_found_where_it_is_said_to_be(desk: Desk, how: str) -> None:
    port = desk.server.port
    closed = str(free_port())
    (desk.config / "ov-server.env").write_text(f"#PORT=1\nPORT={closed}\nOV_PORT=2\n")
    env = {
        "OV_SERVER_URL": {"OV_SERVER_URL": f"http://127.0.0.1:{port}/", "PORT": closed},
        "with /v1": {"OV_SERVER_URL": f"http://127.0.0.1:{port}/v1", "PORT": closed},
        "PORT": {"PORT": str(port)},
        "ov-server.env": {"PORT": ""},
    }[how]
    if how == "ov-server.env":
        (desk.config / "ov-server.env").write_text(f'PORT=1\nPORT="{port}"\n')
    done = desk.warm("a", **env)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("HOST=192.0.2.7", "http://192.0.2.7:9000"),
        ("HOST = '192.0.2.7' \nPORT=\"9001\"", "http://192.0.2.7:9001"),
        ("HOST=0.0.0.0\nPORT=9001", "http://localhost:9001"),
        ("HOST=::\n", "http://localhost:9000"),
        ("HOST=::1\nPORT=9001\n#PORT=9002", "http://[::1]:9001"),
    ],
)
def test_the_server_is_where_the_services_settings_have_it(desk: Desk, said: str, url: str) -> None:
    (desk.config / "ov-server.env").write_text(said)
    assert f"({url})" in desk.warm("--help", PORT="").stdout
    assert "(http://192.0.2.8:1)" in desk.warm("--help", HOST="192.0.2.8", PORT="1").stdout


def test_a_port_that_is_none_is_said(desk: Desk) -> None:
    (desk.config / "ov-server.env").write_text("PORT=abc\n")
    done = desk.warm(PORT="")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert f"PORT=abc is no port: correct it in {desk.config}/ov-server.env" in done.stderr


def test_settings_of_curl_change_nothing(desk: Desk) -> None:
    (desk.home / ".curlrc").write_text("include\nmax-time = 0.001\n")
    assert desk.warm("a").returncode == 0


def test_a_login_without_a_home_is_enough(desk: Desk) -> None:
    done = desk.warm("a", HOME="")
    assert (done.returncode, done.stderr) == (0, "")


ANN, BOB = "ann-\"0123456789\\'$HOME", "bob-0123456789abcdef"


@pytest.mark.parametrize("how", ["OV_SERVER_KEY", "OV_API_KEYS", "a list", "a file", "a file, ~"])
def test_a_key_is_shown_where_the_server_wants_one(desks: Open, tmp_path: Path, how: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\nbob {BOB} models=b\nann {ANN}\n")
    file.chmod(0o600)
    desk = desks("a", "b", api_keys=str(file))
    (desk.home / "keys").symlink_to(file)
    said = {"a list": f"ann={ANN}", "a file": str(file), "a file, ~": "~/keys"}.get(how)
    if said is not None:
        quoted = said.replace("\\", r"\\").replace('"', r"\"").replace("$", r"\$")
        (desk.config / "ov-server.env").write_text(f'OV_API_KEYS="{quoted}"\n')
    elsewhere = {"OV_SERVER_KEY": ANN, "OV_SERVER_URL": desk.server.url}
    env = {"OV_SERVER_KEY": elsewhere, "OV_API_KEYS": {"OV_API_KEYS": f"ann={ANN},bob={BOB}"}}
    done = desk.warm("a", **env.get(how, {}))
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.loader.begun == ["a"]


@pytest.mark.parametrize("arguments", [["ov-warm-models"], ["ov-warm-models", "a"]])
def test_a_key_that_is_missing_or_wrong_is_one_clear_line(
    desks: Open, arguments: list[str]
) -> None:
    desk = desks("a", api_keys=f"ann={ANN}")
    for shown in ("", "wrong"):
        done = desk.run(*arguments, OV_SERVER_KEY=shown, OV_API_KEYS="/no/such/file")
        assert done.returncode != 0
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert "OV_SERVER_KEY" in done.stderr
        assert "wrong" not in done.stderr


def test_this_machines_keys_are_shown_to_no_other_server(desks: Open) -> None:
    desk = desks("a", api_keys=f"ann={ANN}")
    done = desk.warm(OV_API_KEYS=f"ann={ANN}", OV_SERVER_URL=desk.server.url)
    assert "OV_SERVER_KEY" in done.stderr


def test_a_list_of_hosts_does_not_shut_the_scripts_out(desks: Open) -> None:
    desk = desks("a", allowed_hosts="llm.example.com")
    assert desk.warm("a", HOST="127.0.0.1").returncode == 0


def test_a_proxy_is_not_asked_for_this_machine(desk: Desk) -> None:
    assert desk.warm("a", http_proxy="http://127.0.0.1:1").returncode == 0


# ov-load-profile.


def test_a_profile_is_loaded_and_pinned_and_others_leave(desk: Desk) -> None:
    desk.server.act("/v1/models/org/model:1/pin")
    done = desk.load("both")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["a", "b", "org/model:1"]
    assert (lines[0][2:], lines[2][1]) == (["s", "321", "MB"], "released")
    assert (desk.loaded(), desk.pinned()) == (["a", "b"], ["a", "b"])
    assert desk.load("small").returncode == 0
    assert (desk.loaded(), desk.pinned()) == (["a"], ["a"])
    assert desk.loader.begun == ["org/model:1", "a", "b"]


def test_a_profile_takes_the_places_of_one_that_had_them_all(desks: Open) -> None:
    desk = desks("a", "b", "c", "d", max_loaded=2)
    (desk.config / "profiles.conf").write_text("one: a b\ntwo: c d")
    assert desk.load("one").returncode == 0
    assert desk.load("two").returncode == 0
    assert (desk.loaded(), desk.pinned()) == (["c", "d"], ["c", "d"])


def test_a_model_that_the_registry_pins_is_released_too(desks: Open) -> None:
    desk = desks("a", "b", keys={"b": {"pinned": True}}, max_loaded=1)
    (desk.config / "profiles.conf").write_text("one: a")
    assert desk.load("one").returncode == 0
    assert (desk.loaded(), desk.pinned()) == (["a"], ["a"])


@pytest.mark.parametrize(("profile", "name"), [("alias", "b"), ("slashes", "org/model:1")])
def test_aliases_and_slashes_may_stand_in_a_profile(desk: Desk, profile: str, name: str) -> None:
    assert desk.load(profile).returncode == 0
    assert desk.pinned() == [name]


def test_a_model_that_is_not_registered_is_said_and_the_others_are_loaded(desk: Desk) -> None:
    done = desk.load("missing")
    assert (done.returncode, done.stderr) == (1, "")
    assert "ov-convert-model" in next(x for x in done.stdout.splitlines() if "nowhere" in x)
    assert desk.pinned() == ["a"]


def test_a_model_that_does_not_load_is_said_and_the_others_are_loaded(desk: Desk) -> None:
    desk.loader.errors["a"] = LoadFailed("no such layer")
    done = desk.load("both")
    assert done.returncode == 1
    assert "failed: no such layer" in done.stdout
    assert desk.pinned() == ["b"]


def test_a_profile_of_which_nothing_is_there_changes_nothing(desk: Desk) -> None:
    desk.server.act("/v1/models/a/pin")
    assert desk.load("nothing").returncode == 1
    assert desk.pinned() == ["a"]


def test_profiles_are_shown(desk: Desk) -> None:
    done = desk.load()
    assert done.returncode == 0
    assert str(desk.config / "profiles.conf") in done.stdout
    shown = [line.split() for line in done.stdout.splitlines()[1:]]
    assert shown[:2] == [["small", "a"], ["both", "a", "b"]]


def test_an_unknown_profile_names_the_known_ones(desk: Desk) -> None:
    done = desk.load("big")
    assert done.returncode == 1
    assert "small both alias" in done.stderr
    assert desk.loader.begun == []


def test_the_projects_profiles_stand_in_for_ones_own(desk: Desk) -> None:
    (desk.config / "profiles.conf").unlink()
    shown = [line.split()[0] for line in desk.load().stdout.splitlines()[1:]]
    assert shown == ["fast", "balanced", "quality", "memory"]


def test_the_projects_profiles_fit() -> None:
    lines = (SCRIPTS.parent / "profiles.conf").read_text().splitlines()
    sets = [line.split(":")[1].split() for line in lines if line and not line.startswith("#")]
    assert len(sets) == 4
    assert all(0 < len(names) <= Settings.model_fields["max_loaded"].default for names in sets)


def test_ov_profiles_names_the_file(desk: Desk) -> None:
    own = desk.folder / "own profiles"
    own.write_text("mine: b")
    assert desk.load("mine", OV_PROFILES=str(own)).returncode == 0
    assert desk.pinned() == ["b"]
    gone = desk.load("mine", OV_PROFILES="/nowhere")
    assert gone.returncode == 1
    assert "/nowhere" in gone.stderr


@pytest.mark.parametrize("line", ["fast a b", ": a", "  :"])
def test_a_line_that_is_none_is_named(desk: Desk, line: str) -> None:
    (desk.config / "profiles.conf").write_text(f"small: a\n{line}\n")
    done = desk.load("small")
    assert done.returncode == 1
    assert "line 2 " in done.stderr
    assert desk.loader.begun == []
