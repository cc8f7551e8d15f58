"""The same fitted models for both servers: as an artifact, and as a repository of MLServer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from trimtab.training import publish

FEATURES: Final = 30
ROWS: Final = 6000
NAMES: Final = ("linear", "forest")


@dataclass(frozen=True)
class Model:
    """One fitted model in both forms."""

    name: str
    uri: str
    digest: str


def _estimator(name: str) -> Any:
    if name in ("linear", "graph"):
        return LogisticRegression(max_iter=1000)
    if name == "boosted":
        from xgboost import XGBClassifier

        return XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1)
    trees = {"forest": 100, "slow": 500}[name]
    return RandomForestClassifier(n_estimators=trees, max_depth=10, random_state=0, n_jobs=1)


def _graph(fitted: Any) -> bytes:
    from skl2onnx import to_onnx

    options = {type(fitted): {"zipmap": False}}
    graph: bytes = to_onnx(
        fitted, np.zeros((1, FEATURES), np.float32), options=options
    ).SerializeToString()
    return graph


def build(name: str, folder: Path) -> Model:
    """Fit and write below `folder`: `artifacts/` for Trimtab, `mlserver/<name>/` for MLServer.

    For Trimtab alone: `graph`, the linear one as an ONNX graph, and `boosted`, of XGBoost.
    """
    features, labels = make_classification(
        ROWS, FEATURES, n_informative=10, class_sep=1.0, random_state=0
    )
    thirds = [slice(0, 2000), slice(2000, 4000), slice(4000, ROWS)]
    fitted = _estimator(name).fit(features[thirds[0]], labels[thirds[0]])
    published = publish(
        _graph(fitted) if name == "graph" else fitted,
        features[thirds[0]],
        labels[thirds[0]],
        uri=(folder / "artifacts").as_uri(),
        model_name=name,
        version="v1",
        calibrate=(features[thirds[1]], labels[thirds[1]]),
        evaluate=(features[thirds[2]], labels[thirds[2]]),
        input_name="x",
    )
    if name in ("graph", "boosted"):
        return Model(name, published.uri, published.digest)
    peer = folder / "mlserver" / name
    peer.mkdir(parents=True)
    joblib.dump(fitted, peer / "model.joblib")
    settings = {
        "name": name,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (peer / "model-settings.json").write_text(json.dumps(settings))
    return Model(name, published.uri, published.digest)


def binary_body(rows: int) -> tuple[bytes, int]:
    """The same as binary tensors there and back, and how many bytes of it are JSON."""
    values = np.random.default_rng(rows).normal(size=(rows, FEATURES)).round(6).tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP64",
        "shape": [rows, FEATURES],
        "parameters": {"binary_data_size": len(values)},
    }
    content = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(content).encode()
    return head + values, len(head)


def body(rows: int) -> bytes:
    """One request of `rows` rows; the same for both servers."""
    values = np.random.default_rng(rows).normal(size=(rows, FEATURES)).round(6)
    tensor = {
        "name": "x",
        "datatype": "FP64",
        "shape": [rows, FEATURES],
        "data": values.ravel().tolist(),
    }
    return json.dumps({"inputs": [tensor]}).encode()
