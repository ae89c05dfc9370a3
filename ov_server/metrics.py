"""What is told of each request: its record, its log line, its share in Prometheus' figures."""

import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .core import Arguments, Done, EngineStats, Event, Reasoning, Role, Text, ToolCall
from .errors import ServerError
from .keys import Key
from .lag import Lag

log = logging.getLogger("ov_server.requests")

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_GAPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Figures:
    """The process's Prometheus metrics. Names follow vLLM's, with its units."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._make(
            Counter, "ov_requests", "HTTP requests.", "route", "outcome", "key"
        )
        self.prompt_tokens = self._make(Counter, "ov_prompt_tokens", "Prompt tokens read.", "model")
        self.generation_tokens = self._make(
            Counter, "ov_generation_tokens", "Tokens generated.", "model"
        )
        self.first_token = self._make(
            Histogram,
            "ov_time_to_first_token_seconds",
            "From the request's arrival to its first text.",
            "model",
            buckets=_SECONDS,
        )
        self.inter_token = self._make(
            Histogram,
            "ov_inter_token_latency_seconds",
            "Between two pieces of text of one answer.",
            "model",
            buckets=_GAPS,
        )
        self.request_time = self._make(
            Histogram,
            "ov_e2e_request_latency_seconds",
            "From a completion request's arrival to its end.",
            "model",
            buckets=_SECONDS,
        )
        self.loop_lag = self._make(
            Histogram,
            "ov_event_loop_lag_seconds",
            "How late the event loop is, measured while requests are in flight.",
            buckets=_LAGS,
        )

    def _make(self, kind, name: str, text: str, *labels: str, **more):
        return kind(name, text, labels, registry=self.registry, **more)

    def gauges(self, read: Callable[[], dict[str, EngineStats]]) -> None:
        """Adds what loaded models say of themselves whenever the figures are read."""
        self.registry.register(_ModelGauges(read))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _ModelGauges(Collector):
    def __init__(self, read: Callable[[], dict[str, EngineStats]]):
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        stats = self._read()
        loaded = GaugeMetricFamily("ov_models_loaded", "Models in memory.")
        loaded.add_metric([], len(stats))
        yield loaded
        for name, text, key in (
            ("ov_num_requests_running", "Answers being generated.", "running"),
            ("ov_num_requests_waiting", "Answers waiting for their turn.", "waiting"),
            ("ov_kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", "kv_usage"),
            ("ov_engine_rebuilds", "Pipelines made anew after a failed step.", "rebuilds"),
            ("ov_structured_output_misfits", "Answers that do not fit their schema.", "misfits"),
            ("ov_preemptions", "Answers that stepped back for others.", "preemptions"),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["model"])
            for model, stat in stats.items():
                gauge.add_metric([model], getattr(stat, key))
            yield gauge


@dataclass
class Record:
    """What is known of one request; the route and the answer fill it in."""

    id: str
    client: str
    figures: Figures
    what: str = ""
    """Method and path, as they came."""
    key: Key | None = None
    """The one that it showed, where keys are asked for."""
    started: float = field(default_factory=time.monotonic)
    model: str | None = None
    streamed: bool | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    first_token_s: float | None = None
    tokens_per_second: float | None = None
    status: int = 0
    outcome: str = "ok"

    @property
    def caller(self) -> str:
        """Who asks, as far as that is known: the key's name, else the address."""
        return self.key.name if self.key else self.client

    def failed(self, problem: ServerError) -> None:
        self.outcome = problem.code or problem.kind

    async def watch(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        """Passes the events on and takes their times and counts down."""
        gap = self.figures.inter_token.labels(self.model)
        last: dict[int, float] = {}
        async with aclosing(events) as source:
            async for event in source:
                if isinstance(event, Text | Reasoning | ToolCall | Arguments):
                    now = time.monotonic()
                    if event.index in last:
                        gap.observe(now - last[event.index])
                    elif self.first_token_s is None:
                        self.first_token_s = now - self.started
                    last[event.index] = now
                    self.answer_tokens += 1  # a piece is most often one token; Done has the count
                elif isinstance(event, Role):
                    self.prompt_tokens = event.prompt_tokens
                elif isinstance(event, Done):
                    self._count(event)
                yield event

    def _count(self, done: Done) -> None:
        self.prompt_tokens = done.usage.prompt_tokens
        self.answer_tokens = done.usage.completion_tokens
        if done.timings.predicted_ms > 0:
            self.tokens_per_second = self.answer_tokens / done.timings.predicted_ms * 1e3
        self.figures.prompt_tokens.labels(self.model).inc(self.prompt_tokens)
        self.figures.generation_tokens.labels(self.model).inc(self.answer_tokens)

    def close(self, route: str) -> None:
        """Counts the request and writes its line."""
        seconds = time.monotonic() - self.started
        self.figures.requests.labels(route, self.outcome, self.key.name if self.key else "").inc()
        if self.model is not None:
            self.figures.request_time.labels(self.model).observe(seconds)
            if self.first_token_s is not None:
                self.figures.first_token.labels(self.model).observe(self.first_token_s)
        probe = route in ("/health", "/health/ready", "/metrics")
        level = logging.DEBUG if probe and self.outcome == "ok" else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "%s", self.what or route, extra={"facts": self._facts(seconds)})

    def _facts(self, seconds: float) -> dict[str, object]:
        facts: dict[str, object] = {"id": self.id, "client": self.client}
        if self.key is not None:
            facts["key"] = self.key.name
        if self.model is not None:
            facts |= {
                "model": self.model,
                "stream": self.streamed,
                "prompt_tokens": self.prompt_tokens,
                "answer_tokens": self.answer_tokens,
                "first_token_s": _rounded(self.first_token_s),
                "tokens_per_s": _rounded(self.tokens_per_second, 1),
            }
        return facts | {
            "status": self.status,
            "seconds": _rounded(seconds),
            "outcome": self.outcome,
        }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


class Recorder:
    """ASGI middleware: gives each request its record and closes it when the answer has ended."""

    def __init__(self, app: ASGIApp, figures: Figures):
        self._app = app
        self._figures = figures
        self._lag = Lag(figures.loop_lag.observe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("-",))[0]
        record = Record(_request_id(scope), client, self._figures, _what(scope))
        scope.setdefault("state", {})["record"] = record
        header = (b"x-request-id", record.id.encode())

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        try:
            with self._lag.watched():
                await self._app(scope, receive, tagged)
        finally:
            record.close(_route(scope))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return text
    return uuid.uuid4().hex


def _what(scope: Scope) -> str:
    path = scope.get("raw_path") or scope["path"].encode()
    return f"{scope['method']} {path.decode('latin-1')[:200]}"


def _route(scope: Scope) -> str:
    """The route's pattern: a bounded set, whatever paths are asked for."""
    return getattr(scope.get("route"), "path", None) or "none"
