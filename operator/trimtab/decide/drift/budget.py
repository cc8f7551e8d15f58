"""The account of the budget of false alarms: looks taken, and when a signal fired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from trimtab.api.drift_policy import BudgetStatus, DriftPolicyStatus, SignalStatus

QUARTER = timedelta(days=90)
REMEMBERED_ALARMS = 50


def budget_after(
    status: DriftPolicyStatus,
    entries: Sequence[SignalStatus],
    per_quarter: float,
    level: float,
    now: datetime,
) -> BudgetStatus:
    """Return the account with the looks and alarms of this pass in it.

    A look is a window that was not judged before; an alarm is a signal that fires and did not.
    """
    before = {(entry.deployment, entry.kind): entry for entry in status.signals}
    known = status.budget
    looks = known.looks if known is not None else 0
    alarms = [at for at in (known.alarms if known is not None else []) if now - at < QUARTER]
    for entry in entries:
        earlier = before.get((entry.deployment, entry.kind))
        if entry.window_end is not None and (
            earlier is None or earlier.window_end != entry.window_end
        ):
            looks += 1
        if entry.verdict == "Drifting" and (earlier is None or earlier.verdict != "Drifting"):
            alarms.append(now.replace(microsecond=0))
    return BudgetStatus(
        per_quarter=per_quarter,
        level_per_look=float(f"{level:.3g}"),
        looks=looks,
        alarms=alarms[-REMEMBERED_ALARMS:],
    )
