"""One release in namespaces of its own, in namespaced mode: no other release is touched.

The kinds are there once in a cluster. Where another release has them, this one does without.
"""

import os
from collections.abc import Iterator

import pytest
from tests.e2e.chart.cluster import NAME, RELEASE, SYSTEM, TEAM, call, helm, kubectl, until
from tests.patience import stretched

KIND = "modeldeployments.trimtab.dev"


@pytest.fixture(scope="module")
def settings() -> Iterator[tuple[str, ...]]:
    """Install the release; return the settings that it was installed with."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to install on")
    remove_all()
    for namespace in (SYSTEM, TEAM):
        kubectl("create", "namespace", namespace)
        kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    brings_kinds = call("kubectl", "get", "crd", KIND).returncode != 0
    chosen = (
        f"crds.install={str(brings_kinds).lower()}",
        f"watchNamespaces={{{TEAM}}}",
        f"artifacts.namespaces={{{TEAM}}}",
    )
    helm("install", *chosen)
    yield chosen
    remove_all()
    if brings_kinds:
        kubectl("delete", "crd", "-l", f"app.kubernetes.io/instance={RELEASE}")


def remove_all() -> None:
    """Remove release and namespaces, of an earlier run too."""
    call("helm", "uninstall", RELEASE, "--namespace", SYSTEM)
    for namespace in (SYSTEM, TEAM):
        limit = f"--timeout={stretched(60):.0f}s"
        kubectl("delete", "namespace", namespace, "--ignore-not-found", limit)
    until(
        lambda: call("kubectl", "get", "validatingadmissionpolicy", NAME).returncode != 0,
        "policies gone",
    )
