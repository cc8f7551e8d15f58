"""Quality of a model from counts: estimated without labels (CBPE), and realised with them.

Both are one confusion matrix: expected counts from sums of calibrated probabilities, or real counts
from outcomes. An estimate's bounds cover sampling, not a calibration that has itself shifted, so
whoever prints one says *estimated*.

Source: CBPE, confidence-based performance estimation, as in NannyML.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

Floats = NDArray[np.float64]

LARGEST_FULL_MATRIX = 20
"""With more classes a pod exports the diagonal only: accuracy and precision, no recall, no F1."""


class Metric(StrEnum):
    """Qualities that can be held to a floor; all lie in [0, 1] and more is better."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    AUC = "auc"


@dataclass(frozen=True)
class Share:
    """`hits` among `total` (fractions allowed): the counts behind a metric."""

    hits: float
    total: float

    @property
    def value(self) -> float:
        """NaN if nothing was counted."""
        return self.hits / self.total if self.total > 0 else math.nan


@dataclass(frozen=True)
class Confusion:
    """Rows by (predicted, actual) class, expected or counted.

    predicted: rows by predicted class. cells: (predicted, actual) -> rows, >= 0. is_full: every
    cell is known; else only those with predicted == actual.
    """

    predicted: Mapping[str, float]
    cells: Mapping[tuple[str, str], float]
    is_full: bool = True

    @property
    def n(self) -> float:
        return sum(self.predicted.values())

    @property
    def classes(self) -> tuple[str, ...]:
        names = set(self.predicted) | {actual for _, actual in self.cells}
        return tuple(sorted(names))

    def accuracy(self) -> Share:
        hits = sum(self.cells.get((name, name), 0.0) for name in self.predicted)
        return Share(min(hits, self.n), self.n)

    def precision(self, name: str) -> Share:
        total = self.predicted.get(name, 0.0)
        return Share(min(self.cells.get((name, name), 0.0), total), total)

    def recall(self, name: str) -> Share:
        """NaN value unless the matrix is full."""
        if not self.is_full:
            return Share(0.0, 0.0)
        total = sum(rows for (_, actual), rows in self.cells.items() if actual == name)
        return Share(min(self.cells.get((name, name), 0.0), total), total)

    def f1(self, name: str) -> float:
        """2 J / (1 + J) of the overlap J; NaN unless the matrix is full."""
        overlap = self.overlap(name).value
        return 2 * overlap / (1 + overlap)

    def overlap(self, name: str) -> Share:
        """Rows both predicted and actual among those that are either: a binomial share, while F1
        is not; F1 = 2 J / (1 + J) ascends with it, so its bounds come from here."""
        recall, precision = self.recall(name), self.precision(name)
        if not self.is_full:
            return Share(0.0, 0.0)
        return Share(precision.hits, precision.total + recall.total - precision.hits)


def estimated_confusion(
    predicted: Mapping[str, float], probability_sums: Mapping[tuple[str, str], float]
) -> Confusion:
    """Expected confusion matrix from counters (CBPE), no labels needed.

    predicted: rows by predicted class. probability_sums: (predicted, class) -> sum of calibrated
    probabilities of `class` over the rows predicted so; only (k, k) when there are too many
    classes. Binary and multi-class alike.
    """
    is_full = any(row != column for row, column in probability_sums)
    return Confusion(dict(predicted), dict(probability_sums), is_full)


def realised_confusion(outcomes: Mapping[tuple[str, str], float]) -> Confusion:
    """Confusion matrix of labelled rows: (predicted, actual) -> count."""
    predicted: dict[str, float] = {}
    for (name, _), rows in outcomes.items():
        predicted[name] = predicted.get(name, 0.0) + rows
    return Confusion(predicted, dict(outcomes))


@dataclass(frozen=True)
class EstimatedAuc:
    """AUC from binned scores. positives, negatives: rows.

    error: how far below `value` the AUC of the scores themselves may lie, and so the larger of the
    two bounds of what binning may hide; error_above: how far above.
    """

    value: float
    error: float
    positives: float
    negatives: float
    error_above: float


