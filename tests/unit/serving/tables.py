"""Tables as people have them, models on them, and the requests that their clients send."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from trimtab.contract.artifact import Tensor

ROWS = 360


def passengers(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """The columns of the table that everybody starts with, in an order of its own."""
    random = np.random.default_rng(seed)
    age = random.normal(30, 14, rows).clip(0.4, 80).round(1)
    deck = random.choice(["A", "B", "C", "D"], rows).astype(object)
    deck[random.random(rows) < 0.4] = None
    harbour = random.choice(["Cherbourg", "Queenstown", "Southampton"], rows).astype(object)
    harbour[:3] = None
    return pd.DataFrame(
        {
            "name": [f"passenger {one}" for one in range(rows)],
            "boarded": pd.date_range("1912-04-10", periods=rows, freq="min"),
            "pclass": random.integers(1, 4, rows),
            "sex": random.choice(["male", "female"], rows),
            "age": np.where(random.random(rows) < 0.2, np.nan, age),
            "sibsp": pd.Series(random.integers(0, 5, rows)).astype("Int64"),
            "fare": random.lognormal(3, 1, rows).round(4),
            "embarked": pd.Series(harbour, dtype="str"),
            "deck": pd.Categorical(deck, categories=["A", "B", "C", "D", "E"]),
            "alone": random.random(rows) < 0.6,
            "crew": pd.Series(
                random.choice(np.array([True, False, None], dtype=object), rows), dtype="boolean"
            ),
            "class": pd.Categorical(random.choice([1, 2, 3], rows)),
        }
    )


def survived(frame: pd.DataFrame, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    logit = (
        2.0 * (frame["sex"] == "female")
        - 0.7 * (frame["pclass"] - 2)
        - 0.02 * frame["age"].fillna(30)
        + 0.8 * (frame["deck"].astype(object) == "B")
    )
    drawn = random.random(len(frame)) < 1 / (1 + np.exp(-logit.to_numpy(dtype=float)))
    return np.where(drawn, "yes", "no")


def overflowing() -> tuple[pd.DataFrame, Pipeline]:
    """A table, and a model of it that only a table can be given: squares of an `int8` overflow.

    In a matrix of float64 they do not, and the answers are others.
    """
    people = passengers()
    rows = people[["fare"]].assign(cabin=people["age"].fillna(40).astype("int8"))
    squares = ColumnTransformer(
        [("square", FunctionTransformer(np.square), ["cabin"])], remainder=StandardScaler()
    )
    return rows, make_pipeline(squares, RandomForestClassifier(20, max_depth=5, random_state=0))


NUMBERS = ["age", "fare"]
WORDS = ["sex", "embarked", "deck"]


def _numbers(**options: Any) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median", **options), StandardScaler())


def _words() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore")


def _classic(**options: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [("numbers", _numbers(), NUMBERS), ("words", _words(), WORDS)], **options
    )


def table_models() -> dict[str, Any]:
    """Models of a table, by what is special about them."""
    logistic = LogisticRegression(max_iter=2000)
    selected = make_column_transformer(
        (_numbers(add_indicator=True), make_column_selector(dtype_include="float")),
        (_words(), make_column_selector(dtype_include=["str", "category"])),
    )
    return {
        "names": make_pipeline(_classic(), logistic),
        "selectors": make_pipeline(selected, logistic),
        "passthrough": make_pipeline(
            ColumnTransformer(
                [
                    ("numbers", _numbers(), NUMBERS),
                    ("words", _words(), WORDS),
                    ("x", "drop", ["name", "boarded", "crew", "class"]),
                ],
                remainder="passthrough",
            ),
            logistic,
        ),
        "pandas out": make_pipeline(
            ColumnTransformer(
                [
                    ("numbers", _numbers(), NUMBERS),
                    ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
                ],
                verbose_feature_names_out=False,
            ).set_output(transform="pandas"),
            ColumnTransformer([("scaled", MinMaxScaler(), ["fare"])], remainder="passthrough"),
            logistic,
        ),
        "nested": make_pipeline(
            ColumnTransformer(
                [
                    (
                        "inner",
                        ColumnTransformer(
                            [
                                ("age", SimpleImputer(), ["age"]),
                                ("fare", KBinsDiscretizer(4), ["fare"]),
                            ]
                        ),
                        ["fare", "age", "alone"],
                    ),
                    ("sex", _words(), ["sex"]),
                ]
            ),
            logistic,
        ),
        "union": make_pipeline(
            FeatureUnion(
                [
                    ("one", _classic()),
                    ("two", ColumnTransformer([("n", KNNImputer(), ["age", "pclass"])])),
                ]
            ),
            logistic,
        ),
        "frequent": make_pipeline(
            ColumnTransformer(
                [
                    (
                        "all",
                        make_pipeline(
                            SimpleImputer(strategy="most_frequent"),
                            OneHotEncoder(handle_unknown="ignore"),
                        ),
                        ["embarked", "sex", "deck"],
                    ),
                    (
                        "whole",
                        make_pipeline(SimpleImputer(strategy="most_frequent"), _words()),
                        ["pclass", "sibsp"],
                    ),
                    ("truth", OrdinalEncoder(), ["alone"]),
                    ("crew", OrdinalEncoder(encoded_missing_value=-1), ["crew", "class"]),
                ]
            ),
            RandomForestClassifier(10, random_state=0),
        ),
        "slices": make_pipeline(
            ColumnTransformer(
                [
                    ("numbers", _numbers(), slice("age", "fare")),
                    ("word", _words(), [3]),
                    ("mask", "passthrough", [name == "pclass" for name in passengers(5)]),
                ]
            ),
            logistic,
        ),
        "boosting": make_pipeline(
            ColumnTransformer(
                [("drop", "drop", ["name", "boarded"])],
                remainder="passthrough",
                verbose_feature_names_out=False,
            ).set_output(transform="pandas"),
            HistGradientBoostingClassifier(
                max_iter=8, categorical_features=["sex", "embarked", "deck"]
            ),
        ),
        "dates": make_pipeline(
            ColumnTransformer(
                [("when", StandardScaler(), ["boarded"]), ("words", _words(), ["sex"])]
            ),
            logistic,
        ),
        "title": make_pipeline(
            ColumnTransformer(
                [
                    ("name", CountVectorizer(), "name"),
                    ("words", _words(), ["sex"]),
                    ("n", "passthrough", ["fare"]),
                ]
            ),
            logistic,
        ),
    }


def texts(rows: int = 240) -> tuple[list[str], NDArray[Any]]:
    random = np.random.default_rng(3)
    words = np.array(["good", "fine", "bad", "poor", "a", "the", "so"])
    made = [" ".join(random.choice(words, 6)) for _ in range(rows)]
    truth = np.array([int("good" in one or "fine" in one) for one in made])
    truth[random.random(rows) < 0.1] ^= 1
    return made, truth


def text_models() -> dict[str, Any]:
    return {
        "tfidf": make_pipeline(TfidfVectorizer(), LogisticRegression()),
        "union of texts": make_pipeline(
            FeatureUnion(
                [("words", TfidfVectorizer()), ("pairs", CountVectorizer(ngram_range=(2, 2)))]
            ),
            LogisticRegression(),
        ),
    }


def request(frame: pd.DataFrame, inputs: list[Tensor]) -> list[dict[str, Any]]:
    """What a client makes of a table for KServe: a tensor a column, null where nothing is."""
    by_name = {str(name): place for place, name in enumerate(frame.columns)}
    tensors: list[dict[str, Any]] = []
    for tensor in inputs:
        column = frame.iloc[:, by_name[tensor.name]]
        values = [
            None if missing else _plain(value)
            for value, missing in zip(column, column.isna(), strict=True)
        ]
        tensors.append(
            {
                "name": tensor.name,
                "datatype": _datatype(values, tensor),
                "shape": [len(frame)],
                "data": values,
            }
        )
    return tensors


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


def _datatype(values: list[Any], tensor: Tensor) -> str:
    """What is in the column, as clients tell it; whole numbers may be sent as such."""
    if all(type(value) is int for value in values):
        return "INT64"
    return tensor.datatype
