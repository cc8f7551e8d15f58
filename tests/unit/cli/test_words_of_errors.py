"""A mistake at the command line is told in the words of the command line, with one exit code."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from trimtab.cli.main import main

WRONG_INPUT = 2
POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: digits}
spec:
  selector: {deployments: [digits]}
  window: 1h
  season: 1h
  signals:
  - {kind: SIGNAL}
"""
QUALITY, INPUTS = "quality, floor: {dropBy: 5%}", "inputs, tolerance: 0.02"
SCENARIO = "acts: [{title: a}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without a kubeconfig."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "policy.yaml").write_text(POLICY.replace("SIGNAL", QUALITY))
    rows = "\n".join(f"yes,0.{n:03}" for n in range(100, 200))
    (tmp_path / "rows.csv").write_text(f"prediction,a\n{rows}\n")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """Run a command line whose input is wrong; return the one sentence that it says."""
    try:
        code: object = main(line.split())
    except SystemExit as left:
        code = left.code
    assert code == WRONG_INPUT
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "Errno" not in said.err + said.out
    return (said.err + said.out).splitlines()[-1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pause digits --wait soon", "'soon' is not a number of seconds"),
        ("simulate . --minutes soon", "'soon' is not a number of minutes"),
        ("simulate . --minutes nan", "above 0 and at most 1440 minutes"),
        ("why foo/digits", "write it as mv/NAME, mdep/NAME"),
        ("promote dp/digits", "write it as mdep/NAME"),
        ("retry mdep/digits a/b", "a version or revision has no slash"),
        ("rollback mdep/digits --to a/b", "a version or revision has no slash"),
    ],
)
def test_an_argument_is_told_before_the_kubeconfig(
    capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    assert words in told(capsys, line)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "line",
    [
        "simulate nope",
        "lint nope",
        "replay nope --rows rows.csv --reference-rows 50",
        "replay policy.yaml --rows nope.csv --reference-rows 50",
        "replay policy.yaml --openmetrics rows.csv --baseline nope",
        "replay policy.yaml --openmetrics nope --baseline BASELINE",
        "replay policy.yaml --prometheus http://localhost:1 --from 2026-01-01 --token-file nope "
        "--baseline BASELINE",
        "conform http://localhost:1 --request nope",
        "conform http://localhost:1 --bearer-file nope",
    ],
)
def test_a_file_that_is_missing_is_wrong_input(
    capsys: pytest.CaptureFixture[str], folder: Path, line: str
) -> None:
    from tests.unit.replay.recorded import baseline

    (folder / "baseline.json").write_text(baseline().model_dump_json(by_alias=True))
    said = told(capsys, line.replace("BASELINE", "baseline.json"))
    if not line.startswith("lint"):
        assert "nope" in said
        assert "no such file" in said


def test_a_baseline_that_is_none(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "b.json").write_text("{")
    said = told(capsys, "replay policy.yaml --openmetrics rows.csv --baseline b.json")
    assert "b.json: not a baseline: Invalid JSON" in said


@pytest.mark.usefixtures("folder")
def test_counters_without_a_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "replay policy.yaml --openmetrics rows.csv")
    assert "--openmetrics and --prometheus need --baseline" in said


@pytest.mark.usefixtures("folder")
def test_predictions_of_one_class(capsys: pytest.CaptureFixture[str]) -> None:
    line = "replay policy.yaml --rows rows.csv --reference-rows 50 --rows-per-window 10"
    assert "the reference holds only the class yes" in told(capsys, line)


def test_inputs_without_features(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("SIGNAL", INPUTS))
    rows = "\n".join("yes\nno" for _ in range(50))
    (folder / "rows.csv").write_text(f"prediction\n{rows}\n")
    line = "replay policy.yaml --rows rows.csv --reference-rows 50 --rows-per-window 10"
    assert "--features is missing" in told(capsys, line)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"userz: 3\n{SCENARIO}", "simulation.yaml: userz: there is no such field"),
        (f"users: {{rat: 3}}\n{SCENARIO}", "simulation.yaml: users.rat: there is no such field"),
        ("acts: [{titel: a, title: a}]\n", "simulation.yaml: acts.0.titel: there is no such field"),
    ],
)
def test_a_scenario_names_the_field_that_it_does_not_know(
    capsys: pytest.CaptureFixture[str], folder: Path, text: str, words: str
) -> None:
    (folder / "simulation.yaml").write_text(text)
    assert words in told(capsys, "simulate .")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [x\n", "bad.yaml: cannot be read: line 2, column 1: expected ',' or ']'"),
        (
            "a: 1\nb: 1\na: 2\n",
            "bad.yaml: cannot be read: line 3, column 1: the key a stands twice",
        ),
        ("a: \x00\n", "bad.yaml: cannot be read: special characters are not allowed"),
    ],
    ids=["open", "twice", "zero"],
)
def test_yaml_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, text: str, words: str
) -> None:
    (folder / "bad.yaml").write_text(text)
    assert words in told(capsys, "simulate bad.yaml")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"trimtab {version('trimtab')}\n"
