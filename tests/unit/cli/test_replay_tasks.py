"""replay over rows of more than two classes, of a regression, and with labels that come late."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.cli.main import main

N = 3000
HEAD = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: loans}
spec:
  selector: {deployments: [loans]}
  window: 24h
  falseAlarms: {perQuarter: 1}
  signals:
"""
OUTCOMES = "  - {kind: outcomes, floor: {dropBy: 5%}, labelDelay: 36h}\n"
INPUTS = "  - {kind: inputs}\n"


def played(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    signals: str,
    days: list[pd.DataFrame],
    *arguments: str,
) -> dict[tuple[str, str], dict[str, object]]:
    """Looks by window and signal; the first day is the reference."""
    policy, rows = tmp_path / "policy.yaml", tmp_path / "rows.parquet"
    policy.write_text(HEAD + signals)
    for number, day in enumerate(days):
        start = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=number)
        day["time"] = pd.date_range(start, periods=len(day), freq="20s")
    pd.concat(days).to_parquet(rows)
    usual = ["--rows", str(rows), "--time", "time", "--reference-until", "2026-01-02"]
    code = main(["replay", str(policy), *usual, *arguments, "--output", "json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return {(one["window"], one["signal"]): one for one in json.loads(told.out)["looks"]}


def classes(seed: int, *, blunt: float = 0.0) -> pd.DataFrame:
    """Three classes; `blunt` mixes the probabilities and the truth with chance."""
    rng = np.random.default_rng(seed)
    raw = rng.dirichlet([0.3, 0.3, 0.3], N) * (1 - blunt) + blunt / 3
    names = np.array(["ant", "bee", "cat"])
    actual = [rng.choice(names, p=row / row.sum()) for row in raw]
    frame = pd.DataFrame(raw, columns=["p_ant", "p_bee", "p_cat"])
    frame["prediction"] = names[raw.argmax(axis=1)]
    frame["truth"] = actual
    return frame


def test_three_classes_by_the_recall_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals = (
        "  - {kind: quality, metric: recall, class: bee, floor: {dropBy: 5%}}\n"
        "  - {kind: outcomes, metric: f1, floor: {dropBy: 5%}}\n"
        "  - {kind: predictions}\n"
    )
    found = played(
        tmp_path,
        capsys,
        signals,
        [classes(1), classes(2), classes(3, blunt=0.6)],
        *("--probability", "p_ant,p_bee,p_cat", "--label", "truth"),
    )
    for kind, told in (("quality", "estimated recall of bee"), ("outcomes", "f1 of labelled")):
        good, bad = found["2026-01-02 00:00", kind], found["2026-01-03 00:00", kind]
        assert (good["verdict"], bad["verdict"]) == ("Stable", "Drifting")
        assert told in str(bad["message"])
    estimated = found["2026-01-02 00:00", "quality"]["value"]
    assert estimated == pytest.approx(found["2026-01-02 00:00", "outcomes"]["value"], abs=0.05)


def numbers(seed: int, *, shift: float = 0.0, noise: float = 1.0) -> pd.DataFrame:
    """A regression whose error grows with its prediction; `shift` moves both."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(2.0, N) + shift
    spread = noise * (0.2 + 0.5 * x)
    return pd.DataFrame(
        {"x": x, "prediction": 3.0 * x, "truth": 3.0 * x + rng.normal(0.0, 1.0, N) * spread}
    )


def test_a_regression_is_held_to_a_ceiling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals = (
        "  - {kind: quality, metric: mae, ceiling: {riseBy: 20%}}\n"
        "  - {kind: outcomes, metric: rmse, ceiling: {riseBy: 20%}}\n"
        "  - {kind: inputs}\n"
    )
    days = [numbers(1), numbers(2), numbers(3, shift=3.0), numbers(4, noise=3.0)]
    found = played(tmp_path, capsys, signals, days, *("--label", "truth", "--features", "x"))
    verdicts = {
        kind: [found[f"2026-01-0{day} 00:00", kind]["verdict"] for day in (2, 3, 4)]
        for kind in ("quality", "outcomes", "inputs")
    }
    # Where only the truth scatters more, nothing without labels can see it.
    assert verdicts == {
        "quality": ["Stable", "Drifting", "Stable"],
        "outcomes": ["Stable", "Drifting", "Drifting"],
        "inputs": ["Stable", "Drifting", "Stable"],
    }


def binary(seed: int, *, wrong: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, 2, N)
    predicted = np.where(rng.random(N) < wrong, 1 - actual, actual)
    return pd.DataFrame({"prediction": predicted, "truth": actual, "x": rng.normal(size=N)})


def test_late_labels_are_judged_when_they_have_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [binary(1), binary(2), binary(3, wrong=0.3), binary(4)]
    found = played(
        tmp_path, capsys, INPUTS + OUTCOMES, days, *("--label", "truth", "--features", "x")
    )
    assert [(window, one["judged"], one["verdict"]) for (window, kind), one in found.items()] == [
        ("2026-01-02 00:00", "2026-01-03T00:00:00Z", "Stable"),
        ("2026-01-03 00:00", "2026-01-04T00:00:00Z", "Stable"),
        ("2026-01-02 00:00", "2026-01-04T12:00:00Z", "Stable"),
        ("2026-01-04 00:00", "2026-01-05T00:00:00Z", "Stable"),
        ("2026-01-03 00:00", "2026-01-05T12:00:00Z", "Drifting"),
        ("2026-01-04 00:00", "2026-01-06T12:00:00Z", "Stable"),
    ]
    assert found["2026-01-03 00:00", "outcomes"]["n"] == N


def test_labels_that_never_came_are_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [binary(1), binary(2)]
    days[1]["truth"] = days[1]["truth"].where(np.arange(N) % 3 == 0).astype("Int64")
    days[0]["truth"] = days[0]["truth"].astype("Int64")
    found = played(tmp_path, capsys, OUTCOMES, days, "--label", "truth")
    (look,) = found.values()
    assert look["verdict"] == "InsufficientData"
    assert "labels of 33% of 3000 rows" in str(look["message"])


def test_a_short_delay_moves_labels_into_the_window_in_which_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals = OUTCOMES.replace("36h", "30m")
    days = [binary(1), binary(2), binary(3)]
    found = played(tmp_path, capsys, signals, days, "--label", "truth")
    # 3000 rows of 20 s are 16 h 40 min, so no label crosses midnight; an hour of rows does.
    assert [one["n"] for one in found.values()] == [N, N]
    days = [binary(1), binary(2)]
    days[1] = pd.concat([days[1], binary(3)]).head(4320)
    found = played(tmp_path, capsys, signals, days, "--label", "truth")
    assert [(window, one["n"]) for (window, _), one in found.items()] == [
        ("2026-01-02 00:00", 4320 - 90)
    ]


def test_windows_of_rows_do_not_wait_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, rows = tmp_path / "policy.yaml", tmp_path / "rows.csv"
    policy.write_text(HEAD + OUTCOMES)
    pd.concat([binary(1), binary(2)]).to_csv(rows, index=False)
    usual = ["--reference-rows", str(N), "--rows-per-window", str(N), "--label", "truth"]
    assert main(["replay", str(policy), "--rows", str(rows), *usual]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "labelDelay is not waited for: windows are of rows, not of time"
    assert "outcomes: 1 looks, 1 Stable; acted 0 times" in lines


def test_a_reference_file_needs_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, rows, reference = (tmp_path / name for name in ("p.yaml", "rows.csv", "before.csv"))
    policy.write_text(HEAD + INPUTS)
    binary(1).to_csv(reference, index=False)
    recorded = binary(2)
    recorded["time"] = pd.date_range("2026-01-01", periods=N, freq="20s", tz="UTC")
    recorded.to_csv(rows, index=False)
    usual = ["--rows", str(rows), "--time", "time", "--reference", str(reference)]
    assert main(["replay", str(policy), *usual, "--features", "x"]) == 0
    assert "inputs: 1 looks, 1 Stable" in capsys.readouterr().out
