"""Alerts and recording rules of Prometheus, as data and as a rule file.

One file serves both: a Prometheus reads it as it is, and the chart puts it into a PrometheusRule.
Names of metrics and reasons come from where they are made, so that none can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from trimtab.api.conditions import ConditionType, EventReason, Reason
from trimtab.decide.drift.signals.outcomes import LABELS_NEEDED
from trimtab.reconcile.machine.observability import LEADING
from trimtab.state_metrics.families import (
    BUDGET_USED_RATIO,
    CONDITION,
    LABELS_SHARE,
    LAST_DECISION,
    MODEL_AGE,
    ROLLOUT_SECONDS,
    ROLLOUTS,
    SERVING_SINCE,
    UNREADABLE,
)
from trimtab.telemetry.scrape import LEFT_OUT

PAGE: Final = "https://trimtab.dev/docs/alerts.html"
"""Where the links lead, unless the chart's value `prometheusRule.docsUrl` says another place."""

_BRIDGED: Final = "2m"
"""A series that was there so long ago still counts: an operator that takes over shows its series
some seconds after the one before went, and nobody shall be told of an end and a new begin."""
_PROMOTED: Final = Reason.PROMOTED.value
_BACK: Final = Reason.ROLLED_BACK.value
_FAILED: Final = f"{_BACK}|{Reason.FIRST_VERSION_FAILED.value}"
_PERIOD: Final = "30d"


