"""Names that reconcilers of several kinds share."""

from __future__ import annotations

from trimtab.cluster.port import DEPLOYMENTS, Key


def telemetry_key(key: Key) -> str:
    """Return the name under which telemetry keeps a Deployment."""
    return f"{key.namespace}/{key.name}"


def deployment_key(telemetry_name: str) -> Key:
    """Return the key of the Deployment that telemetry keeps under a name."""
    namespace, _, name = telemetry_name.partition("/")
    return Key(DEPLOYMENTS, namespace, name)
