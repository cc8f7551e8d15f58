"""What is remembered of the RetrainJobs of a policy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decide.drift.policies import policy
from tests.unit.loop_objects import NOW, cause, retrain_job

from trimtab.api.drift_policy import REMEMBERED_ATTEMPTS, Attempt, DriftPolicy
from trimtab.api.retrain_job import Cause, RetrainJob
from trimtab.decide.drift.attempts import attempts_after, newly_cancelled
from trimtab.decide.drift.snapshot import PolicySnapshot, WatchedDeployment
from trimtab.decide.retrain.cause import retrain_job_name

HOUR = timedelta(hours=1)


def name_of(number: int, deployment: str = "digits") -> str:
    told = cause(attempt=number, deployment=deployment)
    return retrain_job_name(Cause.model_validate(told))


def job(number: int = 1, phase: str = "Running", *, name: str = "", **changes: Any) -> RetrainJob:
    because = cause(attempt=number, **changes)
    made = name or retrain_job_name(Cause.model_validate(because))
    raw = retrain_job(made, because=because)
    raw["metadata"]["creationTimestamp"] = NOW - HOUR
    raw["status"] = {"phase": phase}
    if phase not in ("Queued", "Running"):
        raw["status"]["finished"] = NOW
    return RetrainJob.model_validate(raw)


def attempt(number: int = 1, phase: str = "Started", deployment: str = "digits") -> Attempt:
    return Attempt.model_validate(
        {
            "name": name_of(number, deployment),
            "deployment": deployment,
            "attempt": number,
            "phase": phase,
            "created": NOW - HOUR + timedelta(seconds=number),
            "finished": None if phase == "Started" else NOW,
        }
    )


def told(*attempts: Attempt) -> DriftPolicy:
    made = policy()
    status = made.status.model_copy(update={"attempts": list(attempts)})
    return made.model_copy(update={"status": status})


def after(
    *attempts: Attempt, jobs: tuple[RetrainJob, ...] = (), **fields: Any
) -> list[tuple[int, str]]:
    seen = attempts_after(PolicySnapshot(told(*attempts), NOW, jobs=jobs, **fields))
    return [(one.attempt, one.phase) for one in seen]


GONE = frozenset({name_of(1)})


def test_a_job_is_remembered_from_when_it_is_seen_until_after_its_end() -> None:
    assert after(jobs=(job(phase="Queued"),)) == [(1, "Started")]
    assert after(attempt(), jobs=(job(phase="Rejected"),)) == [(1, "Rejected")]
    assert after(attempt(1, "Rejected")) == [(1, "Rejected")]


def test_who_is_gone_without_an_end_was_cancelled() -> None:
    (one,) = attempts_after(PolicySnapshot(told(attempt()), NOW, gone=GONE))
    assert (one.phase, one.finished, one.created) == ("Cancelled", NOW, attempt().created)
    assert newly_cancelled([attempt()], [one]) == [one]
    assert newly_cancelled([one], [one]) == []


def test_who_is_only_not_to_be_seen_was_not() -> None:
    assert after(attempt()) == [(1, "Started")]


def test_who_made_a_version_and_is_gone_has_succeeded() -> None:
    watched = WatchedDeployment("digits", "digits", made={name_of(1): "digits-r1"})
    assert after(attempt(), gone=GONE, deployments=(watched,)) == [(1, "Succeeded")]


def test_an_end_stays_whatever_is_seen_later() -> None:
    assert after(attempt(1, "Rejected"), gone=GONE) == [(1, "Rejected")]
    # Put back from a backup, or seen in an old view.
    assert after(attempt(1, "Cancelled"), jobs=(job(),)) == [(1, "Cancelled")]
    assert after(attempt(1, "Cancelled"), jobs=(job(phase="Failed"),)) == [(1, "Failed")]


def test_what_was_not_written_yet_counts_and_is_told() -> None:
    snapshot = PolicySnapshot(told(), NOW, remembered=(attempt(1, "Cancelled"),))
    assert newly_cancelled([], attempts_after(snapshot)) == [attempt(1, "Cancelled")]
    assert after(attempt(1, "Rejected"), remembered=(attempt(),)) == [(1, "Rejected")]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"policy": "another"}, id="of_another_policy"),
        pytest.param({"name": "by-hand"}, id="with_a_name_of_a_persons_choice"),
    ],
)
def test_jobs_that_others_made_are_not_remembered(other: dict[str, Any]) -> None:
    assert after(jobs=(job(**other),)) == []


def test_a_clock_of_the_api_server_that_was_ahead_counts_for_nothing() -> None:
    begun = job()
    status = begun.status.model_copy(update={"started": NOW - 2 * HOUR})
    (one,) = attempts_after(
        PolicySnapshot(told(), NOW, jobs=(begun.model_copy(update={"status": status}),))
    )
    assert one.created == NOW - 2 * HOUR


@given(
    counts=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    is_written=st.booleans(),
)
def test_of_too_many_each_deployment_keeps_its_newest(counts: list[int], is_written: bool) -> None:
    all_of_them = [
        attempt(number, "Failed", f"model-{n}")
        for n, count in enumerate(counts)
        for number in range(1, count + 1)
    ]
    # Whether they were in status before makes no difference, or each pass would write another.
    fields = {"attempts": all_of_them} if is_written else {}
    made = policy()
    made = made.model_copy(update={"status": made.status.model_copy(update=fields)})
    snapshot = PolicySnapshot(made, NOW, remembered=tuple(all_of_them))
    kept = attempts_after(snapshot)
    assert len(kept) == min(REMEMBERED_ATTEMPTS, len(all_of_them))
    for n, count in enumerate(counts):
        own = [one.attempt for one in kept if one.deployment == f"model-{n}"]
        assert own == list(range(count - len(own) + 1, count + 1))
        assert len(own) >= min(count, REMEMBERED_ATTEMPTS // len(counts))
    status = made.status.model_copy(update={"attempts": kept})
    again = made.model_copy(update={"status": status})
    assert attempts_after(PolicySnapshot(again, NOW, remembered=tuple(all_of_them))) == kept
