"""The server, top to bottom: the registry of models, the models in memory, the app with its
health, models and chat routes. `uvicorn main:app` runs it; importing it loads nothing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from ov_server import (
    __version__,
    access,
    bodies,
    failures,
    modelroutes,
    openai,
    proberoutes,
    sessionroutes,
)
from ov_server.changes import Changes, Precedence
from ov_server.clock import Clock
from ov_server.core import ChatRequest, Engine, Event
from ov_server.entries import Entry, RegistryState, entry_of
from ov_server.errors import LoadFailed, ModelNotFound, ServerError, Unavailable
from ov_server.eviction import make_room
from ov_server.journal import Journal
from ov_server.launch import launch
from ov_server.logs import set_up_logging
from ov_server.memory import rss_mb
from ov_server.metrics import Figures, Recorder
from ov_server.modelfiles import EMBEDDED_NAME, ModelFiles, embedded_model, glance, inspect
from ov_server.places import Guest, Places
from ov_server.registryfile import RegistryFile
from ov_server.routes import answers, look, resumable, routes, send
from ov_server.sessions import Session, Sessions
from ov_server.settings import Settings, misspelt, read_settings
from ov_server.slots import Inventory, Loader, Slot, idle_s, key_of, load, size_of
from ov_server.status import Device, Probe, Status, probe_device
from ov_server.wire import Showing, respond

log = logging.getLogger("ov_server")


# The registry.


class Registry:
    """Names to entries. The file is read again when it is another one: a stat a look-up, a parse
    when it changed; a file that can't be understood takes nothing away."""

    def __init__(self, path: Path, model_path: Path | None = None, within: Path | None = None):
        self.path = path
        self._file = RegistryFile(path, within)
        self._fallback = entry_of(model_path) if model_path else None
        embedded = embedded_model()
        self._embedded = entry_of(embedded, EMBEDDED_NAME) if embedded else None

    @property
    def state(self) -> RegistryState:
        """What the file said when it was last understood."""
        return self._file.state

    @property
    def error(self) -> str | None:
        """Why the file can't be understood now."""
        return self._file.error

    def find(self, name: str) -> Entry:
        """The entry of a name or an alias. Raises ModelNotFound, which lists the names."""
        self._file.refresh()
        if name not in self.state.names:
            self._file.read()  # the file's clock may be too coarse to tell that it changed
        entry = self.state.names.get(name) or self._unregistered(name)
        if entry is None:
            raise ModelNotFound(name, [e.name for e in self.entries()], self._trouble(name))
        return entry

    def entries(self) -> list[Entry]:
        """All models; the one of OV_MODEL_PATH is the last, the embedded one stands alone."""
        self._file.refresh()
        entries = [self.state.entries[name] for name in sorted(self.state.entries)]
        if self._fallback is not None and self._fallback.name not in self.state.names:
            return [*entries, self._fallback]
        return entries or ([self._embedded] if self._embedded else [])

    def _unregistered(self, name: str) -> Entry | None:
        if self._fallback is None:
            return next((e for e in self.entries() if e.name == name), None)
        if name != self._fallback.name:
            log.warning("no model '%s': '%s' answers", name[:200], self._fallback.name)
        return self._fallback

    def _trouble(self, name: str) -> str | None:
        """Why a name may be missing that its owner expects to be there."""
        if mistake := self.state.mistakes.get(name):
            return f"Its registry entry is left out: {mistake}."
        return "The registry can't be read: see /health." if self.error else None


# The models in memory.


