"""The model behind one call: matrix in, prediction out, whatever library made it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.token import NO_BIN, PROBABILITY_BINS
from trimtab.serving.artifact import Artifact
from trimtab.serving.calibration import Floats, calibrated
from trimtab.serving.errors import ArtifactRefused, ModelFailed

Matrix = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]

log = logging.getLogger(__name__)

# Their `predict` is not the class of the largest probability.
_OWN_RULE = frozenset(
    {"SVC", "NuSVC", "FixedThresholdClassifier", "TunedThresholdClassifierCV", "RidgeClassifier"}
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answers for n rows.

    Classification: `predicted` (n,) indices into the signature's classes; with probabilities
    also `probabilities` and `calibrated` (n, K), `bins` (n,) of the predicted class's calibrated
    probability, and `score` (n,): probability of the second class if K is 2, else the largest.
    Regression: `values` (n,), which is `score`, too; with several targets `targets` (n, T) as
    well, of which `values` is the first.
    """

    predicted: NDArray[np.intp] | None = None
    values: Floats | None = None
    probabilities: Floats | None = None
    calibrated: Floats | None = None
    bins: NDArray[np.uint8] | None = None
    score: Floats | None = None
    targets: Floats | None = None

    def only(self, chosen: NDArray[np.bool_]) -> Prediction:
        """Return the prediction of the chosen rows."""
        return Prediction(
            *(None if (part := getattr(self, name)) is None else part[chosen] for name in _PARTS)
        )


_PARTS = ("predicted", "values", "probabilities", "calibrated", "bins", "score", "targets")


class Model:
    """A loaded estimator with the signature's view of its answers."""

    def __init__(self, estimator: Any, signature: Signature, baseline: Baseline) -> None:
        self._estimator = estimator
        self._calibration = baseline.calibration
        self._is_classifier = signature.task == "classification"
        self._classes = len(signature.classes)
        self._targets = sum(prod(tensor.shape) for tensor in signature.outputs)
        self.has_probabilities = self._is_classifier and hasattr(estimator, "predict_proba")
        self._has_own_rule = type(_last_step(estimator)).__name__ in _OWN_RULE
        self._index: dict[str, int] = {name: i for i, name in enumerate(signature.classes)}
        self._columns = _frame_columns(estimator, signature)
        self._checks_inputs = not any(tensor.missing_allowed for tensor in signature.inputs)
        if self._is_classifier:
            _check_classes(estimator, signature)
            _check_calibration(baseline, len(signature.classes))

    def prepare_thread(self) -> None:
        """Spare scikit-learn its own search for NaN where validation has done it already."""
        if self._checks_inputs:
            import sklearn

            sklearn.set_config(assume_finite=True)  # holds for the calling thread only

    def predict(self, rows: Matrix) -> Prediction:
        """Return the answers for `rows` (n, features); raise ModelFailed."""
        table = self._table(rows)
        try:
            if not self._is_classifier:
                return self._regression(table, len(rows))
            if self.has_probabilities:
                return self._probable(table, len(rows))
            return Prediction(predicted=self._own_choice(table))
        except ModelFailed:
            raise
        except Exception as error:
            raise ModelFailed(f"{type(error).__name__}: {error}") from error

    def _table(self, rows: Matrix) -> Any:
        if self._columns is None:
            return rows
        import pandas as pd

        return pd.DataFrame(rows, columns=self._columns).infer_objects()

    def _regression(self, table: Any, rows: int) -> Prediction:
        targets = np.asarray(self._estimator.predict(table), dtype=np.float64)
        if self._targets == 1:
            values = targets.reshape(-1)
            _check(values, (rows,))
            return Prediction(values=values, score=values)
        _check(targets, (rows, self._targets))
        values = targets[:, 0]
        return Prediction(values=values, score=values, targets=targets)

    def _probable(self, table: Any, rows: int) -> Prediction:
        raw = np.asarray(self._estimator.predict_proba(table), dtype=np.float64)
        _check(raw, (rows, self._classes))
        predicted = self._own_choice(table) if self._has_own_rule else raw.argmax(axis=1)
        known = calibrated(raw, self._calibration)
        sure = known[np.arange(rows), predicted]
        return Prediction(
            predicted=predicted,
            probabilities=raw,
            calibrated=known,
            bins=np.minimum(sure * PROBABILITY_BINS, PROBABILITY_BINS - 1).astype(np.uint8),
            score=raw[:, 1] if self._classes == 2 else raw.max(axis=1),
        )

    def _own_choice(self, table: Any) -> NDArray[np.intp]:
        names = np.asarray(self._estimator.predict(table)).reshape(-1).tolist()
        return np.array([self._index[str(name)] for name in names], dtype=np.intp)


