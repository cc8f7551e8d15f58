"""Models without probabilities: published, served, and watched by classes and decision values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import RidgeClassifier, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from tests.unit.drawn_rows import drawn
from tests.unit.serving.loopback import serving, vector
from tests.unit.serving.stored import KEY

from trimtab.contract import metrics
from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Signature
from trimtab.contract.token import NO_BIN, read_token
from trimtab.serving.settings import ServingSettings
from trimtab.training import Published, publish

TRAINED = 20_000
SENT = 900


class Case(NamedTuple):
    """A model, the number of its classes, and what its score is; 0: it learns without truths."""

    model: Any
    classes: int
    kind: str


CASES = {
    "linear_svc": Case(LinearSVC(), 2, "decision"),
    "linear_svc_of_three": Case(LinearSVC(), 3, "decision"),
    "sgd": Case(SGDClassifier(random_state=0), 2, "decision"),
    "sgd_of_three": Case(SGDClassifier(random_state=0), 3, "decision"),
    "scaled_ridge": Case(make_pipeline(StandardScaler(), RidgeClassifier()), 3, "decision"),
    "svc_of_pairs": Case(SVC(decision_function_shape="ovo"), 3, "none"),
    "k_means": Case(KMeans(4, n_init=2, random_state=0), 0, "none"),
    "mixture": Case(GaussianMixture(3, random_state=0), 0, "decision"),
    "isolation_forest": Case(IsolationForest(n_estimators=20, random_state=0), 0, "decision"),
}


def published(case: Case, folder: Path) -> tuple[Any, Published]:
    """Return the fitted model, and where it lies."""
    rows = drawn(TRAINED, case.classes or 2, 1)
    actual = rows.actual if case.classes else None
    uri, model = f"file://{folder}/m", clone(case.model)
    made = publish(
        model, rows.matrix, actual, uri=uri, model_name="digits", version="v1", input_name="x"
    )
    return model, made


def documents(made: Published) -> tuple[Signature, Baseline]:
    folder = Path(made.uri.removeprefix("file://"))
    return (
        Signature.model_validate_json((folder / SIGNATURE).read_bytes()),
        Baseline.model_validate_json((folder / BASELINE).read_bytes()),
    )


class Answered(NamedTuple):
    """What a pod answered for rows, and counted."""

    classes: list[Any]
    outputs: list[str]
    bins: bytes
    page: dict[str, float]


async def answered(made: Published, settings: ServingSettings, rows: Any) -> Answered:
    settings = replace(settings, artifact_uri=made.uri, artifact_digest=made.digest)
    async with serving(settings) as client:
        response = await client.infer(vector(rows))
        assert response.status_code == 200, response.text
        answer = response.json()
        token = read_token(answer["parameters"]["trimtab_token"], KEY)
        page = await client.metrics()
        refused = await client.infer(vector(rows[:1]), parameters={"probabilities": True})
    outputs = [one["name"] for one in answer["outputs"]]
    assert refused.status_code == (200 if "probabilities" in outputs else 400)
    return Answered(answer["outputs"][0]["data"], outputs, token.bins, page)


def by(page: Mapping[str, float], name: str) -> dict[str, float]:
    """Return the series of one metric by their own labels."""
    return {
        key.removeprefix(name).strip("{}"): value
        for key, value in page.items()
        if key.partition("{")[0] == name
    }


@pytest.mark.parametrize("name", CASES)
async def test_it_answers_as_predict_does_and_is_counted(
    name: str, settings: ServingSettings, tmp_path: Path
) -> None:
    case = CASES[name]
    model, made = published(case, tmp_path)
    signature, baseline = documents(made)
    rows = drawn(SENT, 2, 2).matrix
    found = await answered(made, settings, rows)
    predicted = model.predict(rows)
    assert found.classes == predicted.tolist()
    has_probabilities = name == "mixture"
    assert found.outputs == ["class", "probabilities"][: 1 + has_probabilities]
    assert baseline.score_kind == case.kind
    assert bool(baseline.calibration) == (case.classes > 0 and case.kind == "decision")
    counted = by(found.page, metrics.PREDICTED)
    assert counted == {
        f"class={one}": float((predicted == int(one)).sum()) for one in signature.classes
    }
    bins = by(found.page, metrics.SCORE_BIN)
    assert sum(bins.values()) == SENT
    assert len(bins) == len(baseline.score_counts)
    assert (len(bins) > 5) == (case.kind == "decision")
    sums = by(found.page, metrics.PROBABILITY_SUM)
    assert bool(sums) == bool(baseline.calibration)
    is_binned = set(found.bins) != {NO_BIN}
    assert is_binned == bool(baseline.calibration)


@pytest.mark.parametrize("name", ["linear_svc", "linear_svc_of_three", "sgd", "scaled_ridge"])
async def test_calibrated_decision_values_tell_accuracy_and_recall(
    name: str, settings: ServingSettings, tmp_path: Path
) -> None:
    case = CASES[name]
    model, made = published(case, tmp_path)
    matrix, actual = drawn(8000, case.classes, 3)
    counts: defaultdict[tuple[str, str], float] = defaultdict(float)
    for at in range(0, len(matrix), 1000):
        page = (await answered(made, settings, matrix[at : at + 1000])).page
        for labels, value in by(page, metrics.PROBABILITY_SUM).items():
            predicted, of_class = (part.partition("=")[2] for part in labels.split(","))
            counts[predicted, of_class] += value
    assert sum(counts.values()) == pytest.approx(len(matrix))
    answers = model.predict(matrix)
    right = sum(value for (one, other), value in counts.items() if one == other)
    assert right / len(matrix) == pytest.approx((answers == actual).mean(), abs=0.01)
    for one in range(case.classes):
        expected = sum(value for (_, other), value in counts.items() if other == str(one))
        recall = counts[str(one), str(one)] / expected
        assert recall == pytest.approx((answers == one)[actual == one].mean(), abs=0.03)
