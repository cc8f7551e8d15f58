"""helm and kubectl as a person calls them."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.patience import Limit, stretched

Json = dict[str, Any]

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "trimtab"
LOCAL_VALUES = Path(__file__).with_name("local-values.yaml")
RELEASE = "chart-test"
SYSTEM = "trimtab-chart-test"
TEAM = "trimtab-chart-test-team"
NAME = f"{SYSTEM}-{RELEASE}-trimtab"
"""Of what exists once in the cluster."""


def call(*command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and return how it ended."""
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=stretched(90)
    )


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl, which must succeed, and return its output."""
    done = call("kubectl", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(kind: str, name: str, namespace: str = SYSTEM) -> Json:
    """Return one object."""
    found: Json = json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    return found


def helm(verb: str, *settings: str) -> str:
    """Install or upgrade the release of these tests, which must succeed."""
    options = [option for setting in settings for option in ("--set", setting)]
    done = call(
        "helm", verb, RELEASE, str(CHART), "--namespace", SYSTEM, "-f", str(LOCAL_VALUES), *options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(holds: Callable[[], bool], what: str, limit: float = 60.0) -> None:
    """Wait for something that the cluster does in its own time."""
    end = Limit(limit)
    while not holds():
        assert not end.is_over(), f"not within {limit:.0f} s: {what}"
        time.sleep(0.1)