def no_bins(rows: int) -> bytes:
    """Return the bins of a model without probabilities."""
    return bytes([NO_BIN]) * rows


def load_model(artifact: Artifact, *, trust_pickle: bool) -> Model:
    """Load a verified model; raise ArtifactRefused with the reason in words."""
    # Rows come as plain arrays; feature names were checked against the signature.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    manifest = artifact.manifest
    if manifest.format != "sklearn":
        raise ArtifactRefused(
            "FormatUnknown", f"this image serves sklearn models, not {manifest.format}"
        )
    _warn_of_versions(manifest.frameworks)
    suffix = artifact.model_file.suffix
    if suffix == ".skops":
        from trimtab.serving.skops_file import load_skops

        estimator = load_skops(artifact.model_file)
    elif suffix in (".joblib", ".pkl", ".pickle"):
        if not trust_pickle:
            raise ArtifactRefused(
                "PickleNotTrusted",
                f"{manifest.model_file} can run code when loaded; set trustPickle to allow it",
            )
        estimator = _load_pickle(artifact)
    else:
        raise ArtifactRefused("FormatUnknown", f"no loader for {manifest.model_file}")
    if not hasattr(estimator, "predict"):
        raise ArtifactRefused("Malformed", f"{type(estimator).__name__} has no predict")
    return Model(estimator, artifact.signature, artifact.baseline)


def _warn_of_versions(frameworks: dict[str, str]) -> None:
    import sklearn

    made_with = frameworks.get("scikit-learn")
    if made_with is not None and made_with != sklearn.__version__:
        log.warning("made with scikit-learn %s, served with %s", made_with, sklearn.__version__)


def _load_pickle(artifact: Artifact) -> Any:
    import joblib

    try:
        return joblib.load(artifact.model_file)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactRefused("Malformed", f"{artifact.model_file.name}: {said}") from error


def _check(answers: Floats, shape: tuple[int, ...]) -> None:
    if answers.shape != shape:
        raise ModelFailed(f"the model answered with shape {answers.shape}, {shape} was expected")
    if not np.isfinite(answers).all():
        raise ModelFailed("the model answered with a value that is not finite")


def _check_classes(estimator: Any, signature: Signature) -> None:
    classes = getattr(estimator, "classes_", None)
    if not signature.classes:
        raise ArtifactRefused("Malformed", "signature.json: classes: a classifier names them")
    if classes is None:
        return
    named = [str(name) for name in classes]
    if named != signature.classes:
        raise ArtifactRefused(
            "ClassesDiffer", f"the model knows {named[:10]}, the signature {signature.classes[:10]}"
        )


def _check_calibration(baseline: Baseline, classes: int) -> None:
    maps = baseline.calibration
    if maps and len(maps) != (1 if classes == 2 else classes):
        raise ArtifactRefused("Malformed", f"baseline.json: calibration: {len(maps)} maps")
    if any(len(one.x) != len(one.y) or not one.x for one in maps):
        raise ArtifactRefused("Malformed", "baseline.json: calibration: x and y differ in length")


def _last_step(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return _last_step(steps[-1][1]) if steps else estimator


def _frame_columns(estimator: Any, signature: Signature) -> list[str] | None:
    """Return column names when a step selects by name, and refuse when pandas is missing."""
    if not _selects_by_name(estimator):
        return None
    try:
        import pandas as pd  # noqa: F401
    except ImportError as error:
        raise ArtifactRefused(
            "NeedsPandas", "the model selects columns by name, and this image has no pandas"
        ) from error
    return [
        name for tensor in signature.inputs for name in feature_names(tensor.name, tensor.shape)
    ]


def feature_names(name: str, shape: list[int]) -> list[str]:
    """Return `x` for a scalar input, `x[0]`, `x[1]`, ... for a longer one (row-major)."""
    if not shape:
        return [name]
    return [f"{name}[{index}]" for index in range(int(np.prod(shape)))]


def _selects_by_name(estimator: Any) -> bool:
    steps = getattr(estimator, "steps", None)
    if steps:
        return _selects_by_name(steps[0][1])
    transformers = getattr(estimator, "transformers", None)
    if not isinstance(transformers, list):
        return False
    columns = [entry[2] for entry in transformers if len(entry) == 3]
    return any(
        isinstance(chosen, str)
        or (isinstance(chosen, list) and any(isinstance(name, str) for name in chosen))
        for chosen in columns
    )
