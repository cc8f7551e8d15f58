"""The first look after a restart that goes on from a checkpoint: nothing twice, nothing unfair."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    seconds,
)

from trimtab.api.deployment import DeploymentStatus, Origin
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.evidence import (
    MOST_VANISHED,
    Counted,
    Gap,
    GateMemory,
    Moment,
    evidence_of,
    remembered_counts,
)
from trimtab.decide.rollout.guard import of_this_guard
from trimtab.decide.rollout.judgement import Trial, judge_gates
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.saved import resumed
from trimtab.decide.rollout.snapshot import GuardMemory, Memory, ProcessView, Snapshot, StepMemory
from trimtab.stats.change import DetectorState
from trimtab.stats.counts import NOTHING, BadTotal

BORN = NOW - timedelta(hours=1)
LIMITED = {**ERRORS_GATE, "limit": "5%"}
INTERVAL = timedelta(seconds=1)


def lives(*processes: str, born: datetime = BORN) -> dict[str, datetime | None]:
    return dict.fromkeys(processes, born)


def over(before: Any, after: Any) -> Moment:
    return Moment(NOW, INTERVAL, gap=Gap(before, after))


def counted(**counts: tuple[float, float]) -> Counted:
    found = {process: BadTotal(*count) for process, count in counts.items()}
    return Counted(found, frozenset(found))


# --- one gate -------------------------------------------------------------------------------------


def a_memory(**last: tuple[float, float]) -> GateMemory:
    """What `c*` and `s*` had counted at the saved look."""
    sides = [{p: BadTotal(*n) for p, n in last.items() if p[0] == side} for side in "cs"]
    return GateMemory(last=(sides[0], sides[1]))


def test_the_same_processes_go_on_from_what_they_had_counted() -> None:
    memory = a_memory(c=(1, 100), s=(2, 900))
    same = lives("c", "s")
    seen = memory.look(counted(c=(3, 150)), counted(s=(2, 1400)), over(same, same))
    assert seen.strata.compared() == (BadTotal(2, 50), BadTotal(0, 500))
    again = seen.look(counted(c=(3, 150)), counted(s=(2, 1400)), Moment(NOW, INTERVAL))
    assert again == seen


def test_a_process_that_is_not_seen_at_once_is_not_counted_twice_and_is_of_no_moment() -> None:
    memory = a_memory(c=(0, 500), s1=(0, 900), s2=(0, 900))
    same = lives("c", "s1", "s2")
    gap = over(same, lives("c", "s1"))
    seen = memory.look(counted(c=(0, 600)), counted(s1=(0, 1000)), gap)
    assert seen.last[1]["s2"] == BadTotal(0, 900)
    after = seen.look(
        counted(c=(0, 610)), counted(s1=(0, 1010), s2=(90, 1010)), Moment(NOW, INTERVAL)
    )
    assert after.strata.add(NOTHING, BadTotal(0, 50)).compared()[1].bad == 0
    later = after.look(
        counted(c=(0, 620)), counted(s1=(0, 1060), s2=(91, 1060)), Moment(NOW, INTERVAL)
    )
    assert later.strata.compared()[1].bad > 0


def test_counters_that_began_anew_show_nothing() -> None:
    """15 of 20 would be what two lives of one name differ by."""
    memory = a_memory(c=(5, 1000), s=(5, 1000))
    before, after = lives("c", "s"), lives("c", born=NOW) | lives("s")
    seen = memory.look(counted(c=(20, 1020)), counted(s=(6, 1200)), over(before, after))
    assert evidence_of(seen, {}, 0.0, None) == 1.0
    assert seen.strata.compared()[0] == NOTHING
    assert seen.last[0] == {"c": BadTotal(20, 1020)}
    fell = memory.look(counted(c=(0, 10)), counted(s=(5, 1000)), over(before, after))
    assert fell.last[0] == {"c": BadTotal(0, 10)}, "it goes on from there at once"


@pytest.mark.parametrize(
    ("before", "after", "is_steady"),
    [
        (BORN, BORN + timedelta(seconds=0.4), True),
        (BORN, BORN + timedelta(seconds=0.6), False),
        (None, None, True),
        (BORN, None, False),
        (None, BORN, False),
    ],
)
def test_a_birth_is_the_same_but_for_rounding(
    before: datetime | None, after: datetime | None, is_steady: bool
) -> None:
    assert (Gap({"c": before}, {"c": after}).unsteady({"c"}) == set()) is is_steady


def test_pods_that_went_make_an_outage_of_both_no_evidence() -> None:
    """Half of stable went after the outage, and the other half has carried all of it since.

    The candidate was out for half of its requests; the rest of stable for a third.
    """
    memory = a_memory(c=(0, 100), **{f"s{n}": (0.0, 1000.0) for n in range(4)})
    before = lives("c", *(f"s{n}" for n in range(4)))
    after = lives("c", "s0", "s1")
    ours = counted(c=(100, 300))
    theirs = counted(s0=(200, 1600), s1=(200, 1600))
    assert evidence_of(memory.look(ours, theirs, over(after, after)), {}, 0.005, None) > 10
    assert evidence_of(memory.look(ours, theirs, over(before, after)), {}, 0.005, None) == 1.0


def test_pods_of_the_candidate_that_went_count_the_same_way() -> None:
    memory = a_memory(c1=(0, 100), c2=(0, 100), s=(0, 1000))
    before, after = lives("c1", "c2", "s"), lives("c1", "s")
    seen = memory.look(counted(c1=(100, 300)), counted(s=(200, 1600)), over(before, after))
    assert evidence_of(seen, {}, 0.005, None) == 1.0


def test_where_all_of_stable_is_new_nobody_can_say_since_when() -> None:
    memory = a_memory(c=(0, 100), s=(0, 1000))
    new = Counted({"t": BadTotal(0, 500)})
    for ours in (counted(c=(100, 200)), Counted({"d": BadTotal(100, 100)})):
        seen = memory.look(ours, new, over(lives("c", "s"), lives(*ours.counts, "t")))
        assert evidence_of(seen, {}, 0.005, None) == 1.0


@pytest.mark.parametrize("gone", [(), ("s",)], ids=["not_ready", "not_seen"])
def test_where_none_of_stable_can_be_gone_on_from_the_candidate_is_not_alone(gone: Any) -> None:
    """An outage of both in the gap; stable's next requests are good ones."""
    memory = a_memory(c=(0, 100), s=(0, 1000))
    theirs = Counted({p: BadTotal(300, 1500) for p in "s" if p not in gone})
    seen = memory.look(counted(c=(60, 200)), theirs, over(lives("c", "s"), lives("c")))
    later = seen.look(
        counted(c=(60, 210)), counted(s=(300, 1600), t=(0, 100)), Moment(NOW, INTERVAL)
    )
    assert evidence_of(later, {}, 0.005, None) == 1.0


