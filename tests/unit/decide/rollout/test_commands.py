"""Commands of a person: what each does, and why it is refused."""

from __future__ import annotations

from collections.abc import Mapping
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
    a_rejection,
    a_snapshot,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    a_version,
    an_end,
    pods,
    revision,
    seconds,
)

from trimtab.api.deployment import BackOff, DeploymentStatus, GuardStatus, Tried
from trimtab.api.model_version import ModelVersion
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout.children import ChildAction
from trimtab.decide.rollout.commands import Command, parse_command
from trimtab.decide.rollout.ends import is_flapping
from trimtab.decide.rollout.judgement import counted_from
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import (
    Phase,
    Promoting,
    Returning,
    Starting,
    Stepping,
    deadline_of,
    paused_by_person,
    phase_of,
)
from trimtab.decide.rollout.snapshot import PodView

STARTING = Starting(candidate=a_tried("v2"), started=NOW)
RETURNING = Returning(candidate=a_tried("v1"), started=NOW)
PAUSED = paused_by_person(Instant(NOW - seconds(30)), "bob")
HERE = revision("v2")
VERSIONS = tuple(a_version(f"v{n}", age=100.0 - n) for n in (1, 2, 3))


def after(
    command: str,
    phase: Phase | None,
    *,
    now: datetime = NOW,
    ready: tuple[PodView, ...] | None = None,
    versions: tuple[ModelVersion, ...] = VERSIONS,
    incompatible: Mapping[str, str] | None = None,
    rollout: Mapping[str, Any] | None = None,
    **status: Any,
) -> Outcome[DeploymentStatus, ChildAction]:
    """Decide with a command of ann's, `verb/argument`, by which v2 is wanted and tried."""
    notes = {"trimtab.dev/command": f"{command}/7", "trimtab.dev/command-by": "ann"}
    deployment = a_deployment(
        "v2",
        status=a_status(phase, **status),
        annotations=notes,
        rollout={"gates": [ERRORS_GATE], **(rollout or {})},
    )
    snapshot = a_snapshot(
        deployment,
        now=now,
        pods=(*pods("v1", 3), *pods("v2", 1)) if ready is None else ready,
        versions=versions,
        incompatible=incompatible or {},
    )
    outcome, _ = decide_deployment(snapshot)
    return outcome


def answer(outcome: Outcome[DeploymentStatus, ChildAction]) -> tuple[str, str]:
    (told,) = (n for n in outcome.notes if n.reason.value.startswith("Command"))
    assert told.inputs == {"command": "7", "by": "ann"}
    return told.reason.value, told.message


REFUSED: dict[str, tuple[str, Phase | None, dict[str, Any], str]] = {
    "promote_at_rest": ("promote/-", None, {}, "no rollout is under way"),
    "abort_at_rest": ("abort/-", None, {}, "no rollout is under way"),
    "pause_at_rest": ("pause/-", None, {}, "no rollout is under way"),
    "another_candidate": (
        "abort/0123456789",
        STARTING,
        {},
        f"the candidate is {HERE} by now, not 0123456789",
    ),
    "resume_without_a_pause": ("resume/-", STARTING, {}, "the rollout is not paused"),
    "retry_of_what_is_free": ("retry/-", None, {}, f"{HERE} is not quarantined"),
    "rollback_without_a_way": (
        "rollback/-",
        None,
        {},
        "there is no other version known to be good; name one with --to",
    ),
    "rollback_to_nothing": (
        "rollback/v9",
        None,
        {},
        "no ModelVersion of the line digits has version v9",
    ),
    "rollback_to_another_than_serves": (
        "rollback/v77",
        a_stepping(),
        {},
        "v2 is being rolled out and v1 serves: abort the rollout first",
    ),
    "rollback_to_what_serves": ("rollback/v1", None, {}, "v1 serves already"),
    "rollback_to_a_quarantined_one": (
        "rollback/v3",
        None,
        {"rejected": [a_rejection("v3")]},
        "v3 is quarantined; trimtab retry mdep/digits v3 lifts that",
    ),
    "rollback_to_a_last_good_that_is_quarantined": (
        "rollback/v0",
        None,
        {"rejected": [a_rejection("v0")], "last_good": a_tried("v0")},
        "v0 is quarantined; trimtab retry mdep/digits v0 lifts that",
    ),
    "unheard_of": (
        "explode/-",
        None,
        {},
        "unknown command; known are promote, abort, pause, resume, retry, rollback",
    ),
}


