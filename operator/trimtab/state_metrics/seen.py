"""What is read of an object of ours: its status as this release knows it, and some of its spec.

The spec is read field by field: one that this release refuses is a condition, `Stalled`, which has
to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from trimtab.api.fields import parse_time
from trimtab.api.record import Status
from trimtab.state_metrics.families import CONDITION, LAST_DECISION
from trimtab.state_metrics.lines import Lines, Text

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """The series of one object."""

    text: Text = field(default_factory=dict)
    serves: str | None = None
    """Of a Deployment: the ModelVersion that serves; its age is worked out at each scrape."""
    decided: Mapping[str, float] = field(default_factory=dict)
    """By reason: when it was decided last, Unix seconds, as far as status says."""
    until: datetime | None = None
    """When they are to be worked out anew although nothing was written; None: never."""


def lines_of(obj: Json) -> Lines:
    """Return an empty set of series with the object's namespace and name."""
    metadata = obj["metadata"]
    return Lines(metadata.get("namespace", ""), metadata["name"])


def status_of(obj: Json) -> Any:
    """Return the JSON of the status; empty where there is none yet."""
    status = obj.get("status")
    return {} if status is None else status


def text_at(obj: Json, *path: str) -> str:
    """Return the text at a path, or nothing where there is no text."""
    found: Any = obj
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def created_at(obj: Json) -> datetime | None:
    """Return when the API server made the object; None where that cannot be told."""
    try:
        return parse_time(obj["metadata"].get("creationTimestamp"))
    except ValueError:
        return None


def add_common(lines: Lines, kind: str, status: Status) -> dict[str, float]:
    """Add what all kinds have: conditions, and when each reason was decided last; return these."""
    for condition in status.conditions:
        lines.add(CONDITION, 1.0, kind, condition.type, condition.status, condition.reason)
    last = _decided_last(status)
    for reason, at in last.items():
        lines.add(LAST_DECISION, at, kind, reason)
    return last


def _decided_last(status: Status) -> dict[str, float]:
    """Return by reason when it was decided last, Unix seconds."""
    last: dict[str, float] = {}
    for decision in status.record.decisions:
        at = decision.at.timestamp()
        last[decision.reason] = max(at, last.get(decision.reason, at))
    return last
