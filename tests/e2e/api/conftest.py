"""The kinds on a real API server, under a group of their own.

The CustomResourceDefinitions and admission policies are those of the tree, with another group: no
operator acts on what is made here, and an installed release is not touched.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.api.server import Server
from tests.patience import Limit, stretched

from trimtab.api.kinds import KINDS
from trimtab.api.meta import GROUP, VERSION
from trimtab.generate.crds import build_crd

ROOT = Path(__file__).parents[3]
TEST_GROUP = "admission.trimtab.test"
NAMESPACE = "trimtab-admission"
DOOMED = "trimtab-admission-doomed"
"""A namespace that a test deletes."""
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
RELEASE = "admission-test"


def until(is_true: Callable[[], bool], what: str, limit: float = 30.0) -> None:
    """Wait for something that the cluster does in its own time."""
    end = Limit(limit)
    while not is_true():
        if end.is_over():
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(0.05)


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """Return the API server of KUBECONFIG with our kinds, as its administrator."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to ask")
    server = Server(TEST_GROUP, NAMESPACE)
    remove_all(server)
    for info in KINDS:
        server.create(CRDS, crd_under_test(info))
    for info in KINDS:
        path = f"{CRDS}/{info.plural}.{TEST_GROUP}"
        until(lambda path=path: _is_established(server.read(path)), f"{path} established")  # type: ignore[misc]
    server.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for info in KINDS:
        until(lambda p=info.plural: server.is_served(p), f"{info.plural} served")  # type: ignore[misc]
    yield server
    remove_all(server)


def crd_under_test(info: Any) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind under the test's group."""
    crd = build_crd(info)
    crd["metadata"]["name"] = f"{info.plural}.{TEST_GROUP}"
    crd["spec"]["group"] = TEST_GROUP
    return crd


def remove_all(server: Server) -> None:
    """Remove what an earlier run may have left."""
    for path in (BINDINGS, POLICIES):
        for item in server.read(path)["items"]:
            if item["metadata"]["name"].startswith(RELEASE):
                server.delete(f"{path}/{item['metadata']['name']}")
    gone = [f"/api/v1/namespaces/{name}" for name in (NAMESPACE, DOOMED)]
    gone += [f"{CRDS}/{info.plural}.{TEST_GROUP}" for info in KINDS]
    for path in gone:
        server.delete(path, missing_ok=True)
        until(lambda path=path: server.is_missing(path), f"{path} gone")  # type: ignore[misc]


def _is_established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


@pytest.fixture(scope="package")
def policies(server: Server) -> Server:
    """Return the server with the chart's admission policies on the test's group."""
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not on the PATH: the policies cannot be rendered")
    rendered = subprocess.run(
        [helm, "template", RELEASE, "charts/trimtab", "--show-only", "templates/admission.yaml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=stretched(60),
    ).stdout
    for item in yaml.safe_load_all(rendered):
        if item is None:
            continue
        is_policy = item["kind"] == "ValidatingAdmissionPolicy"
        name = f"{RELEASE}-{item['metadata']['name']}"
        item["metadata"] = {"name": name}
        if is_policy:
            for found in item["spec"]["matchConstraints"]["resourceRules"]:
                assert found["apiGroups"] == [GROUP]
                assert found["apiVersions"] == [VERSION]
                found["apiGroups"] = [TEST_GROUP]
        else:
            item["spec"]["policyName"] = f"{RELEASE}-{item['spec']['policyName']}"
        server.create(POLICIES if is_policy else BINDINGS, item)
    return server
