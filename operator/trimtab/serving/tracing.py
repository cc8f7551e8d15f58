"""Spans of OpenTelemetry, where the standard's variables ask for them.

Nothing of OpenTelemetry is imported otherwise, and nothing but its API here: an SDK that somebody
else set up in this process is used as it is. Where there is none, one is set up if the extra
`tracing` is installed, and reads its variables itself (`OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`).

    POST /v2/models/{model}/infer  ──────────────────────────────  from the first byte to the answer
          predict                        ───────────────           from the queue to the prediction

Sources: OpenTelemetry, "Environment Variable Specification" and "Semantic Conventions for HTTP
Spans"; W3C Trace Context.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

from trimtab import __version__
from trimtab.serving.http.messages import CLIENT_LEFT, Request

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for spans that were not sent yet."""
LONGEST_TEXT: Final = 256
_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
_HTTP: Final = "http/protobuf"


class CannotTrace(Exception):
    """Spans are asked for and cannot be had; the message says what is missing."""


class RequestSpans:
    """The spans of one request."""

    __slots__ = ("context", "predicting", "whole")

    def __init__(self, whole: Span, context: Context) -> None:
        self.whole = whole
        self.context = context
        self.predicting: Span | None = None


class Tracing:
    """Makes the spans of requests; all methods belong to the event loop."""

    def __init__(self, provider: TracerProvider, shut_down: Callable[[], None]) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._tracer: Tracer = provider.get_tracer("trimtab.serving", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._shut_down = shut_down

    def begin(self, request: Request, route: str, attributes: Mapping[str, str]) -> None:
        """Begin the span of a request whose head was read; its answer will carry it."""
        since = time_ns() - int((perf_counter() - request.began) * 1e9)
        method = request.method if request.method in _METHODS else "_OTHER"
        span = self._tracer.start_span(
            f"{method} {route}",
            self._parent(request),
            self._trace.SpanKind.SERVER,
            {
                **attributes,
                "http.request.method": method,
                "http.route": route,
                "url.path": request.path[:LONGEST_TEXT],
                "url.scheme": "http",
                **_told(request.headers),
            },
            start_time=since,
        )
        context = self._trace.set_span_in_context(span)
        request.span = RequestSpans(span, context)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context)
        if "traceparent" in carrier:
            request.trace = carrier["traceparent"].encode()

    def wait(self, request: Request) -> None:
        """Begin the span of the prediction, with its wait in the queue."""
        spans = request.span
        if isinstance(spans, RequestSpans):
            spans.predicting = self._tracer.start_span(
                "predict", spans.context, attributes={"trimtab.rows": request.rows}
            )

    def predicted(self, request: Request, error: Exception | None) -> None:
        """End the span of the prediction."""
        spans = request.span
        if isinstance(spans, RequestSpans) and spans.predicting is not None:
            if error is not None:
                self._fail(spans.predicting, type(error).__name__)
            spans.predicting.end()
            spans.predicting = None

    def finish(self, request: Request, status: int) -> None:
        """End the span of a request that was answered, or whose client left."""
        spans = request.span
        if not isinstance(spans, RequestSpans):
            return
        span = spans.whole
        self.predicted(request, None)
        span.set_attribute("http.request.body.size", request.size)
        if status == CLIENT_LEFT:
            self._fail(span, "client_left")
        else:
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._fail(span, str(status))
        span.end()
        request.span = None

    async def close(self) -> None:
        """Send what was not sent yet, for at most `FLUSH_SECONDS`."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def shut_down() -> None:
            self._shut_down()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # A daemon: a collector that does not answer must not keep the process from ending.
        threading.Thread(target=shut_down, name="spans", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await done.wait()
        except TimeoutError:
            log.warning("the last spans could not be sent within %g s", FLUSH_SECONDS)

    def _parent(self, request: Request) -> Context | None:
        if not request.trace:
            return None
        carrier = {
            "traceparent": request.trace.decode(),
            "tracestate": request.headers.get(b"tracestate", b"").decode("latin-1"),
        }
        return self._propagator.extract(carrier)

    def _fail(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard's variables ask for spans: an endpoint or an exporter is set."""
    if _said(environment, "OTEL_SDK_DISABLED") == "true":
        return False
    exporter = _said(environment, "OTEL_TRACES_EXPORTER")
    if exporter:
        return exporter != "none"
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return any(_said(environment, name) for name in endpoints)


def tracing(environment: Mapping[str, str], service: str, version: str) -> Tracing | None:
    """Return what makes spans, or nothing where none are asked for or none can be had.

    A model is served all the same: what is missing is an error in the log.
    """
    if not is_wanted(environment):
        return None
    try:
        return _begin(environment, service, version)
    except CannotTrace as error:
        log.error("no spans are made: %s", error)  # noqa: TRY400 - said whole
        return None


def _begin(environment: Mapping[str, str], service: str, version: str) -> Tracing:
    try:
        from opentelemetry import trace
    except ImportError as error:
        raise CannotTrace(
            "an endpoint is set, and OpenTelemetry is not installed; "
            f"the extra `tracing` brings it: {error}"
        ) from error
    present = trace.get_tracer_provider()
    if not isinstance(present, trace.ProxyTracerProvider):
        return Tracing(present, lambda: None)  # whoever set it up ends it
    provider = _sdk(environment, service, version)
    return Tracing(provider, provider.shutdown)


def _sdk(environment: Mapping[str, str], service: str, version: str) -> Any:
    """Return a provider of the SDK that sends to the endpoint; raise CannotTrace."""
    exporter = _said(environment, "OTEL_TRACES_EXPORTER") or "otlp"
    if exporter != "otlp":
        raise CannotTrace(f"OTEL_TRACES_EXPORTER is {exporter!r}; otlp or none is understood")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = _said(environment, name)
        if protocol and protocol != _HTTP:
            raise CannotTrace(f"{name} is {protocol!r}; {_HTTP} is understood")
        if protocol:
            break
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise CannotTrace(
            "an endpoint is set, and OpenTelemetry's SDK is not installed; "
            f"the extra `tracing` brings it: {error}"
        ) from error
    named = {"service.version": version}
    if not _said(environment, "OTEL_SERVICE_NAME") and "service.name=" not in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        named["service.name"] = service
    try:
        provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as error:  # the SDK's own reading of its variables
        raise CannotTrace(f"OpenTelemetry's SDK does not start: {error}") from error
    return provider


def _said(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip().lower()


def _told(headers: Mapping[bytes, bytes]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    if b"user-agent" in headers:
        found["user_agent.original"] = headers[b"user-agent"][:LONGEST_TEXT].decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    address, _, port = host.rpartition(":")
    if address and port.isdecimal() and len(port) < 6:
        found["server.port"] = int(port)
    else:
        address = host
    if address:
        found["server.address"] = address[:LONGEST_TEXT]
    return found
