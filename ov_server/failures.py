"""The one place where an error that no answer caught becomes a response, in OpenAI's shape."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import openai
from .errors import BadRequest, MethodNotAllowed, NotFound, ServerError
from .mistakes import explain
from .wire import error_response

log = logging.getLogger(__name__)


_ROUTES = (
    "POST /v1/chat/completions, GET /v1/models, /health, /metrics and /openapi.json, "
    "POST /v1/models/NAME/load, /unload and /pin, "
    "GET and DELETE /v1/sessions/NAME, GET /v1/sessions/NAME/events, POST /v1/cancel/NAME, "
    "and llama-server's GET /models, POST /models/load and /models/unload"
)


def handle(app: FastAPI) -> None:
    """Registers the handlers; FastAPI's own bodies never reach a client."""
    app.add_exception_handler(ServerError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Guard)


class Guard:
    """ASGI middleware for what nobody foresaw: the log has it, the client a plain error."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("a request failed")
            problem = ServerError("The server failed on this request; its log says why.")
            await respond(Request(scope), problem)(scope, receive, send)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServerError)
    return respond(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    known: dict[int, ServerError] = {
        404: NotFound(f"There is no {request.method} {path}. There are {_ROUTES}."),
        405: MethodNotAllowed(f"{request.method} is not for {path}{_allowed(error)}."),
        400: BadRequest(
            "The body can't be read as JSON: it must be UTF-8, not nested hundreds of levels deep, "
            "and its numbers have at most some hundred digits."
        ),
    }
    response = respond(request, known.get(error.status_code) or ServerError(str(error.detail)))
    response.headers.update(error.headers or {})
    return response


def _allowed(error: HTTPException) -> str:
    allow = (error.headers or {}).get("Allow")
    return f": use {allow}" if allow else ""


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        why = str(first.get("ctx", {}).get("error")).removesuffix(" at")
        said = f"The body is not valid JSON: {why} at character {first['loc'][-1]}."
        return respond(request, BadRequest(said))
    if not isinstance(error.body, dict):
        json = is_json(request.headers)
        said = "The body must be a JSON object." if json else wrong_type(request.headers)
        return respond(request, BadRequest(said))
    found = [{**finding, "loc": finding["loc"][1:]} for finding in error.errors()]
    mistake = explain(found, error.body)[0]
    said = f"{mistake.path or 'The body'}: {mistake.said}."
    return respond(request, BadRequest(said, param=mistake.path or None))


def respond(request: Request, problem: ServerError) -> Response:
    """An error as a response; the request's record has it, too."""
    record = getattr(request.state, "record", None)
    if record is not None:
        record.failed(problem)
    return error_response(openai, problem)


def is_json(headers: Headers) -> bool:
    """Whether a body's type is one that is read as JSON."""
    kind, _, form = headers.get("content-type", "").split(";")[0].strip().lower().partition("/")
    return kind == "application" and (form == "json" or form.endswith("+json"))


def wrong_type(headers: Headers) -> str:
    """What is said of a body of another type."""
    sent = headers.get("content-type", "none")[:100]
    json = "Send it with Content-Type: application/json"
    return f"The body must be a JSON object. {json} (it was: {sent})."
