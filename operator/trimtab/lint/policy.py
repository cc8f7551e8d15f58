"""Rules on a DriftPolicy: what its traffic and its model cannot give, told before it is applied.

    window        not a whole number of seasons
    rows, budget  too few rows in a window to judge: by themselves, or by so strict a budget
    signals       what each kind of signal adds (`signals.py`): model, labels, tolerance
    actions       rules that nothing can meet

The figures are those of the verdicts: the same levels, the same needed rows (statistics.md §4-§6).
"""

from __future__ import annotations

import math
from datetime import timedelta

from trimtab.api.drift_policy import DriftPolicy, DriftPolicySpec, Signal
from trimtab.api.durations import LONGEST
from trimtab.api.fields import format_duration
from trimtab.decide.drift.budget import (
    LARGEST_ALPHA,
    SMALLEST_ALPHA,
    alpha_of_look,
    looks_per_quarter,
)
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.drift.signals.signal import Demand
from trimtab.decide.drift.windows import window_warning
from trimtab.lint.facts import Facts
from trimtab.lint.remarks import Remark
from trimtab.lint.signals import lint_of

MOST_SEASONS = 400


def policy_remarks(policy: DriftPolicy, facts: Facts) -> list[Remark]:
    """Return what is to be said of a policy, in the order of its fields."""
    spec = policy.spec
    remarks: list[Remark] = []
    warning = window_warning(spec)
    if warning is not None:
        remarks.append(Remark("warning", "window", "spec.window", warning))
    remarks += _budget_remarks(spec)
    for index, signal in enumerate(spec.signals):
        remarks += _signal_remarks(spec, signal, f"spec.signals[{index}]", facts)
    return [*remarks, *_action_remarks(spec)]


def _signal_remarks(spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts) -> list[Remark]:
    """Say what the model cannot give; of what it can, the rows; with rows enough, the rest."""
    rules = lint_of(signal.kind)
    remarks = rules.model(spec, signal, path, facts)
    if any(remark.severity == "error" for remark in remarks):
        return remarks
    demand = signal_type(signal.kind).demand(signal, facts.baseline, facts.score(signal))
    of_rows = [] if demand is None else _rows_remarks(spec, path, demand, facts.rows)
    if all(remark.severity == "note" for remark in of_rows):
        of_rows += rules.precision(spec, signal, path, facts)
    return [*remarks, *of_rows]


# --- rows and budget ----------------------------------------------------------------------------


def _budget_remarks(spec: DriftPolicySpec) -> list[Remark]:
    """A budget so strict that no test is that sure; the verdicts stop at SMALLEST_ALPHA."""
    budget, looks = spec.false_alarms.per_quarter, looks_per_quarter(spec)
    if budget / looks >= SMALLEST_ALPHA:
        return []
    text = (
        f"{budget:g} over {looks:.2g} looks a quarter is stricter than any test can be: each look "
        f"is taken at a level of {SMALLEST_ALPHA:g}"
    )
    return [Remark("warning", "budget", "spec.falseAlarms.perQuarter", text)]


def _rows_remarks(
    spec: DriftPolicySpec, path: str, demand: Demand, rows: float | None
) -> list[Remark]:
    needed = demand.rows_at(alpha_of_look(spec))
    if rows is None:
        text = f"each window needs {needed} rows to see {demand.sees}"
        return [Remark("note", "rows", path, text)]
    if needed <= rows:
        return []
    text = f"a window has about {rows:.0f} rows and needs {needed} to see {demand.sees}"
    longer = _long_enough(spec, demand, rows)
    remedy = f"a window of {format_duration(longer)}" if longer is not None else "more traffic"
    at_best = demand.rows_at(LARGEST_ALPHA)
    if at_best > rows:
        return [
            Remark(
                "warning",
                "rows",
                "spec.window",
                f"{path}: {text}; with any budget it needs {at_best}: it takes {remedy}",
            )
        ]
    budget = _generous_enough(spec, demand, rows)
    return [
        Remark(
            "warning",
            "budget",
            "spec.falseAlarms.perQuarter",
            f"{path}: {text} at this budget of {spec.false_alarms.per_quarter:g}; "
            f"it takes {remedy}, or a budget of {budget:g}",
        )
    ]


def _long_enough(spec: DriftPolicySpec, demand: Demand, rows: float) -> timedelta | None:
    """Return the shortest window of whole seasons that has the rows; None within ten years."""
    window, season = spec.window, spec.season
    for count in range(1, MOST_SEASONS + 1):
        longer = season * count
        if longer > LONGEST:
            return None
        if longer <= window:
            continue
        needed = demand.rows_at(alpha_of_look(spec.model_copy(update={"window": longer})))
        if rows * (longer / window) >= needed:
            return longer
    return None


def _generous_enough(spec: DriftPolicySpec, demand: Demand, rows: float) -> float:
    """Return about the smallest budget, false alarms a quarter, with which the rows are enough."""
    looks = looks_per_quarter(spec)
    low, high = spec.false_alarms.per_quarter, LARGEST_ALPHA * looks
    while high / low > 1.05:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if demand.rows_at(middle / looks) <= rows else (middle, high)
    return float(f"{high:.2g}") if float(f"{high:.2g}") >= high else float(f"{high * 1.05:.2g}")


# --- actions ------------------------------------------------------------------------------------


def _action_remarks(spec: DriftPolicySpec) -> list[Remark]:
    """A rule for a signal that is not watched never fires; the defaults have one for each kind."""
    if "actions" not in spec.model_fields_set:
        return []
    watched = {signal.kind for signal in spec.signals}
    answered: set[str] = set()
    remarks = []
    for index, action in enumerate(spec.actions):
        field = f"spec.actions[{index}].signal"
        if action.signal not in watched:
            text = f"{action.signal} is not among the signals, so this never happens"
            remarks.append(Remark("warning", "actions", field, text))
        elif action.signal in answered:
            text = f"an earlier action answers {action.signal}; the first match wins"
            remarks.append(Remark("warning", "actions", field, text))
        answered.add(action.signal)
    for kind in sorted(watched - answered):
        text = f"nothing follows when {kind} fires but its condition and event"
        remarks.append(Remark("note", "actions", "spec.actions", text))
    return remarks
