"""Rows into the counts that pods export, by the bins of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import (
    Baseline,
    Calibration,
    Interval,
    NumericFeature,
    Tensor,
    feature_names,
)
from trimtab.contract.calibration import calibrated
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.replay.columns import Columns
from trimtab.training.baseline import Feature, bin_counts, build_baseline, score_of
from trimtab.training.calibration import fit_calibration
from trimtab.training.checks import category_names, missing_and_strange
from trimtab.training.class_metrics import class_metrics
from trimtab.training.columns import (
    Task,
    infer_inputs,
    infer_task,
    make_labels,
    make_matrix,
    make_signature,
)
from trimtab.training.errors import DataBroken
from trimtab.training.evaluation import Predictions, evaluate


class Binning:
    """The reference rows, binned as at training; raises DataBroken naming column and fault.

    baseline: the reference as counts, with its metrics where it has labels. A prediction that
    holds fractions makes it a regression.
    """

    def __init__(self, frame: pd.DataFrame, columns: Columns) -> None:
        self._columns = columns
        # A model without watched inputs has one that is not counted.
        nothing = [Tensor(name="(none)", datatype="FP64", watched=False)]
        watched = infer_inputs(frame, list(columns.features))
        inputs = watched or nothing
        self._inputs = inputs if watched else []
        self._task: Task = infer_task(_complete(frame, columns.prediction))
        self._classes: list[str] = []
        self._maps: list[Calibration] = []
        measured: list[Interval] = []
        truths: NDArray[Any] | None = None
        if self._task == "regression" and columns.probability:
            raise DataBroken(
                f"column {columns.prediction!r} holds fractions, which have no probabilities"
            )
        if self._task == "regression":
            self._signature = make_signature(inputs, self._task, [])
            answers = self._answers(frame)
            stated = self._truths(frame)
            if stated is not None and (~np.isnan(stated)).all() and len(stated):
                truths = stated
                measured = evaluate(stated, answers, [])
        else:
            predicted, actual = _classes_of(frame, columns.prediction), self._labels(frame)
            names = (
                predicted if actual is None else np.concatenate([predicted, actual[actual != ""]])
            )
            self._classes = sorted(set(names.tolist()), key=_class_order)
            if len(self._classes) == 1:
                raise DataBroken(
                    f"the reference holds only the class {self._classes[0]}, in predictions and "
                    "labels; two or more are wanted"
                )
            self._signature = make_signature(inputs, self._task, self._classes)
            answers = self._answers(frame)
            has = actual != "" if actual is not None else np.zeros(len(frame), dtype=bool)
            if actual is not None and has.any():
                labelled = answers.only(has)
                measured = [
                    *evaluate(actual[has], labelled, self._classes),
                    *class_metrics(actual[has], labelled.predicted, self._classes),
                ]
                if labelled.score is not None:
                    self._maps = fit_calibration(labelled.score, actual[has], self._classes)
        matrix = self._matrix(frame)
        self.baseline: Baseline = build_baseline(
            matrix, answers, self._signature, self._maps, measured, truths
        )
        names_in_order = [name for tensor in self._inputs for name in feature_names(tensor)]
        self._places = {name: place for place, name in enumerate(names_in_order)}

    def counts(self, frame: pd.DataFrame) -> Series:
        """Return the counts of the rows of one window, but of their labels."""
        counts: dict[SeriesKey, float] = {}
        matrix, answers = self._matrix(frame), self._answers(frame)
        self._refuse_strange_classes(answers)
        for feature in self.baseline.features:
            _count_feature(counts, feature, matrix[:, self._places[feature.name]])
        self._count_answers(counts, answers)
        return counts

    def _refuse_strange_classes(self, answers: Predictions) -> None:
        """Raise DataBroken for a class that the reference does not have: nothing counts it."""
        if self._task == "regression":
            return
        strange = {str(name) for name in answers.predicted} - set(self._classes)
        if strange:
            raise DataBroken(
                f"column {self._columns.prediction!r} holds the class {min(strange)!r}, which no "
                "row of the reference has"
            )

    def labels(self, frame: pd.DataFrame) -> Series:
        """Return the counts of the labels of rows; empty where none is known."""
        counts: dict[SeriesKey, float] = {}
        answers = self._answers(frame)
        if self._task == "regression":
            self._count_errors(counts, answers, self._truths(frame))
            return counts
        actual = self._labels(frame)
        if actual is not None:
            for predicted, true in zip(answers.predicted, actual, strict=True):
                if true:
                    key = _key(metrics.OUTCOMES, predicted=str(predicted), actual=str(true))
                    counts[key] = counts.get(key, 0.0) + 1.0
        return counts

    def _count_errors(
        self,
        counts: dict[SeriesKey, float],
        answers: Predictions,
        truths: NDArray[np.float64] | None,
    ) -> None:
        if truths is None:
            return
        errors = answers.predicted - truths
        errors = errors[~np.isnan(errors)]
        if not len(errors):
            return
        counts[_key(metrics.OUTCOME_ERRORS_COUNT)] = float(len(errors))
        counts[_key(metrics.OUTCOME_ERRORS_SUM)] = float(errors.sum())
        counts[_key(metrics.OUTCOME_ERRORS_SQUARES)] = float((errors**2).sum())
        counts[_key(metrics.OUTCOME_ERRORS_ABSOLUTE)] = float(np.abs(errors).sum())

    def _count_answers(self, counts: dict[SeriesKey, float], answers: Predictions) -> None:
        if answers.score is not None or self._task == "regression":
            scores = score_of(answers, self._signature)
            for index, count in enumerate(bin_counts(scores, self.baseline.score_edges)):
                counts[_key(metrics.SCORE_BIN, bin=str(index))] = float(count)
        if self._task == "regression":
            counts[_key(metrics.PREDICTED, **{"class": ""})] = float(len(answers.predicted))
            return
        sums = None
        if answers.score is not None and len(self._classes) == 2 and self._maps:
            # What the estimate of AUC takes as expected positives, as the pods export it.
            expected = calibrated(answers.score, self._maps)[:, 1]
            places = np.searchsorted(self.baseline.score_edges, answers.score[:, 1], side="left")
            for index, total in enumerate(
                np.bincount(places, expected, len(self.baseline.score_counts))
            ):
                counts[_key(metrics.SCORE_BIN_SUM, bin=str(index))] = float(total)
        if answers.score is not None and self._maps:
            sums = calibrated(answers.score, self._maps)
        for predicted in sorted(set(answers.predicted.tolist())):
            own = answers.predicted == predicted
            counts[_key(metrics.PREDICTED, **{"class": predicted})] = float(own.sum())
            if sums is None:
                continue
            for name, total in zip(self._classes, sums[own].sum(axis=0), strict=True):
                key = _key(metrics.PROBABILITY_SUM, **{"predicted": predicted, "class": name})
                counts[key] = float(total)

    def _matrix(self, frame: pd.DataFrame) -> NDArray[Any]:
        return make_matrix(frame, self._inputs) if self._inputs else np.zeros((len(frame), 1))

    def _truths(self, frame: pd.DataFrame) -> NDArray[np.float64] | None:
        """Truths [n] of a regression, NaN where one is not known."""
        name = self._columns.label
        if name is None:
            return None
        try:
            return frame[name].to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataBroken(f"column {name!r} holds values that are no numbers") from error

    def _labels(self, frame: pd.DataFrame) -> NDArray[np.str_] | None:
        """Classes [n], "" where the truth is not known."""
        name = self._columns.label
        if name is None:
            return None
        has = frame[name].notna().to_numpy()
        texts = np.full(len(frame), "", dtype=object)
        if has.any():
            texts[has] = _classes_of(frame[has], name)
        return texts.astype(np.str_)

    def _answers(self, frame: pd.DataFrame) -> Predictions:
        if self._task == "regression":
            values = _complete(frame, self._columns.prediction).to_numpy(dtype=np.float64)
            return Predictions(values)
        predicted = _classes_of(frame, self._columns.prediction)
        names = self._columns.probability
        if not names:
            return Predictions(predicted)
        raw = frame[list(names)].to_numpy(dtype=np.float64)
        if np.isnan(raw).any():
            raise DataBroken(f"column {', '.join(names)} has rows without a probability")
        if not ((raw >= 0) & (raw <= 1)).all():
            raise DataBroken(f"column {', '.join(names)} holds values outside 0 to 1")
        if len(names) == 1 and len(self._classes) == 2:
            raw = np.column_stack((1.0 - raw[:, 0], raw[:, 0]))
        if raw.shape[1] != len(self._classes):
            raise DataBroken(
                f"{len(names)} columns of probabilities for the {len(self._classes)} classes "
                f"{', '.join(self._classes)}; one a class, in this order"
            )
        return Predictions(predicted, raw)


def _count_feature(counts: dict[SeriesKey, float], feature: Feature, values: NDArray[Any]) -> None:
    shares = missing_and_strange(values, feature)
    if isinstance(feature, NumericFeature):
        by_bin = bin_counts(values.astype(np.float64), feature.edges)
        strange = metrics.FEATURE_OUT_OF_RANGE
    else:
        named = category_names(values, feature.categories)
        by_bin = [named.count(category) for category in feature.categories]
        strange = metrics.FEATURE_UNSEEN
    for index, count in enumerate(by_bin):
        counts[_key(metrics.FEATURE_BIN, feature=feature.name, bin=str(index))] = float(count)
    for metric, share in ((metrics.FEATURE_MISSING, shares.missing), (strange, shares.strange)):
        counts[_key(metric, feature=feature.name)] = float(round(share * len(values)))


def _complete(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    column = frame[name]
    if column.isna().any():
        raise DataBroken(f"column {name!r} has rows without a value")
    return column


def _classes_of(frame: pd.DataFrame, name: str) -> NDArray[np.str_]:
    column = _complete(frame, name)
    if infer_task(column) == "regression":
        raise DataBroken(f"column {name!r} holds fractions where the others hold classes")
    return make_labels(column, "classification").astype(np.str_)


def _class_order(name: str) -> tuple[float, str]:
    return (float(name), name) if name.lstrip("-").isdigit() else (float("inf"), name)


def _key(metric: str, **labels: str) -> SeriesKey:
    return metric, frozenset(labels.items())
