"""Three small models and settings to serve them with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.unit.serving.stored import KEY, Stored, numeric, store, with_digest

from trimtab.contract.artifact import (
    Baseline,
    Calibration,
    CategoricalFeature,
    Signature,
    Tensor,
)
from trimtab.serving.settings import ServingSettings


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Logistic regression on one input of shape [4], classes "0" and "1"."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(400, 4))
    truth = (rows[:, 0] + 0.5 * rows[:, 1] > 0).astype(int)
    estimator = LogisticRegression().fit(rows, truth)
    scores = estimator.predict_proba(rows)[:, 1]
    score = numeric("score", scores, 20)
    baseline = Baseline(
        digest="",
        n=400,
        features=[numeric(f"x[{i}]", rows[:, i]) for i in range(4)],
        score_edges=score.edges,
        score_counts=score.counts,
        predicted_counts={"0": 200, "1": 200},
        calibration=[Calibration(x=[0.0, 0.4, 0.6, 1.0], y=[0.02, 0.3, 0.7, 0.98])],
    )
    signature = Signature(
        task="classification",
        inputs=[Tensor(name="x", datatype="FP64", shape=[4])],
        outputs=[
            Tensor(name="class", datatype="INT64"),
            Tensor(name="probabilities", datatype="FP64", shape=[2]),
        ],
        classes=["0", "1"],
    )
    folder = tmp_path_factory.mktemp("binary")
    return store(folder, estimator, signature, with_digest(baseline), rows)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A pipeline on a table of four inputs, three classes, missing values allowed in one."""
    generator = np.random.default_rng(2)
    rows = np.empty((300, 4), dtype=object)
    rows[:, 0] = generator.integers(18, 90, 300).astype(float)
    rows[:, 1] = generator.choice(["red", "green", "blue"], 300)
    rows[:, 2] = generator.choice([0.0, 1.0], 300)
    rows[:, 3] = generator.normal(size=300)
    truth = np.array(["low", "mid", "top"])[(rows[:, 0].astype(float) // 30).astype(int)]
    encoder = ColumnTransformer(
        [("one", OneHotEncoder(handle_unknown="ignore"), [1])], remainder="passthrough"
    )
    estimator = make_pipeline(encoder, LogisticRegression(max_iter=2000)).fit(rows, truth)
    largest = estimator.predict_proba(rows).max(axis=1)
    score = numeric("score", largest, 10)
    baseline = Baseline(
        digest="",
        n=300,
        features=[
            numeric("age", rows[:, 0].astype(float)),
            CategoricalFeature(
                name="colour", categories=["blue", "green", "red"], counts=[100, 100, 100]
            ),
            CategoricalFeature(name="member", categories=["false", "true"], counts=[150, 150]),
            numeric("z", rows[:, 3].astype(float)),
        ],
        score_edges=score.edges,
        score_counts=score.counts,
    )
    signature = Signature(
        task="classification",
        inputs=[
            Tensor(name="age", datatype="INT64"),
            Tensor(name="colour", datatype="BYTES", categories=["blue", "green", "red"]),
            Tensor(name="member", datatype="BOOL"),
            Tensor(name="z", datatype="FP32"),
        ],
        outputs=[
            Tensor(name="class", datatype="BYTES"),
            Tensor(name="probabilities", datatype="FP64", shape=[3]),
        ],
        classes=["low", "mid", "top"],
    )
    return store(
        tmp_path_factory.mktemp("table"), estimator, signature, with_digest(baseline), rows
    )


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Linear regression on two scalar inputs."""
    rows = np.random.default_rng(3).normal(size=(200, 2))
    values = rows @ np.array([2.0, -1.0])
    estimator = LinearRegression().fit(rows, values)
    score = numeric("score", values, 10)
    baseline = Baseline(
        digest="",
        n=200,
        features=[numeric("a", rows[:, 0]), numeric("b", rows[:, 1])],
        score_edges=score.edges,
        score_counts=score.counts,
    )
    signature = Signature(
        task="regression",
        inputs=[Tensor(name="a", datatype="FP64"), Tensor(name="b", datatype="FP64")],
        outputs=[Tensor(name="value", datatype="FP64")],
    )
    return store(
        tmp_path_factory.mktemp("regression"), estimator, signature, with_digest(baseline), rows
    )


@pytest.fixture
def settings(binary: Stored, tmp_path: Path) -> ServingSettings:
    key = tmp_path / "key"
    key.write_bytes(KEY)
    return ServingSettings(
        model="digits",
        version="v1",
        artifact_uri=binary.uri,
        artifact_digest=binary.digest,
        artifact_format="sklearn",
        scratch=tmp_path,
        termination_log=tmp_path / "termination-log",
        host="127.0.0.1",
        inference_port=0,
        metrics_port=0,
        token_key_file=key,
        fetch_seconds=1.0,
        drain_grace_seconds=0.3,
    )
