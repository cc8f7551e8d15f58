"""Estimators within estimators are stored and answer as before, in whatever combination."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from scipy.stats import uniform
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif, mutual_info_classif
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, RANSACRegressor, Ridge, SGDClassifier
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from trimtab.contract.estimators.stored import load_skops
from trimtab.serving.rehearsal import Rehearsal
from trimtab.training import publish
from trimtab.training.models import pack

RANDOM = np.random.default_rng(0)
X = np.abs(RANDOM.normal(size=(60, 4)))
X[::9, 1] = np.nan
TRUTHS = (np.nan_to_num(X[:, 0] + X[:, 1]) > 1.5).astype(int)
LABELS = np.column_stack([TRUTHS, (X[:, 2] > 1).astype(int)])

STEPS = (
    StandardScaler(),
    PCA(2),
    SelectKBest(f_classif, k=2),
    SelectKBest(mutual_info_classif, k=2),
    KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
    KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    SplineTransformer(3),
    QuantileTransformer(n_quantiles=10),
    FunctionTransformer(np.cbrt),
    FunctionTransformer(scipy.special.expit),
    FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}),
    make_union(StandardScaler(), SplineTransformer(3)),
    ColumnTransformer([("a", StandardScaler(), [0])], remainder="passthrough", sparse_threshold=0),
)
FINALS = (
    LogisticRegression(),
    KNeighborsClassifier(3),
    KNeighborsClassifier(3, algorithm="kd_tree", weights="distance"),
    DecisionTreeClassifier(max_depth=3),
    RandomForestClassifier(3),
    GradientBoostingClassifier(n_estimators=3),
    GaussianNB(),
    MLPClassifier((4,), max_iter=5),
    SVC(),
    LinearSVC(),
    SGDClassifier(loss="modified_huber"),
)
SCORER = make_scorer(f1_score, pos_label=1)
WRAPPERS: tuple[Any, ...] = (
    lambda one: one,
    lambda one: GridSearchCV(one, {}, scoring=SCORER, cv=StratifiedKFold(2)),
    lambda one: CalibratedClassifierCV(one, cv=2),
    lambda one: CalibratedClassifierCV(one, method="isotonic", cv=StratifiedKFold(2)),
    lambda one: BaggingClassifier(one, n_estimators=2),
    lambda one: VotingClassifier([("a", one), ("b", DecisionTreeClassifier(max_depth=2))]),
    lambda one: StackingClassifier(
        [("a", one), ("b", DecisionTreeClassifier(max_depth=2))], cv=StratifiedKFold(2)
    ),
    lambda one: TunedThresholdClassifierCV(one, scoring=SCORER, cv=2),
    lambda one: FixedThresholdClassifier(one, threshold=0.3),
    OneVsRestClassifier,
    OneVsOneClassifier,
    lambda one: OutputCodeClassifier(one, random_state=0),
)


HELD = np.abs(RANDOM.normal(size=(120, 4)))
HELD[::9, 1] = np.nan
UNSEEN = np.concatenate([np.abs(RANDOM.normal(size=(40, 4))), HELD[:5] * 100])


def fit(model: Any, rows: Any, truths: Any) -> Any:
    """Return it fitted; what scikit-learn itself does not fit is no example."""
    try:
        return clone(model).fit(rows, truths)
    except ValueError:  # constant predictions, constant columns, ...
        reject()


def own(fitted: Any, rows: Any) -> Any:
    """Return what the model itself answers; one that cannot is no example."""
    try:
        return fitted.predict(rows)
    except ValueError:  # isotonic maps of a naive Bayes that is sure of nothing, ...
        reject()


def check_served(model: Any, rows: Any, truths: Any, held: Any, known: Any, unseen: Any) -> None:
    """Publish, load as a container does, and ask in requests; the answers are `predict`'s own."""
    with TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        fitted = fit(model, rows, truths)
        for some in (rows, held, unseen):
            own(fitted, some)
        found = publish(
            fitted,
            rows,
            truths,
            calibrate=(held[:60], known[:60]),
            evaluate=(held[60:], known[60:]),
            uri=folder.as_uri(),
            model_name="m",
            version="v1",
            input_name="x",
        )
        served = Rehearsal(found.uri, found.digest, folder, max_bytes=1 << 30)
        for some in (unseen[:1], unseen):
            wanted = np.asarray(own(fitted, some)).reshape(len(some), -1)
            np.testing.assert_array_equal(predicted(served, some), wanted)


