"""How an object stands, for tools that know none of our reasons: kstatus, Flux, Argo CD, kubectl.

    reason of a deciding condition ──table──> CURRENT | IN_PROGRESS | FAILED
                                                 │          │           └──> Stalled=True
                                                 │          └──────────────> Reconciling=True
                                                 └─────────────────────────> both False

These conditions follow from the others and from what the pass could not read or write, and from
nothing else; so the pass writes them last. That Ready is False is never a failure to kstatus
(https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus): what waits for a person has
to be Stalled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from trimtab.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    find_condition,
    reason_of,
    set_condition,
)


class Stands(Enum):
    """How far an object is from what its spec wants; the names are those of kstatus."""

    CURRENT = "Current"
    """It is so; nobody has to do anything."""
    IN_PROGRESS = "InProgress"
    """It is on the way, or waits for what comes without a change of any object of ours."""
    FAILED = "Failed"
    """It does not come to be so until a person changes something."""


_CURRENT, _UNDER_WAY, _FAILED = Stands.CURRENT, Stands.IN_PROGRESS, Stands.FAILED

REFUSALS: Final = frozenset(
    {Reason.WRITE_REFUSED, Reason.READ_REFUSED, Reason.NAME_TAKEN, Reason.INVALID_SPEC}
)
"""What the pass could not do, whatever was decided."""
WAITS_FOR_PERSON: Final = frozenset(
    {Reason.PAUSED_BY_STEP, Reason.PAUSED_BY_PERSON, Reason.PAUSED_BY_POLICY}
)
"""Under way, and on purpose not going on: Argo CD calls it Suspended."""
_NOT_READ: Final = frozenset({Reason.READ_REFUSED, Reason.INVALID_SPEC})
"""With these nothing was decided on the spec that is there."""

_MEANINGS: Final[Mapping[ConditionType, Mapping[Stands, tuple[Reason, ...]]]] = {
    ConditionType.PROGRESSING: {
        _CURRENT: (
            Reason.UP_TO_DATE,
            Reason.SCALED_TO_ZERO,
        ),
        _UNDER_WAY: (
            Reason.STARTING,
            Reason.CANDIDATE_STARTING,
            Reason.STEP_RUNNING,
            Reason.PROMOTING,
            Reason.WAITING_FOR_DATA,
            Reason.STABLE_NOT_READY,
            Reason.SHARE_TOO_LARGE,
            Reason.SHARE_NOT_REACHED,
            Reason.WAITING_FOR_SAMPLES,
            Reason.PODS_DIFFER,
            Reason.PARTLY_SEEN,
            Reason.WORSE_SO_FAR,
            Reason.PAUSED_BY_STEP,
            Reason.PAUSED_BY_PERSON,
            Reason.PAUSED_BY_POLICY,
            # It is tried again, and asked again, by itself.
            Reason.BACKING_OFF,
            Reason.STORE_AWAY,
            Reason.REPLICA_FAILURE,
            # Until the other version serves: then what is wanted is quarantined, or is what serves.
            Reason.ROLLED_BACK,
        ),
        _FAILED: (
            Reason.VERSION_MISSING,
            Reason.VERSION_REJECTED,
            Reason.INCOMPATIBLE,
            Reason.QUARANTINED,
            Reason.FLAPPING,
            Reason.NOTHING_TO_FOLLOW,
            Reason.IMAGE_MISSING,
            Reason.NAME_TAKEN,
        ),
    },
    ConditionType.QUARANTINED: {
        _CURRENT: (Reason.AS_WANTED,),
        _FAILED: (Reason.QUARANTINED,),
    },
    ConditionType.READY: {
        _CURRENT: (Reason.SERVING, Reason.SCALED_TO_ZERO),
        # Kubernetes starts pods anew by itself.
        _UNDER_WAY: (Reason.STARTING, Reason.NOT_ENOUGH_READY),
        _FAILED: (
            Reason.FIRST_VERSION_FAILED,
            Reason.VERSION_MISSING,
            Reason.VERSION_REJECTED,
            Reason.INCOMPATIBLE,
            Reason.QUARANTINED,
            Reason.NOTHING_TO_FOLLOW,
            Reason.IMAGE_MISSING,
            Reason.NAME_TAKEN,
        ),
    },
    ConditionType.DEGRADED: {
        _CURRENT: (Reason.AS_WANTED,),
        _UNDER_WAY: (Reason.NOT_ENOUGH_READY, Reason.REPLICA_FAILURE),
        _FAILED: (
            Reason.FLAPPING,
            Reason.GUARD_BREACHED,
            Reason.NO_WAY_BACK,
            Reason.RETURN_DELAYED,
        ),
    },
    ConditionType.VERIFIED: {
        # Where the operator may not look the pods do: nothing has to be done.
        _CURRENT: (Reason.DIGEST_MATCHED, Reason.CHECKED_AT_LOAD),
        _UNDER_WAY: (Reason.WAITING, Reason.STORE_AWAY),
        _FAILED: (Reason.DIGEST_MISMATCH, Reason.UNREADABLE, Reason.SCHEMA_BROKEN),
    },
    ConditionType.WATCHING: {
        _CURRENT: (Reason.WATCHING,),
        # A policy that is applied together with its Deployment waits until that one serves.
        _UNDER_WAY: (Reason.NO_TARGET,),
        _FAILED: (Reason.OVERLAP,),
    },
    ConditionType.COMPLETE: {
        _CURRENT: (Reason.SUCCEEDED,),
        _UNDER_WAY: (Reason.QUEUED, Reason.RUNNING),
        # Also one that did its work: who waits for the version must not go on without it.
        _FAILED: (
            Reason.CHALLENGER_WORSE,
            Reason.INSUFFICIENT_DATA,
            Reason.DATA_FAILED,
            Reason.CODE_FAILED,
            Reason.INFRASTRUCTURE_FAILED,
        ),
    },
}

DECIDING: Final = tuple(_MEANINGS)
"""Conditions that decide, the one that says most first."""
NOT_COUNTED: Final = frozenset(
    {
        ConditionType.PAUSED,  # Progressing has the same reason
        ConditionType.DATA_AVAILABLE,  # Progressing says whether the rollout waits for it
        # A policy that finds something does its work; what follows is the business of its actions.
        ConditionType.DRIFT_DETECTED,
        ConditionType.HARM,
        ConditionType.DATA_BROKEN,
    }
)
MEANINGS: Final[Mapping[tuple[ConditionType, Reason], Stands]] = {
    (kind, reason): stands
    for kind, meanings in _MEANINGS.items()
    for stands, reasons in meanings.items()
    for reason in reasons
}
"""By deciding condition and reason: how the object stands."""
WRITTEN: Final = (ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.UP_TO_DATE)
"""Conditions that are written here."""


@dataclass(frozen=True)
class Standing:
    """How an object stands, and why."""

    stands: Stands
    reason: Reason = Reason.AS_WANTED
    message: str = ""


@dataclass(frozen=True)
class Refusal:
    """What the pass could not do: one of `REFUSALS`, with the words of the API server."""

    reason: Reason
    message: str


def standing_of(conditions: Sequence[Condition]) -> Standing:
    """Return how an object stands by what was decided.

    A rollout under way comes before everything else, but for a way back that finds no place to
    start. Then what failed comes before what is under way.
    """
    told = [_told(kind, conditions) for kind in DECIDING]
    by_type = {kind: one for kind, one in zip(DECIDING, told, strict=True) if one is not None}
    progressing = find_condition(conditions, ConditionType.PROGRESSING)
    if progressing is not None and progressing.status == "True":
        rollout = by_type[ConditionType.PROGRESSING]
        degraded = by_type.get(ConditionType.DEGRADED)
        if degraded is not None and _is_return_delayed(rollout, degraded):
            return degraded
        return rollout
    for stands in (Stands.FAILED, Stands.IN_PROGRESS):
        for one in by_type.values():
            if one.stands is stands:
                return one
    # Where nothing was decided yet nobody can tell.
    return Standing(Stands.CURRENT) if by_type else Standing(Stands.IN_PROGRESS, Reason.WAITING)


def _is_return_delayed(rollout: Standing, degraded: Standing) -> bool:
    is_return = rollout.reason is Reason.ROLLED_BACK
    return is_return and degraded.reason is Reason.RETURN_DELAYED


def _told(kind: ConditionType, conditions: Sequence[Condition]) -> Standing | None:
    found = find_condition(conditions, kind)
    if found is None:
        return None
    reason = reason_of(found.reason, Reason.WAITING)
    # One of another release, or edited by hand, is no reason to say that all is well.
    return Standing(MEANINGS.get((kind, reason), Stands.IN_PROGRESS), reason, found.message)


def refusal_in(conditions: Sequence[Condition]) -> Refusal | None:
    """Return what the pass could not do, as conditions of a status have it."""
    stalled = find_condition(conditions, ConditionType.STALLED)
    if stalled is None or stalled.status != "True" or stalled.reason not in REFUSALS:
        return None
    decided = standing_of(conditions)
    if decided.stands is Stands.FAILED and decided.reason == stalled.reason:
        return None
    return Refusal(Reason(stalled.reason), stalled.message)


def with_standing(
    conditions: Sequence[Condition], refusal: Refusal | None, *, now: datetime, generation: int
) -> list[Condition]:
    """Return the conditions with those that say how the object stands.

    refusal: what the pass could not do; the object stands still for it, whatever was decided.
    """
    decided = standing_of(conditions)
    standing = decided
    if refusal is not None:
        standing = Standing(Stands.FAILED, refusal.reason, refusal.message)
    is_failed, is_under_way = (standing.stands is one for one in (_FAILED, _UNDER_WAY))
    told: list[tuple[ConditionType, bool | None, Reason, str]] = [
        (
            ConditionType.RECONCILING,
            is_under_way,
            standing.reason if is_under_way or is_failed else Reason.AS_WANTED,
            standing.message if is_under_way else "",
        ),
        (
            ConditionType.STALLED,
            is_failed,
            standing.reason if is_failed else Reason.AS_WANTED,
            standing.message if is_failed else "",
        ),
    ]
    progressing = find_condition(conditions, ConditionType.PROGRESSING)
    if progressing is not None:
        told.append((ConditionType.UP_TO_DATE, *_up_to_date(conditions, progressing, refusal)))
    found = list(conditions)
    for kind, holds, reason, message in told:
        found = set_condition(found, kind, holds, reason, message, now=now, generation=generation)
    return found


def _up_to_date(
    conditions: Sequence[Condition], progressing: Condition, refusal: Refusal | None
) -> tuple[bool | None, Reason, str]:
    """Return whether what is wanted serves.

    None if nobody could look at what is wanted, or if what was decided on it could not be written:
    requests may go on to pods of another version.
    """
    if refusal is not None and refusal.reason in _NOT_READ:
        return None, refusal.reason, refusal.message
    reason = reason_of(progressing.reason, Reason.WAITING)
    if reason is not Reason.UP_TO_DATE:
        return False, reason, progressing.message
    ready = find_condition(conditions, ConditionType.READY)
    if ready is None or ready.status == "True":
        if refusal is not None:
            return None, refusal.reason, refusal.message
        return True, Reason.UP_TO_DATE, ready.message if ready is not None else ""
    return False, reason_of(ready.reason, Reason.WAITING), ready.message
