"""What the model saw and gave, as counts: the reference for every drift signal.

Counted on rows that the model has not learned from (calibration and held-out rows), since scores
on training rows are better than any it will give again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import (
    Baseline,
    Calibration,
    CategoricalFeature,
    Interval,
    NumericFeature,
    Residuals,
    ScoreKind,
    Signature,
    Tensor,
    baseline_digest,
    feature_names,
    is_text,
)
from trimtab.stats.regression import residual_model
from trimtab.training.checks import category_names
from trimtab.training.columns import Matrix
from trimtab.training.evaluation import Predictions

MOST_FEATURES: Final = 200
SCORE_BINS: Final = 20
_MANY_ROWS: Final = 1000

Feature = NumericFeature | CategoricalFeature


def build_baseline(
    matrix: Matrix,
    answers: Predictions,
    signature: Signature,
    calibration: Sequence[Calibration],
    metrics: Sequence[Interval],
    actual: NDArray[Any] | None = None,
) -> Baseline:
    """Count rows [n, features] and the model's answers for them; at most 200 features.

    actual: [n] truths of a regression, for its residuals.
    """
    score = score_of(answers, signature)
    kind: ScoreKind = answers.score_kind if signature.classes else "probability"
    # An AUC from bins needs 20 of them; elsewhere as many as the rows carry.
    bins = SCORE_BINS if len(signature.classes) == 2 else bins_for(len(matrix))
    edges = [] if kind == "none" else quantile_edges(score, bins)
    predicted = [str(one) for one in answers.predicted] if signature.classes else []
    baseline = Baseline(
        digest="",
        n=len(matrix),
        features=_features(matrix, signature),
        score_kind=kind,
        score_edges=edges,
        score_counts=bin_counts(score, edges),
        predicted_counts={name: predicted.count(name) for name in signature.classes},
        calibration=list(calibration),
        metrics=list(metrics),
        residuals=None if signature.classes or actual is None else _residuals(score, edges, actual),
    )
    return baseline.model_copy(update={"digest": baseline_digest(baseline)})


def score_of(answers: Predictions, signature: Signature) -> NDArray[np.float64]:
    """The one number that is binned: see Baseline.score_edges; 1 for a model without scores."""
    if not signature.classes:
        return answers.predicted.astype(np.float64)
    if answers.score is None:
        return np.ones(len(answers.predicted))
    return answers.score[:, 1] if len(signature.classes) == 2 else answers.score.max(axis=1)


def bins_for(n: int) -> int:
    """20 bins need 1000 rows."""
    return 20 if n >= _MANY_ROWS else 10


def quantile_edges(values: NDArray[np.float64], bins: int) -> list[float]:
    """Inner edges at values that occur, so that rounding moves no row over an edge.

    Fewer than bins - 1 where values repeat; one edge where there is one value, so that a larger
    value still shows; none without values.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    levels = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(known, levels, method="inverted_cdf"))
    below_top = edges[edges < known.max()]
    return [float(edge) for edge in (below_top if len(below_top) else edges[:1])]


def bin_counts(values: NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    """Rows in (edges[i-1], edges[i]], open at both ends; NaN in none."""
    known = values[~np.isnan(values)]
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), known, side="left")
    return [int(count) for count in np.bincount(places, minlength=len(edges) + 1)]


def _residuals(
    score: NDArray[np.float64], edges: Sequence[float], actual: NDArray[Any]
) -> Residuals:
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), score, side="left")
    known = residual_model(places, actual.astype(np.float64) - score, len(edges) + 1)
    return Residuals(
        rows=known.rows.astype(int).tolist(),
        absolute=known.absolute.tolist(),
        squares=known.squares.tolist(),
        fourth=known.fourth.tolist(),
    )


def _features(matrix: Matrix, signature: Signature) -> list[Feature]:
    found: list[Feature] = []
    at = 0
    for tensor in signature.inputs:
        if tensor.watched:
            for offset, name in enumerate(feature_names(tensor)):
                if len(found) < MOST_FEATURES:
                    found.append(_feature(name, matrix[:, at + offset], tensor))
        at += prod(tensor.shape)
    return found


def _feature(name: str, values: NDArray[Any], tensor: Tensor) -> Feature:
    categories = ["false", "true"] if tensor.datatype == "BOOL" else tensor.categories
    if categories is not None:
        names = category_names(values, categories)
        return CategoricalFeature(
            name=name,
            categories=categories,
            counts=[names.count(one) for one in categories],
            missing=names.count(None),
        )
    if is_text(tensor):
        return CategoricalFeature(name=name, categories=[], counts=[])
    return _numeric(name, values.astype(np.float64), tensor)


def _numeric(name: str, values: NDArray[np.float64], tensor: Tensor) -> NumericFeature:
    """Range: what the signature declares, else what the rows showed.

    A declared range is the sensor's; a value inside it that no row showed is a shift, not a fault.
    """
    edges = quantile_edges(values, bins_for(len(values)))
    known = values[~np.isnan(values)]
    lowest = float(known.min()) if len(known) else 0.0
    highest = float(known.max()) if len(known) else 0.0
    return NumericFeature(
        name=name,
        edges=edges,
        counts=bin_counts(values, edges),
        minimum=lowest if tensor.minimum is None else tensor.minimum,
        maximum=highest if tensor.maximum is None else tensor.maximum,
        missing=int(np.isnan(values).sum()),
    )
