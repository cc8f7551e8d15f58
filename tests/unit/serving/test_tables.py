"""A model fitted on a table is published, served by the real runtime, and answers as it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.unit.serving.loopback import Client, serving, vector
from tests.unit.serving.tables import (
    overflowing,
    passengers,
    request,
    survived,
    table_models,
    text_models,
    texts,
)

from trimtab.contract.artifact import Manifest, Signature, Tensor
from trimtab.serving.settings import ServingSettings
from trimtab.training import Published, publish
from trimtab.training.errors import DataBroken

PEOPLE = passengers()
TRUTH = survived(PEOPLE)
TABLE_MODELS = table_models()
TEXT_MODELS = text_models()


def published(model: Any, folder: Path, rows: Any, truth: Any, **options: Any) -> Published:
    third = len(truth) // 3
    parts = [slice(0, third), slice(third, 2 * third), slice(2 * third, None)]
    pairs = [(rows.iloc[one] if hasattr(rows, "iloc") else rows[one], truth[one]) for one in parts]
    return publish(
        model,
        *pairs[0],
        calibrate=pairs[1],
        evaluate=pairs[2],
        uri=folder.as_uri(),
        model_name="digits",
        version="v1",
        **options,
    )


def folder_of(made: Published) -> Path:
    return Path(made.uri.removeprefix("file://"))


def signature_of(made: Published) -> Signature:
    return Signature.model_validate_json((folder_of(made) / "signature.json").read_bytes())


def served(settings: ServingSettings, made: Published) -> ServingSettings:
    return replace(settings, artifact_uri=made.uri, artifact_digest=made.digest)


async def answers(client: Client, inputs: list[dict[str, Any]]) -> tuple[list[Any], Any]:
    answer = await client.infer(inputs)
    assert answer.status_code == 200, answer.text
    chosen, probabilities = answer.json()["outputs"]
    return chosen["data"], np.reshape(probabilities["data"], probabilities["shape"])


@pytest.mark.parametrize("name", TABLE_MODELS)
async def test_a_table_is_served_as_one(
    name: str, settings: ServingSettings, tmp_path: Path
) -> None:
    model = clone(TABLE_MODELS[name])
    made = published(model, tmp_path / "store", PEOPLE, TRUTH)
    signature = signature_of(made)
    manifest = Manifest.model_validate_json((folder_of(made) / "manifest.json").read_bytes())
    assert (signature.takes, "pandas" in manifest.frameworks) == ("matrix", False)
    async with serving(served(settings, made)) as client:
        for at in range(0, len(PEOPLE), 60):
            rows = PEOPLE.iloc[at : at + 60]
            chosen, probabilities = await answers(client, request(rows, signature.inputs))
            assert chosen == model.predict(rows).tolist()
            np.testing.assert_allclose(probabilities, model.predict_proba(rows))


@pytest.mark.parametrize("name", TEXT_MODELS)
@pytest.mark.parametrize("given", [list, np.array, pd.Series])
async def test_texts_are_one_input(
    name: str, given: Any, settings: ServingSettings, tmp_path: Path
) -> None:
    model = clone(TEXT_MODELS[name])
    rows, truth = texts()
    made = published(model, tmp_path / "store", given(rows), truth)
    signature = signature_of(made)
    assert [(one.name, one.datatype, one.shape) for one in signature.inputs] == [
        ("text", "BYTES", [])
    ]
    assert signature.inputs[0].categories is None
    one = {"name": "text", "datatype": "BYTES", "shape": [len(rows)], "data": rows}
    async with serving(served(settings, made)) as client:
        chosen, _ = await answers(client, [one])
    assert chosen == model.predict(rows).tolist()


async def _is_served(
    settings: ServingSettings, made: Published, model: Any, rows: Any, frame: pd.DataFrame
) -> Signature:
    """The answers to `rows`, asked for as `frame` says, are those of the model itself."""
    signature = signature_of(made)
    async with serving(served(settings, made)) as client:
        chosen, probabilities = await answers(client, request(frame, signature.inputs))
    assert [str(one) for one in chosen] == [str(one) for one in model.predict(rows)]
    np.testing.assert_allclose(probabilities, model.predict_proba(rows))
    return signature


async def test_columns_named_by_numbers_are_inputs_named_so(
    settings: ServingSettings, tmp_path: Path
) -> None:
    frame = PEOPLE[["age", "fare", "sex"]].set_axis([0, 7, 3], axis=1)
    model = make_pipeline(
        ColumnTransformer([("word", OneHotEncoder(), [2])], remainder=SimpleImputer()),
        LogisticRegression(),
    )
    made = published(model, tmp_path, frame, TRUTH)
    signature = await _is_served(settings, made, model, frame[:50], frame[:50])
    assert [one.name for one in signature.inputs] == ["0", "7", "3"]


async def test_only_what_the_pipeline_looks_at_is_asked_for(
    settings: ServingSettings, tmp_path: Path
) -> None:
    model = TABLE_MODELS["names"].fit(PEOPLE, TRUTH)
    other = PEOPLE[PEOPLE.columns[::-1]].assign(more=1.0)
    made = published(model, tmp_path, other, TRUTH)
    signature = await _is_served(settings, made, model, PEOPLE[:60], PEOPLE[:60])
    assert [(one.name, one.missing_allowed) for one in signature.inputs] == [
        ("sex", False),
        ("age", True),
        ("fare", False),
        ("embarked", True),
        ("deck", True),
    ]


async def test_inputs_may_be_given_in_an_order_of_their_own(
    settings: ServingSettings, tmp_path: Path
) -> None:
    inputs = [
        Tensor(name="deck", datatype="BYTES", missing_allowed=True, missing_as="nan"),
        Tensor(name="fare", datatype="FP32"),
        Tensor(name="age", datatype="FP64", missing_allowed=True),
        Tensor(name="sibsp", datatype="INT64"),
        Tensor(name="sex", datatype="BYTES"),
        Tensor(name="embarked", datatype="BYTES", missing_allowed=True, missing_as="nan"),
    ]
    model = clone(TABLE_MODELS["names"])
    rows = PEOPLE.assign(fare=PEOPLE["fare"].round())
    made = published(model, tmp_path, rows, TRUTH, inputs=inputs)
    await _is_served(settings, made, model, rows[:60], rows[:60])
    with pytest.raises(DataBroken, match="inputs leave out 'sex'"):
        published(clone(model), tmp_path, rows, TRUTH, inputs=inputs[:4])


async def test_a_frame_of_polars_is_a_table(settings: ServingSettings, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    frame = PEOPLE[["age", "sex", "embarked", "alone", "pclass", "boarded"]]
    rows = pl.DataFrame(
        {name: [None if pd.isna(one) else one for one in frame[name]] for name in frame}
    )
    model = make_pipeline(
        ColumnTransformer(
            [
                ("words", OneHotEncoder(), ["sex", "embarked"]),
                ("age", SimpleImputer(), ["age"]),
                ("drop", "drop", ["boarded"]),
            ],
            remainder="passthrough",
        ),
        LogisticRegression(max_iter=1000),
    )
    made = published(model, tmp_path, rows, TRUTH)
    signature = await _is_served(settings, made, model, rows[:50], frame[:50])
    marks = {one.name: one.missing_as for one in signature.inputs if one.missing_allowed}
    assert marks == {"age": "nan", "embarked": "null"}
    text, truth = texts()
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    made = published(words, tmp_path, pl.Series("review", text), truth)
    assert [one.name for one in signature_of(made).inputs] == ["review"]


async def test_missing_words_and_truths_reach_the_model_as_they_did(
    settings: ServingSettings, tmp_path: Path
) -> None:
    random = np.random.default_rng(2)
    none, nan = np.array([None, "a", "b"]), np.array([np.nan, "a", "b"], dtype=object)
    frame = pd.DataFrame(
        {
            "none": pd.Series(random.choice(none, 300), dtype=object),
            "nan": pd.Series(random.choice(nan, 300), dtype=object),
            "truth": pd.Series(random.choice(np.array([None, True, False]), 300), dtype=object),
            "whole": pd.Series(random.choice(np.array([None, 1, 2]), 300), dtype=object),
        }
    )
    truth = np.where(frame["none"].isna() ^ (frame["nan"] == "a"), "x", "y")
    model = make_pipeline(OneHotEncoder(), LogisticRegression())
    made = published(model, tmp_path, frame, truth)
    signature = await _is_served(settings, made, model, frame, frame)
    assert [one.missing_as for one in signature.inputs] == ["null", "nan", "null", "null"]
    assert [one.datatype for one in signature.inputs] == ["BYTES", "BYTES", "BOOL", "FP64"]


async def test_a_matrix_of_objects_is_a_table_without_names(
    settings: ServingSettings, tmp_path: Path
) -> None:
    rows = PEOPLE[["age", "sex", "alone"]].to_numpy(dtype=object)
    model = make_pipeline(
        ColumnTransformer([("age", SimpleImputer(), [0])], remainder=OneHotEncoder()),
        LogisticRegression(),
    )
    made = published(model, tmp_path, rows, TRUTH)
    named = pd.DataFrame(rows[:40], columns=["x0", "x1", "x2"])
    signature = await _is_served(settings, made, model, rows[:40], named)
    assert [one.datatype for one in signature.inputs] == ["FP64", "BYTES", "BOOL"]


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csr_array, sparse.coo_matrix])
async def test_sparse_rows_are_one_vector(
    form: Any, settings: ServingSettings, tmp_path: Path
) -> None:
    text, truth = texts()
    rows = sparse.csr_matrix(CountVectorizer().fit_transform(text))
    model = LogisticRegression()
    thirds = [
        (form(rows[one]), truth[one]) for one in (slice(80), slice(80, 160), slice(160, None))
    ]
    made = publish(
        model,
        *thirds[0],
        calibrate=thirds[1],
        evaluate=thirds[2],
        uri=tmp_path.as_uri(),
        model_name="digits",
        version="v1",
    )
    assert [(one.name, one.shape) for one in signature_of(made).inputs] == [("x", [rows.shape[1]])]
    async with serving(served(settings, made)) as client:
        chosen, _ = await answers(client, vector(rows[:30].toarray()))
    assert chosen == model.predict(rows[:30]).tolist()


async def test_times_are_sent_as_text(settings: ServingSettings, tmp_path: Path) -> None:
    model = clone(TABLE_MODELS["dates"])
    made = published(model, tmp_path, PEOPLE, TRUTH)
    when = {one.name: one for one in signature_of(made).inputs}["boarded"]
    assert (when.datatype, when.unit, when.watched) == ("BYTES", "us", False)
    sex = {"name": "sex", "datatype": "BYTES", "shape": [2], "data": ["male", "male"]}
    sent = {"name": "boarded", "datatype": "BYTES", "shape": [2]}
    async with serving(served(settings, made)) as client:
        same = ["1912-04-10T02:00:00Z", "1912-04-10T04:00:00+02:00"]
        _, probabilities = await answers(client, [sex, sent | {"data": same}])
        wrong = await client.infer([sex, sent | {"data": ["1912-04-10", "soon"]}])
        absent = await client.infer([sex, sent | {"data": ["1912-04-10", None]}])
    row = pd.DataFrame({"sex": ["male"], "boarded": [pd.Timestamp("1912-04-10 02:00")]})
    rows = PEOPLE[:1].assign(sex=row["sex"], boarded=row["boarded"])
    np.testing.assert_allclose(probabilities, np.repeat(model.predict_proba(rows), 2, axis=0))
    assert wrong.status_code == absent.status_code == 400
    assert "inputs[1].data[1]: a time is wanted" in wrong.json()["error"]


async def test_a_model_that_needs_a_table_is_given_one(
    settings: ServingSettings, tmp_path: Path
) -> None:
    rows, model = overflowing()
    made = published(model, tmp_path, rows, TRUTH)
    signature = signature_of(made)
    manifest = Manifest.model_validate_json((folder_of(made) / "manifest.json").read_bytes())
    assert (signature.takes, "pandas" in manifest.frameworks) == ("table", True)
    async with serving(served(settings, made)) as client:
        chosen, probabilities = await answers(client, request(rows, signature.inputs))
        too_large = request(rows[:1].astype({"cabin": "int64"}).assign(cabin=300), signature.inputs)
        refused = await client.infer(too_large)
    assert chosen == model.predict(rows).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(rows))
    assert (refused.status_code, "300" in refused.json()["error"]) == (400, True)


def test_no_pandas_is_needed_to_serve_a_table(tmp_path: Path) -> None:
    """In a process of its own, in which pandas and polars cannot be imported."""
    asked = []
    for name, model in TABLE_MODELS.items():
        made = published(clone(model), tmp_path / name.replace(" ", "-"), PEOPLE, TRUTH)
        inputs = request(PEOPLE[:20], signature_of(made).inputs)
        asked.append({"folder": str(folder_of(made)), "inputs": inputs})
    script = """
