"""The series of a DriftPolicy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.drift_policy import BudgetStatus, DriftPolicyStatus, SignalStatus
from trimtab.state_metrics.families import (
    BUDGET_USED_RATIO,
    DRIFT_THRESHOLD,
    DRIFT_VALUE,
    DRIFT_VERDICT,
    FEATURE_PSI,
    LABELS_SHARE,
    QUALITY_BOUNDS,
    QUALITY_ESTIMATED,
    QUALITY_REALISED,
    RETRAIN_ATTEMPTS,
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

QUARTER = timedelta(days=90)
"""What the budget of false alarms is about."""
_QUALITY = {
    "quality": (QUALITY_ESTIMATED, "estimated"),
    "outcomes": (QUALITY_REALISED, "realised"),
}
_USUAL_METRIC = "accuracy"


def drift_policy_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a DriftPolicy; ValidationError if its status cannot be read."""
    status, lines = DriftPolicyStatus.read_stored(status_of(obj)), lines_of(obj)
    decided = add_common(lines, "DriftPolicy", status)
    for signal in status.signals:
        of = signal.deployment, signal.kind
        lines.add(DRIFT_VALUE, signal.value, *of)
        lines.add(DRIFT_THRESHOLD, signal.threshold, *of)
        lines.add(DRIFT_VERDICT, 1.0, *of, signal.verdict)
        lines.add(LABELS_SHARE, signal.labelled, signal.deployment)
        if signal.kind == "inputs":
            for feature in signal.top:
                lines.add(FEATURE_PSI, feature.value, signal.deployment, feature.name)
    if status.judged_generation == obj["metadata"].get("generation"):
        _add_quality(lines, obj, status.signals)
    attempts = Counter((one.deployment, str(one.phase)) for one in status.attempts)
    for of_phase, number in attempts.items():
        lines.add(RETRAIN_ATTEMPTS, number, *of_phase)
    counted = _alarms(status.budget, now)
    if status.budget is not None and status.budget.per_quarter > 0:
        watched = len({signal.deployment for signal in status.signals})
        accepted = status.budget.per_quarter * max(1, watched)
        lines.add(BUDGET_USED_RATIO, len(counted) / accepted)
    return Shown(
        lines.text(),
        decided=decided,
        until=min(counted) + QUARTER if counted else None,
    )


def _alarms(budget: BudgetStatus | None, now: datetime) -> list[datetime]:
    return [at for at in budget.alarms if now - at < QUARTER] if budget is not None else []


def _add_quality(lines: Lines, obj: Json, signals: Sequence[SignalStatus]) -> None:
    """Name the metric of a value: only where it was judged by the spec that is there."""
    for signal in signals:
        named = _QUALITY.get(signal.kind)
        if named is not None:
            family, of = named
            asked = _signal_of(obj, signal.kind)
            metric = text_at(asked, "metric") or _USUAL_METRIC
            labels = signal.deployment, metric, text_at(asked, "class")
            lines.add(family, signal.value, *labels)
            lines.add(QUALITY_BOUNDS[of, "lower"], signal.lower, *labels)
            lines.add(QUALITY_BOUNDS[of, "upper"], signal.upper, *labels)


def _signal_of(obj: Json, kind: str) -> Json:
    """Return the signal of that kind in the spec; empty if there is none."""
    spec: Any = obj.get("spec")
    signals = spec.get("signals") if isinstance(spec, dict) else None
    for signal in signals if isinstance(signals, list) else ():
        if text_at(signal, "kind") == kind:
            return dict(signal)
    return {}
