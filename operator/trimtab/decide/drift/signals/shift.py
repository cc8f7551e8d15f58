"""What inputs and predictions share: did any of several histograms move from the baseline?

    n too small and nothing proven -> InsufficientData{n, needed}
    nothing to compare             -> NoData{reason}
    proven beyond the tolerance    -> Drifting, else Stable

`alpha` is the level of this one look, already shared out from the budget of false alarms. Rows
never come here, only counts that add up (statistics.md §4, §5).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.api.drift_policy import MOST_FEATURES, Signal
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.histograms import Histograms
from trimtab.decide.drift.signals.signal import Demand, WindowSignal
from trimtab.decide.drift.snapshot import WatchedDeployment, WindowView
from trimtab.stats.distance import (
    DEFAULT_BINS,
    ROWS_PER_BIN,
    ToleranceTest,
    needed_rows,
    tolerance_test,
)
from trimtab.stats.holm import holm_rejects

DEFAULT_TOLERANCE = 0.02
PSI_TO_FIND = 0.1
"""Rows are asked for until a shift of this PSI would be seen in nine of ten windows."""


def tolerance_of(signal: Signal) -> float:
    """Return the PSI below which a shift is nobody's business."""
    return DEFAULT_TOLERANCE if signal.tolerance is None else signal.tolerance


def shift_to_find(tolerance: float) -> float:
    """Return the PSI that rows are asked for until it would be seen."""
    return max(PSI_TO_FIND, 2 * tolerance)


class ShiftSignal(WindowSignal):
    """A signal that compares histograms with those of the baseline."""

    event = EventReason.DRIFT_DETECTED
    condition = ConditionType.DRIFT_DETECTED
    nothing_to_compare: ClassVar[str]
    """What is said of a baseline without histograms."""

    @abstractmethod
    def bins_of(self, baseline: Baseline) -> list[int]:
        """Return the number of bins of each histogram that is tested."""

    @abstractmethod
    def judge_counts(
        self, counts: Series, baseline: Baseline, tolerance: float, alpha: float
    ) -> Finding:
        """Return what the counts of one window say."""

    def judge_window(
        self, signal: Signal, window: WindowView, watched: WatchedDeployment, alpha: float
    ) -> Finding:
        """Return what one window says; without a baseline there is nothing to compare with."""
        if window.counts is None:
            return Finding("NoData", window.silence)
        if watched.baseline is None:
            return Finding("NoData", f"NoSeries: {watched.baseline_missing}")
        return self.judge_counts(window.counts, watched.baseline, tolerance_of(signal), alpha)

    def tested_bins(self, baseline: Baseline | None) -> list[int]:
        """Return the same as `bins_of`, or one usual histogram where no baseline says."""
        return (self.bins_of(baseline) if baseline is not None else []) or [DEFAULT_BINS]

    def demand(
        self, signal: Signal, baseline: Baseline | None, score: float | None
    ) -> Demand | None:
        """Return the rows with which the shift that is looked for would be seen."""
        bins, shift = self.tested_bins(baseline), shift_to_find(tolerance_of(signal))
        return Demand(
            lambda alpha: needed_rows(shift, max(bins), alpha / len(bins)), f"a PSI of {shift:g}"
        )

    def value_name(self, signal: Signal) -> str:
        """Return the name of the distance."""
        return "PSI"


def one_histogram(name: str, baseline: Sequence[float], current: Sequence[float]) -> Histograms:
    """Return the counts [B] of one variable at training and now."""
    rows = (np.array([counts], dtype=np.float64) for counts in (baseline, current))
    return Histograms((name,), *rows)


@dataclass(frozen=True)
class _Tested:
    """What was tested, over features: names, PSI, p-values and thresholds, each [F]."""

    names: Sequence[str]
    value: NDArray[np.float64]
    p_value: NDArray[np.float64]
    threshold: NDArray[np.float64]


def judge_histograms(
    what: str, groups: Sequence[Histograms], tolerance: float, alpha: float
) -> Finding:
    n = int(max(group.n.max() for group in groups))
    if n == 0:
        return Finding("NoData", f"NoTraffic: no {what} was counted", threshold=tolerance)
    features = sum(len(group.names) for group in groups)
    most_bins = max(group.baseline.shape[1] for group in groups)
    level = alpha / features
    needed = needed_rows(shift_to_find(tolerance), most_bins, level)
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
    ranked = np.lexsort((-tested.value, ~rejected))[:MOST_FEATURES]
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