def test_a_limit_without_a_stable_version_has_its_gap() -> None:
    memory = a_memory(c=(0, 100))
    seen = memory.look(counted(c=(60, 200)), Counted(), over(lives("c"), lives("c")))
    assert evidence_of(seen, {}, None, 0.05) > 1000


def test_a_bad_candidate_is_found_although_pods_came_and_went() -> None:
    memory = a_memory(c=(0, 100), s1=(0, 1000), s2=(0, 1000))
    gap = over(lives("c", "s1", "s2"), lives("c", "s1", "s3"))
    theirs = Counted({"s1": BadTotal(0, 1500), "s3": BadTotal(0, 300)}, frozenset({"s1"}))
    seen = memory.look(counted(c=(60, 200)), theirs, gap)
    assert evidence_of(seen, {}, 0.005, None) > 1000


steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("ab"), st.integers(0, 200), max_size=2),
        st.dictionaries(st.sampled_from("xyz"), st.integers(0, 200), max_size=3),
        st.sets(st.sampled_from("abxyz")),
        st.sampled_from(["look", "look", "save", "restart"]),
    ),
    max_size=25,
)


@given(steps)
def test_whatever_is_seen_when_and_lost_nothing_counts_twice(script: Any) -> None:
    """Counters grow; looks see some of them; a restart goes on from the last save."""
    totals = dict.fromkeys("abxyz", 0.0)
    memory = saved = GateMemory()
    alive = saved_alive = lives()
    is_first = False
    for n, (ours, theirs, hidden, act) in enumerate(script):
        for name, more in (ours | theirs).items():
            totals[name] += more
        if act == "save":
            saved, saved_alive = memory, alive
        if act == "restart":
            memory, alive, is_first = saved, saved_alive, True
        sides = [
            Counted({p: BadTotal(totals[p] / 2, totals[p]) for p in names if p not in hidden})
            for names in ("ab", "xyz")
        ]
        now = lives(*sides[0].counts, *sides[1].counts)
        gap = Gap(alive, now) if is_first else None
        memory = memory.look(sides[0], sides[1], Moment(NOW + n * INTERVAL, INTERVAL, gap=gap))
        alive, is_first = now, False
        strata = memory.strata
        assert strata.requests + strata.open[0].total <= totals["a"] + totals["b"] + 1e-6
        of_stable = sum(totals[p] for p in "xyz")
        assert strata.open[1].total <= of_stable + 1e-6
        for blocks, most in (
            (memory.candidate, totals["a"] + totals["b"]),
            (memory.stable, of_stable),
        ):
            for one in blocks.values():
                cells = one.cells()
                assert float(cells.total @ cells.times) <= most + 1e-6


