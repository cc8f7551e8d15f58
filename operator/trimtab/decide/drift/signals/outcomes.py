"""Outcomes: is what was measured on labelled rows worse than its standard?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trimtab.api.drift_policy import Signal
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import family, predicted_rows, total
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.harm import (
    NO_CLASSES,
    HarmSignal,
    Standard,
    above,
    below,
    drop_to_find,
    judge_confusion,
    no_standard,
    nothing,
    standard_of,
)
from trimtab.decide.drift.signals.signal import WAITING
from trimtab.decide.drift.snapshot import LabelledWindow, WatchedDeployment, WindowView
from trimtab.decide.drift.windows import counts_labels_by_hour
from trimtab.stats.quality import Share, floor_test, labelled_share, realised_confusion
from trimtab.stats.regression import ErrorSums, mean_absolute_error, root_mean_square_error

LABELS_NEEDED = 0.5
"""Share of the predictions whose truth must have come in."""


class Outcomes(HarmSignal):
    """The metric of labelled rows; labels that come late are judged by the hours of their rows."""

    kind = "outcomes"

    def span(
        self, signal: Signal, watched: WatchedDeployment
    ) -> WindowView | LabelledWindow | None:
        """Return the newest window whose labels have had their time."""
        return watched.labelled if counts_labels_by_hour(signal) else watched.window

    def judge(self, signal: Signal, watched: WatchedDeployment, alpha: float) -> Finding:
        """Return what that window says."""
        if not counts_labels_by_hour(signal):
            return super().judge(signal, watched, alpha)
        labelled, standard = watched.labelled, standard_of(signal, watched)
        if labelled is None:
            return WAITING
        if standard is None:
            return no_standard(signal)
        return judge_outcomes(labelled.counts, standard, alpha, predicted=labelled.predicted)

    def judge_counts(
        self, counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
    ) -> Finding:
        """Return what the labels say that came in within the window of their rows."""
        return judge_outcomes(counts, standard, alpha, predicted=predicted_rows(counts))


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
    if predicted is None:
        return _judge_labelled(counts, errors, labelled, standard, alpha)
    share = labelled_share(labelled, predicted)
    if not labelled or share >= LABELS_NEEDED:
        finding = _judge_labelled(counts, errors, labelled, standard, alpha)
    else:
        finding = Finding(
            "InsufficientData",
            f"labels of {share:.0%} of {predicted:.0f} rows have come in, "
            f"{LABELS_NEEDED:.0%} are needed",
            threshold=standard.bound,
            n=int(labelled),
            needed=int(np.ceil(predicted * LABELS_NEEDED)),
        )
    return replace(finding, labelled=round(share, 4) if predicted > 0 else None)


def _judge_labelled(
    counts: Series, errors: ErrorSums, labelled: float, standard: Standard, alpha: float
) -> Finding:
    if not labelled:
        return nothing("NoSeries: no label has come in", standard)
    if standard.is_error:
        return _judge_realised_error(errors, standard, alpha)
    if errors.count:
        return nothing(NO_CLASSES.format(metric=standard.metric), standard)
    return _judge_labelled_classes(counts, standard, alpha)


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
        return nothing(
            f"NoSeries: labels by class are told by hour of few classes only, so there is no "
            f"{standard.metric}; use accuracy, a labelDelay below 1h, or a shorter "
            "serving.labelDelay of the Deployment",
            standard,
        )
    return judge_confusion(realised_confusion(pairs), "labelled", standard, alpha)


def _judge_share(share: Share, standard: Standard, alpha: float) -> Finding:
    test = floor_test(share, standard.bound, 1 - alpha, drop_to_find(standard.bound))
    return below(f"{standard.name} of labelled rows", test, standard)


def _judge_realised_error(errors: ErrorSums, standard: Standard, alpha: float) -> Finding:
    if not errors.count:
        return nothing(
            f"NoSeries: a classification has no {standard.metric}; use accuracy with a floor",
            standard,
        )
    if standard.metric == "rmse":
        error = root_mean_square_error(errors, 1 - alpha)
    elif errors.absolute:
        error = mean_absolute_error(errors, 1 - alpha)
    elif errors.squares:
        return nothing(
            "NoSeries: the version exports no sum of absolute errors; use rmse", standard
        )
    else:
        error = mean_absolute_error(replace(errors, absolute=0.0), 1 - alpha)
    return above(f"{standard.name} of labelled rows", error, standard)
