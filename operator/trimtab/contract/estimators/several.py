"""Estimators that classify each row several times: labels beside each other, or outputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from trimtab.contract.answers import Answers, Floats, Indices
from trimtab.contract.artifact import Signature, Target
from trimtab.contract.estimators.refused import ModelRefused


class Several:
    """The targets of a signature, and an estimator's answers in their order.

    Raises ModelRefused where the estimator's classes are not the signature's.
    """

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._estimator = estimator
        self._targets = signature.targets
        self._counted = signature.counted
        sizes = [len(target.classes) for target in self._targets]
        self._places = [0, *accumulate(sizes)]
        self._indices = [index_of(target.classes) for target in self._targets]
        self.has_probabilities = hasattr(estimator, "predict_proba")
        _check_classes(estimator, self._targets)

    def answers(self, table: Any, rows: int) -> Answers:
        """Return the answers for `table` of n rows."""
        labels = self._labels(np.asarray(self._estimator.predict(table)), rows)
        spread = self._spread(table, rows) if self.has_probabilities else None
        start, stop = self._places[self._counted : self._counted + 2]
        return Answers(
            chosen=labels[:, self._counted],
            probabilities=None if spread is None else spread[:, start:stop],
            labels=labels,
            spread=spread,
        )

    def _labels(self, predicted: Any, rows: int) -> Indices:
        if predicted.shape != (rows, len(self._targets)):
            raise ValueError(
                f"predict gave shape {predicted.shape}, [{rows}, {len(self._targets)}] is wanted"
            )
        labels: Indices = np.empty(predicted.shape, dtype=np.intp)
        for place, index in enumerate(self._indices):
            labels[:, place] = [index_in(index, name) for name in predicted[:, place].tolist()]
        return labels

    def _spread(self, table: Any, rows: int) -> Floats:
        """A list of [n, K] for outputs; [n, T] of second classes for labels."""
        found = self._estimator.predict_proba(table)
        if isinstance(found, list):
            parts = [np.asarray(part, dtype=np.float64) for part in found]
        else:
            second = np.asarray(found, dtype=np.float64)
            parts = [np.column_stack((1.0 - one, one)) for one in second.T]
        spread = np.hstack(parts)
        if spread.shape != (rows, self._places[-1]):
            raise ValueError(f"predict_proba gave {spread.shape[1]} columns for its classes")
        return spread


def index_of(classes: Sequence[str]) -> dict[str, int]:
    """Return the place of each class by its name."""
    return {name: place for place, name in enumerate(classes)}


def index_in(index: dict[str, int], name: Any) -> int:
    """Return the place of a class as `predict` names it; some name whole numbers as floats."""
    place = index.get(str(name))
    if place is None and isinstance(name, float) and name.is_integer():
        place = index.get(str(int(name)))
    if place is None:
        raise ValueError(f"predict gave {str(name)[:80]!r}, which is no class of the signature")
    return place


def classes_of_targets(estimator: Any, targets: int) -> list[list[Any]]:
    """Return the classes of each of `targets` targets; of labels, which are not named, 0 and 1."""
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list) and len(classes) == targets:
        return [np.asarray(one).tolist() for one in classes]
    return [[0, 1] for _ in range(targets)]


def _check_classes(estimator: Any, targets: Sequence[Target]) -> None:
    found = classes_of_targets(estimator, len(targets))
    for target, classes in zip(targets, found, strict=True):
        named = [str(name) for name in classes]
        if named != target.classes:
            raise ModelRefused(
                "ClassesDiffer",
                f"{target.output}: the model knows {named[:10]}, the signature "
                f"{target.classes[:10]}",
            )
