"""Rules on one signal of a DriftPolicy: can this model give it at all?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from trimtab.api.drift_policy import CLASS_METRICS, ERROR_METRICS, Signal
from trimtab.api.fields import format_duration
from trimtab.contract.artifact import Baseline, CategoricalFeature, Signature, class_slice
from trimtab.decide.drift.policy import counts_labels_by_hour
from trimtab.decide.model_version import score_of_baseline
from trimtab.lint.remarks import Remark
from trimtab.stats.quality import LARGEST_FULL_MATRIX

HOUR = timedelta(hours=1)
POD_LABEL_DELAY = timedelta(days=7)
"""How long pods take labels."""


@dataclass(frozen=True)
class Facts:
    """What is known beside a policy; None where nobody said.

    rows: expected in one window. scores: what the versions state, by (metric, slice).
    pod_label_delay: how long the pods take labels. tells_pairs: whether they tell predicted and
    actual class by hour.
    """

    rows: float | None = None
    baseline: Baseline | None = None
    signature: Signature | None = None
    scores: Mapping[tuple[str, str], float] = field(default_factory=dict)
    pod_label_delay: timedelta = POD_LABEL_DELAY
    tells_pairs: bool | None = None

    @property
    def is_regression(self) -> bool | None:
        """Whether the model gives numbers; None where nobody knows."""
        if self.signature is not None:
            return self.signature.task == "regression"
        return None if self.baseline is None else not self.baseline.predicted_counts

    @property
    def classes(self) -> list[str]:
        """The classes; empty where there are none, or nobody knows."""
        if self.signature is not None:
            return self.signature.classes
        return [] if self.baseline is None else list(self.baseline.predicted_counts)


def signal_remarks(signal: Signal, path: str, window: timedelta, facts: Facts) -> list[Remark]:
    """Return what the model cannot give of one signal; path: of the signal in the policy."""
    if signal.kind in ("inputs", "predictions"):
        text = _no_histogram(signal, facts)
        return [Remark("error", "model", f"{path}.kind", text)] if text else []
    if signal.kind == "data":
        return _data_remarks(signal, path, facts)
    text = _no_metric(signal, facts)
    if text is not None:
        return [Remark("error", "model", f"{path}.metric", text)]
    return [
        *_class_remarks(signal, path, facts),
        *_floor_remarks(signal, path, facts),
        *_label_remarks(signal, path, window, facts),
    ]


def floor_of(signal: Signal, facts: Facts) -> float | None:
    """Return the floor of a signal, where it is known before any version is promoted."""
    floor = signal.floor
    if floor is None or floor.limit is not None:
        return floor.limit if floor is not None else None
    score = _score(signal, facts)
    return None if score is None else max(0.0, score - (floor.drop_by or 0.0))


# --- inside -------------------------------------------------------------------------------------


def _no_histogram(signal: Signal, facts: Facts) -> str | None:
    baseline = facts.baseline
    if baseline is None:
        return None
    if signal.kind == "inputs":
        if any(len(feature.counts) >= 2 for feature in baseline.features):
            return None
        return "the baseline has no feature with two bins or more"
    if max(len(baseline.score_counts), len(baseline.predicted_counts)) >= 2:
        return None
    return "the baseline has no bins of scores or classes"


def _data_remarks(signal: Signal, path: str, facts: Facts) -> list[Remark]:
    if facts.baseline is None:
        return []
    kinds = {isinstance(feature, CategoricalFeature) for feature in facts.baseline.features}
    found = []
    if signal.unseen is not None and True not in kinds:
        text = "no watched feature has categories, so none can be unseen"
        found.append(Remark("warning", "model", f"{path}.unseen", text))
    if signal.out_of_range is not None and False not in kinds:
        text = "no watched feature is a number, so none can be out of range"
        found.append(Remark("warning", "model", f"{path}.outOfRange", text))
    return found


def _no_metric(signal: Signal, facts: Facts) -> str | None:
    """Say why the metric cannot be given; None if it can, or nobody knows."""
    metric, is_regression = signal.metric or "accuracy", facts.is_regression
    if is_regression is None:
        return None
    if is_regression and metric not in ERROR_METRICS:
        return f"the model is a regression and has no {metric}: use mae or rmse with a ceiling"
    if not is_regression and metric in ERROR_METRICS:
        return f"the model tells classes and has no {metric}: use accuracy with a floor"
    return _no_estimate(metric, facts) if signal.kind == "quality" else None


def _no_estimate(metric: str, facts: Facts) -> str | None:
    baseline, classes = facts.baseline, facts.classes
    if metric in ERROR_METRICS:
        if baseline is not None and baseline.residuals is None:
            return (
                f"the baseline has no residuals, so {metric} cannot be estimated: publish the "
                "version again, or watch outcomes"
            )
        return None
    if baseline is not None and not baseline.calibration:
        return (
            "the baseline has no calibration, so quality cannot be estimated without labels: give "
            "the trainer a model with probabilities, or watch outcomes"
        )
    if metric == "auc" and len(classes) != 2:
        return f"auc is of two classes, the model has {len(classes)}: use accuracy or f1"
    if metric in ("recall", "f1") and len(classes) > LARGEST_FULL_MATRIX:
        return (
            f"{metric} is estimated for up to {LARGEST_FULL_MATRIX} classes, the model has "
            f"{len(classes)}: use accuracy or precision"
        )
    return None


def _class_remarks(signal: Signal, path: str, facts: Facts) -> list[Remark]:
    classes = facts.classes
    if signal.class_ is None or not classes or signal.class_ in classes:
        return []
    text = f"the model has no class {signal.class_!r}; it has {', '.join(classes[:10])}"
    return [Remark("error", "model", f"{path}.class", text)]


def _floor_remarks(signal: Signal, path: str, facts: Facts) -> list[Remark]:
    score, metric = _score(signal, facts), signal.metric or "accuracy"
    given = "ceiling" if signal.floor is None else "floor"
    bound = signal.floor or signal.ceiling
    assert bound is not None  # by validation
    if bound.limit is None:
        if score is not None or (facts.baseline is None and not facts.scores):
            return []
        text = (
            f"no {metric} of the version is known: state it in spec.evaluation of the "
            f"ModelVersion, or use {given}.limit"
        )
        return [Remark("error", "model", f"{path}.{given}", text)]
    if score is None:
        return []
    is_past = score < bound.limit if given == "floor" else score > bound.limit
    if not is_past:
        return []
    side = "above" if given == "floor" else "below"
    text = f"{bound.limit:g} lies {side} the {metric} of {score:.4g} that the version began with"
    return [Remark("warning", "model", f"{path}.{given}.limit", text)]


def _label_remarks(signal: Signal, path: str, window: timedelta, facts: Facts) -> list[Remark]:
    if signal.kind != "outcomes" or not counts_labels_by_hour(signal):
        return []
    found = []
    assert signal.label_delay is not None
    wait = signal.label_delay + max(window, HOUR)
    if wait > facts.pod_label_delay:
        longest = facts.pod_label_delay - max(window, HOUR)
        remedy = (
            f"at most {format_duration(longest)} with this window"
            if longest > timedelta(0)
            else "a shorter window"
        )
        text = (
            f"labels of a window are waited for until {format_duration(wait)} after its first row, "
            f"and pods take them for {format_duration(facts.pod_label_delay)}: {remedy}"
        )
        found.append(Remark("error", "labels", f"{path}.labelDelay", text))
    if signal.metric in CLASS_METRICS and facts.tells_pairs is False:
        text = (
            f"the pods tell labels by hour and class for few classes only, so there is no "
            f"{signal.metric} of late labels: use accuracy, or a labelDelay below 1h"
        )
        found.append(Remark("error", "labels", f"{path}.metric", text))
    return found


def _score(signal: Signal, facts: Facts) -> float | None:
    of_slice = class_slice(signal.class_) if signal.class_ is not None else "all"
    metric = signal.metric or "accuracy"
    stated = facts.scores.get((metric, of_slice))
    return stated if stated is not None else score_of_baseline(metric, facts.baseline, of_slice)
