"""The verdict of one signal on one completed window of counts.

    n too small and nothing proven -> InsufficientData{n, needed}
    nothing to compare             -> NoData{reason}
    proven beyond tolerance/floor  -> Drifting, else Stable

`alpha` is the level of this one look, already shared out from the budget of false alarms. Rows
never come here, only counts that add up (statistics.md §4 to §6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.stats.distance import ROWS_PER_BIN, needed_rows, tolerance_test
from trimtab.stats.holm import holm_rejects
from trimtab.stats.quality import (
    Share,
    estimated_confusion,
    floor_test,
    labelled_share,
    realised_confusion,
)

Labels = frozenset[tuple[str, str]]
SeriesKey = tuple[str, Labels]
Series = Mapping[SeriesKey, float]
Verdict = Literal["Stable", "Drifting", "InsufficientData", "NoData"]

DEFAULT_TOLERANCE = 0.02
PSI_TO_FIND = 0.1
"""Rows are asked for until a shift of this PSI would be seen in nine of ten windows."""
DROP_TO_FIND = 0.03
"""The same for a quality this far below its floor, in eight of ten."""
LABELS_NEEDED = 0.5
"""Share of the predictions whose truth must have come in."""
TOP_FEATURES = 5


@dataclass(frozen=True)
class Finding:
    """What one signal says about one window. `value`, `threshold` as the message names them."""

    verdict: Verdict
    message: str
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    needed: int | None = None
    top: tuple[tuple[str, float], ...] = ()


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
            for labels, value in _family(counts, metrics.SCORE_BIN)
            if (index := _index(labels)) is not None
        }
        histograms.append(_Histogram("score", tuple(baseline.score_counts), scores))
    if len(baseline.predicted_counts) >= 2:
        classes = list(baseline.predicted_counts)
        predicted = _by_class(counts)
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


def judge_quality(counts: Series, floor: float, alpha: float) -> Finding:
    """Is the accuracy *estimated* from calibrated probabilities below `floor`?"""
    predicted = _by_class(counts)
    sums = {
        (labels["predicted"], labels["class"]): value
        for labels, value in _family(counts, metrics.PROBABILITY_SUM)
        if "predicted" in labels and "class" in labels
    }
    if not sum(predicted.values()):
        return Finding("NoData", "NoTraffic: no row was predicted", threshold=floor)
    if not sums:
        return Finding(
            "NoData",
            "NoSeries: the version exports no calibrated probabilities, so its quality cannot be "
            "estimated",
            threshold=floor,
        )
    share = estimated_confusion(predicted, sums).accuracy()
    return _judge_floor("estimated accuracy", share, floor, alpha)


def judge_outcomes(
    counts: Series, floor: float, alpha: float, *, predicted_rows: float | None
) -> Finding:
    """Is the accuracy of labelled rows below `floor`?

    `predicted_rows` are those that the labels are among; None where nobody knows any more.
    """
    outcomes: dict[tuple[str, str], float] = {}
    for labels, value in _family(counts, metrics.OUTCOMES):
        pair = (labels.get("predicted", ""), labels.get("actual", ""))
        outcomes[pair] = outcomes.get(pair, 0.0) + value
    return judge_labelled(
        realised_confusion(outcomes).accuracy(), floor, alpha, predicted_rows=predicted_rows
    )


def judge_labelled(
    right: Share, floor: float, alpha: float, *, predicted_rows: float | None
) -> Finding:
    """The same from right answers among labelled rows."""
    labelled = right.total
    if not labelled:
        return Finding("NoData", "NoSeries: no label has come in", threshold=floor)
    if predicted_rows is not None:
        share = labelled_share(labelled, predicted_rows)
        if share < LABELS_NEEDED:
            return Finding(
                "InsufficientData",
                f"labels of {share:.0%} of {predicted_rows:.0f} rows have come in, "
                f"{LABELS_NEEDED:.0%} are needed",
                threshold=floor,
                n=int(labelled),
                needed=int(np.ceil(predicted_rows * LABELS_NEEDED)),
            )
    return _judge_floor("accuracy of labelled rows", right, floor, alpha)


def predicted_rows(counts: Series) -> float:
    """Return the rows that were predicted in the window."""
    return sum(value for _, value in _family(counts, metrics.PREDICTED))


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


def _judge_floor(what: str, share: Share, floor: float, alpha: float) -> Finding:
    test = floor_test(share, floor, 1 - alpha, min(DROP_TO_FIND, floor))
    text = f"{what} {test.value:.3f}, floor {floor:.3f} (n={share.total:.0f})"
    finding = Finding(
        "Stable",
        text,
        value=round(test.value, 4),
        threshold=round(floor, 4),
        n=int(share.total),
        needed=test.needed,
    )
    if test.is_below:
        message = f"{text}, at most {test.upper:.3f}"
        return replace(finding, verdict="Drifting", message=message)
    # A quality that is proven to be above the floor needs no more rows either.
    if not test.is_enough and test.lower < floor:
        message = f"{text}; {test.needed} rows are needed"
        return replace(finding, verdict="InsufficientData", message=message)
    return finding


def _family(counts: Series, name: str) -> list[tuple[dict[str, str], float]]:
    return [(dict(labels), value) for (own, labels), value in counts.items() if own == name]


def _by_index(counts: Series, name: str, label: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for labels, value in _family(counts, name):
        index = _index(labels)
        if index is not None:
            found.setdefault(labels.get(label, ""), {})[index] = value
    return found


def _index(labels: Mapping[str, str]) -> int | None:
    text = labels.get("bin", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _by_class(counts: Series) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, value in _family(counts, metrics.PREDICTED):
        name = labels.get("class", "")
        found[name] = found.get(name, 0.0) + value
    return found
