"""Distance between two histograms over the same bins: baseline p and current q.

Counts come in as arrays [..., B] (features first, bins last), results as [...]. Bins have their
edges at quantiles of the baseline. What the policy uses is the tolerance test on PSI: a shift
smaller than the tolerance is nobody's business, however many rows prove it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri, chndtr, chndtrix, gammaln, xlogy

Floats: TypeAlias = NDArray[np.float64]

DEFAULT_BINS = 10
ROWS_PER_BIN = 5


def psi(baseline: ArrayLike, current: ArrayLike) -> Floats:
    """Population stability index: sum of (q - p) log(q / p), add-1/2 smoothed."""
    p, q = _smoothed(baseline), _smoothed(current)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


@dataclass(frozen=True)
class ChiSquare:
    """Two-sample chi-squared; each [...]. Empty cells leave statistic and degrees of freedom."""

    statistic: Floats
    degrees: NDArray[np.int64]
    p_value: Floats


def two_sample_chi_square(baseline: ArrayLike, current: ArrayLike) -> ChiSquare:
    """Homogeneity of two histograms; p-value 1 where one side is empty or one cell is left."""
    p, q = _counts(baseline), _counts(current)
    p, q = np.broadcast_arrays(p, q)
    m, n = p.sum(axis=-1, keepdims=True), q.sum(axis=-1, keepdims=True)
    both = p + q
    is_known = (m > 0) & (n > 0)
    weight = np.sqrt(np.divide(n, m, out=np.ones_like(m), where=is_known))
    cells = np.divide((weight * p - q / weight) ** 2, both, out=np.zeros_like(both), where=both > 0)
    statistic = np.where(is_known[..., 0], cells.sum(axis=-1), 0.0)
    degrees = np.maximum((both > 0).sum(axis=-1) - 1, 0)
    p_value = np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), statistic), 1.0)
    return ChiSquare(np.asarray(statistic), np.asarray(degrees), np.asarray(p_value))


@dataclass(frozen=True)
class ToleranceTest:
    """PSI against a tolerance; each field [...] over features.

    value: PSI. threshold: PSI above it is more than the tolerance at level alpha. p_value: for
    Holm over features. n: current rows.
    """

    value: Floats
    threshold: Floats
    p_value: Floats
    n: Floats

    @property
    def is_drifting(self) -> NDArray[np.bool_]:
        return np.asarray(self.value > self.threshold)


def tolerance_test(
    baseline: ArrayLike, current: ArrayLike, tolerance: float, alpha: float
) -> ToleranceTest:
    """Is the true PSI above `tolerance` >= 0? Counts [..., B], B >= 2; level alpha in (0, 1).

    Null law: PSI ~ (1/n + 1/m) chi2_{B-1}, noncentral by tolerance / (1/n + 1/m) at the boundary.
    No rows on one side: value 0, threshold inf, p-value 1.
    """
    p, q = np.broadcast_arrays(_counts(baseline), _counts(current))
    bins = p.shape[-1]
    if bins < 2:
        raise ValueError("a distance needs at least two bins")
    m, n = p.sum(axis=-1), q.sum(axis=-1)
    is_known = (m > 0) & (n > 0)
    scale = np.where(is_known, 1 / np.maximum(n, 1) + 1 / np.maximum(m, 1), 1.0)
    value = np.where(is_known, psi(p, q), 0.0)
    # Features without missing values have the same rows: one quantile for all of them.
    scales, places = np.unique(scale, return_inverse=True)
    quantiles = chndtrix(1 - alpha, bins - 1, tolerance / scales)
    threshold = scale * quantiles[places.reshape(scale.shape)]
    p_value = upper_tail(value / scale, bins - 1, tolerance / scale)
    return ToleranceTest(
        np.asarray(value),
        np.where(is_known, threshold, np.inf),
        np.where(is_known, p_value, 1.0),
        np.asarray(n),
    )


_FAR = 1e-6
"""Below this the complement of the distribution function has lost too many digits."""


def upper_tail(statistic: ArrayLike, degrees: int, noncentrality: ArrayLike) -> Floats:
    """P(noncentral chi-squared > statistic), also where it is far below rounding of 1.

    statistic, noncentrality: [...]. There it is summed as the Poisson mixture of central ones,
    sum over j of Poisson(j; noncentrality / 2) P(chi2_{degrees + 2j} > statistic).
    """
    x, nc = np.broadcast_arrays(
        np.asarray(statistic, dtype=np.float64), np.asarray(noncentrality, dtype=np.float64)
    )
    tail = np.array(np.clip(1.0 - chndtr(x, degrees, nc), 0.0, 1.0), dtype=np.float64, ndmin=1)
    flat, far = tail.reshape(-1), np.flatnonzero(~(tail.reshape(-1) > _FAR))
    if len(far):
        flat[far] = _mixture_tail(x.reshape(-1)[far], degrees, nc.reshape(-1)[far])
    return flat.reshape(x.shape)


def _mixture_tail(x: Floats, degrees: int, noncentrality: Floats) -> Floats:
    """The sum above; its largest term lies between the mean of the Poisson and half of x."""
    half = noncentrality / 2
    found = np.zeros(len(x))
    for place in range(len(x)):
        middle = float(np.sqrt(half[place] * max(x[place], 1.0) / 2)) + float(half[place])
        terms = np.arange(int(middle + 12 * np.sqrt(middle) + 60))
        weights = np.exp(xlogy(terms, half[place]) - half[place] - gammaln(terms + 1))
        found[place] = float(weights @ chdtrc(degrees + 2 * terms, x[place]))
    return np.clip(found, 0.0, 1.0)


def needed_rows(
    distance: float, bins: int = DEFAULT_BINS, alpha: float = 0.05, power: float = 0.9
) -> int:
    """Current rows below which the verdict is InsufficientData: max(5 B, lambda* / distance).

    distance > 0: the PSI to be found with `power`; lambda*: noncentrality that gives this power to
    a chi-squared test with bins - 1 degrees of freedom at level alpha.
    """
    if not distance > 0:
        raise ValueError(f"distance must be positive, not {distance}")
    # 1e-9: 0.2 is a little less than a fifth, which must not cost a row.
    rows = _noncentrality(bins, alpha, power) / distance
    return max(ROWS_PER_BIN * bins, int(np.ceil(rows - 1e-9)))


@lru_cache(maxsize=256)
def _noncentrality(bins: int, alpha: float, power: float) -> float:
    critical = chdtri(bins - 1, alpha)
    return float(brentq(lambda nc: 1.0 - chndtr(critical, bins - 1, nc) - power, 1e-6, 1e4))


def _counts(values: ArrayLike) -> Floats:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim == 0 or not bool(np.all(np.isfinite(counts) & (counts >= 0))):
        raise ValueError("histogram counts must be an array of finite numbers >= 0")
    return counts


def _smoothed(values: ArrayLike) -> Floats:
    counts = _counts(values) + 0.5
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
