"""Simulated pods count as serving containers do, the warm-up of their Deployment included."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.cli.main import main
from trimtab.simulation.traffic import WarmUp

SERVE = """\
apiVersion: trimtab.dev/v1alpha1
kind: Deployment
metadata: {{name: scans}}
spec:
  model: scans
  version: {version}
  replicas: 3
  rollout:
    steps: [{{weight: 25%, for: 30s}}, {{weight: 50%, for: 30s}}]
    warmUp: {warm_up}
    gates: [{{name: slow, bad: slow, slowerThan: 250ms, against: stable, margin: 2%}}]
"""
SCENARIO = """\
versions:
  v1: {}
  v2: {slow: 30%}
acts:
- {title: v1 serves, apply: [1.yaml], until: Promoted, for: 10s}
- {title: v2 is tried, apply: [2.yaml], until: RolloutStarted, for: 2m}
"""


def tried(folder: Path, warm_up: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is told when a version that is slow in 30 % is tried."""
    for number in (1, 2):
        text = SERVE.format(version=f"v{number}", warm_up=warm_up)
        (folder / f"{number}.yaml").write_text(text)
    (folder / "simulation.yaml").write_text(SCENARIO)
    assert main(["simulate", str(folder)]) == 0
    return capsys.readouterr().out


def test_a_slow_version_is_found_after_its_warm_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "GateFailed" in tried(tmp_path, "{requests: 20, for: 10s}", capsys)


@pytest.mark.parametrize("warm_up", ["{requests: 20, for: 1h}", "{requests: 100000, for: 1s}"])
def test_a_warm_up_longer_than_the_rollout_leaves_slow_nothing_to_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], warm_up: str
) -> None:
    told = tried(tmp_path, warm_up, capsys)
    assert "GateFailed" not in told
    assert "RolledBack" not in told


def test_the_warm_up_ends_with_the_later_of_both() -> None:
    by_time = WarmUp(requests=2, seconds=10.0)
    assert by_time.takes(50, began=100.0, seconds=5.0) == 50
    assert by_time.takes(50, began=105.0, seconds=10.0) == 25
    assert by_time.takes(50, began=115.0, seconds=5.0) == 0
    by_number = WarmUp(requests=60, seconds=1.0)
    assert by_number.takes(0, began=100.0, seconds=5.0) == 0
    assert by_number.takes(50, began=105.0, seconds=5.0) == 50
    assert by_number.takes(50, began=110.0, seconds=5.0) == 10
    assert by_number.takes(50, began=115.0, seconds=5.0) == 0
    assert WarmUp(requests=0, seconds=0.0).takes(50, began=0.0, seconds=5.0) == 0