def predicted(served: Rehearsal, rows: Any) -> Any:
    """Return what a request for `rows` is answered with, [n, targets]."""
    found = served.play(rows).prediction
    if found.targets is not None:
        return found.targets
    if found.values is not None:
        return found.values.reshape(len(rows), -1)
    if found.labels is not None:
        several = enumerate(served.signature.targets)
        return np.column_stack(
            [np.array(one.classes, int)[found.labels[:, t]] for t, one in several]
        )
    return np.array(served.signature.classes, int)[found.predicted].reshape(-1, 1)


def check_stored(model: Any, rows: Any = X, truths: Any = TRUTHS) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit(model, rows, truths)
        before = dict(vars(fitted))
        loaded = load_skops(pack(fitted).body)
        # Before it is asked: predict of StackingClassifier notes something of its own.
        assert all(vars(fitted)[name] is value for name, value in before.items())  # left alone
        np.testing.assert_array_equal(own(fitted, rows), loaded.predict(rows))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    imputer=st.sampled_from([SimpleImputer(), SimpleImputer(add_indicator=True), KNNImputer()]),
    steps=st.lists(st.sampled_from(STEPS), max_size=2),
    final=st.sampled_from(FINALS),
    wrapper=st.sampled_from(WRAPPERS),
    outside=st.booleans(),
)
def test_any_combination(
    imputer: Any, steps: list[Any], final: Any, wrapper: Any, outside: bool
) -> None:
    if outside:
        check_stored(wrapper(make_pipeline(imputer, *steps, final)))
    else:
        check_stored(make_pipeline(imputer, *steps, wrapper(final)))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=2),
    final=st.sampled_from(FINALS),
    wrapper=st.sampled_from(WRAPPERS),
    outside=st.booleans(),
)
def test_any_combination_is_published_and_served(
    steps: list[Any], final: Any, wrapper: Any, outside: bool
) -> None:
    inner = make_pipeline(SimpleImputer(), *steps, final if outside else wrapper(final))
    known = (np.nan_to_num(HELD[:, 0] + HELD[:, 1]) > 1.5).astype(int)
    check_served(wrapper(inner) if outside else inner, X, TRUTHS, HELD, known, UNSEEN)


FULL = np.nan_to_num(X)
NUMBERS = FULL @ np.array([1.0, 2.0, 3.0, 4.0]) + 1
CATEGORIES = np.column_stack([FULL, RANDOM.integers(0, 5, 60), RANDOM.integers(0, 100, 60)])


OWN_PARTS: list[tuple[Any, Any, Any]] = [
    (TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1), FULL, NUMBERS),
    (RandomizedSearchCV(Ridge(), {"alpha": uniform(1, 2)}, n_iter=2, cv=2), FULL, NUMBERS),
    (RANSACRegressor(loss=lambda a, b: abs(a - b), random_state=0), FULL, NUMBERS),
    (MultiOutputClassifier(KNeighborsClassifier(3)), FULL, LABELS),
    (ClassifierChain(DecisionTreeClassifier(max_depth=2), order="random"), FULL, LABELS),
    (BaggingClassifier(max_features=0.5, n_estimators=3), FULL, TRUTHS),
    (
        HistGradientBoostingClassifier(categorical_features=[4, 5], max_iter=3, min_samples_leaf=3),
        CATEGORIES,
        TRUTHS,
    ),
    (
        HistGradientBoostingRegressor(
            max_iter=3, early_stopping=True, scoring="neg_mean_absolute_error"
        ),
        FULL,
        NUMBERS,
    ),
]


@pytest.mark.parametrize(
    ("model", "rows", "truths"), OWN_PARTS, ids=lambda value: type(value).__name__
)
def test_those_with_parts_of_their_own(model: Any, rows: Any, truths: Any) -> None:
    check_stored(model, rows, truths)


@pytest.mark.parametrize(
    ("model", "rows", "truths"), OWN_PARTS, ids=lambda value: type(value).__name__
)
def test_those_with_parts_of_their_own_are_published_and_served(
    model: Any, rows: Any, truths: Any
) -> None:
    held, known = np.concatenate([rows] * 2), np.concatenate([truths] * 2)
    check_served(model, rows, truths, held, known, rows[::-1] + 0)
