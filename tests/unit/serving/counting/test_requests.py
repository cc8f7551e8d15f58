"""Counters of requests: there from the start, and right about who left."""

from __future__ import annotations

import asyncio

from tests.unit.serving.loopback import serving

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
