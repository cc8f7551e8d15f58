"""The watch after promotion: what alarms, and what follows from it."""

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
    a_pod,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_stepping,
    a_tried,
    a_version,
    an_end,
    digest_of,
    pods,
    revision,
    seconds,
)

from trimtab.api.deployment import Count, DeploymentStatus
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import watch, with_detectors
from trimtab.decide.rollout.habit import Allowed, Habit
from trimtab.decide.rollout.judgement import learn_spread
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Phase, Returning, paused_by_step, phase_of
from trimtab.decide.rollout.snapshot import Memory, Snapshot
from trimtab.stats.counts import BadTotal

SHOWN = {"errors": Count(bad=2.0, total=1000.0)}
GOOD = a_tried("v1")
BAD = (a_process("v2", 1000.0, 400.0, born=NOW),)
FINE = (a_process("v2", 1000.0, 2.0, born=NOW),)
FIGURES = "errors: 400 of 1000 since it changed (40.00%), more than 1.63% allowed"


def guarded(
    processes: Any,
    *,
    minutes: float = 1.0,
    rollout: Any = None,
    action: str = "notify",
    memory: Memory | None = None,
    phase: Phase | None = None,
    version: str = "v2",
    **status: Any,
) -> Snapshot:
    """Return v2 under guard since NOW, which came after v1; `version` is wanted."""
    fields = {"last_good": GOOD, "guard": a_guard("v2", references=SHOWN), **status}
    deployment = a_deployment(
        version,
        status=a_status(phase, stable="v2", **fields),
        rollout=rollout or {"gates": [ERRORS_GATE]},
        guard={"action": action},
    )
    return a_snapshot(
        deployment,
        now=NOW + timedelta(minutes=minutes),
        pods=pods("v2", 3),
        versions=tuple(a_version(name) for name in ("v1", "v2", "v3")),
        processes=processes,
        memory=memory or Memory(),
    )


def decided(snapshot: Snapshot) -> Outcome[DeploymentStatus, ChildAction]:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def degraded(status: DeploymentStatus) -> tuple[str, str, str]:
    (condition,) = (c for c in status.conditions if c.type == "Degraded")
    return condition.status, condition.reason, condition.message


# --- looking --------------------------------------------------------------------------------------


def test_a_version_that_stays_as_it_was_is_watched_on() -> None:
    outcome = decided(guarded(FINE))
    assert outcome.notes == ()
    assert outcome.status.guard is not None
    assert outcome.status.guard.breached is None
    assert outcome.wake_at == NOW + timedelta(hours=24)


def test_watching_returns_what_to_remember_and_changes_nothing() -> None:
    snapshot = guarded(FINE)
    before = Memory()
    guard = a_guard("v2", references=SHOWN)
    breach, memory = watch(snapshot, guard, side_of(a_tried("v2")), before)
    assert breach is None
    assert before == Memory()
    assert memory.guard is not None
    assert memory.guard.revision == revision("v2")
    assert memory.guard.last == {"errors": {"v2-0/1": BadTotal(2.0, 1000.0)}}
    assert memory.guard.looked_at == snapshot.now


def test_detectors_survive_a_restart_and_count_nothing_twice() -> None:
    side, guard = side_of(a_tried("v2")), a_guard("v2", references=SHOWN)
    half = (a_process("v2", 500.0, 4.0, born=NOW),)
    _, memory = watch(guarded(half), guard, side, Memory())
    saved = with_detectors(a_status(stable="v2", guard=guard), memory)
    assert saved.guard is not None
    first = {"requests": 500.0, "errors": 4.0}
    later = (a_process("v2", 1500.0, 6.0, born=NOW, first=first),)
    _, kept = watch(guarded(later), guard, side, memory)
    _, restored = watch(guarded(later), saved.guard, side, Memory())
    assert restored.guard is not None
    assert kept.guard is not None
    assert restored.guard.detectors == kept.guard.detectors
    assert restored.guard.detectors["errors"].looks == 2
    assert with_detectors(a_status(), memory) == a_status()


