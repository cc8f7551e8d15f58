"""What is read live before a decision: whether pods are Ready, and a version is still there.

The view of pods may be older than the cluster: a watch that broke tells of no deletion, and a pod
that is being deleted is Ready for a moment. What serves then would be taken away for nothing. An
event that was lost hides that a pod became Ready, and a good version would be condemned for it, or
wait until its deadline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus, Tried
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, PODS, WORKLOADS, Json, Key
from trimtab.decide.led_time import is_to_come
from trimtab.decide.rollout.draft import earliest
from trimtab.decide.rollout.history import is_rejected
from trimtab.decide.rollout.phases import Returning, deadline_of, phase_of
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.traffic.plan import plan_traffic
from trimtab.errors import Conflict, Moved, Refused, RetryLater
from trimtab.reconcile.kinds.pods import revision_of
from trimtab.reconcile.machine.cache import key_of, parent_of, uid_of, version_of
from trimtab.reconcile.machine.world import World

logger = logging.getLogger(__name__)


def ready_replicas(workload: Json) -> int:
    """Return how many pods are Ready, of the size that a workload has now.

    0 if its controller has not seen this size yet: what it says is of another one.
    """
    status = workload.get("status") or {}
    if status.get("observedGeneration") != workload["metadata"].get("generation"):
        return 0
    return min(int(status.get("readyReplicas", 0)), int(workload["spec"].get("replicas", 1)))


TOLD_WITHIN = timedelta(seconds=2)
"""Events of pods and of their workload come on two streams: one may be a little late."""
LISTED_AGAIN = timedelta(seconds=30)
BELIEVED_AFTER = timedelta(minutes=1)
"""So long after its deadline a rollout is not ended while its workload counts more Ready pods."""

FIRST_LOOK = timedelta(seconds=30)
LONGEST_LOOK = timedelta(minutes=5)
"""Not much later everything is listed anyway."""


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
    ready = await _ready_live(world, key)
    if ready < known:
        raise _has_proven_old(
            world, f"{key}: {ready} pods are Ready, and not {known}; nothing is moved to them"
        )


async def without_stable(
    world: World, snapshot: Snapshot, after: DeploymentStatus
) -> Snapshot | None:
    """Where a version beside stable leaves the traffic, read whether stable has a Ready pod.

    Returns what is seen if it has none, to be decided on anew: all are listed soon. None if it is
    as known, or nobody answers what is asked: then what is known has to do.
    """
    before, spec, stable = snapshot.deployment.status, snapshot.deployment.spec, after.stable
    if stable is None or before.stable is None or before.stable.revision != stable.revision:
        return None
    if spec.replicas == 0 or snapshot.ready_of(stable.revision) == 0:
        return None  # it is known, and was decided on
    stays = plan_traffic(spec, after).revisions
    if all(
        revision in stays or is_rejected(after.rejected, revision)
        for revision in plan_traffic(spec, before).revisions
    ):
        return None
    key = Key(WORKLOADS, snapshot.deployment.metadata.namespace, stable.workload)
    try:
        live = await world.cluster.read(key)
    except (Refused, RetryLater) as error:
        logger.info("%s: %s; what is known of its pods has to do", key, error)
        return None
    # Of whatever size its controller has seen: to have one Ready pod is enough.
    if live is not None and int((live.get("status") or {}).get("readyReplicas", 0)) > 0:
        return None
    logger.info("%s: no pod is Ready; what serves beside %s stays", key, stable.version)
    _list_pods(world)
    return _unready(snapshot, stable.revision)


def _unready(snapshot: Snapshot, revision: str) -> Snapshot:
    """Return the same with no pod of a version Ready."""
    pods = tuple(
        replace(pod, ready=False, ready_seconds=0.0) if pod.revision == revision else pod
        for pod in snapshot.pods
    )
    workloads = {
        own: replace(one, ready=0) if own == revision else one
        for own, one in snapshot.workloads.items()
    }
    return replace(snapshot, pods=pods, workloads=workloads)


async def require_wanted(world: World, snapshot: Snapshot, after: DeploymentStatus) -> None:
    """Where a candidate becomes stable, read its ModelVersion live.

    A person may have withdrawn it, and the event was lost. Moved if it is another than is known: it
    is remembered, and decided again. Conflict if there is none: a list has to say so, too.
    """
    before, stable = snapshot.deployment.status, after.stable
    phase = phase_of(before)
    if phase is None or isinstance(phase, Returning) or stable is None:
        return
    if stable.revision != phase.candidate.revision:
        return
    if after.history and not after.history[-1].automatic:
        return  # a person wants it
    key = Key(MODEL_VERSIONS, snapshot.deployment.metadata.namespace, stable.version_object)
    live = await world.cluster.read(key)
    if live is None:
        world.list_soon(MODEL_VERSIONS)
        raise Conflict(f"{key} is gone, it seems; {stable.version} is not promoted yet")
    if _is_news(live, world.cache.get(key)):
        world.remember(live)
        raise Moved(f"{key} is not as known; {stable.version} is not promoted yet")


async def require_late(world: World, snapshot: Snapshot, after: DeploymentStatus) -> None:
    """Where a rollout ends at its deadline, read the candidate's workload live.

    Conflict if more pods are Ready than is known: they are listed anew, and it is decided again.
    """
    deployment, phase = snapshot.deployment, phase_of(snapshot.deployment.status)
    if phase is None or after.rollout is not None:
        return
    candidate, deadline = phase.candidate, deadline_of(deployment.spec, phase, snapshot.instant)
    if not deadline <= snapshot.now < deadline + BELIEVED_AFTER:
        return
    if after.stable is not None and after.stable.revision == candidate.revision:
        return  # in spite of it, it serves
    known = snapshot.carried_by(candidate.revision)
    key = Key(WORKLOADS, deployment.metadata.namespace, candidate.workload)
    ready = await _ready_live(world, key)
    if ready > known:
        raise _has_proven_old(
            world, f"{key}: {ready} pods are Ready, and not {known}; the rollout is not over"
        )


async def require_seen(world: World, snapshot: Snapshot, after: DeploymentStatus) -> None:
    """Where a version is given up for what its pods did not show, look at them live.

    That a pod found no node, or became Ready, may be an event that was lost. Moved if a pod is
    another than is known: what is found is remembered, and it is decided again.
    """
    blamed = _given_up(snapshot, after)
    if blamed is None:
        return
    metadata = snapshot.deployment.metadata
    own = Key(DEPLOYMENTS, metadata.namespace, metadata.name)
    live = [
        pod
        for pod in await world.cluster.list(PODS)
        if parent_of(PODS, pod) == own and revision_of(pod) == blamed
    ]
    known = {
        key_of(PODS, pod): pod
        for pod in world.cache.children(own, PODS)
        if revision_of(pod) == blamed
    }
    news = [pod for pod in live if _is_news(pod, known.pop(key_of(PODS, pod), None))]
    for pod in news:
        world.remember(pod)
    for key, pod in known.items():
        # No list has it: gone, most likely, or without its labels.
        await world.look(key)
        if world.cache.get(key) is not pod:
            news.append(pod)
    if news:
        raise Moved(f"{own}: pods of {blamed} are not as known; it is not given up yet")


def _given_up(snapshot: Snapshot, after: DeploymentStatus) -> str | None:
    """Return the revision that is about to be given up since it did not start in time."""
    before = snapshot.deployment.status
    phase = phase_of(before)
    if phase is None or after.rollout is not None:
        return None
    revision = phase.candidate.revision
    if isinstance(phase, Returning):
        is_back = after.stable is not None and after.stable.revision == revision
        return None if is_back else revision
    known = {(entry.revision, entry.at) for entry in before.rejected}
    for entry in after.rejected:
        is_new = (entry.revision, entry.at) not in known
        if is_new and entry.revision == revision and entry.reason == Reason.NEVER_READY:
            return revision
    return None


def _is_news(live: Json, known: Json | None) -> bool:
    if known is None or uid_of(known) != uid_of(live):
        return True
    return version_of(live) > version_of(known)


async def _ready_live(world: World, workload: Key) -> int:
    live = await world.cluster.read(workload)
    return 0 if live is None else ready_replicas(live)


def _has_proven_old(world: World, message: str) -> Conflict:
    """Have workloads and pods listed; return what to raise."""
    _list_pods(world)
    return Conflict(message)


def _list_pods(world: World) -> None:
    world.list_soon(WORKLOADS)
    world.list_soon(PODS)


@dataclass
class Counted:
    """Whether workloads count other numbers of Ready pods than are known; safe to lose."""

    list_at: datetime | None = None
    again: timedelta = LISTED_AGAIN
    """Ever more rarely: a pod of somebody's own may stay for good."""

    def check(self, world: World, snapshot: Snapshot) -> datetime | None:
        """Have pods listed if that lasts: an event was lost; return when to look again."""
        now = snapshot.now
        if all(one.ready == snapshot.ready_of(own) for own, one in snapshot.workloads.items()):
            self.list_at, self.again = None, LISTED_AGAIN
        elif self.list_at is None:
            self.list_at = now + TOLD_WITHIN
        elif not is_to_come(self.list_at, now, self.again):
            world.list_soon(PODS)
            self.list_at = now + self.again
            self.again = min(2 * self.again, LONGEST_LOOK)
        return self.list_at


