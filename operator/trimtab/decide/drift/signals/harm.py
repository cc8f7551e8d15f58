"""What quality and outcomes share: a metric that is held to a floor, or to a ceiling.

    nothing to judge, or not by this metric -> NoData{reason, what to do}
    too few rows or labels                  -> InsufficientData{n, needed}
    proven below the floor, above a ceiling -> Drifting, else Stable

Counts only (statistics.md §6). An estimate is called estimated in every message.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.api.drift_policy import ERROR_METRICS, Ceiling, MetricName, Signal
from trimtab.contract.artifact import Baseline, class_slice
from trimtab.contract.metrics import Series
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.signal import Demand, Reference, WindowSignal
from trimtab.decide.drift.snapshot import WatchedDeployment, WindowView
from trimtab.stats.quality import (
    LARGEST_FULL_MATRIX,
    Confusion,
    FloorTest,
    Metric,
    needed_rows,
    quality_floor_test,
)
from trimtab.stats.regression import Bounded, ceiling_test

DROP_TO_FIND = 0.03
"""Rows are asked for until a quality this far below its floor would be seen in eight of ten
windows; of an error, one a tenth above its ceiling.
"""
NO_CLASSES = (
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


def metric_of(signal: Signal) -> MetricName:
    """Return the metric that a signal is about."""
    return signal.metric or "accuracy"


def bound_of(signal: Signal, score: float | None) -> float | None:
    """Return the floor or the ceiling in units of the metric; None where it cannot be known.

    score: of the version that a drop or a rise is counted from.
    """
    given = signal.floor or signal.ceiling
    if given is None:
        return None
    if given.limit is not None:
        return given.limit
    if score is None:
        return None
    if isinstance(given, Ceiling):
        return score * (1 + (given.rise_by or 0.0)) if 0 < score < math.inf else None
    # An accuracy that somebody states as 97.4 is nothing that a floor can be counted from.
    return max(0.0, score - (given.drop_by or 0.0)) if 0 <= score <= 1 else None


def standard_of(signal: Signal, watched: WatchedDeployment) -> Standard | None:
    """Return what quality or outcomes are held to; None where no reference is known."""
    given = signal.floor or signal.ceiling
    is_from_best = given is not None and given.from_ == "best"
    scores = watched.best_scores if is_from_best else watched.stable_scores
    bound = bound_of(signal, scores.get(signal.kind))
    return None if bound is None else Standard(metric_of(signal), bound, signal.class_)


class HarmSignal(WindowSignal):
    """A signal that holds a metric to a standard."""

    event = EventReason.HARM_DETECTED
    condition = ConditionType.HARM
    sets_floor = True

    @abstractmethod
    def judge_counts(
        self, counts: Series, baseline: Baseline | None, standard: Standard, alpha: float
    ) -> Finding:
        """Return what the counts of one window say."""

    def judge_window(
        self, signal: Signal, window: WindowView, watched: WatchedDeployment, alpha: float
    ) -> Finding:
        """Return what one window says; without a standard there is nothing to hold to."""
        standard = standard_of(signal, watched)
        if standard is None:
            return no_standard(signal)
        if window.counts is None:
            return Finding("NoData", window.silence)
        return self.judge_counts(window.counts, watched.baseline, standard, alpha)

    def reference(self, signal: Signal) -> Reference | None:
        """Return the metric, on all rows or on those of the class."""
        of_slice = class_slice(signal.class_) if signal.class_ is not None else "all"
        return Reference(metric_of(signal), of_slice)

    def demand(
        self, signal: Signal, baseline: Baseline | None, score: float | None
    ) -> Demand | None:
        """Return the rows with which an accuracy below its floor would be seen."""
        floor = bound_of(signal, score) if signal.floor is not None else None
        if floor is None or not 0 < floor < 1 or metric_of(signal) != "accuracy":
            return None
        drop = drop_to_find(floor)
        return Demand(
            lambda alpha: needed_rows(floor, drop, 1 - alpha),
            f"an accuracy {drop:.0%} below the floor of {floor:.3f}",
        )

    def value_name(self, signal: Signal) -> str:
        """Return the metric and its class."""
        of_class = f" of {signal.class_}" if signal.class_ else ""
        return f"{metric_of(signal)}{of_class}"


def drop_to_find(bound: float) -> float:
    """Return how far below a floor a quality is that rows are asked for until it is seen."""
    return min(DROP_TO_FIND, bound)


# --- verdicts -----------------------------------------------------------------------------------


def no_standard(signal: Signal) -> Finding:
    """Say that a drop cannot be counted from nothing, and what to do."""
    metric = metric_of(signal)
    of_class = f", slice {class_slice(signal.class_)!r}" if signal.class_ else ""
    bound, unit = (
        ("ceiling.limit", "above 0")
        if signal.ceiling is not None
        else ("floor.limit", "a share from 0 to 1")
    )
    return Finding(
        "NoData",
        f"NoSeries: no {metric} is known of any promoted version; state it in "
        f"spec.evaluation of the ModelVersion (metric {metric}{of_class}, {unit}), or use {bound}",
    )


def nothing(message: str, standard: Standard) -> Finding:
    """Say why there is nothing to judge."""
    return Finding("NoData", message, threshold=standard.bound)


def judge_confusion(confusion: Confusion, how: str, standard: Standard, alpha: float) -> Finding:
    """Hold a metric of classes to its floor. how: whether it is estimated or of labelled rows."""
    metric = Metric(standard.metric)
    if metric in (Metric.RECALL, Metric.F1) and not confusion.is_full:
        return nothing(
            f"NoSeries: {metric} needs the probabilities of all classes, which are exported up to "
            f"{LARGEST_FULL_MATRIX} classes; use accuracy or precision",
            standard,
        )
    classes = confusion.classes
    if standard.class_name is not None and standard.class_name not in classes:
        return nothing(
            f"NoTraffic: no row of class {standard.class_name!r}; there are "
            f"{', '.join(classes[:10])}",
            standard,
        )
    test = quality_floor_test(
        confusion,
        metric,
        standard.class_name,
        standard.bound,
        1 - alpha,
        drop_to_find(standard.bound),
    )
    what = f"{standard.name} of labelled rows" if how == "labelled" else f"{how} {standard.name}"
    return below(what, test, standard)


def below(what: str, test: FloorTest, standard: Standard) -> Finding:
    """Say whether a quality is below its floor."""
    if math.isnan(test.value):
        return nothing(f"NoTraffic: no row counts for the {standard.name}", standard)
    text = f"{what} {test.value:.3f}, floor {test.floor:.3f} (n={test.n:.0f})"
    finding = Finding(
        "Stable",
        text,
        value=round(test.value, 4),
        threshold=round(test.floor, 4),
        n=int(test.n),
        needed=test.needed,
        lower=round(test.lower, 4),
        upper=round(test.upper, 4),
    )
    if test.is_below:
        return replace(finding, verdict="Drifting", message=f"{text}, at most {test.upper:.3f}")
    # A quality that is proven to be above the floor needs no more rows either.
    if not test.is_enough and test.lower < test.floor:
        message = f"{text}; {test.needed} rows are needed"
        return replace(finding, verdict="InsufficientData", message=message)
    return finding


def above(what: str, error: Bounded, standard: Standard) -> Finding:
    """Say whether an error is above its ceiling."""
    if math.isnan(error.value):
        return nothing(f"NoTraffic: no row counts for the {standard.name}", standard)
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
        lower=_known(test.lower),
        upper=_known(test.upper),
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


def _known(bound: float) -> float | None:
    return _significant(bound) if math.isfinite(bound) else None
