"""Champion against challenger on the same held-out rows: not worse by more than a margin.

Differences are challenger minus champion in the direction in which more is better. McNemar's test
asks for equality, not for a margin, so accuracies are compared by Tango's score interval, and AUC,
F1 and RMSE by a paired BCa bootstrap.

Sources: Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design" (1998); Efron, "Better bootstrap confidence intervals" (1987).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from trimtab.stats.holm import holm_rejects

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], float]
"""Row weights [n] (how often each row was drawn) -> value; NaN where it is not defined."""

DEFAULT_MARGIN = 0.02
SMALLEST_DISCORDANCE = 0.01
_JACKKNIFE_GROUPS = 200


class Verdict(StrEnum):
    """How a comparison ends."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    INSUFFICIENT_DATA = "InsufficientData"


@dataclass(frozen=True)
class PairedCounts:
    """Rows by who is right. gained: only the challenger; lost: only the champion; n: all rows."""

    gained: int
    lost: int
    n: int

    @property
    def difference(self) -> float:
        """Accuracy of the challenger minus that of the champion."""
        return (self.gained - self.lost) / self.n if self.n else 0.0

    @property
    def discordance(self) -> float:
        return (self.gained + self.lost) / self.n if self.n else 0.0


@dataclass(frozen=True)
class Comparison:
    """A non-inferiority verdict with its figures.

    difference with bounds, each one-sided at the confidence asked for; margin > 0: by how much
    the challenger may be worse; n: rows; needed: rows for 80 % power if the two are equally good.
    """

    verdict: Verdict
    difference: float
    lower: float
    upper: float
    margin: float
    n: int
    needed: int

    @property
    def is_better(self) -> bool:
        """Not only not worse: the lower bound of the difference is above zero."""
        return self.lower > 0


def paired_counts(actual: ArrayLike, champion: ArrayLike, challenger: ArrayLike) -> PairedCounts:
    """Counts from labels and the two models' predicted classes, each [n] in the same row order."""
    truth = np.asarray(actual)
    ours, theirs = np.asarray(challenger) == truth, np.asarray(champion) == truth
    gained, lost = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return PairedCounts(gained, lost, int(truth.shape[0]))


def compare_accuracy(
    counts: PairedCounts, margin: float = DEFAULT_MARGIN, confidence: float = 0.95
) -> Comparison:
    """Is the challenger's accuracy not worse by `margin` (absolute) or more?

    A challenger that is worse by exactly the margin is accepted with probability 1 - confidence.
    """
    lower, upper = tango_interval(counts, confidence)
    needed = needed_rows(counts.discordance, margin, confidence)
    verdict = non_inferiority(lower, upper, margin, counts.n >= needed)
    return Comparison(verdict, counts.difference, lower, upper, margin, counts.n, needed)


def non_inferiority(lower: float, upper: float, margin: float, is_enough: bool) -> Verdict:
    """Accepted if the lower bound is above -margin. Else rejected, unless it is only for lack of
    rows: too few of them, and a challenger as good as allowed is still possible."""
    if lower > -margin:
        return Verdict.ACCEPTED
    if is_enough or upper < -margin:
        return Verdict.REJECTED
    return Verdict.INSUFFICIENT_DATA


def tango_interval(counts: PairedCounts, confidence: float = 0.95) -> tuple[float, float]:
    """Score bounds of the difference of accuracies, each one-sided at `confidence`; in [-1, 1]."""
    if counts.n == 0:
        return -1.0, 1.0
    z = float(ndtri(confidence))
    point, edge = counts.difference, 1 - 1e-12

    def root(target: float, start: float, end: float) -> float:
        found = brentq(lambda delta: tango_z(counts, delta) - target, start, end, xtol=1e-10)
        return float(found)

    # z descends in delta; at the ends it may not reach the target, then the bound is the end.
    lower = root(z, -edge, point) if point > -edge and tango_z(counts, -edge) > z else -1.0
    upper = root(-z, point, edge) if point < edge and tango_z(counts, edge) < -z else 1.0
    return lower, upper


