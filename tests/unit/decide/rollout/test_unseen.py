"""A guard that sees nothing: it says so, lasts longer, and calls nobody good."""

from __future__ import annotations

from datetime import timedelta
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
    a_tried,
    pods,
)

from trimtab.api.conditions import ConditionType, EventReason, Reason, find_condition, set_condition
from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.snapshot import Memory, ProcessView, Snapshot

SILENT = (a_process("v2", 100.0, problem=Reason.BACKEND_DOWN),)
IDLE = (*SILENT, a_process("v2", 0.0, process="v2-1/1"))
"""One pod is read, and had no requests."""
SAYS = "no figures of the pods of v2 can be read (BackendDown): the guard sees nothing"


def guarded(
    processes: tuple[ProcessView, ...],
    *,
    minutes: float,
    unseen: float | None = None,
    said: float | None = None,
    until: float = 60.0,
    good: str | None = "v1",
    rollout: dict[str, Any] | None = None,
) -> Snapshot:
    """Return v2 under guard for an hour, `minutes` after its promotion.

    unseen, said: minutes after it since when nothing is seen, and that is said. until: its end.
    """
    guard = a_guard("v2", until=NOW + timedelta(minutes=until))
    conditions = []
    if said is not None:
        at = NOW + timedelta(minutes=said)
        conditions = set_condition(
            [], ConditionType.DATA_AVAILABLE, False, Reason.NOTHING_SEEN, SAYS, now=at, generation=1
        )
    last_good = None if good is None else a_tried(good)
    status = a_status(stable="v2", guard=guard, last_good=last_good, conditions=conditions)
    deployment = a_deployment(
        status=status, rollout=rollout or {"gates": [ERRORS_GATE]}, guard={"for": "1h"}
    )
    since = None if unseen is None else NOW + timedelta(minutes=unseen)
    return a_snapshot(
        deployment,
        now=NOW + timedelta(minutes=minutes),
        pods=pods("v2", 3),
        processes=processes,
        memory=Memory(unseen_since=since),
    )


def decided(snapshot: Snapshot) -> Outcome[DeploymentStatus, ChildAction]:
    outcome, _ = decide_deployment(snapshot)
    return outcome


def data(outcome: Outcome[DeploymentStatus, ChildAction]) -> tuple[str, str, str]:
    found = find_condition(outcome.status.conditions, ConditionType.DATA_AVAILABLE)
    assert found is not None
    return found.status, found.reason, found.message


NOT_SAID = ("Unknown", Reason.NO_ROLLOUT)
SAID = {
    "after_a_minute": (guarded(SILENT, minutes=6, unseen=5), ("False", Reason.NOTHING_SEEN)),
    "not_at_once": (guarded(SILENT, minutes=6, unseen=5.5), NOT_SAID),
    "it_stands_after_a_restart": (
        guarded(SILENT, minutes=6, said=3),
        ("False", Reason.NOTHING_SEEN),
    ),
    "not_of_one_without_requests": (guarded(IDLE, minutes=6, unseen=5), NOT_SAID),
    "it_is_over_at_the_first_figures": (guarded(IDLE, minutes=6, unseen=3, said=4), NOT_SAID),
    "not_where_nothing_is_looked_for": (
        guarded(SILENT, minutes=6, unseen=5, rollout={"strategy": "rolling"}),
        NOT_SAID,
    ),
}


@pytest.mark.parametrize(("snapshot", "expected"), SAID.values(), ids=SAID.keys())
def test_that_the_guard_sees_nothing_is_said(snapshot: Snapshot, expected: Any) -> None:
    status, reason, message = data(decided(snapshot))
    assert (status, reason) == expected
    if status == "False":
        assert message == SAYS


def test_since_when_nothing_is_seen_is_remembered() -> None:
    _, memory = decide_deployment(guarded(SILENT, minutes=5))
    assert memory.unseen_since == NOW + timedelta(minutes=5)
    _, memory = decide_deployment(guarded(SILENT, minutes=6, unseen=5))
    assert memory.unseen_since == NOW + timedelta(minutes=5)
    _, memory = decide_deployment(guarded(IDLE, minutes=6, unseen=5))
    assert memory.unseen_since is None


def test_the_guard_lasts_longer_by_what_it_did_not_see() -> None:
    outcome = decided(guarded(IDLE, minutes=50, said=20))
    assert outcome.status.guard is not None
    assert outcome.status.guard.until == NOW + timedelta(minutes=90)
    again = decided(guarded(IDLE, minutes=50, until=90))
    assert again.status.guard is not None
    assert again.status.guard.until == NOW + timedelta(minutes=90)


def test_it_does_not_end_while_it_sees_nothing() -> None:
    outcome = decided(guarded(SILENT, minutes=61, said=20))
    assert outcome.status.guard is not None
    assert outcome.notes == ()
    assert outcome.wake_at == NOW + timedelta(minutes=62)


UNKNOWN = (
    "the guard over v2 is over, and for half of its time or more no figures of its pods could be "
    "read: nobody knows whether it is good"
)


@pytest.mark.parametrize(
    "snapshot",
    [
        guarded(SILENT, minutes=120, said=20, good=None),
        guarded(IDLE, minutes=121, said=10, good=None),
        guarded(IDLE, minutes=121, until=120, good=None),
    ],
    ids=["to the end", "almost to the end", "for the most part"],
)
def test_one_that_saw_nothing_ends_in_time_and_calls_nobody_good(snapshot: Snapshot) -> None:
    outcome = decided(snapshot)
    assert outcome.status.guard is None
    assert outcome.status.last_good is None
    assert [(note.reason, note.message) for note in outcome.notes] == [
        (EventReason.GUARD_UNSEEN, UNKNOWN)
    ]


def test_one_that_was_away_for_a_while_ends_as_any_other() -> None:
    outcome = decided(guarded(IDLE, minutes=90, until=90))
    assert [note.reason for note in outcome.notes] == [EventReason.GUARD_PASSED]
