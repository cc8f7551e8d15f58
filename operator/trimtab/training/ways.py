"""What to do about a model that is not stored as it is: one way that works, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

_ONNX: Final = "export the model to ONNX (skl2onnx does) and publish the graph"
_INSTEAD: Final = {
    "Birch": "use MiniBatchKMeans or BisectingKMeans, which cluster as fast",
}
_LABELS: Final = (
    "train a classifier, such as KNeighborsClassifier, on its labels_ and publish that, or cluster "
    "with KMeans"
)
_WITHOUT_PREDICT: Final = {
    **dict.fromkeys(
        ("AgglomerativeClustering", "DBSCAN", "HDBSCAN", "OPTICS", "SpectralClustering"), _LABELS
    ),
    "FeatureAgglomeration": "it clusters features; put it before an estimator in a pipeline",
    "SpectralBiclustering": _LABELS,
    "SpectralCoclustering": _LABELS,
}


def way_out(said: str, types: Sequence[str] = ()) -> str:
    """Return what works instead of a model of which skops `said` this, or that holds `types`.

    types: full names.
    """
    for name, instead in _INSTEAD.items():
        if name in said:
            return instead
    if any(_is_own(name) for name in types):
        return (
            "a function of your own is not stored: use one of NumPy or scipy.special by its name, "
            f"or {_ONNX}"
        )
    return _ONNX


def _is_own(name: str) -> bool:
    module, _, last = name.rpartition(".")
    package = module.partition(".")[0]
    return "<lambda>" in name or (package not in {"sklearn", "numpy", "scipy"} and last.islower())


def without_predict(model: Any) -> str:
    """Return the sentence for a model that has no `predict` for rows to come."""
    name = type(model).__name__
    if name == "LocalOutlierFactor":
        return f"{name} has no predict for new rows: make it with novelty=True"
    way = _WITHOUT_PREDICT.get(name, "put an estimator with predict at the end of it")
    return f"{name} has no predict for new rows: {way}"
