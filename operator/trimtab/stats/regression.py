"""Error of a regression model from sums: realised with labels, and estimated without them.

All sums add up over replicas and over time. Bounds are one-sided at the confidence asked for and
take rows as independent. An estimate's bounds cover the sampling of the residual model and of the
window's rows, not a relation of error to prediction that has itself changed: say *estimated*.

Source: DLE, direct loss estimation, as in NannyML; here the model of the loss is its mean per bin
of the prediction, so that counts per bin are all that a pod must export.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, ndtri, stdtrit

Floats: TypeAlias = NDArray[np.float64]

NORMAL_KURTOSIS = 3.0
"""Fourth moment over squared second: normal errors 3, Laplace 6."""


class ErrorMetric(StrEnum):
    """Errors that can be held to a ceiling; in units of the target, less is better."""

    MAE = "mae"
    RMSE = "rmse"


@dataclass(frozen=True)
class ErrorSums:
    """Labelled rows: count, sum of the error, of its square and, if exported, of its amount."""

    count: float
    total: float
    squares: float
    absolute: float | None = None

    def __add__(self, other: ErrorSums) -> ErrorSums:
        """`absolute` stays known only if both sides know it."""
        known = self.absolute is not None and other.absolute is not None
        return ErrorSums(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            (self.absolute or 0.0) + (other.absolute or 0.0) if known else None,
        )


@dataclass(frozen=True)
class Bounded:
    """An error with one-sided bounds at `confidence`, in units of the target.

    spread: standard deviation that one row adds, so that more rows narrow the bounds. fixed: the
    part of the standard error that more rows do not narrow. n: rows behind it.
    """

    value: float
    lower: float
    upper: float
    n: float
    spread: float
    confidence: float
    fixed: float = 0.0


def mean_absolute_error(sums: ErrorSums, confidence: float = 0.95) -> Bounded:
    """MAE with Student's t bounds; ValueError if no sum of absolute errors was exported."""
    if sums.absolute is None:
        raise ValueError("the mean absolute error needs a sum of absolute errors")
    return _mean(sums.absolute, sums.squares, sums.count, confidence)


def root_mean_square_error(
    sums: ErrorSums, confidence: float = 0.95, kurtosis: float = NORMAL_KURTOSIS
) -> Bounded:
    """RMSE with chi-squared bounds of 2 n / (kurtosis - 1) degrees of freedom.

    Exact for normal errors without bias (kurtosis 3). With heavier tails give their kurtosis, as
    `ResidualModel.kurtosis` measured it; the degrees of freedom then match the first two moments.
    Source: Box, "Some theorems on quadratic forms" (1954).
    """
    if not kurtosis > 1:
        raise ValueError(f"a kurtosis is more than 1, not {kurtosis}")
    n = sums.count
    if n <= 0:
        return _unknown(n, confidence)
    value = math.sqrt(max(sums.squares, 0.0) / n)
    freedom = 2 * n / (kurtosis - 1)
    # chdtri takes the upper tail: the large quantile makes the lower bound.
    lower = value * math.sqrt(freedom / float(chdtri(freedom, 1 - confidence)))
    upper = value * math.sqrt(freedom / float(chdtri(freedom, confidence)))
    return Bounded(value, lower, upper, n, value * math.sqrt(kurtosis - 1) / 2, confidence)


@dataclass(frozen=True)
class ResidualModel:
    """Errors on held-out rows per bin of the prediction, measured at training; all [B].

    rows, absolute, squares, fourth: count and sums of |error|, error squared, and its fourth power.
    """

    rows: Floats
    absolute: Floats
    squares: Floats
    fourth: Floats

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.rows, self.absolute, self.squares, self.fourth)}
        if len(shapes) != 1 or self.rows.ndim != 1:
            raise ValueError(f"a residual model has four arrays of one length, not {shapes}")

    def __add__(self, other: ResidualModel) -> ResidualModel:
        return ResidualModel(
            self.rows + other.rows,
            self.absolute + other.absolute,
            self.squares + other.squares,
            self.fourth + other.fourth,
        )

    @property
    def kurtosis(self) -> float:
        """Of all errors; that of normal errors if there are none."""
        squares, rows = float(self.squares.sum()), float(self.rows.sum())
        if squares <= 0:
            return NORMAL_KURTOSIS
        return float(self.fourth.sum()) * rows / squares**2


