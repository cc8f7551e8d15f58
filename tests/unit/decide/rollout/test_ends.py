"""How rollouts begin and end: what is told, kept and quarantined, word for word."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_guard,
    a_pod,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    a_version,
    a_workload,
    an_end,
    pods,
    revision,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import (
    BackOff,
    Count,
    Deployment,
    DeploymentStatus,
    GateStatus,
    PodSpread,
)
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction, Remove, Size
from trimtab.decide.rollout.ends import is_flapping
from trimtab.decide.rollout.habit import EPOCH, HOUR, Habit
from trimtab.decide.rollout.judgement import counted_from
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import (
    Phase,
    Progress,
    Promoting,
    Returning,
    Starting,
    Stepping,
    deadline_of,
    paused_by_person,
    phase_of,
)
from trimtab.decide.rollout.snapshot import Memory, PodView, Request, Snapshot, WorkloadView
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.stats.counts import BadTotal

TWO = a_tried("v2")
GOOD = a_tried("v1")
STARTING = Starting(candidate=TWO, started=NOW)
LATE = NOW + timedelta(minutes=15)
"""The default deadline."""


def in_phase(phase: Phase | None, *, stable: str | None = "v1", **fields: Any) -> Snapshot:
    """Return a snapshot in a phase of the rollout to v2, with stable's pods Ready."""
    rollout = fields.pop("rollout", {"gates": [ERRORS_GATE]})
    kept = fields.pop("status", {})
    deployment = a_deployment("v2", status=a_status(phase, stable=stable, **kept), rollout=rollout)
    ready = fields.pop("pods", ()) + (pods(stable, 3) if stable is not None else ())
    return a_snapshot(deployment, pods=ready, **fields)


Decision = Outcome[DeploymentStatus, ChildAction]


def decided(snapshot: Snapshot) -> Decision:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def hour_of(at: datetime) -> int:
    return (at - EPOCH) // HOUR


def told(decision: Decision) -> list[tuple[str, str, bool]]:
    return [(note.reason.value, note.message, note.warning) for note in decision.notes]


def last(decision: Decision) -> tuple[str, str, str, str]:
    entry = decision.status.history[-1]
    return entry.version, entry.outcome, entry.message, entry.by


# --- begin ----------------------------------------------------------------------------------------


def test_a_rollout_begins_beside_stable() -> None:
    decision = decided(
        in_phase(None, status={"guard": a_guard("v1")}, processes=(a_process("v1"),))
    )
    frozen = TWO.model_copy(
        update={
            "image": "serving:1",
            "template": {"of": "v2"},
            "desired": 1,
            "weight": "0%",
        }
    )
    assert phase_of(decision.status) == Starting(candidate=frozen, started=NOW)
    assert told(decision) == [("RolloutStarted", f"trying v2 beside v1 ({revision('v2')})", False)]
    assert decision.status.guard == a_guard("v1")
    assert decision.wake_at == LATE


def test_the_first_rollout_begins_alone() -> None:
    decision = decided(in_phase(None, stable=None))
    assert told(decision) == [
        ("RolloutStarted", f"trying v2 as the first ({revision('v2')})", False)
    ]
    assert decision.status.candidate is not None
    assert (decision.status.candidate.desired, decision.status.candidate.weight) == (3, "100%")


NOT_BEGUN: dict[str, dict[str, Any]] = {
    "quarantined": {"status": {"rejected": [a_rejection("v2")]}},
    "flapping": {"status": {"history": [an_end("v3"), an_end("v4"), an_end("v5")]}},
    "a_policy_asks_to_wait": {"requested": Request("pause", "drift: inputs moved")},
    "backing_off": {
        "status": {"back_off": BackOff(revision=revision("v2"), not_before=NOW + seconds(1))}
    },
    "not_verified": {"versions": (a_version("v1"), a_version("v2", phase="Pending"))},
    "missing": {"versions": (a_version("v1"),)},
}


@pytest.mark.parametrize("fields", NOT_BEGUN.values(), ids=NOT_BEGUN.keys())
def test_what_keeps_a_rollout_from_beginning(fields: dict[str, Any]) -> None:
    decision = decided(in_phase(None, **fields))
    assert phase_of(decision.status) is None
    assert "RolloutStarted" not in {note.reason for note in decision.notes}


def test_a_back_off_is_no_longer_for_a_clock_that_was_set_back() -> None:
    waiting = BackOff(revision=TWO.revision, attempts=1, not_before=NOW + seconds(90_000))
    decision = decided(in_phase(None, status={"candidate": TWO, "back_off": waiting}))
    assert isinstance(phase_of(decision.status), Starting)


@pytest.mark.parametrize(("ahead", "begins"), [(90, False), (121, True)])
def test_a_back_off_is_about_as_long_as_was_told(ahead: float, begins: bool) -> None:
    """The clock was ahead when it was written; a little, as that of another node, is no matter."""
    waiting = BackOff(revision=TWO.revision, attempts=1, not_before=NOW + seconds(ahead))
    decision = decided(in_phase(None, status={"candidate": TWO, "back_off": waiting}))
    assert isinstance(phase_of(decision.status), Starting) is begins


def test_an_undecided_revision_is_tried_again_as_it_was_frozen() -> None:
    waiting = BackOff(revision=TWO.revision, attempts=2, not_before=NOW)
    decision = decided(in_phase(None, status={"candidate": TWO, "back_off": waiting}))
    assert told(decision) == [("RolloutStarted", "trying v2 again", False)]
    assert decision.status.back_off == waiting
    assert isinstance(phase_of(decision.status), Starting)


# --- promoted -------------------------------------------------------------------------------------


def test_promotion_of_a_canary() -> None:
    gates = [
        GateStatus(
            name="errors",
            verdict="Pass",
            smallest_fault="9.1%",
            smallest_fault_share=0.0909,
            stable={"bad": 1.0, "total": 400.0},
        )
    ]
    phase = Promoting(
        candidate=TWO,
        started=NOW - seconds(60),
        progress=Progress(a_step(0.5, index=1), requests_before=100.0),
        promoted_by="ann",
    )
    snapshot = in_phase(
        phase,
        status={"gates": gates},
        pods=pods("v2", 3),
        processes=(a_process("v2", 20.0, born=NOW),),
    )
    decision = decided(snapshot)
    message = (
        "v2 promoted after 120 requests: would have caught a fault of 9.1% or more in this step "
        "by gate errors (errors of stable: 0.2%)"
    )
    status = decision.status
    assert told(decision) == [("Promoted", message, False)]
    assert last(decision) == ("v2", "Promoted", message, "ann")
    assert status.stable is not None
    assert status.last_good is not None
    assert (status.stable.version, status.last_good.version) == ("v2", "v1")
    assert status.retiring is not None
    assert (status.retiring.revision, status.retiring.until) == (revision("v1"), NOW + seconds(60))
    assert (status.candidate, status.rollout, status.back_off) == (None, None, None)
    assert status.guard is not None
    assert status.guard.until == NOW + timedelta(hours=24)
    assert status.guard.references["errors"].total == 400.0


CONDEMNED: dict[str, dict[str, Any]] = {
    "quarantined": {"rejected": [a_rejection("v1")]},
    "its_guard_only_told": {"guard": a_guard("v1", breached="errors")},
}


