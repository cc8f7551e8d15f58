"""A step: when it begins, when its clock runs, what happens while the gates cannot see."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_process,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    pods,
    revision,
    seconds,
)

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import DeploymentStatus, GateStatus, Origin
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.rollout.children import ChildAction
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.judgement import Trial
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import (
    Phase,
    Progress,
    Promoting,
    Starting,
    Stepping,
    paused_by_person,
    paused_by_step,
    phase_of,
)
from trimtab.decide.rollout.snapshot import Memory, Snapshot, StepMemory
from trimtab.decide.rollout.steps import (
    begin_step,
    follow_data,
    is_waiting_for_share,
    start_clock,
    why_step_goes_on,
)
from trimtab.decide.rollout.traffic.replicas import Route

STARTING = Starting(candidate=a_tried("v2"), started=NOW)
STEPS = [{"weight": "25%", "for": "10s"}, {"pause": {}}, {"weight": "50%"}]


def in_phase(phase: Phase, **fields: Any) -> Snapshot:
    rollout = {"steps": STEPS, "gates": [ERRORS_GATE], **fields.pop("rollout", {})}
    deployment = a_deployment(status=a_status(phase), rollout=rollout)
    ready = fields.pop("pods", (*pods("v1", 3), *pods("v2", 1)))
    return a_snapshot(deployment, pods=ready, **fields)


def decided(snapshot: Snapshot) -> Outcome[DeploymentStatus, ChildAction]:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def a_trial(progress: Progress | None = None, *, stable: str | None = "v1") -> Trial:
    return Trial(
        candidate=side_of(a_tried("v2")),
        stable=side_of(a_tried(stable)) if stable is not None else None,
        progress=progress or Progress(a_step()),
        began=NOW,
    )


def users(candidate: float, stable: float) -> Any:
    """Return the processes of both sides, born with the step."""
    return a_process("v2", candidate, born=NOW), a_process("v1", stable, born=NOW)


# --- begin ----------------------------------------------------------------------------------------


def test_the_first_step_begins_once_its_pods_are_ready() -> None:
    processes = users(7.0, 11.0)
    outcome = decided(in_phase(STARTING, processes=processes))
    phase = phase_of(outcome.status)
    assert isinstance(phase, Stepping)
    assert phase.progress.step == a_step(
        0.25,
        of=3,
        origins=[
            Origin(process="v1-0/1", values=dict(processes[1].counts)),
            Origin(process="v2-0/1", values=dict(processes[0].counts)),
        ],
    )
    assert [note.message for note in outcome.notes] == ["step 1/3: v2 gets 25% (1 of 4 pods)"]
    waiting = decided(in_phase(STARTING, pods=pods("v1", 3)))
    assert phase_of(waiting.status) is not None
    assert waiting.notes == ()


def test_a_pause_keeps_the_weight_and_says_how_to_go_on() -> None:
    step = a_step(0.25, of=3, first_request=NOW - seconds(10))
    outcome = decided(in_phase(a_stepping(step), processes=users(60.0, 180.0)))
    phase = phase_of(outcome.status)
    assert isinstance(phase, Stepping)
    assert (phase.progress.step.index, phase.progress.step.weight) == (1, 0.25)
    assert phase.progress.requests_before == 60.0
    assert phase.pause == paused_by_step(Instant(NOW))
    message = "step 2/3: v2 gets 25% (1 of 4 pods); paused until: trimtab resume"
    assert [note.message for note in outcome.notes] == [message]


def test_a_pause_in_front_has_no_weight_yet() -> None:
    snapshot = in_phase(STARTING, rollout={"steps": [{"pause": {}}, {"weight": "50%"}]})
    progress = begin_step(snapshot, 0, None, 0.0)
    assert progress.step.weight == 0.0
    assert begin_step(snapshot, 1, progress, 5.0).step.weight == 0.5


def test_a_pause_in_front_sends_the_candidate_no_requests() -> None:
    steps = {"steps": [{"pause": {}}, {"weight": "50%"}]}
    ready = (*pods("v1", 3), *pods("v2", 3))
    outcome = decided(in_phase(STARTING, rollout=steps, pods=ready))
    assert isinstance(phase_of(outcome.status), Stepping)
    message = "step 1/2: v2 gets no requests yet; paused until: trimtab resume"
    assert [note.message for note in outcome.notes] == [message]
    assert Route(revision("v1")) in outcome.actions


@pytest.mark.parametrize("no_data_since", [None, NOW - timedelta(minutes=9)])
def test_a_pause_in_front_ends_when_a_person_says_so(no_data_since: datetime | None) -> None:
    steps = {"steps": [{"pause": {}}, {"weight": "50%"}]}
    ready = (*pods("v1", 3), *pods("v2", 3))
    phase = a_stepping(progress=Progress(a_step(0.0), no_data_since=no_data_since))
    outcome = decided(in_phase(phase, rollout=steps, pods=ready))
    after = phase_of(outcome.status)
    assert isinstance(after, Stepping)
    assert (after.progress.step.index, after.progress.step.weight) == (1, 0.5)
    only = in_phase(phase, rollout={"steps": [{"pause": {}}]}, pods=ready)
    promoted = decided(only).status.stable
    assert promoted is not None
    assert promoted.version == "v2"


LAST = a_step(0.5, index=2, of=3, first_request=NOW)
ENOUGH: dict[str, tuple[float, float, bool]] = {
    "fifty_requests": (0.0, 50.0, True),
    "too_few": (0.0, 49.0, False),
    "with_those_of_earlier_steps": (40.0, 10.0, True),
}


@pytest.mark.parametrize(("before", "now", "goes_on"), ENOUGH.values(), ids=ENOUGH.keys())
def test_the_last_step_ends_with_enough_requests(before: float, now: float, goes_on: bool) -> None:
    phase = a_stepping(progress=Progress(LAST, requests_before=before))
    three = (*pods("v1", 3), *pods("v2", 2))
    outcome = decided(in_phase(phase, processes=users(now, now), pods=three))
    assert isinstance(phase_of(outcome.status), Promoting) is goes_on


def test_a_step_lasts_from_its_first_request() -> None:
    step = a_step(0.25, of=3, first_request=NOW - seconds(9))
    outcome = decided(in_phase(a_stepping(step), processes=users(60.0, 180.0)))
    phase = phase_of(outcome.status)
    assert isinstance(phase, Stepping)
    assert phase.progress.step.index == 0
    assert outcome.wake_at == NOW + seconds(1)


def test_steps_that_were_taken_out_of_the_spec_meanwhile_are_over() -> None:
    phase = a_stepping(progress=Progress(LAST, requests_before=50.0))
    shorter = {"steps": [{"weight": "25%", "for": "1h"}]}
    three = (*pods("v1", 3), *pods("v2", 2))
    outcome = decided(in_phase(phase, rollout=shorter, processes=users(9.0, 9.0), pods=three))
    assert isinstance(phase_of(outcome.status), Promoting)


@pytest.mark.parametrize("phase", ["stepping", "paused", "promoting"])
@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("left", range(1, 4))
def test_steps_can_be_taken_out_at_any_time(left: int, index: int, phase: str) -> None:
    step = a_step(0.25, index=index, of=4, first_request=NOW - seconds(60))
    progress = Progress(step, requests_before=50.0)
    before: Phase = Promoting(candidate=a_tried("v2"), started=NOW, progress=progress)
    if phase != "promoting":
        pause = paused_by_step(Instant(NOW)) if phase == "paused" else None
        before = a_stepping(progress=progress, pause=pause)
    rollout = {"steps": [{"weight": "25%", "for": "10s"}, {"pause": {}}, {"weight": "50%"}][:left]}
    outcome = decided(in_phase(before, rollout=rollout, processes=users(9.0, 27.0)))
    after = phase_of(outcome.status)
    match phase:
        case "stepping":
            goes_on = index + 1 < left
            assert isinstance(after, Stepping if goes_on else Promoting)
        case "paused":
            assert isinstance(after, Stepping)
            assert after.progress.step.index == index
        case "promoting":
            assert isinstance(after, Promoting)


def test_steps_that_were_put_in_meanwhile_are_taken_too() -> None:
    step = a_step(0.25, index=0, of=1, first_request=NOW - seconds(60))
    outcome = decided(in_phase(a_stepping(step), processes=users(90.0, 270.0)))
    after = phase_of(outcome.status)
    assert isinstance(after, Stepping)
    assert (after.progress.step.index, after.progress.step.of) == (1, 3)


def test_a_step_that_is_over_leaves_a_pause_by_a_person() -> None:
    by_ann = paused_by_person(Instant(NOW - seconds(5)), "ann")
    for steps in (STEPS, [{"weight": "25%"}]):
        step = a_step(0.25, of=3, first_request=NOW - seconds(60))
        phase = a_stepping(step, pause=by_ann)
        outcome = decided(in_phase(phase, rollout={"steps": steps}, processes=users(90.0, 270.0)))
        after = phase_of(outcome.status)
        assert isinstance(after, Stepping)
        assert (after.progress.step.index, after.pause) == (0, by_ann)


@pytest.mark.parametrize("promoted_by", [None, "onDeadline"])
@pytest.mark.parametrize("later", [0, 3600])
def test_who_grows_to_full_size_waits_for_a_person_too(later: float, promoted_by: str) -> None:
    by_ann = paused_by_person(Instant(NOW), "ann")
    phase = Promoting(candidate=a_tried("v2"), started=NOW, pause=by_ann, promoted_by=promoted_by)
    ready = (*pods("v1", 3), *pods("v2", 3))
    snapshot = replace(in_phase(phase, pods=ready), now=NOW + seconds(later))
    after = phase_of(decided(snapshot).status)
    assert isinstance(after, Promoting)
    assert after.pause == by_ann


def test_a_canary_that_was_made_rolling_meanwhile_goes_on_to_its_promotion() -> None:
    step = a_step(0.25, first_request=NOW)
    deployment = a_deployment(status=a_status(a_stepping(step)), rollout={"strategy": "rolling"})
    ready = (*pods("v1", 3), *pods("v2", 3))
    snapshot = a_snapshot(deployment, pods=ready, processes=users(90.0, 90.0))
    outcome = decided(snapshot)
    assert [note.reason.value for note in outcome.notes] == ["Promoted"]


# --- shares ---------------------------------------------------------------------------------------


COARSE = {
    "far_above": (STARTING, "v1", {"steps": [{"weight": "1%"}]}, True),
    "insisted_on": (STARTING, "v1", {"steps": [{"weight": "1%"}], "allowCoarse": True}, False),
    "near_enough": (STARTING, "v1", {"steps": [{"weight": "25%"}]}, False),
    "later_than_at_the_start": (a_stepping(), "v1", {"steps": [{"weight": "1%"}]}, False),
    "the_first_version": (STARTING, None, {"steps": [{"weight": "1%"}]}, False),
    "rolling": (STARTING, "v1", {"strategy": "rolling"}, False),
    "at_rest": (None, "v1", {"steps": [{"weight": "1%"}]}, False),
}


@pytest.mark.parametrize(
    ("phase", "stable", "rollout", "waits"), COARSE.values(), ids=COARSE.keys()
)
def test_a_share_far_too_large_keeps_the_candidate_out(
    phase: Phase | None, stable: str | None, rollout: Any, waits: bool
) -> None:
    spec = a_deployment(replicas=1, rollout=rollout).spec
    assert is_waiting_for_share(spec, a_status(phase, stable=stable), phase) is waits


MEASURED = {
    "as_wanted": (25.0, 75.0, False),
    "a_third_of_it": (9.0, 91.0, False),
    "below_a_third": (8.0, 92.0, True),
    "none_at_all": (0.0, 100.0, True),
    "too_few_to_tell": (0.0, 99.0, False),
}


@pytest.mark.parametrize(("own", "others", "missed"), MEASURED.values(), ids=MEASURED.keys())
def test_a_share_that_is_not_reached(own: float, others: float, missed: bool) -> None:
    rollout = {"minSamples": 0}
    snapshot = in_phase(a_stepping(), processes=users(own, others), rollout=rollout)
    told = why_step_goes_on(snapshot, a_trial(), ())
    figures = f"the candidate got {own:.1f}% of 100 requests, and 25% are wanted"
    assert told == (("ShareNotReached", figures) if missed else None)
    assert why_step_goes_on(snapshot, a_trial(stable=None), ()) is None


def test_too_few_requests_hold_the_last_step_alone() -> None:
    rollout = {"minSamples": 50, "steps": [{"weight": "25%"}, {"weight": "50%"}]}
    snapshot = in_phase(a_stepping(), processes=users(20.0, 60.0), rollout=rollout)
    last = Progress(a_step(index=1, of=2), requests_before=10.0)
    assert why_step_goes_on(snapshot, a_trial(last), ()) == (
        "WaitingForSamples", "30 of 50 requests (rollout.minSamples)",
    )  # fmt: skip
    first = Progress(a_step(index=0, of=2))
    assert why_step_goes_on(snapshot, a_trial(first), ()) is None


@pytest.mark.parametrize("reason", ["PodsDiffer", "PartlySeen"])
def test_a_gate_that_could_not_judge_holds_its_step(reason: str) -> None:
    snapshot = in_phase(a_stepping(), processes=users(25.0, 75.0), rollout={"minSamples": 0})
    gate = GateStatus(name="errors", verdict="Pass", reason=reason, message="figures")
    assert why_step_goes_on(snapshot, a_trial(), [gate]) == (reason, "gate errors: figures")
    judged = gate.model_copy(update={"reason": "Stable"})
    assert why_step_goes_on(snapshot, a_trial(), [judged]) is None
    ignored = {"minSamples": 0, "gates": [{**ERRORS_GATE, "onNoData": "ignore"}]}
    snapshot = in_phase(a_stepping(), processes=users(25.0, 75.0), rollout=ignored)
    assert why_step_goes_on(snapshot, a_trial(), [gate]) is None


# --- the clock ------------------------------------------------------------------------------------


def test_the_clock_starts_with_the_first_request_of_the_full_share() -> None:
    none_yet = in_phase(a_stepping(), processes=users(0.0, 9.0))
    not_all_ready = in_phase(a_stepping(), processes=users(1.0, 9.0), pods=pods("v1", 3))
    for snapshot in (none_yet, not_all_ready):
        assert start_clock(snapshot, a_trial(), Memory()) == (Progress(a_step()), Memory())
    progress, memory = start_clock(
        in_phase(a_stepping(), processes=users(1.0, 9.0)), a_trial(), Memory()
    )
    assert progress.step.first_request == NOW
    assert memory == Memory(step=StepMemory(0, NOW, first_request=NOW))


def test_the_first_request_is_remembered_until_it_is_written() -> None:
    earlier = NOW - seconds(7)
    quiet = in_phase(a_stepping(), processes=users(0.0, 0.0))
    memory = Memory(step=StepMemory(0, NOW, first_request=earlier))
    progress, kept = start_clock(quiet, a_trial(), memory)
    assert (progress.step.first_request, kept) == (earlier, memory)
    other = Memory(step=StepMemory(1, NOW, first_request=earlier))
    progress, kept = start_clock(quiet, a_trial(), other)
    assert (progress.step.first_request, kept) == (None, other)


@pytest.mark.parametrize("is_written", [True, False])
def test_a_clock_that_is_set_back_makes_no_step_longer(is_written: bool) -> None:
    ahead = NOW + timedelta(minutes=10)
    step = a_step(0.5, first_request=ahead if is_written else None)
    memory = Memory(step=StepMemory(step.index, step.started, first_request=ahead))
    snapshot = a_snapshot(processes=users(1, 1), pods=pods("v2", 3))
    progress, memory = start_clock(snapshot, a_trial(Progress(step)), memory)
    assert progress.step.first_request == NOW
    assert memory.step is not None
    assert memory.step.first_request == NOW


def test_a_clock_that_is_set_back_lets_data_be_missing_no_longer() -> None:
    held = Progress(a_step(0.5), no_data_since=NOW + timedelta(minutes=10))
    progress, note, wake = follow_data(held, BLIND, [], NOW)
    assert (progress.no_data_since, note) == (NOW, None)
    assert wake is not None
    assert follow_data(progress, BLIND, [], wake)[0].withdrawn


def test_a_clock_that_runs_is_left_alone() -> None:
    running = Progress(a_step(first_request=NOW - seconds(3)))
    snapshot = in_phase(a_stepping(), processes=users(5.0, 5.0))
    assert start_clock(snapshot, a_trial(running), Memory()) == (running, Memory())


# --- missing data ---------------------------------------------------------------------------------

BLIND = GateStatus(name="errors", verdict="NoData", reason=Reason.STALE, message="too old")
ORIGINS = [Origin(process="v2-0/1", values={"requests": 3.0})]


def test_blind_gates_hold_the_rollout_and_say_so_once() -> None:
    progress, note, wake = follow_data(Progress(a_step()), BLIND, ORIGINS, NOW)
    assert progress == Progress(a_step(), no_data_since=NOW)
    message = "gate errors: Stale: too old; the rollout holds"
    assert note == Note(EventReason.DATA_UNAVAILABLE, message, warning=True)
    assert wake == NOW + timedelta(minutes=2)
    later = NOW + seconds(119)
    assert follow_data(progress, BLIND, ORIGINS, later) == (progress, None, wake)


def test_after_two_minutes_users_are_sent_to_stable() -> None:
    blind = Progress(a_step(), no_data_since=NOW)
    later = NOW + timedelta(minutes=2)
    assert follow_data(blind, BLIND, ORIGINS, later) == (replace(blind, withdrawn=True), None, None)


BACK = Note(EventReason.DATA_BACK, "the gates can judge again")


def test_a_short_outage_ends_where_it_began() -> None:
    step = a_step(first_request=NOW)
    blind, later = Progress(step, 5.0, no_data_since=NOW), NOW + seconds(5)
    assert follow_data(blind, None, ORIGINS, later) == (Progress(step, 5.0), BACK, None)
    assert follow_data(Progress(step), None, ORIGINS, NOW) == (Progress(step), None, None)


def test_a_step_that_was_withdrawn_begins_anew() -> None:
    later = NOW + timedelta(minutes=3)
    step = a_step(first_request=NOW)
    withdrawn = Progress(step, 5.0, no_data_since=NOW, withdrawn=True)
    anew = a_step(started=later, origins=ORIGINS)
    assert follow_data(withdrawn, None, ORIGINS, later) == (Progress(anew, 5.0), BACK, None)


def test_of_two_operators_that_see_otherwise_none_tells_so_at_once() -> None:
    blind = Progress(a_step(), no_data_since=NOW)
    back = NOW + seconds(5)
    assert follow_data(blind, None, ORIGINS, NOW + seconds(1)) == (blind, None, back)


def test_who_has_seen_nothing_yet_knows_of_no_outage_and_of_the_end_of_none() -> None:
    seeing, blind = Progress(a_step()), Progress(a_step(), no_data_since=NOW)
    later, latest = NOW + seconds(30), NOW + timedelta(minutes=2)
    assert follow_data(seeing, None, ORIGINS, later, is_unseen=True) == (seeing, None, None)
    assert follow_data(blind, None, ORIGINS, later, is_unseen=True) == (blind, None, latest)
    assert follow_data(blind, None, ORIGINS, latest, is_unseen=True)[0].withdrawn
