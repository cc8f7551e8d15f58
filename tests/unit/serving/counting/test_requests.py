"""Counters of requests: there from the start, and right about who left."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.serving.loopback import samples, serving

from trimtab.serving.counting.exposition import render
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.http.messages import Request
from trimtab.serving.settings import ServingSettings


async def test_series_are_there_at_zero_before_the_first_request(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        counted = await client.metrics()
    for code in (200, 400, 500, 503):
        assert counted[f"trimtab_requests_total{{code={code}}}"] == 0
    assert counted["trimtab_outcomes_total{predicted=0,actual=0}"] == 0
    assert counted["trimtab_tokens_refused_total{reason=forged}"] == 0


async def test_a_client_that_leaves_is_no_error_of_ours(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        _, writer = await client.connect()
        writer.write(
            b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
        )
        await writer.drain()
        while (await client.metrics())["trimtab_requests_started_total"] < 1:
            pass
        writer.close()
        async with asyncio.timeout(20):
            while "trimtab_requests_total{code=499}" not in await client.metrics():
                pass
        counted = await client.metrics()
    assert counted["trimtab_requests_total{code=499}"] == 1
    assert counted["trimtab_request_seconds_count"] == 0


def request(began: float) -> Request:
    return Request(began, lambda _request, _response: None)


@pytest.mark.parametrize(
    ("requests", "seconds", "begins", "aside"),
    [
        (3, 0.0, [5, 5, 5, 5, 5], 3),
        (0, 10.0, [5, 6, 14.9, 15, 16], 3),
        (3, 10.0, [5, 6, 7, 8, 16], 4),
        (4, 1.0, [5, 20, 30, 40, 50], 4),
        (0, 0.0, [5, 5], 0),
        (2, 0.0, [5, 5, 5, 4, 3], 2),
    ],
    ids=["requests", "seconds", "seconds_later", "requests_later", "off", "in_another_order"],
)
def test_the_warm_up_ends_with_the_later_of_both(
    requests: int, seconds: float, begins: list[float], aside: int
) -> None:
    counters = RequestCounters(requests, seconds)
    made = [request(began) for began in begins]
    for one in made:
        counters.start(one)
    assert [one.aside for one in made] == [True] * aside + [False] * (len(made) - aside)


def test_what_comes_before_the_model_is_no_part_of_the_warm_up() -> None:
    counters = RequestCounters(1, 10.0)
    early, first, late = request(0), request(100), request(111)
    counters.start(early, is_loaded=False)
    counters.start(first)
    counters.start(late)
    assert [one.aside for one in (early, first, late)] == [True, True, False]


def told(counters: RequestCounters) -> dict[str, float]:
    return samples(render(counters.snapshot([], 0)(), openmetrics=False).decode())


def test_what_is_disturbed_is_counted_apart_as_well() -> None:
    counters = RequestCounters()
    calm, disturbed, caught, left = request(0), request(0), request(0), request(0)
    counters.start(calm)
    counters.finish(calm, 200)
    counters.start(caught)
    counters.is_disturbed = True
    counters.start(disturbed)
    counters.finish(caught, 200)
    counters.is_disturbed = False
    counters.finish(disturbed, 200)
    counters.start(left)
    left.aside = True
    counters.finish(left, 499)
    assert told(counters)["trimtab_aside_seconds_count"] == 2
    assert told(counters)["trimtab_request_seconds_count"] == 3
    assert told(counters)["trimtab_aside_seconds_bucket{le=+Inf}"] == 2


async def test_the_first_requests_of_a_process_are_aside(settings: ServingSettings) -> None:
    few = replace(settings, warm_up_requests=2, warm_up_seconds=0.0)
    async with serving(few) as client:
        assert (await client.metrics())["trimtab_aside_seconds_count"] == 0
        for _ in range(5):
            await client.infer([])
        counted = await client.metrics()
    assert counted["trimtab_aside_seconds_count"] == 2
    assert counted["trimtab_request_seconds_count"] == 5