@dataclass(frozen=True)
class _Look:
    """When to look for pods that are waited for, and how long that was put off."""

    at: datetime
    after: timedelta


@dataclass
class Awaited:
    """Whether pods came or went unheard: both their events and their workload's may be lost.

    While pods are waited for their workload is read live, which may be gone itself, and while one
    that is Ready does not answer pods are listed: it may be another by now. Ever more rarely; safe
    to lose.
    """

    looks: dict[str, _Look | None] = field(default_factory=dict)
    """By revision; None: it was looked for often enough."""

    async def check(self, world: World, snapshot: Snapshot) -> datetime | None:
        """Have workloads and pods listed if it is so; return when to look again."""
        status = snapshot.deployment.status
        waiting = {
            tried.revision: tried
            for tried in (status.stable, status.candidate)
            if tried is not None
            and (_is_waiting(snapshot, tried.revision) or _is_silent(snapshot, tried.revision))
        }
        self.looks = {
            revision: await self._look(world, snapshot, tried)
            for revision, tried in waiting.items()
        }
        return earliest(*(look.at for look in self.looks.values() if look is not None))

    async def _look(self, world: World, snapshot: Snapshot, tried: Tried) -> _Look | None:
        now, revision = snapshot.now, tried.revision
        if revision not in self.looks:
            return _Look(now + FIRST_LOOK, FIRST_LOOK)
        look = self.looks[revision]
        if look is None or is_to_come(look.at, now, look.after):
            return look
        key = Key(WORKLOADS, snapshot.deployment.metadata.namespace, tried.workload)
        live = await world.cluster.read(key)
        is_gone = live is None and revision in snapshot.workloads
        ready = 0 if live is None else ready_replicas(live)
        if is_gone or _is_silent(snapshot, revision) or ready != snapshot.carried_by(revision):
            _list_pods(world)
        after = 2 * look.after
        return _Look(now + after, after) if after <= LONGEST_LOOK else None


def _is_waiting(snapshot: Snapshot, revision: str) -> bool:
    workload = snapshot.workloads.get(revision)
    return workload is not None and snapshot.carried_by(revision) < workload.replicas


def _is_silent(snapshot: Snapshot, revision: str) -> bool:
    return any(
        one.revision == revision and one.pod_ready and one.problem is Reason.BACKEND_DOWN
        for one in snapshot.processes
    )
