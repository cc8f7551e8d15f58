"""Persistent volumes of a cluster: folders of its state, made before anybody asks for them.

There is no provisioner on a bare node. A few dozen volumes cost nothing and serve every claim of
a test run; they vanish with the state folder.
"""

from __future__ import annotations

import json

from .settings import Settings

COUNT = 24


def volumes_manifest(settings: Settings) -> str:
    """Make the folders; return the objects that offer them, as one JSON list."""
    items = []
    for number in range(COUNT):
        folder = settings.state / "volumes" / f"{number:02}"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # pods run as users without a name
        spec = {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder), "type": "Directory"},
        }
        metadata = {"name": f"volume-{number:02}"}
        items.append(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
        )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
