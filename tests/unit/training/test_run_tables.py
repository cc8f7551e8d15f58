"""Retraining goes on where the champion was fitted on a table: names, dates, categories, gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.unit.training.conftest import MADE, Job, people
from xgboost import XGBClassifier

from trimtab.contract.artifact import Signature
from trimtab.training import Published, publish

INPUTS = ["age", "income", "city", "joined", "children", "member"]


def customers(n: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    """As `people`, with a date, whole numbers of which some are missing, and a truth value."""
    random = np.random.default_rng(seed)
    rows = people(n, seed, shift=shift)
    days = pd.to_timedelta(random.integers(0, 2000, n), unit="D")
    return rows.assign(
        joined=pd.Timestamp("2020-01-01") + days,
        children=np.where(random.random(n) < 0.1, np.nan, random.integers(0, 5, n)),
        member=random.random(n) < 0.5,
    )


def of_columns(final: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [
        ("texts", texts, make_column_selector(dtype_include=[object, "str"])),
        ("numbers", numbers, ["age", "income", "children"]),
        ("dates", "passthrough", ["member"]),
    ]
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=0), final)


MODELS: dict[str, Any] = {
    "linear": of_columns(LogisticRegression()),
    "xgboost": of_columns(XGBClassifier(n_estimators=5)),
    "lightgbm": of_columns(LGBMClassifier(n_estimators=5, verbose=-1)),
    "of_dtype": HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10),
}


def first(model: Any, folder: Path, columns: list[str], as_category: bool) -> Published:
    frames = [customers(600, seed) for seed in (1, 2, 3)]
    if as_category:
        frames = [one.astype({"city": "category"}) for one in frames]
    label = (lambda one: (one["bought"] == "yes").astype(int)) if _counts(model) else _named
    pairs = [(one[columns], label(one)) for one in frames]
    return publish(
        model,
        *pairs[0],
        calibrate=pairs[1],
        evaluate=pairs[2],
        uri=f"file://{folder}/models/v1",
        model_name="shop",
        version="v1",
        created=MADE,
    )


def _counts(model: Any) -> bool:
    return type(getattr(model, "steps", [(0, model)])[-1][1]).__name__ == "XGBClassifier"


def _named(rows: pd.DataFrame) -> Any:
    return rows["bought"]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "estimator", ["sklearn.linear_model.Ridge", "sklearn.ensemble.HistGradientBoosting", "same"]
)
def test_it_is_trained_again(name: str, estimator: str, job: Job, tmp_path: Path) -> None:
    columns = ["age", "income", "city", "children"] if name == "of_dtype" else INPUTS
    made = first(MODELS[name], tmp_path, columns, name == "of_dtype")
    before = Signature.model_validate_json(
        Path(f"{made.uri.removeprefix('file://')}/signature.json").read_bytes()
    )
    rows = customers(1500, 9, shift=10)
    if name == "xgboost":
        rows["bought"] = (rows["bought"] == "yes").astype(int)
    job.data(rows)
    job.champion(made)
    job.gate(notWorseBy=0.5)
    path = {
        "same": "xgboost.XGBClassifier" if name == "xgboost" else "lightgbm.LGBMClassifier",
        "sklearn.linear_model.Ridge": "sklearn.linear_model.RidgeClassifier",
        "sklearn.ensemble.HistGradientBoosting": "sklearn.ensemble.HistGradientBoostingClassifier",
    }[estimator]
    code, report = job.run_as(path, "--time-column", "time")
    assert (code, report["verdict"]) == (0, "accepted"), report
    after = Signature.model_validate_json(
        Path(f"{report['uri'].removeprefix('file://')}/signature.json").read_bytes()
    )
    assert [one.name for one in after.inputs] == [one.name for one in before.inputs]
    assert [one.datatype for one in after.inputs] == [one.datatype for one in before.inputs]