def test_what_was_counted_before_a_restart_is_no_news_after_it() -> None:
    """Pods are seen again one after another, with all that they counted in a bad day for all."""
    side, guard = side_of(a_tried("v2")), a_guard("v2", references=SHOWN)
    _, memory = watch(guarded(FINE), guard, side, Memory())
    saved = with_detectors(a_status(stable="v2", guard=guard), memory)
    assert saved.guard is not None
    shown = {"requests": 1_000_000.0, "errors": 30_000.0}
    old = [
        a_process("v2", 1e6, 3e4, born=NOW, first=shown, process=f"v2-{pod}/1") for pod in (1, 2)
    ]
    unseen = [replace(process, counts={}, first={}) for process in old]
    memory = Memory()
    for minutes, seen in ((2.0, unseen), (2.1, [old[0], unseen[1]]), (2.2, old)):
        snapshot = guarded(tuple(seen), minutes=minutes)
        breach, memory = watch(snapshot, saved.guard, side, memory)
        assert breach is None
    worse = [
        replace(process, counts={"requests": 1e6 + 500, "errors": 3e4 + 200}) for process in old
    ]
    breach, _ = watch(guarded(tuple(worse), minutes=2.3), saved.guard, side, memory)
    assert breach is not None
    assert "400 of 1000 since it changed" in breach.figures


WATCHED = {
    "a_reference": (SHOWN, {"gates": [ERRORS_GATE]}, ["errors"]),
    "nothing_shown_before": ({}, {"gates": [ERRORS_GATE]}, []),
    "a_limit_needs_nothing_shown": (
        {},
        {"gates": [{"name": "limit", "bad": "errors", "limit": "5%"}]},
        ["limit"],
    ),
    "rolling_has_no_gates": (SHOWN, {"strategy": "rolling"}, []),
}


@pytest.mark.parametrize(("shown", "rollout", "names"), WATCHED.values(), ids=WATCHED.keys())
def test_gates_that_the_guard_goes_on_with(shown: Any, rollout: Any, names: list[str]) -> None:
    guard = a_guard("v2", references=shown)
    _, memory = watch(guarded(FINE, rollout=rollout), guard, side_of(a_tried("v2")), Memory())
    assert memory.guard is not None
    assert list(memory.guard.detectors) == names


UNWATCHED = {
    "of_another_version": {"guard": a_guard("v1", references=SHOWN)},
    "breached_already": {"guard": a_guard("v2", references=SHOWN, breached="errors: 9 of 10")},
    "none": {"guard": None},
}


@pytest.mark.parametrize("status", UNWATCHED.values(), ids=UNWATCHED.keys())
def test_what_is_not_watched(status: Any) -> None:
    outcome = decided(guarded(BAD, **status))
    assert "GuardBreached" not in {note.reason for note in outcome.notes}
    assert phase_of(outcome.status) is None


def test_a_guard_that_ends_leaves_the_last_good_alone() -> None:
    for good, kept in ((GOOD, "v1"), (None, "v2")):
        outcome = decided(guarded(BAD, minutes=24 * 60, last_good=good))
        message = "v2 is good: guarded without a breach"
        assert [note.message for note in outcome.notes] == [message]
        assert outcome.status.guard is None
        assert outcome.status.last_good is not None
        assert outcome.status.last_good.version == kept


# --- what follows ---------------------------------------------------------------------------------

OUTCOMES = {"name": "wrong", "bad": "outcomes", "limit": "5%"}
WRONG = (
    a_process(
        "v2",
        counts={
            "requests": 1.0,
            f"labelled:{digest_of('v2')[7:19]}": 1000.0,
            f"wrong:{digest_of('v2')[7:19]}": 400.0,
        },
        born=NOW,
    ),
)
RETURNS: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "within_the_hour": (BAD, {"minutes": 60.0}, True),
    "later_it_notifies": (BAD, {"minutes": 60.1}, False),
    "later_by_the_user_s_wish": (BAD, {"minutes": 60.1, "action": "rollback"}, True),
    "wrong_outcomes_at_any_time": (
        WRONG,
        {"minutes": 600.0, "rollout": {"gates": [OUTCOMES]}},
        True,
    ),
    "not_while_flapping": (BAD, {"history": [an_end("v3"), an_end("v4"), an_end("v5")]}, False),
}


