"""Lists repair what watches lose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.unit.reconcile.machine.engines import engine_over, nothing, reached

from trimtab.api.resource import Resource
from trimtab.cluster.port import MODEL_VERSIONS, Json, Key
from trimtab.errors import Unavailable
from trimtab.reconcile.machine.health import Health
from trimtab.reconcile.machine.lease import Leadership
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.resync import Resync
from trimtab.reconcile.machine.watched import watched
from trimtab.simulation.cluster import SimulatedCluster

KEY = Key(MODEL_VERSIONS, "shop", "digits-v1")


def version(name: str = "v1") -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": f"digits-{name}", "namespace": "shop"},
        "spec": {
            "model": "digits",
            "version": name,
            "artifact": {
                "uri": "s3://models/digits/",
                "digest": "sha256:" + "0" * 64,
                "format": "sklearn",
            },
        },
    }


def taken(queue: WorkQueue) -> list[Key]:
    keys = []
    while (key := queue.take()) is not None:
        keys.append(key)
        queue.done(key)
    return keys


class Slow(SimulatedCluster):
    """Fails the first list."""

    failures = 1

    async def list(self, resource: Resource) -> list[Json]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("starting")
        return await super().list(resource)


def begin_watches(resync: Resync) -> None:
    for resource in watched():
        resync.on_watch(resource)


async def caught_up(resync: Resync) -> None:
    """Have everything listed after the watches began."""
    begin_watches(resync)
    await resync.repair()
    assert resync.caught_up.is_set()


@contextlib.asynccontextmanager
async def running(resync: Resync) -> AsyncIterator[None]:
    task = asyncio.create_task(resync.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_list_asks_for_a_pass_over_everything_of_ours() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version())
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    async with running(resync):
        begin_watches(resync)
        await resync.caught_up.wait()
    assert resync.listed_at is not None
    assert taken(engine.queue) == [KEY]


async def test_nothing_is_known_before_each_watch_has_begun() -> None:
    resync = Resync(engine_over(SimulatedCluster(), nothing), namespaces=("shop", "bank"))
    for resource in watched():
        resync.on_watch(resource, "shop")
    await resync.repair()
    assert not resync.caught_up.is_set()
    for resource in watched():
        resync.on_watch(resource, "bank")
    await resync.repair()
    assert resync.caught_up.is_set()


async def test_a_kind_whose_watch_began_anew_is_listed_at_once() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version("v1"))
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    async with running(resync):
        begin_watches(resync)
        await resync.caught_up.wait()
        taken(engine.queue)
        cluster.user_delete(KEY)
        resync.on_watch(MODEL_VERSIONS)
        await reached(lambda: engine.world.cache.get(KEY) is None)
    assert taken(engine.queue) == [KEY]


async def test_who_led_before_it_listed_need_not_list_again() -> None:
    waits, leads = (engine_over(SimulatedCluster(), nothing) for _ in range(2))
    leads.allow()
    for engine in (waits, leads):
        resync = Resync(engine)
        await caught_up(resync)
        waits.allow()
        assert resync.is_of_leader is (engine is leads)


async def test_who_begins_to_lead_lists_until_it_succeeds() -> None:
    cluster = Slow()
    cluster.user_apply(version())
    engine = engine_over(cluster, nothing)
    await Resync(engine, chance=lambda: 1.0).anew()
    assert engine.world.cache.get(KEY) is not None


async def test_the_first_list_is_tried_until_it_succeeds() -> None:
    resync = Resync(engine_over(Slow(), nothing), chance=lambda: 1.0)
    async with running(resync):
        begin_watches(resync)
        await resync.caught_up.wait()


async def test_a_lost_deletion_and_a_lost_creation_are_repaired_and_wake_their_readers() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version("v1"))
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    await caught_up(resync)
    taken(engine.queue)
    cluster.user_delete(KEY)
    cluster.user_apply(version("v2"))
    assert await resync.repair() == 2
    assert {key.name for key in taken(engine.queue)} == {"digits-v1", "digits-v2"}
    assert engine.world.cache.get(KEY) is None


async def test_nothing_is_repaired_where_nothing_was_lost() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version())
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    await caught_up(resync)
    taken(engine.queue)
    assert await resync.repair() == 0
    assert taken(engine.queue) == []


class TestHealth:
    def make(self) -> tuple[Health, Resync, Leadership]:
        cluster = SimulatedCluster()
        self.seconds = 0.0
        self.engine = engine_over(cluster, nothing)
        resync = Resync(self.engine, clock=lambda: self.seconds)
        leadership = Leadership(
            cluster, self.engine, name="n", identity="i", clock=lambda: self.seconds
        )
        health = Health(self.engine, resync, leadership, clock=lambda: self.seconds)
        return health, resync, leadership

    async def test_not_ready_before_the_first_list(self) -> None:
        health, resync, _ = self.make()
        assert health.why_not_ready()
        await caught_up(resync)
        assert health.why_not_ready() == []

    async def test_a_leader_is_ready_when_its_queue_was_empty_once(self) -> None:
        health, resync, leadership = self.make()
        await caught_up(resync)
        await leadership.step()
        assert health.why_not_ready()
        self.engine.drained.set()
        assert health.why_not_ready() == []

    async def test_live_while_everything_is_tried(self) -> None:
        health, resync, leadership = self.make()
        await caught_up(resync)
        await leadership.step()
        assert health.why_not_live() == []

    async def test_not_live_when_the_lease_is_no_longer_asked_for(self) -> None:
        health, _, _ = self.make()
        self.seconds = 61
        assert health.why_not_live() == ["the Lease is not asked for"]

    async def test_not_live_when_lists_have_stopped(self) -> None:
        health, resync, leadership = self.make()
        await caught_up(resync)
        self.seconds = 26 * 60
        await leadership.step()
        assert health.why_not_live() == ["nothing was listed for 25 minutes"]
