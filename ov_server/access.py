"""Who may use the server: the hosts and origins that browsers name, keys, and which models a key is
for. Plain ASGI, inside of Recorder. Knows no route but /health and /metrics.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import LINGER_S, has_body, refuse
from .entries import Entry
from .errors import BadRequest, Forbidden, ModelNotFound, RateLimited, ServerError, Unauthorized
from .failures import is_json, respond, wrong_type
from .hosts import Authority, authority, is_allowed, split_origin
from .keys import Key, Keys
from .metrics import Record

_LOOKING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, and that a page may use without its browser naming its origin."""
_EXPOSED = ("X-Request-Id", "X-Session-Id", "Retry-After")


def protect(app: FastAPI) -> None:
    """Adds what stands before the routes; the last one is the first to see a request."""
    settings = app.state.settings
    said = settings.api_keys
    app.state.keys = Keys(said.get_secret_value() if said else None)
    app.add_middleware(Keyed, keys=app.state.keys)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
    app.add_middleware(
        Browsers, hosts=settings.allowed_hosts, origins=frozenset(settings.cors_origins or ())
    )


class Browsers:
    """Refuses what somebody else's web page can make a browser send: under a name of its own that
    it has pointed here (DNS rebinding), or from its own origin."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None, origins: frozenset[str]):
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._refusal(scope)):
            await _refuse(problem, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ServerError | None:
        headers = Headers(scope=scope)
        named, origins = headers.getlist("host"), headers.getlist("origin")
        host = authority(named[0]) if len(named) == 1 else None
        if named and (host is None or not is_allowed(host.name, self._hosts)):
            return Forbidden(
                f"This server does not answer to the host '{named[0][:200]}'. If it is the "
                "server's name, add it to OV_ALLOWED_HOSTS there."
            )
        if origins and not (len(origins) == 1 and self._takes(origins[0], host)):
            return Forbidden(
                f"Web pages of '{origins[0][:200]}' may not use this server. If they should, add "
                "that origin to OV_CORS_ORIGINS there."
            )
        foreign = headers.get("sec-fetch-site") == "cross-site" and not origins
        if foreign and scope["method"] not in _LOOKING:
            return Forbidden("Web pages of other sites may not use this server.")
        return None

    def _takes(self, origin: str, host: Authority | None) -> bool:
        """Whether an origin is this server's own, as its host is named, or one of the list."""
        if origin in self._origins:
            return True
        scheme, own = split_origin(origin) or (None, None)
        if host is None or own is None:
            return False
        usual = {"http": 80, "https": 443}.get(scheme or "")
        return own.name == host.name and (own.port or usual) == (host.port or usual)


class Keyed:
    """Asks for a key where there are keys, and holds each to its requests a minute. Refuses bodies
    that are not JSON: a page could send those without the browser's asking."""

    def __init__(self, app: ASGIApp, keys: Keys, clock: Callable[[], float] = time.monotonic):
        self._app = app
        self._keys = keys
        self._pace = Pace(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                self._admit(scope, Headers(scope=scope), scope["state"]["record"])
            except ServerError as problem:
                await _refuse(problem, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope, headers: Headers, record: Record) -> None:
        path, method = scope["path"], scope["method"]
        self._keys.refresh()
        if self._keys.needed:
            shown = list(presented(headers))
            fitting = filter(None, map(self._keys.find, shown))
            record.key = key = next(fitting, None)
            if key is None and not (path == "/health" and method in ("GET", "HEAD")):
                raise Unauthorized(shown=bool(shown))
            if key is not None and key.models is not None and path == "/metrics":
                raise Forbidden("This key is for some models, and /metrics tells of all.")
        if method not in _LOOKING and has_body(headers) and not is_json(headers):
            raise BadRequest(wrong_type(headers))
        if method == "POST" and record.key is not None:
            self._pace.keep(record.key)


class Pace:
    """The requests of each key in the last minute."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._taken: dict[str, deque[float]] = {}

    def keep(self, key: Key) -> None:
        """Counts a request. Raises RateLimited, with the seconds until the next one may come, when
        it is one too many; that one does not count."""
        if key.requests_per_minute is None:
            self._taken.pop(key.name, None)
            return
        now = self._clock()
        taken = self._taken.setdefault(key.name, deque())
        while taken and now - taken[0] >= 60:
            taken.popleft()
        if len(taken) >= key.requests_per_minute:
            first = taken[len(taken) - key.requests_per_minute]
            raise RateLimited(key.requests_per_minute, max(1, math.ceil(first + 60 - now)))
        taken.append(now)


def presented(headers: Headers) -> Iterable[bytes]:
    """The keys that a request shows, wherever clients put them."""
    for said in headers.getlist("authorization"):
        scheme, _, key = said.strip().partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            yield key.strip().encode("latin-1")
    for name in ("x-api-key", "api-key"):
        yield from (said.encode("latin-1") for said in headers.getlist(name) if said)


async def _refuse(problem: ServerError, scope: Scope, receive: Receive, send: Send) -> None:
    """Also to a client that is still sending, whose body is not read."""
    response = respond(Request(scope), problem)
    if isinstance(problem, Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="ov-llm-server"'
    if has_body(Headers(scope=scope)):
        await refuse(response, LINGER_S, scope, receive, send)
    else:
        await response(scope, receive, send)


# What a key is for.


def find_model(request: Request, name: str) -> Entry:
    """The model of a name or an alias, for whoever asks. Raises ModelNotFound; what the key is not
    for is as if it were not there."""
    registry, key = request.app.state.registry, request.state.record.key
    if key is None or key.models is None:
        return registry.find(name)
    try:
        entry = registry.find(name)
    except ModelNotFound:
        entry = None
    if entry is None or not _may(key, entry):
        raise ModelNotFound(name, [entry.name for entry in models_for(request)])
    return entry


def models_for(request: Request) -> list[Entry]:
    """All models that whoever asks may use."""
    key = request.state.record.key
    entries = request.app.state.registry.entries()
    return [entry for entry in entries if key is None or _may(key, entry)]


def _may(key: Key, entry: Entry) -> bool:
    return key.models is None or not key.models.isdisjoint((entry.name, *entry.aliases))
