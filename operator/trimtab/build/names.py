"""Names and labels of children: derived, never stored, so that nothing is made twice."""

from typing import Any

from trimtab.api.deployment import Deployment
from trimtab.api.meta import (
    API_VERSION,
    DEPLOYMENT_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    REVISION_LABEL,
    Metadata,
)

TOKEN_VOLUME = "token"
SEAL_VOLUME = "seal"


def workload_name(deployment: str, revision: str) -> str:
    """Return the name of the workload of one revision."""
    return f"{deployment}-{revision}"


def metrics_service_name(deployment: str) -> str:
    """Return the name of the Service for labels, probes and metrics."""
    return f"{deployment}-metrics"


def service_names(deployment: str) -> tuple[str, str]:
    """Return the names of both Services: for users, and for labels and metrics."""
    return deployment, metrics_service_name(deployment)


def token_secret_name(deployment: Deployment) -> str:
    """Return the name of the Secret with the key of the label tokens, one for all revisions.

    Secrets are never read, so nobody could tell whose one of a common name is: the uid of the
    Deployment is in it. One that has revisions keeps theirs, as all of 0.1.0 do, because labels
    that are still to come are signed by it.
    """
    status = deployment.status
    for tried in (status.stable, status.candidate, status.last_good):
        known = _mounted_token_secret(tried.template) if tried is not None else None
        if known is not None:
            return known
    return f"{deployment.metadata.name}-token-{deployment.metadata.uid}"


def seal_secret_name(deployment: Deployment) -> str:
    """Return the name of the Secret with the key that seals what tokens say of another version."""
    return f"{deployment.metadata.name}-seal-{deployment.metadata.uid}"


def _mounted_token_secret(template: dict[str, Any]) -> str | None:
    for volume in template.get("spec", {}).get("volumes") or []:
        if volume.get("name") == TOKEN_VOLUME:
            name: str | None = (volume.get("secret") or {}).get("secretName")
            return name
    return None


def deployment_labels(deployment: str) -> dict[str, str]:
    """Return the labels that every child of a Deployment carries."""
    return {MANAGED_BY_LABEL: MANAGER, DEPLOYMENT_LABEL: deployment}


def revision_labels(deployment: str, revision: str) -> dict[str, str]:
    """Return the labels of one revision: also the selector of its workload."""
    return {**deployment_labels(deployment), REVISION_LABEL: revision}


def owner_reference(metadata: Metadata, kind: str) -> dict[str, object]:
    """Return the controller reference by which garbage collection deletes a child."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(deployment: Deployment, name: str, labels: dict[str, str]) -> dict[str, object]:
    """Return the metadata of a child of a Deployment."""
    return {
        "name": name,
        "namespace": deployment.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(deployment.metadata, "Deployment")],
    }
