"""Names that reconcilers of several kinds share."""

from __future__ import annotations

from trimtab.cluster.port import Key


def telemetry_key(key: Key) -> str:
    """Return the name under which telemetry keeps a Deployment."""
    return f"{key.namespace}/{key.name}"
