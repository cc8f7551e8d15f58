"""Several hypotheses at once: Holm's step-down procedure.

Source: Holm, "A simple sequentially rejective multiple test procedure" (1979). The chance of one
or more false rejections is at most alpha under any dependence.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm_adjusted(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values, shape [k] in the order given; a hypothesis is rejected if <= alpha.

    Raises ValueError for a p-value outside [0, 1], NaN included.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def holm_rejects(
    p_values: Sequence[float] | NDArray[np.float64], alpha: float
) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at family-wise level `alpha`, shape [k]."""
    return np.asarray(holm_adjusted(p_values) <= alpha, dtype=np.bool_)
