"""How this server's routes differ from FastAPI's: HEAD beside GET, paths without /v1, and errors
in OpenAI's shape."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter


def routes() -> APIRouter:
    """An empty router, whose routes' errors are described as they are."""
    return APIRouter(
        responses={
            "4XX": {"description": "What is wrong with the request, in OpenAI's shape"},
            "5XX": {"description": "What went wrong here, in OpenAI's shape"},
        }
    )


def look(router: APIRouter, path: str, *same: str) -> Callable[[Any], Any]:
    """A route for GET and HEAD, and other paths to it that the API's description leaves out."""

    def add(endpoint: Any) -> Any:
        router.get(path)(endpoint)
        for also in same:
            router.get(also, include_in_schema=False)(endpoint)
        for each in (path, *same):
            router.head(each, include_in_schema=False)(endpoint)
        return endpoint

    return add


def send(router: APIRouter, path: str, *same: str) -> Callable[[Any], Any]:
    """A route for POST, and other paths to it that the API's description leaves out."""

    def add(endpoint: Any) -> Any:
        router.post(path)(endpoint)
        for also in same:
            router.post(also, include_in_schema=False)(endpoint)
        return endpoint

    return add