def estimated_auc(counts: ArrayLike, probability_sums: ArrayLike) -> EstimatedAuc:
    """AUC of a binary model from score bins in ascending order.

    counts, probability_sums: [B] rows and sums of the calibrated probability of the positive class.
    NaN with error inf when one class is not expected at all.
    """
    n = np.asarray(counts, dtype=np.float64)
    positives = np.minimum(np.asarray(probability_sums, dtype=np.float64), n)
    negatives = n - positives
    s, rest = float(positives.sum()), float(negatives.sum())
    if s <= 0 or rest <= 0:
        return EstimatedAuc(math.nan, math.inf, s, rest, math.inf)
    below = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
    tied = positives * negatives / 2
    within = np.minimum(_ordered_within(n, positives), tied)
    value = float((positives * below + tied + within).sum()) / (s * rest)
    # Of the order within a bin nothing is known for certain: all of it may be the other way.
    below_it, above_it = (float(part.sum()) / (s * rest) for part in (tied + within, tied - within))
    return EstimatedAuc(value, below_it, s, rest, above_it)


def _ordered_within(n: Floats, positives: Floats) -> Floats:
    """Pairs in order within each bin beyond the half that ties give: n^2 slope / 12.

    The probability is taken as linear over the rows of a bin, rising as between the means of the
    bins beside it; the integral of p(u) (1 - p(v)) over v < u then exceeds half of p (1 - p) by a
    twelfth of the rise.
    """
    filled = np.flatnonzero(n > 0)
    found = np.zeros_like(n)
    if len(filled) < 2:
        return found
    rows, mean = n[filled], positives[filled] / n[filled]
    middle = np.cumsum(rows) - rows / 2
    rise = np.gradient(mean, middle) * rows
    found[filled] = rows**2 * np.maximum(rise, 0.0) / 12
    return found


@dataclass(frozen=True)
class FloorTest:
    """A quality against its floor.

    lower, upper: one-sided bounds at the confidence asked for. is_below: the upper bound lies below
    the floor. n: rows that count for the metric; needed: rows for the stated power.
    """

    value: float
    lower: float
    upper: float
    floor: float
    n: float
    needed: int

    @property
    def is_below(self) -> bool:
        return self.upper < self.floor

    @property
    def is_enough(self) -> bool:
        """A breach that is already proven needs no more rows."""
        return self.is_below or self.n >= self.needed


def floor_test(
    share: Share, floor: float, confidence: float = 0.95, drop: float = 0.03
) -> FloorTest:
    """Is a share (accuracy, precision, recall) below `floor`, beyond sampling?

    Clopper-Pearson bounds, each one-sided at `confidence`; for expected counts they are too wide
    rather than too narrow, since the variance of a probability is at most that of a coin with its
    mean. drop > 0: how far below the floor a quality should be found, for `needed`.
    """
    lower, upper = binomial_bounds(share, confidence)
    needed = needed_rows(floor, drop, confidence)
    return FloorTest(share.value, lower, upper, floor, share.total, needed)


def f1_floor_test(
    confusion: Confusion, name: str, floor: float, confidence: float = 0.95, drop: float = 0.03
) -> FloorTest:
    """The same for F1 of one class, through the share of its overlap."""
    overlap = confusion.overlap(name)
    lower, upper = (2 * j / (1 + j) for j in binomial_bounds(overlap, confidence))
    needed = needed_rows(floor, drop, confidence)
    return FloorTest(confusion.f1(name), lower, upper, floor, overlap.total, needed)