@pytest.mark.parametrize("good", [None, "v0"])
@pytest.mark.parametrize("status", CONDEMNED.values(), ids=CONDEMNED.keys())
def test_a_stable_that_went_bad_is_no_last_good(status: dict[str, Any], good: str | None) -> None:
    own = Count(bad=2.0, total=300.0)
    shown = GateStatus(
        name="errors", verdict="Pass", candidate=own, stable={"bad": 400.0, "total": 400.0}
    )
    learnt = Habit(
        since=NOW - timedelta(days=1),
        hours={hour_of(NOW) - 1: BadTotal(1, 100), hour_of(NOW): BadTotal(99, 100)},
    )
    before = {"gates": [shown], "last_good": good and a_tried(good), **status}
    snapshot = in_phase(
        Promoting(candidate=TWO, started=NOW),
        status=before,
        pods=pods("v2", 3),
        memory=Memory(habits={"errors": learnt}),
    )
    outcome, memory = decide_deployment(snapshot)
    after = outcome.status
    assert after.stable is not None
    assert after.stable.version == "v2"
    assert (after.last_good and after.last_good.version) == good
    assert after.retiring is None
    assert after.guard is not None
    assert after.guard.references == {"errors": own}
    assert sum(count.total for count in after.guard.hours["errors"]) == 100
    assert list(memory.habits["errors"].hours) == [hour_of(NOW) - 1]


def test_what_a_version_that_went_bad_showed_is_no_habit_of_another() -> None:
    """Its pods differ while one after another fails: that would hide what the next one does."""
    back = Returning(candidate=GOOD, started=NOW)
    spread = [PodSpread(gate="errors", rounds=1, inflation=700.0, correlation=0.9)]
    status = {"rejected": [a_rejection("v2")], "last_good": GOOD, "spread": spread}
    learnt = Habit(since=NOW, hours={hour_of(NOW): BadTotal(99, 100)})
    seen = in_phase(
        back,
        stable="v2",
        status=status,
        pods=pods("v1", 3),
        memory=Memory(habits={"errors": learnt}),
    )
    outcome, memory = decide_deployment(seen)
    assert outcome.status.stable is not None
    assert outcome.status.stable.version == "v1"
    assert outcome.status.spread == []
    assert memory.habits["errors"] == Habit()


PROMOTED = {
    "the_first": (
        None,
        {},
        "v2 serves as the first version; nothing to compare it with",
    ),
    "rolling": (
        "v1",
        {"strategy": "rolling"},
        "v2 serves; strategy rolling has no gates",
    ),
    "by_a_person_before_any_step": (
        "v1",
        {},
        "v2 promoted after 0 requests: could not have caught a fault",
    ),
}


@pytest.mark.parametrize(("stable", "rollout", "message"), PROMOTED.values(), ids=PROMOTED.keys())
def test_messages_of_promotion(stable: str | None, rollout: Any, message: str) -> None:
    phase = Promoting(candidate=TWO, started=NOW)
    snapshot = in_phase(phase, stable=stable, rollout=rollout, pods=pods("v2", 3))
    assert told(decided(snapshot)) == [("Promoted", message, False)]


def test_no_promotion_before_every_pod_is_ready() -> None:
    phase = Promoting(candidate=TWO, started=NOW)
    decision = decided(in_phase(phase, pods=pods("v2", 2)))
    assert phase_of(decision.status) is not None
    assert decision.wake_at == LATE


# --- rolled back ----------------------------------------------------------------------------------


FAILED_GATE = (
    "gate errors: errors 100/100 (100.0%) of the candidate's, 0/300 (0.0%) of stable's, "
    "allowed +1%; evidence "
)


def test_a_gate_that_fails_rolls_back_and_quarantines() -> None:
    processes = (
        a_process("v2", 100.0, 100.0, born=NOW),
        a_process("v1", 300.0, born=NOW),
    )
    snapshot = in_phase(a_stepping(), pods=pods("v2", 1), processes=processes)
    decision = decided(snapshot)
    (failed, rolled_back, quarantined) = told(decision)
    assert failed[0] == "GateFailed"
    assert failed[1].startswith(FAILED_GATE)
    assert rolled_back == ("RolledBack", f"v2 rolled back, v1 serves: {failed[1]}", True)
    assert quarantined[0] == "Quarantined"
    (rejected,) = decision.status.rejected
    assert (rejected.revision, rejected.reason, rejected.by) == (
        revision("v2"), "GateFailed", "trimtab",
    )  # fmt: skip
    assert last(decision) == ("v2", "RolledBack", failed[1], "trimtab")
    assert (decision.status.candidate, decision.status.rollout) == (None, None)
    assert [gate.verdict for gate in decision.status.gates] == ["Fail"]


DOWN = {
    "crashed": (
        a_pod("v2", ready=False, crashed=True, restarts=1, message="exit code 1"),
        "pod digits-v2-0 crashed (restarts: 1): exit code 1",
    ),
    "silent": (
        a_pod("v2", ready=False, unready_seconds=12.4, message="node lost"),
        "pod digits-v2-0 was Ready, and is now silent and not Ready for 12 s: node lost",
    ),
}


@pytest.mark.parametrize(("pod", "why"), DOWN.values(), ids=DOWN.keys())
def test_a_candidate_that_is_down_is_rolled_back(pod: Any, why: str) -> None:
    silent = a_process(process=f"{pod.uid}/1", fell_silent=True)
    snapshot = in_phase(a_stepping(), pods=(*pods("v1", 2), pod), processes=(silent,))
    decision = decided(snapshot)
    assert told(decision)[0] == ("RolledBack", f"v2 rolled back, v1 serves: {why}", True)
    assert decision.status.rejected[0].reason == "CandidateDown"


NOT_DOWN = {
    "one_crash_while_it_starts": (STARTING, a_pod(ready=False, crashed=True, restarts=1)),
    "evicted": (a_stepping(), a_pod(ready=False, crashed=True, restarts=3, disrupted=True)),
    "not_ready_for_a_moment": (a_stepping(), a_pod(ready=False, unready_seconds=9.9)),
    "never_was_ready": (a_stepping(), a_pod(ready=False, was_ready=False, unready_seconds=60.0)),
}


@pytest.mark.parametrize(("phase", "pod"), NOT_DOWN.values(), ids=NOT_DOWN.keys())
def test_what_does_not_count_as_down(phase: Phase, pod: Any) -> None:
    assert phase_of(decided(in_phase(phase, pods=(pod,))).status) is not None


NOT_READY = a_pod(ready=False, unready_seconds=60.0)
SILENT = a_process(process=f"{NOT_READY.uid}/1", fell_silent=True)
REACHABLE = {
    "answers": (a_process(process=f"{NOT_READY.uid}/1"),),
    "answers_nonsense": (a_process(process=f"{NOT_READY.uid}/1", problem=Reason.NOT_A_NUMBER),),
    "never_answered": (a_process(process=f"{NOT_READY.uid}/1", problem=Reason.BACKEND_DOWN),),
    "nobody_asked": (),
}


@pytest.mark.parametrize("processes", REACHABLE.values(), ids=REACHABLE.keys())
def test_a_pod_is_silent_only_where_scrapes_stopped_being_answered(processes: Any) -> None:
    snapshot = in_phase(a_stepping(), pods=(NOT_READY,), processes=processes)
    assert phase_of(decided(snapshot).status) is not None


