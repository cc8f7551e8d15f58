"""The gate evidence of Deployments in the checkpoint: what is saved of them, and when.

One object a Deployment, named by its uid. While something is judged it is saved each time, since
its age counts; at rest, when it holds how much pods differ and no more, every five minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.api.deployment import DeploymentStatus
from trimtab.cluster.port import Key
from trimtab.decide.rollout.habit import Habit
from trimtab.decide.rollout.saved import Saved
from trimtab.decide.rollout.snapshot import Memory
from trimtab.reconcile.kinds.deployment import kept_of, take_up
from trimtab.reconcile.machine.world import World

STALE_AFTER = timedelta(minutes=10)
"""What came since would be taken for one moment, and pods' habits would be forgotten."""
SET_BACK = timedelta(minutes=1)
AT_REST = timedelta(minutes=5)


def object_name(uid: str) -> str:
    """Return the name of the object in the store; no uid ends so."""
    return f"{uid}-gates"


def evidence_to_save(
    world: World, key: Key, last: datetime | None, *, at_end: bool
) -> Saved | None:
    """Return what is worth saving now; None: nothing, or it is saved already.

    last: the last look that this process saved. at_end: whether this is the last chance.
    """
    kept = kept_of(world, key)
    if kept is None or kept.decided_on is None:
        return None
    at, status, memory = kept.decided_on.now, kept.decided_on.deployment.status, kept.memory
    if _is_waiting(status, memory):
        return None  # what lies in the store is the same, and tells its age
    is_judged = status.rollout is not None or status.guard is not None
    if not is_judged and not any(habit.hours for habit in memory.habits.values()):
        return None
    is_due = last is None or at_end or is_judged or at - last >= AT_REST
    return Saved(at, memory) if is_due and at != last else None


def _is_waiting(status: DeploymentStatus, memory: Memory) -> bool:
    """Return whether a step was taken up from the store and not looked at since."""
    step = status.rollout.step if status.rollout is not None else None
    return step is not None and memory.of_step(step.index, step.started).is_resumed


def restore_evidence(world: World, key: Key, uid: str, saved: Saved) -> bool:
    """Take up what was saved, before the first pass; return whether evidence goes on from it.

    Of what is too old only the hours of the day before are.
    """
    age = world.now() - saved.at
    is_fresh = -SET_BACK <= age <= STALE_AFTER
    if is_fresh:
        take_up(world, key, uid, saved.memory)
    elif age > STALE_AFTER:
        hours = {
            gate: Habit(hours=habit.hours, peaks=habit.peaks)
            for gate, habit in saved.memory.habits.items()
        }
        take_up(world, key, uid, Memory(habits=hours))
    return is_fresh
