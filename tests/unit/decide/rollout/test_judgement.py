"""Gates: what fails, what holds, what is blind; and what judging leaves unchanged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_gate,
    a_process,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    digest_of,
    revision,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Origin, PodSpread
from trimtab.decide.rollout.blocks import growth
from trimtab.decide.rollout.counting import count_since, gate_count, side_of
from trimtab.decide.rollout.evidence import GateMemory
from trimtab.decide.rollout.gates import first_unable, sight_of
from trimtab.decide.rollout.habit import Habit, Parts
from trimtab.decide.rollout.judgement import (
    Judgement,
    Trial,
    judge_gates,
    moment_of,
    spreads_of,
    with_spread,
)
from trimtab.decide.rollout.measures import ERRORS, REQUESTS, TIMED
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.snapshot import Memory, Snapshot, StepMemory
from trimtab.stats.counts import BadTotal
from trimtab.stats.spread import BlockSums, Spread

FAILS = {**ERRORS_GATE, "onNoData": "fail", "failAfter": "30s"}
LIMIT = {"name": "limit", "bad": "errors", "limit": "5%"}


def a_trial(stable: str | None = "v1", **progress: Any) -> Trial:
    return Trial(
        candidate=side_of(a_tried("v2")),
        stable=side_of(a_tried(stable)) if stable is not None else None,
        progress=Progress(a_step(), **progress),
        began=NOW,
    )


def seen(*gates: dict[str, Any], processes: Any = (), now: Any = NOW) -> Snapshot:
    rollout = {"gates": list(gates), "steps": [{"weight": "25%"}]}
    deployment = a_deployment(
        status=a_status(a_stepping()), rollout=rollout, metrics={"scrape": {"interval": "1s"}}
    )
    return a_snapshot(deployment, processes=processes, now=now)


def both(candidate: Any, stable: Any, **fields: Any) -> Any:
    return (
        a_process("v2", *candidate, born=NOW, **fields),
        a_process("v1", *stable, born=NOW, **fields),
    )


def judged(snapshot: Snapshot, trial: Trial | None = None) -> Judgement:
    judgement, _, _ = judge_gates(snapshot, trial or a_trial(), Memory())
    return judgement


def verdicts(judgement: Judgement) -> list[tuple[str, str]]:
    return [(gate.verdict, gate.reason) for gate in judgement.gates]


VERDICTS: dict[str, tuple[Any, tuple[str, str]]] = {
    "as_good": (both((100.0, 0.0), (300.0, 0.0)), ("Pass", "Stable")),
    "worse": (both((100.0, 50.0), (300.0, 0.0)), ("Fail", "GateFailed")),
    "worse_but_that_may_be_chance": (both((8.0, 6.0), (7.0, 0.0)), ("Pass", "WorseSoFar")),
    "both_bad": (both((100.0, 50.0), (300.0, 150.0)), ("Pass", "Stable")),
    "no_request": (both((0.0,), (300.0,)), ("NoData", "NoTraffic")),
    "stable_has_none": (both((10.0,), (0.0,)), ("NoData", "NoTraffic")),
    "not_scraped": ((), ("NoData", "Waiting")),
    "stale": (both((10.0,), (30.0,), problem=Reason.STALE), ("NoData", "Stale")),
    "no_series": (both((), (), counts={TIMED: 1.0}), ("NoData", "NoSeries")),
    "failed_and_then_blind": (
        both((100.0, 50.0), (300.0, 0.0), problem=Reason.BACKEND_DOWN),
        ("Fail", "GateFailed"),
    ),
}


@pytest.mark.parametrize(("processes", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdict_of_a_gate(processes: Any, verdict: tuple[str, str]) -> None:
    judgement = judged(seen(ERRORS_GATE, processes=processes))
    assert verdicts(judgement) == [verdict]
    assert (judgement.failed is not None) == (verdict[0] == "Fail")
    assert (judgement.holding is not None) == (verdict[0] == "NoData")
    is_blind = verdict[1] in ("Stale", "NoSeries", "BackendDown")
    assert (judgement.blind is not None) == is_blind


def test_a_limit_says_how_small_a_fault_it_would_have_shown() -> None:
    (kept,) = judged(seen(LIMIT, processes=both((400.0, 4.0), (1200.0, 9.0)))).gates
    assert (kept.verdict, kept.reason, kept.stable) == ("Pass", "Stable", None)
    assert kept.smallest_fault_share is not None
    assert 0.06 < kept.smallest_fault_share < 0.12
    (few,) = judged(seen(LIMIT, processes=both((1.0, 0.0), (3.0, 0.0)))).gates
    assert few.smallest_fault_share is None


SILENT = {REQUESTS: 500.0, ERRORS: 480.0}


@pytest.mark.parametrize("on_no_data", ["hold", "ignore"])
def test_requests_that_nobody_saw_in_time_hold_a_candidate_that_is_worse_with_them(
    on_no_data: str,
) -> None:
    stable = a_process("v1", 1500.0, 15.0, born=NOW)
    candidate = a_process("v2", 500.0, 5.0, born=NOW)
    gate = {**ERRORS_GATE, "onNoData": on_no_data}
    snapshot = seen(gate, processes=(candidate, stable))
    judgement, memory, _ = judge_gates(snapshot, a_trial(), Memory())
    assert verdicts(judgement) == [("Pass", "Stable")]
    alone = judgement.gates[0].smallest_fault_share
    processes = (replace(candidate, left_out=SILENT), stable)
    snapshot = seen(gate, processes=processes, now=NOW + seconds(5))
    judgement, _, _ = judge_gates(snapshot, a_trial(), memory)
    (told,) = judgement.gates
    assert (told.verdict, told.reason) == ("Pass", "PartlySeen")
    assert told.message.startswith("500 of 1000 requests of the candidate came while metrics were")
    assert "485/1000 (48.5%) were bad" in told.message
    assert alone is not None
    assert told.smallest_fault_share == pytest.approx(0.5 + alone / 2)
    held = first_unable(judgement.gates, [a_gate(onNoData=on_no_data)])
    assert (held is None) == (on_no_data == "ignore")


def test_an_outage_of_both_that_nobody_saw_in_time_holds_nobody() -> None:
    theirs = {REQUESTS: 1500.0, ERRORS: 1440.0}
    stable = a_process("v1", 1500.0, 15.0, born=NOW)
    candidate = a_process("v2", 500.0, 5.0, born=NOW)
    _, memory, _ = judge_gates(
        seen(ERRORS_GATE, processes=(candidate, stable)), a_trial(), Memory()
    )
    processes = (replace(candidate, left_out=SILENT), replace(stable, left_out=theirs))
    snapshot = seen(ERRORS_GATE, processes=processes, now=NOW + seconds(5))
    judgement, _, _ = judge_gates(snapshot, a_trial(), memory)
    assert verdicts(judgement) == [("Pass", "Stable")]


def test_what_was_left_out_before_the_step_holds_nobody() -> None:
    stable = a_process("v1", 1500.0, 15.0, born=NOW)
    candidate = a_process("v2", 500.0, 5.0, born=NOW, left_out=SILENT)
    assert verdicts(judged(seen(ERRORS_GATE, processes=(candidate, stable)))) == [
        ("Pass", "Stable")
    ]


def test_a_spread_that_hides_every_fault_is_named() -> None:
    """An outage of one pod of stable, some minutes ago."""
    snapshot = seen(ERRORS_GATE, processes=both((100.0, 1.0), (300.0, 3.0)))
    unlike = snapshot.deployment.status.model_copy(
        update={"spread": [PodSpread(gate="errors", rounds=12, inflation=400.0, correlation=0.95)]}
    )
    deployment = snapshot.deployment.model_copy(update={"status": unlike})
    judgement = judged(replace(snapshot, deployment=deployment))
    (told,) = judgement.gates
    assert (told.verdict, told.reason, told.smallest_fault) == ("Pass", "PodsDiffer", "")
    assert told.message.startswith("pods of stable differ by so much (spread 400) that not even")
    assert first_unable(judgement.gates, [a_gate()]) is told


def test_without_stable_only_limits_are_judged() -> None:
    processes = both((100.0, 50.0), (0.0,))
    judgement = judged(seen(ERRORS_GATE, LIMIT, processes=processes), a_trial(stable=None))
    assert verdicts(judgement) == [("Skipped", "NoStable"), ("Fail", "GateFailed")]
    assert judgement.failed is judgement.gates[1]


def test_the_first_gate_that_fails_is_the_one_that_is_told() -> None:
    processes = both((100.0, 50.0), (300.0, 0.0))
    judgement = judged(seen(LIMIT, ERRORS_GATE, processes=processes))
    assert judgement.failed is judgement.gates[0]


def test_a_gate_that_is_ignored_without_data_holds_nothing() -> None:
    judgement = judged(seen({**ERRORS_GATE, "onNoData": "ignore"}))
    assert verdicts(judgement) == [("NoData", "Waiting")]
    assert (judgement.failed, judgement.holding, judgement.blind) == (None, None, None)


def test_a_gate_fails_for_want_of_data_in_its_own_time() -> None:
    judgement, _, wake = judge_gates(seen(FAILS), a_trial(), Memory())
    assert (judgement.failed, wake) == (None, NOW + seconds(30))
    late = seen(FAILS, now=NOW + seconds(30))
    judgement, _, wake = judge_gates(late, a_trial(), Memory())
    assert judgement.failed is not None
    assert judgement.failed.message == (
        "no data for 0:00:30: Waiting: not scraped yet: no Ready pod has been scraped yet"
    )
    assert wake is None


def test_the_time_without_data_counts_from_when_it_went_missing() -> None:
    now = NOW + timedelta(minutes=5)
    trial = a_trial(no_data_since=now - seconds(10))
    judgement, _, wake = judge_gates(seen(FAILS, now=now), trial, Memory())
    assert (judgement.failed, wake) == (None, now + seconds(20))


def test_evidence_comes_before_want_of_data() -> None:
    snapshot = seen(
        {**FAILS, "name": "slow", "bad": "slow", "slowerThan": "250ms"},
        ERRORS_GATE,
        processes=both((100.0, 50.0), (300.0, 0.0)),
        now=NOW + seconds(60),
    )
    judgement, _, wake = judge_gates(snapshot, a_trial(), Memory())
    assert judgement.failed is judgement.gates[1]
    assert wake is None


# --- what is remembered ---------------------------------------------------------------------------


SLOW = {**ERRORS_GATE, "name": "slow", "bad": "slow", "slowerThan": "250ms"}


@pytest.mark.parametrize(
    ("timed", "said"),
    [
        (0.0, "requests of the candidate: 0; 100 more are set aside: the first ones of each pod"),
        (20.0, "of the candidate's, 0/900 (0.0%) of stable's, allowed +1%; 80 more are set aside"),
        (100.0, ""),
    ],
)
def test_requests_that_tell_nothing_of_speed_are_named(timed: float, said: str) -> None:
    ours = {REQUESTS: 100.0, TIMED: timed, "slow@0.25": 0.0}
    theirs = {REQUESTS: 900.0, TIMED: 900.0, "slow@0.25": 0.0}
    processes = (
        a_process("v2", counts=ours, warm={}, born=NOW),
        a_process("v1", counts=theirs, warm={}, born=NOW),
    )
    (gate,) = judged(seen(SLOW, processes=processes)).gates
    assert said in gate.message
    assert ("set aside" in gate.message) is bool(said)


def test_judging_returns_what_to_remember_and_changes_nothing() -> None:
    snapshot = seen(ERRORS_GATE, processes=both((10.0,), (30.0, 3.0)))
    before = Memory()
    _, memory, _ = judge_gates(snapshot, a_trial(), before)
    assert before == Memory()
    assert memory.step is not None
    assert (memory.step.index, memory.step.started) == (0, NOW)
    strata = memory.step.gates["errors"].strata
    assert strata.compared() == (BadTotal(0.0, 10.0), BadTotal(3.0, 30.0))


@pytest.mark.parametrize(("ready_seconds", "counted"), [(20.0, 0.0), (2.0, 100.0)])
def test_what_a_pod_shows_first_after_rounds_without_it_is_no_evidence(
    ready_seconds: float, counted: float
) -> None:
    """Both were out while its port was silent: of stable the last round would count alone."""
    stable = a_process("v1", 300.0, 200.0, born=NOW, ready_seconds=900.0)
    silent = a_process("v2", counts={}, sampled_at=None, ready_seconds=ready_seconds)
    at = NOW - seconds(5)
    out = [replace(stable, sampled_at=at), silent]
    _, memory, _ = judge_gates(seen(ERRORS_GATE, processes=out), a_trial(), Memory())
    later = (replace(stable, counts={REQUESTS: 400.0, ERRORS: 200.0}), a_process("v2", 100.0, 66.0))
    snapshot = seen(ERRORS_GATE, processes=later, now=NOW + seconds(5))
    judgement, memory, _ = judge_gates(snapshot, a_trial(), memory)
    assert memory.step is not None
    assert memory.step.gates["errors"].strata.compared()[0].total == counted
    assert (judgement.failed is None) == (counted == 0)


def test_a_look_without_a_new_round_adds_nothing() -> None:
    processes = both((10.0,), (30.0, 3.0))
    _, memory, _ = judge_gates(seen(ERRORS_GATE, processes=processes), a_trial(), Memory())
    again = seen(ERRORS_GATE, processes=processes, now=NOW + seconds(5))
    assert judge_gates(again, a_trial(), memory)[1] == memory


@pytest.mark.parametrize(("minutes", "is_known"), [(10, True), (-1, False)])
def test_what_is_usual_was_learnt_before_the_step(minutes: int, is_known: bool) -> None:
    """A process that came in the midst of it has learnt from what it judges."""
    habit = Habit(
        ended={1: Parts({NOW: BlockSums(bad=5, total=500)})}, since=NOW - timedelta(minutes=minutes)
    )
    memory = Memory(habits={"errors": habit})
    _, remembered, _ = judge_gates(
        seen(ERRORS_GATE, processes=both((100.0, 0.0), (300.0, 0.0))), a_trial(), memory
    )
    assert remembered.step is not None
    usual = remembered.step.gates["errors"].usual
    assert usual == (BadTotal(5, 500) if is_known else BadTotal(0, 0))
    later = Memory(habits={"errors": Habit()}, step=remembered.step)
    _, again, _ = judge_gates(
        seen(ERRORS_GATE, processes=both((100.0, 0.0), (300.0, 0.0))), a_trial(), later
    )
    assert again.step is not None
    assert again.step.gates["errors"].usual == usual


def test_another_step_remembers_nothing_of_this_one() -> None:
    memory = Memory(step=StepMemory(0, NOW, gates={"errors": GateMemory()}))
    assert memory.of_step(0, NOW) is memory.step
    assert memory.of_step(1, NOW) == StepMemory(1, NOW)
    assert memory.of_step(0, NOW + seconds(1)) == StepMemory(0, NOW + seconds(1))


# --- counts ---------------------------------------------------------------------------------------


def test_what_was_counted_before_the_step_is_no_evidence() -> None:
    process = a_process("v2", 100.0, 40.0)
    origin = Origin(process=process.process, values={REQUESTS: 90.0, ERRORS: 39.0})
    side, gate = side_of(a_tried("v2")), a_gate()
    assert gate_count(gate, side, [process], [origin], NOW) == BadTotal(1.0, 10.0)


def test_a_process_without_an_origin_counts_from_its_birth_or_its_first_scrape() -> None:
    first = {REQUESTS: 60.0, ERRORS: 1.0}
    counted = {
        NOW - seconds(1): BadTotal(2.0, 40.0),
        NOW: BadTotal(3.0, 100.0),
        None: BadTotal(3.0, 100.0),
    }
    for born, expected in counted.items():
        process = a_process("v2", 100.0, 3.0, born=born, first=first)
        count = count_since([process], [], ERRORS, REQUESTS, revision("v2"), NOW)
        assert count == expected


def test_a_counter_that_fell_counts_as_nothing() -> None:
    assert growth(BadTotal(5.0, 50.0), BadTotal(1.0, 10.0)) == BadTotal(0.0, 0.0)
    assert growth(BadTotal(1.0, 10.0), BadTotal(5.0, 12.0)) == BadTotal(2.0, 2.0)


def test_labels_count_on_whichever_pod_received_them() -> None:
    digest = digest_of("v2")[7:19]
    counts = {f"labelled:{digest}": 10.0, f"wrong:{digest}": 4.0}
    process = a_process("v1", counts=counts, born=NOW)
    gate = a_gate(name="wrong", bad="outcomes")
    count = gate_count(gate, side_of(a_tried("v2")), [process], [], NOW)
    assert count == BadTotal(4.0, 10.0)


def test_a_revision_is_seen_as_well_as_its_worst_pod() -> None:
    fine = a_process(process="a", sampled_at=NOW - seconds(1))
    old = a_process(process="b", sampled_at=NOW - seconds(9), problem=Reason.STALE, detail="b: old")
    gone = a_process(process="c", problem=Reason.BACKEND_DOWN, pod_ready=False)
    assert sight_of(revision("v2"), [fine, gone], NOW).problem is None
    sight = sight_of(revision("v2"), [fine, old, gone], NOW)
    assert (sight.problem, sight.detail, sight.age) == (Reason.STALE, "b: old", seconds(9))


# --- how much pods differ -------------------------------------------------------------------------

LEARNT = PodSpread(gate="errors", rounds=12, inflation=7.5, correlation=0.04)


def test_a_young_process_judges_by_the_spread_that_status_has() -> None:
    snapshot = seen(ERRORS_GATE)
    status = snapshot.deployment.status.model_copy(update={"spread": [LEARNT]})
    snapshot = replace(
        snapshot, deployment=snapshot.deployment.model_copy(update={"status": status})
    )
    assert spreads_of(snapshot, Memory(), "errors") == {12: Spread(7.5, 0.04)}
    assert spreads_of(snapshot, Memory(), "slow") == {}
    memory = Memory(habits={"errors": Habit(since=NOW)})
    assert with_spread(status, snapshot, memory).spread == [LEARNT]
    old = Memory(habits={"errors": Habit(since=NOW - timedelta(hours=1))})
    assert with_spread(status, snapshot, old).spread == []
    at_rest = status.model_copy(update={"rollout": None})
    assert with_spread(at_rest, snapshot, old).spread == [LEARNT]


# --- a backend that reads each pod at a phase of its own ------------------------------------------


FROM_PROMETHEUS = {"prometheus": {"url": "http://prometheus:9090", "interval": "15s"}}


def apart(candidate: Any, stable: Any, at: float) -> Snapshot:
    """Return a look; of each side, errors at the reading before the moment and after it.

    Both answer 25 requests a second.
    """
    processes = []
    for version, (behind, ahead) in (("v2", candidate), ("v1", stable)):
        now, later = (
            {REQUESTS: 1000 + 25.0 * when, ERRORS: float(errors)}
            for when, errors in ((at, behind), (at + 12, ahead))
        )
        processes.append(a_process(version, counts=now, ahead=later, born=NOW - seconds(600)))
    rollout = {"gates": [ERRORS_GATE], "steps": [{"weight": "25%"}]}
    deployment = a_deployment(
        status=a_status(a_stepping()), rollout=rollout, metrics=FROM_PROMETHEUS
    )
    return a_snapshot(deployment, processes=processes, now=NOW + seconds(at))


def looks(*snapshots: Snapshot) -> Judgement:
    memory = Memory()
    origins = [
        Origin(process=one.process, values=dict(one.counts)) for one in snapshots[0].processes
    ]
    trial = replace(a_trial(), progress=Progress(a_step(origins=origins)))
    for snapshot in snapshots:
        judgement, memory, _ = judge_gates(snapshot, trial, memory)
    return judgement


def test_an_outage_of_both_that_stable_has_shown_in_its_next_reading_only() -> None:
    judgement = looks(
        apart((0, 0), (0, 0), 0), apart((0, 0), (0, 0), 15), apart((250, 250), (0, 250), 30)
    )
    assert verdicts(judgement) == [("Pass", Reason.STABLE)]


def test_an_outage_of_both_that_stable_had_shown_when_the_step_began() -> None:
    """The candidate's reading at that time was of before the outage."""
    judgement = looks(apart((0, 250), (0, 250), 0), apart((250, 250), (250, 250), 15))
    assert verdicts(judgement) == [("Pass", Reason.STABLE)]
    judgement = looks(apart((0, 250), (250, 250), 0), apart((250, 250), (250, 250), 15))
    assert verdicts(judgement) == [("Pass", Reason.STABLE)]


def test_a_fault_of_the_candidate_is_found_whichever_of_both_is_ahead() -> None:
    judgement = looks(
        apart((0, 0), (0, 0), 0), apart((0, 100), (0, 0), 15), apart((100, 200), (0, 0), 30)
    )
    assert [verdict for verdict, _ in verdicts(judgement)] == ["Fail"]


@pytest.mark.parametrize(("read", "is_missed"), [(5.0, True), (-5.0, False)])
def test_a_new_pod_is_missed_only_if_others_had_been_read_since_it_was_ready(
    read: float, is_missed: bool
) -> None:
    """Stable's newest sample is younger than that; gates do not see it yet."""
    ready = NOW - seconds(20)
    snapshot = a_snapshot(
        a_deployment(status=a_status(a_stepping()), metrics=FROM_PROMETHEUS),
        processes=(
            a_process("v2", counts={}, ready_seconds=20.0),
            a_process("v1", 100, counted_at=ready + seconds(read)),
        ),
        now=NOW,
    )
    assert bool(moment_of(snapshot).behind) is is_missed
