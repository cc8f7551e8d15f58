"""How small a shift a tolerance test can still see, before there is any data."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import chndtr, chndtrix, ndtri

_NORMAL_FROM = 1000.0
"""Noncentrality from which on the normal law is near enough, and the exact one is slow."""


def noise(rows: float, reference: float, bins: int) -> float:
    """Return the mean PSI of two samples of one distribution: (1/n + 1/m)(B - 1).

    rows, reference > 0 (infinity allowed): n and m. Source: statistics.md section 4, null law.
    """
    return (1 / rows + 1 / reference) * (bins - 1)


def smallest_shift(
    rows: float, reference: float, bins: int, tolerance: float, alpha: float, power: float = 0.9
) -> float:
    """Return the PSI that a tolerance test finds with `power`.

    rows, reference > 0 (infinity allowed): n and m; bins >= 2; alpha, power in (0, 1).
    """
    scale = 1 / rows + 1 / reference
    if scale == 0:
        return tolerance
    degrees, allowed = bins - 1, tolerance / scale
    if allowed > _NORMAL_FROM:
        critical = degrees + allowed + float(ndtri(1 - alpha)) * _spread(degrees, allowed)
        return scale * _root(
            lambda shift: (
                degrees + shift - float(ndtri(power)) * _spread(degrees, shift) - critical
            ),
            allowed,
            10 * critical,
        )
    critical = float(chndtrix(1 - alpha, degrees, allowed))
    return scale * _root(
        lambda shift: 1 - float(chndtr(critical, degrees, shift)) - power,
        allowed,
        10 * critical + 100,
    )


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high))


def _spread(degrees: int, noncentrality: float) -> float:
    return math.sqrt(2 * (degrees + 2 * noncentrality))