def quality_floor_test(
    confusion: Confusion,
    metric: Metric,
    class_name: str | None,
    floor: float,
    confidence: float = 0.95,
    drop: float = 0.03,
) -> FloorTest:
    """One entry for accuracy, precision, recall and F1, of one class or the mean over classes.

    class_name: None for the macro mean (accuracy takes no class). ValueError for AUC, which needs
    score bins (`auc_floor_test`), and for recall or F1 unless the matrix is full.
    """
    if metric is Metric.AUC:
        raise ValueError("AUC comes from score bins, not from a confusion matrix")
    if metric is Metric.ACCURACY:
        return floor_test(confusion.accuracy(), floor, confidence, drop)
    if metric is not Metric.PRECISION and not confusion.is_full:
        raise ValueError(
            f"{metric} needs the full matrix, exported up to {LARGEST_FULL_MATRIX} classes"
        )
    if class_name is None:
        return _macro_floor_test(confusion, metric, floor, confidence, drop)
    if metric is Metric.F1:
        return f1_floor_test(confusion, class_name, floor, confidence, drop)
    is_precision = metric is Metric.PRECISION
    share = confusion.precision(class_name) if is_precision else confusion.recall(class_name)
    return floor_test(share, floor, confidence, drop)


def _macro_floor_test(
    confusion: Confusion, metric: Metric, floor: float, confidence: float, drop: float
) -> FloorTest:
    """Mean of the K classes' bounds, each at 1 - (1 - confidence) / K (Bonferroni).

    All classes hold their bounds at once with `confidence`, so their mean does too, however the
    classes depend on each other. Classes without rows are left out. n: the rows per class that
    would give this width if all had the same.
    """
    names, level = confusion.classes, 1 - (1 - confidence) / max(len(confusion.classes), 1)
    needed = needed_rows(floor, drop, level)
    tests = [quality_floor_test(confusion, metric, k, floor, level, drop) for k in names]
    tests = [test for test in tests if test.n > 0]
    if not tests:
        return FloorTest(math.nan, 0.0, 1.0, floor, 0.0, needed)
    value, lower, upper, width = (
        sum(part) / len(tests)
        for part in zip(*((t.value, t.lower, t.upper, t.n**-0.5) for t in tests), strict=True)
    )
    return FloorTest(value, lower, upper, floor, width**-2, needed)


def auc_floor_test(
    auc: EstimatedAuc, floor: float, confidence: float = 0.95, drop: float = 0.03
) -> FloorTest:
    """The same for AUC: standard error of Hanley and McNeil (1982) plus the binning error."""
    n = auc.positives + auc.negatives
    needed = needed_rows(floor, drop, confidence)
    if math.isnan(auc.value):
        return FloorTest(auc.value, 0.0, 1.0, floor, n, needed)
    width = ndtri(confidence) * _auc_standard_error(auc)
    lower = max(0.0, auc.value - width - auc.error)
    upper = min(1.0, auc.value + width + auc.error_above)
    return FloorTest(auc.value, lower, upper, floor, n, needed)


def binomial_bounds(share: Share, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds, each one-sided at `confidence`; (0, 1) without rows."""
    if share.total <= 0:
        return 0.0, 1.0
    hits, misses = share.hits, max(share.total - share.hits, 0.0)
    lower = float(betaincinv(hits, misses + 1, 1 - confidence)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1, misses, confidence)) if misses > 0 else 1.0
    return lower, upper


def needed_rows(
    floor: float, drop: float = 0.03, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Rows with which a quality `drop` below `floor` is found with `power` (normal theory)."""
    actual = max(floor - drop, 0.0)
    distance = floor - actual
    if not distance > 0:
        raise ValueError("the floor and the drop below it must be positive")
    spread = ndtri(confidence) * math.sqrt(floor * max(1 - floor, 0.0)) + ndtri(power) * math.sqrt(
        actual * (1 - actual)
    )
    return max(1, math.ceil((spread / distance) ** 2))


def labelled_share(labelled: float, predicted: float) -> float:
    """Share of predictions whose truth has come in, in [0, 1]; below half: InsufficientData."""
    return min(1.0, labelled / predicted) if predicted > 0 else 0.0


def _auc_standard_error(auc: EstimatedAuc) -> float:
    a = auc.value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = a * (1 - a) + (auc.positives - 1) * (q1 - a * a) + (auc.negatives - 1) * (q2 - a * a)
    return math.sqrt(max(variance, 0.0) / (auc.positives * auc.negatives))
