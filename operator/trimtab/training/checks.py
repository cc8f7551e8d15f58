"""Are the rows what the serving version expects? Broken data is never trained on.

Three shares per feature, against the champion's signature and baseline: missing beyond what the
baseline had, categories unknown to it, numbers beyond its range. The first breach ends the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import (
    Baseline,
    CategoricalFeature,
    NumericFeature,
    Signature,
    feature_names,
)
from trimtab.training.columns import Matrix
from trimtab.training.errors import DataBroken


@dataclass(frozen=True)
class Limits:
    """Largest allowed share of rows, per feature."""

    missing: float = 0.02
    unseen: float = 0.02
    out_of_range: float = 0.02


def check_rows(matrix: Matrix, signature: Signature, baseline: Baseline, limits: Limits) -> None:
    """Raise DataBroken naming every feature that breaks the contract, the first five in words."""
    columns = {
        name: index
        for index, name in enumerate(
            name for tensor in signature.inputs for name in feature_names(tensor)
        )
    }
    breaches: list[str] = []
    for feature in baseline.features:
        if feature.name in columns:
            breaches += _breaches(matrix[:, columns[feature.name]], feature, limits)
    if breaches:
        more = f", and {len(breaches) - 5} more" if len(breaches) > 5 else ""
        raise DataBroken("; ".join(breaches[:5]) + more)


def _breaches(
    values: NDArray[Any], feature: NumericFeature | CategoricalFeature, limits: Limits
) -> Iterator[str]:
    known = sum(feature.counts)
    before = feature.missing / (known + feature.missing) if feature.missing else 0.0
    shares = missing_and_strange(values, feature)
    if shares.missing > before + limits.missing:
        yield (
            f"column {feature.name!r}: {shares.missing:.1%} of the rows are missing, {before:.1%} "
            "were when the serving version was trained"
        )
    if isinstance(feature, CategoricalFeature):
        if shares.strange > limits.unseen:
            yield (
                f"column {feature.name!r}: {shares.strange:.1%} of the rows have a category that "
                f"the serving version does not know (limit {limits.unseen:.1%})"
            )
    elif shares.strange > limits.out_of_range:
        yield (
            f"column {feature.name!r}: {shares.strange:.1%} of the rows are outside "
            f"{feature.minimum:g} to {feature.maximum:g} (limit {limits.out_of_range:.1%})"
        )


@dataclass(frozen=True)
class Shares:
    """Of all rows: missing; and unseen (categories) or out of range (numbers)."""

    missing: float
    strange: float


def missing_and_strange(
    values: NDArray[Any], feature: NumericFeature | CategoricalFeature
) -> Shares:
    """Return both shares of one column [n]."""
    rows = max(len(values), 1)
    if isinstance(feature, NumericFeature):
        numbers = values.astype(np.float64)
        missing = int(np.isnan(numbers).sum())
        beyond = (numbers < feature.minimum) | (numbers > feature.maximum)
        return Shares(missing / rows, int(beyond.sum()) / rows)
    names = category_names(values, feature.categories)
    missing = sum(name is None for name in names)
    known = {*feature.categories}
    unseen = sum(name is not None and name not in known for name in names)
    return Shares(missing / rows, unseen / rows)


def category_names(values: NDArray[Any], categories: Sequence[str]) -> list[str | None]:
    """Name each value as the baseline does; None is missing.

    Text as it is, whole numbers without a point; truth values are numbers in a matrix.
    """
    is_truth = bool(categories) and set(categories) <= {"true", "false"}
    names: list[str | None] = []
    for value in values.tolist():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            names.append(None)
        elif isinstance(value, float) and value.is_integer():
            names.append(str(bool(value)).lower() if is_truth else str(int(value)))
        else:
            names.append(str(value))
    return names
