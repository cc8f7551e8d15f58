"""Whatever a file holds, a command says in a sentence what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.cli.main import main

OWN = "apiVersion: trimtab.dev/v1alpha1\nkind: Deployment\nmetadata: {name: digits}\n"
LAUGHS = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)
BAD = {
    "kind_is_a_list": (OWN.replace("Deployment", "[a]"), "kind must be text"),
    "an_alias_of_itself": (f"{OWN}spec: &a [*a]\n", "nested"),
    "brackets": (f"{OWN}spec: {'[' * 5000}{']' * 5000}\n", "nested"),
    "a_billion_laughs": (f"{OWN}spec:\n  x: 1\n{LAUGHS}\n", "too many values"),
}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must refuse; return what it says, without any traceback."""
    assert main(list(words)) != 0
    told = capsys.readouterr()
    said = told.out + told.err
    assert "Traceback" not in said
    assert "pydantic" not in said
    return said


@pytest.mark.parametrize("command", ["simulate", "lint"])
@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, text: str, words: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    said = refused(capsys, command, str(file))
    assert words in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param("{model: digits, version: v1, replica: 3}", "spec.replica", id="misspelt"),
        pytest.param(
            "{model: digits, version: v1, rollout: {strategy: bluegreen}}",
            "spec.rollout.strategy",
            id="unknown_strategy",
        ),
    ],
)
def test_simulate_plays_nothing_that_lint_calls_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, spec: str, words: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(f"{OWN}spec: {spec}\n")
    said = refused(capsys, "simulate", str(file))
    assert words in said
    assert "Published" not in said


def test_simulate_names_a_name_that_the_api_server_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "bad.yaml"
    spec = "spec: {model: digits, version: v1}\n"
    file.write_text(OWN.replace("name: digits", "name: Bad_Name") + spec)
    assert "Bad_Name" in refused(capsys, "simulate", str(file))


@pytest.mark.parametrize("text", ["not: [yaml", "", "[]"])
def test_a_broken_kubeconfig_is_said(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert "kubeconfig" in refused(capsys, "get")
