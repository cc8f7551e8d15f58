"""A retraining from cause to ModelVersion, against the cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.loop_objects import (
    BASELINE_1,
    DEPLOYMENT_KEY,
    DIGEST_2,
    NAMESPACE,
    DocumentStore,
    cause,
    deployment,
    model_version,
    report,
    retrain_job,
    retrain_job_key,
    tried,
)

from trimtab.api.meta import RETRAIN_JOB_UID_LABEL
from trimtab.api.resource import Resource
from trimtab.build.engines.job import JOBS
from trimtab.cluster.port import MODEL_VERSIONS, PODS, RETRAIN_JOBS, Json, Key
from trimtab.errors import Refused
from trimtab.reconcile.kinds.retrain_job import reconcile_retrain_job
from trimtab.reconcile.machine.world import Settings
from trimtab.simulation.cluster import EventType, Killed, SimulatedCluster
from trimtab.simulation.harness import Harness
from trimtab.simulation.jobs import Outcome

JOB = Key(JOBS, NAMESPACE, "digits-7f3a")


async def look_no_further(world: Any, key: Key) -> None:
    return None


def harness(cluster: SimulatedCluster) -> Harness:
    return Harness(
        cluster,
        {
            RETRAIN_JOBS: reconcile_retrain_job,
            MODEL_VERSIONS: look_no_further,
            DEPLOYMENT_KEY.resource: look_no_further,
        },
        make_telemetry=lambda: None,  # type: ignore[arg-type, return-value]
        make_store=DocumentStore,
        settings=Settings(serving_image="serving:1", training_image="training:1"),
    )


def serving_cluster() -> SimulatedCluster:
    cluster = SimulatedCluster()
    cluster.user_apply(model_version("v1"))
    cluster.user_apply(deployment())
    cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status={"stable": tried("v1")}))
    return cluster


def environment_of(job: Json) -> dict[str, str]:
    container = job["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def accepted(job: Json, attempt: int, **changes: Any) -> Outcome:
    return Outcome(after=20, message=report(environment_of(job)["TRIMTAB_OUTPUT_URI"], **changes))


def status_of(cluster: SimulatedCluster, name: str = "digits-7f3a") -> Json:
    found = cluster.get(retrain_job_key(name))
    assert found is not None
    return found.get("status", {})


def phase_of(cluster: SimulatedCluster) -> str:
    return status_of(cluster).get("phase", "")


async def test_an_accepted_challenger_becomes_a_version_with_its_lineage() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job())

    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 120)

    status = status_of(cluster)
    versions = cluster.find(MODEL_VERSIONS)
    assert [v["metadata"]["name"] for v in versions] == [status["modelVersion"], "digits-v1"]
    made = versions[0]
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"]["artifact"] == {
        "uri": f"s3://models/digits/{status['newVersion']}/2222222222222222/",
        "digest": DIGEST_2,
        "format": "sklearn",
        "secretName": "trimtab-artifacts",
    }
    lineage = made["spec"]["lineage"]
    assert lineage["parent"] == "digits-v1"
    assert lineage["retrainJob"] == "digits-7f3a"
    assert lineage["parameters"] == {"estimator": "RandomForest", "seed": "7"}
    assert lineage["datasets"][0]["rows"] == 1200
    assert made["spec"]["evaluation"][0]["value"] == 0.968
    assert status["challenger"]["value"] == 0.968
    assert status["champion"] == {
        "version": "digits-v1", "metric": "accuracy", "value": 0.815, "interval": [0.77, 0.85],
    }  # fmt: skip
    assert status["summary"] == {
        "cause": "quality of digits, attempt 1", "result": "accuracy 0.968 vs 0.815",
    }  # fmt: skip
    assert [event.reason for event in cluster.events] == [
        "RetrainStarted", "VersionCreated", "RetrainSucceeded",
    ]  # fmt: skip


async def test_it_takes_five_writes_and_none_at_rest() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job())
    await h.advance(600)
    assert cluster.count_writes() == {
        ("apply_status", "retrainjobs"): 3,
        ("create", "jobs"): 1,
        ("create", "modelversions"): 1,
    }
    assert all(write.changed for write in cluster.writes)
    before = len(cluster.writes)
    await h.advance(3600)
    assert len(cluster.writes) == before


async def test_the_champion_is_written_before_the_job_is_made() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.settle()
    assert [write.verb for write in cluster.writes[:2]] == ["apply_status", "create"]
    assert status_of(cluster)["championVersion"]["versionObject"] == "digits-v1"
    environment = environment_of(cluster.get(JOB) or {})
    assert environment["TRIMTAB_CHAMPION_URI"] == "s3://models/digits/v1/"


async def test_it_waits_while_nothing_serves() -> None:
    cluster = serving_cluster()
    cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status={}))
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.advance(60)
    assert phase_of(cluster) == "Queued"
    assert "waits until Deployment digits serves" in status_of(cluster)["message"]
    assert len(cluster.writes) == 1
    cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status={"stable": tried("v1")}))
    await h.run_until(lambda: cluster.get(JOB) is not None, 60)


ENDS: dict[str, tuple[Outcome, Json, str]] = {
    "worse_challenger_is_rejected": (
        Outcome(5, 11, report("s3://x/y/", verdict="rejected", message="accuracy .79 vs .81")),
        {"phase": "Rejected", "verdict": "rejected", "message": "accuracy .79 vs .81"},
        "RetrainRejected",
    ),
    "too_few_rows_say_how_many_are_needed": (
        Outcome(
            5,
            13,
            report(
                "s3://x/y/",
                verdict="insufficientData",
                needed=1500,
            ),
        ),
        {"phase": "InsufficientData", "needed": 1500},
        "RetrainFailed",
    ),
    "broken_data_is_not_retried": (
        Outcome(5, 10, '{"verdict": "failed", "class": "data", "message": "column x is gone"}'),
        {"phase": "Failed", "failure": "data", "message": "data: column x is gone"},
        "RetrainFailed",
    ),
    "broken_code_is_not_retried": (
        Outcome(5, 12, ""),
        {"phase": "Failed", "failure": "code"},
        "RetrainFailed",
    ),
    "success_without_a_message_is_broken_code": (
        Outcome(5, 0, ""),
        {
            "phase": "Failed",
            "failure": "code",
            "message": "code: the training left no termination message",
        },
        "RetrainFailed",
    ),
    "a_version_elsewhere_is_refused": (
        Outcome(5, 0, report("s3://elsewhere/v9/")),
        {"phase": "Failed", "failure": "code"},
        "RetrainFailed",
    ),
    "other_exit_codes_fail_as_infrastructure_after_the_retries": (
        Outcome(5, 137, ""),
        {"phase": "Failed", "failure": "infrastructure"},
        "RetrainFailed",
    ),
}


@pytest.mark.parametrize(("outcome", "expected", "event"), ENDS.values(), ids=ENDS.keys())
async def test_end(outcome: Outcome, expected: Json, event: str) -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = lambda job, attempt: outcome
    cluster.user_apply(retrain_job())
    await h.run_until(lambda: "finished" in status_of(cluster), 600)
    await h.advance(60)
    status = status_of(cluster)
    assert expected.items() <= status.items()
    assert status["conditions"][0]["status"] == "True"
    assert [e.reason for e in cluster.events] == ["RetrainStarted", event]
    assert len(cluster.find(MODEL_VERSIONS)) == 1
    attempts = len(cluster.find(PODS))
    assert attempts == (4 if expected.get("failure") == "infrastructure" else 1)


async def test_a_lost_attempt_is_made_good_by_the_next() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = lambda job, attempt: (
        Outcome(5, 137) if attempt == 0 else accepted(job, attempt)
    )
    cluster.user_apply(retrain_job())
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 120)


async def test_a_job_deleted_by_hand_is_made_again() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.run_until(lambda: phase_of(cluster) == "Running", 60)
    cluster.user_delete(JOB)
    await h.settle()
    assert cluster.get(JOB) is not None
    h.jobs.outcomes = accepted
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 120)


@pytest.mark.parametrize("is_by_this_release", [True, False])
async def test_the_verdict_of_an_earlier_job_of_that_name_is_not_taken(
    is_by_this_release: bool,
) -> None:
    cluster = serving_cluster()
    labels = {"trimtab.dev/retrain-job": "digits-7f3a", "app.kubernetes.io/managed-by": "trimtab"}
    if is_by_this_release:
        labels[RETRAIN_JOB_UID_LABEL] = "uid-of-old"
    left = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "digits-7f3a-left",
            "namespace": NAMESPACE,
            "labels": labels,
            "ownerReferences": [{"kind": "Job", "name": "digits-7f3a", "uid": "old-job"}],
        },
        "spec": {"containers": []},
    }
    worse = {"exitCode": 11, "message": report("s3://models/digits/old/", verdict="rejected")}
    cluster.user_apply(left)
    cluster.user_change(
        Key(PODS, NAMESPACE, "digits-7f3a-left"),
        lambda obj: obj.update(
            status={"containerStatuses": [{"name": "train", "state": {"terminated": worse}}]}
        ),
    )
    h = harness(cluster)
    h.jobs.outcomes = accepted
    await h.advance(5)
    cluster.user_apply(retrain_job())
    await h.advance(60)
    assert status_of(cluster)["phase"] == "Succeeded"


async def test_the_deadline_fails_it_as_infrastructure() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job(activeDeadline="5m"))
    await h.run_until(lambda: "finished" in status_of(cluster), 600)
    assert status_of(cluster)["failure"] == "infrastructure"
    assert "deadline of 5m" in status_of(cluster)["message"]


async def test_a_version_of_that_name_with_another_digest_is_not_taken_over() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.settle()
    cluster.user_apply(model_version(status_of(cluster)["newVersion"], digest="sha256:" + "9" * 64))
    h.jobs.outcomes = accepted
    await h.run_until(lambda: "finished" in status_of(cluster), 120)
    assert phase_of(cluster) == "Failed"
    assert "another digest" in status_of(cluster)["message"]


async def test_a_foreign_job_of_that_name_is_left_alone() -> None:
    cluster = serving_cluster()
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "digits-7f3a", "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"containers": []}}, "suspend": True},
    }
    cluster.user_apply(foreign)
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.advance(30)
    (told,) = [event for event in cluster.events if event.reason == "NameTaken"]
    assert "Job digits-7f3a exists and is not ours: rename" in told.message
    stalled = next(c for c in status_of(cluster)["conditions"] if c["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "NameTaken")
    kept = cluster.get(JOB)
    assert kept is not None
    assert kept["spec"] == foreign["spec"]
    cluster.user_delete(JOB)
    h.jobs.outcomes = accepted
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 300)


async def test_a_refused_write_is_told_and_tried_again() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.fault = lambda verb, key: (
        Refused("exceeded quota") if (verb, key.resource) == ("create", JOBS) else None
    )
    cluster.user_apply(retrain_job())
    await h.advance(10)
    assert [e.reason for e in cluster.events] == ["RetrainStarted", "WriteRefused"]
    cluster.fault = lambda verb, key: None
    h.jobs.outcomes = accepted
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 300)


def refuse_versions(cluster: SimulatedCluster) -> list[str]:
    """Refuse every new ModelVersion for good; return the tries, which grow."""
    tries: list[str] = []

    def fault(verb: str, key: Key) -> Refused | None:
        if (verb, key.resource) != ("create", MODEL_VERSIONS):
            return None
        tries.append(key.name)
        return Refused(f"admission webhook denied the request (try {len(tries)})")

    cluster.fault = fault
    return tries


async def test_a_version_that_is_refused_is_tried_rarely_and_told_once() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job(activeDeadline="1h"))
    tries = refuse_versions(cluster)
    await h.advance(1800)
    assert 2 <= len(tries) <= 12
    assert [e.reason for e in cluster.events] == ["RetrainStarted", "WriteRefused"]
    assert len([w for w in cluster.writes if w.verb == "apply_status"]) <= 6
    cluster.fault = lambda verb, key: None
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 400)


async def test_a_version_that_is_refused_for_good_ends_the_attempt() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job(activeDeadline="10m"))
    tries = refuse_versions(cluster)
    await h.run_until(lambda: phase_of(cluster) == "Failed", 1800)
    status = status_of(cluster)
    assert status["failure"] == "infrastructure"
    assert "admission webhook denied the request" in status["message"]
    assert f"digits-{status['newVersion']}" in status["message"]
    seen = len(tries)
    await h.advance(3600)
    assert len(tries) == seen
    assert [e.reason for e in cluster.events] == [
        "RetrainStarted", "WriteRefused", "RetrainFailed",
    ]  # fmt: skip
    stalled = next(c for c in status_of(cluster)["conditions"] if c["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InfrastructureFailed")


async def test_a_result_that_comes_at_the_last_moment_is_tried_for_a_while() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = lambda job, attempt: replace(accepted(job, attempt), after=595)
    cluster.user_apply(retrain_job(activeDeadline="10m"))
    refuse_versions(cluster)
    await h.advance(700)
    assert phase_of(cluster) != "Failed"
    cluster.fault = lambda verb, key: None
    await h.run_until(lambda: phase_of(cluster) == "Succeeded", 400)


async def test_two_persons_or_one_asking_twice_get_two_versions() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    manual = {"manual": "alice", "deployment": "digits"}
    cluster.user_apply(retrain_job("digits-m1", because=manual))
    cluster.user_apply(retrain_job("digits-m2", because=manual))
    await h.advance(120)
    assert len(cluster.find(MODEL_VERSIONS)) == 3
    assert status_of(cluster, "digits-m1")["summary"]["cause"] == "manual by alice"


# --- what a view lacks --------------------------------------------------------------------------


def lose(h: Harness, is_lost: Callable[[EventType, Resource, Json], bool]) -> None:
    """Let the operator hear of everything but some events, and not know that it does not."""
    take = h._take

    def hear(event: EventType, resource: Resource, obj: Json) -> None:
        if not is_lost(event, resource, obj):
            take(event, resource, obj)

    h._take = hear  # type: ignore[method-assign]


def has_ended(obj: Json) -> bool:
    return obj.get("status", {}).get("phase") in ("Succeeded", "Failed")


LOST: dict[str, Callable[[EventType, Resource, Json], bool]] = {
    "the_report": lambda event, resource, obj: resource == PODS and has_ended(obj),
    "all_of_the_pods": lambda event, resource, obj: resource == PODS,
    "that_the_run_ended": lambda event, resource, obj: (
        resource in (PODS, JOBS) and (has_ended(obj) or "conditions" in obj.get("status", {}))
    ),
}


@pytest.mark.parametrize("is_lost", LOST.values(), ids=LOST.keys())
async def test_a_result_that_the_view_lacks_is_read_before_it_is_thrown_away(
    is_lost: Callable[[EventType, Resource, Json], bool],
) -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    lose(h, is_lost)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job(activeDeadline="5m"))
    await h.run_until(lambda: "finished" in status_of(cluster), 600)
    assert phase_of(cluster) == "Succeeded"
    assert [job["metadata"]["name"] for job in cluster.find(JOBS)] == ["digits-7f3a"]
    assert [event.reason for event in cluster.events] == [
        "RetrainStarted", "VersionCreated", "RetrainSucceeded",
    ]  # fmt: skip


async def test_the_live_look_is_one_look() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = lambda job, attempt: Outcome(5, 137)
    looks: list[Resource] = []
    listed = cluster.list

    async def list_(resource: Resource) -> list[Json]:
        looks.append(resource)
        return await listed(resource)

    cluster.list = list_  # type: ignore[method-assign]
    cluster.user_apply(retrain_job())
    await h.run_until(lambda: "finished" in status_of(cluster), 600)
    assert phase_of(cluster) == "Failed"
    assert looks == [PODS]


async def test_a_version_that_is_there_no_more_fails_no_attempt() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.settle()
    name = status_of(cluster)["newVersion"]
    lose(h, lambda event, resource, obj: event == "DELETED")
    h.events_held = True
    cluster.user_apply(model_version(name, digest="sha256:" + "9" * 64))
    cluster.user_delete(Key(MODEL_VERSIONS, NAMESPACE, f"digits-{name}"))
    h.events_held = False
    h.deliver()
    h.jobs.outcomes = accepted
    await h.run_until(lambda: "finished" in status_of(cluster), 120)
    assert phase_of(cluster) == "Succeeded"


async def test_what_is_finished_is_not_trained_once_more_for_an_old_view() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job())
    await h.run_until(lambda: phase_of(cluster) == "Running", 60)
    lose(h, lambda event, resource, obj: resource == RETRAIN_JOBS)
    finished = {"phase": "Rejected", "finished": "2026-01-01T00:01:00Z"}
    cluster.user_change(retrain_job_key(), lambda obj: obj["status"].update(finished))
    cluster.user_delete(JOB)
    for pod in cluster.find(PODS):
        cluster.user_delete(Key(PODS, NAMESPACE, pod["metadata"]["name"]))
    await h.advance(60)
    assert cluster.get(JOB) is None
    assert phase_of(cluster) == "Rejected"


async def end_state(crash_at: int | None, **options: bool) -> Json:
    """Run to the end, killed at one write; return what is left in the cluster."""
    cluster = serving_cluster()
    h = harness(cluster)
    h.jobs.outcomes = accepted
    cluster.user_apply(retrain_job())
    cluster.crash_after_writes = crash_at
    for _ in range(3):
        try:
            await h.run_until(lambda: phase_of(cluster) == "Succeeded", 120)
            break
        except Killed:
            cluster.crash_after_writes = None
            if options.get("pods_lost"):
                for pod in cluster.find(PODS):
                    cluster.user_delete(Key(PODS, NAMESPACE, pod["metadata"]["name"]))
            h.restart()
    await h.advance(60)
    status = status_of(cluster)
    return {
        "jobs": [job["metadata"]["name"] for job in cluster.find(JOBS)],
        "versions": [version["spec"] for version in cluster.find(MODEL_VERSIONS)],
        "phase": status["phase"],
        "modelVersion": status["modelVersion"],
        "champion": status["championVersion"],
        "newVersion": status["newVersion"],
    }


@pytest.mark.parametrize("crash_at", range(7))
async def test_killed_at_any_write_it_ends_in_the_same_place(crash_at: int) -> None:
    undisturbed = await end_state(None)
    assert await end_state(crash_at) == undisturbed
    assert len(undisturbed["jobs"]) == 1
    assert len(undisturbed["versions"]) == 2


async def test_the_version_is_found_again_although_the_report_is_lost() -> None:
    after_version = 4  # status, Job, status, ModelVersion
    assert await end_state(after_version, pods_lost=True) == await end_state(None)


async def test_the_name_of_the_version_follows_from_the_cause() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    cluster.user_apply(retrain_job("digits-other", because=cause(attempt=2)))
    await h.settle()
    first, second = (
        status_of(cluster, name)["newVersion"] for name in ("digits-7f3a", "digits-other")
    )
    assert first != second
    assert first[0] == "r"
    assert len(first) == 9
    assert BASELINE_1 not in first
