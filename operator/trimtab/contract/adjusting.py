"""A recalibrated version: the same model, and what is set right behind its answers.

Where only probabilities, the threshold or the level are off, the model's file stays as it is. Its
raw probabilities, or decision values, go through maps made from recent labels, and the class
follows from those; values are moved by an offset. Sources: Zadrozny and Elkan 2002; Saerens,
Latinne and Decaestecker 2002.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Answering, Answers, Floats
from trimtab.contract.artifact import Adjustment, Signature
from trimtab.contract.calibration import calibrated, exact_for


def adjusted(answering: Answering, signature: Signature) -> Answering:
    """Return the model as the signature adjusts it; itself where nothing is adjusted."""
    adjustment = signature.adjustment
    return answering if adjustment is None else Adjusted(answering, adjustment, signature.counted)


class Adjusted:
    """A model with its answers set right; of several classifications the one that is counted."""

    def __init__(self, inner: Answering, adjustment: Adjustment, counted: int) -> None:
        self.inner = inner
        self._adjustment = adjustment
        self._counted = counted
        # Decision values become probabilities by the maps.
        self.has_probabilities = inner.has_probabilities or inner.has_decision
        self.has_decision = False
        self.keeps_whole = inner.keeps_whole

    def prepare_thread(self) -> None:
        """Set what the model sets."""
        self.inner.prepare_thread()

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Return the adjusted answers for `rows`."""
        found = self.inner.answers(rows)
        if found.values is not None:
            offsets = self._adjustment.offsets
            return replace(found, values=found.values + offsets) if offsets else found
        probabilities = self._probabilities(found)
        threshold = self._adjustment.threshold
        if threshold is None:
            chosen = probabilities.argmax(axis=1)
        else:
            chosen = (probabilities[:, 1] >= threshold).astype(np.intp)
        if found.labels is None:
            return replace(found, chosen=chosen, probabilities=probabilities, decision=None)
        labels = found.labels.copy()
        labels[:, self._counted] = chosen
        return replace(found, chosen=chosen, probabilities=probabilities, labels=labels)

    def _probabilities(self, found: Answers) -> Floats:
        scores, maps = found.scores, self._adjustment.calibration
        if scores is None:
            raise ValueError("the signature adjusts scores, and the model gives none")
        if found.probabilities is None and scores.shape[1] > 2:
            predicted = scores.argmax(axis=1) if found.chosen is None else found.chosen
            return exact_for(predicted, scores, maps)
        return calibrated(scores, maps)