class Models(Inventory):
    """The models in memory. All state is the event loop's; loading and freeing run elsewhere."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        load: Loader = load,
        clock: Clock | None = None,
    ):
        super().__init__()
        self._registry = registry
        self._settings = settings
        self._load = load
        self._clock: Clock = clock or asyncio.get_running_loop()
        each = settings.max_running + settings.max_queue
        self._places = Places(each, settings.max_requests, self._clock)
        self._turn = asyncio.Lock()
        self._changes = Changes()
        self._precedence = Precedence(self._clock, self._changes)
        self._pins: dict[str, bool] = {}
        self._broken: dict[str, tuple[object, str]] = {}
        self._swept = registry.state
        self._stopping = False

    @asynccontextmanager
    async def lease(self, name: str, guest: Guest | None = None) -> AsyncGenerator[Engine]:
        """The engine of a model, which stays in memory until the lease ends; loaded if need be.

        Raises QueueFull where there is no place for the guest.
        """
        with self._places.taken(self._registry.find(name).name, guest):
            slot = await self._claim(name)
            try:
                yield await asyncio.shield(slot.ready)
            finally:
                slot.leases -= 1
                self._settle(slot)

    async def _claim(self, name: str) -> Slot:
        """Counts a lease on what the name means now."""
        while True:
            if self._stopping:
                raise Unavailable("The server is stopping. Send the request again later.")
            slot = self._current(self._registry.find(name))
            if self._precedence.holds and slot.engine and not self.pinned(slot.entry):
                await self._changes.next()  # a model waits for room
                continue
            slot.leases += 1
            if slot.timer is not None:
                slot.timer = slot.timer.cancel()
            return slot

    def _current(self, entry: Entry) -> Slot:
        """The slot of an entry as it is on disk now; what it replaces is on its way out."""
        if self._swept is not self._registry.state:
            self._swept = self._registry.state
            known = {e.name for e in self._registry.entries()}
            for gone in [s for s in self._slots.values() if s.entry.name not in known]:
                self._retire(gone)
        slot = self._slots.get(entry.name)
        seen = glance(entry.path)
        if slot is not None and slot.entry is entry and slot.seen == seen and not slot.failed:
            return slot
        try:
            files = inspect(entry.path)
        except LoadFailed:
            if slot is not None and slot.engine and not slot.failed:
                return slot  # in memory, whatever became of its files
            raise
        key = key_of(entry, files, self._settings)
        if slot is not None and (slot.key != key or slot.failed):
            written = key[0] != slot.key[0] and not files.settled
            if slot.engine and not slot.failed and (written or self._still_leaving(entry.name)):
                return slot  # files half-written, or changed again and again
            self._retire(slot)
            slot = None
        if slot is None:
            size = size_of(entry, files, self._settings)
            slot = Slot(entry, key, size, asyncio.get_running_loop().create_future())
            self._slots[entry.name] = slot
            slot.fill = asyncio.create_task(self._fill(slot, files))
        slot.entry, slot.seen = entry, seen
        return slot

    async def _fill(self, slot: Slot, files: ModelFiles) -> None:
        """Loads a slot's engine when its turn has come and there is room."""
        try:
            async with self._turn:
                await self._wait_for_room(slot)
                what = slot.entry, files, self._settings, slot.cancellation
                with slot.loading():
                    engine = await asyncio.to_thread(self._load, *what)
            self._broken.pop(slot.entry.name, None)
            slot.ready.set_result(engine)
            slot.log_load(engine)
            self._settle(slot)
        except Exception as error:
            told = slot.log_failure(error)
            if isinstance(told, LoadFailed):
                self._broken[slot.entry.name] = slot.seen, told.message
            self._call_off(slot, told)

    def _call_off(self, slot: Slot, error: ServerError) -> None:
        """No engine will come of the slot: its waiters get the error, the next request tries."""
        self._forget(slot)
        self._leaving.discard(slot)
        if slot.fill is not None and slot.load_began is None:
            slot.fill.cancel()
        if not slot.ready.done():
            slot.ready.set_exception(error)
            slot.ready.exception()  # seen, also when no waiter is left
        self._changes.tell()

    async def _wait_for_room(self, slot: Slot) -> None:
        limit = self._settings.memory_limit_gb
        memory = None if limit is None else limit * 1e9
        try:
            while True:
                loaded = [s.as_loaded(self.pinned(s.entry)) for s in self._all() if s.engine]
                room = make_room(slot.size, loaded, most=self._settings.max_loaded, memory=memory)
                if room.refusal:
                    raise Unavailable(f"'{slot.entry.name}' can't be loaded: {room.refusal}.")
                if not room.wait:
                    break
                self._precedence.begin()
                await self._changes.next()
        finally:
            self._precedence.end()
        leaving = [self._retire(self._slots[name]) for name in room.evict]
        if freed := [task for task in leaving if task is not None]:
            await asyncio.wait(freed)

    def _settle(self, slot: Slot) -> None:
        """What follows when nobody is left: its load is called off, it goes, or it idles. A load
        that has begun is only called off when the model is no longer wanted by its name."""
        slot.used_at = self._clock.time()
        self._changes.tell()
        seconds = idle_s(slot.entry, self._settings)
        if slot.leases:
            return
        if slot.engine is None:
            if not slot.is_loading and not slot.ready.done():
                self._call_off(slot, Unavailable("Nobody waits for the model any more."))
            elif slot.retired:
                slot.cancellation.call()
        elif slot.retired:
            self._retire(slot)
        elif seconds and not self.pinned(slot.entry):
            slot.timer = self._clock.call_later(seconds, self._idle, slot)

    def _idle(self, slot: Slot) -> None:
        """The idle time is over, unless the registry says otherwise by now."""
        with suppress(ServerError):
            entry = self._registry.find(slot.entry.name)
            if entry is not slot.entry:
                slot.entry = entry
                self._settle(slot)
                return
        self._retire(slot)

    def _retire(self, slot: Slot) -> asyncio.Task[None] | None:
        """Takes a slot from its name; it is freed now, or when its last lease has ended."""
        self._forget(slot)
        slot.retired = True
        if slot.free is None:
            self._leaving.add(slot)
        if not slot.leases:
            if slot.engine is None:
                self._settle(slot)
            elif slot.free is None:
                slot.free = asyncio.create_task(self._free(slot, slot.engine))
        return slot.free

    async def _free(self, slot: Slot, engine: Engine) -> None:
        try:
            await asyncio.to_thread(engine.close)
        except Exception:
            log.exception("'%s' does not close as it should", slot.entry.name)
        self._leaving.discard(slot)
        log.info("unloaded", extra={"facts": {"model": slot.entry.name, "rss_mb": rss_mb()}})
        self._changes.tell()

    def pinned(self, entry: Entry) -> bool:
        """Whether a model stays for ever: as was said last, else as the registry says."""
        return self._pins.get(entry.name, entry.pinned)

    def pin(self, name: str, pinned: bool) -> None:
        """Keeps a model that is in memory there, until the server restarts; or no longer."""
        entry = self._registry.find(name)
        slot = self._slots.get(entry.name)
        self._pins[entry.name] = pinned and slot is not None
        if slot is not None and not pinned and slot.timer is None:
            self._settle(slot)

    async def unload(self, name: str) -> None:
        """Takes a model and its pin from the name; returns when its memory is free, if nobody is
        left who uses it or waits for it."""
        entry = self._registry.find(name)
        self._pins[entry.name] = False
        slot = self._slots.get(entry.name)
        if slot is not None:
            self._retire(slot)
        self._changes.tell()  # its place is free, whoever is still on it
        if slot is not None and not slot.leases and (ending := slot.free or slot.fill):
            await asyncio.wait({ending})

    def broken(self) -> dict[str, tuple[object, str]]:
        """By name: what a glance at the files told when they did not load, and why they didn't."""
        return self._broken

    async def warm(self, name: str) -> None:
        """Loads a model ahead of its first request; a failure is in the log."""
        with suppress(ServerError):
            async with self.lease(name):
                pass

    async def stop(self) -> None:
        """Ends all work with an error and frees all memory."""
        self._stopping = True
        for slot in self._all():
            if slot.is_loading:
                slot.cancellation.call()
            elif slot.engine is None:
                self._call_off(slot, Unavailable("The server is stopping."))
        await asyncio.gather(*(s.fill for s in self._all() if s.fill), return_exceptions=True)
        for slot in self._all():
            slot.leases = 0
            self._retire(slot)
        await asyncio.gather(*(s.free for s in self._all() if s.free), return_exceptions=True)


