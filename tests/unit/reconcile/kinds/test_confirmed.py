"""Pods are read live before traffic moves to them: who is known to be there may be gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    a_version,
    a_workload,
    pods,
)
from tests.unit.reconcile.machine.engines import engine_over, nothing

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus, HistoryEntry
from trimtab.api.model_version import ModelVersionStatus
from trimtab.api.resource import Resource
from trimtab.cluster.port import MODEL_VERSIONS, WORKLOADS, Json, Key
from trimtab.decide.rollout.phases import Phase, Progress, Promoting, Returning, Starting, Stepping
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.errors import Conflict, Moved, Refused, RetryLater
from trimtab.reconcile.kinds.confirmed import (
    FIRST_LOOK,
    TOLD_WITHIN,
    Awaited,
    Counted,
    ready_replicas,
    require_late,
    require_live,
    require_wanted,
    without_stable,
)
from trimtab.reconcile.machine.cache import key_of, uid_of
from trimtab.reconcile.machine.world import World
from trimtab.simulation.cluster import SimulatedCluster


def workload(size: int, ready: int, *, generation: int = 1, observed: int = 1) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "generation": generation},
        "spec": {"replicas": size},
        "status": {"readyReplicas": ready, "observedGeneration": observed},
    }


def test_what_a_workload_says_of_another_size_does_not_count() -> None:
    assert ready_replicas(workload(3, 2)) == 2
    assert ready_replicas(workload(0, 3)) == 0
    assert ready_replicas(workload(3, 3, generation=2)) == 0
    assert ready_replicas({"metadata": {"name": "w", "generation": 1}, "spec": {}}) == 0


def known(ready: int) -> Snapshot:
    """Return what is known when v2 is about to be stable; as many of its pods are Ready."""
    return a_snapshot(pods=pods("v2", ready), workloads=(a_workload("v2", 3),))


def a_world(snapshot: Snapshot, live: int) -> tuple[World, list[str]]:
    """Return a world in which so many pods of v2 are Ready, and the kinds that are listed soon."""
    cluster = SimulatedCluster()
    obj = workload(3, live)
    namespace = snapshot.deployment.metadata.namespace
    obj["metadata"] |= {"name": a_tried("v2").workload, "namespace": namespace}
    cluster.user_apply(obj)
    (stored,) = cluster.find(WORKLOADS)
    cluster.user_change(key_of(WORKLOADS, stored), lambda found: found.update(status=obj["status"]))
    world = engine_over(cluster, nothing).world
    listed: list[str] = []
    world.list_soon = lambda resource: listed.append(resource.plural)
    return world, listed


@pytest.mark.parametrize(("known_ready", "live", "moves"), [(3, 3, True), (3, 1, False)])
async def test_traffic_moves_to_pods_that_are_there(
    known_ready: int, live: int, moves: bool
) -> None:
    after, snapshot = DeploymentStatus(stable=a_tried("v2")), known(known_ready)
    world, listed = a_world(snapshot, live)
    if moves:
        await require_live(world, snapshot, after)
        assert not listed
    else:
        with pytest.raises(Conflict, match="1 pods are Ready, and not 3"):
            await require_live(world, snapshot, after)
        assert listed == ["deployments", "pods"]


async def test_nothing_is_read_where_stable_stays_or_needs_no_pods() -> None:
    world = engine_over(SimulatedCluster(), nothing).world
    snapshot = known(3)
    await require_live(world, snapshot, snapshot.deployment.status)
    await require_live(world, known(0), DeploymentStatus(stable=a_tried("v2")))


def v3_steps(**progress: Any) -> Stepping:
    return a_stepping(candidate=a_tried("v3"), progress=Progress(a_step(), **progress))


def beside(stable_ready: int = 3) -> Snapshot:
    """Return what is known of a step with v2 as stable, beside which v3 gets requests."""
    status = a_status(v3_steps(), stable="v2")
    return a_snapshot(
        a_deployment("v3", status=status),
        pods=(*pods("v2", stable_ready), *pods("v3", 1)),
        workloads=(a_workload("v2", 3), a_workload("v3", 1)),
    )


DROPPED = a_status(stable="v2")
CONDEMNED = a_status(stable="v2", rejected=[a_rejection("v3")])
WITHDRAWN = a_status(v3_steps(withdrawn=True), stable="v2")


@pytest.mark.parametrize("after", [DROPPED, WITHDRAWN], ids=["dropped", "withdrawn"])
async def test_it_is_decided_anew_where_no_pod_of_stable_is_left(after: DeploymentStatus) -> None:
    snapshot = beside()
    world, listed = a_world(snapshot, live=0)
    seen = await without_stable(world, snapshot, after)
    assert seen is not None
    assert (seen.ready_of(a_tried("v2").revision), seen.ready_of(a_tried("v3").revision)) == (0, 1)
    assert seen.carried_by(a_tried("v2").revision) == 0
    assert listed == ["deployments", "pods"]


@pytest.mark.parametrize(
    ("snapshot", "live", "after"),
    [
        pytest.param(beside(), 1, DROPPED, id="somebody is left"),
        pytest.param(beside(), 0, CONDEMNED, id="condemned"),
        pytest.param(beside(), 0, beside().deployment.status, id="it goes on"),
        pytest.param(beside(0), 0, DROPPED, id="it is known"),
    ],
)
async def test_it_holds_what_was_decided(
    snapshot: Snapshot, live: int, after: DeploymentStatus
) -> None:
    world, listed = a_world(snapshot, live)
    assert await without_stable(world, snapshot, after) is None
    assert not listed


async def test_the_size_that_a_controller_has_not_seen_yet_is_no_matter() -> None:
    snapshot = beside()
    world, _ = a_world(snapshot, live=3)
    (stored,) = world.cluster.find(WORKLOADS)  # type: ignore[attr-defined]
    key = key_of(WORKLOADS, stored)
    world.cluster.user_change(key, lambda obj: obj["spec"].update(replicas=4))  # type: ignore[attr-defined]
    assert await without_stable(world, snapshot, DROPPED) is None


@pytest.mark.parametrize("error", [Refused("forbidden"), RetryLater("no answer")])
async def test_without_an_answer_what_is_known_has_to_do(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = beside()
    world, listed = a_world(snapshot, live=0)

    async def read(key: Key) -> Json | None:
        raise error

    monkeypatch.setattr(world.cluster, "read", read)
    assert await without_stable(world, snapshot, DROPPED) is None
    assert not listed


DEADLINE = timedelta(minutes=30)


def late(ready: int, *, past: timedelta = timedelta(0)) -> Snapshot:
    """Return what is known at the deadline of v2; as many of its pods are Ready."""
    status = a_status(Starting(candidate=a_tried("v2"), started=NOW))
    deployment = a_deployment(status=status, rollout={"deadline": "30m"})
    return a_snapshot(
        deployment,
        now=NOW + DEADLINE + past,
        pods=pods("v2", ready),
        workloads=(a_workload("v2", 3),),
    )


async def test_a_rollout_does_not_end_for_pods_that_became_ready_unheard() -> None:
    snapshot = late(1)
    world, listed = a_world(snapshot, live=3)
    with pytest.raises(Conflict, match="3 pods are Ready, and not 1"):
        await require_late(world, snapshot, DeploymentStatus(stable=a_tried("v1")))
    assert listed == ["deployments", "pods"]


@pytest.mark.parametrize(
    ("snapshot", "live"),
    [
        pytest.param(late(1), 1, id="it is as known"),
        pytest.param(late(1, past=timedelta(minutes=2)), 3, id="not for ever"),
        pytest.param(late(1, past=-timedelta(minutes=2)), 3, id="a way back does not wait"),
    ],
)
async def test_a_rollout_ends(snapshot: Snapshot, live: int) -> None:
    world, listed = a_world(snapshot, live)
    await require_late(world, snapshot, DeploymentStatus(stable=a_tried("v1")))
    assert not listed


@pytest.mark.parametrize("ready", [2, 4])
def test_pods_are_listed_when_their_workload_counts_others_for_a_while(ready: int) -> None:
    counted, behind = Counted(), known(ready)
    world, listed = a_world(behind, live=3)
    looks = [counted.check(world, replace(behind, now=NOW + timedelta(seconds=n))) for n in (0, 1)]
    assert looks == [NOW + TOLD_WITHIN] * 2
    assert not listed
    counted.check(world, replace(behind, now=NOW + TOLD_WITHIN))
    counted.check(world, replace(behind, now=NOW + timedelta(seconds=10)))
    assert listed == ["pods"]
    assert counted.check(world, known(3)) is None


def test_a_clock_that_is_set_back_does_not_put_off_that_pods_are_listed() -> None:
    counted, behind = Counted(), known(2)
    world, listed = a_world(behind, live=3)
    counted.check(world, behind)
    counted.check(world, replace(behind, now=NOW - timedelta(days=1)))
    assert listed == ["pods"]


def waiting(seconds: float, ready: int = 0) -> Snapshot:
    """Return what is known a while after v2 began to start: so many of three pods are Ready."""
    deployment = a_deployment(status=a_status(Starting(candidate=a_tried("v2"), started=NOW)))
    workload = replace(a_workload("v2", 3), ready=ready)
    now = NOW + timedelta(seconds=seconds)
    return a_snapshot(deployment, now=now, pods=pods("v2", ready), workloads=(workload,))


async def test_pods_that_are_waited_for_are_looked_for_ever_more_rarely() -> None:
    awaited, world = Awaited(), a_world(waiting(0), live=0)[0]
    looks = []
    at: float = 0.0
    while (again := await awaited.check(world, waiting(at))) is not None:
        at = (again - NOW).total_seconds()
        looks.append(at)
    assert looks == [30.0, 90.0, 210.0, 450.0]
    assert await awaited.check(world, waiting(500, ready=3)) is None
    assert await awaited.check(world, waiting(501)) == NOW + timedelta(seconds=501) + FIRST_LOOK


@pytest.mark.parametrize(("live", "listed"), [(0, []), (3, ["deployments", "pods"])])
async def test_pods_that_became_ready_unheard_are_found_before_the_deadline(
    live: int, listed: list[str]
) -> None:
    awaited, (world, soon) = Awaited(), a_world(waiting(0), live)
    await awaited.check(world, waiting(0))
    await awaited.check(world, waiting(29))
    assert not soon
    await awaited.check(world, waiting(30))
    assert soon == listed


async def test_a_workload_that_went_unheard_is_found() -> None:
    awaited, (world, soon) = Awaited(), a_world(waiting(0), live=0)
    key, stored = await known_workload(world)
    await world.cluster.delete(key, uid=uid_of(stored))
    await awaited.check(world, waiting(0))
    await awaited.check(world, waiting(30))
    assert soon == ["deployments", "pods"]


async def test_a_clock_that_is_set_back_puts_no_look_off() -> None:
    awaited, (world, soon) = Awaited(), a_world(waiting(0), live=3)
    await awaited.check(world, waiting(0))
    await awaited.check(world, waiting(-3600))
    assert soon == ["deployments", "pods"]


async def test_pods_that_are_ready_and_do_not_answer_are_listed() -> None:
    """They may be gone, and others be there in their place."""
    awaited, (world, soon) = Awaited(), a_world(waiting(0), live=3)
    silent = a_process("v2", problem=Reason.BACKEND_DOWN)
    for seconds in (0, 29):
        await awaited.check(world, replace(waiting(seconds, ready=3), processes=(silent,)))
        assert not soon
    await awaited.check(world, replace(waiting(30, ready=3), processes=(silent,)))
    assert soon == ["deployments", "pods"]
    assert await awaited.check(world, waiting(31, ready=3)) is None


async def known_workload(world: World) -> tuple[Key, Json]:
    """Return the candidate's workload, of which the world knows."""
    key = Key(WORKLOADS, waiting(0).deployment.metadata.namespace, a_tried("v2").workload)
    stored = await world.cluster.read(key)
    assert stored is not None
    world.remember(stored)
    return key, stored


