"""The real runtime predicts with two versions, and labels judge both on the same rows.

A model that is a little worse is found by few labels; rows that become harder for both are nobody's
fault.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.e2e.kit.api import Api, Json, until
from tests.e2e.kit.artifacts import credentials
from tests.patience import stretched

from trimtab.contract.artifact import Tensor
from trimtab.training import publish

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(360)]

NAME = "same-rows"
GROUP = "trimtab.dev/v1alpha1"
RATE = 40.0


class Digits:
    """Models of digits, and rows that none of them has seen."""

    def __init__(self) -> None:
        digits = load_digits()
        self.rows, self.truth = digits.data / 16.0, digits.target
        self.draws = np.random.default_rng(7)
        self.noise = 0.0

    def model(self, *, without: int | None = None) -> Any:
        """Return a model; `without`: a digit that it takes for another one."""
        truth = self.truth[:900].copy()
        if without is not None:
            # One row is left: `publish` refuses truths that the model has no class for.
            truth[np.flatnonzero(truth == without)[1:]] = (without + 1) % 10
        return LogisticRegression(max_iter=500).fit(self.rows[:900], truth)

    def declare(self, api: Api, version: str, model: Any) -> str:
        """Publish a version and return its digest."""
        with tempfile.TemporaryDirectory() as folder:
            made = publish(
                model,
                self.rows[:900],
                self.truth[:900],
                uri=f"s3://models/{NAME}/{version}",
                model_name=NAME,
                version=version,
                calibrate=(self.rows[900:1100], self.truth[900:1100]),
                evaluate=(self.rows[1100:1300], self.truth[1100:1300]),
                input_name="image",
                inputs=[Tensor(name="image", datatype="FP32", shape=[64])],
                credentials=credentials(Path(folder)),
            )
        artifact = {"uri": made.uri, "digest": made.digest, "format": "sklearn"}
        spec = {"model": NAME, "version": version, "artifact": artifact}
        metadata = {"name": f"{NAME}-{version}"}
        api.apply(
            "ModelVersion",
            {"apiVersion": GROUP, "kind": "ModelVersion", "metadata": metadata, "spec": spec},
        )
        return str(made.digest)

    def row(self) -> tuple[list[float], str]:
        """Return a row of the last 497, with as much noise as there is now, and its truth."""
        place = int(self.draws.integers(1300, len(self.rows)))
        row = self.rows[place] + self.noise * self.draws.normal(size=64)
        return row.tolist(), str(self.truth[place])


class Users:
    """Ask for one row after another, and post its truth at once."""

    def __init__(self, api: Api, digits: Digits) -> None:
        self._digits = digits
        self._stop = threading.Event()
        self.statuses: set[int] = set()
        self.lost: list[str] = []
        self.refused: list[Any] = []
        self.labelled = 0
        service, metrics = api.get("Service", NAME), api.get("Service", f"{NAME}-metrics")
        assert service is not None
        assert metrics is not None
        self._infer = f"http://{service['spec']['clusterIP']}:8080/v2/models/{NAME}/infer"
        self._outcomes = f"http://{metrics['spec']['clusterIP']}:9090/outcomes"
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Users:
        # Nodes learn where a new Service leads to a moment after its pods are Ready.
        until("the Service leads to a pod", self._is_served, 30)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _is_served(self) -> bool:
        try:
            return httpx.get(self._infer.removesuffix("/infer")).is_success
        except httpx.TransportError:
            return False

    def _ask(self) -> None:
        began, asked = time.monotonic(), 0
        # A connection for each request, so that shares follow the Service at once.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(limits=limits, timeout=stretched(10)) as client:
            while not self._stop.wait(max(0.0, began + asked / RATE - time.monotonic())):
                asked, sent = asked + 1, time.monotonic()
                try:
                    self._one(client)
                except httpx.HTTPError as error:
                    now = time.monotonic()
                    self.lost.append(
                        f"{datetime.now(UTC):%H:%M:%S} after {now - sent:.2f} s: {error!r}"
                    )

    def _one(self, client: httpx.Client) -> None:
        row, truth = self._digits.row()
        image = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": row}
        answer = client.post(self._infer, json={"inputs": [image]})
        self.statuses.add(answer.status_code)
        token = answer.json()["parameters"]["trimtab_token"]
        try:
            said = client.post(self._outcomes, json=[{"token": token, "actual": [truth]}])
        except httpx.TransportError:
            return  # a pod that is on its way out; whoever posts labels would send it again
        if said.status_code == 200:
            self.labelled += 1
        else:
            self.refused.append(said.text)


def want(api: Api, version: str) -> None:
    gate = {"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "1%"}
    rollout = {
        "steps": [{"weight": "50%", "for": "30s"}],
        "gates": [{**gate, "onNoData": "ignore"}],
        "minSamples": 50,
        "scaleDownDelay": "2s",
    }
    spec = {
        "model": NAME,
        "version": version,
        "replicas": 2,
        "metrics": {"scrape": {"interval": "1s"}},
        "rollout": rollout,
        "guard": {"control": 0},
        "compare": {"budget": "100%"},
    }
    api.apply(
        "Deployment",
        {"apiVersion": GROUP, "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec},
    )


def status(api: Api) -> Json:
    found: Json = (api.get("Deployment", NAME) or {}).get("status") or {}
    return found


def outcomes(api: Api) -> list[str]:
    return [f"{end['version']} {end['outcome']}" for end in status(api).get("history", [])]


@pytest.fixture
def gone_afterwards(api: Api) -> Iterator[None]:
    yield
    api.delete("Deployment", NAME)


@pytest.mark.usefixtures("gone_afterwards")
def test_labels_judge_two_versions_on_the_same_rows(api: Api) -> None:
    digits = Digits()
    first = digits.declare(api, "v1", digits.model())
    want(api, "v1")
    until("v1 serves", lambda: outcomes(api) == ["v1 Promoted"], 150)
    with Users(api, digits) as users:
        until("labels are counted", lambda: users.labelled > 20, 60)

        # Worse by a digit in ten: found by pairs.
        digits.declare(api, "v2", digits.model(without=3))
        want(api, "v2")
        until("v2 ends", lambda: len(outcomes(api)) == 2, 150)
        assert outcomes(api)[1] == "v2 RolledBack"
        (gate,) = status(api)["gates"]
        assert gate["paired"]["requests"] > 20
        assert gate["paired"]["difference"] == pytest.approx(0.1, abs=0.09)
        assert "on the same rows" in status(api)["history"][-1]["message"]

        # As good: takes over, and goes on to be compared.
        digits.declare(
            api, "v3", digits.model().set_params(C=0.9).fit(digits.rows[:900], digits.truth[:900])
        )
        want(api, "v3")
        until("v3 ends", lambda: len(outcomes(api)) == 3, 150)
        assert outcomes(api)[2] == "v3 Promoted"
        assert status(api)["stable"]["asks"] == first

        # What becomes harder for both is no breach of the new one.
        digits.noise = 0.5
        before = users.labelled
        until("many more labels", lambda: users.labelled > before + 600, 90)
    assert users.lost == [], status(api)["history"]
    assert users.refused == []
    assert users.statuses == {200}
    now = status(api)
    assert (now["stable"]["version"], "breached" in now["guard"]) == ("v3", False)
