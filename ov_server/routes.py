"""How this server's routes differ from FastAPI's: HEAD beside GET, paths without /v1, and errors
in OpenAI's shape; and how they are described in /openapi.json."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

Described = dict[str, Any]
"""What a route's decorator takes beside its path: answers, and parameters that are read by hand."""

_PLACE = "SESSION:INDEX of the last event that the client has: the answer goes on behind it"


class Problem(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every error's body."""

    error: Problem


def routes() -> APIRouter:
    """An empty router, whose routes' errors are described as they are."""
    return APIRouter(
        responses={
            "4XX": {"model": ErrorBody, "description": "What is wrong with the request"},
            "5XX": {"model": ErrorBody, "description": "What went wrong here"},
        }
    )


def answers(json: bool = True, **texts: str) -> Described:
    """The answer is an object of JSON, or a text of a type: `event_stream` or `plain`."""
    content = {"application/json": {"schema": {"type": "object"}}} if json else {}
    for kind, said in texts.items():
        schema = {"type": "string", "description": said}
        content[f"text/{kind.replace('_', '-')}"] = {"schema": schema}
    return {"responses": {200: {"content": content}}}


def resumable(*, names: bool = False) -> Described:
    """The route reads where a client goes on, and may read the name of its session."""
    parameters = [_text("Last-Event-ID", "header", _PLACE), _text("last_event_id", "query", _PLACE)]
    if names:
        said = "The answer's name, as session_id in the body"
        parameters.append(_text("X-Session-Id", "header", said))
    return {"openapi_extra": {"parameters": parameters}}


def _text(name: str, place: str, said: str) -> Described:
    return {"name": name, "in": place, "description": said, "schema": {"type": "string"}}


def look(router: APIRouter, path: str, *same: str, **described: Any) -> Callable[[Any], Any]:
    """A route for GET and HEAD, and other paths to it that the API's description leaves out."""

    def add(endpoint: Any) -> Any:
        router.get(path, **described)(endpoint)
        for also in same:
            router.get(also, include_in_schema=False)(endpoint)
        for each in (path, *same):
            router.head(each, include_in_schema=False)(endpoint)
        return endpoint

    return add


def send(router: APIRouter, path: str, *same: str, **described: Any) -> Callable[[Any], Any]:
    """A route for POST, and other paths to it that the API's description leaves out."""

    def add(endpoint: Any) -> Any:
        router.post(path, **described)(endpoint)
        for also in same:
            router.post(also, include_in_schema=False)(endpoint)
        return endpoint

    return add
