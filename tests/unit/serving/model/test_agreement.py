"""What the training side writes is taken by the serving side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.agreement import check_baseline, check_signature
from trimtab.training import publish

_RANDOM = np.random.default_rng(0)
_ROWS = _RANDOM.normal(size=(400, 4))
_CLASSES = (_ROWS[:, 0] > 0).astype(int)
_THREE = np.digitize(_ROWS[:, 0], [-0.5, 0.5])
_FRAME = pd.DataFrame(
    {
        "age": _RANDOM.integers(18, 90, 400),
        "colour": _RANDOM.choice(["red", "green"], 400),
        "member": _RANDOM.choice([True, False], 400),
        "z": np.where(_RANDOM.random(400) < 0.1, 0.0, _ROWS[:, 0]),
    }
)
_ENCODED = ColumnTransformer(
    [("one", OneHotEncoder(handle_unknown="ignore"), [1])], remainder="passthrough"
)


@pytest.mark.parametrize(
    ("estimator", "rows", "truths", "more"),
    [
        (LogisticRegression(), _ROWS, _CLASSES, {}),
        (LogisticRegression(), _ROWS, _THREE, {}),
        (LogisticRegression(), _ROWS, _CLASSES.astype(bool), {}),
        (LinearSVC(), _ROWS, _CLASSES, {}),
        (LinearRegression(), _ROWS, _ROWS[:, 0], {}),
        (make_pipeline(_ENCODED, LogisticRegression()), _FRAME, _CLASSES, {}),
        (DecisionTreeClassifier(), np.tile(_ROWS, (1, 75)), _CLASSES, {}),
        (LogisticRegression(), _ROWS, _CLASSES, {"minimum": 0.0, "maximum": 1.0}),
        (
            DecisionTreeClassifier(),
            _FRAME[["age", "z"]],
            _CLASSES,
            {"inputs": [Tensor(name="age", datatype="INT64"), Tensor(name="z", datatype="FP64")]},
        ),
    ],
    ids=["binary", "three", "truths", "svc", "regression", "table", "wide", "range", "inputs"],
)
def test_published_artifacts_agree(
    tmp_path: Path, estimator: Any, rows: Any, truths: Any, more: dict[str, Any]
) -> None:
    result = publish(
        estimator, rows, truths, uri=tmp_path.as_uri(), model_name="m", version="v1", **more
    )
    folder = Path(result.uri.removeprefix("file://"))
    signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
    baseline = Baseline.model_validate_json((folder / "baseline.json").read_bytes())
    check_signature(signature)
    check_baseline(baseline, signature)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [1]}, "the score has others"),
        ({"squares": [-1.0, 0.0]}, "negative or not finite"),
        ({"fourth": [0.0, float("inf")]}, "negative or not finite"),
        ({"rows": [9, 9]}, "18 rows are counted, n is 4"),
    ],
)
def test_residuals_have_the_bins_of_the_score(change: dict[str, Any], said: str) -> None:
    value = Tensor(name="value", datatype="FP64")
    signature = Signature(task="regression", inputs=[value], outputs=[value])
    sums = {"rows": [2, 2], "absolute": [1.0, 1.0], "squares": [1.0, 1.0], "fourth": [1.0, 1.0]}
    good = {"digest": "", "n": 4, "features": [], "score_edges": [0.0], "score_counts": [2, 2]}
    check_baseline(Baseline.model_validate(good | {"residuals": sums}), signature)
    with pytest.raises(ArtifactRefused, match=said):
        check_baseline(Baseline.model_validate(good | {"residuals": sums | change}), signature)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scoreKind": "decision"}, None),
        ({"scoreKind": "decision", "calibration": [{"x": [-3, 4], "y": [0, 1]}]}, None),
        ({"scoreKind": "none", "scoreEdges": [], "scoreCounts": [4]}, None),
        ({"scoreKind": "probability"}, "-2 to 7 are no probabilities"),
        ({"scoreKind": "none"}, "no scores"),
        (
            {
                "scoreKind": "none",
                "scoreEdges": [],
                "scoreCounts": [4],
                "calibration": [{"x": [0, 1], "y": [0, 1]}],
            },
            "no scores",
        ),
        ({"scoreKind": "decision", "calibration": [{"x": [0, 1], "y": [0, 2]}]}, "outside 0..1"),
        (
            {"scoreKind": "decision", "calibration": [{"x": [0, float("inf")], "y": [0, 1]}]},
            "not finite",
        ),
        ({"scoreKind": "decision", "calibration": [{"x": [4, -3], "y": [0, 1]}]}, "descends"),
        (
            {"scoreEdges": [0.2, 0.7], "calibration": [{"x": [-3, 4], "y": [0, 1]}]},
            "outside 0..1",
        ),
    ],
)
def test_scores_are_what_the_baseline_says(change: dict[str, Any], said: str | None) -> None:
    value = Tensor(name="class", datatype="INT64")
    signature = Signature(
        task="classification", inputs=[value], outputs=[value], classes=["0", "1"]
    )
    known = {"digest": "", "n": 4, "features": [], "scoreEdges": [-2, 7], "scoreCounts": [1, 1, 2]}
    baseline = Baseline.model_validate(known | change)
    if said is None:
        check_baseline(baseline, signature)
    else:
        with pytest.raises(ArtifactRefused, match=said):
            check_baseline(baseline, signature)
