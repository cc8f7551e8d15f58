"""The same model as a scikit-learn file and as an ONNX graph: one takes over from the other."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.load import Load
from tests.e2e.kit.trained import answered_by, asked, declare, is_stable, want

from trimtab.contract.artifact import Tensor

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAME = "formats"
ROLLOUT = {"steps": [{"weight": "50%", "for": "2s"}], "minSamples": 10, "scaleDownDelay": "2s"}


def images(api: Api, version: str) -> set[str]:
    selector = f"trimtab.dev/deployment={NAME},trimtab.dev/version={version}"
    return {
        container["image"]
        for pod in api.list("Pod", selector)
        for container in pod["spec"]["containers"]
    }


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
    parts = [(rows[one], truth[one]) for one in (slice(900), slice(900, 1300), slice(1300, None))]
    image = Tensor(name="image", datatype="FP32", shape=[64], minimum=0, maximum=1)
    declare(api, NAME, "v1", model, parts, input_name="image", inputs=[image])
    declare(api, NAME, "v2", graph, parts, "onnx", input_name="image", inputs=[image])
    want(api, NAME, "v1", ROLLOUT, replicas=2)
    until("v1 serves", lambda: is_stable(api, NAME, "v1", 2), 120)
    service = api.get("Service", NAME)
    assert service is not None
    address = f"http://{service['spec']['clusterIP']}:8080/v2/models/{NAME}/infer"
    sent = {"name": "image", "datatype": "FP32", "shape": [200, 64]}
    body = {"inputs": [{**sent, "data": rows[:200].ravel().tolist()}]}
    first = until("the Service answers", lambda: asked(address, body), 30)
    one = {"inputs": [{**sent, "shape": [1, 64], "data": rows[0].tolist()}]}
    with Load(address, 20, body=httpx.Request("POST", address, json=one).content) as load:
        want(api, NAME, "v2", ROLLOUT, replicas=2)
        until("v2 serves", lambda: is_stable(api, NAME, "v2", 2), 120)
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
