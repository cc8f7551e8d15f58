"""What any model answers for a matrix of rows, whatever library made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Answers:
    """Of n rows: `chosen` (n,) indices of classes and `probabilities` (n, K) where the model gives
    them, or `values` (n, T) of a regression.

    Of a classifier at least one is there; without `chosen` the class is that of the largest
    probability. Where a row is classified several times, these are of the target that is counted;
    `labels` (n, T) are indices into the classes of each target, and `spread` the probabilities of
    all of them, one target beside the other (n, sum of their K).
    """

    chosen: Indices | None = None
    probabilities: Floats | None = None
    values: Floats | None = None
    labels: Indices | None = None
    spread: Floats | None = None


class Answering(Protocol):
    """A loaded model that fits its signature; rows are (n, columns of the signature)."""

    has_probabilities: bool
    """Of a classifier."""
    keeps_whole: bool
    """Whether INT64 beside other numbers has to reach it exact, not as doubles."""

    def prepare_thread(self) -> None:
        """Set what holds for the calling thread only."""

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Return the answers for `rows`; errors are the model's own."""
