"""The whole operator tells what is decided, over restarts and beside a receiver that is down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.alerts.loopback import free_port
from tests.unit.reconcile.machine.engines import SETTINGS, reached
from tests.unit.simulation.objects import DEPLOYMENT, deployment
from tests.wiring.api_server import ApiServer
from tests.wiring.receiver import MisbehavingReceiver, status
from tests.wiring.test_operator import Passes, all_watched, ready, reconcilers

from trimtab.api.record import Decision, Record
from trimtab.api.resource import Resource
from trimtab.cluster.port import Json
from trimtab.handlers.environment import Environment
from trimtab.handlers.operator import run_operator
from trimtab.notify.settings import Notifications
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.notifying.notifier import MARKS_ANNOTATION
from trimtab.reconcile.reconcilers import RECONCILERS


class Shop:
    """Operators that tell two receivers of one Deployment."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.good = MisbehavingReceiver()
        self.down = MisbehavingReceiver(status(503))
        self.record = Record()

    async def open(self) -> None:
        for name, receiver in (("good", self.good), ("down", self.down)):
            (self.folder / f"{name}.url").write_text(await receiver.open())
        self.api.cluster.user_apply(deployment())

    async def close(self) -> None:
        await self.good.close()
        await self.down.close()

    async def decide(self, count: int = 1) -> None:
        """Write decisions into status, as a pass does."""
        for _ in range(count):
            seq = self.record.seq + 1
            led = float((self._lease().get("trimtab.dev/led-seconds")) or 0)
            made = Decision(seq=seq, at=self.api.cluster.now(), led=led, reason="Promoted")
            kept = [*self.record.decisions, made][-10:]
            self.record = Record(seq=seq, decisions=kept)
        await self.api.cluster.apply_status(DEPLOYMENT, {"record": self.record.to_json()})

    def _lease(self) -> Json:
        lease = self.api.leases.get("trimtab", {"metadata": {}})
        annotations: Json = lease["metadata"].get("annotations") or {}
        return annotations

    def is_marked(self) -> bool:
        return MARKS_ANNOTATION in self._lease()

    def seqs(self, receiver: MisbehavingReceiver) -> list[int]:
        return [int(one.rpartition("-")[2]) for one in receiver.ids()]

    @contextlib.asynccontextmanager
    async def operator(
        self, passes: Mapping[Resource, Reconciler] | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        names = [{"name": n, "type": "webhook", "insecure": True} for n in ("good", "down")]
        told = Notifications.model_validate({"destinations": names})
        settings = replace(SETTINGS, notifications=told, notification_secrets=str(self.folder))
        port, stop = free_port(), asyncio.Event()
        environment = Environment(settings, "pod-a", "trimtab", port, "INFO")
        running = run_operator(environment, passes or reconcilers(Passes()), stop)
        task = asyncio.create_task(running)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await ready(client, task)
                await all_watched(self.api)
                await reached(self.is_marked, 20)
                yield client
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)


@pytest.fixture
async def shop(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[Shop]:
    found = Shop(api_server, tmp_path)
    await found.open()
    yield found
    await found.close()


async def test_what_is_decided_is_told_and_what_is_not_taken_over_a_restart(shop: Shop) -> None:
    async with shop.operator() as client:
        await shop.decide(3)
        await reached(lambda: shop.seqs(shop.good) == [1, 2, 3], 20)
        await reached(lambda: len(shop.down.got) >= 1, 20)
        assert set(shop.seqs(shop.down)) == {1}
        page = (await client.get("/metrics")).text
        waiting = {
            sample.labels["destination"]: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == "trimtab_operator_notifications_waiting"
            and sample.labels["destination"] in ("good", "down")
        }
        assert waiting == {"good": 0.0, "down": 3.0}
    shop.down.answer = status(200)
    before = len(shop.down.got)
    async with shop.operator():
        await reached(lambda: shop.seqs(shop.down)[before:] == [1, 2, 3], 20)
        await shop.decide()
        await reached(lambda: shop.seqs(shop.down)[before:] == [1, 2, 3, 4], 20)
        await reached(lambda: len(shop.good.got) == 4, 20)
    assert shop.seqs(shop.good) == [1, 2, 3, 4]


async def test_a_namespace_says_whom_it_uses(shop: Shop) -> None:
    namespace = DEPLOYMENT.namespace
    shop.api.cluster.namespace_annotations[namespace] = {"trimtab.dev/notify": "good"}
    async with shop.operator():
        await shop.decide()
        await reached(lambda: shop.seqs(shop.good) == [1], 20)
    assert shop.down.got == []
    assert [r for r in shop.api.requests if r == f"GET /api/v1/namespaces/{namespace}"]


async def test_no_write_is_made_to_tell(shop: Shop) -> None:
    async with shop.operator():
        before = [r for r in shop.api.requests if not r.startswith("GET") and "leases" not in r]
        await shop.decide(3)
        await reached(lambda: len(shop.good.got) == 3 and len(shop.down.got) >= 1, 20)
        after = [r for r in shop.api.requests if not r.startswith("GET") and "leases" not in r]
        assert after == before


async def test_what_a_real_pass_decides_is_told(shop: Shop) -> None:
    shop.api.cluster.user_apply(deployment(replicas="three"), validate=False)
    async with shop.operator(RECONCILERS):
        await reached(lambda: len(shop.good.got) == 1, 20)
        (event,) = [got.json for got in shop.good.got]
        stored = shop.api.cluster.get(DEPLOYMENT)
        assert stored is not None
        (decision,) = stored["status"]["record"]["decisions"]
        data = event["data"]
        assert (data["reason"], data["seq"], data["warning"]) == ("InvalidSpec", 1, True)
        assert data["message"] == decision["message"]
        assert "replicas" in data["message"]
        # The event of Kubernetes does not wait for the one that is down, nor does status.
        await reached(lambda: len(shop.down.got) >= 1, 20)
        await reached(lambda: len(shop.api.events) == 1, 20)
        assert set(stored["status"]["record"]["told"]) <= {"events"}
