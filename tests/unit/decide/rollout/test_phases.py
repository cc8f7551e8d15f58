"""Phases: read from a status and written to it, also from statuses of an older operator."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_guard,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    pods,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.led_time import Instant
from trimtab.decide.rollout.phases import (
    Pause,
    Phase,
    Progress,
    Promoting,
    Returning,
    Starting,
    Stepping,
    paused_by_person,
    paused_by_step,
    phase_of,
    promoting,
    resumed,
)
from trimtab.decide.rollout.report import report
from trimtab.decide.rollout.wanted import decide_wanted

TWO = a_tried("v2")
PROGRESS = Progress(a_step(0.5, index=1), 120.0, NOW + seconds(3), withdrawn=True)
PHASES: dict[str, Phase] = {
    "starting": Starting(candidate=TWO, started=NOW),
    "starting_paused": Starting(
        candidate=TWO, started=NOW, pause=paused_by_person(Instant(NOW), "ann"), paused_seconds=3.0
    ),
    "stepping": Stepping(candidate=TWO, started=NOW, progress=PROGRESS),
    "stepping_paused": Stepping(
        candidate=TWO, started=NOW, progress=Progress(a_step()), pause=paused_by_step(Instant(NOW))
    ),
    "promoting": Promoting(candidate=TWO, started=NOW),
    "promoting_by_person": Promoting(
        candidate=TWO, started=NOW, progress=PROGRESS, promoted_by="ann"
    ),
    "returning": Returning(candidate=TWO, started=NOW),
}


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES.keys())
def test_a_phase_comes_back_from_status_as_it_was_written(phase: Phase) -> None:
    stored = json.loads(json.dumps(a_status(phase).to_json()))
    assert phase_of(DeploymentStatus.model_validate(stored, context={"stored": True})) == phase


def test_there_is_no_phase_without_a_rollout_or_a_candidate() -> None:
    assert phase_of(a_status()) is None
    assert phase_of(a_status(candidate=TWO)) is None
    lost = a_status(PHASES["starting"]).model_copy(update={"candidate": None})
    assert phase_of(lost) is None


def test_stepping_without_a_step_starts_again() -> None:
    status = a_status(PHASES["stepping"])
    assert status.rollout is not None
    edited = status.rollout.model_copy(update={"step": None})
    assert phase_of(status.model_copy(update={"rollout": edited})) == PHASES["starting"]


OLD_PAUSES = {
    "step": Pause(NOW, "step", Reason.PAUSED_BY_STEP),
    "ann": Pause(NOW, "ann", Reason.PAUSED_BY_PERSON),
    None: Pause(NOW, "a person", Reason.PAUSED_BY_PERSON),
}


@pytest.mark.parametrize("by", OLD_PAUSES)
def test_a_pause_of_an_older_status_is_read(by: str | None) -> None:
    status = a_status(PHASES["stepping"])
    assert status.rollout is not None
    old = status.rollout.model_copy(update={"paused_since": NOW, "paused_by": by})
    phase = phase_of(status.model_copy(update={"rollout": old}))
    assert phase is not None
    assert phase.pause == OLD_PAUSES[by]


def test_a_person_called_step_is_a_person() -> None:
    phase = phase_of(a_status(a_stepping(pause=paused_by_person(Instant(NOW), "step"))))
    assert phase is not None
    assert phase.pause == Pause(NOW, "step", Reason.PAUSED_BY_PERSON)


BREACHES = {
    "no_way_back": ("errors: 9 of 10", "NoWayBack", "NoWayBack"),
    "breached": ("errors: 9 of 10", "GuardBreached", "GuardBreached"),
    "first_version": ("errors: 9 of 10", "FirstVersionFailed", "GuardBreached"),
    "no_way_back_in_an_older_status": ("NoWayBack: errors: 9 of 10", None, "NoWayBack"),
    "breached_in_an_older_status": ("errors: 9 of 10", None, "GuardBreached"),
}


@pytest.mark.parametrize(("text", "reason", "told"), BREACHES.values(), ids=BREACHES.keys())
def test_the_reason_of_a_breach_is_a_value(text: str, reason: str | None, told: str) -> None:
    guard = a_guard("v1", breached=text, breach_reason=reason)
    deployment = a_deployment("v1", status=a_status(guard=guard, last_good=a_tried("v2")))
    snapshot = a_snapshot(deployment, pods=pods("v1", 3))
    status, _ = report(snapshot, decide_wanted(snapshot))
    (degraded,) = (c for c in status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason, degraded.message) == ("True", told, text)


def test_the_deadline_stands_still_in_a_pause() -> None:
    later = NOW + timedelta(minutes=2)
    paused = a_stepping(pause=paused_by_person(Instant(NOW), "ann"), paused_seconds=5.0)
    assert resumed(paused, Instant(later)) == a_stepping(paused_seconds=125.0)
    assert resumed(a_stepping(), Instant(later)) == a_stepping()


def test_of_a_pause_counts_what_an_operator_led() -> None:
    """What nobody led stands still already."""
    paused = a_stepping(pause=paused_by_person(Instant(NOW, 100.0), "ann"))
    later = Instant(NOW + timedelta(hours=3), 130.0)
    assert resumed(paused, later).paused_seconds == 30.0


def test_promoting_takes_along_how_far_the_steps_have_come() -> None:
    by_ann = promoting(PHASES["stepping"], by="ann")
    assert by_ann == Promoting(candidate=TWO, started=NOW, progress=PROGRESS, promoted_by="ann")
    assert promoting(PHASES["returning"]) == Promoting(candidate=TWO, started=NOW)
