"""Two versions on the same rows: who asks whom, and what pairs do to gate and guard."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_guard,
    a_process,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    a_version,
    digest_of,
    revision,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Count, GateStatus
from trimtab.decide.rollout.asking import asked_by
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import watch
from trimtab.decide.rollout.judgement import Trial, judge_gates
from trimtab.decide.rollout.measures import (
    REQUESTS,
    labelled_measure,
    pair_measure,
    wrong_measure,
)
from trimtab.decide.rollout.pairing import PairedLook
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.same_rows import look_again
from trimtab.decide.rollout.snapshot import Memory, PairsSeen, ProcessView, Snapshot
from trimtab.decide.rollout.watched import Breach
from trimtab.stats.counts import BadTotal
from trimtab.stats.paired import CellCounts, Labelling, Pairs

OUTCOMES = {"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "1%"}
ROLLOUT = {"gates": [OUTCOMES], "steps": [{"weight": "25%"}]}
V1, V2 = digest_of("v1"), digest_of("v2")


def asking(version: str = "v2", other: str | None = "v1") -> Any:
    digest = None if other is None else digest_of(other)
    return a_tried(version).model_copy(update={"asks": digest})


def told(
    *,
    wrong: float = 0,
    labelled: float = 0,
    pairs: dict[float, float] | None = None,
    cells: Any = (),
    version: str = "v2",
    answered: float = 1000.0,
    **fields: Any,
) -> ProcessView:
    """A process with labels of a version; `pairs`: requests by difference."""
    counts = {
        REQUESTS: answered,
        labelled_measure(digest_of(version)): float(labelled),
        wrong_measure(digest_of(version)): float(wrong),
        **{pair_measure(V2, V1, d): float(count) for d, count in (pairs or {}).items()},
    }
    answers = {digest_of(version): {"0": (600.0, 600.0), "1": (400.0, 400.0)}}
    return a_process(
        version,
        counts=counts,
        answers=fields.pop("answers", answers),
        process=f"{version}-0/1",
        born=NOW,
        cells={(V2, V1): dict(cells)},
        tokens=2,
        **fields,
    )


def stable(wrong: float = 50, labelled: float = 1000) -> ProcessView:
    return told(wrong=wrong, labelled=labelled, version="v1")


def judged(*processes: ProcessView, candidate: Any = None, **spec: Any) -> GateStatus:
    deployment = a_deployment(status=a_status(a_stepping()), **{"rollout": ROLLOUT} | spec)
    trial = Trial(
        candidate=side_of(candidate or asking()),
        stable=side_of(a_tried("v1")),
        progress=Progress(a_step()),
        began=NOW,
    )
    memory = Memory()
    gates: tuple[GateStatus, ...] = ()
    calm = tuple(replace(process, cells={}) for process in processes)
    for shown in (calm, processes, processes):  # what comes between two looks is of one moment
        snapshot = a_snapshot(deployment, processes=shown, now=NOW + seconds(5))
        judgement, memory, _ = judge_gates(snapshot, trial, memory)
        gates = judgement.gates
    return gates[0]


# --- who asks -------------------------------------------------------------------------------------


def at_rest(*processes: ProcessView, rollout: Any = ROLLOUT, **spec: Any) -> Snapshot:
    return a_snapshot(a_deployment(status=a_status(), rollout=rollout, **spec), processes=processes)


def test_pods_of_a_new_version_ask_the_one_that_serves() -> None:
    asked = asked_by(at_rest(stable()), a_version("v2"))
    assert asked is not None
    assert asked.artifact.digest == V1
    assert asked.until == NOW + timedelta(minutes=15) + timedelta(hours=24)


@pytest.mark.parametrize(
    "snapshot",
    [
        at_rest(),
        at_rest(replace(stable(), tokens=1)),
        at_rest(stable(), replace(stable(), process="v1-1/1", tokens=1)),
        at_rest(stable(), compare={"budget": "0%"}),
        at_rest(stable(), outcomes={"dependsOnAnswer": True}),
        at_rest(stable(), rollout={}),
    ],
    ids=["not scraped", "old pods", "one old pod", "no budget", "depends", "no such gate"],
)
def test_nobody_is_asked_where_pairs_would_not_be_read(snapshot: Snapshot) -> None:
    assert asked_by(snapshot, a_version("v2")) is None


def test_a_pod_that_is_going_need_not_read_pairs() -> None:
    gone = replace(stable(), process="v1-1/1", tokens=1, pod_ready=False)
    assert asked_by(at_rest(stable(), gone), a_version("v2")) is not None


def test_a_container_of_ones_own_is_not_asked() -> None:
    assert asked_by(at_rest(stable()), a_version("v2", form="custom")) is None


# --- gates ----------------------------------------------------------------------------------------


def test_a_worse_candidate_fails_by_pairs_long_before_it_would_without() -> None:
    pairs = {1.0: 30.0, -1.0: 5.0, 0.0: 265.0}
    gate = judged(told(wrong=40, labelled=300, pairs=pairs, answered=300), stable())
    assert (gate.verdict, gate.reason) == ("Fail", Reason.GATE_FAILED)
    assert "on the same rows +8.3% wrong in 300 labelled requests" in gate.message
    assert gate.paired is not None
    assert gate.paired.counts == {"-1": 5.0, "0": 265.0, "1": 30.0}
    without = judged(
        told(wrong=40, labelled=300, pairs=pairs, answered=300),
        stable(),
        candidate=asking(other=None),
    )
    assert (without.verdict, without.paired) == ("Pass", None)


def test_an_equal_candidate_passes_by_pairs() -> None:
    gate = judged(told(wrong=15, labelled=300, pairs={0.0: 290, 1.0: 5, -1.0: 5}), stable())
    assert gate.verdict == "Pass"
    assert gate.evidence < 2


def test_rows_that_get_no_label_are_named() -> None:
    cells = {
        ("1", "1"): CellCounts(500, {0: 500}),
        ("1", "0"): CellCounts(100, {1: 60, -1: 40}),
        ("0", "1"): CellCounts(100),
    }
    gate = judged(
        told(wrong=60, labelled=600, pairs={1.0: 60, -1.0: 40, 0.0: 500}, cells=cells), stable()
    )
    assert (gate.verdict, gate.reason) == ("NoData", Reason.INSUFFICIENT_DATA)
    assert "rows answered 0 that the version before answers 1" in gate.message
    assert "spec.outcomes.dependsOnAnswer: true" in gate.message


ONLY_ZERO = {V2: {"0": (600.0, 600.0), "1": (400.0, 0.0)}}


def test_what_is_left_of_uneven_labels_is_told_and_no_raw_figure() -> None:
    """Labels where 0 was served, and too few rows that both answered differently."""
    cells = {
        ("0", "0"): CellCounts(40, {0: 30}),
        ("0", "1"): CellCounts(6, {-1: 1}),
        ("1", "0"): CellCounts(5),
    }
    pairs = {-1.0: 1.0, 0.0: 30.0}
    gate = judged(told(wrong=1, labelled=31, pairs=pairs, cells=cells, answers=ONLY_ZERO), stable())
    assert (gate.verdict, gate.reason) == ("NoData", Reason.INSUFFICIENT_DATA)
    assert "too few labels for rows answered 1" in gate.message
    assert gate.paired is not None
    assert gate.paired.difference == 0


def test_figures_that_are_evened_out_are_those_of_the_evidence() -> None:
    cells = {
        ("0", "0"): CellCounts(400, {0: 400}),
        ("0", "1"): CellCounts(100, {1: 90, -1: 10}),
        ("1", "0"): CellCounts(100, {1: 18, -1: 2}),
        ("1", "1"): CellCounts(400, {0: 80}),
    }
    answers = {V2: {"0": (500.0, 500.0), "1": (500.0, 100.0)}}
    pairs = {1.0: 108.0, -1.0: 12.0, 0.0: 480.0}
    gate = judged(told(wrong=1, labelled=600, pairs=pairs, cells=cells, answers=answers), stable())
    assert gate.paired is not None
    counts = gate.paired.counts
    mean = (counts["1"] - counts["-1"]) / sum(counts.values())
    assert gate.paired.difference == pytest.approx(mean)
    assert f"on the same rows {mean * 100:+.1f}% wrong in" in gate.message
    assert "evened out by answer from 600" in gate.message


def test_that_the_other_version_is_being_loaded_is_said() -> None:
    gate = judged(told(wrong=10, labelled=200, compares="loading"), stable())
    assert "no labelled request was compared on the same rows yet (loading)" in gate.message


def test_a_message_fits_the_status_whatever_classes_are_called() -> None:
    one, other = "x" * 500, "y" * 500
    cells = {
        (one, one): CellCounts(500, {0: 500}),
        (one, other): CellCounts(100),
        (other, one): CellCounts(100),
    }
    gate = judged(told(wrong=60, labelled=500, pairs={0.0: 500}, cells=cells), stable())
    assert gate.reason is Reason.INSUFFICIENT_DATA
    assert len(gate.message) <= 1024
    assert "dependsOnAnswer" in gate.message


def test_what_depends_on_the_answer_is_compared_unpaired_if_asked_for() -> None:
    cells = {("1", "1"): CellCounts(500, {0: 500}), ("0", "1"): CellCounts(100)}
    gate = judged(
        told(wrong=60, labelled=500, pairs={0.0: 500}, cells=cells),
        stable(),
        outcomes={"dependsOnAnswer": True},
    )
    assert gate.reason is not Reason.INSUFFICIENT_DATA
    assert gate.paired is None


def test_labels_that_are_still_to_come_are_said_and_count_as_right() -> None:
    """Of 1000 answers each all of stable's have a label, and 100 of the candidate's."""
    gate = judged(told(wrong=40, labelled=100), stable(), candidate=asking(other=None))
    assert gate.verdict == "Pass"
    assert "900 labels of the candidate's answers are still to come" in gate.message
    assert gate.evidence == 1.0
    assert gate.smallest_fault_share is None  # not even if all of the 100 were wrong
    half = judged(told(wrong=40, labelled=500), stable(), candidate=asking(other=None))
    assert half.smallest_fault_share is not None
    assert half.smallest_fault_share == pytest.approx(0.22, abs=0.03)
    there = judged(told(wrong=400, labelled=950), stable(), candidate=asking(other=None))
    assert there.verdict == "Fail"
    assert "still to come" not in there.message


def test_pairs_whose_wrong_answers_get_their_labels_first_are_no_evidence() -> None:
    """The two differ in a tenth of the rows, half of which the one and half the other has wrong."""
    cells = {
        ("0", "0"): CellCounts(900, {0: 50}),
        ("1", "0"): CellCounts(50, {1: 25}),
        ("0", "1"): CellCounts(50, {1: 25}),
    }
    pairs = {1.0: 50.0, 0.0: 50.0}
    answers = {V2: {"0": (950.0, 75.0), "1": (50.0, 25.0)}}
    gate = judged(
        told(wrong=100, labelled=100, pairs=pairs, cells=cells, answers=answers),
        stable(wrong=100),
    )
    assert gate.verdict == "Pass"
    assert gate.evidence <= 1
    assert gate.paired is not None
    assert gate.paired.evidence <= 1
    # All of a version that is worse have their labels.
    cells = {("0", "0"): CellCounts(900, {0: 900}), ("0", "1"): CellCounts(100, {1: 90, -1: 10})}
    worse = told(wrong=180, labelled=1000, pairs={1.0: 90, -1.0: 10, 0.0: 900}, cells=cells)
    assert judged(worse, stable(wrong=100)).verdict == "Fail"


def test_a_limit_takes_awaited_labels_for_right_too() -> None:
    rollout = {"gates": [{"name": "wrong", "bad": "outcomes", "limit": "10%"}]}
    gate = judged(
        told(wrong=40, labelled=100), stable(), candidate=asking(other=None), rollout=rollout
    )
    assert (gate.verdict, gate.evidence) == ("Pass", 1.0)
    assert "900 labels of the candidate's" in gate.message


def test_that_no_pod_compares_is_said() -> None:
    gate = judged(told(wrong=10, labelled=200, compares="noMemory"), stable())
    assert "not compared on the same rows: noMemory" in gate.message
    assert gate.verdict == "Pass"


def test_pairs_count_from_the_origins_of_the_step() -> None:
    gate = judged(
        replace(
            told(pairs={1.0: 200.0}), born=NOW - seconds(60), first=told(pairs={1.0: 199.0}).counts
        ),
        stable(),
    )
    assert gate.paired is not None
    assert gate.paired.requests == 1.0


def test_requests_that_come_alike_are_fewer_than_they_look() -> None:
    """Of bursts of 20 that are wrong in one version, three are no evidence."""
    bursts = Pairs({1.0: 60.0, -1.0: 20.0, 0.0: 320.0})
    looks = [PairedLook(bursts, Labelling(), 0.01, frozenset(), alike) for alike in (1.0, 20.0)]
    assert looks[0].evidence > 1000
    assert looks[1].evidence < 3
    assert (looks[1].told().alike, looks[0].told().alike) == (20.0, 1.0)


def test_a_bad_version_fails_though_some_rows_get_no_label() -> None:
    cells = {
        ("1", "1"): CellCounts(500, {0: 500}),
        ("1", "0"): CellCounts(300, {1: 280, -1: 20}),
        ("0", "1"): CellCounts(40),
    }
    gate = judged(
        told(wrong=300, labelled=800, pairs={1.0: 280, -1.0: 20, 0.0: 500}, cells=cells), stable()
    )
    assert gate.verdict == "Fail"


def test_pairs_of_an_earlier_try_are_no_evidence() -> None:
    """Cells have no origins in status: what was there at the first look is left out."""
    cells = {("1", "0"): CellCounts(900, {1: 300}), ("0", "1"): CellCounts(900, {1: 1})}
    before = told(cells=cells)
    deployment = a_deployment(status=a_status(a_stepping()), rollout=ROLLOUT)
    trial = Trial(side_of(asking()), side_of(a_tried("v1")), Progress(a_step()), NOW)
    memory = Memory()
    for second in (0, 5, 10):
        snapshot = a_snapshot(deployment, processes=(before, stable()), now=NOW + seconds(second))
        judgement, memory, _ = judge_gates(snapshot, trial, memory)
        assert judgement.failed is None
        assert judgement.gates[0].evidence <= 1


# --- the guard ------------------------------------------------------------------------------------


def watched(*processes: ProcessView) -> Breach | None:
    """Look once at a version under guard, of which stable had shown 5 % wrong."""
    guard = a_guard("v2", references={"wrong": Count(bad=500, total=10_000)})
    status = a_status(stable="v2", guard=guard, last_good=a_tried("v1"))
    status = status.model_copy(update={"stable": asking()})
    deployment = a_deployment(status=status, rollout=ROLLOUT)
    memory, breach = Memory(), None
    for second in (0, 5, 10):
        if breach is not None:
            break
        shown = [
            p
            if second or p.revision == revision("v1")
            else replace(p, counts={REQUESTS: 0.0}, cells={})
            for p in processes
        ]
        snapshot = a_snapshot(deployment, processes=tuple(shown), now=NOW + seconds(second))
        breach, memory = watch(snapshot, guard, side_of(asking()), memory)
    return breach


def test_a_guard_awaits_labels_of_pairs_too() -> None:
    """Where the new version is wrong they came first; of each answer before all had one."""
    pairs = {1.0: 60.0, 0.0: 200.0}
    cells = {("0", "0"): CellCounts(900, {0: 200}), ("0", "1"): CellCounts(120, {1: 60})}
    new = told(wrong=60, labelled=260, pairs=pairs, cells=cells)
    assert watched(new) is not None
    assert watched(new, replace(stable(), process="v1-0/1")) is None


def test_harder_rows_for_both_are_no_breach_where_pairs_tell() -> None:
    harder = told(wrong=400, labelled=1000, pairs={0.0: 960, 1.0: 20, -1.0: 20})
    assert watched(harder) is None
    assert watched(replace(harder, counts=told(wrong=400, labelled=1000).counts)) is not None


def test_what_is_wrong_on_the_same_rows_is_a_breach() -> None:
    worse = told(wrong=80, labelled=1000, pairs={0.0: 940, 1.0: 50, -1.0: 10})
    breach = watched(worse)
    assert breach is not None
    assert "+4.00% wrong on the same rows as the version before in 1000" in breach.figures
    assert breach.inputs["pairs"] == {"-1": 10.0, "0": 940.0, "1": 50.0}


class Guarded:
    """A version under guard whose labels and pairs grow, 50 of them every 15 seconds."""

    def __init__(self) -> None:
        self.guard = a_guard("v2", references={"wrong": Count(bad=500, total=10_000)})
        status = a_status(stable="v2", guard=self.guard, last_good=a_tried("v1"))
        status = status.model_copy(update={"stable": asking()})
        self.deployment = a_deployment(status=status, rollout=ROLLOUT)
        self.memory, self.now = Memory(), NOW
        self.wrong, self.labelled = 0.0, 0.0
        self.pairs: dict[float, float] = {}

    def go(
        self,
        minutes: float,
        *,
        wrong: float = 2.5,
        worse: float = 0.5,
        better: float = 0.5,
        compares: str = "comparing",
        compared: float = 1.0,
    ) -> float | None:
        """Let time go by; return after how many seconds it was breached. Figures are of a round.

        compared: the part of all rows that are.
        """
        for number in range(int(minutes * 4)):
            self.wrong += wrong
            self.labelled += 50
            if compares == "comparing":
                for d, count in ((1.0, worse), (-1.0, better), (0.0, 50 - worse - better)):
                    self.pairs[d] = self.pairs.get(d, 0.0) + compared * count
            self.now += seconds(15)
            process = told(
                wrong=self.wrong, labelled=self.labelled, pairs=self.pairs, compares=compares
            )
            snapshot = a_snapshot(self.deployment, processes=(process,), now=self.now)
            breach, self.memory = watch(snapshot, self.guard, side_of(asking()), self.memory)
            if breach is not None:
                self.figures = breach.figures
                return 15.0 * (number + 1)
        return None


def test_a_fault_that_begins_late_is_found_as_soon() -> None:
    """Three more of a hundred wrong: after hours that were good, too."""
    seen = []
    for hours in (0.1, 6.0):
        one = Guarded()
        assert one.go(60 * hours) is None
        seen.append(one.go(60, wrong=4, worse=2.0))
    early, late = seen
    assert early is not None
    assert late is not None
    assert late <= 1.5 * early + 60
    assert "+3.00% wrong on the same rows as the version before" in one.figures
    assert "since it changed" in one.figures


def test_a_process_that_takes_a_guard_up_has_no_second_half_of_the_prior() -> None:
    """What it is told without a checkpoint: evidence begins at nothing, not at a half."""
    paired = PairedLook(Pairs({0.0: 10.0}), Labelling(is_even=True), 0.01, frozenset())
    day = timedelta(hours=24)
    found = [
        look_again(PairsSeen(), paired, BadTotal(0.0, 10.0), NOW, day, is_taken_up=up)
        for up in (False, True)
    ]
    assert found[0].change.evidence > 0.4
    assert found[1].change.evidence == 0
    later = look_again(
        found[1], paired, BadTotal(0.0, 10.0), NOW + seconds(60), day, is_taken_up=True
    )
    assert 0 < later.change.evidence < 0.001


@pytest.mark.parametrize("compared", [0.3, 0.1, 0.01, 0.001])
def test_few_pairs_make_no_fault_much_harder_to_find(compared: float) -> None:
    seen = []
    for share in (0.0, compared):
        one = Guarded()
        assert one.go(20, compared=share) is None
        seen.append(one.go(120, wrong=5, worse=3.0, compared=share))
    without, found = seen
    assert without is not None
    assert found is not None
    assert found <= 2 * without + 60


@pytest.mark.parametrize("compared", [1.0, 0.5])
def test_what_gets_harder_for_both_is_excused_for_as_long_as_it_lasts(compared: float) -> None:
    one = Guarded()
    assert one.go(20, compared=compared) is None
    assert one.go(60, wrong=10, compared=compared) is None
    assert one.memory.guard is not None
    assert one.memory.guard.detectors["wrong"].is_alarm
    assert one.memory.guard.pairs["wrong"].is_excused


def test_pairs_that_stop_before_they_tell_excuse_nothing() -> None:
    one = Guarded()
    assert one.go(20, compared=0.1) is None
    found = one.go(5, wrong=10, worse=8.0, compared=0.1)
    if found is None:
        found = one.go(12, wrong=10, compares="failed")
    assert found is not None


def test_where_pairs_stop_the_detector_goes_on() -> None:
    one = Guarded()
    assert one.go(20) is None
    assert one.go(20, compares="failed") is None
    found = one.go(30, wrong=20, compares="failed")
    assert found is not None
    assert found <= 60


def test_what_became_harder_while_pairs_told_is_no_breach_when_they_stop() -> None:
    one = Guarded()
    assert one.go(60, wrong=10) is None
    assert one.go(60, wrong=10, compares="failed") is None
    assert one.go(30, wrong=25, compares="failed") is not None


def test_pairs_that_no_longer_come_do_not_decide() -> None:
    """Pods are still at work, but no request is compared."""
    one = Guarded()
    assert one.go(20) is None
    assert one.go(30, wrong=20, compares="paused") is not None


def test_revisions_do_not_know_whom_they_ask() -> None:
    assert asking().revision == asking(other=None).revision == revision("v2")
