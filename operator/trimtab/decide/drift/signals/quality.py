"""Quality: is what can be estimated of it without labels worse than its standard?"""

from __future__ import annotations

import math

import numpy as np

from trimtab.api.drift_policy import ERROR_METRICS, Signal
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import by_bin, by_class, family
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.harm import (
    NO_CLASSES,
    HarmSignal,
    Standard,
    above,
    below,
    drop_to_find,
    judge_confusion,
    metric_of,
    nothing,
)
from trimtab.decide.drift.snapshot import WatchedDeployment
from trimtab.stats.quality import auc_floor_test, estimated_auc, estimated_confusion
from trimtab.stats.regression import ErrorMetric, ResidualModel, estimated_error

_CALIBRATE = "publish it again with publish(calibrate=(X, y)), or watch outcomes"


def why_not_estimated(baseline: Baseline) -> str | None:
    """Say why no quality of classes can be estimated from this version; None if it can.

    Probabilities without a calibration are taken as they are.
    """
    if baseline.calibration or baseline.score_kind == "probability":
        return None
    if baseline.score_kind == "none":
        return (
            "the version gives classes alone, without probability or decision value, so quality "
            "cannot be estimated without labels: watch outcomes, or publish a classifier that has "
            "one with publish(calibrate=(X, y))"
        )
    return (
        "the version's decision values are not calibrated, so quality cannot be estimated without "
        f"labels: {_CALIBRATE}"
    )


class Quality(HarmSignal):
    """The metric as calibrated scores, or the residuals of training, let expect it."""

    kind = "quality"

    def judge(self, signal: Signal, watched: WatchedDeployment, alpha: float) -> Finding:
        """Return what the newest window says; at once, where no window will ever tell."""
        if watched.baseline is not None and metric_of(signal) not in ERROR_METRICS:
            why = why_not_estimated(watched.baseline)
            if why is not None:
                return Finding("NoData", f"NoSeries: {why}")
        return super().judge(signal, watched, alpha)

    def judge_counts(
        self, counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
    ) -> Finding:
        """Return what the counts of one window say."""
        return judge_quality(counts, baseline, standard, alpha)

    def value_name(self, signal: Signal) -> str:
        """Return the metric, as an estimate."""
        return f"estimated {super().value_name(signal)}"


def judge_quality(
    counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
) -> Finding:
    """Is the quality that is *estimated* without labels worse than the standard?

    baseline: only AUC and errors need it.
    """
    predicted = by_class(counts)
    if not sum(predicted.values()):
        return nothing("NoTraffic: no row was predicted", standard)
    if standard.is_error:
        return _judge_estimated_error(counts, baseline, standard, alpha)
    if predicted.keys() == {""}:
        return nothing(NO_CLASSES.format(metric=standard.metric), standard)
    sums = {
        (labels["predicted"], labels["class"]): value
        for labels, value in family(counts, metrics.PROBABILITY_SUM)
        if "predicted" in labels and "class" in labels
    }
    if not sums:
        return nothing(
            "NoSeries: the version exports no calibrated probabilities, so quality cannot be "
            f"estimated without labels: {_CALIBRATE}",
            standard,
        )
    if standard.metric == "auc":
        return _judge_auc(counts, baseline, {name for _, name in sums}, standard, alpha)
    return judge_confusion(estimated_confusion(predicted, sums), "estimated", standard, alpha)


def _judge_auc(
    counts: Series, baseline: Baseline | None, classes: set[str], standard: Standard, alpha: float
) -> Finding:
    if baseline is None:
        return nothing("NoSeries: AUC needs the bins of the baseline, which is not known", standard)
    if len(classes) > 2:
        return nothing(
            f"NoSeries: auc is of two classes, the model has {len(classes)}; use accuracy or f1",
            standard,
        )
    bins = len(baseline.score_counts)
    rows, sums = (by_bin(counts, name, bins) for name in (metrics.SCORE_BIN, metrics.SCORE_BIN_SUM))
    auc = estimated_auc(rows, sums)
    if math.isnan(auc.value):
        return nothing("NoTraffic: only one class is expected in the window", standard)
    test = auc_floor_test(auc, standard.bound, 1 - alpha, drop_to_find(standard.bound))
    return below(f"estimated auc, binned to within {auc.error:.4f},", test, standard)


def _judge_estimated_error(
    counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
) -> Finding:
    if baseline is None or baseline.residuals is None:
        return nothing(
            f"NoSeries: the baseline has no residuals, so {standard.metric} cannot be estimated; "
            "publish the version again with the trainer, or watch outcomes",
            standard,
        )
    residuals = baseline.residuals
    model = ResidualModel(
        *(
            np.asarray(part, dtype=np.float64)
            for part in (residuals.rows, residuals.absolute, residuals.squares, residuals.fourth)
        )
    )
    rows = by_bin(counts, metrics.SCORE_BIN, len(residuals.rows))
    error = estimated_error(model, rows, ErrorMetric(standard.metric), 1 - alpha)
    return above(f"estimated {standard.name}", error, standard)
