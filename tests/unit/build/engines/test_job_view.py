"""What a Job and its pods mean: an exact table from objects to a view of the run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.loop_objects import retrain_job

from trimtab.api.meta import RETRAIN_JOB_UID_LABEL
from trimtab.api.retrain_job import RetrainJob
from trimtab.api.run import RunEnd, RunPod, RunView
from trimtab.build.engines import ENGINES, engine_of
from trimtab.build.engines.job import view_job

Json = dict[str, Any]
ENDED = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def owner() -> RetrainJob:
    raw = retrain_job()
    raw["metadata"]["uid"] = "uid-1"
    return RetrainJob.model_validate(raw)


def batch_job(
    *conditions: Json, uid: str = "uid-1", metadata_uid: str | None = None, **metadata: Any
) -> Json:
    if metadata_uid is not None:
        metadata["uid"] = metadata_uid
    return {
        "metadata": {"name": "digits-7f3a", "ownerReferences": [{"uid": uid}], **metadata},
        "status": {"conditions": list(conditions)},
    }


def condition(kind: str, **fields: str) -> Json:
    ended = {"status": "True", "lastTransitionTime": "2026-01-01T00:05:00Z"}
    return {"type": kind, **ended, **fields}


JOBS: dict[str, tuple[Json | None, bool, RunEnd | None]] = {
    "no_job": (None, False, None),
    "without_a_status": (batch_job() | {"status": None}, True, None),
    "under_way": (batch_job(), True, None),
    "suspended_is_no_end": (batch_job(condition("Suspended")), True, None),
    "not_failed_after_all": (batch_job(condition("Failed", status="False")), True, None),
    "complete": (batch_job(condition("Complete")), True, RunEnd("completed", ENDED)),
    "complete_without_a_time": (
        batch_job(condition("Complete", lastTransitionTime="")),
        True,
        RunEnd("completed"),
    ),
    "failed": (
        batch_job(condition("Failed", reason="BackoffLimitExceeded", message="limit reached")),
        True,
        RunEnd("failed", ENDED, "BackoffLimitExceeded: limit reached"),
    ),
    "out_of_time": (
        batch_job(condition("Failed", reason="DeadlineExceeded", message="too long")),
        True,
        RunEnd("outOfTime", ENDED, "DeadlineExceeded: too long"),
    ),
    "of_somebody_else": (batch_job(condition("Complete"), uid="uid-2"), False, None),
    "of_nobody": (batch_job(condition("Complete"), ownerReferences=None), False, None),
    "being_deleted": (
        batch_job(condition("Complete"), deletionTimestamp="2026-01-01T00:00:00Z"),
        False,
        None,
    ),
}


@pytest.mark.parametrize(("obj", "exists", "end"), JOBS.values(), ids=JOBS.keys())
def test_job(obj: Json | None, exists: bool, end: RunEnd | None) -> None:
    assert view_job(owner(), obj, ()) == RunView(exists, end)


def pod(
    name: str = "p", *, of: str = "digits-7f3a", kind: str = "Job", made: str = "", **status: Any
) -> Json:
    owners = [{"kind": kind, "name": of}]
    return {
        "metadata": {"name": name, "ownerReferences": owners, "creationTimestamp": made},
        "status": status,
    }


def container(state: Json, name: str = "train") -> list[Json]:
    return [{"name": name, "state": state}]


def terminated(code: int, **fields: Any) -> Json:
    return {"terminated": {"exitCode": code, **fields}}


def waits(reason: str) -> Json:
    return {"waiting": {"reason": reason}}


UNSCHEDULED = [{"type": "PodScheduled", "status": "False"}]

PODS: dict[str, tuple[Json, RunPod]] = {
    "just_made": (pod(), RunPod("p")),
    "without_a_status": (pod() | {"status": None}, RunPod("p")),
    "running": (pod(containerStatuses=container({"running": {}})), RunPod("p", is_running=True)),
    "ended": (
        pod(containerStatuses=container(terminated(11, message="worse"))),
        RunPod("p", exit_code=11, message="worse"),
    ),
    "ended_well": (
        pod(containerStatuses=container(terminated(0, message="{}"))),
        RunPod("p", exit_code=0, message="{}"),
    ),
    "ended_without_a_word": (
        pod(containerStatuses=container(terminated(137, message=None))),
        RunPod("p", exit_code=137),
    ),
    "image_not_there": (
        pod(containerStatuses=container(waits("ImagePullBackOff"))),
        RunPod("p", waiting="the training image cannot be pulled"),
    ),
    "image_not_there_at_the_first_try": (
        pod(containerStatuses=container(waits("ErrImagePull"))),
        RunPod("p", waiting="the training image cannot be pulled"),
    ),
    "secret_not_there": (
        pod(containerStatuses=container(waits("CreateContainerConfigError"))),
        RunPod("p", waiting="the pod cannot be made; look at its events"),
    ),
    "starting": (pod(containerStatuses=container(waits("ContainerCreating"))), RunPod("p")),
    "no_room": (pod(conditions=UNSCHEDULED), RunPod("p", waiting="no node has room for the pod")),
    "a_sidecar_is_not_the_training": (
        pod(containerStatuses=container(terminated(0), name="proxy")),
        RunPod("p"),
    ),
}


@pytest.mark.parametrize(("obj", "seen"), PODS.values(), ids=PODS.keys())
def test_pod(obj: Json, seen: RunPod) -> None:
    assert view_job(owner(), batch_job(), [obj]) == RunView(True, pods=(seen,))


def test_pods_are_seen_oldest_first_and_only_those_of_the_job() -> None:
    pods = [
        pod("c", made="2026-01-01T00:00:02Z"),
        pod("b", made="2026-01-01T00:00:01Z"),
        pod("a", made="2026-01-01T00:00:02Z"),
        pod("other", of="digits-other"),
        pod("replica", kind="ReplicaSet"),
    ]
    view = view_job(owner(), batch_job(), pods)
    assert [one.name for one in view.pods] == ["b", "a", "c"]


def test_pods_that_outlive_their_job_are_seen() -> None:
    ended = pod(containerStatuses=container(terminated(0, message="{}")))
    assert view_job(owner(), None, [ended]) == RunView(
        False, pods=(RunPod("p", exit_code=0, message="{}"),)
    )


BORN = "2026-01-01T00:01:00Z"
OTHERS: dict[str, tuple[Json, Json | None]] = {
    "labelled_with_the_uid_of_another": (
        pod(made=BORN) | {"labels": {RETRAIN_JOB_UID_LABEL: "uid-0"}},
        batch_job(metadata_uid="job-1"),
    ),
    "labelled_and_their_job_is_gone": (
        pod(made=BORN) | {"labels": {RETRAIN_JOB_UID_LABEL: "uid-0"}},
        None,
    ),
    "of_another_job_of_that_name": (
        pod(made=BORN) | {"owner": "job-0"},
        batch_job(metadata_uid="job-1"),
    ),
    "older_than_the_retrain_job": (pod(made="2026-01-01T00:00:59Z"), None),
    "older_and_the_job_is_the_former_one": (
        pod(made="2026-01-01T00:00:59Z") | {"owner": "job-0"},
        batch_job(uid="uid-0", metadata_uid="job-0"),
    ),
}


@pytest.mark.parametrize(("obj", "job"), OTHERS.values(), ids=OTHERS.keys())
def test_pods_of_an_earlier_retrain_job_of_that_name_say_nothing(
    obj: Json, job: Json | None
) -> None:
    assert view_job(born_later(), job, [whole(obj)]).pods == ()


OWN: dict[str, tuple[Json, Json | None]] = {
    "labelled": (
        pod(made=BORN) | {"labels": {RETRAIN_JOB_UID_LABEL: "uid-1"}, "owner": "job-0"},
        batch_job(metadata_uid="job-1"),
    ),
    "labelled_and_the_job_is_gone": (
        pod(made=BORN) | {"labels": {RETRAIN_JOB_UID_LABEL: "uid-1"}},
        None,
    ),
    "by_an_earlier_release": (
        pod(made=BORN) | {"owner": "job-1"},
        batch_job(metadata_uid="job-1"),
    ),
    "by_an_earlier_release_and_the_job_is_being_deleted": (
        pod(made=BORN) | {"owner": "job-1"},
        batch_job(metadata_uid="job-1", deletionTimestamp=BORN),
    ),
    "by_an_earlier_release_and_the_job_is_gone": (pod(made=BORN) | {"owner": "job-1"}, None),
}


@pytest.mark.parametrize(("obj", "job"), OWN.values(), ids=OWN.keys())
def test_its_own_pods_are_told_apart_by_uid(obj: Json, job: Json | None) -> None:
    assert [one.name for one in view_job(born_later(), job, [whole(obj)]).pods] == ["p"]


def born_later() -> RetrainJob:
    job = owner()
    metadata = job.metadata.model_copy(update={"creation_timestamp": datetime.fromisoformat(BORN)})
    return job.model_copy(update={"metadata": metadata})


def whole(obj: Json) -> Json:
    """Return a pod with its labels, and the uid of its Job, where they belong."""
    metadata = dict(obj["metadata"], labels=obj.get("labels", {}))
    if "owner" in obj:
        metadata["ownerReferences"] = [metadata["ownerReferences"][0] | {"uid": obj["owner"]}]
    return {"metadata": metadata, "status": obj["status"]}


def test_the_field_that_is_set_names_the_engine() -> None:
    assert engine_of(owner()) is ENGINES["job"]


def test_the_api_and_the_list_name_the_same_engines() -> None:
    assert set(type(owner().spec.engine).model_fields) == set(ENGINES)


@pytest.mark.parametrize("name", ENGINES)
def test_what_an_engine_makes_may_be_watched_and_created(name: str) -> None:
    engine = ENGINES[name]
    granted = {
        verb
        for rule in engine.access
        if rule.group == engine.resource.group and engine.resource.plural in rule.resources
        for verb in rule.verbs
    }
    assert granted >= {"get", "list", "watch", "create"}
