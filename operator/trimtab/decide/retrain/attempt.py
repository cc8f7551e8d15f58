"""One attempt at retraining, from cause to version.

    Queued ──Job runs──> Running ──report──> Succeeded | Rejected | InsufficientData | Failed

The champion is written into status before the Job is made, and the name of the new version
follows from the cause: whatever is lost on the way, the next pass makes the same Job and the same
version. Finished is final.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from trimtab.api.conditions import (
    ConditionType,
    EventReason,
    Reason,
    set_condition,
)
from trimtab.api.fields import format_duration
from trimtab.api.retrain_job import (
    FINISHED_PHASES,
    Champion,
    RetrainJob,
    RetrainJobStatus,
    RetrainJobSummary,
)
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.retrain.cause import new_version_name
from trimtab.decide.retrain.figures import (
    cause_text,
    comparison_text,
    figures_of,
    result_column,
    version_manifest,
)
from trimtab.decide.retrain.report import (
    Accepted,
    Broke,
    FailureClass,
    TrainingReport,
    TrainingResult,
    TurnedDown,
    last_words,
    read_result,
)

LONGEST_NAME = 63
"""A Job's name and the label that ties it to its RetrainJob allow no more."""
RESULT_GRACE = timedelta(seconds=30)
"""How long after the end of a Job its pod's report may still be on its way to us."""
DEADLINE_GRACE = timedelta(seconds=60)
"""The Job ends itself at its deadline; later the operator does not wait for it any more."""
LOOK_AGAIN = timedelta(seconds=15)
DIGEST_CHARACTERS = 16
"""Of the digest in the name of an artifact's folder."""

Phase = Literal["Queued", "Running", "Succeeded", "Rejected", "InsufficientData", "Failed"]


# --- what is seen -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PodView:
    """One pod of the Job. `exit_code` is None until its container has terminated."""

    name: str
    is_running: bool = False
    waiting: str = ""
    exit_code: int | None = None
    message: str = ""
    finished: datetime | None = None


@dataclass(frozen=True)
class JobView:
    """The batch Job. `failed` holds reason and message of its end, `ended` the time."""

    is_complete: bool = False
    failed: tuple[str, str] | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class MadeVersion:
    """The ModelVersion that has the wanted name, whoever made it."""

    name: str
    digest: str
    retrain_job: str | None


@dataclass(frozen=True)
class RetrainSnapshot:
    """Everything that the decision rests on."""

    job: RetrainJob
    now: datetime
    serving: Champion | None = None
    """What the Deployment of the cause serves now."""
    batch_job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    made: MadeVersion | None = None


# --- what is done -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateJob:
    """Make the batch Job; its name is that of the RetrainJob."""

    champion: Champion
    new_version: str
    output_uri: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class CreateVersion:
    """Make the ModelVersion; exists already is success if it is the same."""

    manifest: dict[str, Any]
    digest: str
    reason: Reason
    message: str


Action = CreateJob | CreateVersion


RetrainOutcome = Outcome[RetrainJobStatus, Action]


def decide_retrain(snapshot: RetrainSnapshot) -> RetrainOutcome:
    """Return the next move; the first check that has an answer decides."""
    for check in CHECKS:
        outcome = check(snapshot)
        if outcome is not None:
            return replace(outcome, inputs=_inputs(snapshot)) if outcome.notes else outcome
    raise AssertionError("the last check always answers")


def _inputs(seen: RetrainSnapshot) -> dict[str, Any]:
    """Return what a decision rests on: the cause, the champion, and the report's figures."""
    job = seen.job
    result = _result_of(seen)
    report = result.report if isinstance(result, Accepted | TurnedDown) else None
    champion = job.status.champion_version
    return {
        "cause": job.spec.cause.to_json(),
        "champion": champion.digest if champion is not None else None,
        "newVersion": job.status.new_version,
        "gate": job.spec.gate.to_json(),
        "comparison": report.comparison.model_dump(mode="json", exclude_none=True)
        if report is not None and report.comparison is not None
        else None,
        "exitCodes": [pod.exit_code for pod in seen.pods if pod.exit_code is not None],
    }


