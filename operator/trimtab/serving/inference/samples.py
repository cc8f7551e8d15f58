"""Rows made from a signature and its baseline: for warm-up, probes, and answers on record."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from trimtab.contract.artifact import (
    Baseline,
    CategoricalFeature,
    NumericFeature,
    Signature,
    Tensor,
    feature_names,
    is_text,
)
from trimtab.contract.rows import row_type
from trimtab.serving.model.base import Matrix

_LARGEST_WHOLE: Final = {"INT32": 2.0**31 - 1, "INT64": 2.0**63 - 1024}
"""The largest double that fits; a baseline may say what no value can be."""


def sample_rows(signature: Signature, baseline: Baseline, count: int) -> Matrix:
    """Return `count` rows (count, features), each feature at evenly spread quantiles."""
    features = {feature.name: feature for feature in baseline.features}
    shares = [(row + 0.5) / count for row in range(count)]
    width = sum(prod(tensor.shape) for tensor in signature.inputs)
    rows: Matrix = np.empty((count, width), dtype=row_type(signature.inputs))
    at = 0
    for tensor in signature.inputs:
        size = prod(tensor.shape)
        # Most elements of a picture are no features of the baseline.
        rows[:, at : at + size] = [[_value(tensor, None, share)] for share in shares]
        for index, name in enumerate(feature_names(tensor)):
            if name in features:
                rows[:, at + index] = [_value(tensor, features[name], share) for share in shares]
        at += size
    return rows


def mixed_rows(signature: Signature, baseline: Baseline, count: int) -> Matrix:
    """Return `count` rows (count, features) whose features go up and down on their own."""
    rows = sample_rows(signature, baseline, count)
    random = np.random.default_rng(0)
    for column in range(rows.shape[1]):
        rows[:, column] = rows[random.permutation(count), column]
    return rows


def _value(
    tensor: Tensor, feature: NumericFeature | CategoricalFeature | None, share: float
) -> str | float:
    if is_text(tensor):
        counted = feature.categories if isinstance(feature, CategoricalFeature) else None
        names = counted or tensor.categories or [""]
        return names[int(share * len(names))]
    if tensor.datatype == "BOOL":
        return float(share >= 0.5)
    number = _number(tensor, feature, share)
    largest = _LARGEST_WHOLE.get(tensor.datatype)
    return number if largest is None else float(round(min(max(number, -largest), largest)))


def _number(
    tensor: Tensor, feature: NumericFeature | CategoricalFeature | None, share: float
) -> float:
    if isinstance(feature, NumericFeature):
        points = [feature.minimum, *feature.edges, feature.maximum]
        return float(min(max(points[int(share * len(points))], feature.minimum), feature.maximum))
    if isinstance(feature, CategoricalFeature) and feature.categories:
        return float(feature.categories[int(share * len(feature.categories))])
    low = tensor.minimum if tensor.minimum is not None else 0.0
    high = tensor.maximum if tensor.maximum is not None else low
    return low + (high - low) * share
