"""No page, answer or URL ends the watching of others."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from tests.security.answers import Answer, Answers, serving

from trimtab.contract.metrics import PROCESS_START
from trimtab.telemetry.exposition import MalformedExpositionError, Parser
from trimtab.telemetry.port import NoData, NoDataReason, Target
from trimtab.telemetry.prometheus import PrometheusReader
from trimtab.telemetry.prometheus_answer import readings_of
from trimtab.telemetry.scrape import Schedule, Scraper


@pytest.fixture
def pages():
    with serving() as answers:
        yield answers


async def test_a_redirect_that_names_no_host_is_no_data(pages: Answers) -> None:
    pages.by_path["/metrics"] = Answer(status=302, headers={"Location": "http://xn--a/"})
    scraper = Scraper()
    found = await scraper.scrape(Target("a", "pod-a", "r1", f"{pages.url}/metrics", 5.0))
    await scraper.close()
    assert isinstance(found, NoData)
    assert found.reason is NoDataReason.BACKEND_DOWN


@pytest.mark.parametrize("url", ["http://127.0.0.1:70000", "http://127.0.0.1:-1", "http://xn--a"])
async def test_a_backend_that_cannot_be_dialled_is_no_data(url: str) -> None:
    reader = PrometheusReader(url)
    found = await reader.read("up", ["pod-a"])
    await reader.close()
    assert isinstance(found, NoData)
    assert found.reason is NoDataReason.BACKEND_DOWN


async def test_a_fault_in_one_look_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str, target: Target) -> None:
        if key == "bad":
            raise RuntimeError("nobody thought of this")
        seen.append(key)
        if len(seen) > 1:
            done.set()

    schedule = Schedule(look, lambda key, target: None, 4)
    for key in ("bad", "good"):
        target = Target(key, f"pod-{key}", "r1", "http://127.0.0.1:1/metrics", 0.02)
        schedule.set_targets(key, [target])
    running = asyncio.create_task(schedule.run())
    async with asyncio.timeout(20):
        await done.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "nobody thought of this" in caplog.text


async def test_cookies_of_a_page_are_not_kept(pages: Answers) -> None:
    pages.by_path["/metrics"] = Answer(
        (b"trimtab_requests_total 1\n",), headers={"Set-Cookie": "a=b; Path=/"}
    )
    scraper = Scraper()
    await scraper.scrape(Target("a", "pod-a", "r1", f"{pages.url}/metrics", 5.0))
    assert len(scraper._client.cookies.jar) == 0
    await scraper.close()


REQUESTS = 'trimtab_requests_total{digest="d"} 1\n'


@pytest.mark.parametrize("start", ["1e20", "-1e15", "253402300800"])
def test_a_start_that_is_no_time_makes_a_page_malformed(start: str) -> None:
    with pytest.raises(MalformedExpositionError, match="process_start_time_seconds"):
        Parser().parse(f"{PROCESS_START} {start}\n{REQUESTS}")


@pytest.mark.parametrize("at", ["1e999", '"inf"', "NaN", "-5", "1e18"])
def test_a_sample_at_no_time_is_no_answer(at: str) -> None:
    metric = {"__name__": "trimtab_requests_total", "pod": "pod-a"}
    series = f'{{"metric": {json.dumps(metric)}, "values": [[{at}, "1"]]}}'
    body = f'{{"status": "success", "data": {{"resultType": "matrix", "result": [{series}]}}}}'
    found = readings_of(body.encode(), ["pod-a"])
    assert isinstance(found, NoData)
    assert found.reason is NoDataReason.BACKEND_DOWN


def test_the_times_that_are_taken_can_be_written() -> None:
    parsed = Parser().parse(f"{PROCESS_START} 1.7e9\n{REQUESTS}")
    assert parsed.process_start is not None
    assert datetime.fromtimestamp(parsed.process_start, UTC).year == 2023
