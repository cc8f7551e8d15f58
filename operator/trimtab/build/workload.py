"""The workload (`apps/v1` Deployment) that runs one revision of a model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from trimtab.api.deployment import Deployment, Serving, Tried
from trimtab.api.meta import MODEL_LABEL, VERSION_LABEL
from trimtab.api.model_version import Artifact, ModelVersion
from trimtab.build.names import (
    SEAL_VOLUME,
    TOKEN_VOLUME,
    child_metadata,
    revision_labels,
    seal_secret_name,
    token_secret_name,
)
from trimtab.contract.metrics import GRPC_PORT, INFERENCE_PORT, METRICS_PORT

Json = dict[str, Any]

TOKEN_FOLDER = "/var/run/trimtab/token"
SEAL_FOLDER = "/var/run/trimtab/seal"
CREDENTIALS_FOLDER = "/var/run/trimtab/artifacts"
OTHER_CREDENTIALS_FOLDER = "/var/run/trimtab/other-artifacts"
COMPARE_VARIABLE = "TRIMTAB_COMPARE_FOR"
"""Set where pods ask another version, too."""
CONTAINER = "model"
GRACE_SECONDS = 30

_GRPC: Json = {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"}


@dataclass(frozen=True)
class Other:
    """The version that pods ask, too. until: Unix seconds."""

    artifact: Artifact
    until: float


def build_pod_template(
    deployment: Deployment,
    version: ModelVersion,
    revision: str,
    default_image: str,
    pull_policy: str,
    other: Other | None = None,
) -> Json:
    """Return the pod template of a revision. It is frozen in status when the revision starts."""
    serving = deployment.spec.serving
    labels = {
        **revision_labels(deployment.metadata.name, revision),
        MODEL_LABEL: version.spec.model,
        VERSION_LABEL: version.spec.version,
    }
    template: Json = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                _container(deployment, version, revision, default_image, pull_policy, other)
            ],
            "volumes": _volumes(deployment, version, other),
            **_placement(serving),
        },
    }
    if serving.pod_template is not None:
        template = merge_patch(template, serving.pod_template)
        template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
    return template


def _label_delay(serving: Serving) -> dict[str, str]:
    delay = serving.label_delay
    return {} if delay is None else {"TRIMTAB_LABEL_DELAY_SECONDS": f"{delay.total_seconds():g}"}


def _container(
    deployment: Deployment,
    version: ModelVersion,
    revision: str,
    default_image: str,
    pull_policy: str,
    other: Other | None,
) -> Json:
    serving = deployment.spec.serving
    artifact = version.spec.artifact
    warm_up = deployment.spec.rollout.warm_up
    environment = {
        "TRIMTAB_DEPLOYMENT": deployment.metadata.name,
        "TRIMTAB_REVISION": revision,
        "TRIMTAB_MODEL": version.spec.model,
        "TRIMTAB_VERSION": version.spec.version,
        "TRIMTAB_ARTIFACT_URI": artifact.uri,
        "TRIMTAB_ARTIFACT_DIGEST": artifact.digest,
        "TRIMTAB_ARTIFACT_FORMAT": artifact.format,
        "TRIMTAB_ARTIFACT_CREDENTIALS": CREDENTIALS_FOLDER,
        "TRIMTAB_TOKEN_KEY_FILE": f"{TOKEN_FOLDER}/key",
        "TRIMTAB_TOKEN_SEAL_KEY_FILE": f"{SEAL_FOLDER}/key",
        "TRIMTAB_WARM_UP_REQUESTS": str(warm_up.requests),
        "TRIMTAB_WARM_UP_SECONDS": f"{warm_up.for_.total_seconds():g}",
        **_comparison(deployment, other),
        **({"TRIMTAB_TRUST_PICKLE": "true"} if serving.trust_pickle else {}),
        **({"TRIMTAB_GRPC_PORT": str(GRPC_PORT)} if serving.grpc else {}),
        **_label_delay(serving),
        **{variable.name: variable.value for variable in serving.env},
    }
    container: Json = {
        "name": CONTAINER,
        "image": serving.image or default_image,
        "imagePullPolicy": pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [
            {"name": "http", "containerPort": INFERENCE_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            *([_GRPC] if serving.grpc else []),
        ],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "metrics"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "startupProbe": {
            "httpGet": {"path": "/readyz", "port": "metrics"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 600,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "metrics"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True},
            {"name": SEAL_VOLUME, "mountPath": SEAL_FOLDER, "readOnly": True},
            {"name": "artifacts", "mountPath": CREDENTIALS_FOLDER, "readOnly": True},
        ],
    }
    mounts = container["volumeMounts"]
    if other is not None:
        path = OTHER_CREDENTIALS_FOLDER
        mounts.append({"name": "other-artifacts", "mountPath": path, "readOnly": True})
    for volume, claim in _claims(artifact, other).items():
        path = f"/var/run/trimtab/pvc/{claim}"
        mounts.append({"name": volume, "mountPath": path, "readOnly": True})
    resources = serving.resources.to_json()
    if any(resources.values()):
        container["resources"] = {k: v for k, v in resources.items() if v}
    return container


def _comparison(deployment: Deployment, other: Other | None) -> dict[str, str]:
    if other is None:
        return {}
    return {
        COMPARE_VARIABLE: "outcomes",
        "TRIMTAB_COMPARE_ARTIFACT_URI": other.artifact.uri,
        "TRIMTAB_COMPARE_ARTIFACT_DIGEST": other.artifact.digest,
        "TRIMTAB_COMPARE_ARTIFACT_CREDENTIALS": OTHER_CREDENTIALS_FOLDER,
        "TRIMTAB_COMPARE_BUDGET": f"{deployment.spec.compare.budget:g}",
        "TRIMTAB_COMPARE_UNTIL": f"{other.until:.0f}",
    }


def _volumes(deployment: Deployment, version: ModelVersion, other: Other | None) -> list[Json]:
    volumes: list[Json] = [
        {"name": "scratch", "emptyDir": {}},
        {
            "name": TOKEN_VOLUME,
            "secret": {"secretName": token_secret_name(deployment)},
        },
        # Pods serve without it, and do not compare.
        {
            "name": SEAL_VOLUME,
            "secret": {"secretName": seal_secret_name(deployment), "optional": True},
        },
        {
            "name": "artifacts",
            "secret": {"secretName": version.spec.artifact.secret_name, "optional": True},
        },
    ]
    if other is not None:
        secret = {"secretName": other.artifact.secret_name, "optional": True}
        volumes.append({"name": "other-artifacts", "secret": secret})
    for volume, claim in _claims(version.spec.artifact, other).items():
        volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
    return volumes


def _claims(artifact: Artifact, other: Other | None) -> dict[str, str]:
    """Return the claims that the artifacts lie on, by volume; one that both share is there once."""
    claims = {"claim": _claim(artifact.uri)}
    if other is not None and _claim(other.artifact.uri) != claims["claim"]:
        claims["other-claim"] = _claim(other.artifact.uri)
    return {volume: claim for volume, claim in claims.items() if claim is not None}


def _claim(uri: str) -> str | None:
    """Return the claim that a pvc:// URI names, or None for other schemes."""
    return uri.removeprefix("pvc://").split("/")[0] if uri.startswith("pvc://") else None


