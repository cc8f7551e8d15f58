"""Inputs: did the distribution of any feature move?"""

from __future__ import annotations

from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.histograms import feature_histograms
from trimtab.decide.drift.signals.shift import ShiftSignal, judge_histograms

NO_FEATURES = "the baseline has no feature with two bins or more"


def judge_inputs(counts: Series, baseline: Baseline, tolerance: float, alpha: float) -> Finding:
    """Did any feature move by more than `tolerance` (PSI) from the baseline?"""
    groups = feature_histograms(counts, baseline)
    if not groups:
        return Finding("NoData", f"NoSeries: {NO_FEATURES}")
    return judge_histograms("input", groups, tolerance, alpha)


class Inputs(ShiftSignal):
    """Features, each by its bins."""

    kind = "inputs"
    nothing_to_compare = NO_FEATURES

    def bins_of(self, baseline: Baseline) -> list[int]:
        """Return the bins of the features that have two or more."""
        return [n for feature in baseline.features if (n := len(feature.counts)) >= 2]

    def judge_counts(
        self, counts: Series, baseline: Baseline, tolerance: float, alpha: float
    ) -> Finding:
        """Return what the counts of one window say."""
        return judge_inputs(counts, baseline, tolerance, alpha)