async def test_what_is_said_to_be_gone_when_we_delete_it_is_listed() -> None:
    """One answer alone would hide what is there from us, and nobody would tell of it."""
    world, soon = a_world(waiting(0), live=3)
    key, stored = await known_workload(world)
    other = key._replace(name="another")
    await world.delete(other, uid=stored["metadata"]["uid"], resource_version=None)
    assert (world.cache.get(key), soon) == (stored, ["deployments"])


async def test_what_we_deleted_is_gone_for_us_before_anybody_tells() -> None:
    world, _ = a_world(waiting(0), live=3)
    key, stored = await known_workload(world)
    await world.delete(key, uid=stored["metadata"]["uid"], resource_version=None)
    assert world.cache.get(key) is None


PROMOTED = DeploymentStatus(stable=a_tried("v2"))
GROWN = Promoting(candidate=a_tried("v2"), started=NOW)


def grown(phase: Phase | None = GROWN) -> Snapshot:
    """Return what is known when v2 is about to be promoted."""
    return a_snapshot(a_deployment(status=a_status(phase)))


def a_published(uri: str = "s3://models/v2/") -> Json:
    found = a_version("v2").model_copy(update={"status": ModelVersionStatus()}).to_json()
    found |= {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelVersion"}
    found["metadata"] = {"name": "digits-v2", "namespace": "shop"}
    found["spec"]["artifact"]["uri"] = uri
    return found


async def published() -> tuple[World, SimulatedCluster, Key]:
    """Return a world that knows of the ModelVersion of v2."""
    cluster = SimulatedCluster()
    cluster.user_apply(a_published())
    (stored,) = cluster.find(MODEL_VERSIONS)
    world = engine_over(cluster, nothing).world
    world.remember(stored)
    return world, cluster, key_of(MODEL_VERSIONS, stored)


async def test_a_version_that_is_as_known_is_promoted() -> None:
    world, _, _ = await published()
    await require_wanted(world, grown(), PROMOTED)


async def test_a_version_that_was_withdrawn_unheard_is_not_promoted() -> None:
    """One answer alone may be wrong: a list decides."""
    world, cluster, key = await published()
    listed: list[Resource] = []
    world.list_soon = listed.append
    cluster.user_delete(key)
    with pytest.raises(Conflict, match="v2 is not promoted yet"):
        await require_wanted(world, grown(), PROMOTED)
    assert listed == [MODEL_VERSIONS]
    assert world.cache.get(key) is not None


async def test_whom_a_person_promotes_is_wanted() -> None:
    world, cluster, key = await published()
    cluster.user_delete(key)
    entry = HistoryEntry(
        version="v2", revision=a_tried("v2").revision, outcome="Promoted", at=NOW, automatic=False
    )
    await require_wanted(world, grown(), PROMOTED.model_copy(update={"history": [entry]}))


async def test_a_version_that_was_made_anew_unheard_is_not_promoted() -> None:
    world, cluster, key = await published()
    cluster.user_delete(key)
    cluster.user_apply(a_published("s3://models/other/"))
    with pytest.raises(Moved, match="v2 is not promoted yet"):
        await require_wanted(world, grown(), PROMOTED)
    found = world.cache.get(key)
    assert found is not None
    assert found["spec"]["artifact"]["uri"] == "s3://models/other/"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GROWN, DeploymentStatus(stable=a_tried("v1"))),
        (None, PROMOTED),
        (Returning(candidate=a_tried("v2"), started=NOW), PROMOTED),
    ],
    ids=["it goes on", "no rollout", "a way back"],
)
async def test_no_version_is_read_but_for_a_promotion(
    before: Phase | None, after: DeploymentStatus
) -> None:
    world, cluster, key = await published()
    cluster.user_delete(key)
    await require_wanted(world, grown(before), after)
