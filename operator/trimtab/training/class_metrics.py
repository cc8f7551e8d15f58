"""Precision, recall and F1: the mean over classes, and of each class.

Wilson's interval for precision and recall of a class; its F1 through the share of the overlap
(`stats.quality.Confusion.overlap`). The mean over classes by a percentile bootstrap of the cells of
the confusion matrix, which is a bootstrap of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Interval, class_slice
from trimtab.training.evaluation import wilson

MOST_CLASSES: Final = 20
"""Beyond, only the mean over classes is stated."""
_RESAMPLES: Final = 2000
_BOUNDS: Final = (0.025, 0.975)


def class_metrics(
    actual: NDArray[Any], predicted: NDArray[Any], classes: Sequence[Any]
) -> list[Interval]:
    """Return macro precision and recall, then the three metrics of each class, at 95 %.

    actual, predicted: [n] classes. A class without rows of its own has no metric.
    """
    size, n = len(classes), len(actual)
    index = {name: place for place, name in enumerate(classes)}
    rows = [index[name] for name in predicted.tolist()]
    columns = [index.get(name, size) for name in actual.tolist()]
    cells = np.zeros((size, size + 1))
    np.add.at(cells, (rows, columns), 1.0)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, cells.ravel() / n, _RESAMPLES).reshape(-1, size, size + 1)
    found = []
    for name in ("precision", "recall"):
        values = np.nanquantile(_macro(drawn, name), _BOUNDS)
        value = float(_macro(cells[None], name)[0])
        interval = (float(values[0]), float(values[1]))
        found.append(Interval(metric=name, value=value, interval=interval, n=n))
    if size <= MOST_CLASSES:
        for place, one in enumerate(classes):
            found += _of_class(cells, place, str(one))
    return found


def _macro(cells: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Mean over classes with rows, for each of [m, K, K + 1] matrices."""
    size = cells.shape[1]
    hits = cells[:, range(size), range(size)].astype(np.float64)
    totals = (cells.sum(axis=2) if name == "precision" else cells.sum(axis=1)[:, :size]).astype(
        np.float64
    )
    shares = np.divide(hits, totals, out=np.zeros_like(hits), where=totals > 0)
    found: NDArray[np.float64] = shares.sum(axis=1) / np.maximum((totals > 0).sum(axis=1), 1)
    return found


def _of_class(cells: NDArray[np.float64], place: int, name: str) -> list[Interval]:
    hits = int(cells[place, place])
    as_predicted, as_actual = int(cells[place].sum()), int(cells[:, place].sum())
    either = as_predicted + as_actual - hits
    found = []
    for metric, total in (("precision", as_predicted), ("recall", as_actual), ("f1", either)):
        if total == 0:
            continue
        share = hits / total
        low, high = wilson(hits, total)
        if metric == "f1":
            share, low, high = (2 * one / (1 + one) for one in (share, low, high))
        interval = (low, high)
        found.append(
            Interval(
                metric=metric, value=share, interval=interval, n=total, slice=class_slice(name)
            )
        )
    return found
