"""Estimators that were fitted on a table, and what they are given instead of a matrix."""

from __future__ import annotations

from typing import Any

from trimtab.contract.artifact import Signature, feature_names
from trimtab.contract.estimators.refused import ModelRefused


def frame_columns(estimator: Any, signature: Signature) -> list[str] | None:
    """Return column names when a step selects by name, and refuse when pandas is missing."""
    if not _selects_by_name(estimator):
        return None
    try:
        import pandas as pd  # noqa: F401
    except ImportError as error:
        raise ModelRefused(
            "NeedsPandas", "the model selects columns by name, and this image has no pandas"
        ) from error
    return [name for tensor in signature.inputs for name in feature_names(tensor)]


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
