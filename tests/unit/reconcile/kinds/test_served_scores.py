"""What a DriftPolicy says of published models, from the pages of pods that served them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDClassifier
from sklearn.svm import LinearSVC
from tests.unit.loop_objects import documents, model_version, tried
from tests.unit.reconcile.kinds.policies import (
    PolicyShop,
    policy_object,
)
from tests.unit.serving.conftest import binary, settings  # noqa: F401 - fixtures
from tests.unit.serving.loopback import serving, vector

from trimtab.api.drift_policy import DriftPolicy
from trimtab.contract.artifact import BASELINE, Baseline
from trimtab.lint.facts import Facts
from trimtab.lint.policy import policy_remarks
from trimtab.serving.settings import ServingSettings
from trimtab.telemetry.exposition import Parser
from trimtab.training import publish

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(12_000, 4))
SEEN = ROWS[:, :2] + RANDOM.normal(0, 0.4, (len(ROWS), 2))
TWO = (SEEN[:, 0] > 0).astype(int)
THREE = TWO + (SEEN[:, 1] > 0.5)
QUALITY = {"kind": "quality", "floor": {"dropBy": "5%"}}
PREDICTIONS = {"kind": "predictions", "tolerance": 0.02}
SIGNALS = (QUALITY, PREDICTIONS)


@dataclass(frozen=True)
class Pages:
    """Digests of a version, and the page of its pod before, after usual and after moved rows."""

    digest: str
    baseline: Baseline
    texts: tuple[str, str, str]


async def pages_of(
    model: Any, actual: NDArray[Any] | None, settings: ServingSettings, folder: Path
) -> Pages:
    """Publish and serve `model`; 3,000 rows as in training, then as many near one place."""
    made = publish(
        clone(model),
        ROWS[:8000],
        None if actual is None else actual[:8000],
        uri=f"file://{folder}/m",
        model_name="digits",
        version="v1",
        input_name="x",
    )
    settings = replace(settings, artifact_uri=made.uri, artifact_digest=made.digest)
    texts: list[str] = []
    async with serving(settings) as client:
        texts.append((await client.back.get("/metrics")).text)
        near = ROWS[8000:11_000] * 0.2
        for rows in (ROWS[8000:11_000], near):
            for at in range(0, len(rows), 1000):
                answer = await client.infer(vector(rows[at : at + 1000]))
                assert answer.status_code == 200
            texts.append((await client.back.get("/metrics")).text)
    raw = (Path(made.uri.removeprefix("file://")) / BASELINE).read_bytes()
    first, second, third = texts
    return Pages(made.digest, Baseline.model_validate_json(raw), (first, second, third))


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
async def test_a_policy_says_what_it_can_tell(
    name: str,
    settings: ServingSettings,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    model, actual = CASES[name]
    pages = await pages_of(model, actual, settings, tmp_path)
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
        assert shop.signal("quality")["value"] == pytest.approx(
            next(one.value for one in pages.baseline.metrics if one.metric == "accuracy"), abs=0.02
        )
    await shop.window(2)
    assert shop.verdict("predictions") == "Drifting", shop.signal("predictions")
    assert shop.verdict("quality") == ("NoData" if actual is None else "Drifting")
    if actual is None:
        assert "publish(calibrate=(X, y))" in shop.condition("Harm")["message"]


@pytest.mark.parametrize("name", CASES)
async def test_lint_says_the_same_before(
    name: str,
    settings: ServingSettings,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    model, actual = CASES[name]
    pages = await pages_of(model, actual, settings, tmp_path)
    policy = DriftPolicy.model_validate(
        policy_object({"kind": "quality", "floor": {"limit": "60%"}})
    )
    remarks = policy_remarks(policy, Facts(rows=50_000, baseline=pages.baseline))
    errors = [one.message for one in remarks if one.severity == "error"]
    assert ["publish(calibrate=(X, y))" in text for text in errors] == [True] * (actual is None)
