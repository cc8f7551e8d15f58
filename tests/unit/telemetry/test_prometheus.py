"""Answers of Prometheus become readings of pods, or a reason why there are none."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.unit.wire import Wire

from trimtab.telemetry.port import NoData, NoDataReason
from trimtab.telemetry.prometheus import PrometheusReader, query_of
from trimtab.telemetry.prometheus_answer import Readings, Sampled, readings_of

OWN = {"model": "m", "version": "v1", "digest": "d", "baseline": "b"}
TARGET = {"job": "pods", "instance": "10.0.0.1:9090", "namespace": "ns", "pod": "a"}
STARTED = "trimtab_requests_started_total"
START = "process_start_time_seconds"


def series(name: str, *values: tuple[float, str], **labels: str) -> dict[str, Any]:
    own = {} if name == START else OWN
    return {"metric": {"__name__": name, **own, **TARGET, **labels}, "values": values}


def answer(*result: dict[str, Any], **more: Any) -> bytes:
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data, **more}).encode()


def of_a(body: bytes, last: Sampled | None = None) -> tuple[Sampled, ...] | NoData:
    found = readings_of(body, ["a"], {"a": last} if last else {})
    return found if isinstance(found, NoData) else found["a"]


def sampled(body: bytes, last: Sampled | None = None) -> tuple[Sampled, ...]:
    found = of_a(body, last)
    assert not isinstance(found, NoData)
    return found


def test_readings_by_time_over_a_restart() -> None:
    found = sampled(
        answer(
            series(STARTED, (10, "5"), (25, "1")),
            series(START, (10, "1"), (25, "20")),
            series(START, (10, "7"), (25, "7"), container="sidecar"),
        )
    )
    key = (STARTED, frozenset(OWN.items()))
    assert [(one.at, one.sample.values[key], one.sample.process_start) for one in found] == [
        (10, 5, 1),
        (25, 1, 20),
    ]


def test_only_newer_ones() -> None:
    body = answer(series(STARTED, (10, "5"), (25, "6")))
    first, second = sampled(body)
    assert sampled(body, first) == (second,)
    assert sampled(body, second) == ()


def test_a_scrape_that_has_not_wholly_arrived_waits() -> None:
    more = series("trimtab_requests_total", (10, "4"), code="200")
    body = answer(series(STARTED, (10, "5"), (25, "6")), more)
    assert [one.at for one in sampled(body)] == [10]


def test_an_hour_that_is_too_old_for_labels_holds_nothing_up() -> None:
    hours = [
        series("trimtab_outcomes_by_hour_total", *values, hour=hour, correct="true")
        for hour, values in (("5", ((10, "4"),)), ("6", ((10, "1"), (25, "2"))))
    ]
    body = answer(series(STARTED, (10, "5"), (25, "6")), *hours)
    assert [one.at for one in sampled(body)] == [10, 25]


def test_labels_of_the_pod_win_and_empty_ones_come_back() -> None:
    exported = series("trimtab_predicted_total", (10, "3"), version="of-target")
    exported["metric"]["exported_version"] = "v1"
    (found,) = sampled(answer(exported))
    labels = frozenset({**OWN, "class": ""}.items())
    assert found.sample.values == {("trimtab_predicted_total", labels): 3}


def test_classes_that_a_pod_does_not_tell_by_hour_are_not_empty_ones() -> None:
    name = "trimtab_outcomes_by_hour_total"
    (found,) = sampled(answer(series(name, (10, "3"), hour="5", correct="false")))
    labels = frozenset({**OWN, "hour": "5", "correct": "false"}.items())
    assert found.sample.values == {(name, labels): 3}


@pytest.mark.parametrize(
    ("body", "reason", "detail"),
    [
        pytest.param(answer(), NoDataReason.NO_SERIES, "no series", id="empty"),
        pytest.param(
            answer(series(STARTED, (1, "NaN"))), NoDataReason.NOT_A_NUMBER, "nan", id="nan"
        ),
        pytest.param(
            answer(series(STARTED, (1, "+Inf"))), NoDataReason.NOT_A_NUMBER, "inf", id="infinite"
        ),
        *(
            pytest.param(
                answer(series(STARTED, (1, "1")), series(START, (1, start))),
                NoDataReason.NOT_A_NUMBER,
                "process_start_time_seconds is",
                id=f"started_at_{start}",
            )
            for start in ("NaN", "-Inf", "-1", "1e18")
        ),
        pytest.param(
            answer(series(STARTED, (1, "1e50"))), NoDataReason.NOT_A_NUMBER, "1e+50", id="too_large"
        ),
        pytest.param(
            answer(series(STARTED, (1, "1")), series(STARTED, (2, "1"), job="other")),
            NoDataReason.NOT_A_NUMBER,
            "narrow it by metrics.prometheus.labels",
            id="scraped_twice",
        ),
        pytest.param(
            answer(series(STARTED, (1, "1")), warnings=["a store is down"]),
            NoDataReason.BACKEND_DOWN,
            "partial answer: a store is down",
            id="partial",
        ),
        pytest.param(b"<html>", NoDataReason.BACKEND_DOWN, "not an answer", id="html"),
        pytest.param(answer()[:-9], NoDataReason.BACKEND_DOWN, "not an answer", id="truncated"),
    ],
)
def test_no_data_is_typed(body: bytes, reason: NoDataReason, detail: str) -> None:
    found = of_a(body)
    assert isinstance(found, NoData)
    assert found.reason is reason
    assert detail in found.detail


def test_names_are_escaped() -> None:
    query = query_of('n"s', ["a.b"], 45, {"job": 'x"} or up{a="\\'})
    assert 'namespace="n\\"s"' in query
    assert 'pod=~"a\\\\.b"' in query
    assert 'job="x\\"} or up{a=\\"\\\\"' in query
    assert query.endswith("[45000ms]")
    with pytest.raises(ValueError, match="no label name"):
        query_of("ns", ["a"], 45, {'a"': "b"})


async def read(
    handler: Callable[[httpx.Request], httpx.Response], size_limit: int = 10_000
) -> Readings | NoData:
    reader = PrometheusReader("http://prom/base/", "team", size_limit, transport=Wire(handler))
    try:
        return await reader.read(query_of("ns", ["a"], 45), ["a"])
    finally:
        await reader.close()


async def test_asks_without_partial_answers() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=answer(series(STARTED, (1, "1"))))

    found = await read(handler)
    assert not isinstance(found, NoData)
    (request,) = asked
    form = parse_qs(request.content.decode())
    assert (request.method, str(request.url)) == ("POST", "http://prom/base/api/v1/query")
    assert (form["dedup"], form["partial_response"]) == (["true"], ["false"])
    assert request.headers["X-Scope-OrgID"] == "team"


@pytest.mark.parametrize("status", [302, 401, 422, 503])
async def test_a_status_is_told(status: int) -> None:
    found = await read(lambda _: httpx.Response(status, headers={"location": "http://other/"}))
    detail = f"http://prom/base answers HTTP {status}"
    expected = NoData(NoDataReason.BACKEND_DOWN, detail, is_of_all=True)
    assert found == expected


async def test_too_large_is_told() -> None:
    found = await read(lambda _: httpx.Response(200, content=b"x" * 20_000))
    assert found == NoData(NoDataReason.BACKEND_DOWN, "more than 10000 bytes")


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (socket.gaierror(-3, "Temporary failure in name resolution"), "its name does not resolve"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (None, "the certificate has expired"),
    ],
    ids=["name", "port", "tls"],
)
async def test_who_cannot_be_reached_is_told_by_url(cause: Exception | None, why: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("the certificate has expired", request=request) from cause

    found = await read(refuse)
    assert isinstance(found, NoData)
    assert found.told_of("digits-1") == f"http://prom/base cannot be reached: {why}"


async def test_a_server_that_hangs_is_left() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200)

    reader = PrometheusReader("http://p", None, 10, 0.05, Wire(hang))
    found = await reader.read("up[1ms]", ["a"])
    await reader.close()
    detail = "http://p does not answer within 0.05 s"
    assert found == NoData(NoDataReason.BACKEND_DOWN, detail, is_of_all=True)