def residual_model(bins: ArrayLike, error: ArrayLike, n_bins: int) -> ResidualModel:
    """Sums per bin from held-out rows; bins: [n] index of the prediction's bin; error: [n]."""
    index, amount = np.asarray(bins, dtype=np.int64), np.abs(np.asarray(error, dtype=np.float64))

    def sums(power: int) -> Floats:
        return np.bincount(index, amount**power, n_bins).astype(np.float64)

    return ResidualModel(sums(0), sums(1), sums(2), sums(4))


def estimated_error(
    model: ResidualModel, counts: ArrayLike, metric: ErrorMetric, confidence: float = 0.95
) -> Bounded:
    """MAE or RMSE of unlabelled rows from their count per bin of the prediction.

    counts: [B], the bins of the model. Rows in bins with fewer than two rows at training are left
    out and do not count for `n`. NaN with bounds (0, inf) if none is left. Normal theory; RMSE
    through the mean square.
    """
    current = np.asarray(counts, dtype=np.float64)
    if current.shape != model.rows.shape:
        raise ValueError(f"{current.shape[0]} bins, but the residual model has {len(model.rows)}")
    known = (model.rows >= 2) & (current > 0)
    n = float(current[known].sum())
    if n <= 0:
        return _unknown(n, confidence)
    is_mae = metric is ErrorMetric.MAE
    first = model.absolute if is_mae else model.squares
    second = model.squares if is_mae else model.fourth
    rows, share = model.rows[known], current[known] / n
    mean = first[known] / rows
    variance = np.maximum(second[known] / rows - mean**2, 0.0) * rows / (rows - 1)
    value = float(share @ mean)
    fixed = math.sqrt(float(share**2 @ (variance / rows)))
    spread = math.sqrt(max(float(share @ mean**2) - value**2, 0.0))
    width = float(ndtri(confidence)) * math.hypot(fixed, spread / math.sqrt(n))
    lower, upper = max(value - width, 0.0), value + width
    if is_mae:
        return Bounded(value, lower, upper, n, spread, confidence, fixed)
    root = math.sqrt(value)
    slope = 1 / (2 * root) if root > 0 else 0.0
    ends = math.sqrt(lower), math.sqrt(upper)
    return Bounded(root, *ends, n, spread * slope, confidence, fixed * slope)


@dataclass(frozen=True)
class CeilingTest:
    """An error against its ceiling, the twin of `FloorTest`.

    is_above: the lower bound lies above the ceiling. needed: rows for the stated power; inf when
    the residual model has too few rows of its own for any number of rows to suffice.
    """

    value: float
    lower: float
    upper: float
    ceiling: float
    n: float
    needed: float

    @property
    def is_above(self) -> bool:
        return self.lower > self.ceiling

    @property
    def is_enough(self) -> bool:
        """A breach that is already proven needs no more rows."""
        return self.is_above or self.n >= self.needed


def ceiling_test(
    error: Bounded, ceiling: float, rise: float | None = None, power: float = 0.8
) -> CeilingTest:
    """Is an error above `ceiling` > 0, beyond sampling?

    rise > 0: how far above the ceiling an error should be found with `power`, for `needed`, in
    units of the target; a tenth of the ceiling unless told.
    """
    rise = ceiling / 10 if rise is None else rise
    if not (ceiling > 0 and rise > 0):
        raise ValueError("the ceiling and the rise above it must be positive")
    if math.isnan(error.value):
        return CeilingTest(error.value, error.lower, error.upper, ceiling, error.n, math.inf)
    reach = rise / float(ndtri(error.confidence) + ndtri(power))
    left = reach**2 - error.fixed**2
    needed = max(1, math.ceil(error.spread**2 / left)) if left > 0 else math.inf
    return CeilingTest(error.value, error.lower, error.upper, ceiling, error.n, needed)


def _mean(total: float, squares: float, n: float, confidence: float) -> Bounded:
    if n < 2:
        return _unknown(n, confidence)
    mean = total / n
    spread = math.sqrt(max(squares / n - mean**2, 0.0) * n / (n - 1))
    width = float(stdtrit(n - 1, confidence)) * spread / math.sqrt(n)
    return Bounded(mean, max(mean - width, 0.0), mean + width, n, spread, confidence)


def _unknown(n: float, confidence: float) -> Bounded:
    return Bounded(math.nan, 0.0, math.inf, n, math.nan, confidence)
