"""The routes of sessions: their events, state and end; and what a request says of its session."""

import asyncio
import hashlib
import re
import uuid
from contextlib import suppress
from typing import Any

from fastapi import Request, Response

from . import openai
from .errors import BadRequest, EventsGone, SessionBusy
from .routes import answers, look, resumable, routes, send
from .sessions import Asked, Session
from .wire import Outcome, Stream

router = routes()

_CANCEL_S = 5
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_EVENT_ID = re.compile(r"([A-Za-z0-9._:-]{1,128}):([0-9]{1,12})")


def asked(request: Request, body: openai.ChatBody) -> Asked:
    """The session that a request is to have, by `session_id` in its body or by header."""
    header, said = request.headers.get("X-Session-Id"), body.session_id
    record = request.state.record
    if header is not None and not _ID.fullmatch(header):
        raise BadRequest(
            "X-Session-Id: must be 1 to 128 characters of A-Z a-z 0-9 . _ : -", param="session_id"
        )
    if header and said and header != said:
        raise BadRequest(
            "'session_id' and the header X-Session-Id differ; send one.", param="session_id"
        )
    chosen = said or header
    return Asked(
        chosen or uuid.uuid4().hex,
        chosen is not None,
        owner=_owner(request),
        digest=_digest(body),
        client=record.caller,
        most=record.key and record.key.concurrent_requests,
        priority=openai.priority_of(body),
    )


def _digest(body: openai.ChatBody) -> str:
    """The same for a request that is sent again, with or without its session's name."""
    said = repr([(name, value) for name, value in body if name not in ("session_id", "timeout")])
    return hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()


async def resumed(request: Request, body: openai.ChatBody) -> Response | None:
    """The rest of an answer that the client has begun to read; None for a request of its own."""
    place = _last_event(request)
    if place is None:
        return None
    if not body.stream:
        raise BadRequest("Last-Event-ID needs stream: true.", param="stream")
    session = await _find(request, place[0])
    if body.session_id not in (None, session.id):
        raise BadRequest("'session_id' and Last-Event-ID name two sessions.", param="session_id")
    if session.asked.digest != _digest(body):
        raise SessionBusy(
            f"The session '{session.id}' answers another request than this one. Send the same body "
            f"as before, or read on with GET /v1/sessions/{session.id}/events."
        )
    return _read(request, session, place[1] + 1)


@router.get(
    "/v1/sessions/{name}/events",
    response_class=Response,
    **answers(json=False, event_stream="The answer's chunks, or the whole of it as one."),
    **resumable(),
)
async def session_events(name: str, request: Request) -> Response:
    session = await _find(request, name)
    place = _last_event(request)
    if place is not None and place[0] != session.id:
        raise BadRequest(
            f"Last-Event-ID is of the session '{place[0]}', not '{session.id}'.",
            param="last_event_id",
        )
    return _read(request, session, 0 if place is None else place[1] + 1)


@look(router, "/v1/sessions/{name}")
async def show_session(name: str, request: Request) -> dict[str, Any]:
    return (await _find(request, name)).status()


@router.delete("/v1/sessions/{name}", **answers())
async def end_session(name: str, request: Request) -> Response:
    return await _cancel(request, name)


@send(router, "/v1/cancel/{name}", **answers())
async def cancel_session(name: str, request: Request) -> Response:
    return await _cancel(request, name)


async def _cancel(request: Request, name: str) -> Response:
    session = await _find(request, name)

    async def cancel() -> dict[str, Any]:
        session.cancel()
        with suppress(TimeoutError):  # an engine that stands still ends it later
            async with asyncio.timeout(_CANCEL_S):
                await session.over()
        return session.status()

    return Outcome(openai, cancel, request.state.record)


async def _find(request: Request, name: str) -> Session:
    return await request.app.state.sessions.find(_owner(request), name)


def _owner(request: Request) -> str:
    key = request.state.record.key
    return "" if key is None else key.name


def _last_event(request: Request) -> tuple[str, int] | None:
    """The session and index of the last event that the client has."""
    said = request.headers.get("Last-Event-ID") or request.query_params.get("last_event_id")
    if not said:
        return None
    found = _EVENT_ID.fullmatch(said)
    if found is None:
        raise BadRequest(
            "Last-Event-ID must be SESSION:INDEX, as in the id of an event.", param="last_event_id"
        )
    return found[1], int(found[2])


def _read(request: Request, session: Session, start: int) -> Response:
    if start < session.first:
        raise EventsGone(session.first)
    if start > session.next and not session.cut:
        last = f"the last one has the index {session.next - 1}" if session.next else "none so far"
        raise BadRequest(
            f"The session '{session.id}' has had no event of that index: {last}.",
            param="last_event_id",
        )
    record = request.state.record
    record.model, record.streamed = session.model, True
    keep_alive_s = request.app.state.settings.keep_alive_s
    return Stream(openai, session, record, start=start, keep_alive_s=keep_alive_s)
