"""Models that learn without labels: clusterers, mixtures and outlier detectors.

Their classes are the labels that they give: clusters 0 to k-1, or -1 (outlier) and 1. Truths are
known of outlier detectors at most, since clusters are numbered by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.training.columns import MOST_CLASSES, Matrix
from trimtab.training.errors import DataBroken
from trimtab.training.kinds import is_outlier_detector, last_step, learns_alone

OUTLIER_CLASSES: Final = (-1, 1)


def has_all_truths(model: Any, given: Mapping[str, tuple[Any, ArrayLike | None]]) -> bool:
    """Whether the truths are known of the rows that a model is calibrated and measured on.

    given: rows with their truths, first those that it learns from, then any others.
    Raise DataBroken where they are missing or cannot be, see `check_truths`.
    """
    truths = [known for _, known in given.values()]
    if not learns_alone(model):
        if any(one is None for one in truths):
            raise DataBroken(
                f"y is None, and {type(last_step(model)).__name__} learns from truths: give one "
                "for each row"
            )
        return True
    check_truths(model, *(None if one is None else np.asarray(one) for one in truths))
    return all(known is not None for known in truths[1:] or truths)


def check_truths(model: Any, *parts: NDArray[Any] | None) -> None:
    """Raise DataBroken where truths are given that the model's answers cannot be held to."""
    name = type(last_step(model)).__name__
    given = [part for part in parts if part is not None]
    if given and not is_outlier_detector(model):
        raise DataBroken(
            f"{name} numbers its clusters by itself, so y cannot say which is right: give None for "
            "y, also in calibrate and evaluate"
        )
    for part in given:
        strange = sorted({str(one) for one in np.unique(part)} - set(map(str, OUTLIER_CLASSES)))
        if strange:
            raise DataBroken(
                f"y holds {strange[0]}, and {name} answers -1 for an outlier and 1 for other rows"
            )


def classes_of(model: Any, rows: Iterable[Matrix]) -> list[int]:
    """Return the labels of a fitted model in ascending order.

    rows: matrices of which the answers must be among them. Raise DataBroken.
    """
    if is_outlier_detector(model):
        return list(OUTLIER_CLASSES)
    step = last_step(model)
    given = {int(one) for part in rows for one in np.unique(model.predict(part))}
    known = set(_clusters(step)) or given
    if not given <= known or not 2 <= len(known) <= MOST_CLASSES:
        found = len(known) if given <= known else f"{len(known)}, and answers {min(given - known)}"
        raise DataBroken(
            f"{type(step).__name__} found {found} clusters in these rows; 2 to {MOST_CLASSES} are "
            "wanted: choose other parameters"
        )
    return sorted(known)


def _clusters(step: Any) -> Sequence[int]:
    """Return all numbers of clusters, also of those without a row; empty where nobody knows."""
    if hasattr(step, "subcluster_labels_"):  # Birch
        return [int(one) for one in np.unique(step.subcluster_labels_)]
    for name in ("cluster_centers_", "weights_"):  # weights: of a mixture
        if hasattr(step, name):
            return range(len(getattr(step, name)))
    return [int(one) for one in np.unique(getattr(step, "labels_", []))]
