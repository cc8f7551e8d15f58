"""A guard that sees nothing: no figures of any pod of the version can be read.

Such time is no watch. The guard lasts longer by as much, up to as long again as it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.api.conditions import ConditionType, Reason, find_condition
from trimtab.api.deployment import DeploymentStatus, GuardStatus
from trimtab.decide.rollout.snapshot import Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of

TOLD_AFTER = timedelta(minutes=1)
"""A page that cannot be read now and then is no news."""


def is_unseen(snapshot: Snapshot, status: DeploymentStatus) -> bool:
    """Return whether stable is under guard, and no figures of its pods can be read now.

    One without requests is seen: its counters are there.
    """
    stable, guard, spec = status.stable, status.guard, snapshot.deployment.spec
    if stable is None or guard is None or guard.revision != stable.revision:
        return False
    if guard.breached is not None or spec.replicas == 0:
        return False
    if not strategy_of(spec.rollout).gates(spec.rollout):
        return False  # nothing is looked for
    return all(
        process.problem is not None
        for process in snapshot.processes
        if process.revision == stable.revision
    )


def why_unseen(snapshot: Snapshot, status: DeploymentStatus) -> str | None:
    """Return what to say of it once it has lasted; None while there is nothing to say."""
    stable, since = status.stable, snapshot.memory.unseen_since
    if stable is None or not is_unseen(snapshot, status):
        return None
    patience = min(TOLD_AFTER, snapshot.deployment.spec.guard.for_ / 2)
    has_lasted = since is not None and snapshot.now - since >= patience
    if not has_lasted and told_since(status) is None:
        return None
    problems = [
        process.problem for process in snapshot.processes if process.revision == stable.revision
    ]
    why = next((f" ({problem})" for problem in problems if problem is not None), "")
    return f"no figures of the pods of {stable.version} can be read{why}: the guard sees nothing"


def told_since(status: DeploymentStatus) -> datetime | None:
    """Return since when it is said that the guard sees nothing; None: it is not."""
    said = find_condition(status.conditions, ConditionType.DATA_AVAILABLE)
    if said is None or status.guard is None or said.reason != Reason.NOTHING_SEEN:
        return None
    return max(said.last_transition_time, status.guard.since)


def remembered(memory: Memory, *, unseen: bool, now: datetime) -> Memory:
    """Return the memory with since when nothing is seen."""
    since = min(memory.unseen_since or now, now) if unseen else None
    return memory if since == memory.unseen_since else memory.unseen(since)


def prolonged(guard: GuardStatus, by: timedelta, lasts: timedelta) -> GuardStatus:
    """Return the guard, longer by the time in which it saw nothing; lasts: how long it is."""
    latest = guard.since + 2 * lasts
    until = min(guard.until + max(by, timedelta(0)), latest)
    return guard.model_copy(update={"until": max(guard.until, until)})
