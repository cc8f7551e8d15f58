"""Linear models of scikit-learn asked without their overhead: the same sums, bit by bit.

A row's answer takes some 60 microseconds, of which the product takes one; the rest is checks that
validation has made. The products are scikit-learn's own, on the same arrays.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Floats

_CLASSIFIERS: Final = {
    "LogisticRegression": "sklearn.linear_model._logistic",
    "LogisticRegressionCV": "sklearn.linear_model._logistic",
}
_REGRESSORS: Final = {
    "ElasticNet": "sklearn.linear_model._coordinate_descent",
    "Lasso": "sklearn.linear_model._coordinate_descent",
    "LinearRegression": "sklearn.linear_model._base",
    "Ridge": "sklearn.linear_model._ridge",
}


def linear_of(estimator: Any) -> Linear | None:
    """Return what answers as a linear model does; None where `estimator` is none, or a subclass."""
    kind = type(estimator)
    is_classifier = _CLASSIFIERS.get(kind.__name__) == kind.__module__
    if not is_classifier and _REGRESSORS.get(kind.__name__) != kind.__module__:
        return None
    coefficients = getattr(estimator, "coef_", None)
    if not isinstance(coefficients, np.ndarray) or coefficients.dtype != np.float64:
        return None
    return Linear(coefficients, estimator.intercept_, is_classifier=is_classifier)


class Linear:
    """Coefficients [K, features] or [features], and what is added: [K] or a number."""

    def __init__(self, coefficients: Floats, intercept: Any, *, is_classifier: bool) -> None:
        self._weights = coefficients.T
        self._intercept = intercept
        self._is_classifier = is_classifier
        self._width = coefficients.shape[-1]

    def means(self, rows: NDArray[Any]) -> Floats | None:
        """Return (n, K) probabilities or (n, T) values for `rows` (n, features).

        None for rows that the model has to be asked about itself.
        """
        if not isinstance(rows, np.ndarray) or rows.dtype != np.float64 or rows.ndim != 2:
            return None
        if rows.shape[1] != self._width or not len(rows) or not np.isfinite(rows).all():
            return None
        sums: Floats = rows @ self._weights + self._intercept
        if not self._is_classifier:
            return sums.reshape(len(rows), -1)
        return _second(sums) if sums.shape[1] == 1 else _softmax(sums)


def _second(sums: Floats) -> Floats:
    from scipy.special import expit

    chances = sums.reshape(-1)
    expit(chances, out=chances)
    return np.vstack([1 - chances, chances]).T


def _softmax(sums: Floats) -> Floats:
    sums -= np.max(sums, axis=1).reshape(-1, 1)
    np.exp(sums, out=sums)
    sums /= np.sum(sums, axis=1).reshape(-1, 1)
    return sums
