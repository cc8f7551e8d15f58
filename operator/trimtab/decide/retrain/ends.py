"""The moves of an attempt: each is the whole status after it, and what is told and done.

Every status of a RetrainJob is written here, with its one condition, `Complete`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from trimtab.api.conditions import ConditionType, EventReason, Reason, set_condition
from trimtab.api.fields import format_duration
from trimtab.api.retrain_job import Champion, RetrainJobStatus, RetrainJobSummary
from trimtab.contract.training import FailureClass, TrainingReport
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.retrain.actions import CreateVersion, RetrainOutcome
from trimtab.decide.retrain.cause import new_version_name
from trimtab.decide.retrain.figures import (
    cause_text,
    comparison_text,
    figures_of,
    result_column,
    version_manifest,
)
from trimtab.decide.retrain.report import Accepted
from trimtab.decide.retrain.snapshot import MadeVersion, RetrainSnapshot

LOOK_AGAIN = timedelta(seconds=15)

Phase = Literal["Queued", "Running", "Succeeded", "Rejected", "InsufficientData", "Failed"]


def started(seen: RetrainSnapshot, champion: Champion) -> RetrainOutcome:
    """Write the champion and the name of the new version down; nothing is made yet."""
    version = new_version_name(seen.job)
    message = (
        f"{cause_text(seen.job)}: trains {version} against {champion.version_object}, "
        f"at most {format_duration(seen.job.spec.active_deadline)}"
    )
    status = _with_condition(
        seen,
        False,
        Reason.QUEUED,
        message,
        phase="Queued",
        started=seen.now.replace(microsecond=0),
        started_led=seen.led,
        champion_version=champion,
        new_version=version,
    )
    announced = (Note(EventReason.RETRAIN_STARTED, message),)
    return Outcome(status, notes=announced, wake_at=seen.now)


def in_progress(
    seen: RetrainSnapshot,
    phase: Phase,
    message: str,
    look_again: timedelta = LOOK_AGAIN,
    **changes: Any,
) -> RetrainOutcome:
    """Say what is waited for."""
    reason = Reason.RUNNING if phase == "Running" else Reason.QUEUED
    status = _with_condition(seen, False, reason, message, phase=phase, **changes)
    return Outcome(status, wake_at=seen.now + look_again)


def version_wanted(seen: RetrainSnapshot, accepted: Accepted) -> RetrainOutcome:
    """The challenger was accepted: make its ModelVersion; once that is there, it has succeeded."""
    action = CreateVersion(version_manifest(seen.job, accepted))
    # The next pass finds the version and ends the attempt.
    return Outcome(seen.job.status, actions=(action,), wake_at=seen.now)


def succeeded(
    seen: RetrainSnapshot, made: MadeVersion, report: TrainingReport | None
) -> RetrainOutcome:
    """The ModelVersion is there; it may be from before this RetrainJob, of one that is gone."""
    if report is None and _is_older(made, seen):
        message = (
            f"ModelVersion {made.name} was made by an earlier RetrainJob of this name, and nothing "
            "was trained; to train again, give it another name"
        )
        reasons = [EventReason.RETRAIN_SUCCEEDED]
    else:
        figures = comparison_text(report) if report is not None else "made by an earlier pass"
        message = f"ModelVersion {made.name}: {figures}"
        reasons = [EventReason.VERSION_CREATED, EventReason.RETRAIN_SUCCEEDED]
    status = _finished(
        seen, "Succeeded", Reason.SUCCEEDED, message, report, model_version=made.name
    )
    return Outcome(status, notes=tuple(Note(reason, message) for reason in reasons))


def _is_older(made: MadeVersion, seen: RetrainSnapshot) -> bool:
    """Return whether a version was there before the RetrainJob, both by the API server's clock."""
    created = seen.job.metadata.creation_timestamp
    return created is not None and made.made_at is not None and made.made_at < created


def turned_down(
    seen: RetrainSnapshot, report: TrainingReport, is_insufficient: bool
) -> RetrainOutcome:
    """The challenger is worse than allowed, or there are too few rows to say."""
    figures = report.message or comparison_text(report)
    if not is_insufficient:
        status = _finished(seen, "Rejected", Reason.CHALLENGER_WORSE, figures, report)
        rejected = Note(EventReason.RETRAIN_REJECTED, figures, warning=True)
        return Outcome(status, notes=(rejected,))
    needed = report.needed
    if needed is None and report.comparison is not None:
        needed = report.comparison.needed
    message = f"too few rows to judge: {figures}" + (f"; {needed} needed" if needed else "")
    status = _finished(
        seen, "InsufficientData", Reason.INSUFFICIENT_DATA, message, report, needed=needed
    )
    announced = Note(EventReason.RETRAIN_FAILED, message, warning=True)
    return Outcome(status, notes=(announced,))


_REASON_OF_FAILURE: dict[FailureClass, Reason] = {
    "data": Reason.DATA_FAILED,
    "code": Reason.CODE_FAILED,
    "infrastructure": Reason.INFRASTRUCTURE_FAILED,
}


def failed(seen: RetrainSnapshot, failure: FailureClass, message: str) -> RetrainOutcome:
    """No version and no judgement; `message` says what to do."""
    text = f"{failure}: {message}"
    status = _finished(seen, "Failed", _REASON_OF_FAILURE[failure], text, None, failure=failure)
    announced = Note(EventReason.RETRAIN_FAILED, text, warning=True)
    return Outcome(status, notes=(announced,))


def _finished(
    seen: RetrainSnapshot,
    phase: Phase,
    reason: Reason,
    message: str,
    report: TrainingReport | None,
    **changes: Any,
) -> RetrainJobStatus:
    figures = figures_of(seen.job, report) if report is not None else {}
    return _with_condition(
        seen,
        True,
        reason,
        message,
        phase=phase,
        finished=seen.now.replace(microsecond=0),
        **figures,
        **changes,
    )


def _with_condition(
    seen: RetrainSnapshot, is_complete: bool, reason: Reason, text: str, **changes: Any
) -> RetrainJobStatus:
    job = seen.job
    conditions = set_condition(
        job.status.conditions,
        ConditionType.COMPLETE,
        is_complete,
        reason,
        text,
        now=seen.now,
        generation=job.metadata.generation,
    )
    result = result_column(changes.get("phase", ""), changes.get("challenger"), changes)
    return job.status.model_copy(
        update={
            "observed_generation": job.metadata.generation,
            "conditions": conditions,
            "summary": RetrainJobSummary(cause=cause_text(job), result=result),
            **changes,
            "message": text[:1024],
        }
    )
