"""A kubectl of our own before any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.kubectl import FakeKubectl


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    """Return the only kubectl on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("TRIMTAB_GRAFANA_URL", raising=False)
    return FakeKubectl(folder)
