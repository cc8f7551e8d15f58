"""The harness runs reconcilers as the engine would, on a clock of its own."""

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from tests.unit.reconcile.machine.engines import SETTINGS
from tests.unit.simulation.objects import DEPLOYMENT, WORKLOAD, deployment, workload

from trimtab.cluster.port import DEPLOYMENTS, PODS, WORKLOADS, Key
from trimtab.errors import RetryLater
from trimtab.reconcile.machine.world import World
from trimtab.simulation.cluster import Killed, SimulatedCluster, is_pod_ready
from trimtab.simulation.harness import Harness
from trimtab.simulation.kubelet import PodBehaviour


async def serve(world: World, key: Key) -> datetime | None:
    """A small reconciler: one workload per Deployment, ready pods into the status."""
    obj = world.cache.get(key)
    if obj is None:
        return None
    children = world.cache.children(key, WORKLOADS)
    if not children:
        made = await world.apply_new(workload(obj["spec"].get("replicas", 1)))
        children = [made] if made is not None else world.cache.children(key, WORKLOADS)
    ready = (children[0].get("status") or {}).get("readyReplicas", 0)
    if (obj.get("status") or {}).get("replicas") != ready:
        await world.apply_status(key, {"replicas": ready}, resource_version=None)
    return None


def harness(reconcile: Any = serve) -> Harness:
    made = Harness(
        SimulatedCluster(),
        {DEPLOYMENTS: reconcile},
        make_telemetry=lambda: cast(Any, None),
        make_store=lambda: cast(Any, None),
        settings=SETTINGS,
    )
    made.cluster.user_apply(deployment(replicas=2))
    return made


def replicas(it: Harness) -> int:
    obj = it.cluster.get(DEPLOYMENT)
    assert obj is not None
    return int((obj.get("status") or {}).get("replicas", -1))


async def test_events_lead_to_passes_and_time_to_readiness() -> None:
    it = harness()
    assert await it.run_until(lambda: replicas(it) == 2) == 2.0


async def test_nothing_is_written_at_rest() -> None:
    it = harness()
    await it.advance(60)
    count = len(it.cluster.writes)
    await it.advance(3600)
    assert len(it.cluster.writes) == count


async def test_a_change_by_hand_is_seen() -> None:
    it = harness()
    await it.advance(60)
    it.cluster.user_delete(WORKLOAD)
    await it.advance(60)
    assert it.cluster.get(WORKLOAD) is not None


async def test_a_kill_at_any_write_ends_in_the_same_place() -> None:
    for writes in range(4):
        it = harness()
        it.cluster.crash_after_writes = writes
        try:
            await it.advance(60)
        except Killed:
            it.cluster.crash_after_writes = None
            it.restart()
        await it.advance(60)
        assert replicas(it) == 2
        assert len(it.cluster.find(WORKLOADS)) == 1


async def test_a_look_again_is_kept_to_the_second() -> None:
    looks: list[datetime] = []

    async def look(world: World, key: Key) -> datetime:
        looks.append(world.now())
        return world.now() + timedelta(seconds=30)

    it = harness(look)
    start = it.cluster.time
    await it.advance(95)
    assert [round((at - start).total_seconds(), 3) for at in looks] == [0, 30, 60, 90]


async def test_a_failed_pass_is_tried_again_and_remembered() -> None:
    failures = [RetryLater("later", 20.0)]

    async def fail_once(world: World, key: Key) -> None:
        if failures:
            raise failures.pop()
        await serve(world, key)

    it = harness(fail_once)
    took = await it.run_until(lambda: replicas(it) == 2)
    assert took >= 20
    assert [(key, str(error)) for _, key, error in it.errors] == [(DEPLOYMENT, "later")]


async def test_a_pass_that_never_rests_is_found_out() -> None:
    async def restless(world: World, key: Key) -> datetime:
        return world.now()

    with pytest.raises(AssertionError, match="still busy"):
        await harness(restless).settle()


async def test_held_events_leave_an_old_view() -> None:
    it = harness()
    await it.advance(10)
    it.events_held = True
    it.cluster.user_delete(WORKLOAD)
    await it.advance(10)
    assert it.cluster.get(WORKLOAD) is None
    it.events_held = False
    it.deliver()
    await it.advance(10)
    assert it.cluster.get(WORKLOAD) is not None


async def test_tickers_run_at_their_interval() -> None:
    it = harness()
    ticks: list[datetime] = []

    async def tick() -> None:
        ticks.append(it.cluster.time)

    it.tick_every(5, tick)
    await it.advance(20)
    assert len(ticks) == 4


async def test_what_is_not_reached_in_time_is_an_error() -> None:
    it = harness()
    with pytest.raises(AssertionError, match="not reached"):
        await it.run_until(lambda: replicas(it) == 7, limit=100)


async def test_pods_that_never_start_are_not_ready() -> None:
    it = harness()
    it.kubelet.behave = lambda pod: PodBehaviour(ready_after=None)
    await it.advance(600)
    assert replicas(it) == 0
    assert not any(map(is_pod_ready, it.cluster.find(PODS)))
