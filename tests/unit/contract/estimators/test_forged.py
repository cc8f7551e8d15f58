"""Forged files are refused, or answer or raise in Python; none takes the process down."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from sklearn.svm import SVC
from tests.estimators.forging import Forger

from trimtab.contract.estimators.arrays import check_dtype
from trimtab.contract.estimators.nodes import check_arguments
from trimtab.contract.estimators.refused import ModelRefused, UnsafeModel
from trimtab.contract.estimators.stored import load_skops
from trimtab.contract.estimators.trusted import check, untrusted
from trimtab.training.models import pack

ROOT = Path(__file__).parents[4]
RANDOM = np.random.default_rng(0)
X = np.abs(RANDOM.normal(size=(40, 4)))
Y = (X[:, 0] > 0.6).astype(int) + (X[:, 1] > 0.8)
CODES = RANDOM.integers(0, 6, (40, 2))
TEXTS = np.array(["red apple pie", "green pear", "blue sky", "pie in the sky"] * 10, dtype=object)

MODELS: dict[str, tuple[Any, Any]] = {
    "forest": (RandomForestClassifier(2, max_depth=3), X),
    "boosting": (GradientBoostingClassifier(n_estimators=2), X),
    "histogram": (HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5), X),
    "categories": (
        HistGradientBoostingClassifier(categorical_features=[0, 1], max_iter=2, min_samples_leaf=5),
        CODES,
    ),
    "isolation": (IsolationForest(n_estimators=2, max_features=0.5), X),
    "svc": (SVC(), X),
    "brute": (KNeighborsClassifier(3, algorithm="brute"), X),
    "kd_tree": (KNeighborsClassifier(3, algorithm="kd_tree"), X),
    "kmeans": (KMeans(3, n_init=1), X),
    "bisecting": (BisectingKMeans(3), X),
    "envelope": (EllipticEnvelope(), X),
    "texts": (make_pipeline(TfidfVectorizer(), SVC()), TEXTS),
    "one_hot": (make_pipeline(OneHotEncoder(), LogisticRegression()), CODES),
    "splines": (make_pipeline(SplineTransformer(3), LogisticRegression()), X),
}


@cache
def fitted(name: str) -> Any:
    model, rows = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, Y)


@cache
def forger(name: str) -> Forger:
    return Forger(pack(fitted(name)).body)


class Victim:
    """A process that loads files and asks them; started anew where one took it down."""

    def __init__(self, folder: Path) -> None:
        self._file, self._rows = folder / "model.skops", folder / "rows.npy"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.estimators.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def outcome(self, file: bytes, rows: Any) -> str:
        """Return what came of it, nothing where the process ended or went silent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._file.write_bytes(file)
        np.save(self._rows, rows)
        self._process.stdin.write(json.dumps([str(self._file), str(self._rows)]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], 60)
        return self._process.stdout.readline().strip() if ready else ""

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    process = Victim(tmp_path)
    yield process
    process.end()


places = st.integers(0, 10**9)


@pytest.mark.parametrize("name", MODELS)
def test_no_forged_file_takes_the_process_down(name: str, victim: Victim) -> None:
    rows = MODELS[name][1]
    assert victim.outcome(pack(fitted(name)).body, rows) == "answered"

    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(in_array=st.booleans(), how=places, which=places, where=places, value=places)
    def forge(in_array: bool, how: int, which: int, where: int, value: int) -> None:
        forged = forger(name)
        file = (
            forged.with_array(which, how, where, value)
            if in_array
            else forged.with_node(how, where, value)
        )
        assert victim.outcome(file, rows) in ("refused", "raised", "answered")

    forge()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("svc", {"support_vectors_": X[:3]}, "do not fit"),
        ("svc", {"_dual_coef_": np.ones((1, 3))}, "counts"),
        ("svc", {"_intercept_": np.zeros(1)}, "intercepts"),
        ("svc", {"_n_support": np.array([10**6, 0, 0], dtype=np.int32)}, "counts"),
        ("svc", {"_effective_probability": True}, "calibration"),
        ("brute", {"_y": Y + 10**6}, "labels beyond"),
        ("brute", {"_y": Y[:3]}, "one label"),
        ("brute", {"_fit_X": X[:, :2]}, "as wide"),
        ("brute", {"n_neighbors": 10**6}, "asks for"),
        ("brute", {"metric_params": {"Y_norm_squared": X[0]}}, "not known"),
        ("kd_tree", {"metric_params": {"V": X[0, :2]}}, "another size"),
        ("kd_tree", {"effective_metric_": "no such"}, "made whole"),
        ("kmeans", {"cluster_centers_": X[:3, :1]}, "centres of 1"),
        ("envelope", {"precision_": np.eye(2)}, "precision_"),
        ("histogram", {"_in_fit": True}, "being fitted"),
        ("isolation", {"_max_features": 4}, "is given"),
        ("boosting", {"init_": "zero", "n_trees_per_iteration_": 1}, "trees a round"),
        ("forest", {"predict": np.sin}, "hides its own method"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, change: dict[str, Any], says: str) -> None:
    model = load_skops(pack(fitted(name)).body)
    vars(model).update(change)
    with pytest.raises(UnsafeModel, match=says):
        check(model)


def test_parts_of_a_pipeline_that_do_not_fit_are_refused() -> None:
    texts = load_skops(pack(fitted("texts")).body)
    texts[0].vocabulary_["pie"] = 10**6
    with pytest.raises(UnsafeModel, match="beyond its"):
        check(texts)
    codes = load_skops(pack(fitted("one_hot")).body)
    codes[0]._n_features_outs = [1, 1]
    with pytest.raises(UnsafeModel, match="more categories than columns"):
        check(codes)
    sparse = load_skops(pack(fitted("texts")).body)
    sparse[1].support_vectors_.indices[0] = 10**6
    with pytest.raises(UnsafeModel, match="sparse matrix is broken"):
        check(sparse)


def test_a_spline_is_made_anew_from_what_the_file_says() -> None:
    model = fitted("splines")
    with pytest.raises(ModelRefused):
        check_forged_knots(model)


def check_forged_knots(model: Any) -> None:
    file = Forger(pack(model).body)
    for which in range(len(file.arrays)):
        load_skops(file.with_array(which, 3, 0, 1))  # every array is cut to one


@pytest.mark.parametrize(
    "arguments",
    [
        (4, np.array([2]), 10**9),
        (4, np.array([2]), 2),
        (4, np.array([0]), 1),
        (4, np.array([2]), 0),
        (4, [2], 1),
        (4, np.array([2.0]), 1),
        [4, np.array([2]), 1],
    ],
)
def test_sizes_of_a_tree_are_checked_before_it_is_made(arguments: Any) -> None:
    with pytest.raises(UnsafeModel):
        check_arguments(arguments)


def test_data_types_are_plain() -> None:
    check_dtype(np.dtype("f8"))
    for name in ("U100000", [("a", "f8")], "V8"):
        with pytest.raises(UnsafeModel, match="data type"):
            check_dtype(np.dtype(name))


def test_functions_that_do_more_than_compute_are_not_trusted() -> None:
    names = ["numpy.load", "numpy.fromfile", "numpy.savez", "os.system", "builtins.eval"]
    names += ["sklearn.utils.Bunch.update", "scipy.io.loadmat", "numpy.zeros", "joblib.load"]
    names += ["sklearn.neighbors._kd_tree.KDTree", "sklearn.metrics._scorer._Scorer"]
    assert untrusted(names) == names
    assert untrusted(["numpy.clip", "scipy.special._ufuncs.expit", "numpy.log1p"]) == []
