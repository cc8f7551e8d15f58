"""Rules on one signal of a DriftPolicy: can this model give it at all?

Each rule takes the policy, the signal, its path in the policy, and what is known of the model.
"""

from __future__ import annotations

from datetime import timedelta

from trimtab.api.drift_policy import CLASS_METRICS, ERROR_METRICS, DriftPolicySpec, Signal
from trimtab.api.fields import format_duration
from trimtab.contract.artifact import CategoricalFeature
from trimtab.decide.drift.signals.harm import bound_of, metric_of
from trimtab.decide.drift.signals.quality import why_not_estimated
from trimtab.decide.drift.signals.shift import ShiftSignal
from trimtab.decide.drift.windows import counts_labels_by_hour, label_window
from trimtab.lint.facts import Facts
from trimtab.lint.remarks import Remark
from trimtab.stats.quality import LARGEST_FULL_MATRIX


def histogram_remarks(
    own: ShiftSignal, spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts
) -> list[Remark]:
    """A baseline without anything that could move."""
    if facts.baseline is None or own.bins_of(facts.baseline):
        return []
    return [Remark("error", "model", f"{path}.kind", own.nothing_to_compare)]


def data_remarks(spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts) -> list[Remark]:
    """Faults that no watched feature can have."""
    if facts.baseline is None:
        return []
    kinds = {isinstance(feature, CategoricalFeature) for feature in facts.baseline.features}
    remarks = []
    if signal.unseen is not None and True not in kinds:
        text = "no watched feature has categories, so none can be unseen"
        remarks.append(Remark("warning", "model", f"{path}.unseen", text))
    if signal.out_of_range is not None and False not in kinds:
        text = "no watched feature is a number, so none can be out of range"
        remarks.append(Remark("warning", "model", f"{path}.outOfRange", text))
    return remarks


def quality_remarks(spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts) -> list[Remark]:
    """A metric that cannot be estimated, and what is wrong with its standard."""
    metric = metric_of(signal)
    text = _no_metric(metric, facts) or _no_estimate(metric, facts)
    if text is not None:
        return [Remark("error", "model", f"{path}.metric", text)]
    return [*_class_remarks(signal, path, facts), *_bound_remarks(signal, path, facts)]


def outcomes_remarks(
    spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts
) -> list[Remark]:
    """A metric that labels cannot give, what is wrong with its standard, and late labels."""
    text = _no_metric(metric_of(signal), facts)
    if text is not None:
        return [Remark("error", "model", f"{path}.metric", text)]
    return [
        *_class_remarks(signal, path, facts),
        *_bound_remarks(signal, path, facts),
        *_label_remarks(spec, signal, path, facts),
    ]


# --- inside -------------------------------------------------------------------------------------


def _no_metric(metric: str, facts: Facts) -> str | None:
    """Say why the metric cannot be given; None if it can, or nobody knows."""
    is_regression = facts.is_regression
    if is_regression is None:
        return None
    if is_regression and metric not in ERROR_METRICS:
        return f"the model is a regression and has no {metric}: use mae or rmse with a ceiling"
    if not is_regression and metric in ERROR_METRICS:
        return f"the model tells classes and has no {metric}: use accuracy with a floor"
    return None


def _no_estimate(metric: str, facts: Facts) -> str | None:
    """Say why the metric cannot be estimated; None if it can, or nobody knows the task."""
    if facts.is_regression is None:
        return None
    baseline, classes = facts.baseline, facts.classes
    if metric in ERROR_METRICS:
        if baseline is not None and baseline.residuals is None:
            return (
                f"the baseline has no residuals, so {metric} cannot be estimated: publish the "
                "version again, or watch outcomes"
            )
        return None
    if baseline is not None and not baseline.calibration:
        return why_not_estimated(baseline) or (
            "the baseline has no calibration, so quality cannot be estimated without labels: "
            "publish the version again with publish(calibrate=(X, y)), or watch outcomes"
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


def _bound_remarks(signal: Signal, path: str, facts: Facts) -> list[Remark]:
    score, metric = facts.score(signal), metric_of(signal)
    given = "ceiling" if signal.floor is None else "floor"
    limit = bound_of(signal, None)
    if limit is None:
        if score is not None or (facts.baseline is None and not facts.scores):
            return []
        text = (
            f"no {metric} of the version is known: state it in spec.evaluation of the "
            f"ModelVersion, or use {given}.limit"
        )
        return [Remark("error", "model", f"{path}.{given}", text)]
    if score is None:
        return []
    is_past = score < limit if given == "floor" else score > limit
    if not is_past:
        return []
    side = "above" if given == "floor" else "below"
    text = f"{limit:g} lies {side} the {metric} of {score:.4g} that the version began with"
    return [Remark("warning", "model", f"{path}.{given}.limit", text)]


def _label_remarks(spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts) -> list[Remark]:
    if signal.label_delay is None or not counts_labels_by_hour(signal):
        return []
    remarks = []
    length = label_window(spec.window)
    wait = signal.label_delay + length
    if wait > facts.pod_label_delay:
        longest = facts.pod_label_delay - length
        remedy = (
            f"at most {format_duration(longest)} with this window"
            if longest > timedelta(0)
            else "a shorter window"
        )
        text = (
            f"labels of a window are waited for until {format_duration(wait)} after its first row, "
            f"and pods take them for {format_duration(facts.pod_label_delay)}: {remedy}"
        )
        remarks.append(Remark("error", "labels", f"{path}.labelDelay", text))
    if signal.metric in CLASS_METRICS and facts.tells_pairs is False:
        text = (
            f"the pods tell labels by hour and class for few classes only, so there is no "
            f"{signal.metric} of late labels: use accuracy, or a labelDelay below 1h"
        )
        remarks.append(Remark("error", "labels", f"{path}.metric", text))
    return remarks
