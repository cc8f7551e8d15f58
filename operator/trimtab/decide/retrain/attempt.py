"""One attempt at retraining, from cause to version.

    Queued ──pod runs──> Running ──report──> Succeeded | Rejected | InsufficientData | Failed

The champion is written into status before the run is started, and the name of the new version
follows from the cause: whatever is lost on the way, the next pass starts the same run and makes
the same version. Finished is final.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from trimtab.api.conditions import ConditionType, find_condition
from trimtab.api.fields import format_duration
from trimtab.api.model_version import version_object_name
from trimtab.api.retrain_job import FINISHED_PHASES
from trimtab.decide.led_time import is_to_come
from trimtab.decide.outcome import Outcome
from trimtab.decide.retrain.actions import RetrainOutcome, StartRun
from trimtab.decide.retrain.ends import (
    failed,
    in_progress,
    started,
    succeeded,
    turned_down,
    version_wanted,
)
from trimtab.decide.retrain.report import Accepted, Broke, TurnedDown
from trimtab.decide.retrain.snapshot import (
    RetrainSnapshot,
    last_exit,
    output_uri_of,
    result_of,
)

RESULT_GRACE = timedelta(seconds=30)
"""How long after the end of a run its pod's report may still be on its way to us."""
DEADLINE_GRACE = timedelta(seconds=60)
"""A run ends itself at its deadline; later the operator does not wait for it any more."""
REFUSED_GRACE = timedelta(minutes=10)
"""How long a version is tried that is refused, also after the deadline: somebody may let it in."""


def decide_retrain(snapshot: RetrainSnapshot) -> RetrainOutcome:
    """Return the next move; the first check that has an answer decides."""
    for check in CHECKS:
        outcome = check(snapshot)
        if outcome is not None:
            return replace(outcome, inputs=_inputs(snapshot)) if outcome.notes else outcome
    raise AssertionError("the last check always answers")


def rests_on_absence(seen: RetrainSnapshot, outcome: RetrainOutcome) -> bool:
    """Return whether an attempt ends, or trains anew, because something was not to be seen.

    It may be there: a view lacks what an event that was lost told of.
    """
    before = seen.job.status.phase
    if any(isinstance(action, StartRun) for action in outcome.actions):
        return before == "Running"
    gives_up = outcome.status.phase == "Failed" and before != "Failed"
    return gives_up and not isinstance(result_of(seen), Broke)


def _inputs(seen: RetrainSnapshot) -> dict[str, Any]:
    """Return what a decision rests on: the cause, the champion, and the report's figures."""
    job = seen.job
    result = result_of(seen)
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
        "exitCodes": [pod.exit_code for pod in seen.run.pods if pod.exit_code is not None],
    }


# --- the checks, in order -----------------------------------------------------------------------


