"""The stage of the play, in a namespace of its own of the release that the other tests share."""

from __future__ import annotations

import pytest
from tests.demo.stage import TRAINING_IMAGE, Stage
from tests.e2e.conftest import NAMESPACES
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import install, kubectl

NAMESPACE = "e2e-loop"


@pytest.fixture(scope="module")
def stage(release: OperatorProcess) -> Stage:
    """Return an empty stage; what is told goes to the test's output."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=120)
    install(NAMESPACES)
    release.wait_until_working()
    return Stage(TRAINING_IMAGE, print, NAMESPACE)
