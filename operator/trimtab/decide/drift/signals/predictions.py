"""Predictions: did the distribution of scores or predicted classes move?"""

from __future__ import annotations

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import by_bin, by_class
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.shift import ShiftSignal, judge_histograms, one_histogram

NO_PREDICTIONS = "the baseline has no bins of scores or classes"


def judge_predictions(
    counts: Series, baseline: Baseline, tolerance: float, alpha: float
) -> Finding:
    """Did scores or predicted classes move by more than `tolerance` (PSI) from the baseline?"""
    groups = []
    if len(baseline.score_counts) >= 2:
        scores = by_bin(counts, metrics.SCORE_BIN, len(baseline.score_counts))
        groups.append(one_histogram("score", baseline.score_counts, scores))
    if len(baseline.predicted_counts) >= 2:
        predicted = by_class(counts)
        current = [predicted.get(name, 0.0) for name in baseline.predicted_counts]
        groups.append(one_histogram("class", list(baseline.predicted_counts.values()), current))
    if not groups:
        return Finding("NoData", f"NoSeries: {NO_PREDICTIONS}")
    return judge_histograms("prediction", groups, tolerance, alpha)


class Predictions(ShiftSignal):
    """Scores by their bins, and predicted classes."""

    kind = "predictions"
    nothing_to_compare = NO_PREDICTIONS

    def bins_of(self, baseline: Baseline) -> list[int]:
        """Return the bins of scores and the classes, where there are two or more."""
        sizes = (len(baseline.score_counts), len(baseline.predicted_counts))
        return [n for n in sizes if n >= 2]

    def judge_counts(
        self, counts: Series, baseline: Baseline, tolerance: float, alpha: float
    ) -> Finding:
        """Return what the counts of one window say."""
        return judge_predictions(counts, baseline, tolerance, alpha)
