"""Isotonic maps from raw scores to probabilities, from rows of their own.

The served probabilities stay the model's; the calibrated ones are what the pods' counters sum up,
from which accuracy is estimated without labels. Source: Zadrozny and Elkan 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Calibration


def fit_calibration(
    scores: NDArray[np.float64], actual: NDArray[Any], classes: Sequence[Any]
) -> list[Calibration]:
    """Return one map for two classes (of the second), else one per class.

    scores: [n, K] raw, probabilities or decision values; actual: [n], among `classes` [K].
    """
    chosen = [1] if len(classes) == 2 else range(len(classes))
    return [_isotonic(scores[:, k], actual == classes[k]) for k in chosen]


def _isotonic(scores: NDArray[np.float64], hits: NDArray[np.bool_]) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted.fit(scores, hits.astype(np.float64))
    return Calibration(x=fitted.X_thresholds_.tolist(), y=fitted.y_thresholds_.tolist())