import json, sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "polars", "pyarrow"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.stored import load_skops
from trimtab.serving.inference.validation import Inputs
for one in json.load(sys.stdin):
    folder = Path(one["folder"])
    signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
    model = AnsweringEstimator(load_skops(folder / "model.skops"), signature)
    rows = Inputs(signature, 100).read(one["inputs"])
    print(len(model.answers(rows).probabilities))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=json.dumps(asked),
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["20"] * len(TABLE_MODELS)


async def test_a_category_that_the_encoder_does_not_know_is_the_callers(
    settings: ServingSettings, tmp_path: Path
) -> None:
    """Its default is to raise; nobody else's rows and no fault of the model are told so."""
    rows = PEOPLE[["sex", "fare"]]
    columns = ColumnTransformer([("sex", OneHotEncoder(), ["sex"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(rows, TRUTH)
    made = published(model, tmp_path, rows, TRUTH)
    inputs = signature_of(made).inputs
    async with serving(served(settings, made)) as client:
        known, unknown = rows[:1], rows[:1].assign(sex="unheard of")
        answers = [await client.infer(request(one, inputs)) for one in (known, unknown, known)]
        counted = await client.metrics()
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    said = answers[1].json()["error"]
    assert said.startswith("inputs: the model was not fitted on such a value: ")
    assert said.endswith(": sex: Found unknown categories ['unheard of']")
    assert counted["trimtab_requests_total{code=400}"] == 1
    assert counted.get("trimtab_requests_total{code=500}", 0) == 0
