"""What is read live before traffic moves: the pods that it moves to.

The view of pods may be older than the cluster: a watch that broke tells of no deletion, and a pod
that is being deleted is Ready for a moment. What serves then would be taken away for nothing.
"""

from __future__ import annotations

from trimtab.api.deployment import DeploymentStatus
from trimtab.cluster.port import PODS, WORKLOADS, Json, Key
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.errors import Conflict
from trimtab.reconcile.machine.world import World


def ready_replicas(workload: Json) -> int:
    """Return how many pods are Ready, of the size that a workload has now.

    0 if its controller has not seen this size yet: what it says is of another one.
    """
    status = workload.get("status") or {}
    if status.get("observedGeneration") != workload["metadata"].get("generation"):
        return 0
    return min(int(status.get("readyReplicas", 0)), int(workload["spec"].get("replicas", 1)))


async def require_live(world: World, snapshot: Snapshot, after: DeploymentStatus) -> None:
    """Where another version becomes stable, read its workload live.

    Conflict if fewer pods are Ready than is known: they are listed anew, and it is decided again.
    """
    stable, before = after.stable, snapshot.deployment.status.stable
    if stable is None or (before is not None and before.revision == stable.revision):
        return
    known = snapshot.carried_by(stable.revision)
    if known == 0:
        return  # `replicas: 0`, or nobody expects any
    key = Key(WORKLOADS, snapshot.deployment.metadata.namespace, stable.workload)
    live = await world.cluster.read(key)
    ready = 0 if live is None else ready_replicas(live)
    if ready < known:
        world.list_soon(WORKLOADS)
        world.list_soon(PODS)
        raise Conflict(f"{key}: {ready} pods are Ready, and not {known}; nothing is moved to them")