@pytest.mark.parametrize(("processes", "fields", "returns"), RETURNS.values(), ids=RETURNS.keys())
def test_when_a_breach_returns_to_the_last_good(
    processes: Any, fields: dict[str, Any], returns: bool
) -> None:
    outcome = decided(guarded(processes, **fields))
    assert outcome.notes[0].reason == "GuardBreached"
    assert isinstance(phase_of(outcome.status), Returning) is returns
    quarantined = {entry.revision for entry in outcome.status.rejected}
    assert (revision("v2") in quarantined) is returns


def test_a_breach_that_only_notifies() -> None:
    outcome = decided(guarded(BAD, minutes=61.0))
    assert [(note.reason.value, note.message) for note in outcome.notes] == [
        ("GuardBreached", FIGURES)
    ]
    assert outcome.status.guard is not None
    assert (outcome.status.guard.breached, outcome.status.guard.breach_reason) == (
        FIGURES, "GuardBreached",
    )  # fmt: skip
    assert degraded(outcome.status) == ("True", "GuardBreached", FIGURES)


def test_a_breach_with_no_way_back() -> None:
    outcome = decided(guarded(BAD, rejected=[a_rejection("v1")]))
    assert outcome.status.guard is not None
    assert outcome.status.guard.breach_reason == "NoWayBack"
    assert degraded(outcome.status) == ("True", "NoWayBack", f"NoWayBack: {FIGURES}")


def test_a_first_version_that_breaks_serves_on() -> None:
    for good in (None, a_tried("v2")):
        outcome = decided(guarded(BAD, last_good=good))
        assert [(note.reason.value, note.message) for note in outcome.notes] == [
            ("GuardBreached", FIGURES),
            ("FirstVersionFailed", f"FirstVersionFailed: {FIGURES}"),
        ]
        assert outcome.status.stable is not None
        assert outcome.status.stable.version == "v2"
        assert outcome.status.rejected == []


def test_a_look_counts_what_came_since_the_last_one() -> None:
    side, guard = side_of(a_tried("v2")), a_guard("v2", references=SHOWN)
    _, memory = watch(guarded(FINE), guard, side, Memory())
    later = guarded(FINE, minutes=2.0, memory=memory)
    breach, again = watch(later, guard, side, memory)
    assert breach is None
    assert again.guard is not None
    assert memory.guard is not None
    assert again.guard.detectors["errors"].looks == memory.guard.detectors["errors"].looks == 1
    assert later.now - NOW == seconds(120)


def test_figures_are_those_of_the_change() -> None:
    """A long good time before does not make 40 % look like 5 %."""
    side, guard, memory = side_of(a_tried("v2")), a_guard("v2", references=SHOWN), Memory()
    good = (a_process("v2", 100_000.0, 200.0, born=NOW),)
    _, memory = watch(guarded(good), guard, side, memory)
    bad = (a_process("v2", 100_500.0, 400.0, born=NOW),)
    breach, _ = watch(guarded(bad, minutes=2.0), guard, side, memory)
    assert breach is not None
    assert breach.figures == (
        "errors: 200 of 500 since it changed (40.00%), more than 1.63% allowed"
    )


def a_day(**hours: tuple[float, float]) -> Any:
    """Return the hours of a day; h7=(bad, total) is that from seven on."""
    day = [Count(bad=2.0, total=1000.0)] * 24
    for name, (bad, total) in hours.items():
        day[int(name[1:])] = Count(bad=bad, total=total)
    return {"errors": day}


SAME_HOUR: dict[str, tuple[dict[str, tuple[float, float]], bool]] = {
    "as_quiet_yesterday": ({}, True),
    "as_bad_in_this_hour": ({"h12": (60, 1000)}, False),
    "as_bad_in_the_hour_before": ({"h11": (60, 1000)}, False),
    "as_bad_in_the_hour_after": ({"h13": (60, 1000)}, False),
    "as_bad_in_the_evening": ({"h20": (60, 1000)}, True),
    "too_few_requests_to_go_by": ({"h12": (60, 999)}, True),
}


