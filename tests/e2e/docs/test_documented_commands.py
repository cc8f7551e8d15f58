"""What the pages tell a person to run on a cluster is run; the server takes their YAML."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demo.play import LOOK
from tests.demo.stage import TRAINING_IMAGE, WRITTEN_IMAGE
from tests.e2e.docs.story import STORY, Step
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import ROOT, kubectl
from tests.pages.blocks import VALUES_MARK, Block, of_language
from tests.patience import stretched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NAMESPACE = "e2e-docs"
"""Stands for the namespace `shop` of the pages."""
LIMIT_SECONDS = 240.0
POLL_SECONDS = 0.5
LOOK_SECONDS = 90.0


class Shell:
    """A person's shell: the tree's manifests in a folder, a kubeconfig with a namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "charts").symlink_to(ROOT / "charts")
        for file in sorted((ROOT / "manifests").rglob("*.yaml")):
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace(WRITTEN_IMAGE, TRAINING_IMAGE))
        config = folder / "kubeconfig"
        config.write_text(kubectl("config", "view", "--raw", "--flatten", "--minify"))
        config.chmod(0o600)
        programs = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(config),
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        self.run(f"kubectl config set-context --current --namespace {NAMESPACE}")

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line; how it ended is the caller's."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def play(self, step: Step) -> None:
        """Run a step as the page has it, with what this cluster needs after it."""
        if step.needs:
            wait = f"kubectl wait '--for={step.needs}' --timeout=120s mdep/digits"
            assert self.run(wait).returncode == 0, f"{step.needs} before {step.command}"
        command = step.command.replace("--namespace shop", f"--namespace {NAMESPACE}")
        done = self.run(f"{command} {step.also}".strip())
        end = time.monotonic() + stretched(LOOK_SECONDS)
        # A person looks again: a Job may still be at work on what is to be seen.
        while command.startswith("kubectl get") and step.prints not in done.stdout:
            assert time.monotonic() < end, f"{command}\n{done.stdout}"
            time.sleep(POLL_SECONDS)
            done = self.run(f"{command} {step.also}".strip())
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert step.prints in done.stdout, f"{command}\n{done.stdout}"


@pytest.fixture(scope="module")
def shell(release: OperatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Return a shell in an empty namespace; what was made in it goes after."""
    shell = Shell(tmp_path_factory.mktemp("docs"))
    _empty(shell)
    yield shell
    _empty(shell)


def _empty(shell: Shell) -> None:
    shell.run("kubectl delete dp,rj,mdep,jobs,deployments.apps --all --wait=true --timeout=120s")
    end = time.monotonic() + LIMIT_SECONDS
    while shell.run("kubectl delete mv --all --timeout=30s").returncode != 0:
        # A version in use is not deleted; it is released when its Deployment is gone.
        assert time.monotonic() < end, "versions are still in use"
        time.sleep(POLL_SECONDS)


def test_the_commands_of_the_pages_work_in_their_order(shell: Shell) -> None:
    for step in STORY:
        shell.play(step)


def test_what_the_demo_left_is_shown(release: OperatorProcess) -> None:
    done = subprocess.run(
        shlex.split(LOOK), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "block",
    [b for b in of_language("yaml") if not b.text.startswith(VALUES_MARK)],
    ids=lambda block: block.place,
)
def test_the_yaml_of_the_pages_is_taken_by_the_server(
    block: Block, release: OperatorProcess
) -> None:
    namespaced = "namespace:" in block.text
    where = () if namespaced else ("--namespace", "default")
    done = kubectl("apply", "--dry-run=server", *where, "-f", "-", stdin=block.text)
    assert "dry run" in done
