"""A real Prometheus as the source of figures: the same counts, the same decisions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.operator_process import processes_of
from tests.e2e.kit.prometheus import URL, Prometheus
from tests.e2e.kit.shop import Shop
from tests.patience import slowest, stretched
from tests.unit.totals import total

from trimtab.api.deployment import Metrics
from trimtab.contract import metrics
from trimtab.reconcile.kinds.pods import target_of
from trimtab.telemetry.port import Backend
from trimtab.telemetry.scraped import ScrapedTelemetry

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

FROM_PROMETHEUS = {"prometheus": {"url": URL, "interval": "1s"}}
EACH_SECOND = Metrics.model_validate({"scrape": {"interval": "1s"}})
STEPS = ({"weight": "33%", "for": "5s"},)
RATE = 40.0


@pytest.fixture(scope="module")
def prometheus(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if os.environ.get("KUBE_CONTEXT"):
        pytest.skip("a Prometheus of ours is not to be reached from another machine's pods")
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), api)
    try:
        server.start()
        yield server
    finally:
        server.close()


def pods_of(shop: Shop) -> list[str]:
    return [pod["metadata"]["name"] for pod in shop.pods()]


class BothSources:
    """The same pods read twice: scraped here, and from Prometheus."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.telemetry = ScrapedTelemetry(lambda _key: None)
        self.namespace = shop.api.namespace
        self.keys = f"{self.namespace}/scraped", f"{self.namespace}/asked"

    async def find_pods(self) -> None:
        listed = await asyncio.to_thread(self.shop.pods)
        pods = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
        targets = [found for pod in pods if (found := target_of(pod, EACH_SECOND)) is not None]
        scraped, asked = self.keys
        self.telemetry.set_targets(scraped, targets)
        self.telemetry.set_targets(asked, targets, Backend(URL, interval_seconds=1.0))

    def counts(self) -> tuple[float, float]:
        scraped, asked = (
            total(self.telemetry.processes(key), metrics.REQUESTS) for key in self.keys
        )
        return scraped, asked

    async def until(self, what: str, is_true: object, seconds: float = 40.0) -> None:
        """Go on finding pods until something is so."""
        assert callable(is_true)
        try:
            async with asyncio.timeout(stretched(seconds)):
                while not await asyncio.to_thread(is_true):
                    await self.find_pods()
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}; {self.counts()}") from None


async def test_both_sources_count_the_same_over_restarts_and_scale_downs(
    api: Api, prometheus: Prometheus
) -> None:
    shop = Shop(api, "counted-twice", replicas=3)
    try:
        await asyncio.to_thread(shop.serve, "good")
        both = BothSources(shop)
        await both.find_pods()
        running = asyncio.create_task(both.telemetry.run())
        try:
            await _live_through(shop, both, prometheus)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        await asyncio.to_thread(shop.delete)


async def _live_through(shop: Shop, both: BothSources, prometheus: Prometheus) -> None:
    await asyncio.to_thread(prometheus.wait_for, lambda: pods_of(shop))
    await both.until("both see all pods", lambda: _all_seen(both, 3))
    before = both.counts()
    began = time.monotonic()
    ends = 0
    with shop.load(RATE) as load:
        await both.until("requests", lambda: len(load.answers) > 100)
        first = (await asyncio.to_thread(shop.pods))[0]
        _kill_container(first)
        ends += 1
        await both.until("more requests", lambda: len(load.answers) > 250)
        shop.replicas = 2
        await asyncio.to_thread(shop.want, "good")
        ends += 1
        await both.until("one pod less", lambda: len(shop.pods()) == 2)
        await both.until("and more", lambda: len(load.answers) > 450)
    sent = len(load.answers)
    # What a process answers after its last scrape is in no source; each took its own last one.
    tails = ends * 2 * RATE / 2 * slowest(time.monotonic() - began)

    def told() -> list[float]:
        return [now - then for now, then in zip(both.counts(), before, strict=True)]

    await both.until("both told", lambda: min(told()) >= sent - 2 * tails - 1)
    await asyncio.sleep(stretched(3.0))  # nothing more is sent: two more scrapes and looks of each
    scraped, asked = told()
    assert abs(scraped - asked) <= tails, (scraped, asked, sent)
    assert max(scraped, asked) <= sent, (scraped, asked, sent)


def _all_seen(both: BothSources, pods: int) -> bool:
    return all(
        len([p for p in both.telemetry.processes(key) if p.sampled_at is not None]) == pods
        for key in both.keys
    )


def _kill_container(pod: dict[str, object]) -> None:
    status = pod["status"]
    assert isinstance(status, dict)
    container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    for pid in processes_of(container):
        os.kill(pid, signal.SIGKILL)


def test_a_good_candidate_is_promoted_and_a_bad_one_is_not(
    api: Api, prometheus: Prometheus
) -> None:
    shop = Shop(api, "by-prometheus", replicas=2, steps=STEPS, metrics=FROM_PROMETHEUS)
    try:
        shop.serve("good")
        with shop.load(RATE) as load:
            shop.try_version("better")
            shop.wait_for_outcome("better Promoted")
            shop.try_version("fail100")
            shop.wait_for_outcome("fail100 RolledBack")
        assert shop.serving_version == "better"
        assert load.lost() == []
    finally:
        shop.delete()


def test_a_prometheus_that_is_away_holds_the_rollout(api: Api, prometheus: Prometheus) -> None:
    # Longer than the last samples hold: the time-out of a query and an interval.
    steps = ({"weight": "33%", "for": "25s"},)
    shop = Shop(api, "prometheus-away", replicas=2, steps=steps, metrics=FROM_PROMETHEUS)
    try:
        shop.serve("good")
        with shop.load(RATE) as load:
            shop.try_version("better")
            shop.wait_for("a request", lambda: load.by_version()["better"])
            prometheus.stop()
            shop.wait_for("blind", lambda: shop.reason("DataAvailable") == "BackendDown")
            seen = load.by_version()["better"]
            shop.wait_for("users try it", lambda: load.by_version()["better"] > seen + 40)
            assert shop.phase() == "Stepping"
            assert shop.rejected() == {}
            prometheus.start()
            shop.wait_for_outcome("better Promoted")
        assert load.lost() == []
    finally:
        if not prometheus.is_ready():
            prometheus.start()
        shop.delete()


def test_a_secret_that_is_not_mounted_is_said(api: Api, prometheus: Prometheus) -> None:
    source = {"prometheus": {"url": URL, "interval": "1s", "secretName": "mimir"}}
    shop = Shop(api, "prometheus-secret", replicas=1, steps=STEPS, metrics=source)
    try:
        shop.serve("good")
        with shop.load(RATE):
            shop.try_version("better")
            shop.wait_for("blind", lambda: shop.reason("DataAvailable") == "BackendDown")
        told = [c for c in shop.status["conditions"] if c["type"] == "DataAvailable"]
        assert "name it in prometheus.secrets of the chart" in told[0]["message"]
    finally:
        shop.delete()
