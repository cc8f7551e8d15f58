"""For each alert: what makes it fire, and what is so near to that and does not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from trimtab.generate.alert_rules import ALERTS, Alert, rules_text

Labels = dict[str, str]
IT: Labels = {"namespace": "shop", "name": "digits"}
_OPERATOR: Labels = {"job": "trimtab", "namespace": "trimtab-system"}
_VALUE = re.compile(r"\{\{ \$value[^}]*\}\}")


@dataclass(frozen=True)
class Given:
    """A series: `on` is what it shows from minute 0 on, in promtool's words for one sample.

    The words are repeated by `x`: `1` or `0+30` for a counter that grows.
    """

    name: str
    labels: Labels
    on: str = "1"

    def written(self, begin: int, end: int) -> dict[str, str]:
        """Return it as promtool's input, there from one minute to another, then gone."""
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels.items())
        before = f"_x{begin} " if begin else ""
        grows = self.on if "+" in self.on else f"{self.on}+0"
        return {
            "series": f"{self.name}{{{labels}}}",
            "values": f"{before}{grows}x{end - begin} stale",
        }


def state(type: str, status: str, reason: str, kind: str = "Deployment") -> Given:
    """Return a condition."""
    labels = {**IT, "kind": kind, "type": type, "status": status, "reason": reason}
    return Given("trimtab_condition", labels)


def decided(reason: str, at: str, kind: str = "Deployment") -> Given:
    """Return the time of a decision, Unix seconds; Prometheus' tests begin at 0."""
    labels = {**IT, "kind": kind, "reason": reason}
    return Given("trimtab_last_decision_timestamp_seconds", labels, at)


LEADS = Given("trimtab_operator_leading", {**_OPERATOR, "pod": "a"})
STANDS_BY = Given("trimtab_operator_leading", {**_OPERATOR, "pod": "b"}, "0")
"""There in each case that is not about them."""


@dataclass(frozen=True)
class Case:
    """What an alert is about.

    on: the series that make it fire. near: those that do not. fires: minutes from the
    first sample to the first evaluation at which it has to fire. clears: minutes from the last
    sample to its end. value: how the annotations show the value.
    """

    on: tuple[Given, ...]
    near: tuple[Given, ...]
    fires: int = 0
    clears: int = 2
    labels: Labels = field(default_factory=lambda: IT)
    value: str = ""
    leads: tuple[Given, ...] = (LEADS, STANDS_BY)


def _waits(reason: str) -> Given:
    return state("Progressing", "True", reason)


