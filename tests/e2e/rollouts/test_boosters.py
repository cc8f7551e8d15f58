"""Versions of XGBoost and LightGBM: the operator chooses their image, and they answer as before."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_digits
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.trained import answered_by, declare, is_stable, want

from trimtab.contract.artifact import Tensor

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "boosters"
ROLLOUT = {"strategy": "rolling", "scaleDownDelay": "1s"}
IMAGE = Tensor(name="image", datatype="FP64", shape=[64], minimum=0, maximum=1)
MODELS: dict[str, Any] = {
    "xgboost": xgboost.XGBClassifier(n_estimators=10, max_depth=4),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
}


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
        parts = [
            (rows[one], truth[one]) for one in (slice(900), slice(900, 1300), slice(1300, None))
        ]
        declare(api, NAME, version, model, parts, input_name="image", inputs=[IMAGE])
        want(api, NAME, version, ROLLOUT, replicas=1)
        until(f"{version} serves", partial(is_stable, api, NAME, version, 1), 120)
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
