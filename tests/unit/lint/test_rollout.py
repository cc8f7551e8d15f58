"""Rules on a Deployment: gates, shares and deadlines that its traffic cannot meet."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.api.deployment import Deployment
from trimtab.lint.remarks import Remark
from trimtab.lint.rollout import deployment_remarks
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import failure_threshold, gate_evidence

ERRORS = {"name": "errors", "bad": "errors", "against": "stable", "margin": "1%"}


def deployment(replicas: int = 3, **rollout: Any) -> Deployment:
    return Deployment.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "shop"},
            "spec": {"model": "digits", "version": "v1", "replicas": replicas, "rollout": rollout},
        }
    )


def remarks(one: Deployment, per_second: float | None) -> list[tuple[str, str]]:
    found = deployment_remarks(one, per_second)
    return [(r.severity, r.rule) for r in found if r.severity != "note"]


def gate(one: Deployment, per_second: float) -> Remark:
    (found,) = (r for r in deployment_remarks(one, per_second) if r.rule == "gate")
    return found


def test_defaults_with_some_traffic_are_clean() -> None:
    assert remarks(deployment(), 10.0) == []
    assert remarks(deployment(), None) == []
    assert deployment_remarks(deployment(strategy="rolling"), 10.0) == []


def idle(spec: dict[str, Any], **rollout: Any) -> list[tuple[str, str, str]]:
    """Return what has no effect: severity, field, message."""
    raw = {"model": "digits", "version": "v1", "replicas": 4, "rollout": rollout, **spec}
    one = Deployment.model_validate(
        {"metadata": {"name": "digits", "namespace": "shop"}, "spec": raw}
    )
    found = deployment_remarks(one, None)
    return [(r.severity, r.field, r.message) for r in found if r.rule == "idle"]


OUTCOMES = {"name": "wrong", "bad": "outcomes", "against": "stable"}
BY_LIMIT = {"name": "errors", "bad": "errors", "limit": "1%"}


@pytest.mark.parametrize(
    ("spec", "rollout", "field", "says"),
    [
        ({"guard": {"control": 1}}, {"strategy": "rolling"}, "spec.guard.control", "rolling"),
        ({"guard": {"control": 1}}, {"gates": [BY_LIMIT]}, "spec.guard.control", "against"),
        ({"compare": {}}, {}, "spec.compare", "without a gate of outcomes"),
        ({"compare": {}}, {"strategy": "rolling"}, "spec.compare", "without a gate of outcomes"),
        (
            {"outcomes": {"dependsOnAnswer": True}},
            {"gates": [BY_LIMIT]},
            "spec.outcomes.dependsOnAnswer",
            "without a gate of outcomes",
        ),
    ],
)
def test_what_no_gate_uses_is_named(
    spec: dict[str, Any], rollout: dict[str, Any], field: str, says: str
) -> None:
    ((severity, where, message),) = idle(spec, **rollout)
    assert (severity, where) == ("warning", field)
    assert "no effect" in message
    assert says in message


def test_no_gates_at_all_are_a_note() -> None:
    ((severity, field, message),) = idle({}, gates=[])
    assert (severity, field) == ("note", "spec.rollout.gates")
    assert "nothing judges" in message


@pytest.mark.parametrize(
    ("spec", "rollout"),
    [
        ({"guard": {"control": 1}}, {}),
        ({"guard": {"control": 0}}, {"strategy": "rolling"}),
        ({"compare": {"budget": "0%"}}, {}),
        ({"compare": {}, "outcomes": {"dependsOnAnswer": True}}, {"gates": [OUTCOMES]}),
    ],
)
def test_what_a_gate_uses_is_not(spec: dict[str, Any], rollout: dict[str, Any]) -> None:
    assert idle(spec, **rollout) == []


def test_the_smallest_fault_is_the_one_that_the_gate_itself_would_see() -> None:
    one = deployment(steps=[{"weight": "25%", "for": "100s"}], gates=[ERRORS], minSamples=0)
    text = gate(one, 8.0).message  # one candidate pod beside three: 200 and 600 requests
    share = float(text.partition("with ")[2].partition("%")[0]) / 100
    threshold = failure_threshold(0.99, 1, 1)
    bad = round(share * 200)
    stable = BadTotal(0.0, 600.0)
    assert gate_evidence(BadTotal(float(bad), 200.0), stable, 0.01) >= threshold
    assert gate_evidence(BadTotal(bad - 1.0, 200.0), stable, 0.01) < threshold


def test_a_gate_that_no_step_can_decide() -> None:
    one = deployment(steps=[{"weight": "25%", "for": "10s"}], gates=[ERRORS], minSamples=1)
    found = gate(one, 0.4)
    assert found.severity == "warning"
    assert found.field == "spec.rollout.gates[0]"
    assert "cannot fail: a step brings the candidate 1 requests" in found.message
    # The last step waits for minSamples, and then there is something to see.
    assert gate(deployment(gates=[ERRORS], minSamples=50), 0.4).severity == "note"


def test_a_limit_is_decided_without_stable() -> None:
    limit = {"name": "limit", "bad": "errors", "limit": "5%"}
    one = deployment(steps=[{"weight": "50%", "for": "100s"}], gates=[limit], minSamples=0)
    assert gate(one, 10.0).severity == "note"
    assert gate(one, 0.02).severity == "warning"


def test_steps_longer_than_the_deadline() -> None:
    steps = [{"weight": "25%", "for": "10m"}, {"weight": "50%", "for": "10m"}]
    assert remarks(deployment(steps=steps, deadline="15m"), None) == [("error", "deadline")]
    assert remarks(deployment(steps=steps, deadline="20m"), None) == []


def test_lint_is_not_milder_when_it_knows_the_traffic() -> None:
    one = deployment(steps=[{"weight": "50%", "for": "3m"}], deadline="2m")
    assert remarks(one, None) == [("error", "deadline")]
    assert remarks(one, 5.0) == [("error", "deadline")]


def test_samples_that_do_not_come_before_the_deadline() -> None:
    one = deployment(minSamples=1000, deadline="15m")
    assert remarks(one, 1.0) == [("warning", "deadline")]
    assert remarks(one, 10.0) == []


def test_a_share_that_so_few_pods_cannot_give() -> None:
    steps = [{"weight": "5%", "for": "1m"}]
    assert remarks(deployment(1, steps=steps), None) == [("error", "share")]
    assert remarks(deployment(1, steps=steps, allowCoarse=True), None) == []
    assert remarks(deployment(19, steps=steps), None) == []


def test_a_bucket_far_from_what_is_asked_for() -> None:
    def slow(than: str) -> Deployment:
        own = {"name": "slow", "bad": "slow", "slowerThan": than, "against": "stable"}
        return deployment(gates=[own])

    assert remarks(slow("300ms"), None) == [("warning", "bucket")]
    assert remarks(slow("5m"), None) == [("warning", "bucket")]
    assert [r.severity for r in deployment_remarks(slow("450ms"), None)] == ["note"]
    assert deployment_remarks(slow("500ms"), None) == []


SLOW = {"name": "slow", "bad": "slow", "slowerThan": "250ms", "against": "stable", "margin": "2%"}
STEPS = [{"weight": "25%", "for": "1m"}, {"weight": "50%", "for": "2m"}]


def warming(requests: int, lasts: str, **rollout: Any) -> Deployment:
    warm_up = {"requests": requests, "for": lasts}
    more: dict[str, Any] = {"steps": STEPS, "gates": [SLOW], "deadline": "2h", **rollout}
    return deployment(warmUp=warm_up, **more)


def seen(one: Deployment, per_second: float) -> float:
    """Return the smallest fault that gate slow sees, in percent."""
    return float(gate(one, per_second).message.partition("with ")[2].partition("%")[0])


def test_requests_of_the_warm_up_are_no_evidence_for_slow() -> None:
    none = seen(warming(0, "1ms"), 5.0)
    assert none < seen(warming(100, "1m30s"), 5.0) < seen(warming(100, "2m30s"), 5.0)
    # 1.25 requests a second come to each of the candidate's pods.
    assert none < seen(warming(100, "1ms"), 5.0)
    # They are evidence for the others.
    errors = warming(100, "2m", gates=[ERRORS])
    assert gate(errors, 5.0) == gate(warming(0, "1ms", gates=[ERRORS]), 5.0)


@pytest.mark.parametrize(
    ("requests", "lasts", "per_second"),
    [(0, "1h", None), (0, "3m", None), (0, "1h", 5.0), (100_000, "1s", 5.0), (100_000, "1h", 5.0)],
)
def test_a_warm_up_longer_than_the_steps_leaves_slow_nothing_to_judge(
    requests: int, lasts: str, per_second: float | None
) -> None:
    (found,) = deployment_remarks(warming(requests, lasts), per_second)
    assert (found.severity, found.rule) == ("warning", "warmUp")
    assert found.field == "spec.rollout.warmUp"
    assert "warmUp is longer than every step: gate slow never judges" in found.message


@pytest.mark.parametrize(
    ("one", "per_second"),
    [
        (warming(100_000, "1s"), None),  # nobody said how many come
        (warming(100_000, "1s"), 5000.0),
        (warming(0, "1h", gates=[ERRORS]), None),
        (warming(0, "1h", steps=[*STEPS[:1], {"pause": {}}, *STEPS[1:]]), 5.0),
        (warming(0, "1h", steps=[*STEPS, {"pause": {}}]), None),
        (warming(0, "10s", steps=[{"weight": "50%"}]), None),  # lasts until minSamples are there
    ],
    ids=["unknown", "many_requests", "no_gate_of_slow", "pause", "pause_at_the_end", "no_time"],
)
def test_a_warm_up_that_ends_is_not_named(one: Deployment, per_second: float | None) -> None:
    assert [r for r in deployment_remarks(one, per_second) if r.rule == "warmUp"] == []


@pytest.mark.parametrize(
    ("guard", "says"),
    [
        ({"for": "2m", "rollbackWithin": "4m"}, ["guard.for (2m)"]),
        ({"rollbackWithin": "48h"}, ["guard.for (24h)"]),
        ({"for": "2m"}, []),  # the default of rollbackWithin is longer, and nobody asked for it
        ({"for": "4m", "rollbackWithin": "4m"}, []),
        ({}, []),
    ],
)
def test_a_way_back_that_is_longer_than_the_watch(guard: dict[str, str], says: list[str]) -> None:
    raw = {"model": "digits", "version": "v1", "replicas": 4, "guard": guard}
    one = Deployment.model_validate(
        {"metadata": {"name": "digits", "namespace": "shop"}, "spec": raw}
    )
    found = [r for r in deployment_remarks(one, None) if r.rule == "guard"]
    assert [r.field for r in found] == ["spec.guard.rollbackWithin"] * len(says)
    assert all(word in r.message for word, r in zip(says, found, strict=True))
