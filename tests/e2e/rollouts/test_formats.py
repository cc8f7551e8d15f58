"""The same model as a scikit-learn file and as an ONNX graph: one takes over from the other."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.artifacts import credentials
from tests.e2e.kit.load import Load
from tests.patience import stretched

from trimtab.contract.artifact import Tensor
from trimtab.training import publish

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAME = "formats"
GROUP = "trimtab.dev/v1alpha1"


def declare(api: Api, version: str, model_format: str, model: Any, rows: Any, truth: Any) -> None:
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
            inputs=[Tensor(name="image", datatype="FP32", shape=[64], minimum=0, maximum=1)],
            credentials=credentials(Path(folder)),
        )
    spec = {
        "model": NAME,
        "version": version,
        "artifact": {"uri": made.uri, "digest": made.digest, "format": model_format},
    }
    name = f"{NAME}-{version}"
    api.apply(
        "ModelVersion",
        {"apiVersion": GROUP, "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec},
    )


def want(api: Api, version: str) -> None:
    rollout = {"steps": [{"weight": "50%", "for": "2s"}], "minSamples": 10, "scaleDownDelay": "2s"}
    spec = {
        "model": NAME,
        "version": version,
        "replicas": 2,
        "metrics": {"scrape": {"interval": "1s"}},
        "rollout": rollout,
    }
    api.apply(
        "Deployment",
        {"apiVersion": GROUP, "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec},
    )


def is_stable(api: Api, version: str) -> bool:
    status = (api.get("Deployment", NAME) or {}).get("status") or {}
    stable = status.get("stable") or {}
    return (stable.get("version"), stable.get("ready")) == (version, 2) and "rollout" not in status


def images(api: Api, version: str) -> set[str]:
    selector = f"trimtab.dev/deployment={NAME},trimtab.dev/version={version}"
    return {
        container["image"]
        for pod in api.list("Pod", selector)
        for container in pod["spec"]["containers"]
    }


def asked(address: str, body: Any) -> httpx.Response | None:
    """Return the answer, or nothing while the Service is not known to the node."""
    try:
        return httpx.post(address, json=body, timeout=stretched(10))
    except httpx.ConnectError:
        return None


def answered_by(address: str, body: Any, version: str) -> httpx.Response | None:
    """Return the answer of this version, or nothing while another one answers."""
    answer = asked(address, body)
    return answer if answer is not None and answer.json().get("model_version") == version else None


@pytest.fixture
def gone_afterwards(api: Api) -> Iterator[None]:
    yield
    api.delete("Deployment", NAME)


@pytest.mark.usefixtures("gone_afterwards")
def test_a_graph_takes_over_from_the_estimator_that_it_was_exported_from(api: Api) -> None:
    digits = load_digits()
    rows, truth = digits.data / 16.0, digits.target
    model = LogisticRegression(max_iter=500).fit(rows[:900], truth[:900])
    graph = to_onnx(model, rows[:1].astype(np.float32), options={"zipmap": False})
    declare(api, "v1", "sklearn", model, rows, truth)
    declare(api, "v2", "onnx", graph, rows, truth)
    want(api, "v1")
    until("v1 serves", lambda: is_stable(api, "v1"), 120)
    service = api.get("Service", NAME)
    assert service is not None
    address = f"http://{service['spec']['clusterIP']}:8080/v2/models/{NAME}/infer"
    image = {"name": "image", "datatype": "FP32", "shape": [200, 64]}
    body = {"inputs": [{**image, "data": rows[:200].ravel().tolist()}]}
    first = until("the Service answers", lambda: asked(address, body), 30)
    one = {"inputs": [{**image, "shape": [1, 64], "data": rows[0].tolist()}]}
    with Load(address, 20, body=httpx.Request("POST", address, json=one).content) as load:
        want(api, "v2")
        until("v2 serves", lambda: is_stable(api, "v2"), 120)
    # The Service has moved by now; the node's own table of endpoints follows a moment later.
    second = until("v2 answers", lambda: answered_by(address, body, "v2"), 30)
    assert load.lost() == []
    assert {answer.status for answer in load.answers} == {200}
    assert [image.rpartition("/")[2] for image in images(api, "v2")] == ["trimtab-serving-onnx:dev"]
    before, after = (
        {part["name"]: part["data"] for part in answer.json()["outputs"]}
        for answer in (first, second)
    )
    assert first.json()["model_version"] == "v1"
    assert before["class"] == after["class"]
    assert before["probabilities"] == pytest.approx(after["probabilities"], abs=1e-4)
