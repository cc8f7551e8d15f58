"""The verdict of quality (estimated, without labels) and outcomes (measured on labels).

    nothing to judge, or not by this metric -> NoData{reason, what to do}
    too few rows or labels                  -> InsufficientData{n, needed}
    proven below the floor, above a ceiling -> Drifting, else Stable

Counts only (statistics.md §6). An estimate is called estimated in every message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from trimtab.api.drift_policy import ERROR_METRICS, MetricName
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import Finding, by_bin, by_class, family, total
from trimtab.stats.quality import (
    LARGEST_FULL_MATRIX,
    Confusion,
    FloorTest,
    Metric,
    Share,
    auc_floor_test,
    estimated_auc,
    estimated_confusion,
    floor_test,
    labelled_share,
    quality_floor_test,
    realised_confusion,
)
from trimtab.stats.regression import (
    Bounded,
    ErrorMetric,
    ErrorSums,
    ResidualModel,
    ceiling_test,
    estimated_error,
    mean_absolute_error,
    root_mean_square_error,
)

DROP_TO_FIND = 0.03
"""Rows are asked for until a quality this far below its floor would be seen in eight of ten
windows; of an error, one a tenth above its ceiling.
"""
LABELS_NEEDED = 0.5
"""Share of the predictions whose truth must have come in."""
_NO_CLASSES = (
    "NoSeries: a regression has no {metric}; use metric mae or rmse with a ceiling in the policy"
)


@dataclass(frozen=True)
class Standard:
    """What a policy asks for: a floor, or a ceiling for mae and rmse, in the metric's own units."""

    metric: MetricName
    bound: float
    class_name: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether less is better."""
        return self.metric in ERROR_METRICS

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return self.metric if self.class_name is None else f"{self.metric} of {self.class_name}"


def judge_quality(
    counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
) -> Finding:
    """Is the quality that is *estimated* without labels worse than the standard?

    baseline: only AUC and errors need it.
    """
    predicted = by_class(counts)
    if not sum(predicted.values()):
        return _nothing("NoTraffic: no row was predicted", standard)
    if standard.is_error:
        return _judge_estimated_error(counts, baseline, standard, alpha)
    if predicted.keys() == {""}:
        return _nothing(_NO_CLASSES.format(metric=standard.metric), standard)
    sums = {
        (labels["predicted"], labels["class"]): value
        for labels, value in family(counts, metrics.PROBABILITY_SUM)
        if "predicted" in labels and "class" in labels
    }
    if not sums:
        return _nothing(
            "NoSeries: the version exports no calibrated probabilities, so its quality cannot be "
            "estimated",
            standard,
        )
    if standard.metric == "auc":
        return _judge_auc(counts, baseline, {name for _, name in sums}, standard, alpha)
    return _judge_confusion(estimated_confusion(predicted, sums), "estimated", standard, alpha)


def judge_outcomes(
    counts: Series, standard: Standard, alpha: float, *, predicted: float | None
) -> Finding:
    """Is the quality of labelled rows worse than the standard?

    predicted: rows that the labels are among; None where nobody knows any more.
    """
    errors = ErrorSums(
        total(counts, metrics.OUTCOME_ERRORS_COUNT),
        total(counts, metrics.OUTCOME_ERRORS_SUM),
        total(counts, metrics.OUTCOME_ERRORS_SQUARES),
        total(counts, metrics.OUTCOME_ERRORS_ABSOLUTE),
    )
    labelled = errors.count + total(counts, metrics.OUTCOMES)
    if not labelled:
        return _nothing("NoSeries: no label has come in", standard)
    if predicted is not None:
        share = labelled_share(labelled, predicted)
        if share < LABELS_NEEDED:
            return Finding(
                "InsufficientData",
                f"labels of {share:.0%} of {predicted:.0f} rows have come in, "
                f"{LABELS_NEEDED:.0%} are needed",
                threshold=standard.bound,
                n=int(labelled),
                needed=int(np.ceil(predicted * LABELS_NEEDED)),
            )
    if standard.is_error:
        return _judge_realised_error(errors, standard, alpha)
    if errors.count:
        return _nothing(_NO_CLASSES.format(metric=standard.metric), standard)
    return _judge_labelled_classes(counts, standard, alpha)


# --- classes ------------------------------------------------------------------------------------


def _judge_labelled_classes(counts: Series, standard: Standard, alpha: float) -> Finding:
    pairs: dict[tuple[str, str], float] = {}
    right = rows = 0.0
    has_classes = True
    for labels, value in family(counts, metrics.OUTCOMES):
        rows += value
        if "predicted" in labels and "actual" in labels:
            pair = (labels["predicted"], labels["actual"])
            pairs[pair] = pairs.get(pair, 0.0) + value
            right += value if pair[0] == pair[1] else 0.0
        else:
            has_classes = False
            right += value if labels.get("correct") == "true" else 0.0
    if standard.metric == "accuracy":
        return _judge_share(Share(right, rows), standard, alpha)
    if not has_classes:
        return _nothing(
            f"NoSeries: labels by class are told by hour of few classes only, so there is no "
            f"{standard.metric}; use accuracy, a labelDelay below 1h, or a shorter "
            "serving.labelDelay of the Deployment",
            standard,
        )
    return _judge_confusion(realised_confusion(pairs), "labelled", standard, alpha)


def _judge_share(share: Share, standard: Standard, alpha: float) -> Finding:
    test = floor_test(share, standard.bound, 1 - alpha, _drop(standard))
    return _below(f"{standard.name} of labelled rows", test, standard)


def _judge_confusion(confusion: Confusion, how: str, standard: Standard, alpha: float) -> Finding:
    metric = Metric(standard.metric)
    if metric in (Metric.RECALL, Metric.F1) and not confusion.is_full:
        return _nothing(
            f"NoSeries: {metric} needs the probabilities of all classes, which are exported up to "
            f"{LARGEST_FULL_MATRIX} classes; use accuracy or precision",
            standard,
        )
    known = confusion.classes
    if standard.class_name is not None and standard.class_name not in known:
        return _nothing(
            f"NoTraffic: no row of class {standard.class_name!r}; there are "
            f"{', '.join(known[:10])}",
            standard,
        )
    test = quality_floor_test(
        confusion, metric, standard.class_name, standard.bound, 1 - alpha, _drop(standard)
    )
    what = f"{standard.name} of labelled rows" if how == "labelled" else f"{how} {standard.name}"
    return _below(what, test, standard)


def _judge_auc(
    counts: Series, baseline: Baseline | None, classes: set[str], standard: Standard, alpha: float
) -> Finding:
    if baseline is None:
        return _nothing(
            "NoSeries: AUC needs the bins of the baseline, which is not known", standard
        )
    if len(classes) > 2:
        return _nothing(
            f"NoSeries: auc is of two classes, the model has {len(classes)}; use accuracy or f1",
            standard,
        )
    bins = len(baseline.score_counts)
    rows, sums = (by_bin(counts, name, bins) for name in (metrics.SCORE_BIN, metrics.SCORE_BIN_SUM))
    auc = estimated_auc(rows, sums)
    if math.isnan(auc.value):
        return _nothing("NoTraffic: only one class is expected in the window", standard)
    test = auc_floor_test(auc, standard.bound, 1 - alpha, _drop(standard))
    return _below(f"estimated auc, binned to within {auc.error:.4f},", test, standard)


def _below(what: str, test: FloorTest, standard: Standard) -> Finding:
    if math.isnan(test.value):
        return _nothing(f"NoTraffic: no row counts for the {standard.name}", standard)
    text = f"{what} {test.value:.3f}, floor {test.floor:.3f} (n={test.n:.0f})"
    finding = Finding(
        "Stable",
        text,
        value=round(test.value, 4),
        threshold=round(test.floor, 4),
        n=int(test.n),
        needed=test.needed,
    )
    if test.is_below:
        return replace(finding, verdict="Drifting", message=f"{text}, at most {test.upper:.3f}")
    # A quality that is proven to be above the floor needs no more rows either.
    if not test.is_enough and test.lower < test.floor:
        message = f"{text}; {test.needed} rows are needed"
        return replace(finding, verdict="InsufficientData", message=message)
    return finding


# --- errors of a regression ---------------------------------------------------------------------


def _judge_realised_error(errors: ErrorSums, standard: Standard, alpha: float) -> Finding:
    if not errors.count:
        return _nothing(
            f"NoSeries: a classification has no {standard.metric}; use accuracy with a floor",
            standard,
        )
    if standard.metric == "rmse":
        found = root_mean_square_error(errors, 1 - alpha)
    elif errors.absolute:
        found = mean_absolute_error(errors, 1 - alpha)
    elif errors.squares:
        return _nothing(
            "NoSeries: the version exports no sum of absolute errors; use rmse", standard
        )
    else:
        found = mean_absolute_error(replace(errors, absolute=0.0), 1 - alpha)
    return _above(f"{standard.name} of labelled rows", found, standard)


def _judge_estimated_error(
    counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
) -> Finding:
    if baseline is None or baseline.residuals is None:
        return _nothing(
            f"NoSeries: the baseline has no residuals, so {standard.metric} cannot be estimated; "
            "publish the version again with the trainer, or watch outcomes",
            standard,
        )
    known = baseline.residuals
    model = ResidualModel(
        *(
            np.asarray(part, dtype=np.float64)
            for part in (known.rows, known.absolute, known.squares, known.fourth)
        )
    )
    rows = by_bin(counts, metrics.SCORE_BIN, len(known.rows))
    found = estimated_error(model, rows, ErrorMetric(standard.metric), 1 - alpha)
    return _above(f"estimated {standard.name}", found, standard)


def _above(what: str, error: Bounded, standard: Standard) -> Finding:
    if math.isnan(error.value):
        return _nothing(f"NoTraffic: no row counts for the {standard.name}", standard)
    test = ceiling_test(error, standard.bound)
    text = f"{what} {test.value:.4g}, ceiling {test.ceiling:.4g} (n={test.n:.0f})"
    needed = None if math.isinf(test.needed) else int(test.needed)
    finding = Finding(
        "Stable",
        text,
        value=_significant(test.value),
        threshold=_significant(test.ceiling),
        n=int(test.n),
        needed=needed,
    )
    if test.is_above:
        return replace(finding, verdict="Drifting", message=f"{text}, at least {test.lower:.4g}")
    if not test.is_enough and test.upper > test.ceiling:
        more = (
            "the baseline has too few rows to tell more"
            if needed is None
            else f"{needed} rows are needed"
        )
        return replace(finding, verdict="InsufficientData", message=f"{text}; {more}")
    return finding


def _significant(value: float) -> float:
    return float(f"{value:.6g}")


def _drop(standard: Standard) -> float:
    return min(DROP_TO_FIND, standard.bound)


def _nothing(message: str, standard: Standard) -> Finding:
    return Finding("NoData", message, threshold=standard.bound)
