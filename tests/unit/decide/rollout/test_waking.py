"""What time alone changes is looked at in time, also where nothing else wakes a Deployment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_guard,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    an_end,
    pods,
    revision,
    seconds,
)

from trimtab.api.deployment import BackOff, Retiring
from trimtab.decide.led_time import Instant
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Promoting, Returning, Starting, paused_by_person
from trimtab.decide.rollout.snapshot import ProcessView, Snapshot

TWO = a_tried("v2")
DEADLINE = timedelta(minutes=15)
PROMOTING = Promoting(candidate=TWO, started=NOW)
RETURNING = Returning(candidate=a_tried("v1"), started=NOW)
WAITING = BackOff(revision=TWO.revision, not_before=NOW)
GATED: dict[str, Any] = {
    "rollout": {"gates": [{"name": "errors", "bad": "errors", "against": "stable"}]}
}
GUARDED: dict[str, Any] = {"stable": "v2", "last_good": a_tried("v1")}


def seen(
    status: Any,
    *,
    ready: tuple[Any, ...] = (),
    now: datetime = NOW,
    processes: tuple[ProcessView, ...] = (a_process("v2"),),
    **spec: Any,
) -> Snapshot:
    deployment = a_deployment("v2", status=status, **spec)
    return a_snapshot(deployment, pods=ready, now=now, processes=processes)


ALL = (*pods("v1", 4), *pods("v2", 4))
LOOKS: dict[str, tuple[Snapshot, timedelta]] = {
    "the_old_pods_of_a_promotion_are_let_go": (
        seen(a_status(PROMOTING), ready=ALL),
        seconds(60),
    ),
    "the_first_guard_ends": (
        seen(a_status(PROMOTING, stable=None), ready=ALL, guard={"for": "2h"}),
        timedelta(hours=2),
    ),
    "a_guard_that_sees_nothing": (
        seen(a_status(guard=a_guard("v2"), stable="v2"), ready=ALL, processes=(), **GATED),
        seconds(60),
    ),
    "the_control_of_a_promotion_ends": (
        seen(
            a_status(guard=a_guard("v2"), retiring=None, **GUARDED),
            ready=ALL,
            replicas=4,
            **GATED,
        ),
        timedelta(hours=1),
    ),
    "who_was_promoted_unjudged_is_judged_on": (
        seen(
            a_status(a_stepping(a_step(), started=NOW - DEADLINE)),
            ready=pods("v1", 3),
            rollout={"onDeadline": "promote"},
        ),
        seconds(60),
    ),
    "the_undecided_are_tried_again": (
        seen(a_status(a_stepping(a_step(), started=NOW - DEADLINE)), ready=pods("v1", 3)),
        seconds(60),
    ),
    "who_is_tried_again_has_a_deadline": (
        seen(a_status(candidate=TWO, back_off=WAITING), ready=pods("v1", 3)),
        DEADLINE,
    ),
    "who_supersedes_has_a_deadline": (
        seen(a_status(a_stepping(candidate=a_tried("v3"))), ready=pods("v1", 3)),
        DEADLINE,
    ),
    "whoever_is_in_a_step_is_judged": (
        seen(a_status(a_stepping(a_step())), ready=ALL),
        seconds(60),
    ),
    "and_not_before_figures_can_have_come": (
        seen(
            a_status(a_stepping(a_step())),
            ready=ALL,
            metrics={"scrape": {"interval": "45s"}},
        ),
        seconds(90),
    ),
    "a_return_has_a_deadline": (
        seen(
            a_status(RETURNING, stable="v2", rejected=[a_rejection("v2")]),
            ready=pods("v2", 3),
        ),
        DEADLINE,
    ),
    "flapping_ends": (
        seen(
            a_status(
                stable="v2",
                history=[an_end(f"v{n}", at=NOW - timedelta(minutes=30 - n)) for n in (3, 4, 5)],
            ),
            ready=ALL,
        ),
        timedelta(minutes=33, seconds=1),
    ),
    "a_version_without_pods_is_degraded": (
        seen(a_status(stable="v2"), ready=pods("v2", 2)),
        seconds(61),
    ),
}


@pytest.mark.parametrize(("snapshot", "later"), LOOKS.values(), ids=LOOKS.keys())
def test_it_is_looked_at_again_when(snapshot: Snapshot, later: timedelta) -> None:
    outcome, _ = decide_deployment(snapshot)
    assert outcome.wake_at == NOW + later


RESTS: dict[str, Snapshot] = {
    "at_rest": seen(a_status(stable="v2"), ready=ALL),
    "after_the_old_pods_were_let_go": seen(
        a_status(stable="v2", retiring=Retiring(revision=revision("v1"), until=NOW)), ready=ALL
    ),
    "while_a_person_has_paused": seen(
        a_status(Starting(candidate=TWO, started=NOW, pause=paused_by_person(Instant(NOW), "ann"))),
        ready=ALL,
    ),
    "after_a_breach": seen(a_status(guard=a_guard("v2", breached="bad"), **GUARDED), ready=ALL),
}


@pytest.mark.parametrize("snapshot", RESTS.values(), ids=RESTS.keys())
def test_what_only_an_event_can_change_is_left_in_peace(snapshot: Snapshot) -> None:
    outcome, _ = decide_deployment(snapshot)
    assert outcome.wake_at is None
