"""A recalibrated version: the same model, and what is set right behind its answers.

Where only probabilities, the threshold or the level are off, the model's file stays as it is. Its
raw probabilities go through maps made from recent labels, and the class follows from those; values
are moved by an offset. Sources: Zadrozny and Elkan 2002; Saerens, Latinne and Decaestecker 2002.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Answering, Answers
from trimtab.contract.artifact import Adjustment, Signature
from trimtab.contract.calibration import calibrated


def adjusted(answering: Answering, signature: Signature) -> Answering:
    """Return the model as the signature adjusts it; itself where nothing is adjusted."""
    adjustment = signature.adjustment
    return answering if adjustment is None else Adjusted(answering, adjustment, signature.counted)


class Adjusted:
    """A model with its answers set right; of several targets only the one that is counted."""

    def __init__(self, inner: Answering, adjustment: Adjustment, counted: int) -> None:
        self.inner = inner
        self._adjustment = adjustment
        self._counted = counted
        self.has_probabilities = inner.has_probabilities
        self.keeps_whole = inner.keeps_whole

    def prepare_thread(self) -> None:
        """Set what the model sets."""
        self.inner.prepare_thread()

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Return the adjusted answers for `rows`."""
        found = self.inner.answers(rows)
        if found.values is not None:
            values = found.values.copy()
            values[:, self._counted] += self._adjustment.offset
            return replace(found, values=values)
        if found.probabilities is None:
            raise ValueError("the signature adjusts probabilities, and the model gives none")
        probabilities = calibrated(found.probabilities, self._adjustment.calibration)
        threshold = self._adjustment.threshold
        if threshold is None:
            chosen = probabilities.argmax(axis=1)
        else:
            chosen = (probabilities[:, 1] >= threshold).astype(np.intp)
        if found.labels is None:
            return replace(found, chosen=chosen, probabilities=probabilities)
        labels = found.labels.copy()
        labels[:, self._counted] = chosen
        return replace(found, chosen=chosen, probabilities=probabilities, labels=labels)
