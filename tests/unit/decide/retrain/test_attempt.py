"""The moves of a retraining, one snapshot at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.loop_objects import DIGEST_1, DIGEST_2, NOW, report, retrain_job

from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.api.run import RunEnd, RunPod, RunView
from trimtab.decide.retrain.actions import CreateVersion, StartRun
from trimtab.decide.retrain.attempt import CHECKS, decide_retrain
from trimtab.decide.retrain.cause import new_version_name, retrain_job_name
from trimtab.decide.retrain.snapshot import MadeVersion, RetrainSnapshot, output_uri_of

CHAMPION = Champion(version_object="digits-v1", uri="s3://models/digits/v1/", digest=DIGEST_1)


def job_object(*, status: dict[str, Any] | None = None, **spec: Any) -> RetrainJob:
    raw = retrain_job(**spec)
    raw["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    if status is not None:
        raw["status"] = status
    return RetrainJob.model_validate(raw)


def started(**changes: Any) -> RetrainSnapshot:
    """A retraining whose champion is fixed."""
    first = decide_retrain(RetrainSnapshot(job_object(), NOW, serving=CHAMPION))
    job = job_object().model_copy(update={"status": first.status})
    return replace(RetrainSnapshot(job, NOW, serving=CHAMPION), **changes)


def running(*pods: RunPod) -> RunView:
    return RunView(exists=True, pods=pods)


def output_of(seen: RetrainSnapshot) -> str:
    return output_uri_of(CHAMPION, seen.job.status.new_version)


@pytest.mark.parametrize(
    ("uri", "output"),
    [
        ("s3://models/digits/v1/", "s3://models/digits/r1/"),
        ("s3://models/digits/v1", "s3://models/digits/r1/"),
        ("s3://models/v1/", "s3://models/r1/"),
        ("s3://models/", "s3://models/r1/"),
        ("pvc://claim/digits/v1/", "pvc://claim/digits/r1/"),
        (f"s3://models/digits/v1/{'1' * 16}/", "s3://models/digits/r1/"),
        (f"s3://models/digits/v1/{'3' * 16}/", "s3://models/digits/v1/r1/"),
    ],
)
def test_the_new_version_lies_beside_the_champion(uri: str, output: str) -> None:
    champion = CHAMPION.model_copy(update={"uri": uri})
    assert output_uri_of(champion, "r1") == output


def test_generations_do_not_nest() -> None:
    champion = CHAMPION
    for version in ("r1", "r2", "r3"):
        folder = f"{output_uri_of(champion, version)}{'1' * 16}/"
        champion = champion.model_copy(update={"uri": folder})
    assert champion.uri == f"s3://models/digits/r3/{'1' * 16}/"


def test_first_the_champion_is_written_down_and_nothing_is_made() -> None:
    decision = decide_retrain(RetrainSnapshot(job_object(), NOW, serving=CHAMPION))
    assert decision.actions == ()
    assert decision.status.champion_version == CHAMPION
    assert decision.status.new_version == new_version_name(job_object())
    assert decision.wake_at == NOW


def test_then_the_run_starts_although_the_deployment_serves_another_by_now() -> None:
    other = CHAMPION.model_copy(update={"version_object": "digits-v2"})
    decision = decide_retrain(started(serving=other))
    (action,) = decision.actions
    assert isinstance(action, StartRun)
    assert action.champion == CHAMPION


def test_a_running_pod_means_running() -> None:
    seen = started(run=running(RunPod("p", is_running=True)))
    assert decide_retrain(seen).status.phase == "Running"


def test_a_pod_that_cannot_start_says_why() -> None:
    seen = started(run=running(RunPod("p", waiting="no node has room")))
    status = decide_retrain(seen).status
    assert (status.phase, status.message) == ("Queued", "no node has room")


def test_a_report_is_acted_on_before_the_run_says_that_it_ended() -> None:
    seen = started()
    pod = RunPod("p", exit_code=0, message=report(output_of(seen)))
    (action,) = decide_retrain(replace(seen, run=running(pod))).actions
    assert isinstance(action, CreateVersion)


def test_a_report_of_a_pod_that_outlived_its_run_is_acted_on() -> None:
    seen = started()
    pod = RunPod("p", exit_code=0, message=report(output_of(seen)))
    orphan = RunView(exists=False, pods=(pod,))
    (action,) = decide_retrain(replace(seen, run=orphan)).actions
    assert isinstance(action, CreateVersion)


def test_a_run_that_ended_waits_a_little_for_its_report_and_then_fails() -> None:
    seen = started(run=RunView(True, RunEnd("completed", NOW)))
    waiting = decide_retrain(replace(seen, now=NOW + timedelta(seconds=5)))
    assert waiting.status.phase == "Running"
    failed = decide_retrain(replace(seen, now=NOW + timedelta(seconds=31)))
    assert (failed.status.phase, failed.status.failure) == ("Failed", "infrastructure")


def test_a_run_out_of_time_says_its_deadline() -> None:
    seen = started(run=RunView(True, RunEnd("outOfTime", NOW)), now=NOW + timedelta(minutes=1))
    assert decide_retrain(seen).status.message == (
        "infrastructure: no result within the deadline of 2h"
    )


def test_a_run_out_of_retries_fails_with_the_last_words_of_its_pod() -> None:
    words = '{"verdict": "failed", "class": "infrastructure", "message": "the store is away"}'
    seen = started(
        run=RunView(
            True,
            RunEnd("failed", NOW, "BackoffLimitExceeded: limit reached"),
            (RunPod("p", exit_code=1, message=words),),
        ),
        now=NOW + timedelta(minutes=1),
    )
    assert decide_retrain(seen).status.message == (
        "infrastructure: BackoffLimitExceeded: limit reached (last exit code 1: the store is away)"
    )


@pytest.mark.parametrize(
    ("made", "phase"),
    [
        pytest.param(
            MadeVersion("digits-r1", DIGEST_1, "digits-7f3a"), "Succeeded", id="made_by_this_job"
        ),
        pytest.param(MadeVersion("digits-r1", DIGEST_2, None), "Succeeded", id="the_same_digest"),
        pytest.param(
            MadeVersion("digits-r1", DIGEST_1, "other"), "Failed", id="made_by_somebody_else"
        ),
    ],
)
def test_a_version_of_the_name_that_exists(made: MadeVersion, phase: str) -> None:
    seen = started(made=made)
    pod = RunPod("p", exit_code=0, message=report(output_of(seen)))
    assert decide_retrain(replace(seen, run=running(pod))).status.phase == phase


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (
            timedelta(days=-1),
            "was made by an earlier RetrainJob of this name, and nothing was trained; to train "
            "again, give it another name",
        ),
        (timedelta(0), "made by an earlier pass"),
        (timedelta(hours=1), "made by an earlier pass"),
    ],
)
def test_who_made_a_version_that_was_there(after: timedelta, told: str) -> None:
    seen = started()
    created = seen.job.metadata.creation_timestamp
    assert created is not None
    made = MadeVersion("digits-r1", DIGEST_1, "digits-7f3a", made_at=created + after)
    decision = decide_retrain(replace(seen, made=made))
    assert decision.status.phase == "Succeeded"
    assert decision.status.message.endswith(told)
    is_new = after >= timedelta(0)
    assert ("VersionCreated" in {note.reason for note in decision.notes}) is is_new


def test_without_anything_that_serves_it_fails_after_its_deadline() -> None:
    seen = RetrainSnapshot(job_object(activeDeadline="1h"), NOW + timedelta(minutes=59))
    assert decide_retrain(seen).status.phase == "Queued"
    late = decide_retrain(replace(seen, now=NOW + timedelta(minutes=61)))
    assert (late.status.phase, late.status.failure) == ("Failed", "infrastructure")


def test_a_run_that_vanishes_again_and_again_ends_at_the_deadline() -> None:
    seen = started(now=NOW + timedelta(hours=2, minutes=2))
    assert "deadline of 2h" in decide_retrain(seen).status.message


def led(seen: RetrainSnapshot, since: float, now: float) -> RetrainSnapshot:
    """Return the same where operators had led for so long at its start, and now."""
    job = seen.job.model_copy(
        update={"status": seen.job.status.model_copy(update={"started_led": since})}
    )
    return replace(seen, job=job, led=now)


def test_a_clock_that_jumps_fails_no_running_job() -> None:
    seen = started(now=NOW + timedelta(hours=2, minutes=2))
    assert decide_retrain(led(seen, 100.0, 7300.0)).status.phase != "Failed"
    assert decide_retrain(led(seen, 100.0, 7400.0)).status.phase == "Failed"


def test_nothing_fails_for_what_nobody_looked_at() -> None:
    """It was asked for long before an operator led."""
    late = NOW + timedelta(hours=9)
    first = decide_retrain(RetrainSnapshot(job_object(activeDeadline="1h"), late, led=100.0))
    assert (first.status.phase, first.status.started_led) == ("Queued", 100.0)
    waiting = RetrainSnapshot(job_object(activeDeadline="1h"), late)
    assert decide_retrain(led(waiting, 100.0, 3600.0)).status.phase == "Queued"
    assert decide_retrain(led(waiting, 100.0, 3700.0)).status.phase == "Failed"


@pytest.mark.parametrize("phase", ["Succeeded", "Rejected", "InsufficientData", "Failed"])
def test_finished_is_final(phase: str) -> None:
    seen = RetrainSnapshot(job_object(status={"phase": phase}), NOW, serving=CHAMPION)
    decision = decide_retrain(seen)
    assert (decision.actions, decision.notes, decision.status) == ((), (), seen.job.status)


def test_the_order_of_the_checks() -> None:
    assert [check.__name__ for check in CHECKS] == [
        "_is_finished",
        "_version_is_made",
        "_champion_is_not_fixed",
        "_result_is_there",
        "_run_ended_without_result",
        "_deadline_is_past",
        "_run_is_missing",
        "_run_is_under_way",
    ]


def test_names_follow_from_the_cause() -> None:
    first, again = job_object(), job_object()
    assert retrain_job_name(first.spec.cause) == retrain_job_name(again.spec.cause)
    second = first.spec.cause.model_copy(update={"attempt": 2})
    assert retrain_job_name(second) != retrain_job_name(first.spec.cause)
    assert len(new_version_name(first)) == 9
    moved = first.metadata.model_copy(update={"namespace": "other"})
    assert new_version_name(first.model_copy(update={"metadata": moved})) != new_version_name(first)
