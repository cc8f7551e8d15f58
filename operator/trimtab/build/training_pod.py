"""The pod that trains, and what can be seen of it: the same for every engine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab.api.fields import format_time
from trimtab.api.meta import (
    MANAGED_BY_LABEL,
    MANAGER,
    MODEL_LABEL,
    RETRAIN_JOB_LABEL,
    RETRAIN_JOB_UID_LABEL,
)
from trimtab.api.retrain_job import Champion, JobEngine, RetrainJob
from trimtab.api.run import RunPod
from trimtab.build.names import owner_reference
from trimtab.contract.training import Gate, Variable

Json = dict[str, Any]

CONTAINER = "train"
CREDENTIALS_FOLDER = "/var/run/trimtab/artifacts"
CLAIMS_FOLDER = "/var/run/trimtab/pvc"
USER = 65532
_STUCK_IMAGES = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})


@dataclass(frozen=True)
class RunRequest:
    """One attempt to run: train `new_version` below `output_uri` against the champion."""

    job: RetrainJob
    champion: Champion
    new_version: str
    output_uri: str
    image: str
    """Used where the RetrainJob names none."""
    pull_policy: str


def run_labels(job: RetrainJob) -> dict[str, str]:
    """Return the labels of what runs a RetrainJob, pods included.

    The Deployment's label is not among them: its Service would send the pods requests.
    """
    return {
        MANAGED_BY_LABEL: MANAGER,
        RETRAIN_JOB_LABEL: job.metadata.name,
        RETRAIN_JOB_UID_LABEL: job.metadata.uid,
        MODEL_LABEL: job.spec.model,
    }


def run_metadata(job: RetrainJob) -> Json:
    """Return the metadata of what runs a RetrainJob: its name, its labels, owned by it."""
    return {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "labels": run_labels(job),
        "ownerReferences": [owner_reference(job.metadata, "RetrainJob")],
    }


def is_live_child(obj: Json, job: RetrainJob) -> bool:
    """Return whether the RetrainJob owns the object and it is not being deleted."""
    return "deletionTimestamp" not in obj["metadata"] and is_owned_by(obj, job)


def is_owned_by(obj: Json, job: RetrainJob) -> bool:
    """Return whether the RetrainJob owns the object."""
    owners = obj["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == job.metadata.uid for owner in owners)


def is_from_before(pod: Json, job: RetrainJob) -> bool:
    """Return whether a pod was made before the RetrainJob: for an earlier one of that name."""
    made = pod["metadata"].get("creationTimestamp")
    since = job.metadata.creation_timestamp
    return bool(made) and since is not None and datetime.fromisoformat(made) < since


# --- build --------------------------------------------------------------------------------------


def build_training_pod(request: RunRequest, asked: JobEngine) -> Json:
    """Return the pod's spec: restricted, without a token, one container."""
    job = request.job
    volumes: list[Json] = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "artifacts", "secret": {"secretName": job.spec.data.secret_name}},
    ]
    mounts: list[Json] = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "artifacts", "mountPath": CREDENTIALS_FOLDER, "readOnly": True},
    ]
    written = _claim(request.output_uri)
    claims = {_claim(str(job.spec.data.uri)), _claim(request.champion.uri), written} - {None}
    for index, claim in enumerate(sorted(str(claim) for claim in claims)):
        volumes.append({"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}})
        mount: Json = {"name": f"claim-{index}", "mountPath": f"{CLAIMS_FOLDER}/{claim}"}
        mounts.append(mount if claim == written else {**mount, "readOnly": True})
    container: Json = {
        "name": CONTAINER,
        "image": asked.image or request.image,
        "imagePullPolicy": request.pull_policy,
        "args": list(asked.args),
        "env": _environment(request),
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    resources = {k: v for k, v in asked.resources.to_json().items() if v}
    if resources:
        container["resources"] = resources
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if asked.service_account_name is not None:
        pod["serviceAccountName"] = asked.service_account_name
    return pod


def _environment(request: RunRequest) -> list[Json]:
    spec = request.job.spec
    # Not checked here: a program that refuses the gate says so in its report.
    gate = Gate.model_construct(
        metric=spec.gate.metric,
        against=spec.gate.against,
        not_worse_by=spec.gate.not_worse_by,
        confidence=spec.gate.confidence,
        must_beat=spec.gate.must_beat,
    )
    told = {
        Variable.MODEL: spec.model,
        Variable.VERSION: request.new_version,
        Variable.DATA_URI: str(spec.data.uri),
        Variable.DATA_SINCE: format_time(spec.data.since) if spec.data.since is not None else "",
        Variable.OUTPUT_URI: request.output_uri,
        Variable.CHAMPION_URI: request.champion.uri,
        Variable.CHAMPION_DIGEST: request.champion.digest,
        Variable.GATE: _compact(gate.model_dump(mode="json", by_alias=True)),
        Variable.CAUSE: _compact(spec.cause.to_json()),
        Variable.CREDENTIALS: CREDENTIALS_FOLDER,
    }
    values = {str(name): value for name, value in told.items()} | {"HOME": "/tmp"}
    return [{"name": name, "value": value} for name, value in values.items()]


def _compact(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _claim(uri: str) -> str | None:
    """Return the claim that a pvc:// URI names, or None for other schemes."""
    return uri.removeprefix("pvc://").split("/")[0] if uri.startswith("pvc://") else None


# --- view ---------------------------------------------------------------------------------------


def pod_views(pods: Iterable[Json]) -> tuple[RunPod, ...]:
    """Return what can be seen of training pods, oldest first."""
    return tuple(_pod_view(pod) for pod in sorted(pods, key=_age_order))


def _age_order(pod: Json) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]


def _pod_view(pod: Json) -> RunPod:
    status = pod.get("status") or {}
    containers: list[Json] = status.get("containerStatuses") or []
    container: Json = next((c for c in containers if c.get("name") == CONTAINER), {})
    state: Json = container.get("state") or {}
    terminated = state.get("terminated")
    return RunPod(
        name=pod["metadata"]["name"],
        is_running="running" in state,
        waiting=_waiting(status, state),
        exit_code=terminated.get("exitCode") if terminated else None,
        message=terminated.get("message") or "" if terminated else "",
    )


def _waiting(status: Json, state: Json) -> str:
    """Say in words that do not change at every try why a pod does not start."""
    waiting = (state.get("waiting") or {}).get("reason", "")
    if waiting in _STUCK_IMAGES:
        return "the training image cannot be pulled"
    if waiting == "CreateContainerConfigError":
        return "the pod cannot be made; look at its events"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return "no node has room for the pod"
    return ""
