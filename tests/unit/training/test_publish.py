from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from trimtab.contract.artifact import Baseline, Manifest, Signature, Tensor, baseline_digest
from trimtab.training import Published, publish
from trimtab.training.errors import CodeBroken, DataBroken
from trimtab.training.models import answer, load_champion

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4))
Y = (X[:, 0] + X[:, 1] + RANDOM.normal(0, 0.3, 600) > 0).astype(int)


def published(model: Any, folder: Path, **options: Any) -> Published:
    rows = {"calibrate": (X[300:450], Y[300:450]), "evaluate": (X[450:], Y[450:])}
    return publish(
        model,
        X[:300],
        Y[:300],
        uri=f"file://{folder}/m",
        model_name="m",
        version="v1",
        **(rows | options),
    )


def part(result: Published, name: str) -> bytes:
    return (Path(result.uri.removeprefix("file://")) / name).read_bytes()


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_model_is_fitted_written_and_loaded_again(model: Any, tmp_path: Path) -> None:
    result = published(model, tmp_path)
    loaded = load_champion(result.uri, result.digest, None, tmp_path / "copy")
    assert (loaded.model.answers(X).probabilities == model.predict_proba(X)).all()
    assert loaded.signature.classes == ["0", "1"]
    assert loaded.baseline.digest == result.baseline
    assert {one.metric for one in result.metrics} == {"accuracy", "f1", "auc"}


@pytest.mark.parametrize("given", ["bytes", "path", "proto"])
def test_a_graph_is_published_with_the_datatypes_that_it_takes(given: str, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X[:300], Y[:300])
    proto = to_onnx(model, X[:1].astype(np.float32))
    file = tmp_path / "exported.onnx"
    file.write_bytes(proto.SerializeToString())
    graph = {"bytes": file.read_bytes(), "path": file, "proto": proto}[given]
    result = published(graph, tmp_path, feature_names=list("abcd"))
    manifest = Manifest.model_validate_json(part(result, "manifest.json"))
    assert (manifest.format, manifest.model_file) == ("onnx", "model.onnx")
    assert set(manifest.frameworks) == {"python", "onnxruntime", "numpy"}
    loaded = load_champion(result.uri, result.digest, None, tmp_path / "copy")
    assert [one.datatype for one in loaded.signature.inputs] == ["FP32"] * 4
    assert loaded.signature.classes == ["0", "1"]
    found = answer(loaded.model, X, [0, 1])
    assert found.score == pytest.approx(model.predict_proba(X), abs=1e-5)
    assert (found.predicted == model.predict(X)).all()
    estimator = published(LogisticRegression(), tmp_path / "estimator")
    assert [one.metric for one in estimator.metrics] == [one.metric for one in result.metrics]
    assert [one.value for one in estimator.metrics] == pytest.approx(
        [one.value for one in result.metrics], abs=0.01
    )


def test_a_graph_that_cannot_be_served_is_not_published(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X[:300], Y[:300])
    graph = to_onnx(model, X[:1].astype(np.float32)).SerializeToString()
    with pytest.raises(CodeBroken, match="onnxruntime"):
        published(graph[:50], tmp_path)
    double = [Tensor(name="x", datatype="FP64", shape=[4])]
    with pytest.raises(CodeBroken, match="FP64; FP32"):
        published(graph, tmp_path, inputs=double, input_name="x")
    with pytest.raises(CodeBroken, match="calibrate and evaluate"):
        published(graph, tmp_path, calibrate=None, evaluate=None)
    with pytest.raises(DataBroken, match="is no class"):
        published(graph, tmp_path, classes=[0, 7])


def test_metrics_are_those_of_the_class_that_serving_answers(tmp_path: Path) -> None:
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.95)
    result = published(model, tmp_path)
    accuracy = next(one.value for one in result.metrics if one.metric == "accuracy")
    assert accuracy == pytest.approx(model.score(X[450:], Y[450:]))
    assert accuracy < model.estimator_.score(X[450:], Y[450:])


def test_one_vector_input(tmp_path: Path) -> None:
    result = published(
        LogisticRegression(), tmp_path, input_name="image", minimum=-10.0, maximum=10.0
    )
    signature = Signature.model_validate_json(part(result, "signature.json"))
    assert [(one.name, one.shape, one.maximum) for one in signature.inputs] == [("image", [4], 10)]
    baseline = Baseline.model_validate_json(part(result, "baseline.json"))
    assert [one.name for one in baseline.features] == [f"image[{index}]" for index in range(4)]
    assert {(one["minimum"], one["maximum"]) for one in _features(result)} == {(-10.0, 10.0)}


def _features(result: Published) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = json.loads(part(result, "baseline.json"))["features"]
    return features


def test_named_columns(tmp_path: Path) -> None:
    result = published(LogisticRegression(), tmp_path, feature_names=["a", "b", "c", "d"])
    signature = Signature.model_validate_json(part(result, "signature.json"))
    assert [one.name for one in signature.inputs] == ["a", "b", "c", "d"]


