"""A forest asked tree by tree, or all trees as one, answers as scikit-learn's own does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.estimators import forests
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.forests import MOST_JOINED_ROWS, forest_of

KINDS = [RandomForestClassifier, ExtraTreesClassifier, RandomForestRegressor, ExtraTreesRegressor]
SIZES = (1, 2, 7, MOST_JOINED_ROWS, MOST_JOINED_ROWS + 1, 64)


def own(model: Any, rows: Any) -> Any:
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)
    return model.predict(rows).reshape(-1, 1)


def same_bits(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and np.ascontiguousarray(one).tobytes() == other.tobytes()


@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:overflow encountered")
@settings(max_examples=60, deadline=None)
@given(
    kind=some.sampled_from(KINDS),
    trees=some.sampled_from([1, 2, 3, 8, 33]),
    classes=some.sampled_from([2, 3, 7]),
    options=some.fixed_dictionaries(
        {},
        optional={
            "max_depth": some.sampled_from([1, 3, None]),
            "min_samples_leaf": some.sampled_from([1, 5]),
            "max_features": some.sampled_from([1, 0.5, None]),
        },
    ),
    scale=some.sampled_from([1.0, 1e-40, 1e20, 1e38]),
    seed=some.integers(0, 1000),
)
def test_the_same_bits(
    kind: Any, trees: int, classes: int, options: dict[str, Any], scale: float, seed: int
) -> None:
    rows, truths = make_classification(
        120, 6, n_informative=5, n_redundant=0, n_classes=classes, random_state=seed
    )
    rows = rows / np.abs(rows).max() * scale
    model = kind(trees, random_state=seed, **options).fit(rows[:60], truths[:60])
    forest = forest_of(model)
    assert forest is not None
    for size in SIZES:
        found = forest.means(rows[:size])
        assert found is not None
        assert same_bits(found, own(model, rows[:size]))


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_joined_tree(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forests, "MOST_JOINED_BYTES", 0)
    rows, truths = make_classification(100, 6, random_state=0)
    model = (
        kind(5, random_state=0, class_weight="balanced") if "Class" in kind.__name__ else kind(5)
    )
    forest = forest_of(model.fit(rows, truths))
    assert forest is not None
    assert forest._joined is None
    found = forest.means(rows)
    assert found is not None
    assert same_bits(found, own(model, rows))


def test_values_below_zero_and_their_zeros() -> None:
    rows = np.arange(20.0).reshape(-1, 1)
    for truths in (np.full(20, -0.0), -rows[:, 0], np.where(rows[:, 0] > 9, -1e300, 1e300)):
        model = RandomForestRegressor(7, random_state=0).fit(rows, truths)
        forest = forest_of(model)
        assert forest is not None
        for size in (1, 2, 20):
            found = forest.means(rows[:size])
            assert found is not None
            assert same_bits(found, own(model, rows[:size]))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_rows_that_the_forest_is_asked_about_itself() -> None:
    rows, truths = make_classification(100, 6, random_state=0)
    gaps = rows.copy()
    gaps[::7, 2] = np.nan
    model = RandomForestClassifier(9, random_state=0).fit(gaps, truths)
    forest = forest_of(model)
    assert forest is not None
    large = rows[:3].copy()
    large[1, 1] = 1e39
    for one in (gaps[:8], large, rows[:3].astype(object), rows[:3].tolist(), rows[:3, :5], rows[0]):
        assert forest.means(one) is None
    inputs = [Tensor(name=f"x{i}", datatype="FP64", missing_allowed=True) for i in range(6)]
    outputs = [
        Tensor(name="class", datatype="INT64"),
        Tensor(name="probabilities", datatype="FP64", shape=[2]),
    ]
    signature = Signature(task="classification", inputs=inputs, outputs=outputs, classes=["0", "1"])
    answering = AnsweringEstimator(model, signature)
    assert same_bits(answering.answers(gaps[:8]).probabilities, model.predict_proba(gaps[:8]))
    with pytest.raises(ValueError, match="too large"):
        answering.answers(large)


def test_others_are_asked_themselves() -> None:
    rows, truths = make_classification(100, 6, random_state=0)

    class Own(RandomForestClassifier):  # type: ignore[misc]
        """Predicts as it likes."""

    several = RandomForestClassifier(3).fit(rows, np.column_stack((truths, truths)))
    unfitted = RandomForestClassifier(3)
    for model in (
        Own(3).fit(rows, truths),
        BaggingClassifier().fit(rows, truths),
        several,
        unfitted,
    ):
        assert forest_of(model) is None


def test_the_model_stays_as_it_is() -> None:
    rows, truths = make_classification(100, 6, random_state=0)
    model = RandomForestClassifier(4, random_state=0).fit(rows, truths)
    before = copy.deepcopy([tree.tree_.__getstate__() for tree in model.estimators_])
    forest = forest_of(model)
    assert forest is not None
    forest.means(rows)
    for state, tree in zip(before, model.estimators_, strict=True):
        after = tree.tree_.__getstate__()
        assert (state["nodes"] == after["nodes"]).all()
        assert (state["values"] == after["values"]).all()
