"""Where counting began, by process: in status while they are few, in memory when they are many.

A status has a limit, and each of its writes costs; the counter values of a thousand pods take some
hundred KiB. What is in memory is in the checkpoint, too (`saved`). Where there is none, it is lost
with the operator's process: then evidence begins anew, on its own part of the error rate, and
nothing is counted twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from trimtab.api.deployment import DeploymentStatus, GuardStatus, Origin, StepStatus
from trimtab.decide.rollout.counting import origins_of
from trimtab.decide.rollout.snapshot import Memory, Snapshot

MOST_IN_STATUS = 40
"""Processes; of more the origins are in memory. One takes some 600 bytes."""

Origins = tuple[Origin, ...]
CountedT = TypeVar("CountedT", StepStatus, GuardStatus)


def taken_up(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with the origins that are in memory; anew where they are lost."""
    status, memory = snapshot.deployment.status, snapshot.memory
    changes: dict[str, Any] = {}
    rollout, guard = status.rollout, status.guard
    if rollout is not None and rollout.step is not None and is_away(rollout.step):
        known = memory.origins.get(_of_step(rollout.step))
        step = rollout.step.model_copy(update=_whole(snapshot, known, rollout.step))
        changes["rollout"] = rollout.model_copy(update={"step": step})
    if guard is not None and is_away(guard):
        known = memory.origins.get(_of_guard(guard))
        changes["guard"] = guard.model_copy(update=_whole(snapshot, known, guard))
    if not changes:
        return snapshot
    status = status.model_copy(update=changes)
    deployment = snapshot.deployment.model_copy(update={"status": status})
    return replace(snapshot, deployment=deployment)


def put_away(status: DeploymentStatus, memory: Memory) -> tuple[DeploymentStatus, Memory]:
    """Return the status without the origins of many processes, and the memory that has them."""
    away: dict[str, Origins] = {}
    changes: dict[str, Any] = {}
    rollout = status.rollout
    if rollout is not None and rollout.step is not None and _belong_in_memory(rollout.step):
        away[_of_step(rollout.step)] = tuple(rollout.step.origins)
        changes["rollout"] = rollout.model_copy(update={"step": _without(rollout.step)})
    if status.guard is not None and _belong_in_memory(status.guard):
        away[_of_guard(status.guard)] = tuple(status.guard.origins)
        changes["guard"] = _without(status.guard)
    return status.model_copy(update=changes), replace(memory, origins=away)


def is_away(counted: StepStatus | GuardStatus) -> bool:
    """Return whether the origins are in memory."""
    return counted.lost is not None and not counted.origins


def _belong_in_memory(counted: StepStatus | GuardStatus) -> bool:
    return counted.lost is not None or len(counted.origins) > MOST_IN_STATUS


def _without(counted: CountedT) -> CountedT:
    return counted.model_copy(update={"origins": [], "lost": counted.lost or 0})


def _whole(
    snapshot: Snapshot, known: Origins | None, counted: StepStatus | GuardStatus
) -> dict[str, Any]:
    if known is not None:
        return {"origins": list(known)}
    return {
        "origins": origins_of(snapshot.processes),
        "lost": (counted.lost or 0) + 1,
        "counted_since": snapshot.now,
    }


def _of_step(step: StepStatus) -> str:
    return f"step {step.index} {step.started.isoformat()}"


def _of_guard(guard: GuardStatus) -> str:
    return f"guard {guard.revision} {guard.since.isoformat()}"
