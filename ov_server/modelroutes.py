"""The routes that load, unload and pin models, and those of llama-server's router for the same,
which Open WebUI calls. Owns their bodies and answers; Models decides when a model comes and goes.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from . import openai
from .access import find_model
from .entries import Entry
from .routes import answers, routes, send
from .wire import Outcome

router = routes()


class PinBody(BaseModel):
    """The body of a pin. A misspelt key is no harmless one: it would pin what is to be released."""

    model_config = ConfigDict(strict=True, extra="forbid")

    pinned: bool = True


class NamingBody(BaseModel):
    """What llama-server's router is sent; clients may add to it."""

    model_config = ConfigDict(strict=True)

    model: str = Field(min_length=1)


@send(router, "/v1/models/{name:path}/load", "/models/{name:path}/load", **answers())
async def load_model(name: str, request: Request) -> Response:
    entry = find_model(request, name)
    return Outcome(openai, lambda: _load(request, entry), request.state.record)


@send(router, "/v1/models/{name:path}/unload", "/models/{name:path}/unload", **answers())
async def unload_model(name: str, request: Request) -> Response:
    entry = find_model(request, name)
    return Outcome(openai, lambda: _unload(request, entry), request.state.record)


@send(router, "/v1/models/{name:path}/pin", "/models/{name:path}/pin", **answers())
async def pin_model(name: str, request: Request, body: PinBody | None = None) -> Response:
    entry = find_model(request, name)
    if body is None or body.pinned:
        return Outcome(openai, lambda: _load(request, entry, pin=True), request.state.record)
    return Outcome(openai, lambda: _release(request, entry), request.state.record)


@send(router, "/models/load", "/v1/models/load", **answers())
async def load_as_llama_server(body: NamingBody, request: Request) -> Response:
    entry = find_model(request, body.model)
    return Outcome(openai, lambda: _success(_load(request, entry)), request.state.record)


@send(router, "/models/unload", "/v1/models/unload", **answers())
async def unload_as_llama_server(body: NamingBody, request: Request) -> Response:
    entry = find_model(request, body.model)
    return Outcome(openai, lambda: _success(_unload(request, entry)), request.state.record)


async def _load(request: Request, entry: Entry, *, pin: bool = False) -> dict[str, Any]:
    models = request.app.state.models
    slot = models.slots().get(entry.name)
    before, began = slot and slot.engine, time.monotonic()
    async with models.lease(entry.name) as engine:
        seconds = 0.0 if engine is before else round(time.monotonic() - began, 3)
        if pin:
            models.pin(entry.name, True)
        facts = {"seconds": seconds, "memory_mb": engine.memory_mb()}
        return await _card(request, entry) | facts


async def _unload(request: Request, entry: Entry) -> dict[str, Any]:
    await request.app.state.models.unload(entry.name)
    return await _card(request, entry)


async def _release(request: Request, entry: Entry) -> dict[str, Any]:
    request.app.state.models.pin(entry.name, False)
    return await _card(request, entry)


async def _card(request: Request, entry: Entry) -> dict[str, Any]:
    return await asyncio.to_thread(request.app.state.status.card, entry)


async def _success(work: Awaitable[object]) -> dict[str, Any]:
    """In llama-server's words; where that answers at once, this answers when it is done."""
    await work
    return {"success": True}
