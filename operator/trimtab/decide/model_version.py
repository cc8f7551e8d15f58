"""Whether a version is what its digest says, who uses it, and how good it is.

    Pending ──matched──> Verified
       │ ├────broken───> Rejected
       │ └─no credentials─> Unknown (the pods check at load) ──credentials given──> as Pending
       └─store away: stays, asked again

A version is immutable, so Verified and Rejected are final; nothing is read again for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

from trimtab.api.conditions import (
    Condition,
    ConditionType,
    EventReason,
    Reason,
    find_condition,
    reason_of,
    set_condition,
)
from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion, ModelVersionStatus, ModelVersionSummary
from trimtab.contract.artifact import TABLE_FRAMEWORKS, Baseline
from trimtab.decide.outcome import Note, Outcome

Phase = Literal["Pending", "Verified", "Unknown", "Rejected"]
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Matched:
    """The small files were read and hash to the digest."""

    baseline: Baseline | None
    frameworks: frozenset[str] = frozenset()
    """Packages that the manifest names."""


@dataclass(frozen=True)
class Broken:
    """What is stored is not the version."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Away:
    """Nobody could look; `is_final` where the operator will never be able to by itself."""

    message: str
    is_final: bool


Check = Matched | Broken | Away


@dataclass(frozen=True)
class AskAgain:
    """Ask the store again later; it did not answer."""

    why: str


VersionOutcome = Outcome[ModelVersionStatus, AskAgain]


def needs_check(version: ModelVersion) -> bool:
    """Whether the stored artifact has still to be looked at."""
    return version.status.phase in ("Pending", "Unknown")


def users_of(version_object: str, deployments: Iterable[Deployment]) -> list[str]:
    """Return the Deployments, by name, that serve a version, try it or may return to it."""
    return sorted(
        deployment.metadata.name
        for deployment in deployments
        if any(
            tried is not None and tried.version_object == version_object
            for tried in (
                deployment.status.stable,
                deployment.status.candidate,
                deployment.status.last_good,
            )
        )
    )


def decide_version(
    version: ModelVersion, check: Check | None, used_by: Sequence[str], now: datetime
) -> VersionOutcome:
    """Return the status after one look; `check` is None when no look was needed."""
    phase, reason, message = _verdict(version, check)
    status = version.status.model_copy(
        update={
            "observed_generation": version.metadata.generation,
            "phase": phase,
            "conditions": _conditions(version, phase, reason, message, now),
            "frameworks": _frameworks(version, check),
            "used_by": list(used_by)[:100],
            "summary": ModelVersionSummary(
                verified=_verified_text(phase, reason),
                score=_score_text(version, check),
                used_by=_names_text(used_by),
            ),
        }
    )
    actions = (AskAgain(check.message),) if isinstance(check, Away) and not check.is_final else ()
    return Outcome(
        status,
        notes=_notes(version, phase, message),
        actions=actions,
        inputs={
            "generation": version.metadata.generation,
            "uri": str(version.spec.artifact.uri),
            "digest": version.spec.artifact.digest,
            "phase": phase,
            "reason": reason,
        },
    )


def score_of(
    version: ModelVersion, metric: str, baseline: Baseline | None, of_slice: str = "all"
) -> float | None:
    """Return a metric on one slice: the stated evaluation, else the training evaluation."""
    for stated in version.spec.evaluation:
        if stated.metric == metric and stated.slice == of_slice:
            return stated.value
    return score_of_baseline(metric, baseline, of_slice)


def score_of_baseline(
    metric: str, baseline: Baseline | None, of_slice: str = "all"
) -> float | None:
    """Return a metric on one slice of the training evaluation, if there is one."""
    for measured in baseline.metrics if baseline is not None else ():
        if measured.metric == metric and measured.slice == of_slice:
            return measured.value
    return None


def _verdict(version: ModelVersion, check: Check | None) -> tuple[Phase, Reason, str]:
    match check:
        case None:
            known = find_condition(version.status.conditions, ConditionType.VERIFIED)
            if known is None:
                return version.status.phase, Reason.WAITING, "not looked at yet"
            return version.status.phase, reason_of(known.reason, Reason.WAITING), known.message
        case Matched():
            return (
                "Verified",
                Reason.DIGEST_MATCHED,
                f"manifest, signature and baseline match {version.spec.artifact.digest}",
            )
        case Broken(reason, message):
            return "Rejected", reason, f"{message}; upload it again and make a new version"
        case Away(message, is_final=True):
            return "Unknown", Reason.CHECKED_AT_LOAD, message
        case Away(message):
            phase: Phase = "Unknown" if version.status.phase == "Unknown" else "Pending"
            return phase, Reason.STORE_AWAY, f"{message}; asked again"
        case _:
            assert_never(check)


def _frameworks(version: ModelVersion, check: Check | None) -> list[str]:
    if not isinstance(check, Matched):
        return version.status.frameworks
    return sorted(check.frameworks & TABLE_FRAMEWORKS)


def _conditions(
    version: ModelVersion, phase: Phase, reason: Reason, message: str, now: datetime
) -> list[Condition]:
    known = find_condition(version.status.conditions, ConditionType.VERIFIED)
    if known is not None and known.reason == reason == Reason.STORE_AWAY:
        # Only the wording of the store's error differs from one try to the next.
        message = known.message
    return set_condition(
        version.status.conditions,
        ConditionType.VERIFIED,
        {"Verified": True, "Rejected": False}.get(phase),
        reason,
        message,
        now=now,
        generation=version.metadata.generation,
    )


def _notes(version: ModelVersion, phase: Phase, message: str) -> tuple[Note, ...]:
    if phase == version.status.phase:
        return ()
    if phase == "Verified":
        return (Note(EventReason.VERSION_VERIFIED, message),)
    if phase == "Rejected":
        return (Note(EventReason.VERSION_REJECTED, message, warning=True),)
    return ()


def _verified_text(phase: Phase, reason: Reason) -> str:
    return {
        "Pending": f"pending ({reason})",
        "Verified": "yes",
        "Unknown": "at load",
        "Rejected": f"no ({reason})",
    }[phase]


def _score_text(version: ModelVersion, check: Check | None) -> str:
    for stated in version.spec.evaluation:
        if stated.slice == "all":
            return f"{stated.metric} {stated.value:.3f}"
    if isinstance(check, Matched) and check.baseline is not None:
        for measured in check.baseline.metrics:
            if measured.slice == "all":
                return f"{measured.metric} {measured.value:.3f}"
    return version.status.summary.score


def _names_text(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} +{more}"[:256] if more > 0 else shown
