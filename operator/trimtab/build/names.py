"""Names and labels of children: derived, never stored, so that nothing is made twice."""

from trimtab.api.deployment import Deployment
from trimtab.api.meta import (
    API_VERSION,
    DEPLOYMENT_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    REVISION_LABEL,
    Metadata,
)


def workload_name(deployment: str, revision: str) -> str:
    """Return the name of the workload of one revision."""
    return f"{deployment}-{revision}"


def metrics_service_name(deployment: str) -> str:
    """Return the name of the Service for labels, probes and metrics."""
    return f"{deployment}-metrics"


def token_secret_name(deployment: str) -> str:
    """Return the name of the Secret with the key of the label tokens."""
    return f"{deployment}-token"


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