def test_what_is_stored_of_a_table_has_no_feature_names_so_that_serving_is_quiet(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = LogisticRegression()
    result = publish(model, frame, Y, uri=f"file://{tmp_path}/m", model_name="m", version="v1")
    loaded = load_champion(result.uri, result.digest, None, tmp_path / "copy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(frame)
        loaded.model.answers(X)


def test_regression(tmp_path: Path) -> None:
    target = X @ np.array([1.0, 2.0, 0.0, 0.0])
    result = publish(
        LinearRegression(), X, target, uri=f"file://{tmp_path}/m", model_name="m", version="v1"
    )
    signature = Signature.model_validate_json(part(result, "signature.json"))
    assert (signature.task, signature.classes) == ("regression", [])
    assert [one.metric for one in result.metrics] == ["rmse", "mae"]


def test_errors_of_a_regression_are_kept_by_bin_of_the_prediction(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = X @ np.array([1.0, 2.0, 0.0, 0.0]) + rng.normal(0, 1, len(X))
    result = publish(
        LinearRegression(), X, target, uri=f"file://{tmp_path}/m", model_name="m", version="v1"
    )
    baseline = Baseline.model_validate_json(part(result, "baseline.json"))
    known = baseline.residuals
    assert known is not None
    assert known.rows == baseline.score_counts
    assert sum(known.squares) / sum(known.rows) == pytest.approx(1, abs=0.4)
    assert baseline.digest == baseline_digest(baseline) == result.baseline


def test_the_metrics_of_each_class_are_in_the_baseline(tmp_path: Path) -> None:
    result = published(LogisticRegression(), tmp_path)
    baseline = Baseline.model_validate_json(part(result, "baseline.json"))
    assert baseline.residuals is None
    stated = {(one.metric, one.slice) for one in baseline.metrics}
    assert {("precision", "all"), ("recall", "all"), ("f1", "all")} < stated
    for metric in ("precision", "recall", "f1"):
        of_classes = [one for one in baseline.metrics if one.slice.startswith("class=")]
        values = [one.value for one in of_classes if one.metric == metric]
        macro = next(o for o in baseline.metrics if (o.metric, o.slice) == (metric, "all"))
        assert len(values) == 2
        assert macro.value == pytest.approx(np.mean(values), abs=1e-9)
        assert macro.interval[0] <= macro.value <= macro.interval[1]


def test_fitted_model_needs_rows_that_it_has_not_seen(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    with pytest.raises(CodeBroken, match="rows that it has not seen"):
        published(model, tmp_path, calibrate=None, evaluate=None)


class OwnModel(LogisticRegression):  # type: ignore[misc]
    """A class that no serving container has."""


def own_weights(distances: Any) -> Any:
    """A function that no serving container has."""
    return 1 / (1 + distances)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(
            make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()),
            "function of your own",
            id="lambda",
        ),
        pytest.param(
            KNeighborsClassifier(weights=own_weights), "own_weights.*NumPy", id="own_function"
        ),
        pytest.param(
            OwnModel(),
            r"OwnModel; a class of your own .* scikit-learn's own steps, or serve it from a",
            id="own_class",
        ),
    ],
)
def test_what_serving_would_refuse_is_not_written(model: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=says) as refused:
        published(model, tmp_path)
    assert "ONNX" not in str(refused.value)  # skl2onnx takes none of these
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", [0, 1])
def test_a_label_for_far_rows_has_to_be_a_class(steps: int, tmp_path: Path) -> None:
    def near(label: Any) -> Any:
        model = RadiusNeighborsClassifier(0.5, outlier_label=label)
        return make_pipeline(FunctionTransformer(), model) if steps else model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Outlier label 7 is not in training classes")
        with pytest.raises(
            CodeBroken, match=r'with 7, which is none.*outlier_label="most_frequent"'
        ):
            published(near(7), tmp_path)
    published(near("most_frequent"), tmp_path)
    published(near(1), tmp_path)


def test_answers_that_are_no_numbers_are_refused_with_what_works(tmp_path: Path) -> None:
    rows = np.linspace(0, 1, 600)[:, None]
    truths = rows[:, 0] * 2
    parts: dict[str, Any] = {
        "calibrate": (rows[:200], truths[:200]),
        "evaluate": (rows[400:], truths[400:]),
        "uri": f"file://{tmp_path}/m",
        "model_name": "m",
        "version": "v1",
    }
    with pytest.raises(CodeBroken, match=r"200 of 200 rows .* IsotonicRegression\(out_of_bounds"):
        publish(IsotonicRegression(), rows[200:400], truths[200:400], **parts)
    publish(IsotonicRegression(out_of_bounds="clip"), rows[200:400], truths[200:400], **parts)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.where(np.arange(len(X)) == 7, np.inf, X[:, 1]), "column 'b' is infinite in row"),
        (np.where(np.arange(len(X)) % 3 == 0, np.nan, X[:, 1]), "column 'b' has no value in row"),
        (["text"] * len(X), "column 'b' holds a text in row 0"),
        (
            np.full(len(X), 2**63, dtype=np.uint64),
            "column 'b' holds whole numbers of more than 63 bits",
        ),
    ],
    ids=["infinite", "gap", "text", "long"],
)
def test_a_column_that_the_model_does_not_take_is_named(
    column: Any, said: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(b=column)
    with pytest.raises((CodeBroken, DataBroken), match=said):
        publish(
            LogisticRegression(),
            frame,
            Y,
            uri=f"file://{tmp_path}/m",
            model_name="m",
            version="v1",
            seed=1,
        )
