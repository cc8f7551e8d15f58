"""What each estimator of scikit-learn is made with and fitted on: small plain numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

KINDS: Final = ("classifier", "regressor", "cluster", "outlier")

_RANDOM = np.random.default_rng(0)
ROWS: Final = np.abs(_RANDOM.normal(size=(120, 4)))
UNSEEN: Final = np.concatenate(
    [np.abs(_RANDOM.normal(size=(200, 4))), ROWS[:10] * 1e6, np.zeros((1, 4)), ROWS[:20].round(1)]
)
CALIBRATE: Final = np.abs(_RANDOM.normal(size=(200, 4)))
EVALUATE: Final = np.abs(_RANDOM.normal(size=(200, 4)))

_CLASSIFIER: Final = LogisticRegression()
_ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "BisectingKMeans": {"n_clusters": 5},
    "CCA": {"n_components": 1},
    "ClassifierChain": {"estimator": _CLASSIFIER},
    "FixedThresholdClassifier": {"estimator": _CLASSIFIER},
    "HistGradientBoostingClassifier": {"max_iter": 20},
    "HistGradientBoostingRegressor": {"max_iter": 20},
    "IsotonicRegression": {"out_of_bounds": "clip"},
    "LocalOutlierFactor": {"novelty": True},
    "LogisticRegressionCV": {"use_legacy_attributes": False},
    "MultiOutputClassifier": {"estimator": _CLASSIFIER},
    "MultiOutputRegressor": {"estimator": LinearRegression()},
    "OneVsOneClassifier": {"estimator": _CLASSIFIER},
    "OneVsRestClassifier": {"estimator": _CLASSIFIER},
    "OutputCodeClassifier": {"estimator": _CLASSIFIER},
    "PLSCanonical": {"n_components": 1},
    "RadiusNeighborsClassifier": {"radius": 1e9},
    "RadiusNeighborsRegressor": {"radius": 1e9},
    "RegressorChain": {"estimator": LinearRegression()},
    "SelfTrainingClassifier": {"estimator": _CLASSIFIER},
    "StackingClassifier": {"estimators": [("a", _CLASSIFIER), ("b", DecisionTreeClassifier())]},
    "StackingRegressor": {"estimators": [("a", LinearRegression()), ("b", Ridge())]},
    "TunedThresholdClassifierCV": {"estimator": _CLASSIFIER},
    "VotingClassifier": {"estimators": [("a", _CLASSIFIER), ("b", DecisionTreeClassifier())]},
    "VotingRegressor": {"estimators": [("a", LinearRegression()), ("b", Ridge())]},
}


Pair = tuple[NDArray[Any], NDArray[Any] | None]


@dataclass(frozen=True)
class Case:
    """An estimator, unfitted, and what it learns from; `unseen` are rows to ask it for.

    calibrate, evaluate: rows and truths of their own, as `publish` wants them.
    """

    name: str
    kind: str
    model: Any
    rows: NDArray[Any]
    truths: NDArray[Any] | None
    unseen: NDArray[Any]
    calibrate: Pair
    evaluate: Pair

    def fitted(self) -> Any:
        """Fit and return the estimator; it may warn."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.truths is None:
                return self.model.fit(self.rows)
            return self.model.fit(self.rows, self.truths)


def cases() -> Iterator[Case]:
    """Yield every classifier, regressor, clusterer and outlier detector of scikit-learn."""
    for kind in KINDS[:3]:
        for name, made in all_estimators(kind):
            yield _case(name, kind, made)
    for name, made in all_estimators():
        if issubclass(made, OutlierMixin):
            yield _case(name, "outlier", made)


def _case(name: str, kind: str, made: Any) -> Case:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated, and offered all the same
        model = made(**_ARGUMENTS.get(name, {}))
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
    rows, unseen, calibrate, evaluate = (
        _rows(name, one) for one in (ROWS, UNSEEN, CALIBRATE, EVALUATE)
    )
    return Case(
        name,
        kind,
        model,
        rows,
        _truths(name, kind, ROWS),
        unseen,
        (calibrate, _truths(name, kind, CALIBRATE)),
        (evaluate, _truths(name, kind, EVALUATE)),
    )


def _rows(name: str, rows: NDArray[Any]) -> NDArray[Any]:
    if name == "IsotonicRegression":
        return rows[:, :1]
    if name == "CategoricalNB":
        return rows.astype(int).clip(0, 2)
    return rows


def _truths(name: str, kind: str, rows: NDArray[Any]) -> NDArray[Any] | None:
    two = (rows[:, 0] + rows[:, 1] > 1.5).astype(int)
    other = (rows[:, 2] > 1).astype(int)
    numbers = rows @ np.array([1.0, 2.0, 3.0, 4.0]) + 0.5
    if kind in ("cluster", "outlier"):
        return None
    if name in ("ClassifierChain", "MultiOutputClassifier"):
        return np.column_stack([two, other])
    if name in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        return two
    if kind == "classifier":
        return two + other
    if name.startswith("MultiTask") or name in ("MultiOutputRegressor", "RegressorChain"):
        return np.column_stack([numbers, rows[:, 0] - rows[:, 3]])
    return numbers
