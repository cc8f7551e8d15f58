"""Models without probabilities on real pods: served, and what a policy can say of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.cluster import KMeans
from sklearn.svm import LinearSVC
from tests.e2e.kit.api import Api, Json, condition, until
from tests.e2e.kit.artifacts import credentials
from tests.e2e.kit.shop import GROUP
from tests.patience import stretched
from tests.unit.drawn_rows import drawn

from trimtab.training import publish

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WINDOW = "20s"
ROWS, ACTUAL = drawn(11_000, 2, 0, noise=0.4)


def published(name: str, model: Any, actual: Any, folder: Path) -> list[tuple[str, Json]]:
    """Put a version into the store; return what a person applies, by kind."""
    made = publish(
        model,
        ROWS[:8000],
        actual,
        uri=f"s3://models/{name}",
        model_name=name,
        version="v1",
        input_name="x",
        credentials=credentials(folder),
    )
    artifact = {"uri": made.uri, "digest": made.digest, "format": "sklearn"}
    quality = {"kind": "quality", "floor": {"limit": "85%"}}
    specs: list[tuple[str, str, Json]] = [
        ("ModelVersion", f"{name}-v1", {"model": name, "version": "v1", "artifact": artifact}),
        (
            "Deployment",
            name,
            {
                "model": name,
                "version": "v1",
                "replicas": 1,
                "metrics": {"scrape": {"interval": "1s"}},
            },
        ),
        (
            "DriftPolicy",
            name,
            {
                "selector": {"deployments": [name]},
                "window": WINDOW,
                "season": WINDOW,
                "signals": [quality, {"kind": "predictions", "tolerance": 0.02}],
            },
        ),
    ]
    return [
        (kind, {"apiVersion": GROUP, "kind": kind, "metadata": {"name": own}, "spec": spec})
        for kind, own, spec in specs
    ]


@pytest.fixture
def models(api: Api, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A support vector machine with truths and clusters without, each with a policy."""
    fitted: dict[str, Any] = {"margins": LinearSVC(), "clusters": KMeans(4, n_init=2)}
    objects = [
        *published("margins", fitted["margins"], ACTUAL[:8000], tmp_path),
        *published("clusters", fitted["clusters"], None, tmp_path),
    ]
    for kind, one in objects:
        api.apply(kind, one)
    yield fitted
    # The versions go with the namespace: while they are in use they cannot be deleted.
    for kind, one in reversed(objects):
        if kind != "ModelVersion":
            api.delete(kind, one["metadata"]["name"])


def answers(api: Api, name: str, rows: Any) -> list[Any]:
    service = api.get("Service", name)
    assert service is not None
    tensor = {"name": "x", "datatype": "FP64", "shape": list(rows.shape)}
    url = f"http://{service['spec']['clusterIP']}:8080/v2/models/{name}/infer"
    body = {"inputs": [tensor | {"data": rows.ravel().tolist()}]}

    def answered() -> httpx.Response | None:
        try:
            return httpx.post(url, json=body, timeout=stretched(20))
        except httpx.ConnectError:  # the node has not heard of the pod yet
            return None

    answer: httpx.Response = until(f"{name} answers", answered, 30)
    found: list[Any] = answer.raise_for_status().json()["outputs"][0]["data"]
    return found


def is_ready(api: Api, name: str) -> bool:
    return bool(condition(api.get("Deployment", name), "Ready")["status"] == "True")


def harm(api: Api, name: str) -> Json:
    return condition(api.get("DriftPolicy", name), "Harm")


def signals(api: Api, name: str) -> dict[str, Json]:
    entries = ((api.get("DriftPolicy", name) or {}).get("status") or {}).get("signals") or []
    return {one["kind"]: one for one in entries}


def test_a_policy_says_what_it_can_tell(api: Api, models: dict[str, Any]) -> None:
    until("both serve", lambda: all(is_ready(api, name) for name in models), 120)
    told = until("told at once", lambda: harm(api, "clusters").get("message"), 60)
    assert "publish(calibrate=(X, y))" in told
    assert harm(api, "clusters")["status"] == "Unknown"
    usual = ROWS[8000:]
    predicted = {name: model.predict(ROWS[8000:9000]).tolist() for name, model in models.items()}

    def is_judged(name: str, rows: Any, verdict: str, kind: str) -> bool:
        for at in range(0, 3000, 1000):
            found = answers(api, name, rows[at : at + 1000])
            if at == 0 and rows is usual:
                assert found == predicted[name]
        return signals(api, name).get(kind, {}).get("verdict") == verdict

    until("usual", lambda: is_judged("margins", usual, "Stable", "quality"), 120, every=1)
    value = signals(api, "margins")["quality"]["value"]
    true = float((models["margins"].predict(usual) == ACTUAL[8000:]).mean())
    assert value == pytest.approx(true, abs=0.03)
    near = 0.2 * usual
    until("harder", lambda: is_judged("margins", near, "Drifting", "quality"), 120, every=1)
    assert harm(api, "margins")["status"] == "True"
    # Near the middle all clusters are as frequent as before: what moves their shares is a side.
    aside = usual + 1.0
    until("other", lambda: is_judged("clusters", aside, "Drifting", "predictions"), 120, every=1)
    assert signals(api, "clusters")["quality"]["verdict"] == "NoData"
