"""Completion: candidates as kubectl wants them, and the scripts in the shells that there are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.kubectl import FakeKubectl

from trimtab.cli.completion import SCRIPTS
from trimtab.cli.main import main
from trimtab.generate.single_file import program

SHELLS = {name: shutil.which(name) for name in ("bash", "zsh", "fish", "sh")}


@pytest.fixture
def shop(kubectl: FakeKubectl) -> FakeKubectl:
    """A namespace with two Deployments, of which one has a name that no object can have."""
    evil = {"metadata": {"name": "$(reboot)"}}
    kubectl.list("modeldeployments", {"metadata": {"name": "digits"}}, evil)
    kubectl.list("driftpolicies", {"metadata": {"name": "drift"}})
    kubectl.list("retrainjobs")
    kubectl.list("modelversions", {"metadata": {"name": "digits-v1"}})
    for pattern, answer in list(kubectl.answers):
        kubectl.answers.append((f"--request-timeout=3 {pattern}", answer))
    kubectl.answer(
        r"--request-timeout=3 get --raw /api/v1/namespaces\?.*",
        json.dumps({"items": [{"metadata": {"name": "shop"}}]}),
    )
    kubectl.answer("--request-timeout=3 config get-contexts -o name", "here\nthere\n")
    return kubectl


def offered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["__complete", *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["ha"], ["handover", ":4"]),
        (["why", ""], ["dp/drift", "mdep/digits", "mv/digits-v1", ":4"]),
        (["why", "mdep/"], ["mdep/digits", ":4"]),
        (["-n", "shop", "pause", "m"], ["mdep/digits", ":4"]),
        (["pause", "mdep/digits", ""], [":4"]),
        (["get", "--wa"], ["--watch", ":4"]),
        (["get", "-n", ""], ["shop", ":4"]),
        (["get", "--context", "t"], ["there", ":4"]),
        (["dashboard", "--board", "q"], ["quality", ":4"]),
        (["completion", "z"], ["zsh", ":4"]),
        (["lint", "--outp"], ["--output", ":4"]),
        (["lint", ""], [":0"]),
        (["nope", ""], [":4"]),
    ],
    ids=" ".join,
)
def test_what_may_come_next(
    shop: FakeKubectl, capsys: pytest.CaptureFixture[str], words: list[str], answer: list[str]
) -> None:
    found = offered(capsys, *words)
    if words == ["nope", ""]:
        assert found[-1] == ":4"
    else:
        assert found == answer


def test_a_cluster_that_does_not_answer_offers_nothing(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.fail(".*", "error: away\n")
    assert offered(capsys, "why", "") == [":4"]
    assert capsys.readouterr().err == ""


def test_kubectl_is_answered_under_its_name(
    shop: FakeKubectl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl_complete-trimtab", "res"])
    assert main() == 0
    assert capsys.readouterr().out.splitlines() == ["resume", ":4"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_is_good_in_its_shell(shell: str, tmp_path: Path) -> None:
    path = SHELLS["sh" if shell == "kubectl" else shell]
    if path is None:
        pytest.skip(f"no {shell} here")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    done = subprocess.run([path, "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("trimtab why m", "mdep/digits mv/digits-v1"), ("trimtab han", "handover")],
)
def test_bash_offers_it(shop: FakeKubectl, tmp_path: Path, typed: str, answer: str) -> None:
    if SHELLS["bash"] is None:
        pytest.skip("no bash here")
    trimtab = shop.folder / "trimtab"
    trimtab.write_bytes(
        program().replace(b"#!/usr/bin/env python3", f"#!{sys.executable}".encode(), 1)
    )
    trimtab.chmod(0o755)
    words = typed.split()
    script = f"""{SCRIPTS["bash"]}
COMP_WORDS=({" ".join(words)})
COMP_CWORD={len(words) - 1}
_trimtab
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [SHELLS["bash"], "-c", script],
        capture_output=True, text=True, check=False, env={"PATH": str(shop.folder)},
    )  # fmt: skip
    assert done.stdout.strip() == answer, done.stderr
