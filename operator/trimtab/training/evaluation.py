"""What a model is worth on rows that it has not seen: metrics with 95 % intervals.

Wilson's interval for shares, the BCa bootstrap for everything else. Sources: Wilson 1927; Efron
1987.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Interval
from trimtab.stats.challenger import (
    Statistic,
    bca_interval,
    weighted_auc,
    weighted_f1,
    weighted_negative_rmse,
)

LARGER_IS_BETTER: Final = {"accuracy": True, "auc": True, "f1": True, "rmse": False, "mae": False}
MOST_SLICES: Final = 20
_EACH_SIDE: Final = 0.975
_Z: Final = 1.959963984540054
_BOOTSTRAP_WORK: Final = 100_000_000


@dataclass(frozen=True)
class Predictions:
    """Answers of one model for n rows. `predicted`: [n] classes or values; `score`: [n, K].

    Of several targets these are of the one that is counted; `all_predicted` [n, T] is of all.
    """

    predicted: NDArray[Any]
    score: NDArray[np.float64] | None = None
    all_predicted: NDArray[Any] | None = None

    def only(self, rows: NDArray[np.bool_]) -> Predictions:
        """Return the answers for the chosen rows."""
        return Predictions(
            self.predicted[rows],
            None if self.score is None else self.score[rows],
            None if self.all_predicted is None else self.all_predicted[rows],
        )


def statistic_of(
    metric: str, actual: NDArray[Any], answers: Predictions, classes: Sequence[Any]
) -> Statistic:
    """The metric as a function of row weights, more is better (RMSE is negative).

    Raise ValueError where the metric does not fit the task.
    """
    if metric == "accuracy" and classes:
        hits = (answers.predicted == actual).astype(np.float64)
        return lambda weights: float(weights @ hits) / float(weights.sum())
    if metric == "f1" and classes:
        return weighted_f1(actual, answers.predicted)
    if metric == "auc" and len(classes) == 2 and answers.score is not None:
        return weighted_auc(actual == classes[1], answers.score[:, 1])
    if metric == "rmse" and not classes:
        return weighted_negative_rmse(actual, answers.predicted)
    task = f"{len(classes)} classes" if classes else "a regression"
    raise ValueError(f"the metric {metric} is not defined for {task}")


def evaluate(
    actual: NDArray[Any],
    answers: Predictions,
    classes: Sequence[Any],
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> list[Interval]:
    """Return the metrics of the task, and accuracy or RMSE on each named slice ([n] row masks).

    Classification: accuracy, macro F1, and AUC of two classes with scores. Regression: RMSE, MAE.
    """
    if not classes:
        errors = np.abs(actual - answers.predicted)
        found = [_bootstrapped("rmse", statistic_of("rmse", actual, answers, ()), len(actual))]
        found.append(
            _bootstrapped("mae", lambda w: -float(w @ errors) / float(w.sum()), len(actual))
        )
    else:
        found = [accuracy(actual, answers.predicted)]
        names = ["f1"] + (["auc"] if len(classes) == 2 and answers.score is not None else [])
        for name in names:
            statistic = statistic_of(name, actual, answers, classes)
            if math.isfinite(statistic(np.ones(len(actual)))):
                found.append(_bootstrapped(name, statistic, len(actual)))
    for name, rows in (slices or {}).items():
        found.append(_on_slice(name, actual[rows], answers.predicted[rows], bool(classes)))
    return found


def _on_slice(
    name: str, actual: NDArray[Any], predicted: NDArray[Any], is_classification: bool
) -> Interval:
    interval = (accuracy if is_classification else value_error)(actual, predicted)
    return interval.model_copy(update={"slice": name})


def value_error(actual: NDArray[Any], predicted: NDArray[Any]) -> Interval:
    """Return the RMSE of values [n], with its interval."""
    statistic = statistic_of("rmse", actual, Predictions(predicted), ())
    return _bootstrapped("rmse", statistic, len(actual))


def accuracy(actual: NDArray[Any], predicted: NDArray[Any]) -> Interval:
    """Share of rows that are right, with Wilson's interval."""
    hits, n = int(np.sum(actual == predicted)), len(actual)
    return Interval(metric="accuracy", value=hits / n, interval=wilson(hits, n), n=n)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share; n > 0."""
    share, z2 = hits / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _bootstrapped(metric: str, statistic: Statistic, n: int) -> Interval:
    """Metrics of which less is better come as negative statistics and leave as they are known."""
    found = bca_interval(statistic, n, _EACH_SIDE, resamples=resamples_for(n))
    value, low, high = found.value, found.lower, found.upper
    if not LARGER_IS_BETTER[metric]:
        value, low, high = -value, -high, -low
    return Interval(metric=metric, value=value, interval=(low, high), n=n)


def resamples_for(n: int) -> int:
    """2000 where that is cheap, at least 200 on very many rows."""
    return max(200, min(2000, _BOOTSTRAP_WORK // max(n, 1)))


def slice_rows(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Row masks by `column=value`, for the 20 most frequent values of each column [n]."""
    found = {}
    for name, values in columns.items():
        texts = np.array([str(value) for value in values.tolist()])
        known, counts = np.unique(texts, return_counts=True)
        for value in known[np.argsort(-counts, kind="stable")][:MOST_SLICES]:
            found[f"{name}={value}"] = texts == value
    return found
