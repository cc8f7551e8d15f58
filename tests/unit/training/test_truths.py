"""What `publish` refuses before anything is fitted or written, and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab.contract.artifact import Signature
from trimtab.training import publish
from trimtab.training.errors import CodeBroken, DataBroken, TrainingError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = (X[:, 0] > 0).astype(int)
VALUES = X @ np.array([1.0, 2.0, 3.0])


def published(folder: Path, model: Any, rows: Any, truths: Any, **more: Any) -> Signature:
    made = publish(model, rows, truths, uri=folder.as_uri(), model_name="m", version="v1", **more)
    return Signature.model_validate_json(
        (Path(made.uri.removeprefix("file://")) / "signature.json").read_bytes()
    )


def with_value(values: Any, row: int, value: Any) -> Any:
    changed = np.array(values, dtype=object)
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("truths", "says"),
    [
        pytest.param(Y[:-1], "y has 299 truths, its X has 300 rows", id="shorter"),
        pytest.param(np.append(Y, 1), "y has 301 truths", id="longer"),
        pytest.param(np.zeros((300, 2, 2)), "3 dimensions", id="cube"),
        pytest.param(np.eye(3)[Y + 1], r"y.argmax\(axis=1\)", id="one_hot"),
        pytest.param(
            np.column_stack((Y, Y)) * np.array([1, 1]), "MultiOutputClassifier", id="two_columns"
        ),
        pytest.param(with_value(Y, 17, np.nan), "1 missing values, the first in row 17", id="nan"),
        pytest.param(with_value(Y, 17, None), "the first in row 17", id="none"),
        pytest.param(with_value(Y, 5, "b"), "numbers and, from row 5 on, texts", id="mixed"),
        pytest.param(with_value(Y, 5, {"a": 1}), "a dict in row 5", id="object"),
        pytest.param(np.zeros(300), r"one class only, 0\.0", id="one_class"),
        pytest.param(VALUES, "LogisticRegression predicts classes", id="values"),
        pytest.param(pd.Series(["2026-01-01"] * 300, dtype="datetime64[ns]"), "times", id="times"),
        pytest.param("label", "one truth a row is wanted", id="a_name"),
        pytest.param(with_value(Y, 5, np.inf).astype(float), "infinite.* row 5", id="infinite"),
        pytest.param(Y.astype(np.uint64) + np.uint64(2**63), "make the classes texts", id="wide"),
        pytest.param([[1], [1, 2]] * 150, "different lengths", id="ragged"),
    ],
)
def test_wrong_truths_are_refused_with_the_place(truths: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match=says):
        published(tmp_path / "m", LogisticRegression(), X, truths)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("truths", "says"),
    [
        pytest.param(np.array(["low"] * 300), "'low', and LinearRegression", id="texts"),
        pytest.param(with_value(VALUES, 9, np.inf).astype(float), "infinite.* row 9", id="inf"),
        pytest.param(np.ones(300) * 1j, "complex", id="complex"),
    ],
)
def test_a_regression_takes_finite_numbers(truths: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match=says):
        published(tmp_path, LinearRegression(), X, truths)


def test_whole_numbers_are_values_where_the_model_is_a_regression(tmp_path: Path) -> None:
    """As a person with counts has them; labels alone would say classes."""
    signature = published(tmp_path, LinearRegression(), X, np.round(VALUES).astype(int))
    assert signature.task == "regression"


@pytest.mark.parametrize("shape", ["column", "frame", "series", "list"])
def test_one_column_is_one_truth_a_row(shape: str, tmp_path: Path) -> None:
    names = np.array(["no", "yes"])[Y]
    given: Any = {
        "column": names.reshape(-1, 1),
        "frame": pd.DataFrame({"label": names}),
        "series": pd.Series(names, index=range(900, 1200)),
        "list": names.tolist(),
    }[shape]
    assert published(tmp_path, LogisticRegression(), X, given).classes == ["no", "yes"]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(LogisticRegression, "is a class; give an estimator", id="class"),
        pytest.param(StandardScaler(), "has no predict", id="scaler"),
        pytest.param(DBSCAN(), "has no predict", id="transductive"),
        pytest.param({"model": 1}, "dict has no fit", id="dict"),
    ],
)
def test_what_is_no_estimator_is_refused(model: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=says):
        published(tmp_path, model, X, Y)


def test_what_the_model_says_of_the_rows_is_handed_on(tmp_path: Path) -> None:
    gaps = X.copy()
    gaps[:200, 1] = np.nan
    with pytest.raises(CodeBroken, match=r"LogisticRegression could not be fitted: .*NaN"):
        published(tmp_path, LogisticRegression(), gaps, Y)
    with pytest.raises(CodeBroken, match=r"could not answer the rows given to it: .*NaN"):
        published(tmp_path, LogisticRegression(), X, Y, calibrate=(X, Y), evaluate=(gaps, Y))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        pytest.param({"calibrate": (X, Y)}, "both calibrate and evaluate", id="one_only"),
        pytest.param({"calibrate": X, "evaluate": (X, Y)}, r"calibrate=\(X, y\)", id="no_pair"),
        pytest.param(
            {"calibrate": (X, Y), "evaluate": (X, Y[1:])},
            "y of evaluate has 299 truths",
            id="lengths",
        ),
        pytest.param(
            {"calibrate": (X, Y), "evaluate": (X, np.where(Y, 2, 0))},
            "y of evaluate holds '2' in row .* no class of the model",
            id="unknown_class",
        ),
        pytest.param(
            {"calibrate": (X, Y), "evaluate": (X, Y), "task": "regression"},
            "LogisticRegression does classification",
            id="task",
        ),
    ],
)
def test_rows_of_their_own_are_held_to_the_same(
    more: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=says):
        published(tmp_path, LogisticRegression().fit(X, Y), X, Y, **more)


def test_classes_beyond_doubles_stay_apart(tmp_path: Path) -> None:
    truths = Y + 2**53
    signature = published(tmp_path, LogisticRegression(), X, truths)
    assert signature.classes == [str(2**53), str(2**53 + 1)]


@pytest.mark.parametrize("kind", [float, "Int64", "boolean"])
def test_a_fitted_model_of_classes_as_fractions_is_told_what_to_change(
    kind: Any, tmp_path: Path
) -> None:
    truths = pd.Series(Y.astype(bool)).astype(kind)
    model = LogisticRegression().fit(X, Y.astype(float))
    with pytest.raises(DataBroken, match=r"fit it with whole ones: y.astype\(int\)"):
        published(tmp_path, model, X, truths, calibrate=(X, truths), evaluate=(X, truths))


def test_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match="X is missing"):
        published(tmp_path, LogisticRegression(), None, Y)


def test_a_model_that_fails_on_a_missing_truth_value_is_refused(tmp_path: Path) -> None:
    flags = pd.Series((RNG.random(300) > 0.5).tolist(), dtype=object)
    flags[::5] = None
    rows = pd.DataFrame({"flag": flags})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    with pytest.raises(CodeBroken, match="requests would, too"):
        published(tmp_path, model, rows, Y)
