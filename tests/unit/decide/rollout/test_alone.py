"""A candidate that alone answers requests: only a condemnation takes it out of traffic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_guard,
    a_pod,
    a_process,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    a_version,
    pods,
    revision,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction, Remove, Size
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Phase, Progress, Promoting, Stepping, phase_of
from trimtab.decide.rollout.snapshot import PodView, Snapshot
from trimtab.decide.rollout.traffic.replicas import Route

STEPS = [{"weight": "25%", "for": "10s"}, {"weight": "50%"}]
LATE = NOW - timedelta(hours=1)
UNREADY = pods("v1", 3, ready=False, unready_seconds=300.0)
BLIND = (
    a_process("v1", 100.0, problem=Reason.BACKEND_DOWN),
    a_process("v2", 50.0, problem=Reason.BACKEND_DOWN),
)


def stepping(**progress: Any) -> Stepping:
    step = a_step(first_request=NOW - timedelta(hours=1), started=LATE)
    return a_stepping(progress=Progress(step, **progress))


def seen(
    phase: Phase,
    *,
    ready: tuple[PodView, ...] = (*UNREADY, *pods("v2", 1)),
    want: str | None = "v2",
    rollout: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **fields: Any,
) -> Snapshot:
    settings = {"steps": STEPS, "gates": [ERRORS_GATE], "deadline": "15m", **(rollout or {})}
    deployment = a_deployment(want, status=a_status(phase, **(status or {})), rollout=settings)
    return a_snapshot(deployment, pods=ready, **fields)


def decided(snapshot: Snapshot) -> Outcome[DeploymentStatus, ChildAction]:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def serves_on(outcome: Outcome[DeploymentStatus, ChildAction]) -> bool:
    """Return whether the candidate stays in the route, with its pod."""
    sizes = {a.tried.version: a.replicas for a in outcome.actions if isinstance(a, Size)}
    routes = [a for a in outcome.actions if isinstance(a, Route)]
    removed = [a for a in outcome.actions if isinstance(a, Remove)]
    return routes == [Route(None)] and sizes["v2"] == 1 and not removed


def progressing(outcome: Outcome[DeploymentStatus, ChildAction]) -> tuple[str, str]:
    return next((c.reason, c.message) for c in outcome.status.conditions if c.type == "Progressing")


KEEPS = (
    "v1 has no Ready pod: v2 keeps all requests until it has one, or a person says promote or "
    "abort, although "
)
BLIND_SINCE = stepping(no_data_since=NOW - seconds(121))
IN_TIME = {"deadline": "2h"}


def test_a_step_nobody_sees_is_not_withdrawn() -> None:
    outcome = decided(seen(BLIND_SINCE, rollout=IN_TIME, processes=BLIND))
    assert serves_on(outcome)
    expected = f"{KEEPS}nobody sees whether v2 is good"
    assert progressing(outcome) == (Reason.STABLE_NOT_READY, expected)


def test_it_is_withdrawn_once_a_pod_of_stable_is_ready() -> None:
    one = (a_pod("v1", 0), *UNREADY[1:], *pods("v2", 1))
    outcome = decided(seen(BLIND_SINCE, rollout=IN_TIME, processes=BLIND, ready=one))
    phase = phase_of(outcome.status)
    assert isinstance(phase, Stepping)
    assert phase.progress.withdrawn


def test_it_is_withdrawn_if_no_pod_of_it_is_ready_either() -> None:
    none = (*UNREADY, a_pod("v2", ready=False, was_ready=False))
    outcome = decided(seen(BLIND_SINCE, rollout=IN_TIME, processes=BLIND, ready=none))
    assert Route(revision("v1")) in outcome.actions


@pytest.mark.parametrize("ends", ["undecided", "rollback"])
def test_its_deadline_does_not_end_it(ends: str) -> None:
    phase = a_stepping(started=LATE, progress=Progress(a_step(started=LATE)))
    outcome = decided(seen(phase, rollout={"onDeadline": ends}))
    assert serves_on(outcome)
    assert outcome.status.history == []
    assert progressing(outcome) == (
        Reason.STABLE_NOT_READY,
        f"{KEEPS}the deadline of v2 has passed",
    )
    assert outcome.wake_at is not None
    assert outcome.wake_at > NOW


def test_its_deadline_promotes_it_where_the_spec_says_so() -> None:
    phase = a_stepping(started=LATE, progress=Progress(a_step(started=LATE)))
    outcome = decided(seen(phase, rollout={"onDeadline": "promote"}))
    assert isinstance(phase_of(outcome.status), Promoting)


def test_its_deadline_does_not_end_it_while_it_grows() -> None:
    phase = Promoting(candidate=a_tried("v2"), started=LATE, progress=Progress(a_step(0.5)))
    outcome = decided(seen(phase))
    assert phase_of(outcome.status) is not None
    assert Route(None) in outcome.actions


def test_a_newer_version_waits() -> None:
    outcome = decided(seen(stepping(), want="v3", versions=(a_version("v2"), a_version("v3"))))
    assert serves_on(outcome)
    assert progressing(outcome) == (Reason.STABLE_NOT_READY, f"{KEEPS}v3 is wanted now")


def test_a_version_that_was_deleted_serves_on() -> None:
    outcome = decided(seen(stepping(), versions=()))
    assert serves_on(outcome)
    assert progressing(outcome)[1].startswith(f"{KEEPS}v2 is no longer wanted: ModelVersion")


def test_what_is_not_wanted_any_more_comes_no_further() -> None:
    processes = (a_process("v2", 500.0, born=LATE), a_process("v1", 500.0, born=LATE))
    phase = stepping()
    goes_on = decided(seen(phase, processes=processes, rollout=IN_TIME))
    now = phase_of(goes_on.status)
    assert isinstance(now, Stepping)
    assert now.progress.step.index == 1
    versions = (a_version("v2"), a_version("v3"))
    held = decided(seen(phase, processes=processes, rollout=IN_TIME, want="v3", versions=versions))
    now = phase_of(held.status)
    assert isinstance(now, Stepping)
    assert now.progress.step.index == 0
    grown = Promoting(candidate=a_tried("v2"), started=NOW, progress=Progress(a_step(0.5)))
    three = (*UNREADY, *pods("v2", 3))
    held = decided(seen(grown, ready=three, want="v3", versions=versions))
    assert held.status.stable is not None
    assert held.status.stable.version == "v1"


def test_a_person_may_promote_what_is_not_wanted_any_more() -> None:
    steps = Progress(a_step(0.5))
    grown = Promoting(candidate=a_tried("v2"), started=NOW, progress=steps, promoted_by="ann")
    outcome = decided(seen(grown, ready=(*UNREADY, *pods("v2", 3)), versions=()))
    assert outcome.status.stable is not None
    assert outcome.status.stable.version == "v2"


def test_one_that_is_condemned_is_taken_out() -> None:
    crashed = (*UNREADY, a_pod("v2", 0), a_pod("v2", 1, ready=False, crashed=True, restarts=3))
    outcome = decided(seen(stepping(), ready=crashed))
    assert [entry.version for entry in outcome.status.rejected] == ["v2"]
    assert Route(revision("v1")) in outcome.actions


def test_a_guarded_stable_that_crashed_is_not_left_for_nobody() -> None:
    dead = pods("v1", 3, ready=False, crashed=True, restarts=3)
    status = {"guard": a_guard("v1"), "last_good": a_tried("v0")}
    outcome = decided(seen(stepping(), ready=(*dead, *pods("v2", 1)), status=status))
    assert serves_on(outcome)
    assert outcome.status.rejected == []
