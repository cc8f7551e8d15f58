"""Decision values of classifiers and outlier detectors: how far a row is from the boundary.

They order rows as probabilities do, without being any. Two classes have one value a row, positive
for the second; K classes have one a class, of which only differences mean something: so what is
given on is how far each class is ahead of the best other one. A support vector machine may give a
value for each pair of classes instead (`decision_function_shape="ovo"`), which says nothing of
single classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab.contract.answers import Floats


class DecisionRefused(ValueError):
    """The model's decision values are not one a class."""


def has_decision(estimator: Any) -> bool:
    """Whether an estimator, or what a search found best, gives a decision value for each class."""
    return hasattr(estimator, "decision_function") and not _is_of_pairs(estimator)


def decision_of(estimator: Any, table: Any, classes: int) -> Floats:
    """Return (n, classes) how far each class is ahead; of two classes the value with both signs."""
    values = np.asarray(estimator.decision_function(table), dtype=np.float64)
    if classes == 2 and values.size == len(values):
        second = values.reshape(-1)
        return np.column_stack((-second, second))
    if values.ndim != 2 or values.shape[1] != classes:
        raise DecisionRefused(
            f"{type(estimator).__name__} gives decision values of shape {values.shape[1:]} a row, "
            f"{classes} classes were expected"
        )
    return values - _best_other(values)


def _best_other(values: Floats) -> Floats:
    """Return (n, K) the largest value of all other classes; K is 2 or more."""
    rows = np.arange(len(values))
    best = values.argmax(axis=1)
    rest = values.copy()
    rest[rows, best] = -np.inf
    others = np.repeat(values[rows, best][:, None], values.shape[1], axis=1)
    others[rows, best] = rest.max(axis=1)
    return others


def _is_of_pairs(estimator: Any) -> bool:
    """Whether the last step, however wrapped, is told to give a value for each pair of classes."""
    found = getattr(estimator, "best_estimator_", estimator)
    parameters = found.get_params(deep=True) if hasattr(found, "get_params") else {}
    return any(
        name.rpartition("__")[2] == "decision_function_shape" and value == "ovo"
        for name, value in parameters.items()
    )
