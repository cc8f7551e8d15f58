"""The batch Job that runs one attempt at retraining."""

from __future__ import annotations

import json
from typing import Any

from trimtab.api.fields import format_time
from trimtab.api.meta import MANAGED_BY_LABEL, MANAGER, MODEL_LABEL, RETRAIN_JOB_LABEL
from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.build.names import owner_reference

Json = dict[str, Any]

CONTAINER = "train"
CREDENTIALS_FOLDER = "/var/run/trimtab/artifacts"
CLAIMS_FOLDER = "/var/run/trimtab/pvc"
RETRIES = 3
"""Of faults that are neither the data's nor the code's."""
DECISIVE_EXIT_CODES = (10, 11, 12, 13)
"""Broken data, worse challenger, code, too few rows: another try would end the same way."""
USER = 65532


def build_job(
    job: RetrainJob,
    champion: Champion,
    new_version: str,
    output_uri: str,
    *,
    image: str,
    pull_policy: str,
) -> Json:
    """Return the whole Job; `image` is used where the RetrainJob names none.

    The pods do not carry the Deployment's label: its Service would send them requests.
    """
    metadata = job.metadata
    labels = {
        MANAGED_BY_LABEL: MANAGER,
        RETRAIN_JOB_LABEL: metadata.name,
        MODEL_LABEL: job.spec.model,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(metadata, "RetrainJob")],
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": max(1, int(job.spec.active_deadline.total_seconds())),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(
                    job,
                    champion,
                    new_version,
                    output_uri,
                    image=job.spec.engine.job.image or image,
                    pull_policy=pull_policy,
                ),
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
                "values": list(DECISIVE_EXIT_CODES),
            },
        },
    ]


def _pod(
    job: RetrainJob,
    champion: Champion,
    new_version: str,
    output_uri: str,
    *,
    image: str,
    pull_policy: str,
) -> Json:
    engine = job.spec.engine.job
    volumes: list[Json] = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "artifacts", "secret": {"secretName": job.spec.data.secret_name}},
    ]
    mounts: list[Json] = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "artifacts", "mountPath": CREDENTIALS_FOLDER, "readOnly": True},
    ]
    written = _claim(output_uri)
    claims = {_claim(str(job.spec.data.uri)), _claim(champion.uri), written} - {None}
    for index, claim in enumerate(sorted(str(claim) for claim in claims)):
        volumes.append({"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}})
        mount: Json = {"name": f"claim-{index}", "mountPath": f"{CLAIMS_FOLDER}/{claim}"}
        mounts.append(mount if claim == written else {**mount, "readOnly": True})
    container: Json = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": pull_policy,
        "args": list(engine.args),
        "env": _environment(job, champion, new_version, output_uri),
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    resources = {k: v for k, v in engine.resources.to_json().items() if v}
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
    if engine.service_account_name is not None:
        pod["serviceAccountName"] = engine.service_account_name
    return pod


def _environment(
    job: RetrainJob, champion: Champion, new_version: str, output_uri: str
) -> list[Json]:
    data, gate = job.spec.data, job.spec.gate
    values = {
        "TRIMTAB_MODEL": job.spec.model,
        "TRIMTAB_VERSION": new_version,
        "TRIMTAB_DATA_URI": str(data.uri),
        "TRIMTAB_DATA_SINCE": format_time(data.since) if data.since is not None else "",
        "TRIMTAB_OUTPUT_URI": output_uri,
        "TRIMTAB_CHAMPION_URI": champion.uri,
        "TRIMTAB_CHAMPION_DIGEST": champion.digest,
        "TRIMTAB_GATE": _compact(
            {
                "metric": gate.metric,
                "against": gate.against,
                "notWorseBy": gate.not_worse_by,
                "confidence": gate.confidence,
                "mustBeat": gate.must_beat,
                "slices": [],
            }
        ),
        "TRIMTAB_CAUSE": _compact(job.spec.cause.to_json()),
        "TRIMTAB_ARTIFACT_CREDENTIALS": CREDENTIALS_FOLDER,
        "HOME": "/tmp",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _compact(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _claim(uri: str) -> str | None:
    """Return the claim that a pvc:// URI names, or None for other schemes."""
    return uri.removeprefix("pvc://").split("/")[0] if uri.startswith("pvc://") else None