def output_uri_of(champion: Champion, new_version: str) -> str:
    """Return the folder of a new version: beside that of the champion.

    Artifacts lie in a folder named by their digest, below that of the version:
    `s3://models/digits/v1/9f2c.../` -> `s3://models/digits/r1a2b3c4d/`.
    """
    scheme, _, path = champion.uri.partition("://")
    host, *folders = path.rstrip("/").split("/")
    if folders and folders[-1] == champion.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS]:
        folders.pop()
    return f"{scheme}://" + "/".join([host, *folders[:-1], new_version]) + "/"


# --- the checks, in order -----------------------------------------------------------------------


def _is_finished(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """Finished is final."""
    if seen.job.status.phase in FINISHED_PHASES:
        return Outcome(seen.job.status)
    return None


def _name_is_too_long(seen: RetrainSnapshot) -> RetrainOutcome | None:
    name = seen.job.metadata.name
    if len(name) <= LONGEST_NAME:
        return None
    return _failed(
        seen, "code", f"the name has {len(name)} characters, a Job's at most {LONGEST_NAME}"
    )


def _version_is_made(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """The version is there: by an earlier pass that did not live to say so, or by this one."""
    if seen.made is None:
        return None
    result = _result_of(seen)
    is_ours = seen.made.retrain_job == seen.job.metadata.name
    is_same = isinstance(result, Accepted) and result.digest == seen.made.digest
    if is_ours or is_same:
        report = result.report if isinstance(result, Accepted) else None
        return _succeeded(seen, seen.made, report)
    return _failed(
        seen,
        "infrastructure",
        f"ModelVersion {seen.made.name} exists with another digest ({seen.made.digest}) and was "
        "not made by this job; delete it and retrain again",
    )


def _champion_is_not_fixed(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """Write down what the challenger will be compared with, before anything starts."""
    if seen.job.status.champion_version is not None:
        return None
    deployment = seen.job.spec.cause.deployment
    if seen.serving is not None:
        return _started(seen, seen.serving)
    created = seen.job.metadata.creation_timestamp
    if created is not None and seen.now >= created + seen.job.spec.active_deadline:
        return _failed(
            seen,
            "infrastructure",
            f"Deployment {deployment} served no version within "
            f"{format_duration(seen.job.spec.active_deadline)}",
        )
    return _in_progress(
        seen, "Queued", f"waits until Deployment {deployment} serves a version to compare with"
    )


def _result_is_there(seen: RetrainSnapshot) -> RetrainOutcome | None:
    match _result_of(seen):
        case None:
            return None
        case Accepted() as accepted:
            return _version_wanted(seen, accepted)
        case TurnedDown(report, is_insufficient):
            return _turned_down(seen, report, is_insufficient)
        case Broke(failure, message):
            return _failed(seen, failure, message)


def _deadline_is_past(seen: RetrainSnapshot) -> RetrainOutcome | None:
    started, limit = seen.job.status.started, seen.job.spec.active_deadline
    if started is None or seen.now < started + limit + DEADLINE_GRACE:
        return None
    return _failed(
        seen, "infrastructure", f"no result within the deadline of {format_duration(limit)}"
    )


def _job_ended_without_result(seen: RetrainSnapshot) -> RetrainOutcome | None:
    job = seen.batch_job
    if job is None or not (job.is_complete or job.failed is not None):
        return None
    if job.ended is None or seen.now < job.ended + RESULT_GRACE:
        # The pod's last state and the Job's arrive on two streams, in any order.
        return _in_progress(
            seen, "Running", "the Job ended; waits for its report", timedelta(seconds=2)
        )
    if job.failed is not None and job.failed[0] == "DeadlineExceeded":
        limit = format_duration(seen.job.spec.active_deadline)
        return _failed(seen, "infrastructure", f"no result within the deadline of {limit}")
    if job.is_complete:
        return _failed(seen, "infrastructure", "the Job completed, but its pod and report are gone")
    reason, message = job.failed or ("", "")
    return _failed(seen, "infrastructure", f"{reason}: {message}{_last_exit(seen)}")


def _job_is_missing(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """Make the Job, or make it again: somebody deleted it before there was a result."""
    champion = seen.job.status.champion_version
    if seen.batch_job is not None or champion is None:
        return None
    version = seen.job.status.new_version
    is_lost = seen.job.status.phase == "Running"
    message = "the Job was deleted before it had a result; made again" if is_lost else ""
    action = CreateJob(champion, version, output_uri_of(champion, version), Reason.QUEUED, message)
    waiting = _in_progress(seen, "Queued", message or seen.job.status.message)
    return replace(waiting, actions=(action,))


def _job_is_under_way(seen: RetrainSnapshot) -> RetrainOutcome:
    if any(pod.is_running for pod in seen.pods) or seen.job.status.phase == "Running":
        return _in_progress(seen, "Running", "the training runs")
    waiting = next((pod.waiting for pod in seen.pods if pod.waiting), "")
    return _in_progress(seen, "Queued", waiting or seen.job.status.message)


CHECKS: tuple[Callable[[RetrainSnapshot], RetrainOutcome | None], ...] = (
    _is_finished,
    _name_is_too_long,
    _version_is_made,
    _champion_is_not_fixed,
    _result_is_there,
    _job_ended_without_result,
    _deadline_is_past,
    _job_is_missing,
    _job_is_under_way,
)


# --- ends and steps -----------------------------------------------------------------------------


def _started(seen: RetrainSnapshot, champion: Champion) -> RetrainOutcome:
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
        champion_version=champion,
        new_version=version,
    )
    announced = (Note(EventReason.RETRAIN_STARTED, message),)
    return Outcome(status, notes=announced, wake_at=seen.now)


def _in_progress(
    seen: RetrainSnapshot, phase: Phase, message: str, look_again: timedelta = LOOK_AGAIN
) -> RetrainOutcome:
    reason = Reason.RUNNING if phase == "Running" else Reason.QUEUED
    status = _with_condition(seen, False, reason, message, phase=phase)
    return Outcome(status, wake_at=seen.now + look_again)


def _version_wanted(seen: RetrainSnapshot, accepted: Accepted) -> RetrainOutcome:
    manifest = version_manifest(seen.job, accepted)
    message = f"{manifest['metadata']['name']}: {comparison_text(accepted.report)}"
    action = CreateVersion(manifest, accepted.digest, Reason.SUCCEEDED, message)
    # The next pass finds the version and ends the attempt.
    return Outcome(seen.job.status, actions=(action,), wake_at=seen.now)


def _succeeded(
    seen: RetrainSnapshot, made: MadeVersion, report: TrainingReport | None
) -> RetrainOutcome:
    figures = comparison_text(report) if report is not None else "made by an earlier pass"
    message = f"ModelVersion {made.name}: {figures}"
    status = _finished(
        seen, "Succeeded", Reason.SUCCEEDED, message, report, model_version=made.name
    )
    return Outcome(
        status,
        notes=(
            Note(EventReason.VERSION_CREATED, message),
            Note(EventReason.RETRAIN_SUCCEEDED, message),
        ),
    )


def _turned_down(
    seen: RetrainSnapshot, report: TrainingReport, is_insufficient: bool
) -> RetrainOutcome:
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


_FAILED_REASONS: dict[FailureClass, Reason] = {
    "data": Reason.DATA_FAILED,
    "code": Reason.CODE_FAILED,
    "infrastructure": Reason.INFRASTRUCTURE_FAILED,
}


def _failed(seen: RetrainSnapshot, failure: FailureClass, message: str) -> RetrainOutcome:
    text = f"{failure}: {message}"
    status = _finished(seen, "Failed", _FAILED_REASONS[failure], text, None, failure=failure)
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


# --- small things -------------------------------------------------------------------------------


def _result_of(seen: RetrainSnapshot) -> TrainingResult | None:
    champion = seen.job.status.champion_version
    if champion is None:
        return None
    output_uri = output_uri_of(champion, seen.job.status.new_version)
    for pod in seen.pods:
        if pod.exit_code is not None:
            result = read_result(pod.exit_code, pod.message, output_uri=output_uri)
            if result is not None:
                return result
    return None


def _last_exit(seen: RetrainSnapshot) -> str:
    ended = [pod for pod in seen.pods if pod.exit_code is not None]
    if not ended:
        return ""
    words = last_words(ended[-1].message)
    return f" (last exit code {ended[-1].exit_code}{': ' if words else ''}{words})"
