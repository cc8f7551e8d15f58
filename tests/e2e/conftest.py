"""What all tests on the real cluster share: one release, installed from the tree."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import install, kubectl

NAMESPACES = ["e2e-rollouts", "e2e-loop", "e2e-docs"]
LAST = "test_uninstall"
"""Takes the release away for a while: played when everybody else is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the test that uninstalls for the end."""
    items.sort(key=lambda item: LAST in item.nodeid)


@pytest.fixture(scope="session")
def release() -> Iterator[OperatorProcess]:
    """Install the chart of the tree; return its operator. The namespaces of the tests go after."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to install on")
    install(NAMESPACES)
    operator = OperatorProcess()
    operator.wait_until_working()
    yield operator
    for namespace in NAMESPACES:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
