"""The series of a ModelVersion and of a RetrainJob, and what is counted when a retraining ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from trimtab.api.model_version import ModelVersionStatus
from trimtab.api.retrain_job import FINISHED_PHASES, Measured, RetrainJobStatus
from trimtab.state_metrics.families import (
    RETRAIN_ATTEMPT,
    RETRAIN_FINISHED,
    RETRAIN_INFO,
    RETRAIN_MEASURED,
    RETRAIN_MEASURED_LOWER,
    RETRAIN_MEASURED_UPPER,
    RETRAIN_STARTED,
)
from trimtab.state_metrics.lines import Lines
from trimtab.state_metrics.seen import (
    Json,
    Shown,
    add_common,
    lines_of,
    status_of,
    text_at,
)

BY_PERSON = "manual"


def model_version_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a ModelVersion; ValidationError if its status cannot be read."""
    lines = lines_of(obj)
    status = ModelVersionStatus.read_stored(status_of(obj))
    decided = add_common(lines, "ModelVersion", status)
    return Shown(lines.text(), decided=decided)


def retrain_job_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a RetrainJob; ValidationError if its status cannot be read."""
    status, lines = RetrainJobStatus.read_stored(status_of(obj)), lines_of(obj)
    decided = add_common(lines, "RetrainJob", status)
    deployment = text_at(obj, "spec", "cause", "deployment")
    lines.add(
        RETRAIN_INFO,
        1.0,
        deployment,
        text_at(obj, "spec", "model"),
        cause_of(obj),
        status.phase,
        status.new_version,
    )
    lines.add(RETRAIN_ATTEMPT, _attempt_of(obj), deployment)
    for family, at in ((RETRAIN_STARTED, status.started), (RETRAIN_FINISHED, status.finished)):
        lines.add(family, None if at is None else at.timestamp(), deployment)
    for side, measured in (("champion", status.champion), ("challenger", status.challenger)):
        if measured is not None:
            _add_measured(lines, measured, deployment, side)
    return Shown(lines.text(), decided=decided)


def _add_measured(lines: Lines, measured: Measured, deployment: str, side: str) -> None:
    of = deployment, side, measured.version, measured.metric
    lines.add(RETRAIN_MEASURED, measured.value, *of)
    if len(measured.interval) == 2:
        lower, upper = measured.interval
        lines.add(RETRAIN_MEASURED_LOWER, lower, *of)
        lines.add(RETRAIN_MEASURED_UPPER, upper, *of)


def cause_of(obj: Json) -> str:
    """Return the signal that asked for a retraining, or that a person did."""
    return text_at(obj, "spec", "cause", "signal") or BY_PERSON


def _attempt_of(obj: Json) -> int:
    """Return which attempt it is; the first where the spec does not say."""
    spec = obj.get("spec")
    cause = spec.get("cause") if isinstance(spec, Mapping) else None
    attempt = cause.get("attempt") if isinstance(cause, Mapping) else None
    return attempt if isinstance(attempt, int) and 1 <= attempt <= 1000 else 1


@dataclass(frozen=True)
class Trained:
    """A retraining that ended."""

    deployment: str
    cause: str
    outcome: str


def trained_between(old: Json, new: Json) -> Trained | None:
    """Return the end of a retraining that is in the newer status alone, or None."""
    phase = text_at(new, "status", "phase")
    if phase not in FINISHED_PHASES or text_at(old, "status", "phase") in FINISHED_PHASES:
        return None
    return Trained(text_at(new, "spec", "cause", "deployment"), cause_of(new), phase)