ENDED_ONCE: dict[str, Any] = {"ready": False, "crashed": True, "restarts": 1}
SHAKEN = {
    "not_ready_either": (a_pod("v1", ready=False, unready_seconds=3.0), True),
    "ready_again_just_now": (a_pod("v1", ready_seconds=59.0), True),
    "ready_all_the_time": (a_pod("v1"), False),
    "evicted": (a_pod("v1", ready=False, unready_seconds=3.0, disrupted=True), False),
    "was_ready_before_it_ended": (
        a_pod("v1", **ENDED_ONCE, was_ready=False, ended_ready=True), True,
    ),
    "crashes_again_and_again": (a_pod("v1", **ENDED_ONCE, was_ready=False), False),
    "starting": (a_pod("v1", ready=False, was_ready=False), False),
}  # fmt: skip


@pytest.mark.parametrize(("stable", "is_excused"), SHAKEN.values(), ids=SHAKEN.keys())
def test_a_fault_that_shakes_stable_too_is_not_the_candidates(
    stable: PodView, is_excused: bool
) -> None:
    snapshot = in_phase(a_stepping(), pods=(stable, NOT_READY), processes=(SILENT,))
    assert (phase_of(decided(snapshot).status) is not None) == is_excused


KILLED = {
    "once": ({}, True),
    "and_is_back": ({"ready": True}, True),
    "and_not_begun_anew_yet": ({"restarts": 0}, True),
    "again": ({"restarts": 2}, False),
    "by_itself": ({"killed": False}, False),
}


@pytest.mark.parametrize("is_calm", [False, True])
@pytest.mark.parametrize(("how", "is_excused"), KILLED.values(), ids=KILLED.keys())
def test_a_first_kill_by_the_kubelet_or_with_the_node_is_excused(
    how: Any, is_calm: bool, is_excused: bool
) -> None:
    killed = a_pod(**{**ENDED_ONCE, "was_ready": False, "killed": True, **how})
    stable = a_pod("v1", ready_seconds=60.0 if is_calm else 20.0)
    snapshot = in_phase(a_stepping(), pods=(stable, killed))
    assert (phase_of(decided(snapshot).status) is not None) == is_excused


def test_the_silence_of_a_node_is_not_its_pods() -> None:
    """Nor is it at the deadline: the pod was Ready."""
    snapshot = in_phase(
        a_stepping(),
        pods=(a_pod("v1"), replace(NOT_READY, unheard=True)),
        processes=(SILENT,),
    )
    assert phase_of(decided(snapshot).status) is not None


LOST = {
    "its_node": (
        a_pod(ready=False, unheard=True),
        "the node of pod digits-v2-0 is not heard of: look at it",
    ),
    "ended_with_its_node": (
        a_pod(**ENDED_ONCE, was_ready=False, ended_ready=True, killed=True),
        "none of them was there for half of it",
    ),
}


@pytest.mark.parametrize(("pod", "why"), LOST.values(), ids=LOST.keys())
def test_a_pod_that_was_ready_is_not_never_ready(pod: PodView, why: str) -> None:
    decision = decided(in_phase(STARTING, now=LATE, pods=(pod,)))
    assert decision.status.rejected == []
    assert decision.status.history[-1].message == (
        f"NotEnoughReady: 0 of the candidate's pods Ready by the deadline; {why}"
    )


@pytest.mark.parametrize(("age", "is_excused"), [(7.0, False), (8.0, True)])
def test_scrapes_of_stable_that_are_late_excuse_a_silent_candidate(
    age: float, is_excused: bool
) -> None:
    late = a_process("v1", sampled_at=NOW - timedelta(seconds=age))
    snapshot = in_phase(a_stepping(), pods=(a_pod("v1"), NOT_READY), processes=(late, SILENT))
    assert (phase_of(decided(snapshot).status) is not None) == is_excused


def test_the_first_version_that_fails_serves_on_if_a_pod_is_ready() -> None:
    crashed = a_pod("v2", 1, ready=False, crashed=True, restarts=2, message="exit code 1")
    why = "pod digits-v2-1 crashed (restarts: 2): exit code 1"
    for alive, stable in ((pods("v2", 1), "v2"), ((), None)):
        decision = decided(in_phase(STARTING, stable=None, pods=(*alive, crashed)))
        assert told(decision)[0] == ("FirstVersionFailed", why, True)
        assert last(decision) == ("v2", "FirstVersionFailed", why, "trimtab")
        serving = decision.status.stable
        assert (serving.version if serving is not None else None) == stable
        ready = next(c for c in decision.status.conditions if c.type == "Ready")
        assert (ready.status, ready.reason, ready.message) == ("False", "FirstVersionFailed", why)


# --- dropped --------------------------------------------------------------------------------------


def test_a_newer_wish_supersedes_and_begins_in_the_same_pass() -> None:
    three = a_stepping(candidate=a_tried("v3"))
    decision = decided(in_phase(three))
    assert told(decision) == [
        ("Superseded", "v3 dropped: v2 is wanted now", False),
        ("RolloutStarted", f"trying v2 beside v1 ({revision('v2')})", False),
    ]
    assert decision.status.rejected == []
    assert decision.status.candidate is not None
    assert decision.status.candidate.version == "v2"


def test_a_version_that_is_gone_is_dropped() -> None:
    decision = decided(in_phase(a_stepping(), versions=(a_version("v1"),)))
    message = (
        "v2 dropped: v2 is no longer wanted: "
        "ModelVersion digits-v2 does not exist in this namespace; create it"
    )
    assert told(decision) == [("Superseded", message, False)]
    assert last(decision) == ("v2", "Superseded", message, "trimtab")


def test_a_version_that_turns_out_rejected_is_rolled_back() -> None:
    versions = (a_version("v1"), a_version("v2", phase="Rejected"))
    decision = decided(in_phase(a_stepping(), versions=versions))
    assert decision.status.rejected[0].reason == "VersionRejected"


def test_at_zero_replicas_the_candidate_is_dropped() -> None:
    deployment = a_deployment(replicas=0, status=a_status(a_stepping()))
    decision = decided(a_snapshot(deployment))
    message = "v2 dropped: replicas is 0; it is tried again later"
    assert told(decision) == [("Superseded", message, False)]
    assert last(decision) == ("v2", "Superseded", message, "trimtab")
    assert (decision.status.candidate, decision.status.rollout) == (None, None)


def test_at_zero_replicas_a_way_back_is_at_its_end() -> None:
    phase = Returning(candidate=GOOD, started=NOW)
    status = a_status(phase, stable="v2", rejected=[a_rejection("v2")])
    decision = decided(a_snapshot(a_deployment(replicas=0, status=status)))
    assert decision.status.stable is not None
    assert decision.status.stable.version == "v1"
    assert phase_of(decision.status) is None


def test_a_way_back_that_does_not_start_in_time_is_given_up() -> None:
    phase = Returning(candidate=GOOD, started=NOW)
    dead = a_pod("v1", ready=False, was_ready=False, message="exit code 3")
    fields: dict[str, Any] = {
        "stable": "v2",
        "pods": (dead,),
        "status": {"rejected": [a_rejection("v2")]},
    }
    waiting = decided(in_phase(phase, **fields))
    assert waiting.wake_at == LATE
    progressing = next(c for c in waiting.status.conditions if c.type == "Progressing")
    assert progressing.message == "returning to v1: exit code 3"
    decision = decided(in_phase(phase, now=LATE, **fields))
    message = (
        "v1 did not become Ready within 0:15:00: exit code 3; v2 serves on: "
        "publish a good version, or name one: trimtab rollback --to"
    )
    assert told(decision)[0] == ("Undecided", message, True)
    assert phase_of(decision.status) is None
    degraded = next(c for c in decision.status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "NoWayBack")