def test_of_those_that_vanished_so_many_are_remembered() -> None:
    before = {str(n): BadTotal(0, n) for n in range(MOST_VANISHED + 9)}
    found = remembered_counts(before, {"new": NOTHING, "3": BadTotal(0, 4)})
    assert len(found) == MOST_VANISHED + 2
    assert found["3"] == BadTotal(0, 4)
    assert str(MOST_VANISHED + 8) in found


# --- a step ---------------------------------------------------------------------------------------


def stepping(*processes: ProcessView, memory: Memory, at: float) -> tuple[Any, StepMemory]:
    """Judge the first step of v2 beside v1, so many seconds after it began."""
    rollout = {"gates": [ERRORS_GATE], "steps": [{"weight": "25%"}]}
    deployment = a_deployment(
        status=a_status(a_stepping()), rollout=rollout, metrics={"scrape": {"interval": "1s"}}
    )
    snapshot = a_snapshot(deployment, processes=processes, now=NOW + seconds(at))
    trial = Trial(
        side_of(a_tried("v2")), side_of(a_tried("v1")), Progress(a_step(started=NOW)), NOW
    )
    judgement, memory, _ = judge_gates(snapshot, trial, memory)
    assert memory.step is not None
    return judgement.gates[0], memory.step


def process(name: str, requests: float, errors: float = 0.0, **fields: Any) -> ProcessView:
    version = "v2" if name[0] == "c" else "v1"
    return a_process(version, requests, errors, process=name, born=NOW, **fields)


def unseen(name: str) -> ProcessView:
    version = "v2" if name[0] == "c" else "v1"
    return a_process(version, process=name, counts={}, sampled_at=None)


@pytest.mark.parametrize("at", [2.0, 60.0], ids=["young", "old"])
def test_what_one_side_counted_before_is_not_compared_with_what_the_other_does_after(
    at: float,
) -> None:
    """An outage of both lay in the gap, and stable is seen a round later."""
    _, step = stepping(process("c", 100), process("s", 600), memory=Memory(), at=1)
    saved = resumed(Memory(step=step))
    gate, waiting = stepping(process("c", 200, 80), unseen("s"), memory=saved, at=at)
    assert waiting == saved.step
    assert gate.verdict != "Fail"
    seen = process("c", 210, 80), process("s", 1260, 480)
    gate, step = stepping(*seen, memory=Memory(step=waiting), at=at + 1)
    assert not step.is_resumed
    assert step.gates["errors"].strata.compared()[0] == BadTotal(80, 210)
    assert (gate.verdict, gate.evidence) == ("Pass", 1.0)


