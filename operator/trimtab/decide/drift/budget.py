"""The budget of false alarms: what a look may cost, and the account of looks and alarms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from trimtab.api.drift_policy import (
    BudgetStatus,
    DriftPolicySpec,
    DriftPolicyStatus,
    SignalStatus,
)

QUARTER = timedelta(days=90)
REMEMBERED_ALARMS = 50
LARGEST_ALPHA = 0.1
"""A look is never taken at a weaker level, however generous the budget."""
SMALLEST_ALPHA = 1e-12
"""Nor at a stricter one: below it, one minus the level is one to a computer."""


def looks_per_quarter(spec: DriftPolicySpec) -> float:
    """Return the looks in three months: one for each signal and window, at least one a signal."""
    return max(1.0, QUARTER / spec.window) * len(spec.signals)


def alpha_of_look(spec: DriftPolicySpec) -> float:
    """Return the level of one signal in one window: the budget over looks and signals."""
    share = spec.false_alarms.per_quarter / looks_per_quarter(spec)
    return min(LARGEST_ALPHA, max(SMALLEST_ALPHA, share))


def alarms_of_signal(spec: DriftPolicySpec) -> float:
    """Return the false alarms that one signal may give in three months."""
    return spec.false_alarms.per_quarter / len(spec.signals)


def budget_after(
    status: DriftPolicyStatus,
    entries: Sequence[SignalStatus],
    spec: DriftPolicySpec,
    now: datetime,
) -> BudgetStatus:
    """Return the account with the looks and alarms of this pass in it.

    A look is a window that was not judged before; an alarm is a signal that fires and did not.
    """
    before = {(entry.deployment, entry.kind): entry for entry in status.signals}
    budget = status.budget
    looks = budget.looks if budget is not None else 0
    told = budget.alarms if budget is not None else []
    # What lies ahead is of now: the clock was set back.
    alarms = [min(at, now.replace(microsecond=0)) for at in told if now - at < QUARTER]
    for entry in entries:
        earlier = before.get((entry.deployment, entry.kind))
        if entry.window_end is not None and (
            earlier is None or earlier.window_end != entry.window_end
        ):
            looks += 1
        if entry.verdict == "Drifting" and (earlier is None or earlier.verdict != "Drifting"):
            alarms.append(now.replace(microsecond=0))
    return BudgetStatus(
        per_quarter=spec.false_alarms.per_quarter,
        level_per_look=float(f"{alpha_of_look(spec):.3g}"),
        looks=looks,
        alarms=alarms[-REMEMBERED_ALARMS:],
    )
