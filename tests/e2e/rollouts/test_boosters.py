"""Versions of XGBoost and LightGBM: the operator chooses their image, and they answer as before."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_digits
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.artifacts import credentials
from tests.e2e.rollouts.test_formats import GROUP, answered_by

from trimtab.contract.artifact import Tensor
from trimtab.training import publish

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "boosters"
MODELS: dict[str, Any] = {
    "xgboost": xgboost.XGBClassifier(n_estimators=10, max_depth=4),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
}


def declare(api: Api, version: str, model: Any, rows: Any, truth: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = publish(
            model,
            rows[:900],
            truth[:900],
            uri=f"s3://models/{NAME}/{version}",
            model_name=NAME,
            version=version,
            calibrate=(rows[900:1300], truth[900:1300]),
            evaluate=(rows[1300:], truth[1300:]),
            input_name="image",
            inputs=[Tensor(name="image", datatype="FP64", shape=[64], minimum=0, maximum=1)],
            credentials=credentials(Path(folder)),
        )
    spec = {
        "model": NAME,
        "version": version,
        "artifact": {"uri": made.uri, "digest": made.digest, "format": "sklearn"},
    }
    body = {"apiVersion": GROUP, "kind": "ModelVersion", "metadata": {"name": f"{NAME}-{version}"}}
    api.apply("ModelVersion", {**body, "spec": spec})


def want(api: Api, version: str) -> None:
    spec = {
        "model": NAME,
        "version": version,
        "replicas": 1,
        "metrics": {"scrape": {"interval": "1s"}},
        "rollout": {"strategy": "rolling", "scaleDownDelay": "1s"},
    }
    body = {"apiVersion": GROUP, "kind": "Deployment", "metadata": {"name": NAME}}
    api.apply("Deployment", {**body, "spec": spec})


def is_stable(api: Api, version: str) -> bool:
    status = (api.get("Deployment", NAME) or {}).get("status") or {}
    stable = status.get("stable") or {}
    return (stable.get("version"), stable.get("ready")) == (version, 1)


@pytest.fixture
def gone_afterwards(api: Api) -> Iterator[None]:
    # The versions go with the namespace: while they are in use they cannot be deleted.
    yield
    api.delete("Deployment", NAME)


@pytest.mark.usefixtures("gone_afterwards")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_boosters_are_served_by_the_image_that_has_their_library(api: Api) -> None:
    digits = load_digits()
    rows, truth = digits.data / 16.0, digits.target
    for version, model in MODELS.items():
        model.fit(rows[:900], truth[:900])
        declare(api, version, model, rows, truth)
        want(api, version)
        until(f"{version} serves", partial(is_stable, api, version), 120)
        status = (api.get("ModelVersion", f"{NAME}-{version}") or {})["status"]
        assert (status["phase"], status["frameworks"]) == ("Verified", [version])
        stable = (api.get("Deployment", NAME) or {})["status"]["stable"]
        assert stable["image"].rpartition("/")[2] == "trimtab-serving-tables:dev"
        service = api.get("Service", NAME)
        assert service is not None
        address = f"http://{service['spec']['clusterIP']}:8080/v2/models/{NAME}/infer"
        image = {"name": "image", "datatype": "FP64", "shape": [200, 64]}
        body = {"inputs": [{**image, "data": rows[:200].ravel().tolist()}]}
        answer = until(
            f"{version} answers",
            partial(answered_by, address, body, version),
            30,
        )
        found = {part["name"]: part["data"] for part in answer.json()["outputs"]}
        assert [int(name) for name in found["class"]] == model.predict(rows[:200]).tolist()
        probabilities = np.reshape(found["probabilities"], (200, 10))
        assert probabilities == pytest.approx(model.predict_proba(rows[:200]), abs=1e-7)