def test_what_rounds_had_left_out_is_no_news_after_a_restart() -> None:
    """A restart forgets what a pod counted while it was set aside: it is shown again."""
    short = process("c", 100, is_short=True)
    _, step = stepping(short, process("s", 300), memory=Memory(), at=1)
    saved = resumed(Memory(step=step))
    gate, step = stepping(process("c", 180, 70), process("s", 330), memory=saved, at=60)
    assert (gate.verdict, gate.evidence) == ("Pass", 1.0)
    gate, _ = stepping(process("c", 220, 105), process("s", 430), memory=Memory(step=step), at=61)
    assert gate.verdict == "Fail", "what it counts from then on is seen"


def test_evidence_of_another_step_is_not_taken_up() -> None:
    _, step = stepping(process("c", 100, 2), process("s", 300), memory=Memory(), at=1)
    other = resumed(Memory(step=replace(step, started=NOW - seconds(60))))
    _, found = stepping(process("c", 110, 2), process("s", 330), memory=other, at=60)
    _, alone = stepping(process("c", 110, 2), process("s", 330), memory=Memory(), at=60)
    assert found == alone


def test_an_old_checkpoint_of_the_same_step_counts_nothing_twice() -> None:
    """The store took no more saves: later looks are forgotten, and their counts come once."""
    kept, memory = None, Memory()
    for n in range(1, 30):
        ours, theirs = process("c", 10.0 * n, 0.1 * n), process("s", 100.0 * n, 1.0 * n)
        _, step = stepping(ours, theirs, memory=memory, at=n)
        memory = Memory(step=step)
        kept = kept or (step if n == 5 else None)
    assert kept is not None
    _, step = stepping(ours, theirs, memory=resumed(Memory(step=kept)), at=40)
    for found in (step, memory.step):
        assert found is not None
        seen = found.gates["errors"]
        assert seen.strata.compared()[0].total == pytest.approx(290)
        assert seen.strata.compared()[0].bad == pytest.approx(2.9)


# --- origins of many ------------------------------------------------------------------------------


def test_origins_of_many_come_from_the_checkpoint_and_are_not_lost() -> None:
    origins = [Origin(process=f"s{n}", values={"requests": 0.0}) for n in range(60)]
    status = a_status(a_stepping(a_step(started=NOW, origins=origins)))
    rollout = {"gates": [ERRORS_GATE], "steps": [{"weight": "25%", "for": "10m"}]}

    def passed(status: DeploymentStatus, memory: Memory, at: float) -> tuple[Any, Memory]:
        snapshot = a_snapshot(
            a_deployment(status=status, rollout=rollout),
            now=NOW + seconds(at),
            pods=(*pods("v1", 3), *pods("v2", 1)),
            processes=tuple(process(f"s{n}", 10 * at) for n in range(60)),
            memory=memory,
        )
        outcome, memory = decide_deployment(snapshot)
        assert outcome.status.rollout is not None
        assert outcome.status.rollout.step is not None
        return outcome.status, memory

    status, memory = passed(status, Memory(), 1)
    with_it, _ = passed(status, resumed(memory), 60)
    without, _ = passed(status, Memory(), 60)
    assert with_it.rollout is not None
    assert with_it.rollout.step is not None
    assert with_it.rollout.step.lost == 0
    assert without.rollout is not None
    assert without.rollout.step is not None
    assert without.rollout.step.lost == 1


# --- the guard ------------------------------------------------------------------------------------


def watched(memory: Memory, requests: float, errors: float, at: float, **changes: Any) -> Any:
    """Pass over v2 under guard, with two processes that have counted this."""
    guard = a_guard("v2", references={"errors": {"bad": 2.0, "total": 1000.0}})
    status = a_status(stable="v2", last_good=a_tried("v1"), guard=guard)
    processes = [
        a_process("v2", requests, errors, process=f"v2-{n}/1", born=BORN, first={})
        for n in range(2)
    ]
    if changes.get("hidden"):
        processes[1] = replace(processes[1], counts={}, sampled_at=None)
    if "second" in changes:
        processes[1] = changes["second"]
    snapshot: Snapshot = a_snapshot(
        a_deployment("v2", status=status, rollout={"gates": [ERRORS_GATE]}),
        now=NOW + seconds(at),
        pods=pods("v2", 3),
        processes=tuple(processes),
        memory=memory,
    )
    outcome, memory = decide_deployment(snapshot)
    assert memory.guard is not None
    return outcome, memory


