"""Where counting began: in status while processes are few, in memory when they are many."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_guard,
    a_process,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    pods,
)

from trimtab.api.deployment import DeploymentStatus, GateStatus, Origin
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.origins import MOST_IN_STATUS, put_away, taken_up
from trimtab.decide.rollout.snapshot import Memory, Snapshot

BORN = NOW - timedelta(hours=1)
LATER = NOW + timedelta(seconds=30)


def fleet(version: str, count: int, requests: float, errors: float, born: datetime = BORN) -> Any:
    """Return so many processes that have each counted this."""
    return tuple(
        a_process(
            version,
            requests,
            errors,
            process=f"{version}-{number}/1",
            born=born,
            first={"requests": requests, "errors": errors},
        )
        for number in range(count)
    )


def stepping(
    *processes: Any, status: Any = None, memory: Memory | None = None, now: datetime = NOW
) -> Snapshot:
    """Return v2 in its first step beside v1."""
    status = status or a_status(a_stepping(a_step(started=NOW)))
    rollout = {"gates": [ERRORS_GATE], "steps": [{"weight": "25%", "for": "10m"}]}
    return a_snapshot(
        a_deployment(status=status, rollout=rollout),
        now=now,
        pods=(*pods("v1", 3), *pods("v2", 1)),
        processes=tuple(one for group in processes for one in group),
        memory=memory or Memory(),
    )


def origins(count: int) -> list[Origin]:
    values = {"requests": 1000.0, "errors": 0.0}
    return [
        Origin(process=f"{version}-{number}/1", values=values)
        for version in ("v1", "v2")
        for number in range(count)
    ]


def with_origins(count: int, **step: Any) -> DeploymentStatus:
    counted = a_step(started=NOW, origins=origins(count), **step)
    return a_status(a_stepping(counted))


def step_of(status: DeploymentStatus) -> Any:
    assert status.rollout is not None
    assert status.rollout.step is not None
    return status.rollout.step


def gate_of(status: DeploymentStatus) -> GateStatus:
    (gate,) = status.gates
    return gate


def test_few_are_in_status_and_many_in_memory() -> None:
    few = with_origins(MOST_IN_STATUS // 2)
    assert put_away(few, Memory()) == (few, Memory())
    many = with_origins(MOST_IN_STATUS // 2 + 1)
    status, memory = put_away(many, Memory())
    assert (step_of(status).origins, step_of(status).lost) == ([], 0)
    whole = taken_up(stepping(status=status, memory=memory))
    assert step_of(whole.deployment.status).origins == step_of(many).origins
    assert put_away(whole.deployment.status, memory) == (status, memory)


def test_a_thousand_pods_have_a_status_of_64_kib_at_most() -> None:
    values = {f"slow@{bound}": 123456.0 for bound in range(16)}
    thousand = [
        Origin(process="u" * 36 + f"/2026-01-01T00:00:{n}Z", values=values) for n in range(1100)
    ]
    status = a_status(
        a_stepping(a_step(started=NOW, origins=thousand)), guard=a_guard("v1", origins=thousand)
    )
    assert len(json.dumps(status.to_json())) > 700_000
    away, memory = put_away(status, Memory())
    assert len(json.dumps(away.to_json())) < 10_000
    assert len(memory.origins) == 2
    kept = [origin.model_copy(update={"process": f"{n}"}) for n, origin in enumerate(thousand)]
    largest = a_status(
        a_stepping(a_step(started=NOW, origins=kept[:MOST_IN_STATUS])),
        guard=a_guard("v1", origins=kept[:MOST_IN_STATUS]),
    )
    assert len(json.dumps(largest.to_json())) < 60_000


def test_many_are_judged_as_few_are() -> None:
    shown = []
    for size in (10, 30):
        snapshot = stepping(
            fleet("v1", size, 1100.0, 0.0),
            fleet("v2", size, 1010.0, 0.0),
            status=with_origins(size),
        )
        outcome, memory = decide_deployment(snapshot)
        assert (len(step_of(outcome.status).origins) == 0) is (size == 30)
        later = stepping(
            fleet("v1", size, 1200.0, 0.0),
            fleet("v2", size, 1020.0, 0.0),
            status=outcome.status,
            memory=memory,
            now=LATER,
        )
        gate = gate_of(decide_deployment(later)[0].status)
        assert gate.candidate is not None
        assert gate.candidate.total == 20.0 * size
        shown.append(gate.threshold)
    assert shown[1] == 2 * shown[0], "room for tests after a restart"


def test_what_a_restart_lost_is_counted_by_nobody() -> None:
    """The candidate was bad before; what it does from now on is judged, more strictly."""
    status, _ = put_away(with_origins(30), Memory())
    before = fleet("v1", 30, 1100.0, 0.0), fleet("v2", 30, 1010.0, 8.0)
    outcome, memory = decide_deployment(stepping(*before, status=status, now=LATER))
    step, gate = step_of(outcome.status), gate_of(outcome.status)
    assert (step.lost, step.counted_since, step.origins) == (1, LATER, [])
    assert gate.candidate is not None
    assert (gate.verdict, gate.candidate.total) == ("NoData", 0.0)
    after = fleet("v1", 30, 1200.0, 0.0), fleet("v2", 30, 1020.0, 18.0)
    again = stepping(*after, status=outcome.status, memory=memory, now=LATER + timedelta(seconds=5))
    outcome, _ = decide_deployment(again)
    assert outcome.status.rejected[0].reason == "GateFailed"
    assert "300/300" in outcome.status.rejected[0].evidence
    assert ">= 400" in outcome.status.rejected[0].evidence


def test_a_process_that_is_seen_again_later_counts_from_then_on() -> None:
    status, _ = put_away(with_origins(30), Memory())
    outcome, memory = decide_deployment(stepping((), status=status, now=LATER))
    for second in (1, 2, 3):  # the losing is told once
        now = LATER + timedelta(seconds=second)
        outcome, memory = decide_deployment(
            stepping((), status=outcome.status, memory=memory, now=now)
        )
        assert step_of(outcome.status).lost == 1
    seen = fleet("v1", 30, 1100.0, 0.0), fleet("v2", 30, 1010.0, 900.0)
    snapshot = stepping(*seen, status=outcome.status, memory=memory, now=LATER)
    gate = gate_of(decide_deployment(snapshot)[0].status)
    assert gate.candidate is not None
    assert gate.candidate.total == 0.0


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_guard_goes_on_and_counts_nothing_twice(is_lost: bool) -> None:
    values = {"requests": 1000.0, "errors": 0.0}
    guard = a_guard(
        "v2",
        references={"errors": {"bad": 2.0, "total": 1000.0}},
        origins=[Origin(process=f"v2-{n}/1", values=values) for n in range(60)],
    )
    status = a_status(stable="v2", last_good=a_tried("v1"), guard=guard)

    def watched(requests: float, errors: float, status: Any, memory: Memory, second: int) -> Any:
        snapshot = a_snapshot(
            a_deployment("v2", status=status, rollout={"gates": [ERRORS_GATE]}),
            now=NOW + timedelta(seconds=second),
            pods=pods("v2", 3),
            processes=tuple(
                replace(one, first={"requests": 1020.0}) if is_lost else one
                for one in fleet("v2", 60, requests, errors)
            ),
            memory=memory,
        )
        outcome, memory = decide_deployment(snapshot)
        assert outcome.status.guard is not None
        return outcome.status, memory

    status, memory = watched(1010.0, 0.0, status, Memory(), 10)
    assert status.guard.lost == 0
    if is_lost:
        memory = replace(Memory(), habits=memory.habits)
    status, memory = watched(1020.0, 0.0, status, memory, 20)
    assert status.guard.lost == int(is_lost)
    status, memory = watched(1030.0, 0.0, status, memory, 30)
    assert memory.guard is not None
    assert memory.guard.detectors["errors"].looks == (2 if is_lost else 3)
    assert status.guard.breached is None
