"""What the chart passes to the operator, read from the environment once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.notify.settings import Notifications, read_notifications
from trimtab.reconcile.machine.world import Settings

NONE = Notifications()


@dataclass(frozen=True)
class Environment:
    """The settings of reconcilers, and those of the process itself."""

    settings: Settings
    identity: str
    """Of the pod: a restarted container keeps it and goes on with its Lease at once."""
    lease_name: str
    http_port: int
    log_level: str


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """Return the settings; ValueError names the variable that is missing or wrong."""

    def needed(name: str) -> str:
        value = environ.get(name, "")
        if not value:
            raise ValueError(f"{name} must be set")
        return value

    port = environ.get("TRIMTAB_HTTP_PORT", "8081")
    if not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError("TRIMTAB_HTTP_PORT must be a port number")
    destinations = environ.get("TRIMTAB_NOTIFICATIONS_FILE")
    namespaces = environ.get("TRIMTAB_WATCH_NAMESPACES", "").split(",")
    return Environment(
        settings=Settings(
            serving_image=needed("TRIMTAB_SERVING_IMAGE"),
            training_image=needed("TRIMTAB_TRAINING_IMAGE"),
            serving_onnx_image=environ.get("TRIMTAB_SERVING_ONNX_IMAGE") or None,
            serving_tables_image=environ.get("TRIMTAB_SERVING_TABLES_IMAGE") or None,
            image_pull_policy=environ.get("TRIMTAB_IMAGE_PULL_POLICY", "IfNotPresent"),
            operator_namespace=environ.get("TRIMTAB_NAMESPACE", "trimtab-system"),
            watch_namespaces=tuple(sorted({n.strip() for n in namespaces if n.strip()})),
            store_credentials=environ.get("TRIMTAB_STORE_CREDENTIALS") or None,
            checkpoint_uri=environ.get("TRIMTAB_CHECKPOINT_URI") or None,
            signing_key_file=environ.get("TRIMTAB_SIGNING_KEY_FILE") or None,
            notifications=read_notifications(Path(destinations)) if destinations else NONE,
            notification_secrets=environ.get("TRIMTAB_NOTIFICATIONS_SECRETS", ""),
        ),
        identity=environ.get("TRIMTAB_POD_NAME") or socket.gethostname(),
        lease_name=environ.get("TRIMTAB_LEASE_NAME", "trimtab"),
        http_port=int(port),
        log_level=environ.get("TRIMTAB_LOG_LEVEL", "INFO").upper(),
    )
