"""A table with words, dates and gaps in a pod without pandas; gRPC through a Service."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
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
from tests.e2e.kit.artifacts import credentials
from tests.e2e.rollouts.test_formats import GROUP, answered_by
from tests.unit.serving.tables import passengers, request, survived
from tritonclient.utils import InferenceServerException

from trimtab.contract.artifact import Tensor
from trimtab.training import publish

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "passengers"
PEOPLE = passengers()
TRUTH = survived(PEOPLE)


def declare(api: Api, version: str, model: Any, rows: Any, truth: Any, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = publish(
            model,
            rows[:120],
            truth[:120],
            calibrate=(rows[120:240], truth[120:240]),
            evaluate=(rows[240:], truth[240:]),
            uri=f"s3://models/{NAME}/{version}",
            model_name=NAME,
            version=version,
            credentials=credentials(Path(folder)),
            **options,
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
        "serving": {"grpc": True},
        "metrics": {"scrape": {"interval": "1s"}},
        "rollout": {"strategy": "rolling", "scaleDownDelay": "2s"},
    }
    body = {"apiVersion": GROUP, "kind": "Deployment", "metadata": {"name": NAME}}
    api.apply("Deployment", {**body, "spec": spec})


def is_stable(api: Api, version: str) -> bool:
    status = (api.get("Deployment", NAME) or {}).get("status") or {}
    stable = status.get("stable") or {}
    return (stable.get("version"), stable.get("ready")) == (version, 1) and "rollout" not in status


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
    declare(api, "table", model, PEOPLE, TRUTH)
    want(api, "table")
    until("it serves", lambda: is_stable(api, "table"), 120)
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
        declare(api, version, model, rows, (rows[:, place] > 0).astype(int), input_name="x")
    want(api, "v1")
    until("v1 serves", lambda: is_stable(api, "v1"), 120)
    host = address(api)
    until("the Service answers", lambda: is_ready(host), 30)
    asked = rows[240:260]
    with Calls(host, asked) as calls:
        until("v1 answers", lambda: calls.seen or calls.lost, 30)
        assert calls.lost == []
        want(api, "v2")
        until("v2 serves", lambda: is_stable(api, "v2"), 120)
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
