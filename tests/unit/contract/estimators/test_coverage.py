"""Every estimator of scikit-learn is served or refused in words, as the page of them says."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AgglomerativeClustering,
    FeatureAgglomeration,
    SpectralClustering,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from tests.estimators.cases import CALIBRATE, EVALUATE, ROWS, UNSEEN, Case, cases
from tests.estimators.measure import measure

FILE = Path(__file__).parents[4] / "operator/trimtab/generate/estimators.json"
MEASURED: dict[tuple[str, str], dict[str, Any]] = {
    (one["kind"], one["name"]): one for one in json.loads(FILE.read_text("utf-8"))["estimators"]
}
CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.name}")
def test_an_estimator_is_what_the_page_says(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = measure(case)
    assert vars(outcome) == MEASURED[case.kind, case.name]


def test_the_page_has_all_of_them_and_most_are_served() -> None:
    assert set(MEASURED) == {(case.kind, case.name) for case in CASES}
    served = [kind for (kind, _), one in MEASURED.items() if one["served"]]
    assert served.count("classifier") >= 42
    assert served.count("regressor") >= 53
    assert all(
        "; " in one["refusal"] or ": " in one["refusal"]
        for one in MEASURED.values()
        if not one["served"]
    )


APART = np.concatenate([ROWS, CALIBRATE, EVALUATE])
APART[::2] += 8  # two clusters, in every part
UNPREDICTING = (
    AgglomerativeClustering(3),
    DBSCAN(eps=1.5),
    HDBSCAN(min_cluster_size=20, copy=True),
    OPTICS(cluster_method="dbscan", eps=1.5),
    SpectralClustering(3, random_state=0),
)


@pytest.mark.parametrize("clusterer", UNPREDICTING, ids=lambda one: type(one).__name__)
def test_neighbours_of_clusters_are_served_as_the_refusal_says(clusterer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = clusterer.fit_predict(APART)
    assert measure(_case_of(KNeighborsClassifier(), labels)).served


def test_what_prepares_rows_is_served_as_a_step() -> None:
    model = make_pipeline(FeatureAgglomeration(), LogisticRegression())
    assert measure(_case_of(model, (APART[:, 0] > 5).astype(int))).served


def _case_of(model: Any, truths: Any) -> Case:
    start, stop = len(ROWS), len(ROWS) + len(CALIBRATE)
    return Case(
        name=type(model).__name__,
        kind="classifier",
        model=model,
        rows=APART[:start],
        truths=truths[:start],
        unseen=np.concatenate([UNSEEN, UNSEEN + 8]),
        calibrate=(APART[start:stop], truths[start:stop]),
        evaluate=(APART[stop:], truths[stop:]),
    )