@pytest.mark.parametrize(("hours", "alarms"), SAME_HOUR.values(), ids=SAME_HOUR.keys())
def test_the_same_hour_of_the_day_before_is_a_reference(
    hours: dict[str, tuple[float, float]], alarms: bool
) -> None:
    assert NOW.hour == 12
    guard = a_guard("v2", references=SHOWN, hours=a_day(**hours))
    some = (a_process("v2", 1000.0, 60.0, born=NOW),)
    breach, _ = watch(guarded(some), guard, side_of(a_tried("v2")), Memory())
    assert (breach is not None) is alarms


FAR = (600.0, 9000.0)
EVEN = (20.0, 9000.0)
RHYTHMS: dict[str, tuple[dict[str, tuple[float, float]], bool]] = {
    "even": ({}, True),
    "an_outage": ({"h12": FAR}, True),
    "in_the_evening": ({"h18": FAR, "h19": FAR, "h20": FAR}, True),
    "in_two_of_these_hours_of_the_day_before": ({"h12": FAR, "h13": FAR}, False),
    "in_two_before_the_promotion": ({"h9": FAR, "h10": FAR}, False),
    "too_little_to_tell": ({"h12": (6, 90), "h13": (6, 90)}, True),
}


@pytest.mark.parametrize(("peaks", "alarms"), RHYTHMS.values(), ids=RHYTHMS.keys())
def test_what_recurs_within_hours_is_a_reference(
    peaks: dict[str, tuple[float, float]], alarms: bool
) -> None:
    assert NOW.hour == 12
    even = {f"h{hour}": EVEN for hour in range(24)}
    hours, shown = a_day(**even), a_day(**{**even, **peaks})
    guard = a_guard("v2", references=SHOWN, hours=hours, peaks=shown)
    some = (a_process("v2", 1000.0, 60.0, born=NOW),)
    breach, _ = watch(guarded(some), guard, side_of(a_tried("v2")), Memory())
    assert (breach is not None) is alarms


def test_counts_of_pods_that_differ_weigh_less() -> None:
    side, guard = side_of(a_tried("v2")), a_guard("v2", references=SHOWN)
    some = (a_process("v2", 1000.0, 60.0, born=NOW),)
    breach, _ = watch(guarded(some), guard, side, Memory())
    assert breach is not None
    clustered = a_habit([((0, 500), (20, 500), (0, 500))] * 20)
    assert min(spread.inflation for spread in clustered.spreads.values()) > 10
    breach, _ = watch(guarded(some), guard, side, Memory(habits={"errors": clustered}))
    assert breach is None


def a_habit(blocks: Any, allowed: Allowed | None = None) -> Habit:
    """Return what was learnt of three pods from what they counted in each minute."""
    habit, counted = Habit(), [BadTotal(0, 0)] * 3
    for number, block in enumerate(blocks):
        counted = [known + BadTotal(*new) for known, new in zip(counted, block, strict=True)]
        by_pod = {f"p{pod}": count for pod, count in enumerate(counted)}
        now = NOW + timedelta(minutes=number)
        habit = habit.learn(by_pod, now, timedelta(seconds=5), allowed)
    return habit


CALM = [((1, 100), (2, 100), (1, 100))] * 30
CLUSTERED = [((0, 100), (12, 100), (0, 100))] * 30


@pytest.mark.parametrize(
    ("before", "is_found"),
    [(CALM, True), (CALM[:5], False), (CLUSTERED, False)],
    ids=["unlike before", "nothing is known of before", "as before"],
)
def test_a_fault_of_one_pod_does_not_excuse_itself(before: Any, is_found: bool) -> None:
    """What the pods of the bad version differ by must not make its own counts weigh less."""
    found, _ = one_pod_goes_bad(a_habit(before), len(before))
    assert found is is_found


def known_of(habit: Habit) -> Allowed:
    """Return what pods may differ by after all that was learnt."""
    found = habit.allowed(NOW + timedelta(hours=1))
    assert found is not None
    return found


def most_of(habit: Habit) -> float:
    return max(known_of(habit).correlations.values(), default=0.0)


