"""The Services of a Deployment, and the Secret for its label tokens.

The Service for users has two forms: `{deployment, revision}` is one revision, `{deployment}` is
all of them. Turning traffic is one write of its selector.
"""

from __future__ import annotations

import base64
from typing import Any

from trimtab.api.deployment import Deployment
from trimtab.build.names import (
    child_metadata,
    deployment_labels,
    metrics_service_name,
    revision_labels,
    seal_secret_name,
    token_secret_name,
)
from trimtab.contract.metrics import GRPC_PORT, INFERENCE_PORT, METRICS_PORT

Json = dict[str, Any]

_GRPC: Json = {
    "name": "grpc",
    "port": GRPC_PORT,
    "targetPort": "grpc",
    "protocol": "TCP",
    "appProtocol": "kubernetes.io/h2c",  # for gateways: HTTP/2 in clear
}


def build_service(deployment: Deployment, revision: str | None) -> Json:
    """Return the Service for users; `revision` None sends requests to all revisions."""
    name = deployment.metadata.name
    labels = deployment_labels(name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(deployment, name, labels),
        "spec": {
            "type": "ClusterIP",
            "selector": labels if revision is None else revision_labels(name, revision),
            "ports": [
                {
                    "name": "http",
                    "port": INFERENCE_PORT,
                    "targetPort": "http",
                    "protocol": "TCP",
                },
                *([_GRPC] if deployment.spec.serving.grpc else []),
            ],
        },
    }


def build_metrics_service(deployment: Deployment) -> Json:
    """Return the Service that takes labels; it never enters a route."""
    name = deployment.metadata.name
    labels = deployment_labels(name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(deployment, metrics_service_name(name), labels),
        "spec": {
            "type": "ClusterIP",
            "selector": labels,
            "ports": [
                {
                    "name": "metrics",
                    "port": METRICS_PORT,
                    "targetPort": "metrics",
                    "protocol": "TCP",
                }
            ],
        },
    }


def build_token_secret(deployment: Deployment, key: bytes) -> Json:
    """Return the Secret with the tokens' key (32 random bytes); only created, never read."""
    return _key_secret(deployment, token_secret_name(deployment), key)


def build_seal_secret(deployment: Deployment, key: bytes) -> Json:
    """Return the Secret with the key (32 random bytes) that seals a part of the tokens.

    Who can sign tokens cannot read what one says of another version, and the other way round.
    """
    return _key_secret(deployment, seal_secret_name(deployment), key)


def _key_secret(deployment: Deployment, secret: str, key: bytes) -> Json:
    name = deployment.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(deployment, secret, deployment_labels(name)),
        "type": "Opaque",
        "data": {"key": base64.b64encode(key).decode()},
    }
