"""A table with words, dates and gaps in a pod without pandas; gRPC through a Service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.trained import answered_by, declare, is_stable, want
from tests.unit.serving.tables import overflowing, passengers, request, survived
from tritonclient.utils import InferenceServerException

from trimtab.contract.artifact import Tensor

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "passengers"
ROLLOUT = {"strategy": "rolling", "scaleDownDelay": "2s"}
POD = {"replicas": 1, "serving": {"grpc": True}}
PEOPLE = passengers()
TRUTH = survived(PEOPLE)


def parts_of(rows: Any, truth: Any) -> list[tuple[Any, Any]]:
    """Rows to learn from, to calibrate on and to evaluate on."""
    return [(rows[one], truth[one]) for one in (slice(120), slice(120, 240), slice(240, None))]


def image(api: Api) -> str:
    stable = (api.get("Deployment", NAME) or {})["status"]["stable"]
    return str(stable["image"].rpartition("/")[2])


def address(api: Api) -> str:
    service = api.get("Service", NAME)
    assert service is not None
    assert 8081 in [port["port"] for port in service["spec"]["ports"]]
    return str(service["spec"]["clusterIP"])


@pytest.fixture
def gone_afterwards(api: Api) -> Iterator[None]:
    yield
    api.delete("Deployment", NAME)
    until("the Deployment is gone", lambda: api.get("Deployment", NAME) is None, 60)


@pytest.mark.usefixtures("gone_afterwards")
def test_a_table_with_words_dates_and_gaps_needs_no_pandas_in_the_pod(api: Api) -> None:
    gaps = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [
            ("age", SimpleImputer(), ["age"]),
            ("when", StandardScaler(), ["boarded"]),
            ("paid", StandardScaler(), ["fare"]),
            ("words", gaps, ["sex", "embarked", "deck"]),
            ("name", CountVectorizer(), "name"),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(PEOPLE[:120], TRUTH[:120])
    declare(api, NAME, "table", model, parts_of(PEOPLE, TRUTH))
    want(api, NAME, "table", ROLLOUT, **POD)
    until("it serves", lambda: is_stable(api, NAME, "table", 1), 120)
    assert image(api) == "trimtab-serving:dev"
    url = f"http://{address(api)}:8080/v2/models/{NAME}"
    described = until("the Service answers", lambda: page(url), 30)["inputs"]
    inputs = [Tensor(name=one["name"], datatype=one["datatype"]) for one in described]
    rows = PEOPLE[120:180]
    body = {"inputs": request(rows, inputs)}
    answer = until("it predicts", partial(answered_by, f"{url}/infer", body, "table"), 30)
    found = {part["name"]: part for part in answer.json()["outputs"]}
    assert [str(one) for one in found["class"]["data"]] == [str(one) for one in model.predict(rows)]
    probable = np.reshape(found["probabilities"]["data"], found["probabilities"]["shape"])
    assert probable == pytest.approx(model.predict_proba(rows), abs=1e-7)


@pytest.mark.usefixtures("gone_afterwards")
def test_a_model_that_needs_a_table_gets_the_image_that_has_pandas(api: Api) -> None:
    people, model = overflowing()
    model.fit(people[:120], TRUTH[:120])
    declare(api, NAME, "squares", model, parts_of(people, TRUTH))
    want(api, NAME, "squares", ROLLOUT, **POD)
    until("it serves", lambda: is_stable(api, NAME, "squares", 1), 120)
    assert image(api) == "trimtab-serving-tables:dev"
    url = f"http://{address(api)}:8080/v2/models/{NAME}/infer"
    inputs = [
        Tensor(name=name, datatype=kind) for name, kind in (("fare", "FP64"), ("cabin", "INT64"))
    ]
    body = {"inputs": request(people[:60], inputs)}
    answer = until("it predicts", partial(answered_by, url, body, "squares"), 30)
    found = {part["name"]: part for part in answer.json()["outputs"]}
    assert found["class"]["data"] == model.predict(people[:60]).tolist()


def page(url: str) -> Any:
    """Return the answer, or nothing while the Service is not known to the node."""
    try:
        return httpx.get(url, timeout=10).raise_for_status().json()
    except httpx.HTTPError:
        return None


class Calls:
    """`with Calls(host, rows)`: one call after the other by a client of Triton's."""

    def __init__(self, host: str, rows: Any) -> None:
        self._host = host
        self._rows = rows
        self.seen: list[tuple[str, list[int]]] = []
        self.lost: list[str] = []

    def __enter__(self) -> Calls:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _call(self) -> None:
        tensor = triton.InferInput("x", list(self._rows.shape), "FP64")
        tensor.set_data_from_numpy(self._rows)
        with triton.InferenceServerClient(f"{self._host}:8081") as client:
            while not self._stop.wait(0.02):
                try:
                    answer = client.infer(NAME, [tensor])
                except InferenceServerException as error:
                    self.lost.append(str(error))
                else:
                    version = answer.get_response().model_version
                    self.seen.append((version, answer.as_numpy("class").ravel().tolist()))


def is_ready(host: str) -> bool:
    with triton.InferenceServerClient(f"{host}:8081") as client:
        try:
            return bool(client.is_server_ready() and client.is_model_ready(NAME))
        except InferenceServerException:
            return False


@pytest.mark.usefixtures("gone_afterwards")
def test_no_call_by_grpc_is_lost_in_a_rollout(api: Api) -> None:
    rows = np.random.default_rng(0).normal(size=(len(TRUTH), 4))
    models = {
        "v1": LogisticRegression().fit(rows[:120], (rows[:120, 0] > 0).astype(int)),
        "v2": LogisticRegression().fit(rows[:120], (rows[:120, 1] > 0).astype(int)),
    }
    for place, (version, model) in enumerate(models.items()):
        parts = parts_of(rows, (rows[:, place] > 0).astype(int))
        declare(api, NAME, version, model, parts, input_name="x")
    want(api, NAME, "v1", ROLLOUT, **POD)
    until("v1 serves", lambda: is_stable(api, NAME, "v1", 1), 120)
    host = address(api)
    until("the Service answers", lambda: is_ready(host), 30)
    asked = rows[240:260]
    with Calls(host, asked) as calls:
        until("v1 answers", lambda: calls.seen or calls.lost, 30)
        assert calls.lost == []
        want(api, NAME, "v2", ROLLOUT, **POD)
        until("v2 serves", lambda: is_stable(api, NAME, "v2", 1), 120)
        until("v2 answers", lambda: calls.seen[-1][0] == "v2", 60)
    assert calls.lost == []
    for version, chosen in calls.seen:
        assert chosen == models[version].predict(asked).tolist()
    with triton.InferenceServerClient(f"{host}:8081") as client:
        described = client.get_model_metadata(NAME, as_json=True)
        (told,) = client.get_inference_statistics(NAME, as_json=True)["model_stats"]
    assert described["inputs"] == [{"name": "x", "datatype": "FP64", "shape": ["-1", "4"]}]
    assert (told["name"], told["version"]) == (NAME, "v2")
    assert int(told["inference_stats"]["success"]["count"]) > 0
