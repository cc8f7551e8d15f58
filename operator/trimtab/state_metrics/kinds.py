"""What is shown of each kind, and which decisions are new in a status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from trimtab.api.record import Decision, Record
from trimtab.state_metrics.deployment import deployment_shown
from trimtab.state_metrics.drift_policy import drift_policy_shown
from trimtab.state_metrics.other_kinds import model_version_shown, retrain_job_shown
from trimtab.state_metrics.seen import Json, Shown, status_of

SHOWN: Final[Mapping[str, Callable[[Json, datetime], Shown]]] = {
    "ModelVersion": model_version_shown,
    "Deployment": deployment_shown,
    "DriftPolicy": drift_policy_shown,
    "RetrainJob": retrain_job_shown,
}
"""By kind: the series of an object at a time; ValidationError if its status cannot be read."""


def last_number(obj: Json) -> int:
    """Return the number of the last decision; 0 where there is none, or none that can be read."""
    status = status_of(obj)
    record = status.get("record") if isinstance(status, Mapping) else None
    number = record.get("seq") if isinstance(record, Mapping) else None
    return number if isinstance(number, int) else 0


def decisions_after(obj: Json, number: int) -> list[Decision]:
    """Return the decisions with a higher number; ValidationError if the record is unreadable."""
    record = Record.read_stored(status_of(obj).get("record") or {})
    return [decision for decision in record.decisions if decision.seq > number]
