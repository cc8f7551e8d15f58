"""The control: a pod of the last good version that serves beside the promoted one for a while."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_guard,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_tried,
    a_version,
    a_workload,
    pods,
    revision,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import BackOff, Count, DeploymentStatus, Retiring
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction, Size
from trimtab.decide.rollout.control import wanted_control, without_control
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import watch, with_detectors
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Returning, phase_of
from trimtab.decide.rollout.snapshot import GuardMemory, Memory, Snapshot
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.stats.change import LIFTS, DetectorState
from trimtab.stats.counts import BadTotal

SHOWN = {"errors": Count(bad=2.0, total=1000.0)}
GOOD = a_tried("v1")
LONG_AGO = Retiring(revision=revision("v1"), until=NOW)
SERVES = a_guard("v2", references=SHOWN, control_since=NOW)


def guarded(
    *,
    minutes: float = 1.0,
    replicas: int = 4,
    asked: Any = None,
    processes: Any = (),
    controls: int = 1,
    wanted: str = "v2",
    memory: Memory | None = None,
    rollout: Any = None,
    **status: Any,
) -> Snapshot:
    """Return v2 since NOW under its guard, and so many pods of v1; asked: `spec.guard`."""
    fields: dict[str, Any] = {
        "last_good": GOOD,
        "guard": a_guard("v2", references=SHOWN),
        "retiring": LONG_AGO,
        **status,
    }
    return a_snapshot(
        a_deployment(
            wanted,
            status=a_status(stable="v2", **fields),
            replicas=replicas,
            rollout=rollout or {"gates": [ERRORS_GATE]},
            guard=asked or {},
        ),
        now=NOW + timedelta(minutes=minutes),
        pods=(*pods("v2", replicas), *pods("v1", controls)),
        versions=tuple(a_version(name) for name in ("v1", "v2", "v3")),
        processes=processes,
        workloads=(a_workload("v1", controls), a_workload("v2", replicas)),
        memory=memory or Memory(),
    )


def decided(snapshot: Snapshot) -> Outcome[DeploymentStatus, ChildAction]:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def size_of(outcome: Outcome[DeploymentStatus, ChildAction], version: str) -> int:
    (size,) = (
        one
        for one in outcome.actions
        if isinstance(one, Size) and one.tried.revision == revision(version)
    )
    return size.replicas


def route_of(outcome: Outcome[DeploymentStatus, ChildAction]) -> str | None:
    (route,) = (one for one in outcome.actions if isinstance(one, Route))
    return route.revision


# --- whether there is one ------------------------------------------------------------------------

LIMIT = {"name": "limit", "bad": "errors", "limit": "5%"}
UNDECIDED = {
    "candidate": a_tried("v3"),
    "back_off": BackOff(revision=revision("v3"), attempts=1, not_before=NOW + timedelta(hours=9)),
}
ASKED: dict[str, tuple[dict[str, Any], bool]] = {
    "four_replicas": ({}, True),
    "three_replicas": ({"replicas": 3}, False),
    "three_and_asked_for": ({"replicas": 3, "asked": {"control": 1}}, True),
    "four_and_not_wanted": ({"asked": {"control": 0}}, False),
    "none_is_left_to_serve": ({"replicas": 0, "asked": {"control": 1}}, False),
    "the_hour_is_over": ({"minutes": 60.0}, False),
    "a_longer_hour": ({"minutes": 60.0, "asked": {"rollbackWithin": "2h"}}, True),
    "a_first_version": ({"last_good": a_tried("v2")}, False),
    "nothing_before": ({"last_good": None}, False),
    "the_last_good_is_rejected": ({"rejected": [a_rejection("v1")]}, False),
    "a_candidate_waits": (UNDECIDED, False),
    "breached": ({"guard": a_guard("v2", breached="errors")}, False),
    "of_another_version": ({"guard": a_guard("v1")}, False),
    "no_guard": ({"guard": None}, False),
    "no_gates": ({"rollout": {"strategy": "rolling"}}, False),
    "limits_only": ({"rollout": {"gates": [LIMIT]}}, False),
}


@pytest.mark.parametrize(("how", "is_there"), ASKED.values(), ids=ASKED.keys())
def test_when_there_is_a_control(how: dict[str, Any], is_there: bool) -> None:
    snapshot = guarded(**how)
    deployment = snapshot.deployment
    found = wanted_control(deployment.spec, deployment.status, snapshot.now)
    assert (found == GOOD) is is_there


# --- its life ------------------------------------------------------------------------------------


def test_all_pods_are_kept_first_then_one_is_and_then_it_serves() -> None:
    retiring = Retiring(revision=revision("v1"), until=NOW + timedelta(minutes=5))
    slow = {"gates": [ERRORS_GATE], "scaleDownDelay": "5m"}
    kept = decided(guarded(retiring=retiring, rollout=slow, controls=4))
    assert (size_of(kept, "v1"), route_of(kept)) == (4, revision("v2"))
    shrinking = decided(guarded(minutes=5, retiring=retiring, rollout=slow, controls=4))
    assert (size_of(shrinking, "v1"), route_of(shrinking)) == (1, revision("v2"))
    assert shrinking.status.guard is not None
    assert shrinking.status.guard.control_since is None
    serving = decided(guarded(minutes=5, retiring=retiring, rollout=slow))
    assert (size_of(serving, "v1"), route_of(serving)) == (1, None)
    assert serving.status.guard is not None
    assert serving.status.guard.control_since == NOW + timedelta(minutes=5)


def test_pods_are_kept_no_longer_for_a_clock_that_was_set_back() -> None:
    retiring = Retiring(revision=revision("v1"), until=NOW + timedelta(hours=1))
    assert size_of(decided(guarded(retiring=retiring, controls=4)), "v1") == 1


def test_it_ends_with_the_time_in_which_a_breach_goes_back() -> None:
    outcome = decided(guarded(minutes=60, guard=SERVES))
    assert (size_of(outcome, "v1"), route_of(outcome)) == (0, revision("v2"))
    assert outcome.status.guard is not None
    assert outcome.status.guard.control_since is None


def alone(snapshot: Snapshot) -> Snapshot:
    """Return the same with no pod of stable Ready: the control answers all requests."""
    return replace(snapshot, pods=(*pods("v2", 4, ready=False), *pods("v1", 1)))


BREACHED = a_guard("v2", references=SHOWN, control_since=NOW, breached="outcomes")
GUARD_OVER = a_guard("v2", references=SHOWN, control_since=NOW, until=NOW + timedelta(minutes=61))


@pytest.mark.parametrize(
    "snapshot",
    [
        guarded(minutes=60, guard=SERVES),
        guarded(minutes=62, guard=GUARD_OVER),
        guarded(guard=SERVES, wanted="v3"),
        guarded(guard=SERVES, replicas=3),
        guarded(guard=BREACHED),
    ],
    ids=[
        "rollbackWithin is over",
        "the guard is over",
        "a newer version is wanted",
        "so few need none",
        "the version is known to be bad",
    ],
)
def test_it_stays_while_it_alone_answers(snapshot: Snapshot) -> None:
    outcome = decided(alone(snapshot))
    assert (size_of(outcome, "v1"), route_of(outcome)) == (1, None)
    assert outcome.status.candidate is None
    assert outcome.wake_at is None or outcome.wake_at > snapshot.now


def test_it_ends_once_the_version_is_known_to_be_bad() -> None:
    outcome = decided(guarded(guard=BREACHED))
    assert outcome.status.guard is not None
    assert outcome.status.guard.control_since is None
    assert route_of(outcome) == revision("v2")


def test_it_takes_over_at_once_where_all_pods_of_the_version_crashed() -> None:
    dead = pods("v2", 4, ready=False, crashed=True, restarts=3)
    snapshot = replace(guarded(guard=SERVES), pods=(*dead, *pods("v1", 1)))
    views = (a_workload("v1", 1), a_workload("v2", 4, ready=0))
    outcome = decided(replace(snapshot, workloads={one.revision: one for one in views}))
    assert outcome.status.stable is not None
    assert outcome.status.stable.version == "v1"
    assert (size_of(outcome, "v1"), route_of(outcome)) == (4, revision("v1"))


def test_a_newer_version_is_told_what_it_waits_for() -> None:
    conditions = decided(alone(guarded(guard=SERVES, wanted="v3"))).status.conditions
    (said,) = (one for one in conditions if one.type == "Progressing")
    assert said.reason == Reason.STABLE_NOT_READY
    assert said.message.startswith("v3 waits to be tried: v2 has no Ready pod")


def test_it_makes_room_for_a_newer_version() -> None:
    outcome = decided(guarded(guard=SERVES, wanted="v3"))
    assert outcome.status.candidate is not None
    assert (size_of(outcome, "v1"), route_of(outcome)) == (0, revision("v2"))
    assert outcome.status.guard is not None
    assert outcome.status.guard.control_since is None


# --- what it shows -------------------------------------------------------------------------------


def both(ours: tuple[float, float], theirs: tuple[float, float]) -> Any:
    """Return the processes of both, with (requests, errors) since their start."""
    return (a_process("v2", *ours, born=NOW), a_process("v1", *theirs, born=NOW))


def looks(*counts: tuple[tuple[float, float], tuple[float, float]], every: float = 0.1) -> Any:
    """Watch v2 beside its control look by look; return the last breach and what is remembered."""
    breach, memory = None, Memory()
    for number, one in enumerate(counts, 1):
        snapshot = guarded(minutes=number * every, guard=SERVES, processes=both(*one))
        breach, memory = watch(snapshot, SERVES, side_of(a_tried("v2")), memory)
        if breach is not None:
            break
    return breach, memory.guard


REST = [((400.0 * n, 4.0 * n), (100.0 * n, 1.0 * n)) for n in range(1, 11)]


def hard(count: int) -> Any:
    """Return looks in which a fifth of both fails."""
    return [
        ((4000 + 400.0 * n, 40 + 80.0 * n), (1000 + 100.0 * n, 10 + 20.0 * n))
        for n in range(1, count + 1)
    ]


def test_what_happens_to_both_is_nobody_s_fault_and_the_reference_while_it_lasts() -> None:
    breach, remembered = looks(*REST, *hard(35))
    assert breach is None
    assert remembered.detectors["errors"].is_alarm
    alone, after = without_control(SERVES, Memory(guard=remembered))
    assert alone.control_since is None
    reference = alone.references["errors"]
    assert reference.bad / reference.total == pytest.approx(0.2)
    assert after.guard is not None
    assert after.guard.detectors == {"errors": DetectorState()}
    told = with_detectors(a_status(stable="v2", guard=alone), after)
    assert told.guard is not None
    assert list(told.guard.detectors) == ["errors"], "or a restart would count all of its life"


@pytest.mark.parametrize(
    ("kept", "replicas", "is_breached"),
    [(1.0, 4, False), (1.0, 3, True), (10.0, 4, True), (0.0, 4, True)],
    ids=["soon", "no control", "too late", "should be there"],
)
def test_a_change_before_the_control_serves_waits_for_it(
    kept: float, replicas: int, is_breached: bool
) -> None:
    alone = a_guard("v2", references=SHOWN)
    retiring = Retiring(revision=revision("v1"), until=NOW + timedelta(minutes=kept))
    breach, memory = None, Memory()
    for second in range(0, 65, 5):
        served = second * 40.0
        snapshot = guarded(
            minutes=second / 60,
            replicas=replicas,
            guard=alone,
            retiring=retiring,
            processes=(a_process("v2", served, served / 2, born=NOW),),
        )
        breach, memory = watch(snapshot, alone, side_of(a_tried("v2")), memory)
        if breach is not None:
            break
    assert (breach is not None) is is_breached
    assert memory.guard is not None
    assert memory.guard.detectors["errors"].is_alarm


def test_all_of_the_last_minutes_are_the_reference_of_a_change_that_lasts() -> None:
    """The best of three is below what was there by chance: a good version would be breached."""
    state = DetectorState(evidences=(1e12,) * len(LIFTS), arl=100.0)
    assert state.is_alarm
    minutes = (BadTotal(30, 300), BadTotal(24, 300), BadTotal(36, 300))
    guard = GuardMemory(revision("v2"), {"errors": state}, lately={"errors": minutes})
    alone, _ = without_control(SERVES, Memory(guard=guard))
    assert alone.references["errors"] == Count(bad=90, total=900)


@pytest.mark.parametrize(("watched", "is_believed"), [(1.5, True), (15.0, False)])
def test_what_a_process_that_has_just_begun_saw_of_the_control_is_believed(
    watched: float, is_believed: bool
) -> None:
    """The change came before it began: its detector, which began with it, sees none."""
    guard = GuardMemory(
        revision("v2"),
        {"errors": DetectorState()},
        restored=NOW,
        looked_at=NOW + timedelta(minutes=watched),
        lately={"errors": (BadTotal(30, 300), BadTotal(12, 130))},
    )
    alone, _ = without_control(SERVES, Memory(guard=guard))
    shown = Count(bad=42, total=430)
    assert alone.references["errors"] == (shown if is_believed else SHOWN["errors"])
    nothing, _ = without_control(SERVES, Memory(guard=replace(guard, lately={"errors": ()})))
    assert nothing.references == SHOWN


def test_an_outage_that_is_over_is_no_reference() -> None:
    (requests, errors), (theirs, wrong) = hard(3)[-1]
    calm = [
        ((requests + 400.0 * n, errors + 4.0 * n), (theirs + 100.0 * n, wrong + 1.0 * n))
        for n in range(1, 12)
    ]
    breach, remembered = looks(*REST, *hard(3), *calm)
    assert breach is None
    assert remembered.detectors["errors"].is_alarm, "it does not forget that soon"
    alone, _ = without_control(SERVES, Memory(guard=remembered))
    assert alone.references["errors"].bad / alone.references["errors"].total <= 0.011


def test_where_nothing_changed_the_reference_stays() -> None:
    _, remembered = looks(*REST)
    alone, _ = without_control(SERVES, Memory(guard=remembered))
    assert alone.references == SHOWN
    assert without_control(SERVES, Memory())[0].references == SHOWN


def test_what_happens_to_the_version_alone_is_a_breach() -> None:
    bad = [((4000 + 400.0 * n, 40 + 80.0 * n), (1000 + 100.0 * n, 10 + n)) for n in range(1, 9)]
    breach, _ = looks(*REST, *bad)
    assert breach is not None
    assert breach.figures.startswith("errors: 80 of 400 (20.00%), 1.00% of v1 beside it, ")
    assert breach.inputs["evidence"] >= breach.inputs["threshold"] == pytest.approx(100)


def test_a_late_fault_is_not_thinned_out_by_a_good_time_before() -> None:
    """The two are compared from the change on."""
    good = [((40_000.0 * n, 40.0 * n), (10_000.0 * n, 10.0 * n)) for n in range(1, 11)]
    bad = ((401_000.0, 500.0), (100_250.0, 100.0))  # 10 % of the last thousand
    breach, _ = looks(*good, bad)
    assert breach is not None
    assert breach.figures.startswith("errors: 100 of 1000 (10.00%), 0.00% of v1 beside it")


def test_what_came_before_the_control_served_is_of_no_moment() -> None:
    breach, remembered = looks(((1000.0, 500.0), (0.0, 0.0)), ((1100.0, 500.0), (30.0, 0.0)))
    assert breach is None
    assert remembered.beside["errors"].strata.requests == 0


FROM_PROMETHEUS = {"prometheus": {"url": "http://prometheus:9090", "interval": "15s"}}
Outages = tuple[tuple[float, float], ...]


def read_at(version: str, seconds: float, phase: float, outages: Outages) -> Any:
    """Return a process that a backend read at a phase of 15 s before a look, and again after it."""
    rate = 80.0 if version == "v2" else 20.0
    behind, ahead = (
        {
            "requests": rate * at,
            "errors": rate * sum(min(max(0.0, at - start), lasts) for start, lasts in outages),
        }
        for at in (seconds - 15 + phase, seconds + phase)
    )
    counts, later = (
        a_process(version, one["requests"], one["errors"]).counts for one in (behind, ahead)
    )
    return a_process(version, counts=counts, ahead=later, born=NOW)


def looks_apart(phases: tuple[float, float], ours: Outages, theirs: Outages) -> Any:
    """Watch v2 beside its control for ten minutes by a backend; return the breach, if any."""
    memory = Memory()
    for seconds in range(60, 660, 15):
        processes = (
            read_at("v2", seconds, phases[0], ours),
            read_at("v1", seconds, phases[1], theirs),
        )
        snapshot = guarded(minutes=seconds / 60, guard=SERVES, processes=processes)
        spec = snapshot.deployment.spec
        metrics = type(spec.metrics).model_validate(FROM_PROMETHEUS)
        spec = spec.model_copy(update={"metrics": metrics})
        snapshot = replace(
            snapshot, deployment=snapshot.deployment.model_copy(update={"spec": spec})
        )
        breach, memory = watch(snapshot, SERVES, side_of(a_tried("v2")), memory)
        if breach is not None:
            return breach
    return None


@pytest.mark.parametrize("phases", [(2.0, 12.0), (12.0, 2.0)])
@pytest.mark.parametrize("moment", range(300, 330, 5))
@pytest.mark.parametrize(("lasts", "again"), [(3.0, 34.0), (10.0, 0.0), (20.0, 95.0)])
def test_an_outage_of_both_that_a_backend_shows_of_one_first(
    phases: tuple[float, float], moment: float, lasts: float, again: float
) -> None:
    outages: Outages = ((moment, lasts),)
    if again:
        outages = (*outages, (moment + again, lasts))
    assert looks_apart(phases, outages, outages) is None


@pytest.mark.parametrize("phases", [(2.0, 12.0), (12.0, 2.0)])
def test_a_fault_of_the_version_is_found_whichever_a_backend_reads_first(
    phases: tuple[float, float],
) -> None:
    breach = looks_apart(phases, ((300.0, 10.0),), ())
    assert breach is not None
    assert "0.00% of v1 beside it" in breach.figures


def test_it_is_left_at_once_while_it_serves() -> None:
    remembered = looks(*REST)[1]
    bad = both((4400.0, 240.0), (1100.0, 11.0))
    snapshot = guarded(guard=SERVES, processes=bad, memory=Memory(guard=remembered))
    outcome = decided(snapshot)
    assert isinstance(phase_of(outcome.status), Returning)
    assert route_of(outcome) == revision("v2")
    assert size_of(outcome, "v1") == 4


def test_a_limit_holds_beside_a_control_too() -> None:
    snapshot = guarded(guard=SERVES, processes=both((1000.0, 400.0), (250.0, 100.0)))
    gates = {"gates": [{**ERRORS_GATE, "limit": "5%"}]}
    deployment = a_deployment("v2", status=snapshot.deployment.status, replicas=4, rollout=gates)
    limited = a_snapshot(deployment, now=snapshot.now, processes=snapshot.processes)
    breach, _ = watch(limited, SERVES, side_of(a_tried("v2")), Memory())
    assert breach is not None
    assert breach.figures.endswith("more than 5.00% allowed")


# --- a control that tells nothing -----------------------------------------------------------------


class Beside:
    """v2 and its control, looked at every five seconds."""

    def __init__(self) -> None:
        self.now, self.memory, self.guard = 0.0, Memory(), SERVES
        self.ours, self.theirs = (0.0, 0.0), (0.0, 0.0)
        self.notes: list[str] = []

    def go(
        self, seconds: float, *, bad: float = 0.0, theirs: float = 20.0, both: float = 0.0
    ) -> float | None:
        """Let time go by; return after how many seconds v2 was left.

        bad: part of v2's requests, 20 of each pod a look; theirs: requests of the control; both: of
        all, bad.
        """
        for number in range(int(seconds / 5)):
            self.now += 5
            self.ours = (self.ours[0] + 20, self.ours[1] + 20 * max(bad, both))
            self.theirs = (self.theirs[0] + theirs, self.theirs[1] + theirs * both)
            snapshot = guarded(
                minutes=self.now / 60,
                guard=self.guard,
                processes=(
                    *(a_process("v2", *self.ours, born=NOW, process=f"v2-{n}") for n in range(4)),
                    a_process("v1", *self.theirs, born=NOW),
                ),
                memory=self.memory,
            )
            outcome, self.memory = decide_deployment(snapshot)
            self.notes += [f"{note.reason}: {note.message}" for note in outcome.notes]
            if isinstance(phase_of(outcome.status), Returning):
                return 5.0 * (number + 1)
            assert outcome.status.guard is not None
            self.guard = outcome.status.guard
        return None


def test_a_control_that_tells_nothing_excuses_nothing() -> None:
    one = Beside()
    assert one.go(120) is None
    assert one.go(90, theirs=0.0) is None
    found = one.go(300, bad=0.2, theirs=0.0)
    assert found is not None
    assert found <= 30
    (told,) = (note for note in one.notes if note.startswith("DataUnavailable"))
    assert told.endswith(
        "v1 beside it told nothing of errors for 60 s: the guard goes on as without a control"
    )


def test_a_control_with_next_to_no_requests_excuses_nothing() -> None:
    one = Beside()
    assert one.go(120) is None
    assert one.go(60, theirs=0.05) is None
    found = one.go(300, bad=0.2, theirs=0.05)
    assert found is not None
    assert found <= 60


def test_a_control_that_comes_and_goes_hides_nothing() -> None:
    one = Beside()
    assert one.go(120) is None
    for _ in range(3):
        assert one.go(90, theirs=0.0) is None
        assert one.go(20) is None
    found = one.go(60, bad=0.1)
    assert found is not None
    assert found <= 30
    assert sum(note.startswith("DataUnavailable") for note in one.notes) == 1


def test_a_short_silence_of_the_control_is_no_matter() -> None:
    """What hits both may take its metrics along."""
    one = Beside()
    assert one.go(120) is None
    assert one.go(50, both=0.2, theirs=0.0) is None
    assert one.go(300, both=0.2) is None
    assert not one.notes


def test_what_the_control_showed_before_it_fell_mute_is_the_reference() -> None:
    one = Beside()
    assert one.go(120) is None
    assert one.go(240, both=0.2) is None
    assert one.go(600, both=0.2, theirs=0.0) is None
    assert one.guard.references["errors"].bad / one.guard.references["errors"].total > 0.15


def test_a_control_that_tells_again_is_heeded_after_some_minutes() -> None:
    one = Beside()
    assert one.go(120) is None
    assert one.go(90, theirs=0.0) is None
    assert one.go(200) is None
    assert one.go(120, both=0.2) is None