def tango_z(counts: PairedCounts, delta: float) -> float:
    """Score statistic for a true difference `delta` in (-1, 1); standard normal under it."""
    b, c, n = counts.gained, counts.lost, counts.n
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    root = math.sqrt(max(linear * linear - 8 * n * constant, 0.0))
    q = max((root - linear) / (4 * n), 0.0)
    variance = n * (2 * q + delta * (1 - delta))
    distance = b - c - n * delta
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def needed_rows(
    discordance: float, margin: float, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Rows with which two equally good models pass the margin with `power`.

    discordance: share of rows on which exactly one of them is right, taken as at least 1 %.
    """
    if not margin > 0:
        raise ValueError(f"the margin must be positive, not {margin}")
    spread = float(ndtri(confidence) + ndtri(power)) ** 2
    return math.ceil(spread * max(discordance, SMALLEST_DISCORDANCE) / margin**2)


def worse_slices(
    slices: Mapping[str, PairedCounts], margin: float = DEFAULT_MARGIN, alpha: float = 0.05
) -> tuple[str, ...]:
    """Slices on which the challenger is proven worse by more than the margin (Holm over slices)."""
    names = [name for name, counts in slices.items() if counts.n > 0]
    p_values = [float(ndtr(tango_z(slices[name], -margin))) for name in names]
    rejected = holm_rejects(p_values, alpha)
    return tuple(name for name, is_worse in zip(names, rejected, strict=True) if is_worse)


def compare_by_bootstrap(
    champion: Statistic,
    challenger: Statistic,
    n: int,
    margin: float,
    confidence: float = 0.95,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Non-inferiority for a metric without a closed form, on the same n rows.

    champion, challenger: the metric of each as a function of row weights, more is better (give
    `-rmse`). margin: in units of the metric. Needed rows are those at which a standard error that
    shrinks with 1/sqrt(n) gives 80 % power.
    """

    def difference(weights: Floats) -> float:
        return challenger(weights) - champion(weights)

    result = bca_interval(difference, n, confidence, resamples=resamples, seed=seed)
    spread = float(ndtri(confidence) + ndtri(0.8)) * result.standard_error
    needed = max(2, math.ceil(n * (spread / margin) ** 2))
    verdict = non_inferiority(result.lower, result.upper, margin, n >= needed)
    return Comparison(verdict, result.value, result.lower, result.upper, margin, n, needed)


@dataclass(frozen=True)
class Interval:
    """A value with bounds, each one-sided at the confidence asked for, and its standard error."""

    value: float
    lower: float
    upper: float
    standard_error: float


def bca_interval(
    statistic: Statistic,
    n: int,
    confidence: float = 0.95,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bias-corrected accelerated bootstrap of a statistic of n rows; rows are drawn whole.

    Resamples where the statistic is not defined (one class missing) are left out; ValueError when
    it is not defined on the rows themselves or on most resamples. The acceleration comes from a
    jackknife over at most 200 groups of rows.
    """
    value = statistic(np.ones(n))
    draws = np.random.default_rng(seed)
    replicas = np.empty(resamples, dtype=np.float64)
    for k in range(resamples):
        replicas[k] = statistic(np.bincount(draws.integers(0, n, n), minlength=n).astype(float))
    replicas = replicas[np.isfinite(replicas)]
    if not math.isfinite(value) or replicas.size < resamples / 2:
        raise ValueError("the metric is not defined on these rows")
    spread = float(replicas.std(ddof=1))
    if spread == 0:
        return Interval(value, value, value, 0.0)
    below = (np.sum(replicas < value) + np.sum(replicas == value) / 2) / replicas.size
    bias = float(ndtri(np.clip(below, 1 / replicas.size, 1 - 1 / replicas.size)))
    acceleration = _acceleration(statistic, n)
    z = float(ndtri(confidence))
    levels = [_bca_level(bias, acceleration, side) for side in (-z, z)]
    lower, upper = (float(bound) for bound in np.quantile(replicas, levels))
    return Interval(value, lower, upper, spread)


def weighted_auc(actual: ArrayLike, score: ArrayLike) -> Statistic:
    """AUC as a function of row weights; actual: [n] booleans, score: [n], ties count half."""
    positive = np.asarray(actual, dtype=np.bool_)
    _, rank = np.unique(np.asarray(score, dtype=np.float64), return_inverse=True)
    groups = int(rank.max()) + 1 if rank.size else 0

    def statistic(weights: Floats) -> float:
        hits = np.bincount(rank, weights * positive, groups)
        misses = np.bincount(rank, weights * ~positive, groups)
        pairs = hits.sum() * misses.sum()
        if pairs <= 0:
            return math.nan
        return float((hits * (np.cumsum(misses) - misses / 2)).sum() / pairs)

    return statistic


def weighted_f1(actual: ArrayLike, predicted: ArrayLike) -> Statistic:
    """Macro F1 over the classes of `actual` as a function of row weights; both [n]."""
    truth, guess = np.asarray(actual), np.asarray(predicted)
    classes = np.unique(truth)
    is_truth = (truth[None, :] == classes[:, None]).astype(np.float64)
    is_guess = (guess[None, :] == classes[:, None]).astype(np.float64)
    is_both = is_truth * is_guess

    def statistic(weights: Floats) -> float:
        total = is_truth @ weights + is_guess @ weights
        known = total > 0
        return float((2 * (is_both @ weights)[known] / total[known]).mean())

    return statistic


def weighted_negative_rmse(actual: ArrayLike, predicted: ArrayLike) -> Statistic:
    """-RMSE as a function of row weights (more is better); both [n]."""
    squares = (np.asarray(actual, dtype=np.float64) - np.asarray(predicted, dtype=np.float64)) ** 2

    def statistic(weights: Floats) -> float:
        return -math.sqrt(float(weights @ squares) / float(weights.sum()))

    return statistic


def _acceleration(statistic: Statistic, n: int) -> float:
    groups = min(n, _JACKKNIFE_GROUPS)
    group_of_row = np.arange(n) % groups
    left_out = np.empty(groups, dtype=np.float64)
    for group in range(groups):
        left_out[group] = statistic((group_of_row != group).astype(np.float64))
    left_out = left_out[np.isfinite(left_out)]
    deviations = left_out.mean() - left_out if left_out.size else np.zeros(1)
    squares = float((deviations**2).sum())
    return float((deviations**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0


def _bca_level(bias: float, acceleration: float, z: float) -> float:
    shifted = bias + z
    return float(ndtr(bias + shifted / (1 - acceleration * shifted)))
