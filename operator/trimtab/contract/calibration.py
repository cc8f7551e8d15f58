"""From raw scores to calibrated probabilities, with the maps of the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Calibration

Floats = NDArray[np.float64]


def calibrated(scores: Floats, maps: Sequence[Calibration]) -> Floats:
    """Return calibrated probabilities, shape (n, K) as `scores`, rows summing to one.

    scores: probabilities or decision values. One map: binary, for the second class. K maps: one
    against the rest, divided by the row's sum (equal shares where the sum is zero). No map:
    probabilities as they are. Source: Zadrozny and Elkan 2002, section 3.
    """
    if not maps:
        return scores
    if len(maps) == 1:
        second = np.interp(scores[:, 1], maps[0].x, maps[0].y)
        return np.column_stack((1.0 - second, second))
    mapped = _mapped(scores, maps)
    sums = mapped.sum(axis=1, keepdims=True)
    even = 1.0 / scores.shape[1]
    return np.where(sums > 0, mapped / np.where(sums > 0, sums, 1.0), even)


def exact_for(predicted: NDArray[np.intp], scores: Floats, maps: Sequence[Calibration]) -> Floats:
    """Return the same for K > 2 decision values, with that of the predicted class as mapped.

    Dividing by the row's sum would move it: such values, unlike probabilities, are not of one scale
    together. The other classes share the rest as their maps say (equally where these are zero).
    predicted: (n,) indices. Source: Gupta and Ramdas 2022, top-label calibration.
    """
    mapped, rows = _mapped(scores, maps), np.arange(len(scores))
    own = mapped[rows, predicted]
    mapped[rows, predicted] = 0.0
    sums = mapped.sum(axis=1, keepdims=True)
    even = 1.0 / (scores.shape[1] - 1)
    shares = np.where(sums > 0, mapped / np.where(sums > 0, sums, 1.0), even)
    shares *= (1.0 - own)[:, None]
    shares[rows, predicted] = own
    return shares


def _mapped(scores: Floats, maps: Sequence[Calibration]) -> Floats:
    mapped = np.empty_like(scores)
    for index, one in enumerate(maps):
        mapped[:, index] = np.interp(scores[:, index], one.x, one.y)
    return mapped