def _placement(serving: Serving) -> Json:
    placement: Json = {}
    if serving.image_pull_secrets:
        placement["imagePullSecrets"] = [s.to_json() for s in serving.image_pull_secrets]
    if serving.node_selector:
        placement["nodeSelector"] = dict(serving.node_selector)
    if serving.tolerations:
        placement["tolerations"] = list(serving.tolerations)
    if serving.service_account_name is not None:
        placement["serviceAccountName"] = serving.service_account_name
    return placement


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with a JSON merge patch applied (RFC 7386).

    One extension: the entry of `containers` named `model` is merged by name, since a patch that
    had to repeat the whole container would be of no use.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif key in ("containers", "volumes", "volumeMounts", "env") and isinstance(value, list):
            result[key] = _merge_named(result.get(key), value)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _merge_named(target: Any, patch: list[Any]) -> list[Any]:
    """Merge two lists of named entries by `name` (mounts by `mountPath`)."""

    def identity(entry: Any) -> Any:
        return (entry.get("mountPath") or entry.get("name")) if isinstance(entry, dict) else entry

    # A list that the patch brings twice may have been anything in between.
    result = list(target) if isinstance(target, list) else []
    for entry in patch:
        for index, known in enumerate(result):
            if identity(known) == identity(entry):
                result[index] = merge_patch(known, entry)
                break
        else:
            result.append(copy.deepcopy(entry))
    return result


def build_workload(deployment: Deployment, tried: Tried, replicas: int) -> Json:
    """Return the whole workload of a revision at a size."""
    name = deployment.metadata.name
    labels = revision_labels(name, tried.revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(deployment, tried.workload, labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": tried.template,
        },
    }