DARK: tuple[tuple[dict[str, Any], int | None, str], ...] = (
    ({}, None, "v2"),
    ({"ready": False, "unready_seconds": 1.0}, 0, "v2"),
    ({"ready": False, "unready_seconds": 6.0}, 0, "v1"),
    ({"ready": False, "unready_seconds": 6.0}, 3, "v2"),
    ({"ready": False, "was_ready": False}, 0, "v1"),
    ({"ready": False, "crashed": True}, 0, "v1"),
)


@pytest.mark.parametrize(
    ("bad", "counted", "serves"),
    DARK,
    ids=["it answers", "a blip", "for a while", "its workload knows better", "no place", "crashed"],
)
def test_a_way_back_ends_with_the_first_pod_where_nobody_else_answers(
    bad: dict[str, Any], counted: int | None, serves: str
) -> None:
    phase = Returning(candidate=GOOD, started=NOW)
    status = a_status(phase, stable="v2", rejected=[a_rejection("v2")])
    ready = (*pods("v2", 3, **bad), a_pod("v1"))
    workloads = (a_workload("v1", 3, ready=1), a_workload("v2", 3, ready=counted))
    decision = decided(a_snapshot(a_deployment(status=status), pods=ready, workloads=workloads))
    stable = decision.status.stable
    assert stable is not None
    assert stable.version == serves


GOOD_WITHOUT_PODS = WorkloadView(GOOD.workload, "u", GOOD.revision, 3, ready=0, failure="quota")
NO_PLACE: dict[str, dict[str, Any]] = {
    "no_node": {
        "pods": (a_pod("v1", ready=False, was_ready=False, unschedulable=True, message="no node"),)
    },
    "no_image": {"pods": (a_pod("v1", ready=False, was_ready=False, image_missing=True),)},
    "no_pods": {"workloads": (GOOD_WITHOUT_PODS,)},
    "nothing_was_written": {},
    "made_late": {"pods": (a_pod("v1", ready=False, was_ready=False, startable_seconds=60.0),)},
    "never_began": {"pods": (a_pod("v1", ready=False, was_ready=False, unbegun="no volume"),)},
}


def late_return(**fields: Any) -> Snapshot:
    """Return what is seen of a way back from v2 to v1 after its deadline; v2 is wanted."""
    status = {"rejected": [a_rejection("v2")], "last_good": GOOD} | fields.pop("status", {})
    back = Returning(candidate=GOOD, started=NOW)
    return in_phase(back, now=LATE + seconds(60), stable="v2", status=status, **fields)


@pytest.mark.parametrize("fields", NO_PLACE.values(), ids=NO_PLACE.keys())
def test_a_way_back_that_finds_no_place_goes_on(fields: dict[str, Any]) -> None:
    decision = decided(late_return(**fields))
    assert isinstance(phase_of(decision.status), Returning)
    degraded = next(c for c in decision.status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "ReturnDelayed")
    assert degraded.message.startswith("v1 did not become Ready within 0:15:00")
    assert told(decision)[-1] == ("Undecided", degraded.message, True)
    again = decided(late_return(**fields, status={"conditions": decision.status.conditions}))
    assert told(again) == []


def test_who_counts_less_time_does_not_take_back_that_a_way_back_is_late() -> None:
    """The clocks of two Leases differ by an outage: their operators would write in turns."""
    said = decided(late_return()).status.conditions
    ahead = decided(replace(late_return(status={"conditions": said}), now=LATE - seconds(30)))
    (degraded,) = [c for c in ahead.status.conditions if c.type == "Degraded"]
    assert (degraded.status, degraded.reason) == ("True", "ReturnDelayed")
    assert told(ahead) == []
    # Another return begins anew: nobody has waited for it yet.
    back = Returning(candidate=a_tried("v0"), started=LATE + seconds(90))
    status = {"rejected": [a_rejection("v2")], "conditions": said}
    other = decided(in_phase(back, now=LATE + seconds(91), stable="v2", status=status))
    (degraded,) = [c for c in other.status.conditions if c.type == "Degraded"]
    assert degraded.status == "False"


def test_a_way_back_that_was_late_ends_when_its_pods_are_there() -> None:
    ready = pods("v1", 3)
    decision = decided(late_return(pods=ready, workloads=(a_workload("v1", 3),)))
    assert decision.status.stable is not None
    assert decision.status.stable.version == "v1"


NO_ROOM = a_pod("v1", 2, ready=False, was_ready=False, unschedulable=True, message="no node")


