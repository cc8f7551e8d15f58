"""From an object to its series, one kind after the other."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.state_metrics.pages import (
    NOW,
    condition,
    deployment_status,
    obj_of,
    of,
    record,
    shown,
    tried,
)

from trimtab.api.deployment import GateStatus
from trimtab.api.drift_policy import DriftPolicyStatus
from trimtab.api.model_version import ModelVersionStatus
from trimtab.api.retrain_job import RetrainJobStatus
from trimtab.state_metrics.deployment import End, ends_between, evidence_ratio, share_in
from trimtab.state_metrics.families import FAMILIES
from trimtab.state_metrics.kinds import SHOWN, decisions_after, last_number
from trimtab.state_metrics.other_kinds import trained_between

IT = {"namespace": "shop", "name": "digits"}
GATE: dict[str, Any] = {
    "name": "errors",
    "verdict": "Pass",
    "candidate": {"bad": 3, "total": 100},
    "stable": {"bad": 1, "total": 300},
    "evidence": 10.0,
    "threshold": 100.0,
}


def rollout(**more: Any) -> dict[str, Any]:
    step = {"index": 1, "of": 3, "weight": 0.25, "started": NOW}
    return {"phase": "Stepping", "started": NOW, "step": step, **more}


def test_a_deployment_in_a_rollout() -> None:
    candidate = tried("v2", weight="25% wanted, 1 of 4 pods", share="23%")
    status = deployment_status(
        stable=tried(),
        candidate=candidate,
        rollout=rollout(),
        gates=[GATE],
        conditions=[condition("Ready"), condition("Progressing", "Unknown", "StepRunning")],
        record=record("RolloutStarted", "StepReached", "StepReached"),
    )
    at = NOW.timestamp()
    side = {**IT, "gate": "errors"}
    assert shown("Deployment", obj_of("Deployment", status, {"model": "digits"})) == {
        of(
            "trimtab_deployment_info",
            **IT,
            model="digits",
            serving="v1",
            candidate="v2",
            strategy="canary",
        ): 1,
        of("trimtab_serving_since_timestamp_seconds", **IT): at,
        of("trimtab_rollout_weight", **IT, of="wanted"): 0.25,
        of("trimtab_rollout_weight", **IT, of="measured"): 0.23,
        of("trimtab_rollout_step", **IT): 2,
        of("trimtab_rollout_steps", **IT): 3,
        of("trimtab_gate_evidence_ratio", **IT, gate="errors"): 0.5,
        of("trimtab_gate_bad_total", **side, side="candidate"): 3,
        of("trimtab_gate_bad_total", **side, side="stable"): 1,
        of("trimtab_gate_total", **side, side="candidate"): 100,
        of("trimtab_gate_total", **side, side="stable"): 300,
        of(
            "trimtab_condition",
            **IT,
            kind="Deployment",
            type="Ready",
            status="True",
            reason="Serving",
        ): 1,
        of(
            "trimtab_condition",
            **IT,
            kind="Deployment",
            type="Progressing",
            status="Unknown",
            reason="StepRunning",
        ): 1,
        of(
            "trimtab_last_decision_timestamp_seconds",
            **IT,
            kind="Deployment",
            reason="RolloutStarted",
        ): at,
        of(
            "trimtab_last_decision_timestamp_seconds",
            **IT,
            kind="Deployment",
            reason="StepReached",
        ): at + 2,
    }


def test_a_deployment_without_a_status_is_there_and_serves_nothing() -> None:
    spec = {"model": "digits", "rollout": {"strategy": "rolling"}}
    info = {"model": "digits", "serving": "", "candidate": "", "strategy": "rolling"}
    expected = {of("trimtab_deployment_info", **IT, **info): 1}
    assert shown("Deployment", obj_of("Deployment", None, spec)) == expected


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("25% wanted, 1 of 4 pods", 0.25),
        ("0% until data is back", 0.0),
        ("100%", 1.0),
        ("33.3333% wanted, 1 of 3 pods", pytest.approx(0.333333)),
        ("", None),
        ("much", None),
    ],
)
def test_a_share_is_read_from_its_column(text: str, share: float | None) -> None:
    assert share_in(text) == share


@pytest.mark.parametrize(
    ("evidence", "threshold", "verdict", "ratio"),
    [
        (1.0, 100.0, "Pass", 0.0),
        (0.2, 100.0, "Pass", 0.0),
        (10.0, 100.0, "Pass", 0.5),
        (1e4, 100.0, "Fail", 2.0),
        (99.99, 100.0, "Fail", 1.0),  # rounded in status
        (100.0, 100.0, "Pass", math.nextafter(1.0, 0.0)),
        (0.0, 0.0, "Skipped", None),
        (5.0, 1.0, "Pass", None),
        (math.nan, 100.0, "Pass", None),
        (math.inf, 100.0, "Fail", None),
        (5.0, math.nan, "Pass", None),
    ],
)
def test_a_ratio_of_one_is_a_gate_that_failed(
    evidence: float, threshold: float, verdict: Any, ratio: float | None
) -> None:
    gate = GateStatus(name="errors", verdict=verdict, evidence=evidence, threshold=threshold)
    assert evidence_ratio(gate) == ratio


def entry(outcome: str, version: str = "v2", after: float = 90.0, message: str = "") -> Any:
    at = NOW + timedelta(seconds=after)
    return {
        "version": version,
        "revision": f"r-{version}",
        "outcome": outcome,
        "message": message,
        "at": at,
    }


def test_ends_are_those_that_were_not_there_before() -> None:
    old = deployment_status(
        stable=tried(), candidate=tried("v2"), rollout=rollout(), history=[entry("Promoted", "v1")]
    )
    rejected = {
        "revision": "r-v2",
        "version": "v2",
        "reason": "GateFailed",
        "by": "trimtab",
        "at": NOW + timedelta(seconds=120),
    }
    new = deployment_status(
        stable=tried(),
        rejected=[rejected],
        history=[entry("Promoted", "v1"), entry("RolledBack", "v2", 120)],
    )
    before, after = obj_of("Deployment", old), obj_of("Deployment", new)
    assert list(ends_between(before, after)) == [End("RolledBack", "GateFailed", 120.0)]
    assert list(ends_between(after, after)) == []


@pytest.mark.parametrize(
    ("phase", "ended", "expected"),
    [
        ("Stepping", entry("Promoted"), End("Promoted", "", 90.0)),
        ("Promoting", entry("Undecided", message="DeadlinePassed: no"), None),
        ("Stepping", entry("Undecided", message="nobody: knows"), End("Undecided", "", 90.0)),
        ("Returning", entry("Superseded"), End("Superseded", "", None)),
        ("Stepping", entry("RolledBack", "v1"), End("RolledBack", "", None)),
    ],
    ids=["promoted", "undecided", "no_reason", "way_back", "after_promotion"],
)
def test_how_long_and_why(phase: str, ended: Any, expected: End | None) -> None:
    old = deployment_status(candidate=tried("v2"), rollout=rollout(phase=phase))
    new = deployment_status(history=[ended])
    (end,) = ends_between(obj_of("Deployment", old), obj_of("Deployment", new))
    assert end == (expected or End("Undecided", "DeadlinePassed", 90.0))


# --- other kinds --------------------------------------------------------------------------------


def policy(**changes: Any) -> dict[str, Any]:
    return DriftPolicyStatus.model_validate({"observed_generation": 1, **changes}).to_json()


SPEC = {
    "signals": [
        {"kind": "inputs"},
        {"kind": "quality", "metric": "f1", "class": "cat"},
        {"kind": "outcomes"},
    ]
}
SIGNALS: list[dict[str, Any]] = [
    {
        "kind": "inputs",
        "deployment": "a",
        "verdict": "Drifting",
        "value": 0.5,
        "threshold": 0.1,
        "top": [{"name": "x", "value": 0.5}, {"name": "y", "value": 0.25}],
    },
    {
        "kind": "quality",
        "deployment": "a",
        "verdict": "Stable",
        "value": 0.9,
        "threshold": 0.8,
        "lower": 0.85,
        "upper": 0.95,
    },
    {
        "kind": "outcomes",
        "deployment": "b",
        "verdict": "Stable",
        "value": 0.75,
        "threshold": 0.7,
        "lower": 0.72,
        "labelled": 0.6,
    },
    {"kind": "outcomes", "deployment": "a", "verdict": "NoData", "labelled": 0.0},
]


def test_a_policy() -> None:
    found = shown("DriftPolicy", obj_of("DriftPolicy", policy(signals=SIGNALS), SPEC))
    a, b = ({**IT, "deployment": name} for name in "ab")
    assert found == {
        of("trimtab_drift_value", **a, signal="inputs"): 0.5,
        of("trimtab_drift_value", **a, signal="quality"): 0.9,
        of("trimtab_drift_value", **b, signal="outcomes"): 0.75,
        of("trimtab_drift_threshold", **a, signal="inputs"): 0.1,
        of("trimtab_drift_threshold", **a, signal="quality"): 0.8,
        of("trimtab_drift_threshold", **b, signal="outcomes"): 0.7,
        of("trimtab_drift_verdict", **a, signal="inputs", verdict="Drifting"): 1,
        of("trimtab_drift_verdict", **a, signal="quality", verdict="Stable"): 1,
        of("trimtab_drift_verdict", **b, signal="outcomes", verdict="Stable"): 1,
        of("trimtab_drift_verdict", **a, signal="outcomes", verdict="NoData"): 1,
        of("trimtab_feature_psi", **a, feature="x"): 0.5,
        of("trimtab_feature_psi", **a, feature="y"): 0.25,
        of("trimtab_quality_estimated", **a, metric="f1", **{"class": "cat"}): 0.9,
        of("trimtab_quality_estimated_lower", **a, metric="f1", **{"class": "cat"}): 0.85,
        of("trimtab_quality_estimated_upper", **a, metric="f1", **{"class": "cat"}): 0.95,
        of("trimtab_quality_realised", **b, metric="accuracy", **{"class": ""}): 0.75,
        of("trimtab_quality_realised_lower", **b, metric="accuracy", **{"class": ""}): 0.72,
        of("trimtab_labels_share", **a): 0,
        of("trimtab_labels_share", **b): 0.6,
    }


def test_a_value_of_an_earlier_spec_is_not_given_the_metric_of_this_one() -> None:
    obj = obj_of("DriftPolicy", policy(signals=SIGNALS), SPEC, generation=2)
    found = {name for name, _ in shown("DriftPolicy", obj)}
    assert not {name for name in found if name.startswith("trimtab_quality")}


def test_the_budget_is_that_of_all_watched_and_alarms_age() -> None:
    alarms = [NOW - timedelta(days=days) for days in (89, 10)]
    budget = {"per_quarter": 2, "level_per_look": 0.01, "alarms": alarms}
    obj = obj_of("DriftPolicy", policy(signals=SIGNALS, budget=budget), SPEC)
    used = of("trimtab_false_alarm_budget_used_ratio", **IT)
    assert shown("DriftPolicy", obj)[used] == 2 / (2 * 2)
    until = SHOWN["DriftPolicy"](obj, NOW).until
    assert until == NOW + timedelta(days=1)
    assert shown("DriftPolicy", obj, until)[used] == 1 / (2 * 2)
    assert SHOWN["DriftPolicy"](obj, NOW + timedelta(days=100)).until is None


def test_a_version_and_a_retraining() -> None:
    version = ModelVersionStatus.model_validate({"conditions": [condition("Verified")]}).to_json()
    labels = {**IT, "type": "Verified", "status": "True", "reason": "Serving"}
    found = shown("ModelVersion", obj_of("ModelVersion", version))
    assert found == {of("trimtab_condition", **labels, kind="ModelVersion"): 1}
    job = RetrainJobStatus.model_validate({"record": record("RetrainStarted")}).to_json()
    name = of(
        "trimtab_last_decision_timestamp_seconds", **IT, kind="RetrainJob", reason="RetrainStarted"
    )
    assert shown("RetrainJob", obj_of("RetrainJob", job))[name] == NOW.timestamp()


JOB_SPEC = {
    "model": "cats",
    "cause": {"deployment": "a", "signal": "quality", "policy": "p", "attempt": 2},
}


def test_a_retraining_shows_both_sides_with_their_intervals() -> None:
    champion = {"version": "v1", "metric": "f1", "value": 0.75, "interval": [0.5, 0.875]}
    challenger = {"version": "r1", "metric": "f1", "value": 0.25}
    status = RetrainJobStatus.model_validate(
        {
            "phase": "Rejected",
            "new_version": "r1",
            "started": NOW,
            "finished": NOW + timedelta(minutes=1),
            "champion": champion,
            "challenger": challenger,
        }
    ).to_json()
    of_it = {**IT, "deployment": "a"}
    first = {**of_it, "side": "champion", "version": "v1", "metric": "f1"}
    second = {**of_it, "side": "challenger", "version": "r1", "metric": "f1"}
    info = {"model": "cats", "cause": "quality", "phase": "Rejected", "version": "r1"}
    assert shown("RetrainJob", obj_of("RetrainJob", status, JOB_SPEC)) == {
        of("trimtab_retrain_info", **of_it, **info): 1,
        of("trimtab_retrain_attempt", **of_it): 2,
        of("trimtab_retrain_started_timestamp_seconds", **of_it): NOW.timestamp(),
        of("trimtab_retrain_finished_timestamp_seconds", **of_it): NOW.timestamp() + 60,
        of("trimtab_retrain_measured", **first): 0.75,
        of("trimtab_retrain_measured_lower", **first): 0.5,
        of("trimtab_retrain_measured_upper", **first): 0.875,
        of("trimtab_retrain_measured", **second): 0.25,
    }


@pytest.mark.parametrize("attempt", [None, "2", 0, 10**400, True, [2]])
def test_an_attempt_that_is_none_is_the_first(attempt: Any) -> None:
    obj = obj_of("RetrainJob", None, {"cause": {"deployment": "a", "attempt": attempt}})
    assert shown("RetrainJob", obj)[of("trimtab_retrain_attempt", **IT, deployment="a")] == 1


def test_attempts_of_a_policy_are_counted_by_how_they_ended() -> None:
    phases = [("a", "Failed"), ("a", "Failed"), ("a", "Started"), ("b", "Cancelled")]
    attempts = [
        {"name": f"rj-{n}", "deployment": deployment, "phase": phase}
        for n, (deployment, phase) in enumerate(phases)
    ]
    assert shown("DriftPolicy", obj_of("DriftPolicy", policy(attempts=attempts))) == {
        of("trimtab_retrain_attempts", **IT, deployment="a", phase="Failed"): 2,
        of("trimtab_retrain_attempts", **IT, deployment="a", phase="Started"): 1,
        of("trimtab_retrain_attempts", **IT, deployment="b", phase="Cancelled"): 1,
    }


def test_the_end_of_a_retraining_is_seen_once() -> None:
    spec = {"cause": {"deployment": "digits", "signal": "quality", "policy": "p"}}
    running, done = (
        obj_of("RetrainJob", {"phase": phase}, spec) for phase in ("Running", "Rejected")
    )
    by_hand = obj_of("RetrainJob", {"phase": "Failed"}, {"cause": {"deployment": "digits"}})
    end = trained_between(running, done)
    assert end is not None
    assert (end.deployment, end.cause, end.outcome) == ("digits", "quality", "Rejected")
    assert trained_between(done, done) is None
    assert trained_between(running, running) is None
    by_person = trained_between(running, by_hand)
    assert by_person is not None
    assert by_person.cause == "manual"


def test_decisions_with_a_higher_number() -> None:
    status = deployment_status(record=record("A", "B", "C", first=4))
    obj = obj_of("Deployment", status)
    assert last_number(obj) == 6
    assert [decision.reason for decision in decisions_after(obj, 4)] == ["B", "C"]


# --- what is hostile or broken ------------------------------------------------------------------

HOSTILE = ['a"b', "a\nb", "a\\b", "a\\nb", "}", "ä#,=", "\r", "\x85\u2028", "x" * 256, "\\", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_read_back_as_they_are(name: str) -> None:
    top = [{"name": name, "value": 1.5}]
    signals = [{**SIGNALS[0], "top": top}]
    obj = obj_of("DriftPolicy", policy(signals=signals), SPEC, namespace=name, name="n" * 253)
    labels = {"namespace": name, "name": "n" * 253, "deployment": "a", "feature": name}
    assert shown("DriftPolicy", obj)[of("trimtab_feature_psi", **labels)] == 1.5


@given(st.lists(st.text(max_size=256), max_size=5), st.floats())
def test_any_names_and_numbers_make_a_page(names: list[str], value: float) -> None:
    signals = [{**SIGNALS[0], "top": [{"name": name, "value": value} for name in names]}]
    obj = obj_of("DriftPolicy", policy(), SPEC)
    obj["status"]["signals"] = signals
    found = shown("DriftPolicy", obj)
    labels = [of("trimtab_feature_psi", **IT, deployment="a", feature=name) for name in names]
    assert all(found[label] == value or math.isnan(value) for label in labels)


def test_half_a_character_breaks_nothing() -> None:
    obj = obj_of("Deployment", None, {"model": "a\ud800b"})
    ((_, labels),) = shown("Deployment", obj)
    assert dict(labels)["model"] == "a?b"


def test_what_is_given_twice_by_hand_is_shown_once() -> None:
    status = deployment_status(gates=[GATE, {**GATE, "candidate": {"bad": 4, "total": 100}}])
    bad = of("trimtab_gate_bad_total", **IT, gate="errors", side="candidate")
    assert shown("Deployment", obj_of("Deployment", status))[bad] == 4


UNREADABLE: list[Any] = [
    "text",
    7,
    [],
    {"conditions": "none"},
    {"conditions": [{"type": "Ready"}]},
    {"record": {"decisions": [{"seq": 0}]}},
    {"record": 7},
]


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("status", UNREADABLE, ids=repr)
def test_a_status_that_cannot_be_read_is_an_error_of_one_kind(kind: str, status: Any) -> None:
    obj = obj_of(kind, status)
    with pytest.raises(ValidationError):
        SHOWN[kind](obj, NOW)
    assert last_number(obj) == 0


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize(
    "spec", ["text", [], {"signals": 7, "model": 7, "rollout": [], "cause": 3}]
)
def test_any_spec_is_got_over(kind: str, spec: Any) -> None:
    status = policy(signals=SIGNALS) if kind == "DriftPolicy" else {}
    shown(kind, obj_of(kind, status) | {"spec": spec})


def test_fields_of_a_newer_release_are_ignored() -> None:
    assert shown("Deployment", obj_of("Deployment", {"novelty": {"a": 1}}))


def test_every_metric_is_named_and_explained() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("trimtab_")
        assert family.name.endswith("_total") == (family.type == "counter"), family.name
        assert family.help.endswith(".")
