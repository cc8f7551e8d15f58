"""Counts of a digits-like model with ten classes, as pods export them, for drift tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.contract import metrics
from trimtab.contract.artifact import (
    Baseline,
    CategoricalFeature,
    Interval,
    NumericFeature,
    baseline_digest,
)

Labels = frozenset[tuple[str, str]]
Series = dict[tuple[str, Labels], float]

CLASSES = ("0", "1", "2", "3")


def series(name: str, **labels: str) -> tuple[str, Labels]:
    return name, frozenset(labels.items())


def baseline(*, features: int = 2, n: int = 10_000, accuracy: float | None = 0.974) -> Baseline:
    """Ten bins a numeric feature, evenly filled, and one category."""
    numeric = [
        NumericFeature(
            name=f"x[{i}]",
            edges=[float(k) for k in range(1, 10)],
            counts=[n // 10] * 10,
            minimum=0.0,
            maximum=10.0,
        )
        for i in range(features)
    ]
    category = CategoricalFeature(
        name="color", categories=["red", "green"], counts=[n // 2, n // 2], missing=0
    )
    stated = []
    if accuracy is not None:
        interval = (accuracy - 0.01, accuracy + 0.01)
        stated = [Interval(metric="accuracy", value=accuracy, interval=interval, n=n)]
    made = Baseline(
        digest="",
        n=n,
        features=[*numeric, category],
        score_edges=[0.1 * k for k in range(1, 10)],
        score_counts=[n // 10] * 10,
        predicted_counts=dict.fromkeys(CLASSES, n // 4),
        metrics=stated,
    )
    return made.model_copy(update={"digest": baseline_digest(made)})


def window_counts(
    *,
    n: int = 3000,
    features: int = 2,
    shift: float = 0.0,
    moved: Sequence[int] = (0,),
    accuracy: float = 0.974,
    labelled: int = 0,
    right: float = 0.97,
    scores_shift: float = 0.0,
    missing: float = 0.0,
    seed: int | None = 0,
) -> Series:
    """Counts of one window. `shift` moves mass from the lower to the upper bins of `moved`."""
    rng = np.random.default_rng(seed)
    counts: Series = {}

    def draw(share: np.ndarray) -> np.ndarray:
        return rng.multinomial(n, share) if seed is not None else share * n

    tilt = np.linspace(-1, 1, 10)
    for feature in range(features):
        by = shift if feature in moved else 0.0
        for index, value in enumerate(draw((1 + by * tilt) / 10)):
            key = series(metrics.FEATURE_BIN, feature=f"x[{feature}]", bin=str(index))
            counts[key] = float(value)
        if missing:
            counts[series(metrics.FEATURE_MISSING, feature=f"x[{feature}]")] = missing * n
    for index, value in enumerate(draw(np.array([0.5, 0.5]))):
        counts[series(metrics.FEATURE_BIN, feature="color", bin=str(index))] = float(value)
    for index, value in enumerate(draw((1 + scores_shift * tilt) / 10)):
        counts[series(metrics.SCORE_BIN, bin=str(index))] = float(value)
    for name, value in zip(CLASSES, draw(np.full(4, 0.25)), strict=True):
        rows = float(value)
        counts[series(metrics.PREDICTED, **{"class": name})] = rows
        for other in CLASSES:
            share = accuracy if other == name else (1 - accuracy) / 3
            key = series(metrics.PROBABILITY_SUM, predicted=name, **{"class": other})
            counts[key] = rows * share
    if labelled:
        counts[series(metrics.OUTCOMES, predicted="0", actual="0")] = round(labelled * right)
        counts[series(metrics.OUTCOMES, predicted="0", actual="1")] = labelled - round(
            labelled * right
        )
    return counts


def with_identity(counts: Series, *, digest: str, baseline: str) -> Series:
    """Return the counts as one process exports them."""
    return {
        (name, labels | {("digest", digest), ("baseline", baseline), ("model", "digits")}): value
        for (name, labels), value in counts.items()
    }
