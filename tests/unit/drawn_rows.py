"""Rows with classes that are hard to tell, near the middle most of all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Rows [n, 4] with their classes."""

    matrix: NDArray[np.float64]
    actual: NDArray[np.int64]


def drawn(n: int, classes: int, seed: int, noise: float = 0.8) -> Rows:
    """Classes by a noisy direction in the plane of the first two numbers."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(n, 4))
    seen = matrix[:, :2] + random.normal(0, noise, (n, 2))
    angles = 2 * np.pi * np.arange(classes) / classes
    directions = np.column_stack((np.cos(angles), np.sin(angles)))
    return Rows(matrix, (seen @ directions.T).argmax(axis=1))
