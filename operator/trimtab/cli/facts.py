"""What a reason means, what to do about it, and which alerts are about an object.

From `facts.json`, which `make generate` writes from the vocabulary of the API and from the alerts.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from trimtab.cli.seen import Seen

FINE_WHEN_TRUE = frozenset({"Ready", "DataAvailable", "Verified", "Watching", "UpToDate"})
REPEATING = frozenset({"UpToDate", "Reconciling"})
"""They say for other tools what Progressing, Stalled and Quarantined say."""
WRONG_WHEN_TRUE = frozenset(
    {"Degraded", "Paused", "Quarantined", "DriftDetected", "Harm", "DataBroken", "Stalled"}
)


@dataclass(frozen=True)
class Fact:
    """A reason in words; advice: empty where nothing has to be done."""

    meaning: str
    advice: str


@dataclass(frozen=True)
class Alert:
    """An alert that is about conditions or decisions of an object."""

    name: str
    severity: str
    what: str
    matchers: tuple[tuple[str, str, str], ...]
    within_seconds: int
    """After a decision; 0: it is about a condition."""


def fact_of(reason: str) -> Fact | None:
    """Return what a reason means; None for one of another release."""
    found = _facts()["reasons"].get(reason)
    return None if found is None else Fact(**found)


def alerts() -> list[Alert]:
    """Return the alerts that are about single objects."""
    return [
        Alert(**{**one, "matchers": tuple(tuple(m) for m in one["matchers"])})
        for one in _facts()["alerts"]
    ]


def is_wrong(condition: Seen) -> bool:
    """Whether a condition is one that a person should know of."""
    kind, status = condition.text("type"), condition.text("status")
    if kind in REPEATING:
        return False
    fact = fact_of(condition.text("reason"))
    has_advice = fact is not None and bool(fact.advice)
    if kind in FINE_WHEN_TRUE:
        return status == "False" or (status == "Unknown" and has_advice)
    return status == "True" if kind in WRONG_WHEN_TRUE else has_advice


def alerts_of(kind: str, obj: Seen, now: datetime) -> Iterator[Alert]:
    """Yield the alerts whose expression holds for an object now, whether or not they wait."""
    conditions = [
        {field: one.text(field) for field in ("type", "status", "reason")}
        for one in obj.all("status", "conditions")
    ]
    for alert in alerts():
        shown = [] if alert.within_seconds else [{"kind": kind, **one} for one in conditions]
        for decision in obj.all("status", "record", "decisions") if alert.within_seconds else ():
            made = decision.time("at")
            if made is not None and (now - made).total_seconds() < alert.within_seconds:
                shown.append({"kind": kind, "reason": decision.text("reason")})
        if any(_holds(alert, labels) for labels in shown):
            yield alert


def _holds(alert: Alert, labels: Mapping[str, str]) -> bool:
    return all(_matches(labels.get(name, ""), how, value) for name, how, value in alert.matchers)


def _matches(value: str, how: str, wanted: str) -> bool:
    if how in ("=", "!="):
        return (value == wanted) == (how == "=")
    return (re.fullmatch(wanted, value) is not None) == (how == "=~")


@cache
def _facts() -> dict[str, Any]:
    text = pkgutil.get_data("trimtab.cli", "facts.json")
    assert text is not None
    found: dict[str, Any] = json.loads(text)
    return found
