"""The candidate's pods: is one down, is the cluster to blame, and what do they say themselves?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from trimtab.api.conditions import ConditionType, Reason, find_condition
from trimtab.decide.led_time import led_between
from trimtab.decide.rollout.phases import Phase, Promoting, Starting, phase_of
from trimtab.decide.rollout.snapshot import PodView, Snapshot
from trimtab.decide.rollout.wanted import Refusal

DOWN_AFTER_SECONDS = 10.0
CRASHES_BEFORE_DOWN = 2
SHAKEN_SECONDS = 60.0
"""What befell stable so long ago may be the same fault: probes fail one after another."""
SHORT = 0.1
"""Of a deadline: so much later than it pods are made anyway."""
LATE = 1.5
"""Intervals after which a sample is overdue."""


def why_down(snapshot: Snapshot, phase: Phase) -> str | None:
    """Return why the candidate counts as down: crashed, or silent and not Ready for 10 s.

    One crash before a pod serves is forgiven, at every stage, and each that the pod puts down to
    the store. Nor does a first end condemn it that may be the kubelet's or the node's, nor silence
    while its node is not heard of, or stable's pods are shaken at the same time, by a node or the
    network. What the container does by itself does.
    """
    is_first = isinstance(phase, Promoting) and phase.progress is None
    crashes = CRASHES_BEFORE_DOWN if isinstance(phase, Starting) or is_first else 1
    for pod in snapshot.pods_of(phase.candidate.revision):
        if pod.disrupted:
            continue
        is_back = pod.ready and pod.restarts < CRASHES_BEFORE_DOWN
        has_crashed = pod.crashed and not (is_back or _is_excused(pod))
        if has_crashed and pod.restarts >= crashes and not _is_first_kill(pod):
            return f"pod {pod.name} crashed (restarts: {pod.restarts}){_behind(pod.message)}"
        if _fell_silent(snapshot, pod) and not _is_stable_shaken(snapshot):
            return (
                f"pod {pod.name} was Ready, and is now silent and not Ready for "
                f"{pod.unready_seconds:.0f} s{_behind(pod.message)}"
            )
    return None


def _behind(message: str) -> str:
    return f": {message}" if message else ""


def _is_first_kill(pod: PodView) -> bool:
    """Return whether a pod ended once, and a probe or the end of its node may have ended it.

    A version that hangs is ended by its probe again.
    """
    return pod.killed and pod.restarts < CRASHES_BEFORE_DOWN


def why_all_crashed(snapshot: Snapshot, revision: str) -> str | None:
    """Return how the pods of a version ended, if all of them did and none lives."""
    own = [pod for pod in snapshot.pods_of(revision) if not pod.disrupted]
    if not own or not all(_is_dead(pod) for pod in own):
        return None
    worst = max(own, key=lambda pod: pod.restarts)
    return (
        f"all {len(own)} pods crashed: pod {worst.name} (restarts: {worst.restarts})"
        f"{_behind(worst.message)}"
    )


def _is_excused(pod: PodView) -> bool:
    """Return whether the last end of a pod is held against no version.

    One that lacked memory for a second model does not load it again.
    """
    return pod.ended_starting or pod.ended_comparing or pod.ended_unloaded


def _is_dead(pod: PodView) -> bool:
    """Return whether a pod ended; a first end by the kubelet may be the node's fault.

    Nor does it count that it lacked memory for a second model, or ended once while it started.
    """
    if _is_excused(pod):
        return False
    return pod.crashed and not pod.ready and not _is_first_kill(pod)


def _fell_silent(snapshot: Snapshot, pod: PodView) -> bool:
    """Return whether a pod is not Ready, and its port silent too, which had answered scrapes.

    Old samples alone may be this operator's own delay; a page that cannot be read is an answer; and
    the silence of a port that never answered, or of Prometheus, says nothing new.
    """
    if pod.ready or not pod.was_ready or pod.unheard or pod.unready_seconds < DOWN_AFTER_SECONDS:
        return False
    own = [p for p in snapshot.processes if p.process.startswith(pod.uid)]
    return bool(own) and all(p.fell_silent for p in own)


def _is_stable_shaken(snapshot: Snapshot) -> bool:
    """Return whether stable shows signs of the same fault.

    A pod of it is not Ready that was, in this run of its container or the one before, became Ready
    within a minute, or is late with its scrape; or none is Ready and one has no place to be.
    """
    stable = snapshot.deployment.status.stable
    if stable is None:
        return False
    own = [pod for pod in snapshot.pods_of(stable.revision) if not pod.disrupted]
    if any(_is_shaken(pod) for pod in own):
        return True
    if not any(pod.ready for pod in own) and any(pod.unschedulable or pod.unbegun for pod in own):
        return True
    late = snapshot.now - LATE * snapshot.deployment.spec.metrics.interval
    return any(
        process.pod_ready and (process.sampled_at is None or process.sampled_at < late)
        for process in snapshot.processes
        if process.revision == stable.revision
    )


def _is_shaken(pod: PodView) -> bool:
    if pod.ready:
        return pod.ready_seconds < SHAKEN_SECONDS
    return pod.was_ready or pod.ended_ready


def is_starting(pod: PodView) -> bool:
    """Return whether a pod may become Ready for the first time."""
    has_place = not (pod.unschedulable or pod.image_missing or pod.ended_unloaded)
    return has_place and not (pod.ready or pod.was_ready or _has_crashed(pod) or pod.disrupted)


def unready_for(snapshot: Snapshot, revision: str) -> timedelta | None:
    """Return for how long no pod of a version has been Ready; None if one is, for all who know.

    A pod that ended, or never was Ready, does not answer in the next moment.
    """
    workload = snapshot.workloads.get(revision)
    own = snapshot.pods_of(revision)
    if any(pod.ready for pod in own) or (workload is not None and workload.ready > 0):
        return None
    seconds = (p.unready_seconds for p in own if p.was_ready and not p.crashed)
    return min((timedelta(seconds=one) for one in seconds), default=timedelta.max)


def infrastructure_fault(snapshot: Snapshot, revision: str) -> Refusal | None:
    """Return what kept the candidate from starting that is not its own fault."""
    stalled = find_condition(snapshot.deployment.status.conditions, ConditionType.STALLED)
    if stalled is not None and stalled.status == "True":
        for refused in (Reason.WRITE_REFUSED, Reason.READ_REFUSED):
            if stalled.reason == refused:
                return Refusal(refused, stalled.message)
    failure = failure_of(snapshot, revision)
    if failure:
        return Refusal(Reason.REPLICA_FAILURE, failure)
    for pod in snapshot.pods_of(revision):
        if pod.unschedulable:
            return Refusal(Reason.UNSCHEDULABLE, f"pod {pod.name}: {pod.message}")
        if pod.image_missing:
            return Refusal(Reason.IMAGE_PULL_FAILED, f"pod {pod.name}: {pod.message}")
    return without_artifact(snapshot, revision)


def without_artifact(snapshot: Snapshot, revision: str) -> Refusal | None:
    """Return what a pod says that cannot start, as the store does not give it its artifact."""
    for pod in snapshot.pods_of(revision):
        if pod.ended_unloaded and not pod.ready:
            return Refusal(Reason.STORE_AWAY, f"a pod cannot load its artifact: {pod.message}")
    return None


def had_time(snapshot: Snapshot, revision: str) -> bool:
    """Return whether a pod of a version had half of the deadline since it began, or crashed.

    One that was Ready, and is not any more for its node, tells nothing.
    """
    half = snapshot.deployment.spec.rollout.deadline / 2
    own = [pod for pod in begun_of(snapshot, revision) if not _is_lost(pod)]
    return any(_has_crashed(pod) for pod in own) or longest_start(snapshot, own) >= half


def begun_of(snapshot: Snapshot, revision: str) -> list[PodView]:
    """Return the pods of a version of which a container has begun: others tell nothing of it."""
    return [pod for pod in snapshot.pods_of(revision) if not pod.unbegun]


def _is_lost(pod: PodView) -> bool:
    return pod.unheard or (pod.ended_ready and _is_first_kill(pod))


def why_without_time(snapshot: Snapshot, revision: str) -> str:
    """Return why no pod of a version had time to show anything, and what to do."""
    unbegun = next((pod for pod in snapshot.pods_of(revision) if pod.unbegun), None)
    if unbegun is not None:
        return f"pod {unbegun.name}: {unbegun.unbegun}"
    unheard = next((pod for pod in snapshot.pods_of(revision) if pod.unheard), None)
    if unheard is not None:
        return f"the node of pod {unheard.name} is not heard of: look at it"
    return "none of them was there for half of it"


def longest_start(snapshot: Snapshot, pods: Sequence[PodView]) -> timedelta:
    """Return how long any of these pods had all that it needs to start, 0 if there is none.

    At most since the rollout of the version began: what a new process reads of their age may be of
    a clock that is ahead.
    """
    longest = timedelta(0)
    phase = phase_of(snapshot.deployment.status)
    for pod in pods:
        startable = timedelta(seconds=pod.startable_seconds)
        if phase is not None and phase.candidate.revision == pod.revision:
            startable = min(startable, led_between(phase.began, snapshot.instant))
        longest = max(longest, startable)
    return longest


def _has_crashed(pod: PodView) -> bool:
    """Return whether a pod crashed, and not only once while it started."""
    return pod.crashed and not (pod.ended_starting or pod.ended_unloaded)


def time_left(snapshot: Snapshot, revision: str) -> timedelta:
    """Return how much of a deadline the oldest pod that may still start has not had.

    0 where there is none, or the rest is too short to wait for. Those that have not begun are
    waited for only where no other is.
    """
    deadline = snapshot.deployment.spec.rollout.deadline
    starting = [pod for pod in snapshot.pods_of(revision) if is_starting(pod)]
    starting = [pod for pod in starting if not pod.unbegun] or starting
    if not starting:
        return timedelta(0)
    left = deadline - longest_start(snapshot, starting)
    return left if left > deadline * SHORT else timedelta(0)


def failed_by_itself(snapshot: Snapshot, revision: str) -> bool:
    """Return whether no pod of a version is Ready that had its time and all that it needs."""
    return (
        snapshot.ready_of(revision) == 0
        and infrastructure_fault(snapshot, revision) is None
        and had_time(snapshot, revision)
        and not time_left(snapshot, revision)
    )


def why_not_ready(snapshot: Snapshot, revision: str) -> str:
    """Return what keeps a version from being Ready, to be put behind a message."""
    fault = infrastructure_fault(snapshot, revision)
    if fault is not None:
        return f": {fault.message}"
    if snapshot.pods_of(revision) and not begun_of(snapshot, revision):
        return f": {why_without_time(snapshot, revision)}"
    return pod_messages(snapshot, revision)


def failure_of(snapshot: Snapshot, revision: str) -> str:
    """Return why the cluster makes no pods of a version, and what to do; empty if it does."""
    workload = snapshot.workloads.get(revision)
    if workload is None or not workload.failure:
        return ""
    return (
        f"the cluster makes no pods for {workload.name}: {workload.failure}; raise the quota or "
        "mend what refuses them"
    )


def pod_messages(snapshot: Snapshot, revision: str) -> str:
    """Return what the pods say, or why there are none, to be put behind a message."""
    messages = {pod.message for pod in snapshot.pods_of(revision) if pod.message}
    messages |= {failure for failure in [failure_of(snapshot, revision)] if failure}
    return f": {'; '.join(sorted(messages))}" if messages else ""
