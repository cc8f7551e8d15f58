"""What predictions add to: counts per bin, class and probability, added up exactly.

All arrays belong to the counting thread.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isnan, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import (
    Baseline,
    CategoricalFeature,
    NumericFeature,
    Signature,
    feature_names,
)
from trimtab.contract.cardinality import (
    MAX_CLASSES_CROSSED,
    MAX_CLASSES_NAMED,
    Cardinality,
    cardinality,
)
from trimtab.serving.counting.exposition import Family, Kind, Labels, histogram_samples, labelled
from trimtab.serving.model.base import Matrix, Prediction

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]


class FeatureCounters:
    """Bins, missing, unseen and out-of-range values of the features that are watched."""

    def __init__(
        self, signature: Signature, baseline: Baseline, labels: Labels, *, hours_kept: int = 0
    ) -> None:
        """hours_kept: past hours that rows and labels are told by; 0: there are no labels."""
        watchable = _watchable(signature, baseline)
        self.cardinality: Cardinality = cardinality(
            [len(feature.counts) for _, feature in watchable],
            len(baseline.score_edges) + 1,
            len(signature.classes),
            hours_kept,
        )
        """Series of the page, as far as they are known now."""
        counted = self.cardinality.features_counted
        if counted < len(watchable):
            log.warning("%d of %d features are counted", counted, len(watchable))
        self._watched = _placed(watchable[:counted])
        self._numeric = [
            (column, np.asarray(feature.edges, dtype=np.float64), offset)
            for column, feature, offset in self._watched
            if isinstance(feature, NumericFeature)
        ]
        self._numeric_columns = np.array([column for column, _, _ in self._numeric], dtype=np.intp)
        self._numeric_places = np.array(
            [i for i, one in enumerate(self._watched) if isinstance(one[1], NumericFeature)],
            dtype=np.intp,
        )
        numeric = [one[1] for one in self._watched if isinstance(one[1], NumericFeature)]
        self._minima = np.array([feature.minimum for feature in numeric])
        self._maxima = np.array([feature.maximum for feature in numeric])
        self._categorical = [
            (place, column, _index(feature.categories, offset))
            for place, (column, feature, offset) in enumerate(self._watched)
            if isinstance(feature, CategoricalFeature)
        ]
        self._size = sum(len(feature.counts) for _, feature, _ in self._watched)
        self._bins: Ints = np.zeros(self._size, dtype=np.int64)
        features = len(self._watched)
        self._missing: Ints = np.zeros(features, dtype=np.int64)
        self._unseen: Ints = np.zeros(features, dtype=np.int64)
        self._beyond: Ints = np.zeros(features, dtype=np.int64)
        self._name_series(labels)

    def _name_series(self, labels: Labels) -> None:
        self._bin_names = [
            labelled(metrics.FEATURE_BIN, [*labels, ("feature", f.name), ("bin", str(index))])
            for _, f, _ in self._watched
            for index in range(len(f.counts))
        ]
        self._names = {
            family: [labelled(family, [*labels, ("feature", f.name)]) for _, f, _ in self._watched]
            for family in (
                metrics.FEATURE_MISSING,
                metrics.FEATURE_UNSEEN,
                metrics.FEATURE_OUT_OF_RANGE,
            )
        }

    def add(self, rows: Matrix) -> None:
        """Count `rows` (n, features)."""
        if self._numeric:
            self._add_numbers(np.asarray(rows[:, self._numeric_columns], dtype=np.float64))
        for place, column, index in self._categorical:
            self._add_categories(place, rows[:, column].tolist(), index)

    def _add_numbers(self, values: NDArray[np.float64]) -> None:
        bins = np.empty(values.shape, dtype=np.intp)
        for place, (_, edges, offset) in enumerate(self._numeric):
            # (edges[i-1], edges[i]]: the left side of the first edge not below the value.
            bins[:, place] = np.searchsorted(edges, values[:, place], side="left") + offset
        missing = np.isnan(values)
        bins[missing] = self._size
        self._bins += np.bincount(bins.ravel(), minlength=self._size + 1)[: self._size]
        self._missing[self._numeric_places] += missing.sum(axis=0)
        beyond = (values < self._minima) | (values > self._maxima)
        self._beyond[self._numeric_places] += beyond.sum(axis=0)

    def _add_categories(self, place: int, values: list[Any], index: dict[str, int]) -> None:
        for value in values:
            if value is None or (type(value) is float and isnan(value)):
                self._missing[place] += 1
            elif (at := index.get(_category(value))) is not None:
                self._bins[at] += 1
            else:
                self._unseen[place] += 1

    def families(self) -> list[Family]:
        """Return the samples of now."""
        return [
            Family(
                metrics.FEATURE_BIN,
                "counter",
                "Rows by feature and bin of the baseline.",
                zip(self._bin_names, self._bins.tolist(), strict=True),
            ),
            self._family(metrics.FEATURE_MISSING, "Missing values.", self._missing),
            self._family(metrics.FEATURE_UNSEEN, "Categories unknown to training.", self._unseen),
            self._family(
                metrics.FEATURE_OUT_OF_RANGE, "Numbers beyond those of training.", self._beyond
            ),
        ]

    def _family(self, name: str, text: str, counts: Ints) -> Family:
        return Family(name, "counter", text, zip(self._names[name], counts.tolist(), strict=True))


class ScoreCounters:
    """Bins of the score, predicted classes and sums of calibrated probabilities."""

    def __init__(
        self,
        signature: Signature,
        baseline: Baseline,
        labels: Labels,
        *,
        hours_kept: int = 0,
        hour_now: Callable[[], int] = lambda: 0,
        is_calibrated: bool = True,
    ) -> None:
        """hours_kept: past hours that rows are told by; 0: they are not. is_calibrated: whether a
        classifier's probabilities are summed up.
        """
        self._hours_kept = hours_kept
        self._hour_now = hour_now
        self._by_hour: Counter[int] = Counter()
        self._edges = np.asarray(baseline.score_edges, dtype=np.float64)
        self._counts: Ints = np.zeros(len(self._edges) + 1, dtype=np.int64)
        self._sums = np.zeros(len(self._edges) + 1)
        self._labels = labels
        self._classes = signature.classes
        self._is_classifier = signature.task == "classification"
        self._is_calibrated = self._is_classifier and is_calibrated
        is_decision = baseline.score_kind == "decision"
        has_expected = self._is_calibrated and len(self._classes) == 2
        self._may_sum_below_zero = not self._is_classifier or (is_decision and not has_expected)
        self._is_crossed = len(self._classes) <= MAX_CLASSES_CROSSED
        size = len(self._classes)
        self._predicted: Ints = np.zeros(size, dtype=np.int64)
        self._probabilities = np.zeros((size, size) if self._is_crossed else size)
        self._values = 0

    def add(self, prediction: Prediction) -> None:
        """Count the answers of a call."""
        if prediction.score is not None:
            bins = np.searchsorted(self._edges, prediction.score, side="left")
            size = len(self._counts)
            self._counts += np.bincount(bins, minlength=size)
            self._sums += np.bincount(bins, weights=_summed(prediction), minlength=size)
        if prediction.predicted is not None:
            self._add_classes(prediction.predicted, prediction.calibrated)
            self._book(len(prediction.predicted))
        if prediction.values is not None:
            self._values += len(prediction.values)
            self._book(len(prediction.values))

    def _book(self, rows: int) -> None:
        if self._hours_kept:
            self._by_hour[self._hour_now()] += rows

    def _add_classes(
        self, predicted: NDArray[np.intp], calibrated: NDArray[np.float64] | None
    ) -> None:
        size = len(self._classes)
        self._predicted += np.bincount(predicted, minlength=size)
        if calibrated is None:
            return
        if self._is_crossed:
            np.add.at(self._probabilities, predicted, calibrated)
        else:
            own = calibrated[np.arange(len(predicted)), predicted]
            self._probabilities += np.bincount(predicted, weights=own, minlength=size)

    def families(self) -> list[Family]:
        """Return the samples of now."""
        # Values of a regression and decision values may be negative, which no counter is.
        summed: Kind = "gauge" if self._may_sum_below_zero else "counter"
        sums = self._sums.tolist()
        families = [
            self._by_bin(
                metrics.SCORE_BIN, "counter", "Rows by bin of the score.", self._counts.tolist()
            ),
            self._by_bin(metrics.SCORE_BIN_SUM, summed, "Sum of the score by its bin.", sums),
        ]
        families.append(
            Family(metrics.PREDICTED, "counter", "Rows by predicted class.", self._named())
        )
        if self._hours_kept:
            families.append(
                Family(metrics.PREDICTED_BY_HOUR, "counter", "Rows by hour.", self._hours())
            )
        if self._is_calibrated:
            families.append(
                Family(
                    metrics.PROBABILITY_SUM,
                    "counter",
                    "Sum of calibrated probabilities.",
                    self._crossed(),
                )
            )
        return families

    def _by_bin(self, name: str, kind: Kind, text: str, values: list[float]) -> Family:
        labels = self._labels
        samples = [
            (labelled(name, [*labels, ("bin", str(place))]), value)
            for place, value in enumerate(values)
        ]
        return Family(name, kind, text, samples)

    def _hours(self) -> list[tuple[str, float]]:
        oldest = self._hour_now() - self._hours_kept
        for hour in [hour for hour in self._by_hour if hour < oldest]:
            del self._by_hour[hour]
        return [
            (labelled(metrics.PREDICTED_BY_HOUR, [*self._labels, ("hour", str(hour))]), rows)
            for hour, rows in self._by_hour.items()
        ]

    def _named(self) -> list[tuple[str, float]]:
        if not self._is_classifier:
            return [(labelled(metrics.PREDICTED, [*self._labels, ("class", "")]), self._values)]
        named: list[tuple[str, float]] = [
            (labelled(metrics.PREDICTED, [*self._labels, ("class", name)]), count)
            for name, count in zip(
                self._classes[:MAX_CLASSES_NAMED],
                self._predicted[:MAX_CLASSES_NAMED].tolist(),
                strict=True,
            )
        ]
        if len(self._classes) > MAX_CLASSES_NAMED:
            rest = int(self._predicted[MAX_CLASSES_NAMED:].sum())
            named.append(
                (labelled(metrics.PREDICTED, [*self._labels, ("class", metrics.OTHER_CLASS)]), rest)
            )
        return named

    def _crossed(self) -> list[tuple[str, float]]:
        name, labels, classes = metrics.PROBABILITY_SUM, self._labels, self._classes
        if self._is_crossed:
            return [
                (labelled(name, [*labels, ("predicted", one), ("class", other)]), value)
                for one, values in zip(classes, self._probabilities.tolist(), strict=True)
                for other, value in zip(classes, values, strict=True)
            ]
        return [
            (labelled(name, [*labels, ("predicted", one), ("class", one)]), value)
            for one, value in zip(
                classes[:MAX_CLASSES_NAMED],
                self._probabilities[:MAX_CLASSES_NAMED].tolist(),
                strict=True,
            )
        ]


class CallTotals(NamedTuple):
    """Calls of the model that succeeded since the start."""

    calls: int
    rows: int
    seconds: float


class CallCounters:
    """Duration and size of prediction calls."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._second_bounds = np.array(metrics.REQUEST_SECONDS_BUCKETS)
        self._row_bounds = np.array(metrics.BATCH_ROWS_BUCKETS)
        self._seconds: Ints = np.zeros(len(self._second_bounds) + 1, dtype=np.int64)
        self._rows: Ints = np.zeros(len(self._row_bounds) + 1, dtype=np.int64)
        self._seconds_sum = 0.0
        self._rows_sum = 0

    def add(self, seconds: Sequence[float], rows: Sequence[int]) -> None:
        """Count calls by their duration and rows."""
        places = np.searchsorted(self._second_bounds, seconds, side="left")
        self._seconds += np.bincount(places, minlength=len(self._seconds))
        places = np.searchsorted(self._row_bounds, rows, side="left")
        self._rows += np.bincount(places, minlength=len(self._rows))
        self._seconds_sum += sum(seconds)
        self._rows_sum += sum(rows)

    def totals(self) -> CallTotals:
        """Return the sums of now."""
        return CallTotals(int(self._seconds.sum()), self._rows_sum, self._seconds_sum)

    def families(self) -> list[Family]:
        """Return the samples of now."""
        return [
            Family(
                metrics.PREDICT_SECONDS,
                "histogram",
                "Seconds of one call of the model.",
                histogram_samples(
                    metrics.PREDICT_SECONDS,
                    self._labels,
                    metrics.REQUEST_SECONDS_BUCKETS,
                    self._seconds.tolist(),
                    self._seconds_sum,
                ),
            ),
            Family(
                metrics.BATCH_ROWS,
                "histogram",
                "Rows of one call of the model.",
                histogram_samples(
                    metrics.BATCH_ROWS,
                    self._labels,
                    metrics.BATCH_ROWS_BUCKETS,
                    self._rows.tolist(),
                    self._rows_sum,
                ),
            ),
        ]


