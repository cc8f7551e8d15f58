"""The verdict of inputs and predictions on one completed window of counts.

    n too small and nothing proven -> InsufficientData{n, needed}
    nothing to compare             -> NoData{reason}
    proven beyond the tolerance    -> Drifting, else Stable

`alpha` is the level of this one look, already shared out from the budget of false alarms. Rows
never come here, only counts that add up (statistics.md §4, §5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.decide.drift_counts import Finding, Series, bin_index, by_class, family
from trimtab.stats.distance import ROWS_PER_BIN, needed_rows, tolerance_test
from trimtab.stats.holm import holm_rejects

DEFAULT_TOLERANCE = 0.02
PSI_TO_FIND = 0.1
"""Rows are asked for until a shift of this PSI would be seen in nine of ten windows."""

TOP_FEATURES = 5


def judge_inputs(counts: Series, baseline: Baseline, tolerance: float, alpha: float) -> Finding:
    """Did any feature move by more than `tolerance` (PSI) from the baseline?"""
    current = _by_index(counts, metrics.FEATURE_BIN, "feature")
    histograms = [
        _Histogram(feature.name, tuple(feature.counts), current.get(feature.name, {}))
        for feature in baseline.features
        if len(feature.counts) >= 2
    ]
    if not histograms:
        return Finding("NoData", "NoSeries: the baseline has no feature with two bins or more")
    return _judge_histograms("input", histograms, tolerance, alpha)


def judge_predictions(
    counts: Series, baseline: Baseline, tolerance: float, alpha: float
) -> Finding:
    """Did scores or predicted classes move by more than `tolerance` (PSI) from the baseline?"""
    histograms = []
    if len(baseline.score_counts) >= 2:
        scores = {
            index: value
            for labels, value in family(counts, metrics.SCORE_BIN)
            if (index := bin_index(labels)) is not None
        }
        histograms.append(_Histogram("score", tuple(baseline.score_counts), scores))
    if len(baseline.predicted_counts) >= 2:
        classes = list(baseline.predicted_counts)
        predicted = by_class(counts)
        histograms.append(
            _Histogram(
                "class",
                tuple(baseline.predicted_counts.values()),
                {index: predicted.get(name, 0.0) for index, name in enumerate(classes)},
            )
        )
    if not histograms:
        return Finding("NoData", "NoSeries: the baseline has no bins of scores or classes")
    return _judge_histograms("prediction", histograms, tolerance, alpha)


# --- inside -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Histogram:
    """One feature: baseline counts by bin, and current counts by bin index."""

    name: str
    baseline: tuple[int, ...]
    by_index: Mapping[int, float]

    @property
    def current(self) -> list[float]:
        return [self.by_index.get(index, 0.0) for index in range(len(self.baseline))]

    @property
    def n(self) -> float:
        return sum(self.current)


@dataclass(frozen=True)
class _Tested:
    name: str
    value: float
    p_value: float
    threshold: float


def _judge_histograms(
    what: str, histograms: Sequence[_Histogram], tolerance: float, alpha: float
) -> Finding:
    n = int(max(histogram.n for histogram in histograms))
    if n == 0:
        return Finding("NoData", f"NoTraffic: no {what} was counted", threshold=tolerance)
    known = [h for h in histograms if h.n >= ROWS_PER_BIN * len(h.baseline) and any(h.baseline)]
    most_bins = max(len(histogram.baseline) for histogram in histograms)
    level = alpha / len(histograms)
    needed = needed_rows(max(PSI_TO_FIND, 2 * tolerance), most_bins, level)
    if not known:
        return Finding(
            "InsufficientData",
            f"{n} rows, at least {needed} are needed",
            threshold=tolerance,
            n=n,
            needed=needed,
        )
    tested = _tested(known, tolerance, level)
    # Features without rows enough stay in the count: who is tested must not depend on the result.
    p_values = [t.p_value for t in tested] + [1.0] * (len(histograms) - len(known))
    rejected = holm_rejects(p_values, alpha)[: len(tested)]
    moved = [test for test, is_moved in zip(tested, rejected, strict=True) if is_moved]
    shown = min(moved or tested, key=lambda test: (test.p_value, -test.value))
    ranked = sorted(moved or tested, key=lambda test: -test.value)[:TOP_FEATURES]
    text = f"PSI {shown.value:.3f} of {shown.name}, threshold {shown.threshold:.3f} (n={n})"
    finding = Finding(
        "Stable",
        f"no {what} drift: {text}",
        value=round(shown.value, 4),
        threshold=round(shown.threshold, 4),
        n=n,
        needed=needed,
        top=tuple((test.name, round(test.value, 4)) for test in ranked),
    )
    if moved:
        more = f", {len(moved)} of {len(histograms)} moved" if len(histograms) > 1 else ""
        return replace(finding, verdict="Drifting", message=f"{what} drift: {text}{more}")
    if n < needed:
        message = f"{n} rows, {needed} are needed to see a PSI of {PSI_TO_FIND}; so far {text}"
        return replace(finding, verdict="InsufficientData", message=message)
    return finding


def _tested(histograms: Sequence[_Histogram], tolerance: float, level: float) -> list[_Tested]:
    """Test all features of one number of bins at once."""
    by_bins: dict[int, list[_Histogram]] = {}
    for histogram in histograms:
        by_bins.setdefault(len(histogram.baseline), []).append(histogram)
    results: list[_Tested] = []
    for group in by_bins.values():
        test = tolerance_test(
            np.array([h.baseline for h in group], dtype=np.float64),
            np.array([h.current for h in group], dtype=np.float64),
            tolerance,
            level,
        )
        results.extend(
            _Tested(h.name, float(value), float(p_value), float(threshold))
            for h, value, p_value, threshold in zip(
                group, test.value, test.p_value, test.threshold, strict=True
            )
        )
    return results


def _by_index(counts: Series, name: str, label: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for labels, value in family(counts, name):
        index = bin_index(labels)
        if index is not None:
            found.setdefault(labels.get(label, ""), {})[index] = value
    return found