@pytest.mark.parametrize(
    ("command", "phase", "status", "why"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_is_refused_says_why(
    command: str, phase: Phase | None, status: dict[str, Any], why: str
) -> None:
    verb = command.partition("/")[0]
    assert answer(after(command, phase, **status)) == (
        "CommandRefused", f"{verb} by ann: {why}",
    )  # fmt: skip


def test_promote_skips_the_rest_and_ends_a_pause() -> None:
    for argument in ("-", HERE):
        outcome = after(f"promote/{argument}", a_stepping(pause=PAUSED))
        assert answer(outcome) == ("CommandCarriedOut", "promote by ann")
        phase = phase_of(outcome.status)
        assert isinstance(phase, Promoting)
        assert (phase.promoted_by, phase.pause, phase.paused_seconds) == ("ann", None, 0.0)
        assert phase.progress is not None


def test_abort_quarantines_by_the_person() -> None:
    outcome = after("abort/-", a_stepping())
    assert phase_of(outcome.status) is None
    (rejected,) = outcome.status.rejected
    assert (rejected.revision, rejected.reason, rejected.by) == (HERE, "ByPerson", "ann")
    assert (outcome.notes[0].reason.value, outcome.notes[0].message) == (
        "Aborted", "v2 rolled back, v1 serves: aborted by ann",
    )  # fmt: skip
    assert outcome.status.history[-1].outcome == "Aborted"
    assert not outcome.status.history[-1].automatic


@pytest.mark.parametrize("verb", ["abort", "rollback"])
@pytest.mark.parametrize("ready", [0, 1])
def test_who_ends_the_first_version_is_named(verb: str, ready: int) -> None:
    outcome = after(f"{verb}/-", STARTING, stable=None, ready=pods("v2", ready))
    assert answer(outcome) == ("CommandCarriedOut", f"{verb} by ann")
    (rejected,) = outcome.status.rejected
    entry = outcome.status.history[-1]
    assert (rejected.reason, rejected.by, entry.by, entry.automatic) == (
        "ByPerson", "ann", "ann", False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["trimtab", "onDeadline"])
def test_nobody_passes_for_the_operator(name: str) -> None:
    notes = {"trimtab.dev/command": "abort/-/7", "trimtab.dev/command-by": name}
    assert parse_command(notes) == Command("abort", "-", "7", "unknown")


PROMOTABLE = {
    "starting": Starting(candidate=a_tried("v2"), started=NOW),
    "stepping": a_stepping(),
    "paused": a_stepping(pause=PAUSED),
    "promoting": Promoting(candidate=a_tried("v2"), started=NOW),
}


@pytest.mark.parametrize("stable", ["v1", None])
@pytest.mark.parametrize("late", [timedelta(minutes=14, seconds=59), timedelta(hours=5)])
@pytest.mark.parametrize("phase", PROMOTABLE.values(), ids=PROMOTABLE.keys())
def test_who_is_promoted_by_a_person_has_the_time_of_a_rollout_for_its_pods(
    phase: Phase, late: timedelta, stable: str | None
) -> None:
    outcome = after("promote/-", phase, now=NOW + late, stable=stable, ready=pods("v1", 3))
    growing = phase_of(outcome.status)
    assert isinstance(growing, Promoting)
    assert outcome.wake_at is not None
    assert deadline_of(a_deployment().spec, growing, Instant(NOW)) >= NOW + late + timedelta(
        minutes=15
    )
    assert outcome.status.rejected == []


def test_promotion_by_a_person_leaves_what_was_counted() -> None:
    later = NOW + timedelta(minutes=10)
    outcome = after("promote/-", a_stepping(), now=later, ready=pods("v2", 1))
    phase = phase_of(outcome.status)
    assert isinstance(phase, Promoting)
    assert phase.progress is not None
    assert counted_from(phase, phase.progress) == NOW


def test_pause_and_resume() -> None:
    outcome = after("pause/-", a_stepping())
    phase = phase_of(outcome.status)
    assert isinstance(phase, Stepping)
    assert phase.pause == paused_by_person(Instant(NOW), "ann")
    paused = next(c for c in outcome.status.conditions if c.type == "Paused")
    assert (paused.reason, paused.message) == (
        "PausedByPerson", "by ann since 12:00:00Z; trimtab resume",
    )  # fmt: skip
    again = phase_of(after("pause/-", a_stepping(pause=PAUSED)).status)
    assert isinstance(again, Stepping)
    assert again.pause == PAUSED
    resumed = phase_of(after("resume/-", a_stepping(a_step(), pause=PAUSED)).status)
    assert isinstance(resumed, Stepping)
    assert (resumed.pause, resumed.paused_seconds) == (None, 30.0)


def test_retry_lifts_the_quarantine_and_begins_in_the_same_pass() -> None:
    for argument in ("-", HERE, "v2"):
        outcome = after(f"retry/{argument}", None, rejected=[a_rejection("v2"), a_rejection("v3")])
        assert [entry.version for entry in outcome.status.rejected] == ["v3"]
        assert isinstance(phase_of(outcome.status), Starting)
        assert outcome.status.history[-1].outcome == "QuarantineLifted"


def test_retry_ends_a_back_off_and_starts_the_count_of_rollbacks_anew() -> None:
    waiting = BackOff(revision=HERE, not_before=NOW + timedelta(hours=1))
    tried = after("retry/-", None, candidate=a_tried("v2"), back_off=waiting)
    assert isinstance(phase_of(tried.status), Starting)
    history = [an_end("v4"), an_end("v5"), an_end("v2")]
    anew = after("retry/-", None, rejected=[a_rejection("v2")], history=history)
    assert isinstance(phase_of(anew.status), Starting)


@pytest.mark.parametrize("command", ["rollback/-", "rollback/v1"])
def test_rollback_during_a_rollout_returns_to_what_serves(command: str) -> None:
    outcome = after(command, a_stepping())
    assert answer(outcome) == ("CommandCarriedOut", "rollback by ann")
    assert outcome.status.history[-1].outcome == "Aborted"
    assert [entry.version for entry in outcome.status.rejected] == ["v2"]


def test_a_refused_rollback_changes_nothing() -> None:
    rejected = [a_rejection("v3")]
    outcome = after("rollback/v3", None, rejected=rejected, last_good=a_tried("v1"), stable="v2")
    assert outcome.status.last_good is not None
    assert outcome.status.last_good.version == "v1"
    assert outcome.status.rejected == rejected


@pytest.mark.parametrize("last_good", [None, a_tried("v1")], ids=["none_known", "v1"])
@pytest.mark.parametrize("argument", ["-", "v1", "v3"])
def test_a_rollback_of_nothing_changes_nothing(last_good: Tried | None, argument: str) -> None:
    rejected = [a_rejection("v2")]
    outcome = after(
        f"rollback/{argument}", None, stable=None, last_good=last_good, rejected=rejected
    )
    why = "rollback by ann: nothing serves that could be left; name another with spec.version"
    assert answer(outcome) == ("CommandRefused", why)
    kept = outcome.status.last_good
    assert (kept and kept.version) == (last_good and last_good.version)
    assert outcome.status.rejected == rejected


def test_a_version_that_was_named_is_good_only_once_it_serves() -> None:
    outcome = after("rollback/v3", None, stable="v2", last_good=a_tried("v1"))
    assert outcome.status.last_good is not None
    assert outcome.status.last_good.version == "v1"
    late = NOW + timedelta(minutes=15)
    notes = {"trimtab.dev/command": "rollback/v3/7"}
    dead = a_pod("v3", ready=False, was_ready=False)
    deployment = a_deployment("v2", status=outcome.status, annotations=notes)
    given_up, _ = decide_deployment(a_snapshot(deployment, now=late, pods=(*pods("v2", 3), dead)))
    assert phase_of(given_up.status) is None
    assert given_up.status.last_good is not None
    assert given_up.status.last_good.version == "v1"
    arrived, _ = decide_deployment(a_snapshot(deployment, pods=(*pods("v2", 3), *pods("v3", 3))))
    assert arrived.status.stable is not None
    assert arrived.status.last_good is not None
    assert (arrived.status.stable.version, arrived.status.last_good.version) == ("v3", "v3")


INTO_WORSE: dict[str, tuple[str, dict[str, Any], str]] = {
    "a_rejected_one": (
        "v3",
        {"versions": (*VERSIONS[:2], a_version("v3", phase="Rejected"))},
        "ModelVersion digits-v3 is rejected",
    ),
    "one_nobody_has_verified": (
        "v3",
        {"versions": (*VERSIONS[:2], a_version("v3", phase="Pending"))},
        "waiting until ModelVersion digits-v3 is verified",
    ),
    "one_without_an_image": (
        "v3",
        {"versions": (*VERSIONS[:2], a_version("v3", form="custom"))},
        "a custom artifact needs spec.serving.image",
    ),
    "one_that_does_not_accept_what_stable_accepts": (
        "v3",
        {"incompatible": {"digits-v3": "input x was removed"}},
        "digits-v3 does not accept what stable accepts: input x was removed",
    ),
    "a_last_good_that_was_rejected_since": (
        "v1",
        {"versions": (a_version("v1", phase="Rejected"), *VERSIONS[1:])},
        "ModelVersion digits-v1 is rejected",
    ),
}


@pytest.mark.parametrize(("to", "fields", "why"), INTO_WORSE.values(), ids=INTO_WORSE.keys())
def test_rollback_by_name_into_what_may_not_serve_is_refused(
    to: str, fields: dict[str, Any], why: str
) -> None:
    outcome = after(f"rollback/{to}", None, stable="v2", last_good=a_tried("v1"), **fields)
    told, message = answer(outcome)
    assert (told, message.startswith(f"rollback by ann: {why}")) == ("CommandRefused", True)
    assert outcome.status.last_good is not None
    assert outcome.status.last_good.version == "v1"
    assert outcome.status.rejected == []
    assert phase_of(outcome.status) is None


def test_rollback_by_name_into_an_incompatible_version_can_be_insisted_on() -> None:
    fields: dict[str, Any] = {"stable": "v2", "last_good": a_tried("v1")}
    incompatible = {"digits-v3": "input x was removed", "digits-v1": "input y is new and required"}
    insisted = after(
        "rollback/v3",
        None,
        incompatible=incompatible,
        rollout={"allowIncompatible": True},
        **fields,
    )
    assert isinstance(phase_of(insisted.status), Returning)
    # What served before is the way back, whatever its successor has learnt to accept.
    before = after("rollback/v1", None, incompatible=incompatible, ready=pods("v2", 3), **fields)
    assert isinstance(phase_of(before.status), Returning)


RETURNS = {
    "to_the_last_good": ("rollback/-", "v1"),
    "to_it_by_name": ("rollback/v1", "v1"),
    "to_another": ("rollback/v3", "v3"),
}


@pytest.mark.parametrize(("command", "version"), RETURNS.values(), ids=RETURNS.keys())
def test_rollback_returns(command: str, version: str) -> None:
    outcome = after(command, None, stable="v2", last_good=a_tried("v1"))
    phase = phase_of(outcome.status)
    if version == "v1":
        # All its pods are Ready still, so it is back at once.
        assert outcome.status.stable is not None
        assert outcome.status.stable.version == "v1"
    else:
        assert isinstance(phase, Returning)
        assert phase.candidate.version == version
    assert outcome.status.rejected[0].by == "ann"


@pytest.mark.parametrize("verb", ["promote", "abort", "pause", "resume", "rollback"])
def test_a_way_back_goes_on_whatever_is_commanded(verb: str) -> None:
    outcome = after(f"{verb}/-", RETURNING, stable="v2", last_good=a_tried("v1"))
    why = (
        f"{verb} by ann: the way back to v1 is under way, and goes on; once it is over, "
        "trimtab retry mdep/digits v2 or trimtab rollback mdep/digits --to VERSION"
    )
    assert answer(outcome) == ("CommandRefused", why)
    assert outcome.status.rejected == []
    assert outcome.status.history == []


@pytest.mark.parametrize("verb", ["promote", "pause", "resume"])
def test_what_another_version_ends_in_this_very_pass_is_refused(verb: str) -> None:
    outcome = after(f"{verb}/-", a_stepping(candidate=a_tried("v3")))
    assert answer(outcome) == (
        "CommandRefused",
        f"{verb} by ann: v3 is dropped: v2 is wanted now",
    )


def test_retry_lets_automatic_things_go_on_after_three_rollbacks() -> None:
    ended = [an_end(name, at=NOW - seconds(60)) for name in ("v3", "v4", "v5")]
    outcome = after("retry/-", None, history=ended)
    assert answer(outcome) == ("CommandCarriedOut", "retry by ann")
    assert not is_flapping(outcome.status.history, NOW)
    assert isinstance(phase_of(outcome.status), Starting)


FLAPPING: dict[str, tuple[str, Phase | None, dict[str, Any]]] = {
    "the_last_one_is_quarantined": ("retry/-", None, {"rejected": [a_rejection("v2")]}),
    "another_one_is": ("retry/-", None, {"rejected": [a_rejection("v5")]}),
    "by_the_name_of_what_serves": ("retry/v1", None, {}),
    "nothing_else_is_wanted": ("retry/-", None, {"stable": "v2"}),
    "an_undecided_one_waits": ("retry/-", None, {"candidate": a_tried("v2")}),
    "one_is_being_tried": ("retry/-", a_stepping(), {}),
    "on_the_way_back": ("retry/-", RETURNING, {"stable": "v2", "last_good": a_tried("v1")}),
}


@pytest.mark.parametrize(("command", "phase", "status"), FLAPPING.values(), ids=FLAPPING.keys())
def test_retry_is_the_way_out_of_flapping_wherever_it_is_named(
    command: str, phase: Phase | None, status: dict[str, Any]
) -> None:
    ended = [an_end(name, at=NOW - seconds(60)) for name in ("v3", "v4", "v5")]
    outcome = after(command, phase, history=ended, **status)
    assert answer(outcome)[0] == "CommandCarriedOut"
    degraded = next(c for c in outcome.status.conditions if c.type == "Degraded")
    assert degraded.reason != "Flapping"


BREACHED = a_guard("v2", breached="NoWayBack: v1 did not start", breach_reason="NoWayBack")
FAILED = a_guard("v2", breached="exit code 1", breach_reason="FirstVersionFailed")


@pytest.mark.parametrize("guard", [BREACHED, FAILED], ids=["no_way_back", "first"])
def test_retry_of_what_serves_though_it_failed_guards_it_anew(guard: GuardStatus) -> None:
    rejected = [a_rejection("v2")]
    outcome = after("retry/-", None, stable="v2", guard=guard, rejected=rejected)
    assert answer(outcome)[0] == "CommandCarriedOut"
    assert outcome.status.rejected == []
    assert outcome.status.guard is not None
    assert (outcome.status.guard.breached, outcome.status.guard.since) == (None, NOW)
    assert next(c for c in outcome.status.conditions if c.type == "Degraded").status == "False"


LATE_RETURN = replace(RETURNING, started=NOW - timedelta(hours=1))
BACK: dict[str, Any] = {"stable": "v2", "last_good": a_tried("v1"), "rejected": [a_rejection("v2")]}


def test_who_waits_for_a_way_back_may_name_another_version() -> None:
    phase = phase_of(after("rollback/v3", LATE_RETURN, ready=pods("v2", 3), **BACK).status)
    assert isinstance(phase, Returning)
    assert (phase.candidate.version, phase.started) == ("v3", NOW)
    for command in ("rollback/v1", "rollback/-", "abort/-"):
        outcome = after(command, LATE_RETURN, ready=pods("v2", 3), **BACK)
        assert answer(outcome)[0] == "CommandRefused"
        assert "once it finds a place to start" in answer(outcome)[1]
        phase = phase_of(outcome.status)
        assert isinstance(phase, Returning)
        assert (phase.candidate.version, phase.started) == ("v1", LATE_RETURN.started)


def test_who_waits_for_a_way_back_may_keep_what_serves() -> None:
    outcome = after("retry/v2", LATE_RETURN, ready=pods("v2", 3), **BACK)
    assert phase_of(outcome.status) is None
    assert outcome.status.stable is not None
    assert outcome.status.stable.version == "v2"
    assert outcome.status.guard is not None
    assert outcome.status.guard.breached is None


def test_a_command_is_carried_out_once() -> None:
    outcome = after("abort/-", a_stepping(), commands=["7"])
    assert outcome.notes == ()
    assert isinstance(phase_of(outcome.status), Stepping)
    assert after("abort/-", a_stepping()).status.commands == ["7"]


MALFORMED = ["", "abort", "abort/-", "abort//7", "abort/-/7/8", "abort/-/" + "7" * 65]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_command(text: str) -> None:
    assert parse_command({"trimtab.dev/command": text}) is None


def test_a_command_without_a_name_is_by_somebody_unknown() -> None:
    assert parse_command({}) is None
    assert parse_command({"trimtab.dev/command": "abort/-/7"}) == Command(
        "abort", "-", "7", "unknown"
    )
