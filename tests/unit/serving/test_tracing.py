"""Spans as a collector of OpenTelemetry gets them, over its own protocol."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.serving.http.wire import Wire
from tests.unit.serving.loopback import program_environment, until, vector
from tests.unit.serving.stored import Stored

from trimtab.serving import tracing as module
from trimtab.serving.lifecycle import Server, run
from trimtab.serving.settings import ServingSettings
from trimtab.serving.tracing import Tracing, is_wanted, tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
INFER = "/v2/models/digits/infer"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP and keeps them, each with the resource it is of."""

    daemon_threads = True

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, Any], Any]] = []
        super().__init__(("127.0.0.1", 0), _Post)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str) -> list[Any]:
        return [span for _, span in self.spans if span.name == name]


class _Post(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        assert self.headers["content-type"] == "application/x-protobuf"
        assert isinstance(self.server, Collector)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = attributes(group.resource)
            self.server.spans += [
                (resource, span) for scope in group.scope_spans for span in scope.spans
            ]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.fixture
def environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the SDK reads, too."""
    said = {ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    return said


@asynccontextmanager
async def traced(
    settings: ServingSettings, spans: Tracing | None
) -> AsyncIterator[httpx.AsyncClient]:
    server = Server(settings, tracing=spans)
    try:
        await server.start()
        url = f"http://127.0.0.1:{server.inference_port}"
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client
    finally:
        await server.close()


async def test_spans_reach_the_collector_below_their_callers(
    settings: ServingSettings,
    binary: Stored,
    collector: Collector,
    environment: dict[str, str],
) -> None:
    headers = {
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "tracestate": "vendor=1",
        "user-agent": "caller/1",
    }
    body = {"inputs": vector(binary.rows[:3])}
    async with traced(settings, tracing(environment, "shop", "v1")) as client:
        answer = await client.post(INFER, json=body, headers=headers)
        assert answer.status_code == 200
        await client.get("/v2/health/live", headers=headers)
    (whole,) = collector.named("POST /v2/models/{model}/infer")
    (predict,) = collector.named("predict")
    assert len(collector.spans) == 2
    assert whole.trace_id.hex() == predict.trace_id.hex() == TRACE
    assert whole.parent_span_id.hex() == PARENT
    assert predict.parent_span_id == whole.span_id
    assert whole.trace_state == "vendor=1"
    assert (whole.kind, predict.kind) == (2, 1)  # server, internal
    assert answer.headers["traceparent"] == f"00-{TRACE}-{whole.span_id.hex()}-01"
    told = attributes(whole)
    assert told == {
        "http.request.method": "POST",
        "http.request.body.size": len(answer.request.content),
        "http.response.status_code": 200,
        "http.route": "/v2/models/{model}/infer",
        "server.address": "127.0.0.1",
        "server.port": client.base_url.port,
        "trimtab.model": "digits",
        "trimtab.version": "v1",
        "url.path": INFER,
        "url.scheme": "http",
        "user_agent.original": "caller/1",
    }
    assert attributes(predict) == {"trimtab.rows": 3}
    assert whole.status.code == 0
    assert whole.start_time_unix_nano <= predict.start_time_unix_nano
    assert predict.start_time_unix_nano <= predict.end_time_unix_nano <= whole.end_time_unix_nano
    resource = collector.spans[0][0]
    assert (resource["service.name"], resource["service.version"]) == ("shop", "v1")


async def test_a_trace_begins_here_where_the_caller_has_none(
    settings: ServingSettings,
    binary: Stored,
    collector: Collector,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    environment["OTEL_SERVICE_NAME"] = "mine"
    bad = {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}
    body = {"instances": binary.rows[:1].tolist()}
    async with traced(settings, tracing(environment, "shop", "v1")) as client:
        answer = await client.post("/v1/models/digits:predict", json=body, headers=bad)
        refused = await client.post("/v2/models/digits/versions/v1/infer", content=b"{")
        unsampled = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        left_out = await client.post(INFER, content=b"{", headers=unsampled)
    (first,) = collector.named("POST /v1/models/{model}:predict")
    (second,) = collector.named("POST /v2/models/{model}/versions/{version}/infer")
    assert len(collector.spans) == 3
    assert first.parent_span_id == b""
    assert first.trace_id.hex() != TRACE
    for span, its in ((first, answer), (second, refused)):
        sent = f"00-{span.trace_id.hex()}-{span.span_id.hex()}-"
        assert its.headers["traceparent"][:-2] == sent
        assert int(its.headers["traceparent"][-2:], 16) & 1  # sampled
    assert attributes(second)["http.response.status_code"] == 400
    assert second.status.code == 0  # the caller's fault is none of the server
    assert left_out.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert left_out.headers["traceparent"].endswith("-00")
    assert collector.spans[0][0]["service.name"] == "mine"


async def test_faults_of_the_server_and_clients_that_leave_are_errors(
    settings: ServingSettings,
    binary: Stored,
    collector: Collector,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(settings, tracing=tracing(environment, "shop", "v1"))
    try:
        await server.start()
        served = server.inference.served
        assert served is not None
        monkeypatch.setattr(served.joiner, "submit", lambda _work: False)
        url = f"http://127.0.0.1:{server.inference_port}"
        async with httpx.AsyncClient(base_url=url) as client:
            busy = await client.post(INFER, json={"inputs": vector(binary.rows[:1])})
        assert busy.status_code == 503
        reader, writer = await asyncio.open_connection("127.0.0.1", server.inference_port)
        wire = Wire(reader, writer)
        await wire.send(
            b"POST %b HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 9\r\n\r\n{" % INFER.encode()
        )
        await until(lambda: bool(server.front._connections))
        await until(lambda: server.inference.counters._started == 2)
        writer.close()
        await until(lambda: server.inference.counters._codes[499] == 1)
    finally:
        await server.close()
    refused, left = collector.named("POST /v2/models/{model}/infer")
    assert (attributes(refused)["error.type"], refused.status.code) == ("503", 2)
    assert (attributes(left)["error.type"], left.status.code) == ("client_left", 2)
    assert "http.response.status_code" not in attributes(left)
    assert attributes(left)["server.address"] == "[::1]"
    (predict,) = collector.named("predict")
    assert predict.parent_span_id == refused.span_id


async def test_an_sdk_that_is_there_is_used_as_it_is(
    settings: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the operator of OpenTelemetry brings one into pods."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with traced(settings, tracing({ENDPOINT: "http://nowhere"}, "shop", "v1")) as client:
        await client.post(INFER, json={"inputs": vector(binary.rows[:1])})
    names = [span.name for span in exporter.get_finished_spans()]
    assert names == ["predict", "POST /v2/models/{model}/infer"]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_the_standards_variables_say_whether(said: dict[str, str], wanted: bool) -> None:
    assert is_wanted(said) == wanted


@pytest.mark.parametrize(
    ("more", "missing", "named"),
    [
        ({}, "opentelemetry.sdk.trace", "SDK is not installed; the extra `tracing` brings it"),
        ({}, "opentelemetry.exporter.otlp.proto.http.trace_exporter", "SDK is not installed"),
        ({}, "opentelemetry", "OpenTelemetry is not installed"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "", "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "-1"}, "", "SDK does not start"),
    ],
)
def test_what_is_missing_is_said_and_the_model_served_all_the_same(
    more: dict[str, str],
    missing: str,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    assert tracing({ENDPOINT: "http://a"} | more, "shop", "v1") is None
    (record,) = [one for one in caplog.records if one.name == module.__name__]
    assert record.levelno == logging.ERROR
    assert named in record.getMessage()


def test_nothing_of_it_is_imported_without() -> None:
    code = (
        "import sys, trimtab.serving.lifecycle as life; "
        "assert life.tracing({}, 'a', 'b') is None; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_the_program_reads_its_environment(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("trimtab.serving.lifecycle.tracing", lambda *given: asked.append(given))
    stop = asyncio.Event()
    stop.set()
    said = program_environment(settings)
    await run(settings, stop, started=0.0, environment=said)
    assert asked == [(said, "digits", "v1")]


async def test_a_collector_that_is_silent_holds_up_no_end(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    held = threading.Event()

    def shut_down() -> None:
        held.wait()

    spans = Tracing(trace.NoOpTracerProvider(), shut_down)
    try:
        await spans.close()
    finally:
        held.set()
    assert "the last spans could not be sent" in caplog.text