def one_pod_goes_bad(habit: Habit, minutes: int) -> tuple[bool, Memory]:
    """Return whether it is found in time that one of v2's three pods has 15 % wrong."""
    start = NOW + timedelta(minutes=minutes)
    guard = a_guard("v2", references={"errors": Count(bad=13, total=1000)}, since=start)
    side, memory = side_of(a_tried("v2")), Memory(habits={"errors": habit})
    for look in range(1, 41):
        shares = (0.01, 0.01, 0.15)
        snapshot = guarded(
            [
                a_process("v2", 25.0 * look, 25 * look * share, born=start, process=f"v2-{n}")
                for n, share in enumerate(shares)
            ],
            minutes=minutes + look / 4,
            guard=guard,
        )
        memory = learn_spread(snapshot, memory)
        breach, memory = watch(snapshot, guard, side, memory)
        if breach is not None:
            return True, memory
    return False, memory


def test_what_a_bad_version_s_pods_differ_by_is_not_usual_after_it() -> None:
    """Or it would excuse the next one, too."""
    known, free = (
        a_habit(CALM + CLUSTERED, allowed) for allowed in (known_of(a_habit(CALM)), None)
    )
    assert known.spreads == free.spreads, "gates go by what is there"
    assert most_of(known) < most_of(free) / 3


# --- while a newer version is tried ---------------------------------------------------------------


@pytest.mark.parametrize("pause", [None, paused_by_step(Instant(NOW))], ids=["stepping", "paused"])
def test_the_guard_goes_on_while_a_newer_version_is_tried(pause: Any) -> None:
    phase = a_stepping(pause=pause, candidate=a_tried("v3"))
    snapshot = guarded(BAD, phase=phase, version="v3")
    outcome = decided(snapshot)
    reasons = [note.reason.value for note in outcome.notes]
    assert reasons[:3] == ["GuardBreached", "Superseded", "RolledBack"]
    after = phase_of(outcome.status)
    assert isinstance(after, Returning)
    assert after.candidate.version == "v1"
    assert [entry.version for entry in outcome.status.rejected] == ["v2"]


def test_a_rollout_goes_on_beside_a_guard_that_is_content() -> None:
    phase = a_stepping(candidate=a_tried("v3"))
    outcome = decided(guarded(FINE, phase=phase, version="v3"))
    assert outcome.status.guard is not None
    assert phase_of(outcome.status) is not None


# --- crashes --------------------------------------------------------------------------------------

DEAD = {"ready": False, "crashed": True, "restarts": 2, "message": "exit code 1"}
CRASHED: dict[str, tuple[Any, float, bool]] = {
    "all": (pods("v2", 3, **DEAD), 10.0, True),
    "one_lives": ((*pods("v2", 2, **DEAD), a_pod("v2", 2)), 10.0, False),
    "late": (pods("v2", 3, **DEAD), 61.0, False),
    "ended_once_by_a_probe": (
        pods("v2", 3, **{**DEAD, "killed": True, "restarts": 1}), 10.0, False,
    ),
    "ended_with_their_nodes": (
        pods("v2", 3, **{**DEAD, "killed": True, "restarts": 0}), 10.0, False,
    ),
    "starting": (pods("v2", 3, ready=False, was_ready=False), 10.0, False),
    "none": ((), 10.0, False),
}  # fmt: skip


@pytest.mark.parametrize(("alive", "minutes", "returns"), CRASHED.values(), ids=CRASHED.keys())
def test_a_promoted_version_whose_pods_all_crash_is_left(
    alive: Any, minutes: float, returns: bool
) -> None:
    outcome = decided(replace(guarded(FINE, minutes=minutes), pods=alive))
    assert isinstance(phase_of(outcome.status), Returning) is returns
    if returns:
        assert outcome.status.rejected[0].evidence == (
            "all 3 pods crashed: pod digits-v2-0 (restarts: 2): exit code 1"
        )


def test_a_clock_that_jumps_neither_ends_the_guard_nor_puts_it_off() -> None:
    """It is over once an operator has watched for as long as it is."""
    guard = a_guard("v2", since_led=100.0)
    status = a_status(stable="v2", last_good=a_tried("v1"), guard=guard)
    for days in (-30, 1, 30):
        now = NOW + timedelta(days=days)
        seen = a_snapshot(a_deployment("v2", status=status), now=now, pods=pods("v2", 3), led=160.0)
        seen = replace(seen, processes=FINE)
        assert decide_deployment(seen)[0].status.guard is not None
        over = replace(seen, led=100.0 + 24 * 3600)
        assert decide_deployment(over)[0].status.guard is None
