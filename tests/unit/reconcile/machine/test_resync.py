"""Lists repair what watches lose."""

from tests.unit.reconcile.machine.engines import engine_over, nothing

from trimtab.api.resource import Resource
from trimtab.cluster.port import MODEL_VERSIONS, Json, Key
from trimtab.errors import Unavailable
from trimtab.reconcile.machine.health import Health
from trimtab.reconcile.machine.lease import Leadership
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.resync import Resync
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


async def test_the_first_list_asks_for_a_pass_over_everything_of_ours() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version())
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    await resync.list_first()
    assert resync.listed_at is not None
    assert taken(engine.queue) == [KEY]


async def test_the_first_list_is_tried_until_it_succeeds() -> None:
    class Slow(SimulatedCluster):
        failures = 1

        async def list(self, resource: Resource) -> list[Json]:
            if self.failures:
                self.failures -= 1
                raise Unavailable("starting")
            return await super().list(resource)

    engine = engine_over(Slow(), nothing)
    resync = Resync(engine, chance=lambda: 1.0)
    await resync.list_first()
    assert resync.listed_at is not None


async def test_a_lost_deletion_and_a_lost_creation_are_repaired_and_wake_their_readers() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(version("v1"))
    engine = engine_over(cluster, nothing)
    resync = Resync(engine)
    await resync.list_first()
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
    await resync.list_first()
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
        await resync.list_first()
        assert health.why_not_ready() == []

    async def test_a_leader_is_ready_when_its_queue_was_empty_once(self) -> None:
        health, resync, leadership = self.make()
        await resync.list_first()
        await leadership.step()
        assert health.why_not_ready()
        self.engine.drained.set()
        assert health.why_not_ready() == []

    async def test_live_while_everything_is_tried(self) -> None:
        health, resync, leadership = self.make()
        await resync.list_first()
        await leadership.step()
        assert health.why_not_live() == []

    async def test_not_live_when_the_lease_is_no_longer_asked_for(self) -> None:
        health, _, _ = self.make()
        self.seconds = 61
        assert health.why_not_live() == ["the Lease is not asked for"]

    async def test_not_live_when_lists_have_stopped(self) -> None:
        health, resync, leadership = self.make()
        await resync.list_first()
        self.seconds = 26 * 60
        await leadership.step()
        assert health.why_not_live() == ["nothing was listed for 25 minutes"]