def test_the_guards_detectors_go_on_and_take_the_gap_once() -> None:
    _, memory = watched(Memory(), 100.0, 0.0, 10)
    assert memory.guard is not None
    looks = memory.guard.detectors["errors"].looks
    _, memory = watched(resumed(memory), 130.0, 0.0, 40)
    assert memory.guard is not None
    assert memory.guard.detectors["errors"].looks == looks + 1
    _, memory = watched(memory, 130.0, 0.0, 41)
    assert memory.guard is not None
    assert memory.guard.detectors["errors"].looks == looks + 1
    assert memory.guard.restored is None


def test_a_pod_that_the_guard_sees_later_is_not_counted_anew() -> None:
    _, memory = watched(Memory(), 100.0, 0.0, 10)
    before = memory.guard
    assert before is not None
    _, memory = watched(resumed(memory), 100.0, 0.0, 40, hidden=True)
    _, memory = watched(memory, 100.0, 0.0, 41)
    assert memory.guard is not None
    assert memory.guard.last == before.last
    assert memory.guard.detectors["errors"].looks == before.detectors["errors"].looks


def test_counters_that_began_anew_are_no_alarm_of_the_guard() -> None:
    """59 of 60 would be what two lives of one name differ by."""
    _, memory = watched(Memory(), 10_000.0, 20.0, 10)
    anew = a_process("v2", 10_060.0, 79.0, process="v2-1/1", born=NOW, first={})
    outcome, memory = watched(resumed(memory), 10_010.0, 20.0, 40, second=anew)
    assert outcome.status.guard.breached is None
    assert memory.guard is not None
    assert memory.guard.detectors["errors"].pending == BadTotal(0.0, 10.0)
    assert memory.guard.last["errors"]["v2-1/1"] == BadTotal(79.0, 10_060.0)


@pytest.mark.parametrize(
    "other", [{"revision": "x"}, {"since": NOW - timedelta(days=1)}, {"control_since": NOW}]
)
def test_what_detectors_saw_in_another_watch_alarms_nobody(other: Any) -> None:
    guard = a_guard("v2")
    status = a_status(stable="v2", last_good=a_tried("v1"), guard=guard)
    alarmed = DetectorState(evidences=(1e9,) * 5, arl=10.0)
    own = GuardMemory(guard.revision, {"errors": alarmed}, since=guard.since)
    assert of_this_guard(status, resumed(Memory(guard=own))).guard == replace(own, is_resumed=True)
    foreign = replace(own, **other)
    assert of_this_guard(status, resumed(Memory(guard=foreign))).guard is None
    assert of_this_guard(status, Memory(guard=foreign)).guard == foreign
    assert of_this_guard(a_status(), resumed(Memory(guard=own))).guard is None


def test_beside_a_control_the_gap_is_of_no_moment() -> None:
    guard = a_guard("v2", control_since=NOW - timedelta(minutes=1), since=NOW - seconds(90))

    def passed(memory: Memory, own: float, control: float, at: float) -> GateMemory:
        snapshot = a_snapshot(
            a_deployment(
                "v2",
                status=a_status(stable="v2", last_good=a_tried("v1"), guard=guard),
                replicas=4,
                rollout={"gates": [LIMITED]},
            ),
            now=NOW + seconds(at),
            pods=(*pods("v2", 4), *pods("v1", 1)),
            processes=(
                a_process("v2", own, 0.0, born=BORN),
                a_process("v1", control, 0.0, born=BORN),
            ),
            memory=memory,
        )
        remembered.append(decide_deployment(snapshot)[1])
        assert remembered[-1].guard is not None
        return remembered[-1].guard.beside["errors"]

    remembered: list[Memory] = []
    passed(Memory(), 100.0, 100.0, 1)
    passed(remembered[-1], 200.0, 200.0, 2)
    restarted = passed(resumed(remembered[-1]), 900.0, 300.0, 40)
    assert restarted.strata.compared() == (BadTotal(0, 100), BadTotal(0, 100))
    after = passed(remembered[-1], 1000.0, 400.0, 41)
    assert after.strata.compared() == (BadTotal(0, 200), BadTotal(0, 200))
