"""Who may use the server: keys and their limits, hosts and origins, bodies, models, and what errors
tell of the machine."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import openai
import pytest
from apps import HI, Server, Start, problem
from fakes import model_folder, soon, write_registry
from fastapi.routing import APIRoute

from main import router
from ov_server import modelroutes
from ov_server.access import Pace
from ov_server.errors import RateLimited, said
from ov_server.keys import Key
from ov_server.launch import greet

pytestmark = pytest.mark.anyio

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
KEYS = f"ann={ANN},bob={BOB}"
SHOWN = {"Authorization": f"Bearer {ANN}"}
ROUTES = sorted(
    {
        (method, route.path.replace("{name:path}", "a"))
        for each in (router, modelroutes.router)
        for route in each.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
)
OPEN = {("GET", "/health"), ("HEAD", "/health")}


def keyed(server: Server, key: str = ANN) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def file_of(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(0o600)
    return path


async def ask(
    server: Server, headers: Mapping[str, str] | None = None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    """Status and body of a chat."""
    body = {"model": "a", "messages": HI} | fields
    answer = await soon(server.http.post("/v1/chat/completions", json=body, headers=headers))
    return answer.status_code, answer.json()


# Keys.


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_but_health_wants_a_key(start: Start, method: str, path: str) -> None:
    async with start("a", api_keys=KEYS) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = await server.http.request(method, path, headers=headers)
            if (method, path) in OPEN:
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["X-Request-Id"]
            if method != "HEAD":
                assert problem(answer)["code"] == "invalid_api_key"
        assert server.loader.engines == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/health"),
        ("OPTIONS", "/health"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/health/../v1/models"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/v1/chat/completions"),
    ],
)
async def test_nothing_else_is_open(start: Start, method: str, path: str) -> None:
    async with start("a", api_keys=KEYS) as server:
        assert (await server.http.request(method, path)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ANN}"},
        {"Authorization": f"bearer   {ANN} "},
        {"x-api-key": ANN},
        {"api-key": ANN},
        {"Authorization": "Bearer none", "x-api-key": ANN},
        {"Authorization": "Basic YTpi", "api-key": ANN},
    ],
)
async def test_a_key_is_taken_where_clients_put_it(start: Start, headers: dict[str, str]) -> None:
    async with start("a", api_keys=KEYS) as server:
        assert (await ask(server, headers))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": ANN},
        {"Authorization": f"Basic {ANN}"},
        {"Authorization": f"Bearer {ANN}x"},
        {"Authorization": f"Bearer {ANN},{BOB}"},
        {"x-api-key": ""},
        {"x-api-key": f"ann={ANN}"},
        {"api-key": "schlüssel"},
        {"Cookie": f"api-key={ANN}"},
    ],
)
async def test_anything_else_is_no_key(start: Start, headers: dict[str, str]) -> None:
    async with start("a", api_keys=KEYS) as server:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = await server.http.get("/v1/models", headers=raw)
        assert answer.status_code == 401
        assert ANN not in answer.text


async def test_a_key_in_the_address_is_none(start: Start) -> None:
    async with start("a", api_keys=KEYS) as server:
        assert (await server.http.get(f"/v1/models?api-key={ANN}")).status_code == 401


async def test_the_official_client_shows_its_key(start: Start) -> None:
    async with start("a", api_keys=KEYS) as server:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(server.app))
        async with openai.AsyncOpenAI(
            api_key=ANN, base_url="http://test/v1", http_client=http, max_retries=0
        ) as client:
            answer = await client.chat.completions.create(model="a", messages=HI)
            assert answer.choices[0].message.content
            wrong = client.with_options(api_key="wrong")
            with pytest.raises(openai.AuthenticationError) as caught:
                await wrong.chat.completions.create(model="a", messages=HI)
        assert caught.value.code == "invalid_api_key"


async def test_health_tells_strangers_only_whether_all_is_well(start: Start) -> None:
    async with start("a", "bad", keys={"bad": {"pinned": 1}}, api_keys=KEYS) as server:
        brief = (await server.http.get("/health", headers={"Authorization": "Bearer x"})).json()
        whole = (await server.http.get("/health", headers=SHOWN)).json()
    assert list(brief) == ["status", "version"]
    assert brief["status"] == whole["status"] == "degraded"
    assert whole["models"]["registered"] == ["a"]


async def test_without_keys_health_tells_all_and_everybody_is_served(server: Server) -> None:
    assert (await server.http.get("/health")).json()["models"]["registered"] == ["a", "b"]
    assert (await ask(server, {"Authorization": "Bearer whatever"}))[0] == 200


async def test_log_and_metrics_have_the_keys_name_and_never_the_key(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async with start("a", api_keys=KEYS) as server:
        await ask(server, SHOWN)
        await ask(server, {"x-api-key": "a-wrong-key-of-somebody"})
        await server.http.get("/health", headers={"x-api-key": "a-wrong-key-of-somebody"})
        figures = (await server.http.get("/metrics", headers=SHOWN)).text
    route = 'route="/v1/chat/completions"'
    assert f'ov_requests_total{{key="ann",outcome="ok",{route}}} 1.0' in figures
    assert 'ov_requests_total{key="",outcome="invalid_api_key",route="none"} 1.0' in figures
    log = capsys.readouterr().err
    assert re.search(r"POST /v1/chat/completions .*key=ann .*outcome=ok", log)
    assert re.search(r"POST /v1/chat/completions .*outcome=invalid_api_key", log)
    for secret in (ANN, BOB, "a-wrong-key-of-somebody"):
        assert secret not in log + figures


async def test_a_change_of_the_file_counts_at_once_and_a_broken_one_degrades(
    start: Start, tmp_path: Path
) -> None:
    path = file_of(tmp_path, f"ann {ANN}\n")
    async with start("a", api_keys=str(path)) as server:
        assert (await ask(server, SHOWN))[0] == 200
        file_of(tmp_path, f"bob {BOB}\n")
        assert (await ask(server, SHOWN))[0] == 401
        assert (await ask(server, keyed(server, BOB)))[0] == 200
        path.unlink()
        assert (await ask(server, keyed(server, BOB)))[0] == 200
        assert (await ask(server, {}))[0] == 401
        health = (await server.http.get("/health", headers=keyed(server, BOB))).json()
        assert health["status"] == "degraded"
        [reason] = health["reasons"]
        assert reason.startswith("OV_API_KEYS: ")
        assert str(tmp_path) not in reason
        assert (await server.http.get("/health")).json()["status"] == "degraded"


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.168.1.5", None, True),
        ("mini", None, True),
        ("0.0.0.0", KEYS, False),
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
    ],
)
async def test_the_start_warns_where_everybody_may_use_the_server(
    start: Start, capsys: pytest.CaptureFixture[str], host: str, keys: str | None, warned: bool
) -> None:
    async with start("a", api_keys=keys) as server:
        greet(server.app, host, 9000)
    said, log = capsys.readouterr()
    assert ("WARNING whoever reaches this port" in log) == warned
    assert ("$OV_SERVER_KEY" in said) == bool(keys)
    assert ANN not in said + log


# Limits of a key.


def pace(clock: list[float]) -> Pace:
    return Pace(lambda: clock[0])


def limited(number: int | None) -> Key:
    return Key("ann", b"", requests_per_minute=number)


def test_a_window_slides_and_tells_when_the_next_request_may_come() -> None:
    now = [0.0]
    taken = pace(now)
    for at in (0.0, 20.0, 50.0):
        now[0] = at
        taken.keep(limited(3))
    for _ in range(3):  # refusals do not count
        with pytest.raises(RateLimited) as caught:
            taken.keep(limited(3))
    assert caught.value.retry_after == 10
    now[0] = 59.5
    with pytest.raises(RateLimited) as caught:
        taken.keep(limited(3))
    assert caught.value.retry_after == 1
    now[0] = 60.0
    taken.keep(limited(3))
    with pytest.raises(RateLimited) as caught:
        taken.keep(limited(3))
    assert caught.value.retry_after == 20


def test_another_limit_counts_at_once() -> None:
    now = [0.0]
    taken = pace(now)
    for at in (0.0, 10.0, 20.0):
        now[0] = at
        taken.keep(limited(10))
    with pytest.raises(RateLimited) as caught:
        taken.keep(limited(1))
    assert caught.value.retry_after == 60  # the last one has to leave the window
    taken.keep(limited(None))
    taken.keep(limited(1))


def test_each_key_has_a_window_of_its_own() -> None:
    taken = pace([0.0])
    taken.keep(Key("ann", b"", requests_per_minute=1))
    taken.keep(Key("bob", b"", requests_per_minute=1))
    with pytest.raises(RateLimited):
        taken.keep(Key("ann", b"", requests_per_minute=1))


async def test_a_request_too_many_is_told_when_to_come_back(start: Start, tmp_path: Path) -> None:
    path = file_of(tmp_path, f"ann {ANN} requests_per_minute=2\nbob {BOB}\n")
    async with start("a", api_keys=str(path)) as server:
        for _ in range(2):
            assert (await ask(server, SHOWN))[0] == 200
        body = {"model": "a", "messages": HI}
        answer = await server.http.post("/v1/chat/completions", json=body, headers=SHOWN)
        assert answer.status_code == 429
        assert problem(answer)["code"] == "rate_limit_exceeded"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert (await server.http.get("/v1/models", headers=SHOWN)).status_code == 200
        for _ in range(3):
            assert (await ask(server, keyed(server, BOB)))[0] == 200


MODELS = {"b": {"aliases": ["other"]}, "org/c": {}}
LIMITED = f"ann {ANN} models=a,other\nbob {BOB}\n"


async def test_a_key_for_some_models_sees_and_uses_no_others(start: Start, tmp_path: Path) -> None:
    path = file_of(tmp_path, LIMITED)
    async with start("a", "b", "org/c", keys=MODELS, api_keys=str(path)) as server:
        cards = (await server.http.get("/v1/models", headers=SHOWN)).json()["data"]
        assert [card["id"] for card in cards] == ["a", "b"]
        for name, status in {"a": 200, "b": 200, "other": 200, "org/c": 404, "no": 404}.items():
            assert (await ask(server, SHOWN, model=name))[0] == status
            shown = await server.http.get(f"/v1/models/{name}", headers=SHOWN)
            assert shown.status_code == status
        cards = (await server.http.get("/v1/models", headers=keyed(server, BOB))).json()["data"]
        assert len(cards) == 3
        assert (await ask(server, keyed(server, BOB), model="org/c"))[0] == 200


async def test_a_model_that_a_key_is_not_for_is_as_if_it_were_not_there(
    start: Start, tmp_path: Path
) -> None:
    path = file_of(tmp_path, LIMITED)
    async with start("a", "b", "org/c", keys=MODELS, api_keys=str(path)) as server:
        hidden = (await ask(server, SHOWN, model="org/c"))[1]["error"]
        missing = (await ask(server, SHOWN, model="org/x"))[1]["error"]
        assert hidden["code"] == missing["code"] == "model_not_found"
        assert hidden["message"].replace("org/c", "org/x") == missing["message"]
        assert "Models here: a, b." in hidden["message"]
        for path_ in ("/load", "/unload", "/pin"):
            answer = await server.http.post(f"/v1/models/org/c{path_}", headers=SHOWN)
            assert answer.status_code == 404
        for path_ in ("/models/load", "/models/unload"):
            answer = await server.http.post(path_, json={"model": "org/c"}, headers=SHOWN)
            assert answer.status_code == 404
        assert list((await server.http.get("/health", headers=SHOWN)).json()) == [
            "status",
            "version",
        ]
        metrics = await server.http.get("/metrics", headers=SHOWN)
        assert metrics.status_code == 403
        assert "org/c" not in metrics.text
        assert server.loader.engines == []


async def test_the_model_for_unknown_names_is_for_keys_that_name_it(
    start: Start, tmp_path: Path
) -> None:
    fallback = model_folder(tmp_path, "fallback")
    path = file_of(tmp_path, f"ann {ANN} models=a\nbob {BOB} models=fallback\n")
    async with start("a", api_keys=str(path), model_path=fallback) as server:
        assert (await ask(server, SHOWN, model="gpt-4"))[0] == 404
        status, body = await ask(server, keyed(server, BOB), model="gpt-4")
        assert (status, body["model"]) == (200, "fallback")
        assert (await ask(server, keyed(server, BOB), model="a"))[0] == 404


# Browsers.


@pytest.mark.parametrize("host", ["evil.com", "evil.com:9000", "mini.local.evil.com", "a b", "a,b"])
async def test_a_name_that_somebody_pointed_here_is_refused(server: Server, host: str) -> None:
    for method, path in (("GET", "/health"), ("POST", "/v1/models/a/load")):
        answer = await server.http.request(method, path, headers={"Host": host})
        assert answer.status_code == 403
        assert "OV_ALLOWED_HOSTS" in problem(answer)["message"]
    assert server.loader.engines == []


@pytest.mark.parametrize("host", ["test", "mini.local:9000", "192.168.1.5:9000", "[::1]:9000"])
async def test_a_name_of_the_house_is_answered(server: Server, host: str) -> None:
    assert (await server.http.get("/v1/models", headers={"Host": host})).status_code == 200


async def test_two_hosts_are_none_and_forwarded_ones_are_not_looked_at(server: Server) -> None:
    two = [("Host", "mini"), ("Host", "evil.com")]
    assert (await server.http.get("/health", headers=two)).status_code == 403
    forwarded = {"Host": "evil.com", "X-Forwarded-Host": "mini"}
    assert (await server.http.get("/health", headers=forwarded)).status_code == 403
    forwarded = {"Host": "mini", "X-Forwarded-Host": "evil.com"}
    assert (await server.http.get("/health", headers=forwarded)).status_code == 200


async def test_a_request_without_a_host_is_no_browsers(server: Server) -> None:
    status, _ = await server.call().answer()  # names no host
    assert status == 200


async def test_a_list_of_hosts_is_the_whole_list(start: Start) -> None:
    async with start("a", allowed_hosts="llm.example.com,.house.example") as server:
        for host, status in {
            "llm.example.com": 200,
            "x.house.example:443": 200,
            "localhost:9000": 200,
            "test": 403,
            "mini.local": 403,
        }.items():
            answer = await server.http.get("/health", headers={"Host": host})
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("mini:9000", "http://mini:9000", 200),
        ("Mini:9000", "http://mini:9000", 200),
        ("mini.x.ts.net", "https://mini.x.ts.net", 200),
        ("mini", "http://mini:80", 200),
        ("mini:9000", "http://mini:9001", 403),
        ("mini:9000", "http://mini", 403),
        ("mini:9000", "http://evil.com", 403),
        ("mini:9000", "http://evil.com:9000", 403),
        ("mini:9000", "http://mini:9000.evil.com", 403),
        ("mini:9000", "http://mini:9000@evil.com", 403),
        ("mini:9000", "null", 403),
        ("mini:9000", "", 403),
        ("mini:9000", "file://", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_only_the_servers_own_pages_may_use_it(
    server: Server, method: str, host: str, origin: str, status: int
) -> None:
    headers = {"Host": host, "Origin": origin}
    answer = await server.http.request(method, "/v1/models/a", headers=headers)
    assert (answer.status_code == 403) == (status == 403)
    if status == 403:
        assert "OV_CORS_ORIGINS" in problem(answer)["message"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("site", "method", "refused"),
    [
        ("cross-site", "POST", True),
        ("cross-site", "DELETE", True),
        ("cross-site", "GET", False),
        ("same-origin", "POST", False),
        ("none", "POST", False),
    ],
)
async def test_a_foreign_page_without_an_origin_may_look_and_do_nothing(
    server: Server, site: str, method: str, refused: bool
) -> None:
    headers = {"Sec-Fetch-Site": site}
    answer = await server.http.request(method, "/v1/models/a/load", headers=headers)
    assert (answer.status_code == 403) == refused


PAGE = "https://chat.example"


async def test_a_page_of_the_list_may_use_the_server(start: Start) -> None:
    async with start("a", api_keys=KEYS, cors_origins=PAGE) as server:
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        before = await server.http.options("/v1/chat/completions", headers=asked)
        assert before.status_code == 200
        assert before.headers["Access-Control-Allow-Origin"] == PAGE
        assert "authorization" in before.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in before.headers
        body = {"model": "a", "messages": HI}
        for headers, status in ((SHOWN, 200), ({}, 401)):  # it may read refusals as well
            answer = await server.http.post(
                "/v1/chat/completions", json=body, headers={"Origin": PAGE} | headers
            )
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert {"X-Request-Id", "X-Session-Id", "Retry-After"} <= set(exposed.split(", "))


@pytest.mark.parametrize(
    "origin", [f"{PAGE}.evil.com", "http://chat.example", f"{PAGE}:444", "null"]
)
async def test_a_page_that_is_not_of_the_list_may_not(start: Start, origin: str) -> None:
    async with start("a", cors_origins=PAGE) as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for method in ("OPTIONS", "GET", "POST"):
            answer = await server.http.request(method, "/v1/models", headers=asked)
            assert answer.status_code == 403
            assert problem(answer)["code"] == "forbidden"
            assert "Access-Control-Allow-Origin" not in answer.headers


# Bodies.

POSTS = sorted(path for method, path in ROUTES if method == "POST")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "text/plain;application/json", "application/x-www-form-urlencoded"]
)
async def test_a_body_that_is_not_called_json_is_refused(
    server: Server, path: str, kind: str | None
) -> None:
    body = json.dumps({"model": "a", "messages": HI, "pinned": True}).encode()
    headers = {"Content-Type": kind} if kind else {}
    answer = await server.http.post(path, content=body, headers=headers)
    assert answer.status_code == 400
    assert "Content-Type: application/json" in problem(answer)["message"]
    assert server.loader.engines == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_a_body_that_is_called_json_is_read(server: Server, kind: str) -> None:
    body = json.dumps({"model": "a", "messages": HI}).encode()
    headers = {"Content-Type": kind}
    answer = await server.http.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 200


async def test_no_body_needs_no_type(server: Server) -> None:
    for path in ("load", "pin", "unload"):
        assert (await server.http.post(f"/v1/models/a/{path}")).status_code == 200


# Models' names and paths.

ODD = ["../../etc/passwd", "/etc/passwd", "..", ".", "~", "file:///etc/passwd", "\0", "a\0", "CON"]
ODD += [
    "b",
    "./b",
    "a/../b",
    "b/.",
    "b/openvino_model.xml",
    "%62",
    "a\\..\\b",
    "{}/b",
    "file://{}/b",
]
ODD += ["x" * 5000, ""]
"""Names that are none, some of which would lead to a model that is there, if they led anywhere."""


@pytest.mark.parametrize("name", ODD)
async def test_no_models_name_reaches_the_file_system(
    start: Start, tmp_path: Path, name: str
) -> None:
    model_folder(tmp_path, "b")  # beside the registry, and not in it
    said = name.replace("{}", str(tmp_path))
    async with start("a") as server:
        heard = [await ask(server, model=said)]
        for path in ("load", "unload"):
            answer = await server.http.post(f"/models/{path}", json={"model": said})
            heard.append((answer.status_code, answer.json()))
        shown = await server.http.get(f"/v1/models/{quote(said, safe='')}")
        if said not in ("", ".", ".."):  # the client makes another address of these
            heard.append((shown.status_code, shown.json()))
        assert {status for status, _ in heard} <= {400, 404}
        assert {body["error"]["code"] for _, body in heard} <= {"model_not_found", None}
        assert server.loader.begun == []
        assert server.app.state.models.slots() == {}


def turn(link: Path, elsewhere: Path) -> None:
    """What was checked leads there still: the entry holds what the link led to."""
    link.unlink()
    link.symlink_to(elsewhere)


async def test_a_registry_may_be_kept_to_one_folder(start: Start, tmp_path: Path) -> None:
    outside = model_folder(tmp_path / "outside", "x")
    out = tmp_path / "out"
    model_folder(out, "a")
    (out / "link").symlink_to(outside)
    (out / "own").symlink_to(out / "a")
    (out / "circle").symlink_to(out / "circle")
    (tmp_path / "way in").symlink_to(out)
    paths = {
        "a": str(out / "a"),
        "own": str(out / "own"),
        "way": str(tmp_path / "way in" / "a"),
        "outside": str(outside),
        "link": str(out / "link"),
        "dots": str(out / ".." / "outside" / "x"),
        "itself": str(out),
        "beside": str(tmp_path / "outer"),
        "circle": str(out / "circle"),
    }
    async with start("m", confine_models=True, model_out=out) as server:
        write_registry(
            tmp_path / "registry.json", {name: {"path": path} for name, path in paths.items()}
        )
        listed = (await server.http.get("/v1/models")).json()["data"]
        assert [card["id"] for card in listed] == ["a", "own", "way"]
        for name in ("outside", "link", "dots", "itself", "beside", "circle"):
            status, body = await ask(server, model=name)
            assert status == 404
            assert "Its registry entry is left out: path: " in body["error"]["message"]
            assert str(tmp_path) not in body["error"]["message"]
        assert (await ask(server, model="own"))[0] == 200
        turn(out / "own", outside)
        assert server.app.state.registry.find("own").path == out / "a"
    async with start("m") as server:
        write_registry(tmp_path / "registry.json", {"outside": {"path": str(outside)}})
        assert (await ask(server, model="outside"))[0] == 200


# What errors tell of the machine.


async def everything(server: Server, name: str) -> str:
    """Every text that a client can get of a model."""
    texts = [json.dumps((await ask(server, model=name))[1])]
    texts.append(json.dumps((await ask(server, model="nobody"))[1]))
    for path in ("/v1/models", f"/v1/models/{name}", "/health"):
        texts.append((await server.http.get(path)).text)
    for action in ("load", "pin", "unload"):
        texts.append((await server.http.post(f"/v1/models/{name}/{action}")).text)
    return "\n".join(texts)


@pytest.mark.parametrize(
    "trouble",
    ["gone", "empty", "no model", "a broken GGUF", "a locked GGUF", "no home", "broken registry"],
)
async def test_no_error_tells_where_things_lie(start: Start, tmp_path: Path, trouble: str) -> None:
    async with start("a", "b") as server:
        model = tmp_path / "a"
        if trouble == "gone":
            shutil.rmtree(model)
        elif trouble == "empty":
            shutil.rmtree(model)
            model.mkdir()
        elif trouble == "broken registry":
            (tmp_path / "registry.json").write_text("{")
        else:
            path = tmp_path / "m.gguf"
            if trouble == "no model":
                path = tmp_path / "m.txt"
            if trouble == "a locked GGUF":
                path.symlink_to("/proc/self/mem")
            elif trouble != "no home":
                path.write_bytes(b"GGUF")
            shown = "~nobody-here/models/m" if trouble == "no home" else str(path)
            write_registry(tmp_path / "registry.json", {"a": {"path": shown}})
        texts = await everything(server, "a")
    assert str(tmp_path) not in texts
    assert str(Path.home()) not in texts
    assert "nobody-here" not in texts
    assert "Traceback" not in texts


@pytest.mark.parametrize(
    "words",
    [
        "can't open {}/model.bin",
        "can't open '{}/model.bin'",
        'can\'t open "{}/my models/model.bin"',
        "can't open file:{}/model.bin",
        "path={}/model.bin: no such file",
        "({}/model.bin) is broken",
    ],
)
async def test_what_the_runtime_says_of_a_load_names_no_folder(server: Server, words: str) -> None:
    text = said(RuntimeError(words.format("/home/somebody/models")))
    assert "somebody" not in text
    assert "my models" not in text
    assert "model.bin" in text
    server.loader.errors["a"] = RuntimeError(words.format("/home/somebody/models"))
    status, body = await ask(server)
    assert (status, body["error"]["code"]) == (500, "model_load_failed")
    assert "somebody" not in json.dumps(body)


def test_an_address_is_no_path() -> None:
    text = "see https://docs.example.com/a/b/c and a/b, 1/2 or and/or"
    assert said(RuntimeError(text)) == text


# Bodies of those who may not.


async def test_a_refused_clients_body_is_not_read_but_the_answer_can_be(start: Start) -> None:
    async with start(api_keys="home=0123456789abcdef") as server:
        app = server.app
        sent: list[dict[str, Any]] = []
        taken = 0

        async def receive() -> dict[str, Any]:
            nonlocal taken
            taken += 1
            assert sent, "the answer comes first"
            return {"type": "http.request", "body": b"x" * 1000, "more_body": taken < 5}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"5000")],
            "client": ("192.0.2.7", 4711),
        }
        await soon(app(scope, receive, send))
        assert sent[0]["status"] == 401
        assert (b"connection", b"close") in sent[0]["headers"]
        assert taken == 5
