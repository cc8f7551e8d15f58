"""Models that learn without labels: published with their own labels as classes, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    FeatureAgglomeration,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression, SGDOneClassSVM
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Signature
from trimtab.training import Published, publish
from trimtab.training.errors import CodeBroken, DataBroken
from trimtab.training.models import load_champion

RANDOM = np.random.default_rng(0)
CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
X = CENTRES[RANDOM.integers(0, 3, 600)] + RANDOM.normal(size=(600, 2))
FAR = np.abs(X).sum(axis=1) > 7


def published(model: Any, folder: Path, *rows: Any, **more: Any) -> Published:
    uri = f"file://{folder}/m"
    return publish(model, *(rows or (X, None)), uri=uri, model_name="m", version="v1", **more)


def read(made: Published) -> tuple[Signature, Baseline]:
    folder = Path(made.uri.removeprefix("file://"))
    return (
        Signature.model_validate_json((folder / SIGNATURE).read_bytes()),
        Baseline.model_validate_json((folder / BASELINE).read_bytes()),
    )


@pytest.mark.parametrize(
    ("model", "classes", "kind"),
    [
        (KMeans(3, n_init=1, random_state=0), ["0", "1", "2"], "none"),
        (MiniBatchKMeans(3, n_init=1, random_state=0), ["0", "1", "2"], "none"),
        (MeanShift(bandwidth=3), ["0", "1", "2"], "none"),
        (AffinityPropagation(random_state=0), None, "none"),
        (make_pipeline(StandardScaler(), KMeans(2, n_init=1)), ["0", "1"], "none"),
        (GaussianMixture(3, random_state=0), ["0", "1", "2"], "decision"),
        (BayesianGaussianMixture(n_components=3, random_state=0), ["0", "1", "2"], "decision"),
        (IsolationForest(n_estimators=5, random_state=0), ["-1", "1"], "decision"),
        (OneClassSVM(nu=0.1), ["-1", "1"], "decision"),
        (EllipticEnvelope(random_state=0), ["-1", "1"], "decision"),
        (SGDOneClassSVM(random_state=0), ["-1", "1"], "decision"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_its_labels_are_the_classes(
    model: Any, classes: list[str] | None, kind: str, tmp_path: Path
) -> None:
    made = published(model, tmp_path)
    signature, baseline = read(made)
    assert signature.task == "classification"
    assert classes is None or signature.classes == classes
    assert (baseline.score_kind, baseline.calibration, baseline.metrics) == (kind, [], [])
    assert (made.metrics, baseline.n) == ([], 240)
    assert sum(baseline.predicted_counts.values()) == baseline.n
    loaded = load_champion(made.uri, made.digest, None, tmp_path / "copy")
    found = loaded.model.answers(X[:50])
    assert found.chosen is not None or found.probabilities is not None
    if found.chosen is not None:
        names = [signature.classes[one] for one in found.chosen]
        assert names == [str(one) for one in model.predict(X[:50])]


def test_a_fitted_one_needs_other_rows_only(tmp_path: Path) -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(X[:400])
    with pytest.raises(CodeBroken, match="rows that it has not seen"):
        published(model, tmp_path)
    _, baseline = read(published(model, tmp_path, X[:400], None, evaluate=(X[400:], None)))
    assert baseline.n == 200


def test_truths_of_outliers_measure_and_calibrate(tmp_path: Path) -> None:
    """Learned without labels, with those of other rows: the score is calibrated."""
    actual = np.where(FAR, -1, 1)
    _, alone = read(published(OneClassSVM(nu=0.1), tmp_path / "alone"))
    for folder, y in (("some", None), ("all", actual[:200])):
        made = published(
            OneClassSVM(nu=0.1),
            tmp_path / folder,
            X[:200],
            y,
            calibrate=(X[200:400], actual[200:400]),
            evaluate=(X[400:], actual[400:]),
        )
        _, baseline = read(made)
        assert {one.metric for one in made.metrics} == {"accuracy", "f1", "auc"}
        (found,) = baseline.calibration
        assert min(found.x) < 0 < max(found.x)
    assert not alone.calibration
    with pytest.raises(DataBroken, match=r"y holds 0, and OneClassSVM answers -1"):
        published(OneClassSVM(), tmp_path, X, FAR.astype(int))


@pytest.mark.parametrize("model", [KMeans(3), GaussianMixture(3)], ids=["clusters", "mixture"])
def test_truths_of_clusters_are_refused(model: Any, tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match="numbers its clusters by itself"):
        published(model, tmp_path, X, FAR.astype(int))
    rows = (X[:300], None)
    with pytest.raises(DataBroken, match="give None"):
        published(model, tmp_path, *rows, calibrate=(X, FAR), evaluate=(X, FAR))


def test_one_cluster_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match="KMeans found 1 clusters"):
        published(KMeans(1, n_init=1), tmp_path)


def test_a_classifier_needs_truths(tmp_path: Path) -> None:
    with pytest.raises(DataBroken, match="LogisticRegression learns from truths"):
        published(LogisticRegression(), tmp_path)
    y = FAR.astype(int)
    pairs = {"calibrate": (X, None), "evaluate": (X, y)}
    with pytest.raises(DataBroken, match="LogisticRegression learns from truths"):
        published(LogisticRegression(), tmp_path, X, y, **pairs)


@pytest.mark.parametrize(
    ("model", "way"),
    [
        (DBSCAN(), r"KNeighborsClassifier\(\).fit\(X, DBSCAN\(...\).fit_predict\(X\)\)"),
        (HDBSCAN(copy=True), "KNeighborsClassifier"),
        (OPTICS(), "KNeighborsClassifier"),
        (AgglomerativeClustering(), "KNeighborsClassifier"),
        (SpectralClustering(), "KNeighborsClassifier"),
        (make_pipeline(StandardScaler(), DBSCAN()), "DBSCAN has no predict"),
        (LocalOutlierFactor(), "novelty=True"),
        (FeatureAgglomeration(), "a step of a Pipeline"),
        (PCA(), "a step of a Pipeline"),
        (KernelDensity(), "KernelDensity has no predict"),
        (object(), "object has no fit"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else "",
)
def test_what_cannot_answer_for_new_rows_is_refused(model: Any, way: str, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=way):
        published(model, tmp_path)
