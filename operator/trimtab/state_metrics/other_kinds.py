"""The series of a ModelVersion and of a RetrainJob, and what is counted when a retraining ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trimtab.api.model_version import ModelVersionStatus
from trimtab.api.retrain_job import FINISHED_PHASES, RetrainJobStatus
from trimtab.state_metrics.seen import Json, Shown, add_common, lines_of, status_of, text_at

BY_PERSON = "manual"


def model_version_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a ModelVersion; ValidationError if its status cannot be read."""
    lines = lines_of(obj)
    add_common(lines, "ModelVersion", ModelVersionStatus.read_stored(status_of(obj)))
    return Shown(lines.text())


def retrain_job_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a RetrainJob; ValidationError if its status cannot be read."""
    lines = lines_of(obj)
    add_common(lines, "RetrainJob", RetrainJobStatus.read_stored(status_of(obj)))
    return Shown(lines.text())


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
    cause = text_at(new, "spec", "cause", "signal") or BY_PERSON
    return Trained(text_at(new, "spec", "cause", "deployment"), cause, phase)
