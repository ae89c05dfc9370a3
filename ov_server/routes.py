"""How this server's routes differ from FastAPI's: HEAD beside GET, and paths without /v1."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter


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