def _is_finished(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """Finished is final."""
    if seen.job.status.phase in FINISHED_PHASES:
        return Outcome(seen.job.status)
    return None


def _version_is_made(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """The version is there: by an earlier pass that did not live to say so, or by this one."""
    if seen.made is None:
        return None
    result = result_of(seen)
    is_ours = seen.made.retrain_job == seen.job.metadata.name
    is_same = isinstance(result, Accepted) and result.digest == seen.made.digest
    if is_ours or is_same:
        report = result.report if isinstance(result, Accepted) else None
        return succeeded(seen, seen.made, report)
    return failed(
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
        return started(seen, seen.serving)
    created = seen.job.metadata.creation_timestamp
    # Before the first look nobody could act, however long ago it was asked for.
    is_first = seen.led is not None and seen.job.status.started_led is None
    is_over = created is not None and seen.led_since(created) >= seen.job.spec.active_deadline
    if is_over and not is_first:
        return failed(
            seen,
            "infrastructure",
            f"Deployment {deployment} served no version within "
            f"{format_duration(seen.job.spec.active_deadline)}",
        )
    message = f"waits until Deployment {deployment} serves a version to compare with"
    since = seen.led if is_first else seen.job.status.started_led
    return in_progress(seen, "Queued", message, started_led=since)


def _result_is_there(seen: RetrainSnapshot) -> RetrainOutcome | None:
    match result_of(seen):
        case None:
            return None
        case Accepted() as accepted:
            return _version_is_refused(seen) or version_wanted(seen, accepted)
        case TurnedDown(report, is_insufficient):
            return turned_down(seen, report, is_insufficient)
        case Broke(failure, message):
            return failed(seen, failure, message)


def _version_is_refused(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """A version that nobody lets in ends the attempt, or it would hold up all later ones."""
    stalled = find_condition(seen.job.status.conditions, ConditionType.STALLED)
    if stalled is None or stalled.status != "True":
        return None
    until = stalled.last_transition_time + REFUSED_GRACE
    if is_to_come(until, seen.now, REFUSED_GRACE) or not _is_out_of_time(seen):
        return None
    name = version_object_name(seen.job.spec.model, seen.job.status.new_version)
    return failed(seen, "infrastructure", f"ModelVersion {name} was refused: {stalled.message}")


def _run_ended_without_result(seen: RetrainSnapshot) -> RetrainOutcome | None:
    end = seen.run.end
    if end is None:
        return None
    # The end is told by another clock, which may be a little ahead of ours.
    if end.at is None or is_to_come(end.at + RESULT_GRACE, seen.now, 2 * RESULT_GRACE):
        # The pod's last state and the end of the run arrive on two streams, in any order.
        return in_progress(
            seen, "Running", "the training ended; waits for its report", timedelta(seconds=2)
        )
    match end.how:
        case "outOfTime":
            return failed(seen, "infrastructure", _no_result_in_time(seen))
        case "completed":
            lost = "the training completed, but its pod and report are gone"
            return failed(seen, "infrastructure", lost)
        case "failed":
            return failed(seen, "infrastructure", f"{end.reason}{last_exit(seen)}")


def _deadline_is_past(seen: RetrainSnapshot) -> RetrainOutcome | None:
    if not _is_out_of_time(seen):
        return None
    return failed(seen, "infrastructure", _no_result_in_time(seen))


def _is_out_of_time(seen: RetrainSnapshot) -> bool:
    started_at, limit = seen.job.status.started, seen.job.spec.active_deadline
    return started_at is not None and seen.led_since(started_at) >= limit + DEADLINE_GRACE


def _run_is_missing(seen: RetrainSnapshot) -> RetrainOutcome | None:
    """Start the run, or start it again: somebody deleted it before there was a result."""
    champion = seen.job.status.champion_version
    if seen.run.exists or champion is None:
        return None
    version = seen.job.status.new_version
    is_lost = seen.job.status.phase == "Running"
    message = "the training was deleted before it had a result; started again" if is_lost else ""
    action = StartRun(champion, version, output_uri_of(champion, version))
    waiting = in_progress(seen, "Queued", message or seen.job.status.message)
    return replace(waiting, actions=(action,))


def _run_is_under_way(seen: RetrainSnapshot) -> RetrainOutcome:
    pods = seen.run.pods
    if any(pod.is_running for pod in pods) or seen.job.status.phase == "Running":
        return in_progress(seen, "Running", "the training runs")
    waiting = next((pod.waiting for pod in pods if pod.waiting), "")
    return in_progress(seen, "Queued", waiting or seen.job.status.message)


CHECKS: tuple[Callable[[RetrainSnapshot], RetrainOutcome | None], ...] = (
    _is_finished,
    _version_is_made,
    _champion_is_not_fixed,
    _result_is_there,
    _run_ended_without_result,
    _deadline_is_past,
    _run_is_missing,
    _run_is_under_way,
)


def _no_result_in_time(seen: RetrainSnapshot) -> str:
    return f"no result within the deadline of {format_duration(seen.job.spec.active_deadline)}"
