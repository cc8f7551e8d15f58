"""The verdict of inputs and predictions on one completed window of counts.

    n too small and nothing proven -> InsufficientData{n, needed}
    nothing to compare             -> NoData{reason}
    proven beyond the tolerance    -> Drifting, else Stable

`alpha` is the level of this one look, already shared out from the budget of false alarms. Rows
never come here, only counts that add up (statistics.md §4, §5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import Finding, by_bin, by_class
from trimtab.decide.drift.histograms import Histograms, feature_histograms
from trimtab.stats.distance import ROWS_PER_BIN, ToleranceTest, needed_rows, tolerance_test
from trimtab.stats.holm import holm_rejects

DEFAULT_TOLERANCE = 0.02
PSI_TO_FIND = 0.1
"""Rows are asked for until a shift of this PSI would be seen in nine of ten windows."""

TOP_FEATURES = 5


def judge_inputs(counts: Series, baseline: Baseline, tolerance: float, alpha: float) -> Finding:
    """Did any feature move by more than `tolerance` (PSI) from the baseline?"""
    groups = feature_histograms(counts, baseline)
    if not groups:
        return Finding("NoData", "NoSeries: the baseline has no feature with two bins or more")
    return _judge_histograms("input", groups, tolerance, alpha)


def judge_predictions(
    counts: Series, baseline: Baseline, tolerance: float, alpha: float
) -> Finding:
    """Did scores or predicted classes move by more than `tolerance` (PSI) from the baseline?"""
    groups = []
    if len(baseline.score_counts) >= 2:
        scores = by_bin(counts, metrics.SCORE_BIN, len(baseline.score_counts))
        groups.append(_one("score", baseline.score_counts, scores))
    if len(baseline.predicted_counts) >= 2:
        predicted = by_class(counts)
        current = [predicted.get(name, 0.0) for name in baseline.predicted_counts]
        groups.append(_one("class", list(baseline.predicted_counts.values()), current))
    if not groups:
        return Finding("NoData", "NoSeries: the baseline has no bins of scores or classes")
    return _judge_histograms("prediction", groups, tolerance, alpha)


# --- inside -------------------------------------------------------------------------------------


def _one(name: str, baseline: Sequence[float], current: Sequence[float]) -> Histograms:
    rows = (np.array([counts], dtype=np.float64) for counts in (baseline, current))
    return Histograms((name,), *rows)


@dataclass(frozen=True)
class _Tested:
    """What was tested, over features: names, PSI, p-values and thresholds, each [F]."""

    names: Sequence[str]
    value: NDArray[np.float64]
    p_value: NDArray[np.float64]
    threshold: NDArray[np.float64]


def _judge_histograms(
    what: str, groups: Sequence[Histograms], tolerance: float, alpha: float
) -> Finding:
    n = int(max(group.n.max() for group in groups))
    if n == 0:
        return Finding("NoData", f"NoTraffic: no {what} was counted", threshold=tolerance)
    features = sum(len(group.names) for group in groups)
    most_bins = max(group.baseline.shape[1] for group in groups)
    level = alpha / features
    needed = needed_rows(max(PSI_TO_FIND, 2 * tolerance), most_bins, level)
    tested = _tested(groups, tolerance, level)
    if not tested.names:
        return Finding(
            "InsufficientData",
            f"{n} rows, at least {needed} are needed",
            threshold=tolerance,
            n=n,
            needed=needed,
        )
    # Features without rows enough stay in the count: who is tested must not depend on the result.
    p_values = [*tested.p_value.tolist(), *[1.0] * (features - len(tested.names))]
    rejected = np.array(holm_rejects(p_values, alpha)[: len(tested.names)])
    shown_among = np.flatnonzero(rejected) if rejected.any() else np.arange(len(tested.names))
    order = np.lexsort((-tested.value[shown_among], tested.p_value[shown_among]))
    shown = shown_among[order[0]]
    ranked = shown_among[np.argsort(-tested.value[shown_among], kind="stable")][:TOP_FEATURES]
    value, threshold = float(tested.value[shown]), float(tested.threshold[shown])
    text = f"PSI {value:.3f} of {tested.names[shown]}, threshold {threshold:.3f} (n={n})"
    finding = Finding(
        "Stable",
        f"no {what} drift: {text}",
        value=round(value, 4),
        threshold=round(threshold, 4),
        n=n,
        needed=needed,
        top=tuple((tested.names[one], round(float(tested.value[one]), 4)) for one in ranked),
    )
    if rejected.any():
        more = f", {int(rejected.sum())} of {features} moved" if features > 1 else ""
        return replace(finding, verdict="Drifting", message=f"{what} drift: {text}{more}")
    if n < needed:
        message = f"{n} rows, {needed} are needed to see a PSI of {PSI_TO_FIND}; so far {text}"
        return replace(finding, verdict="InsufficientData", message=message)
    return finding


def _tested(groups: Sequence[Histograms], tolerance: float, level: float) -> _Tested:
    """Test the features with rows enough, all of one number of bins at once."""
    names: list[str] = []
    results: list[ToleranceTest] = []
    for group in groups:
        has_rows = (group.n >= ROWS_PER_BIN * group.baseline.shape[1]) & group.baseline.any(axis=1)
        if has_rows.any():
            names += [group.names[place] for place in np.flatnonzero(has_rows)]
            parts = group.baseline[has_rows], group.current[has_rows]
            results.append(tolerance_test(*parts, tolerance, level))
    if not results:
        nothing = np.zeros(0)
        return _Tested(names, nothing, nothing, nothing)
    return _Tested(
        names,
        np.concatenate([one.value for one in results]),
        np.concatenate([one.p_value for one in results]),
        np.concatenate([one.threshold for one in results]),
    )