def _watchable(
    signature: Signature, baseline: Baseline
) -> list[tuple[int, NumericFeature | CategoricalFeature]]:
    """Return (column, feature) of what the signature marks and the baseline has bins of."""
    columns: dict[str, int] = {}
    at = 0
    for tensor in signature.inputs:
        if tensor.watched:
            names = feature_names(tensor)
            columns.update({name: at + i for i, name in enumerate(names)})
        at += prod(tensor.shape)
    features = baseline.features
    return [(columns[feature.name], feature) for feature in features if feature.name in columns]


def _placed(
    watched: Sequence[tuple[int, NumericFeature | CategoricalFeature]],
) -> list[tuple[int, NumericFeature | CategoricalFeature, int]]:
    """Return (column, feature, offset of its bins)."""
    offsets = accumulate((len(feature.counts) for _, feature in watched), initial=0)
    return [
        (column, feature, offset)
        for (column, feature), offset in zip(watched, offsets, strict=False)
    ]


def _index(categories: list[str], offset: int) -> dict[str, int]:
    index = {name: offset + place for place, name in enumerate(categories)}
    if set(categories) <= {"true", "false"}:
        # Truth values travel as numbers in a matrix of numbers.
        index |= {str(int(name == "true")): place for name, place in index.items()}
    return index


def _category(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _summed(prediction: Prediction) -> NDArray[np.float64] | None:
    """Return what is summed in the score's bins.

    Calibrated where binary, since the estimate of AUC needs expected positives.
    """
    calibrated = prediction.calibrated
    if calibrated is not None and calibrated.shape[1] == 2:
        return calibrated[:, 1]
    return prediction.score
