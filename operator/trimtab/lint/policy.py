"""Rules on a DriftPolicy: what its traffic and its model cannot give, told before it is applied.

    window        not a whole number of seasons
    rows, budget  too few rows in a window to judge: by themselves, or by so strict a budget
    tolerance     below what the rows can tell from chance
    model         the model cannot give the signal (`model_lint.py`)
    actions       rules that nothing can meet

The figures are those of the verdicts: the same levels, the same needed rows (statistics.md §4-§6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.drift_policy import DriftPolicy, Signal
from trimtab.api.fields import LONGEST, format_duration
from trimtab.decide.drift.budget import QUARTER
from trimtab.decide.drift.policy import LARGEST_ALPHA, SMALLEST_ALPHA, alpha_of_look
from trimtab.decide.drift.signals.distances import DEFAULT_TOLERANCE, PSI_TO_FIND
from trimtab.decide.drift.signals.quality import DROP_TO_FIND
from trimtab.decide.drift.windows import window_warning
from trimtab.lint.model import Facts, floor_of, signal_remarks
from trimtab.lint.remarks import Remark
from trimtab.stats.distance import needed_rows
from trimtab.stats.quality import needed_rows as needed_labels
from trimtab.stats.visible import noise, smallest_shift

USUAL_BINS = 10
"""Where no baseline says how many."""
MOST_SEASONS = 400


def policy_remarks(policy: DriftPolicy, facts: Facts) -> list[Remark]:
    """Return what is to be said of a policy, in the order of its fields."""
    found: list[Remark] = []
    warning = window_warning(policy.spec)
    if warning is not None:
        found.append(Remark("warning", "window", "spec.window", warning))
    found += _budget_remarks(policy)
    for index, signal in enumerate(policy.spec.signals):
        field = f"spec.signals[{index}]"
        impossible = signal_remarks(signal, field, policy.spec.window, facts)
        found += impossible
        if not any(remark.severity == "error" for remark in impossible):
            found += _power_remarks(policy, signal, field, facts)
    return [*found, *_action_remarks(policy)]


# --- rows, budget, tolerance --------------------------------------------------------------------


def _budget_remarks(policy: DriftPolicy) -> list[Remark]:
    """A budget so strict that no test is that sure; the verdicts stop at SMALLEST_ALPHA."""
    budget = policy.spec.false_alarms.per_quarter
    looks = max(1.0, QUARTER / policy.spec.window) * len(policy.spec.signals)
    if budget / looks >= SMALLEST_ALPHA:
        return []
    text = (
        f"{budget:g} over {looks:.2g} looks a quarter is stricter than any test can be: each look "
        f"is taken at a level of {SMALLEST_ALPHA:g}"
    )
    return [Remark("warning", "budget", "spec.falseAlarms.perQuarter", text)]


@dataclass(frozen=True)
class _Demand:
    """Rows that a signal asks for at a level, and what they are to show."""

    rows_at: Callable[[float], int]
    sees: str


def _power_remarks(policy: DriftPolicy, signal: Signal, field: str, facts: Facts) -> list[Remark]:
    demand = _demand(signal, facts)
    if demand is None:
        return []
    if facts.rows is None:
        needed = demand.rows_at(alpha_of_look(policy))
        text = f"each window needs {needed} rows to see {demand.sees}"
        found = [Remark("note", "rows", field, text)]
    else:
        found = _rows_remarks(policy, field, demand, facts.rows)
    has_rows = all(remark.severity == "note" for remark in found)
    if signal.kind in ("inputs", "predictions") and has_rows:
        found += _tolerance_remarks(policy, signal, field, facts)
    return found


def _demand(signal: Signal, facts: Facts) -> _Demand | None:
    if signal.kind in ("inputs", "predictions"):
        tolerance = _tolerance(signal)
        shift = max(PSI_TO_FIND, 2 * tolerance)
        histograms = _histograms(signal, facts)
        return _Demand(
            lambda alpha: needed_rows(shift, max(histograms), alpha / len(histograms)),
            f"a PSI of {shift:g}",
        )
    floor = floor_of(signal, facts)
    if floor is None or not 0 < floor < 1 or (signal.metric or "accuracy") != "accuracy":
        return None
    drop = min(DROP_TO_FIND, floor)
    return _Demand(
        lambda alpha: needed_labels(floor, drop, 1 - alpha),
        f"an accuracy {drop:.0%} below the floor of {floor:.3f}",
    )


def _histograms(signal: Signal, facts: Facts) -> list[int]:
    """Return the number of bins of each histogram that the signal tests, at least one."""
    baseline = facts.baseline
    if baseline is None:
        return [USUAL_BINS]
    if signal.kind == "inputs":
        found = [len(feature.counts) for feature in baseline.features]
    else:
        found = [len(baseline.score_counts), len(baseline.predicted_counts)]
    return [bins for bins in found if bins >= 2] or [USUAL_BINS]


def _rows_remarks(policy: DriftPolicy, field: str, demand: _Demand, rows: float) -> list[Remark]:
    needed = demand.rows_at(alpha_of_look(policy))
    if needed <= rows:
        return []
    text = f"a window has about {rows:.0f} rows and needs {needed} to see {demand.sees}"
    longer = _long_enough(policy, demand, rows)
    remedy = f"a window of {format_duration(longer)}" if longer is not None else "more traffic"
    at_best = demand.rows_at(LARGEST_ALPHA)
    if at_best > rows:
        return [
            Remark(
                "warning",
                "rows",
                "spec.window",
                f"{field}: {text}; with any budget it needs {at_best}: it takes {remedy}",
            )
        ]
    budget = _generous_enough(policy, demand, rows)
    return [
        Remark(
            "warning",
            "budget",
            "spec.falseAlarms.perQuarter",
            f"{field}: {text} at this budget of {policy.spec.false_alarms.per_quarter:g}; "
            f"it takes {remedy}, or a budget of {budget:g}",
        )
    ]


def _long_enough(policy: DriftPolicy, demand: _Demand, rows: float) -> timedelta | None:
    """Return the shortest window of whole seasons that has the rows; None within ten years."""
    window, season = policy.spec.window, policy.spec.season
    for count in range(1, MOST_SEASONS + 1):
        longer = season * count
        if longer > LONGEST:
            return None
        if longer <= window:
            continue
        needed = demand.rows_at(alpha_of_look(_with(policy, window=longer)))
        if rows * (longer / window) >= needed:
            return longer
    return None


def _generous_enough(policy: DriftPolicy, demand: _Demand, rows: float) -> float:
    """Return about the smallest budget, false alarms a quarter, with which the rows are enough."""
    low, high = policy.spec.false_alarms.per_quarter, _largest_budget(policy)
    while high / low > 1.05:
        middle = math.sqrt(low * high)
        level = LARGEST_ALPHA * middle / _largest_budget(policy)
        low, high = (low, middle) if demand.rows_at(level) <= rows else (middle, high)
    return float(f"{high:.2g}") if float(f"{high:.2g}") >= high else float(f"{high * 1.05:.2g}")


def _largest_budget(policy: DriftPolicy) -> float:
    looks = max(1.0, QUARTER / policy.spec.window)
    return LARGEST_ALPHA * looks * len(policy.spec.signals)


def _with(policy: DriftPolicy, *, window: timedelta) -> DriftPolicy:
    spec = policy.spec.model_copy(update={"window": window})
    return policy.model_copy(update={"spec": spec})


def _tolerance_remarks(
    policy: DriftPolicy, signal: Signal, field: str, facts: Facts
) -> list[Remark]:
    tolerance, histograms = _tolerance(signal), _histograms(signal, facts)
    bins, alpha = max(histograms), alpha_of_look(policy) / len(histograms)
    known = facts.baseline.n if facts.baseline is not None else 0
    reference = float(known) if known > 0 else math.inf
    shift = max(PSI_TO_FIND, 2 * tolerance)
    at_best = smallest_shift(math.inf, reference, bins, tolerance, alpha)
    if at_best > shift:
        text = (
            f"{field}: with a baseline of {known} rows no traffic shows a PSI below "
            f"{at_best:.2f} at this budget; {shift:g} is looked for: it takes a baseline of more "
            "rows or a larger budget"
        )
        return [Remark("warning", "budget", "spec.falseAlarms.perQuarter", text)]
    if facts.rows is None or facts.rows <= 0:
        return []
    chance = noise(facts.rows, reference, bins)
    if signal.tolerance is None or tolerance >= chance:
        return []
    sees = smallest_shift(facts.rows, reference, bins, tolerance, alpha)
    text = (
        f"{tolerance:g} is below what {facts.rows:.0f} rows can see: by chance alone their PSI is "
        f"about {_two(chance)}, and a shift is found from {_two(sees)} on"
    )
    return [Remark("warning", "tolerance", f"{field}.tolerance", text)]


def _tolerance(signal: Signal) -> float:
    return DEFAULT_TOLERANCE if signal.tolerance is None else signal.tolerance


def _two(value: float) -> str:
    return f"{value:.2g}"


# --- actions ------------------------------------------------------------------------------------


def _action_remarks(policy: DriftPolicy) -> list[Remark]:
    """A rule for a signal that is not watched never fires; the defaults have one for each kind."""
    if "actions" not in policy.spec.model_fields_set:
        return []
    watched = {signal.kind for signal in policy.spec.signals}
    answered: set[str] = set()
    found = []
    for index, action in enumerate(policy.spec.actions):
        field = f"spec.actions[{index}].signal"
        if action.signal not in watched:
            text = f"{action.signal} is not among the signals, so this never happens"
            found.append(Remark("warning", "actions", field, text))
        elif action.signal in answered:
            text = f"an earlier action answers {action.signal}; the first match wins"
            found.append(Remark("warning", "actions", field, text))
        answered.add(action.signal)
    for kind in sorted(watched - answered):
        text = f"nothing follows when {kind} fires but its condition and event"
        found.append(Remark("note", "actions", "spec.actions", text))
    return found
