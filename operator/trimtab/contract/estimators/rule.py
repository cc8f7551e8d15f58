"""Whether the class that `predict` says can be read off the probabilities, and where it cannot.

The answer is always the model's own `predict`. To call it beside `predict_proba` doubles the work,
so that scikit-learn's classifiers whose `predict` is known to be the class of the largest
probability are asked for it only where the probabilities do not say: in ties. Two ways are known:
a class calls `predict_proba` itself, so that also ties are its own; or both come from the same
scores, and agree unless the two largest probabilities are the same to rounding.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Choice = Literal["always", "unless-tied", "never"]
"""When the class of the largest probability is what `predict` says."""

TIED: Final = 1e-9
"""Probabilities that differ by less may be the same score; rounding is some 1e-15."""

_ALWAYS: Final = frozenset(
    {
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.ensemble._bagging.BaggingClassifier",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._voting.VotingClassifier",  # soft; hard has no predict_proba
        "sklearn.semi_supervised._label_propagation.LabelPropagation",
        "sklearn.semi_supervised._label_propagation.LabelSpreading",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.ExtraTreeClassifier",
    }
)
_UNLESS_TIED: Final = frozenset(
    {
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
        "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis",
        "sklearn.ensemble._gb.GradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._weight_boosting.AdaBoostClassifier",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._logistic.LogisticRegressionCV",
        "sklearn.linear_model._stochastic_gradient.SGDClassifier",
        "sklearn.naive_bayes.BernoulliNB",
        "sklearn.naive_bayes.CategoricalNB",
        "sklearn.naive_bayes.ComplementNB",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.naive_bayes.MultinomialNB",
        "sklearn.neighbors._classification.KNeighborsClassifier",
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
    }
)
_INNER: Final = {
    "sklearn.ensemble._stacking.StackingClassifier": "final_estimator_",
    "sklearn.feature_selection._rfe.RFE": "estimator_",
    "sklearn.feature_selection._rfe.RFECV": "estimator_",
    "sklearn.frozen._frozen.FrozenEstimator": "estimator",
    "sklearn.model_selection._search.GridSearchCV": "best_estimator_",
    "sklearn.model_selection._search.RandomizedSearchCV": "best_estimator_",
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV": "best_estimator_",
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV": "best_estimator_",
    "sklearn.semi_supervised._self_training.SelfTrainingClassifier": "estimator_",
}
"""Those that pass rows on, and answer what this attribute of theirs answers."""


def choice_of(estimator: Any) -> Choice:
    """Return when the class of the largest probability is what `predict` of `estimator` says."""
    name = _own_name(type(estimator))
    if name == "sklearn.pipeline.Pipeline":
        return choice_of(estimator.steps[-1][1])
    if name in _INNER:
        return choice_of(getattr(estimator, _INNER[name], None))
    if name in _ALWAYS:
        return "always"
    return "unless-tied" if name in _UNLESS_TIED else "never"


def is_clear(probabilities: NDArray[np.float64]) -> bool:
    """Whether no row is tied; quicker than to say which are."""
    if probabilities.shape[1] != 2:
        return not tied(probabilities).any()
    # Written so that NaN is not clear.
    return bool(np.abs(probabilities[:, 0] - probabilities[:, 1]).min(initial=1.0) >= TIED)


def tied(probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for which rows of [n, K] the largest is not clearly one; also where it is NaN."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), dtype=np.bool_)
    if probabilities.shape[1] == 2:
        gap = np.abs(probabilities[:, 0] - probabilities[:, 1])
    else:
        two = np.partition(probabilities, -2, axis=1)[:, -2:]
        gap = two[:, 1] - two[:, 0]
    unclear: NDArray[np.bool_] = ~(gap >= TIED)
    return unclear


def _own_name(kind: type) -> str:
    """Return the full name of a class that is scikit-learn's own, else nothing."""
    module = kind.__module__
    if module.partition(".")[0] != "sklearn":
        return ""  # a subclass may predict as it likes
    own = getattr(sys.modules.get(module), kind.__qualname__, None)
    return f"{module}.{kind.__qualname__}" if own is kind else ""
