"""The chart, installed from the tree with the images of the tree."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.cluster.builder import hash_sources
from tests.cluster.settings import read_settings
from tests.patience import stretched

ROOT = Path(__file__).parents[3]
SYSTEM = "trimtab-system"
LOCAL_IMAGES = [
    f"images.{part}.{key}={value}"
    for part, target in (
        ("operator", "operator"),
        ("serving", "serving"),
        ("servingOnnx", "serving-onnx"),
        ("servingTables", "serving-tables"),
        ("training", "training"),
    )
    for key, value in (
        ("registry", "localhost"),
        ("repository", f"trimtab-{target}"),
        ("tag", "dev"),
    )
]


def helm(*words: str, timeout: float = 180.0) -> str:
    """Run helm; its error is the exception's text."""
    done = subprocess.run(
        ["helm", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=stretched(timeout),
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"helm {words[0]}: {done.stderr or done.stdout}")
    return done.stdout


def install(namespaces: list[str], *values: str) -> None:
    """Install or upgrade the release; the namespaces, made if missing, get the store's Secret.

    Namespaces that had it keep it. The operator is started anew if its image was built anew under
    the same tag.
    """
    namespaces = sorted({*namespaces, *_namespaces_with_keys()})
    for name in namespaces:
        if "Terminating" in kubectl("get", "namespace", name, "--ignore-not-found"):
            limit = f"--timeout={stretched(90):.0f}s"
            kubectl("wait", "--for=delete", f"namespace/{name}", limit, timeout=100)
        made = kubectl("create", "namespace", name, "--dry-run=client", "-o", "yaml")
        kubectl("apply", "-f", "-", stdin=made)
    settings = [
        *LOCAL_IMAGES,
        "artifacts.namespaces={" + ",".join(namespaces) + "}",
        f"operator.podAnnotations.sources=h{_sources()}",
        *values,
    ]
    flags = [word for setting in settings for word in ("--set", setting)]
    # A test that was ended may have left the operator at no replicas.
    helm(
        "upgrade", "--install", "trimtab", "charts/trimtab", "--namespace", SYSTEM,
        "--create-namespace", "--force-conflicts",
        "--wait", "--timeout", f"{stretched(150):.0f}s", *flags,
    )  # fmt: skip


def _namespaces_with_keys() -> list[str]:
    """Return the namespaces, still there, that an installed release gives the keys to."""
    releases = json.loads(helm("list", "--namespace", SYSTEM, "--output", "json"))
    if not any(release["name"] == "trimtab" for release in releases):
        return []
    values = json.loads(helm("get", "values", "trimtab", "--namespace", SYSTEM, "-o", "json"))
    known = (values or {}).get("artifacts", {}).get("namespaces") or []
    found = json.loads(kubectl("get", "namespaces", "-o", "json"))["items"]
    active = {n["metadata"]["name"] for n in found if n["status"]["phase"] == "Active"}
    return [name for name in known if name in active]


def _sources() -> str:
    """Return what the images in the cluster were made of, as a hash."""
    imported = read_settings().state / "images.imported"
    return (imported.read_text() if imported.exists() else hash_sources())[:12]


def uninstall() -> None:
    """Take the release away; kinds, objects and keys stay."""
    helm("uninstall", "trimtab", "--namespace", SYSTEM, "--wait")


def kubectl(*words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
    """Run kubectl against the cluster of KUBECONFIG or KUBE_CONTEXT."""
    context = os.environ.get("KUBE_CONTEXT")
    command = ["kubectl", *(["--context", context] if context else []), *words]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=stretched(timeout),
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"kubectl {' '.join(words[:3])}: {done.stderr}")
    return done.stdout
