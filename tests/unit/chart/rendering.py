"""Renders the chart with the real helm binary, without a cluster."""

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.settings import read_settings

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "trimtab"
NAMESPACE = "trimtab-system"

Json = dict[str, Any]


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the kinds are long


def find_helm() -> str:
    """Return the helm binary of the environment, the path or the cluster tool's cache."""
    built = sorted(read_settings().cache.glob("bin/helm-*"))
    found = os.environ.get("HELM") or shutil.which("helm") or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip("no helm binary: `python -m tests.cluster up` builds one")
    return found


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm with a home of its own kind: no plugins or repositories of the person matter."""
    return subprocess.run(
        [find_helm(), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@functools.cache
def render(*settings: str, release: str = "trimtab", namespace: str = NAMESPACE) -> list[Json]:
    """Return the rendered objects with `--set` of each setting. They are shared: change none."""
    options = [option for setting in settings for option in ("--set", setting)]
    done = run_helm("template", release, str(CHART), "--namespace", namespace, *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, LOADER) if document]


def refusal(*settings: str) -> str:
    """Return why these settings are not rendered."""
    options = [option for setting in settings for option in ("--set", setting)]
    done = run_helm("template", "trimtab", str(CHART), "--namespace", NAMESPACE, *options)
    assert done.returncode != 0
    return done.stderr


def of_kind(objects: list[Json], kind: str) -> dict[str, Json]:
    """Return the objects of a kind by `namespace/name` (by name where there is no namespace)."""
    return {
        "/".join(filter(None, (o["metadata"].get("namespace"), o["metadata"]["name"]))): o
        for o in objects
        if o["kind"] == kind
    }


def pod_specs(objects: list[Json]) -> dict[str, Json]:
    """Return the pod specs of workloads and Jobs by name."""
    return {
        o["metadata"]["name"]: o["spec"]["template"]["spec"]
        for o in objects
        if o["kind"] in ("Deployment", "Job") and o["apiVersion"] in ("apps/v1", "batch/v1")
    }


def rules(objects: list[Json]) -> list[tuple[str, Json]]:
    """Return every RBAC rule with the name of its role."""
    return [
        (role["metadata"]["name"], rule)
        for role in objects
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
    ]
