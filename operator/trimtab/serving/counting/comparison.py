"""Disagreement of a shadow with the version that serves, row by row and without a store.

A mirrored request reaches the shadow alone: it never sees the answer that the user got. But that
answer is known: the serving version's artifact is immutable, so the shadow loads it too and
predicts each row a second time, in the counting thread, off the way of its own answers. Nothing has
to be paired: no request ids, which not every gateway keeps, no state between pods. It costs the
shadow's pods the memory of a second model and the time of a second prediction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline, Signature
from trimtab.serving.counting.exposition import Family, Labels, labelled
from trimtab.serving.errors import ArtifactRefused, ModelFailed
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Matrix, Model, Prediction

log = logging.getLogger(__name__)

SHARE_OF_RANGE: Final = 0.05
"""Of the score's edges: how far values may lie apart where no RMSE is stated."""


class Comparison:
    """Predicts with the version that serves, and counts where the answers differ.

    All of it belongs to the counting thread. Raises ArtifactRefused unless both versions take the
    same inputs and have the same task.
    """

    def __init__(self, served: Artifact, model: Model, own: Signature, labels: Labels) -> None:
        check_same_inputs(own, served.signature)
        self._model = model
        self._places = _places(own.classes, served.signature.classes)
        self._apart = apart(served.baseline)
        self._compared = self._different = 0
        self._has_failed = False
        against = [*labels, ("against", served.digest)]
        self._names = [
            labelled(name, against) for name in (metrics.COMPARED, metrics.DISAGREEMENTS)
        ]

    def add(self, rows: Matrix, prediction: Prediction) -> None:
        """Count `rows` (n, features) and what this version answered."""
        try:
            served = self._model.predict(rows)
        except ModelFailed as error:
            # Rows that the serving version cannot answer say nothing about the shadow.
            if not self._has_failed:
                log.warning("the version to compare with failed: %s", error)
            self._has_failed = True
            return
        self._compared += len(rows)
        self._different += int(np.count_nonzero(self._differs(prediction, served)))

    def _differs(self, own: Prediction, served: Prediction) -> NDArray[np.bool_]:
        if own.predicted is not None and served.predicted is not None:
            other: NDArray[np.bool_] = own.predicted != self._places[served.predicted]
            return other
        assert own.values is not None
        assert served.values is not None
        far: NDArray[np.bool_] = np.abs(own.values - served.values) > self._apart
        return far

    def families(self) -> list[Family]:
        """Return the samples of now."""
        compared, different = self._names
        return [
            Family(
                metrics.COMPARED,
                "counter",
                "Rows that the serving version predicted too.",
                [(compared, self._compared)],
            ),
            Family(
                metrics.DISAGREEMENTS,
                "counter",
                "Rows that it answered differently.",
                [(different, self._different)],
            ),
        ]


def apart(baseline: Baseline) -> float:
    """Return how far two values may lie apart and still agree.

    The error that the serving version makes anyway: its RMSE at training.
    """
    for measured in baseline.metrics:
        if measured.metric == "rmse" and measured.slice == "all":
            return measured.value
    edges = baseline.score_edges
    return SHARE_OF_RANGE * (edges[-1] - edges[0]) if len(edges) >= 2 else 0.0


def _places(own: Sequence[str], served: Sequence[str]) -> NDArray[np.intp]:
    """Return for each class of the serving version its place among ours, -1 where we lack it."""
    index = {name: place for place, name in enumerate(own)}
    return np.array([index.get(name, -1) for name in served], dtype=np.intp)


def check_same_inputs(own: Signature, served: Signature) -> None:
    """Raise ArtifactRefused unless both have the same task and take the same inputs."""
    if own.task != served.task:
        raise ArtifactRefused(
            "NotComparable", f"this version is a {own.task}, the serving one a {served.task}"
        )
    ours = [(tensor.name, tensor.shape) for tensor in own.inputs]
    theirs = [(tensor.name, tensor.shape) for tensor in served.inputs]
    if ours != theirs:
        raise ArtifactRefused(
            "NotComparable", f"this version takes {ours[:10]}, the serving one {theirs[:10]}"
        )
