"""Rule on what a pod exports: how many series, and which features there is no room for."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.cardinality import MANY_SERIES, Cardinality, cardinality, hours_told
from trimtab.lint.facts import Facts
from trimtab.lint.remarks import Remark, Severity

FIELD = "spec.serving"


def series_remarks(facts: Facts) -> list[Remark]:
    """Return the series of one pod, as the runtime counts them; nothing where no baseline is known.

    A warning where they are many, or the bins of some features are not counted.
    """
    if facts.baseline is None:
        return []
    bins = watched_bins(facts.baseline, facts.signature)
    found = cardinality(
        bins,
        len(facts.baseline.score_edges) + 1,
        len(facts.classes),
        hours_told(facts.pod_label_delay.total_seconds()),
    )
    remarks = [Remark(_severity(found), "series", FIELD, _told(found))]
    left_out = len(bins) - found.features_counted
    if left_out:
        text = (
            f"the bins of {left_out} of {len(bins)} features are not counted, the last ones: "
            "publish fewer bins, or mark what need not be watched in the signature"
        )
        remarks.append(Remark("warning", "series", FIELD, text))
    return remarks


def _severity(found: Cardinality) -> Severity:
    return "warning" if found.total > MANY_SERIES else "note"


def _told(found: Cardinality) -> str:
    text = (
        f"a pod exports {found.without_labels} series: {found.features} of "
        f"{found.features_counted} features, {found.scores} of scores, {found.classes} of classes, "
        f"{found.hours} of hours, {found.requests} of requests; and up to {found.labels} of labels "
        "for each version that they are for"
    )
    if found.total > MANY_SERIES:
        text += ": a Prometheus keeps them for each pod; publish fewer bins or a shorter labelDelay"
    return text


def watched_bins(baseline: Baseline, signature: Signature | None) -> Sequence[int]:
    """Return the bins of each feature that is watched, in the order of the baseline."""
    inputs = signature.inputs if signature is not None else []
    ignored = {tensor.name for tensor in inputs if not tensor.watched}
    return [
        len(feature.counts)
        for feature in baseline.features
        if not {feature.name, feature.name.rpartition("[")[0]} & ignored
    ]
