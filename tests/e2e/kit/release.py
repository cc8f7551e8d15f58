"""The chart, installed from the tree with the images of the tree."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
SYSTEM = "trimtab-system"
LOCAL_IMAGES = [
    f"images.{part}.{key}={value}"
    for part in ("operator", "serving", "training")
    for key, value in (
        ("registry", "localhost"),
        ("repository", f"trimtab-{part}"),
        ("tag", "dev"),
    )
]


def helm(*words: str, timeout: float = 180.0) -> str:
    """Run helm; its error is the exception's text."""
    done = subprocess.run(
        ["helm", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"helm {words[0]}: {done.stderr or done.stdout}")
    return done.stdout


def install(namespaces: list[str], *values: str) -> None:
    """Install or upgrade the release; the namespaces get the store's Secret."""
    settings = [*LOCAL_IMAGES, "artifacts.namespaces={" + ",".join(namespaces) + "}", *values]
    flags = [word for setting in settings for word in ("--set", setting)]
    helm(
        "upgrade", "--install", "trimtab", "charts/trimtab", "--namespace", SYSTEM,
        "--create-namespace", "--wait", "--timeout", "150s", *flags,
    )  # fmt: skip


def kubectl(*words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
    """Run kubectl against the cluster of KUBECONFIG or KUBE_CONTEXT."""
    context = os.environ.get("KUBE_CONTEXT")
    command = ["kubectl", *(["--context", context] if context else []), *words]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"kubectl {' '.join(words[:3])}: {done.stderr}")
    return done.stdout


def operator_pod() -> dict[str, str]:
    """Return name, container id and start of the running operator."""
    found = json.loads(
        kubectl("-n", SYSTEM, "get", "pods", "-o", "json",
                "-l", "app.kubernetes.io/component=operator")
    )  # fmt: skip
    for pod in found["items"]:
        statuses = pod["status"].get("containerStatuses") or []
        running = statuses and (statuses[0]["state"].get("running"))
        if running and "deletionTimestamp" not in pod["metadata"]:
            return {
                "name": pod["metadata"]["name"],
                "container": statuses[0]["containerID"].removeprefix("containerd://"),
                "started": running["startedAt"],
            }
    return {}
