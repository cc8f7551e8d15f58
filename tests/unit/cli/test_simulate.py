"""simulate plays the quick start to its end, and anything else in a healthy world."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.cli.main import main

QUICK_START = Path(__file__).parents[3] / "manifests" / "quickstart"

SERVE = """\
apiVersion: trimtab.dev/v1alpha1
kind: Deployment
metadata: {name: scans}
spec: {model: scans, version: v7, replicas: 2}
"""


def test_the_quick_start_ends_as_its_scenario_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(QUICK_START)]) == 0
    told = capsys.readouterr().out
    order = ["RolledBack", "is Quarantined", "Promoted", "HarmDetected", "RetrainStarted",
             "VersionCreated", "Promoted", "DriftCleared"]  # fmt: skip
    place = 0
    for word in order:
        place = told.index(word, place)
    table = told[told.index("ACT ") :].splitlines()[1:]
    lost = [row.split()[-1] for row in table if row and "simulated time" not in row]
    assert lost == ["0"] * 7


def test_one_seed_is_one_play(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "serve.yaml").write_text(SERVE)

    def told() -> list[str]:
        assert main(["simulate", str(tmp_path), "--minutes", "1"]) == 0
        return capsys.readouterr().out.splitlines()[:-1]

    assert told() == told()


def test_an_end_that_is_not_the_expected_one_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "serve.yaml").write_text(SERVE)
    (tmp_path / "simulation.yaml").write_text(
        "acts: [{title: v7 serves, apply: [serve.yaml], until: RolledBack, within: 20s}]\n"
        "expect: {serving: {scans: v8}, quarantined: [v7], retrainings: 1}\n"
    )
    assert main(["simulate", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    for problem in (
        "RolledBack did not happen within 20s",
        "scans serves v7, expected: v8",
        "v7 is not quarantined",
        "0 retrainings, expected: 1",
    ):
        assert f"not as expected: {problem}" in told or problem in told


def test_without_a_scenario_everything_is_applied_and_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(SERVE)
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    assert main(["simulate", str(tmp_path), "--minutes", "2"]) == 0
    told = capsys.readouterr().out
    assert "b.yaml: v1 ConfigMap c" in told
    assert "ModelVersion scans-v7, made up" in told
    assert "v7 serves as the first version" in told
    assert "02:00 of simulated time" in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVE.replace("replicas: 2", "replicas: -1"), "replicas"),
        (SERVE.replace("version: v7", "version: v7, on: x"), "in quotes"),
        ("a: [", "cannot be read"),
        ("- 1", "not an object"),
        ("apiVersion: v1\nkind: Pod\n", "nothing to simulate"),
        ("apiVersion: trimtab.dev/v1alpha1\nkind: Deployment\n", "metadata.name is missing"),
    ],
    ids=["schema", "yaml_truth_as_key", "no_yaml", "no_object", "not_ours", "no_name"],
)
def test_what_cannot_be_played_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert main(["simulate", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.startswith("error: ")


@pytest.mark.parametrize(("wrong", "more"), [(5, ""), (10, "and 5 more")])
def test_errors_that_are_not_shown_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: int, more: str
) -> None:
    bad = SERVE.replace("replicas: 2", "replicas: -1")
    text = "---\n".join(bad.replace("name: scans", f"name: scans{n}") for n in range(wrong))
    (tmp_path / "a.yaml").write_text(text)
    assert main(["simulate", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("spec.replicas") == 5
    assert ("more" in said) == bool(more)
    assert more in said


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("acts: [{title: x, apply: [nope.yaml]}]", "applies nope.yaml"),
        ("acts: [{title: x, untill: Promoted}]", "untill"),
        ("acts: [{title: x, until: Nonsense}]", "until"),
        ("{}", "acts"),
    ],
)
def test_a_wrong_scenario_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str, says: str
) -> None:
    (tmp_path / "serve.yaml").write_text(SERVE)
    (tmp_path / "simulation.yaml").write_text(scenario)
    assert main(["simulate", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
