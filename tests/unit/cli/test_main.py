"""Errors are one line, usage errors are argparse's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trimtab.cli.api import usual_namespace
from trimtab.cli.main import main, parser

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts:
- {name: here, context: {cluster: c, user: u, namespace: shop}}
- {name: there, context: {cluster: c, user: u}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return path


def test_without_a_kubeconfig_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["get"]) == 1
    assert capsys.readouterr().err.startswith("error: no cluster: there is no kubeconfig")


@pytest.mark.usefixtures("kubeconfig")
def test_without_a_cluster_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "127.0.0.1" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize(
    ("context", "namespace"), [(None, "shop"), ("there", "default"), ("nowhere", "default")]
)
def test_the_namespace_is_that_of_the_context(context: str | None, namespace: str) -> None:
    assert usual_namespace(context) == namespace


@pytest.mark.parametrize(
    "arguments", [["-n", "shop", "get"], ["get", "-n", "shop"], ["-n", "a", "get", "-n", "shop"]]
)
def test_the_namespace_may_stand_on_either_side(arguments: list[str]) -> None:
    assert parser().parse_args(arguments).namespace == "shop"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nope"], ["why"], ["pause", "x", "--wait", "-1"], ["retrain", "x", "--since", "soon"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.cli.main.simulate", interrupted)
    assert main(["simulate", os.curdir]) == 130
    assert capsys.readouterr().err == ""