_OF_DEPLOYMENT: Labels = {**IT, "kind": "Deployment"}
CASES: dict[str, Case] = {
    "TrimtabNothingServes": Case(
        (state("Ready", "False", "NotEnoughReady"),),
        (state("Ready", "False", "ScaledToZero"), state("Ready", "True", "Serving")),
        fires=10,
    ),
    "TrimtabNoWayBack": Case(
        (state("Degraded", "True", "NoWayBack"),),
        (state("Degraded", "True", "GuardBreached"), state("Degraded", "False", "AsWanted")),
    ),
    "TrimtabRolledBack": Case(
        (decided("RolledBack", "0"),), (decided("Promoted", "0"), decided("Aborted", "0"))
    ),
    "TrimtabDegraded": Case(
        (state("Degraded", "True", "Flapping"),),
        (state("Degraded", "True", "NoWayBack"), state("Degraded", "False", "AsWanted")),
        fires=10,
    ),
    "TrimtabQuarantinedVersionWanted": Case(
        (state("Quarantined", "True", "Quarantined"),),
        (state("Quarantined", "False", "AsWanted"),),
        fires=60,
    ),
    "TrimtabVersionRefused": Case(
        (state("Progressing", "False", "VersionMissing"),),
        (state("Progressing", "False", "UpToDate"), state("Progressing", "False", "Quarantined")),
        fires=15,
    ),
    "TrimtabRolloutBlind": Case(
        (state("DataAvailable", "False", "BackendDown"),),
        (
            state("DataAvailable", "False", "NoTraffic"),
            state("DataAvailable", "Unknown", "NoRollout"),
            state("DataAvailable", "True", "DataComplete"),
        ),
        fires=10,
    ),
    "TrimtabRolloutStuck": Case(
        (_waits("WaitingForSamples"),),
        (_waits("StepRunning"), _waits("PausedByPerson"), _waits("PausedByStep")),
        fires=60,
    ),
    "TrimtabHarm": Case(
        (state("Harm", "True", "Drifting", "DriftPolicy"),),
        (
            state("Harm", "False", "Stable", "DriftPolicy"),
            state("Harm", "Unknown", "NoData", "DriftPolicy"),
            state("DriftDetected", "True", "Drifting", "DriftPolicy"),
        ),
    ),
    "TrimtabDataBroken": Case(
        (state("DataBroken", "True", "Drifting", "DriftPolicy"),),
        (state("DataBroken", "Unknown", "NoData", "DriftPolicy"),),
    ),
    "TrimtabDriftBeyondBudget": Case(
        (Given("trimtab_false_alarm_budget_used_ratio", IT, "1.5"),),
        (Given("trimtab_false_alarm_budget_used_ratio", IT, "1"),),
        fires=15,
        value="150%",
    ),
    "TrimtabLabelShareLow": Case(
        (Given("trimtab_labels_share", {**IT, "deployment": "a"}, "0.25"),),
        (Given("trimtab_labels_share", {**IT, "deployment": "a"}, "0.5"),),
        fires=30,
        labels={**IT, "deployment": "a"},
        value="25%",
    ),
    "TrimtabRetrainingFailed": Case(
        (decided("RetrainFailed", "0", "RetrainJob"),),
        (
            decided("RetrainRejected", "0", "RetrainJob"),
            decided("RetrainSucceeded", "0", "RetrainJob"),
        ),
    ),
    "TrimtabStoreAway": Case(
        (state("Progressing", "False", "StoreAway"),),
        (state("Verified", "Unknown", "CheckedAtLoad", "ModelVersion"),),
        fires=5,
        labels=_OF_DEPLOYMENT,
    ),
    "TrimtabStalled": Case(
        (state("Stalled", "True", "WriteRefused"),),
        (state("Stalled", "False", "AsWanted"),),
        fires=10,
        labels=_OF_DEPLOYMENT,
    ),
    "TrimtabObjectsUnreadable": Case(
        (Given("trimtab_operator_unreadable_objects", {"kind": "DriftPolicy"}, "3"),),
        (Given("trimtab_operator_unreadable_objects", {"kind": "DriftPolicy"}, "0"),),
        fires=10,
        labels={"kind": "DriftPolicy"},
        value="3",
    ),
    "TrimtabNoOperatorLeads": Case((STANDS_BY,), (LEADS,), fires=3, labels=_OPERATOR, leads=()),
    "TrimtabNotScraped": Case((), (LEADS, STANDS_BY), fires=5, labels={}, leads=()),
    "TrimtabScrapesLate": Case(
        (Given("trimtab_operator_scrapes_left_out_total", _OPERATOR, "0+30"),),
        (Given("trimtab_operator_scrapes_left_out_total", _OPERATOR, "0+1"),),
        fires=12,  # two minutes until the rate is high, and ten more
        clears=10,
        labels=_OPERATOR,
        value="30",
    ),
}
BY_NAME: dict[str, Alert] = {alert.name: alert for alert in ALERTS}
_ANNOTATIONS: dict[str, Labels] = {
    rule["alert"]: rule["annotations"]
    for group in yaml.safe_load(rules_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
_LASTS = 20
"""Minutes that the cause is there after the alert has fired."""


def _filled(text: str, case: Case) -> str:
    """Return a text as Prometheus fills it in."""
    for name, value in case.labels.items():
        text = text.replace(f"{{{{ $labels.{name} }}}}", value)
    return _VALUE.sub(case.value, text)


def _at(minute: int, name: str, alerts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": list(alerts)}


def fires_and_clears(name: str) -> dict[str, Any]:
    """Return promtool's test: silent at first, then firing and nothing else with it, then over."""
    case, alert = CASES[name], BY_NAME[name]
    fires = 5 + case.fires
    end = fires + _LASTS
    clears = end + case.clears + 1
    if alert.expr.startswith("time() - "):
        clears = 60  # an hour after the decision, which is at 0
        end = clears + 10
    series = [given.written(5, end) for given in case.on]
    leads = [given.written(0, clears + 10) for given in case.leads]
    if not case.on:  # it is about what is not there
        values = f"1x2 stale _x{end - 4} 1x20"  # its last sample counts for two minutes
        leads = [{**LEADS.written(0, 1), "values": values}]
        clears = end
    told = {
        "exp_labels": {"severity": alert.severity, **case.labels},
        "exp_annotations": {key: _filled(text, case) for key, text in _ANNOTATIONS[name].items()},
    }
    labels = ", ".join(f'{key}="{value}"' for key, value in sorted(case.labels.items()))
    by = ", ".join(["alertname", "namespace", "name", "kind", "job", "deployment"])
    sample = "{" + ", ".join(filter(None, [f'alertname="{name}"', labels])) + "}"
    return {
        "interval": "1m",
        "input_series": [*series, *leads],
        "alert_rule_test": [
            _at(fires - 1, name, []),
            _at(fires, name, [told]),
            _at(clears, name, []),
        ],
        "promql_expr_test": [
            {
                "expr": f'count by ({by}) (ALERTS{{alertstate="firing"}})',
                "eval_time": f"{fires}m",
                "exp_samples": [{"labels": sample, "value": 1}],
            }
        ],
    }


def stays_silent(name: str) -> dict[str, Any]:
    """Return promtool's test: what is near is there for long, and the alert does not even wait."""
    case = CASES[name]
    end = case.fires + _LASTS
    series = [given for given in case.leads if given not in case.near] + [*case.near]
    return {
        "interval": "1m",
        "input_series": [given.written(0, end) for given in series],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{name}"}}',
                "eval_time": f"{minute}m",
                "exp_samples": [],
            }
            for minute in (1, end // 2, end - 1)
        ],
    }


def survives_a_failover(name: str) -> dict[str, Any]:
    """Return promtool's test: the series go and come back from another process; it fires on."""
    case = CASES[name]
    fires = 5 + case.fires
    series = [
        Given(given.name, {**given.labels, "pod": pod}, given.on).written(*times)
        for given in case.on
        for pod, times in (("a", (5, fires + 5)), ("b", (fires + 7, fires + 30)))
    ]
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [*series, *(given.written(0, 200) for given in case.leads)],
        "promql_expr_test": [
            {
                "expr": count,
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for minute in range(fires, fires + 15)
        ],
    }


def figures() -> list[dict[str, Any]]:
    """Return promtool's tests of the recording rules: two versions, one of them sent back."""
    made, promoted = 60.0, 600.0  # seconds; a minute after the begin, and nine later
    version = [
        {"series": _one("trimtab_model_age_seconds"), "values": "_ 0+60x60"},
        {
            "series": _one("trimtab_serving_since_timestamp_seconds"),
            "values": f"_x10 {promoted:g}x60",
        },
    ]
    lead = "namespace_name:trimtab_lead_time_seconds:last"
    told = decided("Promoted", f"{promoted:g}").written(10, 60)
    before = decided("Promoted", "30").written(1, 60)
    counted = {
        "Promoted": '{namespace="shop",name="digits",outcome="Promoted",reason=""}',
        "RolledBack": '{namespace="shop",name="digits",outcome="RolledBack",reason="GateFailed"}',
    }
    ended = [
        {"series": f"trimtab_rollouts_total{labels}", "values": f"0x4 {count}x60"}
        for labels, count in ((counted["Promoted"], 3), (counted["RolledBack"], 1))
    ]
    seconds = [
        {
            "series": f'trimtab_rollout_seconds_{series}{{namespace="shop",{labels}}}',
            "values": f"0x4 {count}x60",
        }
        for series, labels, count in (
            ("count", 'outcome="Promoted"', 3),
            ("count", 'outcome="RolledBack"', 1),
            ("bucket", 'outcome="RolledBack",le="60"', 0),
            ("bucket", 'outcome="RolledBack",le="120"', 1),
            ("bucket", 'outcome="RolledBack",le="+Inf"', 1),
        )
    ]
    of_it = '{namespace="shop", name="digits"}'
    return [
        _figure([*version, told], lead, f"{lead}{of_it}", promoted - made),
        _figure([*version, before], lead, None, 0),  # what serves is back, and was not promoted
        _figure(
            ended,
            "round(namespace_name:trimtab_promotions:increase30d)",
            of_it,
            3,
        ),
        _figure(
            [*ended, *seconds],
            "round(namespace:trimtab_change_failures:ratio30d, 0.01)",
            '{namespace="shop"}',
            0.25,
        ),
        _figure(
            seconds,
            "namespace:trimtab_time_to_restore_seconds:p50_30d",
            'namespace:trimtab_time_to_restore_seconds:p50_30d{namespace="shop"}',
            90,  # the middle of the bucket
        ),
    ]


def _one(name: str) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in IT.items())
    return f"{name}{{{labels}}}"


def _figure(
    series: list[dict[str, str]], expr: str, labels: str | None, value: float
) -> dict[str, Any]:
    expected = [] if labels is None else [{"labels": labels, "value": value}]
    return {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": expr, "eval_time": "30m", "exp_samples": expected}],
    }
