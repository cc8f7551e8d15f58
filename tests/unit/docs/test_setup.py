"""`make setup` installs the operator alone: that is enough for what the front page does with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from tests.pages.blocks import ROOT

WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError("not installed: " + name, name=name)

sys.meta_path.insert(0, Missing())
from trimtab.cli.main import main
sys.exit(main({arguments}))
"""
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
    "prometheus-client": "prometheus_client",
}


def packages(requirements: list[str]) -> set[str]:
    names = {re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower() for requirement in requirements}
    return {IMPORTED_AS.get(name, name) for name in names}


def extras_only() -> set[str]:
    """Return what only extras bring, as it is imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return set().union(*map(packages, extras.values())) - packages(extras["operator"])


def test_the_extras_are_what_is_left_out() -> None:
    assert {"sklearn", "skops", "pandas", "matplotlib", "onnxruntime"} <= extras_only()
    assert not {"numpy", "scipy", "pydantic", "yaml", "kopf"} & extras_only()


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "manifests/quickstart/"],
        ["lint", "manifests/quickstart/01-serve.yaml"],
        ["--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_needs_no_extra(arguments: list[str]) -> None:
    code = WITHOUT.format(names=sorted(extras_only()), arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
