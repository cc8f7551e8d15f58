"""A linear model asked by its coefficients answers as scikit-learn's own does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
)

from trimtab.contract.estimators.linear import linear_of

MODELS = [
    LogisticRegression(),
    LogisticRegression(fit_intercept=False, C=100.0),
    LogisticRegression(solver="liblinear"),
    LinearRegression(),
    Ridge(),
    Ridge(fit_intercept=False),
    Lasso(0.01),
    ElasticNet(0.01),
]


def same_bits(one: Any, other: Any) -> bool:
    return one.shape == other.shape and np.ascontiguousarray(one).tobytes() == (
        np.ascontiguousarray(other).tobytes()
    )


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(
    place=some.integers(0, len(MODELS) - 1),
    classes=some.sampled_from([2, 3, 10]),
    scale=some.sampled_from([1e-3, 1.0, 1e6]),
    seed=some.integers(0, 1000),
    order=some.sampled_from(["C", "F"]),
)
def test_the_same_bits(place: int, classes: int, scale: float, seed: int, order: Any) -> None:
    model = MODELS[place]
    if getattr(model, "solver", "") == "liblinear":
        classes = 2
    random = np.random.default_rng(seed)
    rows = np.asarray(random.normal(size=(200, 6)) * scale, order=order)
    model.fit(rows, random.integers(0, classes, 200))
    linear = linear_of(model)
    assert linear is not None
    for size in (1, 2, 7, 64, 200):
        found = linear.means(rows[:size])
        if hasattr(model, "predict_proba"):
            assert same_bits(found, model.predict_proba(rows[:size]))
        else:
            assert same_bits(found, model.predict(rows[:size]).reshape(size, -1))


def test_several_targets() -> None:
    random = np.random.default_rng(0)
    rows, targets = random.normal(size=(50, 4)), random.normal(size=(50, 3))
    for model in (LinearRegression(), Ridge(), Lasso(0.01)):
        linear = linear_of(model.fit(rows, targets))
        assert linear is not None
        assert same_bits(linear.means(rows), model.predict(rows))


def test_what_the_model_is_asked_itself() -> None:
    class Own(LogisticRegression):  # type: ignore[misc]
        """Predicts as it likes."""

    random = np.random.default_rng(0)
    rows, truths = random.normal(size=(50, 4)), random.integers(0, 2, 50)
    single = LogisticRegression().fit(rows.astype(np.float32), truths)
    for model in (
        Own().fit(rows, truths),
        SGDClassifier().fit(rows, truths),
        LogisticRegression(),
        single,
    ):
        assert linear_of(model) is None
    linear = linear_of(LogisticRegression().fit(rows, truths))
    assert linear is not None
    gaps = rows.copy()
    gaps[3, 2] = np.nan
    for one in (gaps, rows.astype(np.float32), rows[:, :3], rows[0], rows[:0], rows.tolist()):
        assert linear.means(one) is None