# The app.

router = routes()


@look(router, "/health")
async def health(request: Request) -> dict[str, Any]:
    return request.app.state.status.health(request.state.record.key)


@look(router, "/v1/models", "/models")
async def list_models(request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(request.app.state.status.cards, access.models_for(request))


@look(router, "/v1/models/{name:path}", "/models/{name:path}")
async def show_model(name: str, request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(request.app.state.status.card, access.find_model(request, name))


@send(
    router,
    "/v1/chat/completions",
    "/chat/completions",
    **answers(event_stream="With stream: true, the answer's chunks."),
    **resumable(names=True),
)
async def chat(body: openai.ChatBody, request: Request) -> Response:
    if (rest := await sessionroutes.resumed(request, body)) is not None:
        return rest
    state, record = request.app.state, request.state.record
    entry = access.find_model(request, body.model)
    chat_request = openai.parse(body, entry)
    record.model, record.streamed = entry.name, bool(body.stream)
    session = state.sessions.begin(sessionroutes.asked(request, body), entry.name)
    showing = Showing(
        openai,
        openai.heading(body, entry.name, session.id),
        choices=chat_request.choices,
        streamed=record.streamed,
    )
    events = answer(state.models, entry.name, chat_request, session)
    return respond(session, showing, events, record, state.settings, body.timeout)


async def answer(
    models: Models, name: str, request: ChatRequest, session: Session
) -> AsyncGenerator[Event]:
    """The events of one completion, under a lease that ends with them."""
    request = replace(request, client=session.client)
    async with (
        models.lease(name, session) as engine,
        aclosing(engine.chat(request, session.halt)) as events,
    ):
        async for event in events:
            yield event


def create_app(settings: Settings, load: Loader = load, probe: Probe = probe_device) -> FastAPI:
    """The app. It reads no file and starts nothing before its lifespan does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        state = app.state
        set_up_logging(settings.log_level, settings.log_format)
        for said in misspelt():
            log.warning("%s", said)
        log.info("ov-llm-server %s", __version__, extra={"facts": settings.model_dump(mode="json")})
        state.registry = Registry(settings.registry_path, settings.model_path, settings.within)
        state.models = Models(state.registry, settings, load)
        journal = Journal.of(settings, asyncio.get_running_loop())
        state.sessions = Sessions(settings, asyncio.get_running_loop(), journal)
        device = Device(settings.device)
        state.status = Status(state.registry, state.models, device, state.keys, journal)
        state.figures.gauges(state.models.stats)
        tasks = [asyncio.create_task(device.look(probe))]
        pinned = [e.name for e in state.registry.entries() if e.pinned]
        tasks += [asyncio.create_task(state.models.warm(name)) for name in pinned]
        yield
        await state.sessions.stop()
        await state.models.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="ov-llm-server",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.figures = Figures()
    app.add_middleware(bodies.Bodies, most_mb=settings.max_body_mb)
    access.protect(app)  # outside of it: what is refused is not read
    failures.handle(app)
    app.add_middleware(Recorder, figures=app.state.figures)  # outside: it sees every answer
    app.include_router(router)
    for more in (proberoutes, modelroutes, sessionroutes):
        app.include_router(more.router)
    return app


app = create_app(read_settings())

if __name__ == "__main__":
    launch(app)
