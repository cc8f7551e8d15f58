"""A batch/v1 Job: tries again by itself where that can help."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab.api.meta import RETRAIN_JOB_UID_LABEL
from trimtab.api.resource import Resource
from trimtab.api.retrain_job import RetrainJob
from trimtab.api.run import RunEnd, RunView
from trimtab.build.training_engine import TrainingEngine, watch_and_create
from trimtab.build.training_pod import (
    CONTAINER,
    RunRequest,
    build_training_pod,
    is_from_before,
    is_live_child,
    is_owned_by,
    pod_views,
    run_metadata,
)
from trimtab.contract.training import DECISIVE_EXIT_CODES

Json = dict[str, Any]

JOBS = Resource("batch", "v1", "jobs", "Job")
RETRIES = 3
"""Of faults that are neither the data's nor the code's."""


def build_job(request: RunRequest) -> Json:
    """Return the whole Job."""
    job = request.job
    asked = job.spec.engine.job
    metadata = run_metadata(job)
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": metadata,
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": max(1, int(job.spec.active_deadline.total_seconds())),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": build_training_pod(request, asked),
            },
        },
    }


def _failure_rules() -> list[Json]:
    return [
        # An eviction or a lost node says nothing about the training and costs no try.
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": CONTAINER,
                "operator": "In",
                "values": [int(code) for code in DECISIVE_EXIT_CODES],
            },
        },
    ]


def view_job(job: RetrainJob, batch_job: Json | None, pods: Sequence[Json]) -> RunView:
    """Return how the run stands; what pods say counts also when their Job was deleted."""
    own = pod_views(pod for pod in pods if _is_own(pod, job, batch_job))
    if batch_job is None or not is_live_child(batch_job, job):
        return RunView(pods=own)
    return RunView(exists=True, end=_end(batch_job.get("status") or {}), pods=own)


def _is_own(pod: Json, job: RetrainJob, batch_job: Json | None) -> bool:
    """Return whether a pod ran for this RetrainJob, and not for an earlier one of that name.

    Pods of earlier releases do not say so: theirs is told by their Job, or by their age.
    """
    owner = _job_of(pod)
    if owner is None or owner.get("name") != job.metadata.name:
        return False
    labelled = (pod["metadata"].get("labels") or {}).get(RETRAIN_JOB_UID_LABEL)
    if labelled is not None:
        return bool(labelled == job.metadata.uid)
    uid, live = owner.get("uid"), ((batch_job or {}).get("metadata") or {}).get("uid")
    if batch_job is not None and uid and live and (uid == live) != is_owned_by(batch_job, job):
        return False
    return not is_from_before(pod, job)


def _job_of(pod: Json) -> Json | None:
    owners: list[Json] = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("kind") == JOBS.kind), None)


def _end(status: Json) -> RunEnd | None:
    true = {
        condition["type"]: condition
        for condition in status.get("conditions") or []
        if condition.get("status") == "True"
    }
    end = true.get("Complete") or true.get("Failed")
    if end is None:
        return None
    time = end.get("lastTransitionTime")
    at = datetime.fromisoformat(time).astimezone(UTC) if time else None
    if "Complete" in true:
        return RunEnd("completed", at)
    reason = end.get("reason", "")
    words = f"{reason}: {end.get('message', '')}"
    return RunEnd("outOfTime" if reason == "DeadlineExceeded" else "failed", at, words)


JOB = TrainingEngine(
    resource=JOBS, build=build_job, view=view_job, access=(watch_and_create(JOBS),)
)
