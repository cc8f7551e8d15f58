"""The class that is answered is that of the model's own `predict`, to the last row."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.rule import choice_of, tied

RANDOM = np.random.default_rng(0)
X = np.abs(RANDOM.normal(size=(150, 3))).round(1)
ROWS = np.concatenate(
    [
        X,
        np.repeat(X[:1], 3, axis=0),
        np.zeros((1, 3)),
        X[:20] * 1e3,
        X[:20] * 1e8,  # probabilities of exactly 0 and 1
        (X[:40, None] + X[None, :40]).reshape(-1, 3) / 2,  # between the training rows: ties
    ]
)
TRUTHS = {
    "two": (X[:, 0] + X[:, 1] > 1.4).astype(int),
    "three": (X[:, 0] > 0.6).astype(int) + (X[:, 1] > 0.9),
}
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "KNeighborsClassifier": [
        {"n_neighbors": 4},
        {"n_neighbors": 4, "weights": "distance"},
        {"n_neighbors": 4, "algorithm": "brute"},
    ],
    "RadiusNeighborsClassifier": [{"radius": 1e9}, {"radius": 1e9, "algorithm": "brute"}],
    "RandomForestClassifier": [{"n_estimators": 4}],
    "ExtraTreesClassifier": [{"n_estimators": 4}],
    "HistGradientBoostingClassifier": [{"max_iter": 4}],
    "GradientBoostingClassifier": [{"n_estimators": 4}],
    "MLPClassifier": [{"max_iter": 20}],
    "SGDClassifier": [{"loss": "modified_huber"}, {"loss": "log_loss"}],
    "BaggingClassifier": [{"n_estimators": 4}, {"estimator": LogisticRegression()}],
    "LogisticRegressionCV": [{"Cs": 2, "cv": 2, "use_legacy_attributes": False}],
    "LabelPropagation": [{}, {"kernel": "knn"}],
    "DummyClassifier": [{}, {"strategy": "most_frequent"}],
}
OTHERS: list[Any] = [
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(), SGDClassifier(loss="modified_huber", random_state=0)),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    GridSearchCV(make_pipeline(StandardScaler(), GaussianNB()), {}, cv=2),
    OneVsRestClassifier(LogisticRegression()),
    VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], voting="soft"),
    StackingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], cv=2),
    StackingClassifier([("a", GaussianNB())], OneVsRestClassifier(LogisticRegression()), cv=2),
    CalibratedClassifierCV(SGDClassifier(random_state=0), cv=2),
    CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=2),
    SelfTrainingClassifier(LogisticRegression()),
    FrozenEstimator(LogisticRegression().fit(X, TRUTHS["three"])),
]


def classifiers() -> list[Any]:
    """Every classifier that can be made without an inner one, and those of `OTHERS`."""
    made: list[Any] = []
    for name, kind in all_estimators("classifier"):
        if name == "SelfTrainingClassifier":
            continue  # needs one, too, but says so only in fit
        with warnings.catch_warnings(), suppress(TypeError):  # needs an estimator: see OTHERS
            warnings.simplefilter("ignore")
            made += [kind(**arguments) for arguments in ARGUMENTS.get(name, [{}])]
    for model in made:
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
    return made + OTHERS


def signature(classes: NDArray[Any]) -> Signature:
    return Signature.model_validate(
        {
            "task": "classification",
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [3]}],
            "outputs": [{"name": "class", "datatype": "BYTES", "shape": []}],
            "classes": [str(name) for name in classes],
        }
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("truth", sorted(TRUTHS))
@pytest.mark.parametrize("model", classifiers(), ids=lambda model: str(model).split("(")[0])
def test_answers_are_those_of_predict(model: Any, truth: str) -> None:
    y = TRUTHS[truth]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not isinstance(model, FrozenEstimator):
            model = clone(model).fit(X, y)
        if not hasattr(model, "predict_proba") or isinstance(model.classes_, list):
            pytest.skip("gives no probabilities of one target")
        rows = X.astype(int) if isinstance(model, CategoricalNB) else ROWS
        said = model.predict(rows)
        answers = AnsweringEstimator(model, signature(model.classes_)).answers(rows)
    chosen = answers.chosen
    if chosen is None:
        assert answers.probabilities is not None
        chosen = answers.probabilities.argmax(axis=1)
    if getattr(model, "strategy", "") not in ("uniform", "stratified"):
        np.testing.assert_array_equal(model.classes_[chosen], said)


def test_a_tie_of_some_rows_asks_predict_for_those_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KNeighborsClassifier(2).fit([[0.0], [1.0]], ["b", "a"])
    asked: list[NDArray[Any]] = []

    def recorded(self: Any, rows: NDArray[Any]) -> NDArray[Any]:
        asked.append(rows)
        return np.full(len(rows), "b")

    monkeypatch.setattr(KNeighborsClassifier, "predict", recorded)
    probable = np.array([[0.9, 0.1], [0.5, 0.5]])
    monkeypatch.setattr(KNeighborsClassifier, "predict_proba", lambda _self, _rows: probable)
    rows = np.array([[3.0], [4.0]])
    one = {"name": "x", "datatype": "FP64", "shape": [1]}
    fitting = signature(model.classes_).model_dump() | {"inputs": [one]}
    answers = AnsweringEstimator(model, Signature.model_validate(fitting)).answers(rows)
    assert [part.tolist() for part in asked] == [[[4.0]]]
    assert answers.chosen is not None
    assert answers.chosen.tolist() == [0, 1]


def test_a_class_of_another_than_scikit_learn_is_always_asked() -> None:
    class Own(LogisticRegression):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            return 1 - super().predict(X)

    assert choice_of(LogisticRegression()) == "unless-tied"
    assert choice_of(Own()) == "never"
    Own.__module__, Own.__qualname__ = LogisticRegression.__module__, "LogisticRegression"
    assert choice_of(Own()) == "never"


def test_rows_without_a_clear_largest_are_tied() -> None:
    rows = [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [np.nan, 0.5, 0.5], [0.4, 0.2, 0.4 + 1e-12]]
    assert tied(np.array(rows)).tolist() == [True, False, True, True]
    assert tied(np.array(rows)[:, :2]).tolist() == [True, False, True, False]
    assert tied(np.ones((2, 1))).tolist() == [False, False]
