"""Models of scikit-learn: what a file may hold, and what an estimator answers."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature
from trimtab.contract.own_rule import has_own_rule
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Matrix, feature_names
from trimtab.serving.model.calibration import Floats

log = logging.getLogger(__name__)


class SklearnEstimator:
    """An estimator or pipeline; raises ArtifactRefused where its classes are not the signature's.

    `keeps_whole` is False: scikit-learn was trained on one table, whole numbers beside others
    were doubles there, too.
    """

    keeps_whole = False

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._estimator = estimator
        self.has_probabilities = hasattr(estimator, "predict_proba")
        self._has_own_rule = has_own_rule(estimator)
        self._index: dict[str, int] = {name: i for i, name in enumerate(signature.classes)}
        self._columns = _frame_columns(estimator, signature)
        self._checks_inputs = not any(tensor.missing_allowed for tensor in signature.inputs)
        if signature.task == "classification":
            _check_classes(estimator, signature)

    def prepare_thread(self) -> None:
        """Spare scikit-learn its own search for NaN where validation has done it already."""
        if self._checks_inputs:
            import sklearn

            sklearn.set_config(assume_finite=True)  # holds for the calling thread only

    def values(self, rows: Matrix) -> Floats:
        """Return what `predict` does, (n,) or (n, T)."""
        return np.asarray(self._estimator.predict(self._table(rows)), dtype=np.float64)

    def chosen(self, rows: Matrix) -> NDArray[np.intp]:
        """Return the indices of the classes that `predict` names (n,)."""
        return self._own_choice(self._table(rows))

    def probable(self, rows: Matrix) -> tuple[Floats, NDArray[np.intp] | None]:
        """Return `predict_proba` (n, K), and the classes where the estimator has its own rule."""
        table = self._table(rows)
        raw = np.asarray(self._estimator.predict_proba(table), dtype=np.float64)
        return raw, self._own_choice(table) if self._has_own_rule else None

    def _own_choice(self, table: Any) -> NDArray[np.intp]:
        names = np.asarray(self._estimator.predict(table)).reshape(-1).tolist()
        return np.array([self._index[str(name)] for name in names], dtype=np.intp)

    def _table(self, rows: Matrix) -> Any:
        if self._columns is None:
            return rows
        import pandas as pd

        return pd.DataFrame(rows, columns=self._columns).infer_objects()


def load(artifact: Artifact, *, trust_pickle: bool) -> SklearnEstimator:
    """Load a verified file; raise ArtifactRefused with the reason in words."""
    # Rows come as plain arrays; feature names were checked against the signature.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    _warn_of_versions(artifact.manifest.frameworks)
    suffix = artifact.model_file.suffix
    if suffix == ".skops":
        from trimtab.serving.model.skops_file import load_skops

        estimator = load_skops(artifact.model_file)
    elif suffix in (".joblib", ".pkl", ".pickle"):
        if not trust_pickle:
            raise ArtifactRefused(
                "PickleNotTrusted",
                f"{artifact.model_file.name} can run code when loaded; set trustPickle to allow it",
            )
        estimator = _load_pickle(artifact)
    else:
        raise ArtifactRefused("FormatUnknown", f"no loader for {artifact.model_file.name}")
    if not hasattr(estimator, "predict"):
        raise ArtifactRefused("Malformed", f"{type(estimator).__name__} has no predict")
    return SklearnEstimator(estimator, artifact.signature)


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
        # A damaged pickle may raise anything.
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactRefused("Malformed", f"{artifact.model_file.name}: {said}") from error


def _check_classes(estimator: Any, signature: Signature) -> None:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return
    named = [str(name) for name in classes]
    if named != signature.classes:
        raise ArtifactRefused(
            "ClassesDiffer", f"the model knows {named[:10]}, the signature {signature.classes[:10]}"
        )


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
