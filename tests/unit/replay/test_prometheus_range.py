"""Answers of Prometheus to a stretch of time, chunk by chunk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.unit.replay.recorded import T0, baseline
from tests.unit.wire import Wire

from trimtab.contract import metrics
from trimtab.errors import SpecError, Unavailable
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.prometheus_range import Span, read_range
from trimtab.telemetry.prometheus import PrometheusReader

HOURS_3 = Span(datetime.fromtimestamp(T0, UTC), datetime.fromtimestamp(T0 + 3 * 3600, UTC))
POD = {"namespace": "shop", "pod": "digits-a", "job": "pods", "instance": "10.0.0.1:9090"}
OWN = {"model": "m", "version": "v1"}
WHOLE = {**OWN, "digest": "d", "baseline": baseline().digest}


class Recorded:
    """A server with one pod that counts ten rows a minute, and restarts at minute 100."""

    def __init__(self, longest_seconds: float = 7200) -> None:
        self.longest = longest_seconds
        self.asked: list[tuple[float, float]] = []
        self.queries: list[str] = []
        self.headers: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        query, at = form["query"][0], float(form["time"][0])
        seconds = float(query.rpartition("[")[2].removesuffix("ms]")) / 1000
        self.asked.append((at - seconds, at))
        self.queries.append(query)
        self.headers.append(request.headers)
        if seconds > self.longest:
            return httpx.Response(422)
        minutes = [m for m in range(181) if at - seconds <= T0 + 60 * m <= at]
        rows = [(T0 + 60 * m, str(10 * m if m < 100 else 10 * (m - 100))) for m in minutes]
        starts = [(T0 + 60 * m, str(T0 - 9 if m < 100 else T0 + 5995)) for m in minutes]
        result: list[dict[str, Any]] = [
            {
                "metric": {"__name__": metrics.PREDICTED, **OWN, **POD, "class": "no"},
                "values": rows,
            },
            {
                "metric": {"__name__": metrics.MODEL_INFO, **WHOLE, **POD},
                "values": [(at, "1") for at, _ in starts],
            },
            {"metric": {"__name__": metrics.PROCESS_START, **POD}, "values": starts},
            {
                "metric": {"__name__": metrics.PROCESS_START, **POD, "container": "sidecar"},
                "values": starts,
            },
        ]
        data = {"resultType": "matrix", "result": result if minutes else []}
        return httpx.Response(200, json={"status": "success", "data": data})


async def counted(
    handler: Any, span: Span = HOURS_3, matchers: Matchers | None = None
) -> tuple[Counting, list[str]]:
    counting = Counting(timedelta(hours=1), baseline().digest)
    reader = PrometheusReader(
        "http://prom", transport=Wire(handler), headers={"authorization": "Bearer t"}
    )
    try:
        return counting, await read_range(reader, matchers or Matchers(), span, counting)
    finally:
        await reader.close()


def rows(counting: Counting) -> list[float]:
    return [sum((w.counts or {}).values()) for w in counting.windows(T0 + 3 * 3600)]


async def test_chunks_add_up_over_a_restart() -> None:
    server = Recorded()
    counting, notes = await counted(server, matchers=Matchers("shop", "digits-.*", {"job": "pods"}))
    assert [(a - T0, b - T0) for a, b in server.asked] == [(0, 3600), (3600, 7200), (7200, 10800)]
    # Of each life what came after its last reading is not there; the rest is, once.
    assert rows(counting) == [590, 390 + 10 + 190, 600]
    assert notes == []
    assert ',namespace="shop",pod=~"digits-.*",job="pods"}[' in server.queries[0]
    assert metrics.REQUEST_SECONDS not in server.queries[0]
    assert server.headers[0]["authorization"] == "Bearer t"


async def test_digests_on_each_series_as_before_are_read_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = rows((await counted(Recorded()))[0])
    monkeypatch.setitem(globals(), "OWN", WHOLE)
    assert rows((await counted(Recorded()))[0]) == now
    assert sum(now) > 0


async def test_a_chunk_that_is_too_large_is_halved() -> None:
    server = Recorded(longest_seconds=1000)
    counting, _ = await counted(server)
    assert server.asked[2] == (T0, T0 + 900)
    assert rows(counting) == rows((await counted(Recorded()))[0])


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (503, 7)])
async def test_a_server_that_gives_nothing_says_why(status: int, tries: int) -> None:
    """An hour is tried again in halves down to a minute, unless less would not help."""
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status)

    with pytest.raises(Unavailable, match=f"Prometheus: http://prom answers HTTP {status}"):
        await counted(refuse)
    assert len(asked) == tries


async def test_no_such_series() -> None:
    empty = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    with pytest.raises(
        SpecError, match='no counters of a model in this time with namespace="test"'
    ):
        await counted(lambda _: httpx.Response(200, json=empty), HOURS_3, Matchers("test"))


async def test_a_time_that_has_not_come() -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(SpecError, match="--from must be before --to"):
        await counted(Recorded(), Span(later, later + timedelta(days=1)))


def test_wrong_matchers_are_refused() -> None:
    with pytest.raises(SpecError, match="model is a label of the counters"):
        Matchers(labels={"model": "m"})
    with pytest.raises(SpecError, match="no label name"):
        Matchers(labels={"a-b": "m"})
    with pytest.raises(SpecError, match="--pod-regex"):
        Matchers(pod="(")