@pytest.mark.parametrize("wanted", ["v2", "v3"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_way_back_that_is_late_goes_to_the_pods_that_are_ready(count: int, wanted: str) -> None:
    """What is left of it may find its place only where the bad version's pods go."""
    late = late_return(
        pods=(*pods("v1", count), NO_ROOM),
        workloads=(replace(a_workload("v1", 3), ready=count), a_workload("v2", 3)),
        versions=(a_version("v1"), a_version("v2"), a_version("v3")),
    )
    spec = late.deployment.spec.model_copy(update={"version": wanted})
    decision = decided(replace(late, deployment=late.deployment.model_copy(update={"spec": spec})))
    assert decision.status.stable is not None
    assert decision.status.stable.version == "v1"
    assert (decision.status.rollout, decision.status.candidate) == (None, None)
    assert [entry.outcome for entry in decision.status.history] == []
    # The route first, then the pods that are in the way.
    assert [type(action) for action in decision.actions] == [Route, Remove, Size]
    assert decision.actions[0] == Route(GOOD.revision)
    before = decided(replace(late, now=LATE - seconds(1)))
    assert isinstance(phase_of(before.status), Returning)


@pytest.mark.parametrize(("ready_for", "waits"), [(10.0, 20.0), (30.0, None)])
def test_a_late_way_back_waits_a_little_for_pods_that_start(
    ready_for: float, waits: float | None
) -> None:
    first = a_pod("v1", 0, ready_seconds=ready_for)
    starting = a_pod("v1", 1, ready=False, was_ready=False, startable_seconds=400.0)
    size = replace(a_workload("v1", 3), ready=1)
    late = late_return(pods=(first, starting), workloads=(size, a_workload("v2", 3)))
    decision = decided(late)
    assert isinstance(phase_of(decision.status), Returning) is (waits is not None)
    if waits is not None:
        assert decision.wake_at == late.now + seconds(waits)


def test_what_else_is_wanted_is_tried_while_a_way_back_finds_no_place() -> None:
    late = late_return(versions=(a_version("v1"), a_version("v2"), a_version("v3")))
    spec = late.deployment.spec.model_copy(update={"version": "v3"})
    late = replace(late, deployment=late.deployment.model_copy(update={"spec": spec}))
    decision = decided(late)
    assert isinstance(phase_of(decision.status), Starting)
    assert decision.status.candidate is not None
    assert decision.status.candidate.version == "v3"
    degraded = next(c for c in decision.status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "ReturnDelayed")
    # It did not come to anything: the way back goes on.
    waiting = BackOff(revision=revision("v3"), not_before=LATE + seconds(999))
    changes = {"rollout": None, "back_off": waiting}
    status = decision.status.model_copy(update=changes)
    deployment = late.deployment.model_copy(update={"status": status})
    again = decided(replace(late, deployment=deployment))
    phase = phase_of(again.status)
    assert isinstance(phase, Returning)
    assert (phase.candidate.version, phase.started) == ("v1", late.now)
    assert again.status.guard is None
    assert [entry.outcome for entry in again.status.history] == ["Superseded"]


def test_a_policy_does_not_ask_again_for_a_way_back_that_was_given_up() -> None:
    phase = Returning(candidate=GOOD, started=NOW)
    status = a_status(phase, stable="v2", last_good=GOOD, rejected=[a_rejection("v2")])
    asked = Request("rollback", "drift: accuracy fell")
    snapshot = a_snapshot(
        a_deployment("v2", status=status),
        now=LATE,
        pods=(*pods("v2", 3), a_pod("v1", ready=False, was_ready=False)),
        requested=asked,
    )
    for _ in range(3):
        decision = decided(snapshot)
        assert phase_of(decision.status) is None
        deployment = a_deployment("v2", status=decision.status)
        snapshot = replace(snapshot, deployment=deployment, now=snapshot.now + seconds(60))
    assert [entry.outcome for entry in decision.status.history] == ["Undecided"]


def test_a_way_back_with_nothing_to_leave_ends_too() -> None:
    """As where somebody took the stable version out of the status."""
    status = a_status(Returning(candidate=GOOD, started=NOW), stable=None)
    decision = decided(a_snapshot(a_deployment("v2", status=status), now=LATE))
    assert phase_of(decision.status) is None
    assert decision.status.candidate is None
    assert last(decision)[:2] == ("v1", "Undecided")


# --- what a pause holds ---------------------------------------------------------------------------

HELD = {
    "while_it_starts": Starting(
        candidate=TWO, started=NOW, pause=paused_by_person(Instant(NOW), "ann")
    ),
    "while_it_grows": Promoting(
        candidate=TWO, started=NOW, pause=paused_by_person(Instant(NOW), "ann")
    ),
}


@pytest.mark.parametrize("phase", HELD.values(), ids=HELD.keys())
def test_a_pause_holds_the_rollout_where_it_is(phase: Phase) -> None:
    decision = decided(in_phase(phase, pods=pods("v2", 3)))
    after = phase_of(decision.status)
    assert (type(after), after and after.pause) == (type(phase), phase.pause)
    assert told(decision) == []


# --- crashes that are forgiven --------------------------------------------------------------------

ONCE: dict[str, Any] = {"crashed": True, "restarts": 1, "message": "exit code 3"}
FORGIVEN: dict[str, tuple[str | None, Phase, PodView]] = {
    "ready_again_in_the_first_step": ("v1", a_stepping(), a_pod("v2", **ONCE)),
    "the_first_version": (
        None, Promoting(candidate=TWO, started=NOW), a_pod("v2", ready=False, **ONCE),
    ),
    "rolling": (
        "v1", Promoting(candidate=TWO, started=NOW), a_pod("v2", ready=False, **ONCE),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("stable", "phase", "pod"), FORGIVEN.values(), ids=FORGIVEN.keys())
def test_one_crash_while_it_starts_is_forgiven_for_good(
    stable: str | None, phase: Phase, pod: PodView
) -> None:
    assert phase_of(decided(in_phase(phase, stable=stable, pods=(pod,))).status) is not None
    again = replace(pod, restarts=2, ready=False)
    assert phase_of(decided(in_phase(phase, stable=stable, pods=(again,))).status) is None


GROWING = Promoting(candidate=TWO, started=NOW, progress=Progress(a_step(0.5, index=1)))
WHILE_STARTING: dict[str, Phase] = {
    "in_the_first_step": a_stepping(),
    "grown_in_a_later_step": a_stepping(a_step(0.5, index=1)),
    "on_the_way_to_full_size": GROWING,
}


@pytest.mark.parametrize("phase", WHILE_STARTING.values(), ids=WHILE_STARTING.keys())
def test_one_crash_of_a_pod_before_it_serves_is_forgiven_at_every_stage(phase: Phase) -> None:
    """Whether it is Ready in this very moment changes nothing: it may be late, or away again."""
    once = a_pod("v2", 2, ready=False, was_ready=False, ended_starting=True, **ONCE)
    for pod in (once, replace(once, ready=True), replace(once, was_ready=True)):
        after = phase_of(decided(in_phase(phase, pods=(*pods("v2", 1), pod))).status)
        assert type(after) is type(phase)
    for pod in (
        replace(once, restarts=2, ended_starting=False),
        replace(once, ended_starting=False),
    ):
        assert phase_of(decided(in_phase(phase, pods=(*pods("v2", 1), pod))).status) is None


COMING = pods("v1", 3, ready=False, was_ready=False)
BEGINS: dict[str, tuple[tuple[PodView, ...], float, bool]] = {
    "it_starts": (COMING, 0.0, False),
    "its_pods_are_still_to_be_made": ((), 0.0, False),
    "one_is_ready": ((a_pod("v1"), *COMING[1:]), 0.0, False),
    "two_are_ready": ((*pods("v1", 2), *COMING[2:]), 0.0, True),
    "it_crashes": (pods("v1", 3, ready=False, crashed=True, restarts=4), 0.0, True),
    "it_has_no_place": (pods("v1", 3, ready=False, was_ready=False, unschedulable=True), 0.0, True),
    "it_was_ready": (pods("v1", 3, ready=False), 0.0, True),
    "it_never_comes": (COMING, 7.5, True),
}


@pytest.mark.parametrize(("stable", "minutes", "begins"), BEGINS.values(), ids=BEGINS.keys())
def test_no_step_begins_while_most_of_stable_is_still_to_come(
    stable: tuple[PodView, ...], minutes: float, begins: bool
) -> None:
    snapshot = in_phase(STARTING, now=NOW + timedelta(minutes=minutes))
    decision = decided(replace(snapshot, pods=(*pods("v2", 3), *stable)))
    assert isinstance(phase_of(decision.status), Stepping) is begins


def test_a_canary_made_rolling_in_a_step_without_traffic_goes_on() -> None:
    decision = decided(in_phase(a_stepping(), rollout={"strategy": "rolling"}))
    assert isinstance(phase_of(decision.status), Promoting)


# --- the deadline ---------------------------------------------------------------------------------


def at_deadline(phase: Phase, **fields: Any) -> Decision:
    return decided(in_phase(phase, now=LATE, **fields))


NEVER_READY = "0 of the candidate's pods Ready by the deadline: readiness probe failed"
TOO_FEW = "too few requests or steps longer than the deadline"
PAUSED = paused_by_person(Instant(NOW), "ann")


LED = replace(STARTING, started_led=100.0)


def test_a_deadline_counts_only_time_in_which_an_operator_led() -> None:
    away = at_deadline(LED, pods=(SLOW_POD,), led=160.0)
    assert away.status.rollout is not None
    assert away.wake_at is not None
    assert away.wake_at <= LATE + timedelta(minutes=14)
    led = at_deadline(LED, pods=(SLOW_POD,), led=1000.0)
    assert led.status.rejected[0].reason == "NeverReady"


def test_a_clock_that_is_set_back_puts_no_deadline_off() -> None:
    back = NOW - timedelta(minutes=10)
    decision = decided(in_phase(LED, now=back, pods=(SLOW_POD,), led=1000.0))
    assert decision.status.rejected[0].reason == "NeverReady"


def test_a_clock_that_goes_forward_by_a_day_ends_no_rollout() -> None:
    days = NOW + timedelta(days=1, minutes=1)
    decision = decided(in_phase(LED, now=days, pods=(SLOW_POD,), led=160.0))
    assert decision.status.rollout is not None


def test_a_way_back_has_the_time_that_an_operator_led() -> None:
    back = Returning(candidate=TWO, started=NOW, started_led=100.0)
    assert at_deadline(back, led=160.0).status.rollout is not None
    assert at_deadline(back, pods=(SLOW_POD,), led=1000.0).status.rollout is None


QUOTA = "a pod is forbidden: exceeded quota: pods"
REFUSED = WorkloadView(TWO.workload, "u", TWO.revision, 1, ready=0, failure=QUOTA)
NO_PODS = (
    f"the cluster makes no pods for {TWO.workload}: {QUOTA}; raise the quota or mend what refuses "
    "them"
)
NOT_ITS_FAULT = {
    "no_pod_is_made": ({"pods": (), "workloads": (REFUSED,)}, f"ReplicaFailure: {NO_PODS}"),
    "only_some_are": (
        {"pods": (a_pod(ready=False, was_ready=False),), "workloads": (REFUSED,)},
        f"ReplicaFailure: {NO_PODS}",
    ),
    "the_store_does_not_give_the_artifact": (
        {
            "pods": (
                a_pod(ready=False, was_ready=False, ended_unloaded=True, message="NotInStore: m"),
            )
        },
        "StoreAway: a pod cannot load its artifact: NotInStore: m",
    ),
    "none_has_begun": (
        {"pods": (a_pod(ready=False, was_ready=False, unbegun="look at its volume"),)},
        "NotEnoughReady: 0 of the candidate's pods Ready by the deadline; pod digits-v2-0: look at "
        "its volume",
    ),
    "nobody_says_why_there_is_none": (
        {"pods": ()},
        "NotEnoughReady: 0 of the candidate's pods Ready by the deadline; none of them was there "
        "for half of it",
    ),
}


@pytest.mark.parametrize(("fields", "message"), NOT_ITS_FAULT.values(), ids=NOT_ITS_FAULT.keys())
@pytest.mark.parametrize("stable", ["v1", None])
def test_a_version_of_which_no_pod_had_time_is_not_blamed(
    fields: dict[str, Any], message: str, stable: str | None
) -> None:
    decision = at_deadline(STARTING, stable=stable, **fields)
    assert decision.status.rejected == []
    assert decision.status.history[-1].message == message
    assert decision.status.back_off is not None


def test_that_pods_cannot_load_their_artifact_is_said_at_once() -> None:
    pod = a_pod(ready=False, was_ready=False, ended_unloaded=True, message="NotInStore: m")
    decision = decided(in_phase(STARTING, pods=(pod,)))
    (progressing,) = [c for c in decision.status.conditions if c.type == "Progressing"]
    assert progressing.reason == "StoreAway"
    assert progressing.message == "a pod cannot load its artifact: NotInStore: m"


def test_that_no_pods_are_made_is_said_at_once() -> None:
    decision = decided(in_phase(STARTING, workloads=(REFUSED,)))
    (progressing,) = [c for c in decision.status.conditions if c.type == "Progressing"]
    assert (progressing.reason, progressing.message) == ("ReplicaFailure", NO_PODS)
    stable = a_tried("v1")
    workload = WorkloadView(stable.workload, "u", stable.revision, 3, ready=2, failure=QUOTA)
    short = replace(in_phase(None, now=LATE, workloads=(workload,)), pods=pods("v1", 2))
    resting = decided(short)
    (degraded,) = [c for c in resting.status.conditions if c.type == "Degraded"]
    assert (degraded.status, degraded.reason) == ("True", "ReplicaFailure")
    assert degraded.message.startswith("2/3 pods of v1 are Ready: the cluster makes no pods for")


@pytest.mark.parametrize("stable", ["v1", None])
@pytest.mark.parametrize("age", [20.0, 450.0])
def test_pods_that_were_made_late_have_a_deadline_of_their_own(
    stable: str | None, age: float
) -> None:
    made_late = (a_pod(ready=False, was_ready=False, startable_seconds=age),)
    decision = at_deadline(STARTING, stable=stable, pods=made_late)
    assert isinstance(phase_of(decision.status), Starting | Promoting)
    assert decision.wake_at is not None
    assert decision.wake_at <= LATE + seconds(900 - age)
    old = (a_pod(ready=False, was_ready=False, startable_seconds=900.0),)
    then = decided(in_phase(STARTING, stable=stable, now=LATE + seconds(900 - age), pods=old))
    assert then.status.rejected[0].reason == "NeverReady"


def test_pods_that_have_begun_are_waited_for_whatever_others_wait_for() -> None:
    stuck = a_pod("v2", 0, ready=False, was_ready=False, unbegun="no volume")
    young = a_pod("v2", 1, ready=False, was_ready=False, startable_seconds=20.0)
    decision = at_deadline(STARTING, pods=(stuck, young))
    assert isinstance(phase_of(decision.status), Starting)
    assert decision.wake_at is not None
    assert decision.wake_at <= LATE + seconds(880)
    # What one shows that had its time counts, though another never began.
    old = replace(young, startable_seconds=900.0)
    assert at_deadline(STARTING, pods=(stuck, old)).status.rejected[0].reason == "NeverReady"


def test_a_way_back_says_why_no_pod_has_begun() -> None:
    decision = decided(late_return(**NO_PLACE["never_began"]))
    degraded = next(c for c in decision.status.conditions if c.type == "Degraded")
    assert "0:15:00: pod digits-v1-0: no volume; v2 serves" in degraded.message


def test_a_crash_that_was_forgiven_takes_no_time_of_a_pod_that_was_made_late() -> None:
    again = a_pod(
        ready=False,
        was_ready=False,
        startable_seconds=20.0,
        crashed=True,
        restarts=1,
        ended_starting=True,
    )
    assert isinstance(phase_of(at_deadline(STARTING, pods=(again,)).status), Starting)


def test_a_rollout_whose_pods_were_made_late_begins_with_them() -> None:
    came = pods("v2", 3, startable_seconds=30.0)
    steps = {"steps": [{"weight": "50%", "for": "1m"}], "onDeadline": "rollback"}
    late = LATE + seconds(20)
    decision = decided(in_phase(STARTING, now=late, pods=came, rollout=steps))
    assert decision.status.rejected == []
    rollout = decision.status.rollout
    assert rollout is not None
    assert (rollout.phase, rollout.started) == ("Stepping", late - seconds(30))


def test_no_pod_is_older_than_its_rollout() -> None:
    """What a new process reads of its age is of a clock that is ahead."""
    began = Starting(candidate=TWO, started=NOW, started_led=0.0)
    old = a_pod(ready=False, was_ready=False, startable_seconds=90_000.0)
    decision = decided(in_phase(began, now=NOW + timedelta(days=1), pods=(old,), led=30.0))
    assert decision.status.rejected == []


@pytest.mark.parametrize(("startable", "is_given_up"), [(20.0, False), (899.0, True)])
def test_a_way_back_is_not_given_up_while_its_pods_have_time(
    startable: float, is_given_up: bool
) -> None:
    pod = a_pod("v1", ready=False, was_ready=False, startable_seconds=startable)
    decision = decided(late_return(pods=(pod,)))
    assert (phase_of(decision.status) is None) is is_given_up
    if not is_given_up:
        assert decision.wake_at is not None
        assert decision.wake_at <= LATE + seconds(60 + 900 - startable)


def test_pods_that_are_made_again_and_again_are_given_one_deadline_more() -> None:
    young = (a_pod(ready=False, was_ready=False, startable_seconds=20.0),)
    decision = decided(in_phase(STARTING, now=LATE + seconds(900), pods=young))
    assert decision.status.rejected == []
    assert decision.status.history[-1].message == (
        "NotEnoughReady: 0 of the candidate's pods Ready by the deadline; none of them was there "
        "for half of it"
    )


def test_pods_that_never_become_ready_are_the_version_s_fault() -> None:
    pod = a_pod(ready=False, was_ready=False, message="readiness probe failed")
    decision = at_deadline(STARTING, pods=(pod,))
    assert told(decision)[0][1] == f"v2 rolled back, v1 serves: {NEVER_READY}"
    assert decision.status.rejected[0].reason == "NeverReady"


SLOW_POD = a_pod("v2", 2, ready=False, was_ready=False, message="ContainerCreating: volume")
UNSEEN = (a_process("v2", problem=Reason.BACKEND_DOWN), a_process("v1"))
SOME = "2 of the candidate's pods Ready by the deadline: ContainerCreating: volume"
UNDECIDED: dict[str, tuple[Phase, dict[str, Any], str]] = {
    "a_late_pod_after_every_gate": (
        GROWING,
        {"pods": (*pods("v2", 2), SLOW_POD)},
        f"NotEnoughReady: {SOME}",
    ),
    "a_late_pod_before_the_first_step": (
        STARTING,
        {"pods": (*pods("v2", 2), SLOW_POD), "rollout": {"steps": [{"weight": "50%"}]}},
        f"NotEnoughReady: {SOME}",
    ),
    "a_late_pod_of_a_rolling_one": (
        Promoting(candidate=TWO, started=NOW),
        {"pods": (*pods("v2", 2), SLOW_POD), "rollout": {"strategy": "rolling"}},
        f"NotEnoughReady: {SOME}",
    ),
    "a_late_pod_after_a_person_promoted": (
        replace(GROWING, promoted_by="ann"),
        {"pods": (*pods("v2", 2), SLOW_POD)},
        f"NotEnoughReady: {SOME}",
    ),
    "all_gone_after_every_gate": (
        GROWING,
        {"pods": (SLOW_POD,)},
        f"NotEnoughReady: {SOME.replace('2', '0', 1)}",
    ),
    "no_room": (
        STARTING,
        {"pods": (a_pod(ready=False, unschedulable=True, message="0/3 nodes"),)},
        "Unschedulable: pod digits-v2-0: 0/3 nodes",
    ),
    "no_image": (
        STARTING,
        {"pods": (a_pod(ready=False, image_missing=True, message="not found"),)},
        "ImagePullFailed: pod digits-v2-0: not found",
    ),
    "too_coarse": (
        STARTING,
        {"rollout": {"steps": [{"weight": "1%"}]}, "replicas": 1},
        "ShareTooLarge: one pod is more than the wanted share",
    ),
    "no_traffic": (
        a_stepping(),
        {"processes": (a_process("v2"), a_process("v1"))},
        "DeadlinePassed: gate errors: NoTraffic",
    ),
    "nobody_sees_it_at_full_size": (
        GROWING,
        {"pods": pods("v2", 3), "processes": UNSEEN},
        "DeadlinePassed: gate errors: BackendDown",
    ),
    "too_few_for_the_last_step": (
        a_stepping(),
        {"rollout": {"gates": [], "minSamples": 50, "steps": [{"weight": "25%"}]}},
        "DeadlinePassed: WaitingForSamples: 0 of 50 requests (rollout.minSamples)",
    ),
    "too_few_requests": (
        a_stepping(),
        {"rollout": {"gates": []}},
        f"DeadlinePassed: {TOO_FEW}",
    ),
}


@pytest.mark.parametrize(("phase", "fields", "why"), UNDECIDED.values(), ids=UNDECIDED.keys())
def test_what_nobody_could_judge_is_undecided(
    phase: Phase, fields: dict[str, Any], why: str
) -> None:
    snapshot = in_phase(phase, now=LATE, **{k: v for k, v in fields.items() if k != "replicas"})
    if "replicas" in fields:
        snapshot = with_replicas(snapshot, fields["replicas"])
    decision = decided(snapshot)
    message = f"v2: {why}. Its weight is 0; tried again in 0:01:00"
    assert told(decision) == [("Undecided", message, True)]
    assert last(decision) == ("v2", "Undecided", why, "trimtab")
    assert decision.status.rejected == []
    assert decision.status.candidate is not None
    assert decision.status.candidate.desired == 1
    waiting = decision.status.back_off
    assert waiting == BackOff(
        revision=TWO.revision, attempts=1, not_before=LATE + timedelta(minutes=1)
    )


def with_replicas(snapshot: Snapshot, replicas: int) -> Snapshot:
    spec = snapshot.deployment.spec.model_copy(update={"replicas": replicas})
    deployment: Deployment = snapshot.deployment.model_copy(update={"spec": spec})
    return a_snapshot(deployment, now=snapshot.now, pods=snapshot.pods)


def test_nobody_is_promoted_while_nobody_sees_it() -> None:
    """All steps were passed, and metrics fell silent before it was at full size."""
    growing = in_phase(GROWING, pods=pods("v2", 3), processes=UNSEEN)
    silent = decided(growing)
    assert phase_of(silent.status) is not None
    assert silent.status.stable is not None
    assert silent.status.stable.version == "v1"
    (progressing,) = [c for c in silent.status.conditions if c.type == "Progressing"]
    assert progressing.message == "gate errors: BackendDown"
    ignored = {"gates": [{**ERRORS_GATE, "onNoData": "ignore"}]}
    careless = decided(in_phase(GROWING, pods=pods("v2", 3), processes=UNSEEN, rollout=ignored))
    assert careless.status.stable is not None
    assert careless.status.stable.version == "v2"


def test_a_first_version_serves_with_the_pods_that_came_in_time() -> None:
    phase = Promoting(candidate=TWO, started=NOW)
    decision = at_deadline(phase, stable=None, pods=(*pods("v2", 2), SLOW_POD))
    message = f"v2 serves as the first version; {SOME}"
    assert told(decision) == [("Promoted", message, False)]
    assert decision.status.stable is not None
    assert (decision.status.stable.version, decision.status.stable.desired) == ("v2", 3)
    assert decision.status.rejected == []
    alone = at_deadline(phase, stable=None, pods=(SLOW_POD,))
    assert alone.status.rejected[0].reason == "NeverReady"


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (20, 60)]
)
def test_back_off_doubles_up_to_an_hour(attempts: int, minutes: int) -> None:
    before = BackOff(revision=TWO.revision, attempts=attempts, not_before=NOW)
    rollout: dict[str, Any] = {"gates": []}
    decision = at_deadline(a_stepping(), rollout=rollout, status={"back_off": before})
    assert decision.status.back_off is not None
    assert decision.status.back_off.attempts == attempts + 1
    assert decision.status.back_off.not_before == LATE + timedelta(minutes=minutes)


def test_on_deadline_rollback_and_promote_do_as_they_say() -> None:
    rollout = {"gates": [], "onDeadline": "rollback"}
    decision = at_deadline(a_stepping(), rollout=rollout)
    assert decision.status.rejected[0].reason == "DeadlinePassed"
    assert last(decision) == ("v2", "RolledBack", TOO_FEW, "trimtab")
    decision = at_deadline(a_stepping(), rollout={"gates": [], "onDeadline": "promote"})
    phase = phase_of(decision.status)
    assert isinstance(phase, Promoting)
    assert (phase.promoted_by, phase.started) == ("onDeadline", LATE)
    assert decision.wake_at is not None
    assert decision.wake_at <= deadline_of(a_deployment().spec, phase, Instant(NOW))


PROMOTED_LATE = Promoting(
    candidate=TWO, started=NOW, progress=Progress(a_step()), promoted_by="onDeadline"
)


def test_a_promotion_at_the_deadline_is_nobodys_but_ours() -> None:
    ended = [an_end(name, at=NOW - seconds(60)) for name in ("v3", "v4")]
    decision = decided(in_phase(PROMOTED_LATE, pods=pods("v2", 3), status={"history": ended}))
    entry = decision.status.history[-1]
    assert (entry.outcome, entry.by, entry.automatic) == ("Promoted", "trimtab", True)
    assert "onDeadline" in entry.message
    # It starts no count of rollbacks anew, as a person's does.
    assert is_flapping([*decision.status.history, an_end("v2")], NOW)


def test_who_was_promoted_at_the_deadline_is_judged_on() -> None:
    processes = (a_process("v2", 100.0, 100.0, born=NOW), a_process("v1", 300.0, born=NOW))
    for growing, expected in (
        (PROMOTED_LATE, "RolledBack"),
        (replace(PROMOTED_LATE, promoted_by="ann"), ""),
    ):
        decision = decided(in_phase(growing, pods=pods("v2", 1), processes=processes))
        outcomes = [entry.outcome for entry in decision.status.history]
        assert outcomes == ([expected] if expected else [])


def test_who_was_promoted_at_the_deadline_is_not_condemned_for_want_of_data() -> None:
    strict = {"gates": [{**ERRORS_GATE, "onNoData": "fail", "failAfter": "10s"}]}
    blind = Progress(a_step(), no_data_since=NOW - seconds(60))
    growing = replace(PROMOTED_LATE, progress=blind)
    stale = (
        a_process("v2", problem=Reason.BACKEND_DOWN),
        a_process("v1", problem=Reason.BACKEND_DOWN),
    )
    decision = decided(in_phase(growing, rollout=strict, processes=stale))
    assert isinstance(phase_of(decision.status), Promoting)
    by_itself = replace(growing, promoted_by=None)
    decision = decided(in_phase(by_itself, rollout=strict, processes=stale))
    assert phase_of(decision.status) is None


def test_a_promotion_at_the_deadline_leaves_what_was_counted() -> None:
    rollout = {"gates": [], "onDeadline": "promote"}
    phase = phase_of(at_deadline(a_stepping(), rollout=rollout).status)
    assert isinstance(phase, Promoting)
    assert phase.progress is not None
    assert counted_from(phase, phase.progress) == NOW


def test_the_deadline_stands_still_while_paused_and_moves_by_earlier_pauses() -> None:
    for phase in (a_stepping(pause=PAUSED), a_stepping(paused_seconds=1.0)):
        decision = at_deadline(phase, rollout={"gates": []})
        assert isinstance(phase_of(decision.status), Stepping)


# --- back to the last good ------------------------------------------------------------------------


def guarded(**status: Any) -> DeploymentStatus:
    return a_status(stable="v2", **{"last_good": GOOD, "guard": a_guard("v2"), **status})


def asked_back(status: DeploymentStatus) -> Decision:
    deployment = a_deployment("v2", status=status)
    request = Request("rollback", "drift: accuracy fell")
    return decided(a_snapshot(deployment, requested=request, pods=pods("v2", 3)))


def test_a_policy_sends_a_guarded_version_back() -> None:
    decision = asked_back(guarded())
    message = "v2 rolled back after promotion, returning to v1: drift: accuracy fell"
    assert told(decision)[0] == ("RolledBack", message, True)
    phase = phase_of(decision.status)
    assert isinstance(phase, Returning)
    assert phase.candidate.revision == GOOD.revision
    assert decision.status.rejected[0].revision == revision("v2")
    assert decision.status.guard is None


STAYING = {
    "no_guard_any_more": guarded(guard=None),
    "nothing_good_is_known": guarded(last_good=None),
    "it_is_its_own_last_good": guarded(last_good=a_tried("v2")),
    "the_last_good_is_quarantined": guarded(rejected=[a_rejection("v1")]),
    "flapping": guarded(history=[an_end("v3"), an_end("v4"), an_end("v5")]),
}


@pytest.mark.parametrize("status", STAYING.values(), ids=STAYING.keys())
def test_when_a_policy_cannot_send_it_back(status: DeploymentStatus) -> None:
    decision = asked_back(status)
    assert decision.status.stable is not None
    assert decision.status.stable.version == "v2"
    assert phase_of(decision.status) is None


def test_the_last_good_is_stable_once_all_its_pods_are_ready() -> None:
    phase = Returning(candidate=GOOD, started=NOW)
    for count, is_back in ((2, False), (3, True)):
        status = a_status(phase, stable="v2", last_good=GOOD, rejected=[a_rejection("v2")])
        both = (*pods("v1", count), *pods("v2", 3))
        decision = decided(a_snapshot(a_deployment("v2", status=status), pods=both))
        assert decision.status.stable is not None
        assert (decision.status.stable.version == "v1") is is_back
        assert (decision.status.rollout is None) is is_back


FLAPPING = {
    "three_within_an_hour": (["RolledBack"] * 3, 59, True),
    "two": (["RolledBack"] * 2, 0, False),
    "long_ago": (["RolledBack"] * 3, 61, False),
    "others_do_not_count": (["RolledBack", "Undecided", "Superseded", "RolledBack"], 0, False),
    "a_person_starts_the_count_anew": (
        ["RolledBack", "RolledBack", "Aborted", "RolledBack"],
        0,
        False,
    ),
}


@pytest.mark.parametrize(
    ("outcomes", "minutes", "expected"), FLAPPING.values(), ids=FLAPPING.keys()
)
def test_three_rollbacks_within_an_hour_stop_everything(
    outcomes: list[str], minutes: int, expected: bool
) -> None:
    history = [an_end(outcome=outcome, automatic=outcome != "Aborted") for outcome in outcomes]
    assert is_flapping(history, NOW + timedelta(minutes=minutes)) is expected


def test_rollbacks_are_counted_whatever_else_ends_in_between() -> None:
    history = [an_end("v3"), an_end("v4"), an_end("v5")]
    for number in range(15):
        three = a_stepping(candidate=a_tried(f"v{10 + number}"))
        history = decided(in_phase(three, status={"history": history})).status.history
        assert len(history) <= 10
        assert history[-1].outcome == "Superseded"
    assert is_flapping(history, NOW)
    decision = decided(in_phase(None, status={"history": history}))
    assert phase_of(decision.status) is None


def test_what_a_person_ended_the_count_with_is_not_undone_by_what_is_forgotten() -> None:
    history = [an_end("v3"), an_end("v4"), an_end("v5"), an_end("v5", "Aborted", automatic=False)]
    for number in range(15):
        three = a_stepping(candidate=a_tried(f"v{10 + number}"))
        history = decided(in_phase(three, status={"history": history})).status.history
        assert not is_flapping(history, NOW)
    assert [entry.outcome for entry in history] == ["Superseded"] * 10


def test_rollbacks_of_long_ago_make_room() -> None:
    history = [an_end("v3", at=NOW - timedelta(minutes=61)) for _ in range(10)]
    decision = decided(in_phase(a_stepping(candidate=a_tried("v3")), status={"history": history}))
    assert len(decision.status.history) == 10
    assert decision.status.history[-1].outcome == "Superseded"
