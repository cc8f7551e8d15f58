"""What to do about a model that is not stored as it is: one way that works, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trimtab.training.errors import CodeBroken
from trimtab.training.kinds import kind_of, last_step

_ONNX: Final = "export the model to ONNX (skl2onnx does) and publish the graph"
_KNOWN: Final = frozenset({"sklearn", "numpy", "scipy"})
_OWN_STEPS: Final = (
    "build the model of scikit-learn's own steps, or serve it from a container of your own "
    "(artifact.format: custom)"
)
OWN_CLASS: Final = f"publish the estimator within it, {_OWN_STEPS}"
_INSTEAD: Final = {
    "Birch": "use MiniBatchKMeans or BisectingKMeans, which cluster as fast",
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
            f"or {_OWN_STEPS}"
        )
    if any(name.partition(".")[0] not in _KNOWN for name in types):
        return f"a class of your own or of another library is not stored: {_OWN_STEPS}"
    return _ONNX


def _is_own(name: str) -> bool:
    module, _, last = name.rpartition(".")
    package = module.partition(".")[0]
    return "<lambda>" in name or (package not in _KNOWN and last.islower())


def check_predicts(model: Any) -> None:
    """Raise CodeBroken, with the way that works, unless the model can answer for new rows."""
    if hasattr(model, "predict"):
        return
    name, kind = type(last_step(model)).__name__, kind_of(model)
    if name == "LocalOutlierFactor":
        way = "LocalOutlierFactor(novelty=True) has one"
    elif hasattr(model, "transform"):
        way = "it prepares rows: make it a step of a Pipeline that ends in a model"
    elif kind == "clusterer":
        way = (
            f"publish KNeighborsClassifier().fit(X, {name}(...).fit_predict(X)), which tells the "
            "cluster of a new row by its neighbours, or KMeans"
        )
    else:
        way = "publish an estimator that has one"
    raise CodeBroken(f"{name} has no predict for new rows: {way}")


def check_own_labels(model: Any) -> None:
    """Raise CodeBroken if a fitted model has a label for far rows that is none of its classes.

    Such a label has no place in counters, probabilities and truths.
    """
    last = last_step(model)
    labels = getattr(last, "outlier_label_", None)
    if type(last).__name__ != "RadiusNeighborsClassifier" or labels is None:
        return
    several = isinstance(last.classes_, list)
    for known, label in zip(
        last.classes_ if several else [last.classes_],
        labels if several else labels[:1],
        strict=True,
    ):
        if label is not None and label not in known.tolist():
            raise CodeBroken(
                f"RadiusNeighborsClassifier answers rows without neighbours with {label!r}, which "
                'is none of its classes: set outlier_label="most_frequent" or to one of its '
                "classes, or let it learn from a row of that class"
            )
