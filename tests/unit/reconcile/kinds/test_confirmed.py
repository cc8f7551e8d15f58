"""Pods are read live before traffic moves to them: who is known to be there may be gone."""

from __future__ import annotations

import pytest
from tests.unit.decide.rollout.builders import a_snapshot, a_tried, a_workload, pods
from tests.unit.reconcile.machine.engines import engine_over, nothing

from trimtab.api.deployment import DeploymentStatus
from trimtab.cluster.port import WORKLOADS, Json
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.errors import Conflict
from trimtab.reconcile.kinds.confirmed import ready_replicas, require_live
from trimtab.reconcile.machine.cache import key_of
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


@pytest.mark.parametrize(("known_ready", "live", "moves"), [(3, 3, True), (3, 1, False)])
async def test_traffic_moves_to_pods_that_are_there(
    known_ready: int, live: int, moves: bool
) -> None:
    cluster = SimulatedCluster()
    after, snapshot = DeploymentStatus(stable=a_tried("v2")), known(known_ready)
    assert after.stable is not None
    obj = workload(3, live)
    namespace = snapshot.deployment.metadata.namespace
    obj["metadata"] |= {"name": after.stable.workload, "namespace": namespace}
    cluster.user_apply(obj)
    (stored,) = cluster.find(WORKLOADS)
    cluster.user_change(key_of(WORKLOADS, stored), lambda found: found.update(status=obj["status"]))
    world = engine_over(cluster, nothing).world
    listed: list[str] = []
    world.list_soon = lambda resource: listed.append(resource.plural)
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
