"""What a person reads: conditions and columns in every phase, word for word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
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

from trimtab.api.conditions import Condition, Reason
from trimtab.api.deployment import BackOff, DeploymentStatus, GateStatus
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import Note
from trimtab.decide.rollout.phases import (
    Phase,
    Progress,
    Promoting,
    Returning,
    Starting,
    paused_by_step,
)
from trimtab.decide.rollout.report import report
from trimtab.decide.rollout.snapshot import Request
from trimtab.decide.rollout.wanted import decide_wanted

TWO = a_tried("v2")
STARTING = Starting(candidate=TWO, started=NOW)
NO_DATA = GateStatus(name="errors", verdict="NoData", reason=Reason.STALE, message="too old")
NO_TRAFFIC = GateStatus(name="errors", verdict="NoData", reason=Reason.NO_TRAFFIC, message="none")

UNREAD = GateStatus(name="errors", verdict="NoData", reason=Reason.WAITING, message="not yet")
SKIPPED = GateStatus(name="errors", verdict="Skipped", reason=Reason.NO_STABLE, message="")


def reported(
    phase: Phase | None = None,
    *,
    version: str = "v2",
    replicas: int = 3,
    rollout: Any = None,
    seen: Any = None,
    **status: Any,
) -> tuple[DeploymentStatus, tuple[Note, ...]]:
    """Report on a status with stable's three pods and one of the candidate's Ready."""
    fields: dict[str, Any] = {"pods": (*pods("v1", 3), *pods("v2", 1)), **(seen or {})}
    deployment = a_deployment(
        version, replicas=replicas, status=a_status(phase, **status), rollout=rollout
    )
    snapshot = a_snapshot(deployment, **fields)
    return report(snapshot, decide_wanted(snapshot))


def condition(status: DeploymentStatus, kind: str) -> tuple[str, str, str]:
    (one,) = (c for c in status.conditions if c.type == kind)
    return one.status, one.reason, one.message


PROGRESSING: dict[str, tuple[Phase | None, dict[str, Any], tuple[str, str, str]]] = {
    "at_rest": (None, {"version": "v1"}, ("False", "UpToDate", "nothing else is wanted")),
    "a_policy_asks_to_wait": (
        None,
        {"seen": {"requested": Request("pause", "drift: inputs moved")}},
        ("False", "PausedByPolicy", "v2 is not tried for now: drift: inputs moved"),
    ),
    "a_policy_asks_to_go_back": (
        None,
        {"version": "v1", "seen": {"requested": Request("rollback", "drift: inputs moved")}},
        ("False", "UpToDate", "nothing else is wanted"),
    ),
    "backing_off": (
        None,
        {"candidate": TWO, "back_off": BackOff(revision=TWO.revision, not_before=NOW)},
        ("False", "BackingOff", "undecided; tried again at 2026-01-01 12:00:00Z"),
    ),
    "starting": (STARTING, {}, ("True", "CandidateStarting", "v2 is starting")),
    "too_coarse": (
        STARTING,
        {"replicas": 1, "rollout": {"steps": [{"weight": "1%"}]}},
        (
            "True",
            "ShareTooLarge",
            "one pod would get 50% of the requests, far above the step; "
            "raise replicas or set rollout.allowCoarse",
        ),
    ),
    "in_a_step": (
        a_stepping(a_step(0.5, index=1)),
        {},
        ("True", "StepRunning", "v2 at step 2/2"),
    ),
    "without_data": (
        a_stepping(),
        {"gates": [NO_DATA]},
        ("True", "WaitingForData", "gate errors: Stale"),
    ),
    "in_the_first_seconds_of_a_step": (
        a_stepping(),
        {"gates": [NO_TRAFFIC]},
        ("True", "StepRunning", "v2 at step 1/2"),
    ),
    "without_traffic_later": (
        a_stepping(a_step(started=NOW - seconds(25))),
        {"gates": [NO_TRAFFIC]},
        ("True", "WaitingForData", "gate errors: NoTraffic"),
    ),
    "its_time_over_with_too_few_requests": (
        a_stepping(a_step(0.5, index=1, first_request=NOW - timedelta(minutes=30))),
        {},
        ("True", "WaitingForSamples", "0 of 50 requests (rollout.minSamples)"),
    ),
    "while_its_pods_warm_up": (
        a_stepping(a_step(started=NOW - seconds(59))),
        {"gates": [NO_TRAFFIC.model_copy(update={"name": "slow"})]},
        ("True", "StepRunning", "v2 at step 1/2"),
    ),
    "without_traffic_after_that": (
        a_stepping(a_step(started=NOW - seconds(60))),
        {"gates": [NO_TRAFFIC.model_copy(update={"name": "slow"})]},
        ("True", "WaitingForData", "gate slow: NoTraffic"),
    ),
    "its_time_just_over": (
        a_stepping(a_step(0.5, index=1, first_request=NOW - timedelta(minutes=2, seconds=9))),
        {},
        ("True", "StepRunning", "v2 at step 2/2"),
    ),
    "paused": (
        a_stepping(pause=paused_by_step(Instant(NOW))),
        {},
        ("True", "PausedByStep", "v2 waits for: trimtab resume"),
    ),
    "promoting": (
        Promoting(candidate=TWO, started=NOW),
        {},
        ("True", "Promoting", "v2 grows to full size"),
    ),
    "returning": (
        Returning(candidate=TWO, started=NOW),
        {},
        ("True", "RolledBack", "returning to v2"),
    ),
}


@pytest.mark.parametrize(
    ("phase", "fields", "expected"), PROGRESSING.values(), ids=PROGRESSING.keys()
)
def test_progressing(
    phase: Phase | None, fields: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    status, _ = reported(phase, **fields)
    assert condition(status, "Progressing") == expected


READY: dict[str, tuple[Phase | None, dict[str, Any], tuple[str, str, str]]] = {
    "serving": (None, {}, ("True", "Serving", "v1 serves with 3 pods wanted")),
    "no_pod": (None, {"seen": {"pods": ()}}, ("False", "NotEnoughReady", "0/3 pods of v1")),
    "at_zero": (
        None,
        {"replicas": 0},
        ("True", "ScaledToZero", "replicas is 0; set it to serve again"),
    ),
    "the_first_starts": (STARTING, {"stable": None}, ("False", "Starting", "v2 is starting")),
    "nothing_yet": (None, {"stable": None}, ("False", "Starting", "nothing serves yet")),
    "nothing_to_start": (
        None,
        {"stable": None, "seen": {"versions": ()}},
        (
            "False",
            "VersionMissing",
            "ModelVersion digits-v2 does not exist in this namespace; create it",
        ),
    ),
    "the_first_failed": (
        None,
        {
            "stable": None,
            "history": [an_end("v2", "FirstVersionFailed", message="pod crashed")],
            "rejected": [a_rejection("v2")],
        },
        ("False", "FirstVersionFailed", "pod crashed"),
    ),
}


@pytest.mark.parametrize(("phase", "fields", "expected"), READY.values(), ids=READY.keys())
def test_ready(phase: Phase | None, fields: dict[str, Any], expected: tuple[str, str, str]) -> None:
    status, _ = reported(phase, **fields)
    assert condition(status, "Ready") == expected


def test_data_is_available_or_not_only_in_a_step() -> None:
    cases = {
        ("Unknown", "NoRollout", "judged while a rollout runs"): reported(STARTING),
        ("Unknown", "Waiting", "nothing has been read yet in this step"): reported(a_stepping()),
        ("Unknown", "NoStable", "no stable version to compare with"): reported(
            a_stepping(), gates=[SKIPPED]
        ),
        ("True", "DataComplete", ""): reported(a_stepping(), gates=[NO_TRAFFIC]),
        ("False", "Stale", "gate errors: too old"): reported(a_stepping(), gates=[NO_DATA]),
    }
    for expected, (status, _) in cases.items():
        assert condition(status, "DataAvailable") == expected


@pytest.mark.parametrize("before", ["True", "False", "Unknown"])
def test_until_a_step_is_seen_nothing_is_said_that_was_not_known(before: str) -> None:
    known = Condition(type="DataAvailable", status=before, reason="x", last_transition_time=NOW)
    status, _ = reported(a_stepping(), gates=[UNREAD], conditions=[known])
    if before == "True":
        assert condition(status, "DataAvailable") == ("True", "DataComplete", "")
    else:
        assert condition(status, "DataAvailable")[:2] == ("Unknown", "Waiting")


def test_too_few_pods_for_more_than_a_minute_are_told() -> None:
    two = {"pods": pods("v1", 2)}
    status, _ = reported(seen=two)
    assert condition(status, "Degraded") == ("False", "AsWanted", "")
    status, _ = reported(seen={**two, "now": NOW + seconds(61)})
    assert condition(status, "Degraded") == ("True", "NotEnoughReady", "2/3 pods of v1 are Ready")


def test_what_flips_is_told_once() -> None:
    fields: dict[str, Any] = {
        "history": [an_end("v3"), an_end("v4"), an_end("v5")],
        "rejected": [a_rejection("v2")],
    }
    status, notes = reported(**fields)
    assert [(note.reason.value, note.warning) for note in notes] == [
        ("Quarantined", True), ("Flapping", True),
    ]  # fmt: skip
    _, again = reported(**fields, conditions=status.conditions)
    assert again == ()


WEIGHTS: dict[str, tuple[Phase | None, dict[str, Any], tuple[str, str, str, str]]] = {
    "starting": (STARTING, {}, ("100%", "", "0%", "")),
    "in_a_step": (
        a_stepping(),
        {},
        ("75% wanted, 3 of 4 pods", "80%", "25% wanted, 1 of 4 pods", "20%"),
    ),
    "withdrawn": (
        a_stepping(progress=Progress(a_step(), no_data_since=NOW, withdrawn=True)),
        {},
        ("100%", "80%", "0% until data is back", "20%"),
    ),
    "promoting": (
        Promoting(candidate=TWO, started=NOW, progress=Progress(a_step(0.5, index=1))),
        {},
        ("50% wanted, 3 of 6 pods", "80%", "50% wanted, 3 of 6 pods", "20%"),
    ),
    "undecided": (None, {"candidate": TWO}, ("100%", "", "0%", "")),
}


@pytest.mark.parametrize(("phase", "fields", "expected"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_wanted_and_measured(
    phase: Phase | None, fields: dict[str, Any], expected: tuple[str, str, str, str]
) -> None:
    processes = (a_process("v2", 20.0, born=NOW), a_process("v1", 80.0, born=NOW))
    status, _ = reported(phase, seen={"processes": processes}, **fields)
    stable, candidate = status.stable, status.candidate
    assert stable is not None
    assert candidate is not None
    assert (stable.weight, stable.share, candidate.weight, candidate.share) == expected


def test_columns() -> None:
    status, _ = reported(a_stepping(a_step(0.5, index=1)), last_good=a_tried("v1"))
    assert status.summary.to_json() == {
        "want": "v2",
        "serving": "v1",
        "candidate": "v2",
        "step": "2/2 50%",
        "ready": "3/3",
        "reason": "StepRunning",
    }
    assert (status.replicas, status.url) == (3, "http://digits.shop.svc:8080")
    assert status.selector == (
        "app.kubernetes.io/managed-by=trimtab,trimtab.dev/deployment=digits,"
        f"trimtab.dev/revision={revision('v1')}"
    )
    assert status.last_good is not None
    assert (status.last_good.weight, status.last_good.share) == ("", "")


MOST_TELLING = {
    "at_rest": (None, {"version": "v1"}, "Serving"),
    "quarantined": (None, {"rejected": [a_rejection("v2")]}, "Quarantined"),
    "paused": (a_stepping(pause=paused_by_step(Instant(NOW))), {}, "PausedByStep"),
    "not_ready_at_rest": (None, {"seen": {"pods": ()}}, "NotEnoughReady"),
    "the_first_starts": (STARTING, {"stable": None}, "CandidateStarting"),
    "degraded": (
        None,
        {"seen": {"pods": pods("v1", 1), "now": NOW + timedelta(hours=1)}},
        "NotEnoughReady",
    ),
}


@pytest.mark.parametrize(
    ("phase", "fields", "reason"), MOST_TELLING.values(), ids=MOST_TELLING.keys()
)
def test_the_reason_in_the_column(phase: Phase | None, fields: Any, reason: str) -> None:
    status, _ = reported(phase, **fields)
    assert status.summary.reason == reason
