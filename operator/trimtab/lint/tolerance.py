"""Rule on the tolerance of inputs and predictions: what can the rows tell from chance?"""

from __future__ import annotations

import math

from trimtab.api.drift_policy import DriftPolicySpec, Signal
from trimtab.decide.drift.budget import alpha_of_look
from trimtab.decide.drift.signals.shift import ShiftSignal, shift_to_find, tolerance_of
from trimtab.lint.facts import Facts
from trimtab.lint.remarks import Remark
from trimtab.stats.visible import noise, smallest_shift


def tolerance_remarks(
    own: ShiftSignal, spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts
) -> list[Remark]:
    """A shift that no traffic shows, and a tolerance that chance alone passes."""
    tolerance, histograms = tolerance_of(signal), own.tested_bins(facts.baseline)
    bins, alpha = max(histograms), alpha_of_look(spec) / len(histograms)
    rows_of_baseline = facts.baseline.n if facts.baseline is not None else 0
    reference = float(rows_of_baseline) if rows_of_baseline > 0 else math.inf
    shift = shift_to_find(tolerance)
    at_best = smallest_shift(math.inf, reference, bins, tolerance, alpha)
    if at_best > shift:
        text = (
            f"{path}: with a baseline of {rows_of_baseline} rows no traffic shows a PSI below "
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
    return [Remark("warning", "tolerance", f"{path}.tolerance", text)]


def _two(value: float) -> str:
    return f"{value:.2g}"