@dataclass(frozen=True)
class Alert:
    """An alert. Texts may name labels as `{{ $labels.name }}`.

    what: a few words, behind the object in the summary. text: what it means, and what a person does
    first. for_: how long it has to be so, as Prometheus writes it; empty: fires at once. see: where
    the pages say more, from docs/.
    """

    name: str
    severity: Literal["critical", "warning"]
    of: str
    what: str
    expr: str
    text: str
    for_: str = ""
    see: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Its section of the page."""
        return self.name.lower()


@dataclass(frozen=True)
class Recording:
    """A recording rule; text: what the series is, for the page."""

    name: str
    expr: str
    text: str


# --- expressions --------------------------------------------------------------------------------


def _has(*matchers: str, by: str = "namespace, name") -> str:
    """Return whether an object has a condition: 1 for each that has."""
    series = f"{CONDITION.name}{{{', '.join(matchers)}}}"
    return f"max by ({by}) (max_over_time({series}[{_BRIDGED}])) == 1"


def _type(type: ConditionType, status: Literal["True", "False"] | None = "True") -> str:
    return f'type="{type}"' + ("" if status is None else f', status="{status}"')


def _one_of(*reasons: Reason) -> str:
    return f'reason=~"{"|".join(reasons)}"'


def _none_of(*reasons: Reason) -> str:
    return f'reason!~"{"|".join(reasons)}"'


def _decided_within(kind: str, reason: EventReason, seconds: int) -> str:
    """Return the seconds since a decision, where they are fewer."""
    matchers = f'kind="{kind}", reason="{reason}"'
    last = f"max_over_time({LAST_DECISION.name}{{{matchers}}}[{_BRIDGED}])"
    return f"time() - max by (namespace, name) ({last}) < {seconds}"


# --- alerts -------------------------------------------------------------------------------------

_OBJECT: Final = "{{ $labels.namespace }}/{{ $labels.name }}"
_WHY: Final = "trimtab why mdep/{{ $labels.name }} -n {{ $labels.namespace }}"
_WHY_POLICY: Final = "trimtab why dp/{{ $labels.name }} -n {{ $labels.namespace }}"
_RUNBOOK: Final = "runbook.md"
_NO_RETURN: Final = (Reason.NO_WAY_BACK, Reason.RETURN_DELAYED)

DEPLOYMENT_ALERTS: Final = (
    Alert(
        "TrimtabNothingServes",
        "critical",
        _OBJECT,
        "no version serves",
        _has(_type(ConditionType.READY, None), 'status!="True"', _none_of(Reason.SCALED_TO_ZERO)),
        "The Deployment is not Ready, so requests get no answers, or those of a first version that "
        f"failed. First run `{_WHY}`: it names the reason. Then look at the pods, or name a "
        "version that is good.",
        for_="10m",
        see=(f"{_RUNBOOK}#ready",),
    ),
    Alert(
        "TrimtabNoWayBack",
        "critical",
        _OBJECT,
        "a bad version serves, and there is no way back",
        _has(_type(ConditionType.DEGRADED), _one_of(*_NO_RETURN)),
        "The guard found a fault in the version that serves, and the last good one is not there or "
        f"does not start. First run `{_WHY}`: if something is missing for the return, mend it. "
        "Else publish a good version and name it in `spec.version`.",
        see=(f"{_RUNBOOK}#degraded",),
    ),
    Alert(
        "TrimtabRolledBack",
        "warning",
        _OBJECT,
        "a version was rolled back within the last hour",
        _decided_within("Deployment", EventReason.ROLLED_BACK, 3600),
        "Another version serves already. First read the evidence with "
        f"`{_WHY}`, and tell who published the version. It is not tried again.",
        see=(f"{_RUNBOOK}#progressing",),
    ),
    Alert(
        "TrimtabDegraded",
        "warning",
        _OBJECT,
        "serves, but not as it should",
        _has(_type(ConditionType.DEGRADED), _none_of(*_NO_RETURN)),
        "Pods of the version that serves are missing, or it became worse than it was, or three "
        "rollbacks within an hour stopped everything automatic. First run "
        f"`{_WHY}`, then do what the reason asks for.",
        for_="10m",
        see=(f"{_RUNBOOK}#degraded",),
    ),
    Alert(
        "TrimtabQuarantinedVersionWanted",
        "warning",
        _OBJECT,
        "the wanted version failed before and is not tried",
        _has(_type(ConditionType.QUARANTINED)),
        "`spec.version` names a version in quarantine, so that what is wanted never comes to "
        f"serve. First read with `{_WHY}` why it failed. Name the version that serves, or one "
        "with a fix; `trimtab retry mdep/{{ $labels.name }}` insists.",
        for_="1h",
        see=(f"{_RUNBOOK}#quarantined",),
    ),
    Alert(
        "TrimtabVersionRefused",
        "warning",
        _OBJECT,
        "the wanted version cannot be tried",
        _has(
            _type(ConditionType.PROGRESSING, None),
            _one_of(
                Reason.VERSION_MISSING,
                Reason.VERSION_REJECTED,
                Reason.INCOMPATIBLE,
                Reason.NOTHING_TO_FOLLOW,
                Reason.IMAGE_MISSING,
            ),
        ),
        "No pod of it was started: the ModelVersion is missing or broken, or does not accept what "
        f"clients send. First run `{_WHY}`, then correct `spec.version` or publish again.",
        for_="15m",
        see=(f"{_RUNBOOK}#progressing",),
    ),
    Alert(
        "TrimtabRolloutBlind",
        "warning",
        _OBJECT,
        "nobody sees how the new version does",
        _has(_type(ConditionType.DATA_AVAILABLE, "False"), _none_of(Reason.NO_TRAFFIC)),
        "The rollout waits, or a promoted version is without its guard: metrics of the pods cannot "
        f"be read. First run `{_WHY}`, then check that the operator reaches port 9090 of "
        "the pods, or the Prometheus that `spec.metrics` names.",
        for_="10m",
        see=(f"{_RUNBOOK}#dataavailable",),
    ),
    Alert(
        "TrimtabRolloutStuck",
        "warning",
        _OBJECT,
        "a rollout does not go on",
        _has(
            _type(ConditionType.PROGRESSING, None),
            _one_of(
                Reason.WAITING_FOR_DATA,
                Reason.STABLE_NOT_READY,
                Reason.SHARE_TOO_LARGE,
                Reason.SHARE_NOT_REACHED,
                Reason.WAITING_FOR_SAMPLES,
                Reason.PODS_DIFFER,
                Reason.PARTLY_SEEN,
                Reason.WORSE_SO_FAR,
                Reason.REPLICA_FAILURE,
                Reason.BACKING_OFF,
            ),
        ),
        "The step cannot end, or the version is tried again only later. Users are served. First "
        f"run `{_WHY}`: it has the figures of what is missing, mostly requests, labels or room for "
        "pods.",
        for_="1h",
        see=(f"{_RUNBOOK}#progressing",),
    ),
)
DATA_ALERTS: Final = (
    Alert(
        "TrimtabHarm",
        "critical",
        _OBJECT,
        "quality is below its floor",
        _has(_type(ConditionType.HARM)),
        "The estimated or realised quality of a model that the DriftPolicy watches is below what "
        f"its spec allows. First run `{_WHY_POLICY}`: it says which signal, and whether a "
        "retraining runs. If none does, go back with `trimtab rollback`, or retrain by hand.",
        see=(f"{_RUNBOOK}#harm",),
    ),
    Alert(
        "TrimtabDataBroken",
        "warning",
        _OBJECT,
        "values that a model gets are broken",
        _has(_type(ConditionType.DATA_BROKEN)),
        "Values are missing, unseen or out of range more often than the DriftPolicy allows, and "
        f"nothing is trained on them. First run `{_WHY_POLICY}`: it names the feature. Then "
        "ask who sends it what has changed.",
        see=(f"{_RUNBOOK}#databroken",),
    ),
    Alert(
        "TrimtabDriftBeyondBudget",
        "warning",
        _OBJECT,
        "more alarms of drift than its budget accepts",
        f"max by (namespace, name) (max_over_time({BUDGET_USED_RATIO.name}[{_BRIDGED}])) > 1",
        "Within 90 days the DriftPolicy had {{ $value | humanizePercentage }} of the false alarms "
        "that are accepted in that time. Either the data really keep moving, or the tolerance is "
        f"too small. First run `{_WHY_POLICY}` and compare the alarms with what happened then; "
        "`trimtab lint` says which tolerance fits.",
        for_="15m",
        see=("statistics.md", f"{_RUNBOOK}#driftdetected"),
    ),
    Alert(
        "TrimtabLabelShareLow",
        "warning",
        _OBJECT,
        "too few labels come in to judge {{ $labels.deployment }}",
        "max by (namespace, name, deployment) "
        f"(max_over_time({LABELS_SHARE.name}[{_BRIDGED}])) < {LABELS_NEEDED}",
        "Of the rows in the last window {{ $value | humanizePercentage }} have their label; the "
        f"signal outcomes needs {LABELS_NEEDED:.0%} and judges nothing meanwhile. First see "
        "whether what posts the outcomes still runs. If labels come later than they did, raise "
        f"`labelDelay` of the signal. `{_WHY_POLICY}` has the counts.",
        for_="30m",
        see=("policies.md",),
    ),
    Alert(
        "TrimtabRetrainingFailed",
        "warning",
        _OBJECT,
        "a retraining failed within the last hour",
        _decided_within("RetrainJob", EventReason.RETRAIN_FAILED, 3600),
        "It made no new version: the data, the code or the infrastructure failed. The model serves "
        "as before. First run `trimtab why rj/{{ $labels.name }} -n {{ $labels.namespace }}`; the "
        "log of the training pod has the rest. The policy tries again after its cooldown.",
        see=(f"{_RUNBOOK}#complete",),
    ),
)
_JOB: Final = "job, namespace"
OPERATOR_ALERTS: Final = (
    Alert(
        "TrimtabStoreAway",
        "warning",
        "{{ $labels.kind }} " + _OBJECT,
        "the store does not give an artifact",
        _has(_one_of(Reason.STORE_AWAY), by="namespace, name, kind"),
        "What serves goes on; no new version can be tried, and a new pod cannot load its model. "
        "First read the store's own error in the message of the condition, then check the "
        "endpoint, the Secret and the NetworkPolicies.",
        for_="5m",
        see=(f"{_RUNBOOK}#verified",),
    ),
    Alert(
        "TrimtabStalled",
        "warning",
        "{{ $labels.kind }} " + _OBJECT,
        "nothing goes on until somebody changes something",
        _has(_type(ConditionType.STALLED), by="namespace, name, kind"),
        "The API server refuses what the operator has to read or write, an object of somebody else "
        "is in the way, or the spec cannot be read. First read the message of the condition "
        "`Stalled` of the object: it has the server's words.",
        for_="10m",
        see=(f"{_RUNBOOK}#stalled",),
    ),
    Alert(
        "TrimtabObjectsUnreadable",
        "warning",
        "{{ $labels.kind }}",
        "objects whose status this release cannot read",
        f"max by (namespace, kind) (max_over_time({UNREADABLE.name}[{_BRIDGED}])) > 0",
        "{{ $value }} objects have no series, so that no other alert is about them. Mostly a newer "
        "release wrote them. First compare the release of the operator with the one that ran "
        "before, and upgrade.",
        for_="10m",
        see=("operations.md#upgrade",),
    ),
    Alert(
        "TrimtabNoOperatorLeads",
        "critical",
        "{{ $labels.job }}",
        "no operator holds the Lease",
        f"max by ({_JOB}) (max_over_time({LEADING._name}[{_BRIDGED}])) == 0",
        "Models serve as before, but nothing is judged, rolled back or retrained, and there are no "
        "metrics of state: the other alerts are silent. First read the operator's log: mostly the "
        "API server, or the permission for the Lease, is missing.",
        for_="3m",
        see=("operations.md#watch-the-operator",),
    ),
    Alert(
        "TrimtabNotScraped",
        "critical",
        "Trimtab",
        "Prometheus gets no metrics of any operator",
        f"absent(max_over_time({LEADING._name}[{_BRIDGED}]))",
        "No operator runs, or Prometheus does not reach port 8081 of it. Models serve as before, "
        "but none of the other alerts can fire. First see whether the pods of the operator run, "
        "then the targets of Prometheus.",
        for_="5m",
        see=("operations.md#watch-the-operator",),
    ),
    Alert(
        "TrimtabScrapesLate",
        "warning",
        "{{ $labels.job }}",
        "scrapes of serving pods are left out",
        f"60 * sum by ({_JOB}) (rate({LEFT_OUT._name}_total[10m])) > 3",
        "Pods, or the Prometheus that the operator asks, answer so slowly that "
        "{{ $value | humanize }} scrapes a minute are left out, and faults are found later. First "
        "see whether the operator has enough CPU (`trimtab_operator_loop_lag_seconds`), then which "
        "pods answer slowly on port 9090.",
        for_="10m",
        see=("operations.md#watch-the-operator",),
    ),
)
ALERTS: Final = (*DEPLOYMENT_ALERTS, *DATA_ALERTS, *OPERATOR_ALERTS)


# --- DORA ---------------------------------------------------------------------------------------


def _ended(outcomes: str, series: str, by: str) -> str:
    """Return how many rollouts ended in the period. A process begins at 0: sum, never max."""
    return f'sum by ({by}) (increase({series}{{outcome=~"{outcomes}"}}[{_PERIOD}]))'


_AT: Final = f"max by (namespace, name) ({SERVING_SINCE.name})"
_PROMOTED_AT: Final = (
    f'max by (namespace, name) ({LAST_DECISION.name}{{kind="Deployment", '
    f'reason="{EventReason.PROMOTED}"}})'
)
RECORDINGS: Final = (
    Recording(
        "namespace_name:trimtab_lead_time_seconds:last",
        f"(\n  {_AT}\n"
        f"  - on (namespace, name) max by (namespace, name) "
        f"(timestamp({MODEL_AGE.name}) - {MODEL_AGE.name})\n)\n"
        f"and on (namespace, name) abs({_AT} - on (namespace, name) {_PROMOTED_AT}) < 1",
        "Lead time: seconds from the making of the ModelVersion to its promotion, of the version "
        "that serves. There is none after a way back, which is no promotion.",
    ),
    Recording(
        f"namespace_name:trimtab_promotions:increase{_PERIOD}",
        _ended(_PROMOTED, ROLLOUTS.name, "namespace, name"),
        "Deployment frequency: versions that were promoted in 30 days.",
    ),
    Recording(
        f"namespace:trimtab_change_failures:ratio{_PERIOD}",
        f"{_ended(_FAILED, ROLLOUTS.name, 'namespace')}\n/ "
        + _ended(f"{_PROMOTED}|{_FAILED}", f"{ROLLOUT_SECONDS.name}_count", "namespace"),
        "Change failure rate: versions that were sent back, in their rollout or later, over the "
        "rollouts that were decided (promoted or failed) in 30 days, of all Deployments of a "
        "namespace.",
    ),
    Recording(
        f"namespace:trimtab_time_to_restore_seconds:p50_{_PERIOD}",
        "histogram_quantile(0.5, "
        + _ended(_BACK, f"{ROLLOUT_SECONDS.name}_bucket", "namespace, le")
        + ")",
        "Time to restore: median of the seconds from the begin of a rollout to its roll back: "
        "the longest that users can have met the bad version. What was promoted first and sent "
        "back later is not in it.",
    ),
)


# --- the file -----------------------------------------------------------------------------------

_HEADER: Final = """\
# Generated by `make generate` from operator/trimtab/generate/alert_rules.py. Do not edit.
#
# A rule file of Prometheus: name it in `rule_files`. The chart makes a PrometheusRule of it
# (`prometheusRule.enabled`). What to do about each alert: docs/alerts.md.
"""


def rules_text() -> str:
    """Return the rule file as YAML."""
    recorded = [{"record": rule.name, "expr": rule.expr} for rule in RECORDINGS]
    groups = [
        _group("trimtab-deployments", map(_alert, DEPLOYMENT_ALERTS)),
        _group("trimtab-data", map(_alert, DATA_ALERTS)),
        _group("trimtab-operator", map(_alert, OPERATOR_ALERTS)),
        # Thirty days are long: each minute is enough.
        _group("trimtab-dora", recorded, interval="1m"),
    ]
    return _HEADER + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=10_000)


def _group(name: str, rules: Iterable[dict[str, Any]], **more: str) -> dict[str, Any]:
    return {"name": name, **more, "rules": list(rules)}


def _alert(alert: Alert) -> dict[str, Any]:
    waits = {"for": alert.for_} if alert.for_ else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **waits,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": f"{alert.of}: {alert.what}",
            "description": alert.text,
            "runbook_url": f"{PAGE}#{alert.anchor}",
        },
    }


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block."""


def _as_written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_written)
