"""What a DriftPolicy says of published models, from the pages of pods that served them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDClassifier
from sklearn.svm import LinearSVC
from tests.unit.drawn_rows import drawn
from tests.unit.loop_objects import documents, model_version, tried
from tests.unit.reconcile.kinds.policies import (
    PolicyShop,
    policy_object,
)
from tests.unit.serving.loopback import serving, vector

from trimtab.api.drift_policy import DriftPolicy
from trimtab.contract.artifact import BASELINE, Baseline
from trimtab.lint.facts import Facts
from trimtab.lint.policy import policy_remarks
from trimtab.serving.settings import ServingSettings
from trimtab.telemetry.exposition import Parser
from trimtab.training import publish

ROWS, TWO = drawn(11_000, 2, 0, noise=0.4)
THREE = drawn(11_000, 3, 0, noise=0.4).actual
QUALITY = {"kind": "quality", "floor": {"dropBy": "5%"}}
PREDICTIONS = {"kind": "predictions", "tolerance": 0.02}
SIGNALS = (QUALITY, PREDICTIONS)


@dataclass(frozen=True)
class Pages:
    """A version, and the page of its pod before, after usual and after moved rows.

    accuracy: on the usual rows, where there are truths.
    """

    digest: str
    baseline: Baseline
    texts: tuple[str, str, str]
    accuracy: float | None


async def pages_of(model: Any, actual: NDArray[Any] | None, folder: Path) -> Pages:
    """Publish and serve `model`; 3,000 rows as in training, then as many near one place."""
    model = clone(model)
    made = publish(
        model,
        ROWS[:8000],
        None if actual is None else actual[:8000],
        uri=f"file://{folder}/m",
        model_name="digits",
        version="v1",
        input_name="x",
    )
    settings = ServingSettings(
        model="digits",
        version="v1",
        artifact_uri=made.uri,
        artifact_digest=made.digest,
        artifact_format="sklearn",
        scratch=folder,
        termination_log=folder / "termination-log",
        host="127.0.0.1",
        inference_port=0,
        metrics_port=0,
    )
    texts: list[str] = []
    async with serving(settings) as client:
        texts.append((await client.back.get("/metrics")).text)
        usual = ROWS[8000:11_000]
        for rows in (usual, 0.2 * usual):
            for at in range(0, len(rows), 1000):
                answer = await client.infer(vector(rows[at : at + 1000]))
                assert answer.status_code == 200
            texts.append((await client.back.get("/metrics")).text)
    raw = (Path(made.uri.removeprefix("file://")) / BASELINE).read_bytes()
    first, second, third = texts
    accuracy = None
    if actual is not None:
        accuracy = float((model.predict(usual) == actual[8000:11_000]).mean())
    baseline = Baseline.model_validate_json(raw)
    return Pages(made.digest, baseline, (first, second, third), accuracy)


class ServedShop(PolicyShop):
    """The operator's policies over pages that pods wrote."""

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self.feed = None
        self.cluster.user_apply(model_version("v1", digest=pages.digest))
        self.set_phase("v1", "Verified")
        self.store.by_digest = {pages.digest: documents(pages.baseline)}
        self.set_status(stable=tried("v1", digest=pages.digest))
        self.pages = [dict(Parser().parse(text).values) for text in pages.texts]
        self.counts = self.pages[0]

    async def window(self, page: int) -> None:
        """Let the pods show a page, and a window of a minute end."""
        await self.harness.advance(30)
        self.counts = self.pages[page]
        await self.harness.advance(70)


CASES = {
    "linear_svc": (LinearSVC(), TWO),
    "linear_svc_of_three": (LinearSVC(), THREE),
    "sgd": (SGDClassifier(random_state=0), THREE),
    "k_means": (KMeans(4, n_init=2, random_state=0), None),
    "isolation_forest": (IsolationForest(n_estimators=20, random_state=0), None),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_policy_says_what_it_can_tell(name: str, tmp_path: Path) -> None:
    model, actual = CASES[name]
    pages = await pages_of(model, actual, tmp_path)
    shop = ServedShop(pages)
    shop.apply(policy_object(*SIGNALS))
    await shop.harness.advance(10)
    if actual is None:
        # Before any window: none will ever tell.
        assert shop.verdict("quality") == "NoData"
        assert "publish(calibrate=(X, y))" in shop.condition("Harm")["message"]
        assert shop.condition("Harm")["status"] == "Unknown"
    await shop.harness.advance(60)
    await shop.window(1)
    assert shop.verdict("predictions") == "Stable", shop.signal("predictions")
    if actual is not None:
        assert shop.verdict("quality") == "Stable", shop.signal("quality")
        assert shop.signal("quality")["value"] == pytest.approx(pages.accuracy, abs=0.02)
    await shop.window(2)
    assert shop.verdict("predictions") == "Drifting", shop.signal("predictions")
    assert shop.verdict("quality") == ("NoData" if actual is None else "Drifting")
    if actual is None:
        assert "publish(calibrate=(X, y))" in shop.condition("Harm")["message"]


@pytest.mark.parametrize("name", CASES)
async def test_lint_says_the_same_before(name: str, tmp_path: Path) -> None:
    model, actual = CASES[name]
    pages = await pages_of(model, actual, tmp_path)
    policy = DriftPolicy.model_validate(
        policy_object({"kind": "quality", "floor": {"limit": "60%"}})
    )
    remarks = policy_remarks(policy, Facts(rows=50_000, baseline=pages.baseline))
    errors = [one.message for one in remarks if one.severity == "error"]
    assert ["publish(calibrate=(X, y))" in text for text in errors] == [True] * (actual is None)
