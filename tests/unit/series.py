"""Every series that a Prometheus can have of us, with its labels, and examples of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.contract import metrics
from trimtab.generate.alert_rules import RECORDINGS
from trimtab.generate.metrics_page import process_metrics
from trimtab.state_metrics.families import FAMILIES, UNREADABLE
from trimtab.telemetry.prometheus_answer import OWN_LABELS

OF_TARGET = frozenset({"namespace", "pod"})
"""Added by the scrape."""
HISTOGRAM = {"_bucket": {"le"}, "_count": set[str](), "_sum": set[str]()}
FOREIGN = {
    # Of the client library in the operator, and of the kubelet: neither is ours.
    "process_resident_memory_bytes": {*OF_TARGET},
    "process_cpu_seconds_total": {*OF_TARGET},
    "container_memory_working_set_bytes": {*OF_TARGET, "container"},
}


def _with_parts(name: str, kind: str, labels: set[str]) -> dict[str, set[str]]:
    if kind != "histogram":
        return {name: labels}
    return {f"{name}{end}": labels | more for end, more in HISTOGRAM.items()}


def of_state() -> dict[str, set[str]]:
    """Return the labels of each metric of state."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES:
        found |= _with_parts(family.name, family.type, {*family.labels})
    # It is of no object: namespace and pod are those of the operator.
    found[UNREADABLE.name] |= OF_TARGET
    return found


def of_process() -> dict[str, set[str]]:
    """Return the labels of each metric of the operator's process, without those of the target."""
    found: dict[str, set[str]] = {}
    for name, kind, labels, _text in process_metrics():
        found |= _with_parts(name, kind, {*labels})
    return found


def of_pods() -> dict[str, set[str]]:
    """Return the labels of each metric of the pods; the digests are left to the info series."""
    own = {name: {"model", "version", *labels, *OF_TARGET} for name, labels in OWN_LABELS.items()}
    return own | {metrics.PROCESS_START: {*OF_TARGET}}


def recorded() -> dict[str, set[str]]:
    """Return the labels of each recorded series: what its name says that it is by."""
    return {
        rule.name: set(rule.name.partition(":")[0].split("_")) for rule in RECORDINGS
    }  # fmt: skip


def everything() -> dict[str, set[str]]:
    """Return the labels of all series."""
    process = {name: labels | OF_TARGET for name, labels in of_process().items()}
    return {**of_state(), **process, **of_pods(), **recorded(), **FOREIGN}


VALUES: dict[str, tuple[str, ...]] = {
    "namespace": ("shop",),
    "name": ("digits",),
    "deployment": ("digits",),
    "version": ("v1",),
    "serving": ("v1",),
    "le": ("0.1", "+Inf"),
    "side": ("candidate", "stable", "champion", "challenger"),
    "of": ("wanted", "measured"),
    "kind": ("Deployment", "DriftPolicy", "RetrainJob", "ModelVersion"),
    "type": tuple(ConditionType),
    "status": ("True", "False"),
    "verdict": ("Stable", "InsufficientData", "NoData", "Drifting"),
    "signal": ("inputs", "predictions", "quality", "outcomes", "data"),
    "code": ("200", "400", "500", "503"),
    "correct": ("true", "false"),
    "bin": ("0", "1", "10"),
    "verb": ("get", "patch", "create"),
    "outcome": ("Promoted", "RolledBack", "Failed", "done", "retry", "bug", "taken", "lost"),
    "phase": ("Running", "Succeeded", "Failed"),
    "predicted": ("a", "b"),
    "actual": ("a", "b"),
}
"""Examples by label; one of a label that is not here is `some`."""


def examples() -> Iterator[str]:
    """Yield a series for each combination of the examples."""
    for name, labels in everything().items():
        values = {label: VALUES.get(label, ("some",)) for label in sorted(labels)}
        if name == "trimtab_last_decision_timestamp_seconds":
            values["reason"] = tuple(EventReason)
        for chosen in product(*values.values()):
            inside = ",".join(f'{k}="{v}"' for k, v in zip(values, chosen, strict=True))
            yield f"{name}{{{inside}}}"
    # Of a version that tokens are of: the scrape gives it the Deployment, the pod no revision.
    of_target = 'namespace="shop",pod="some",deployment="digits"'
    explained = 'model="some",version="v0",digest="old",baseline="some"'
    yield f"{metrics.MODEL_INFO}{{{explained},{of_target}}}"
