"""replay runs the operator's own decisions over recorded rows, one line a look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.cli.main import main

POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: loans}
spec:
  selector: {deployments: [loans]}
  window: 24h
  falseAlarms: {perQuarter: 1}
  signals:
  - {kind: inputs, tolerance: 0.02}
  - {kind: quality, floor: {dropBy: 5%}}
  - {kind: outcomes, floor: {dropBy: 5%}, labelDelay: 48h}
  - {kind: data, missing: 2%}
  actions:
  - {signal: outcomes, do: [rollback]}
  - {signal: quality, do: [pause]}
  - {signal: inputs, do: [notify]}
"""
N = 4000
COLUMNS = ["--probability", "p", "--label", "truth", "--features", "x,kind"]


def rows(seed: int, *, shift: float = 0.0, missing: float = 0.0) -> pd.DataFrame:
    """A calibrated model that knows less the further x is shifted to its middle."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, N) * (1 - shift)
    p = 1 / (1 + np.exp(-2 * x))
    frame = pd.DataFrame(
        {
            "x": np.where(rng.random(N) < missing, np.nan, x),
            "kind": rng.choice(["a", "b"], N),
            "p": p,
            "prediction": (p > 0.5).astype(int),
            "truth": (rng.random(N) < p).astype(int),
        }
    )
    frame["time"] = pd.date_range("2026-01-01", periods=N, freq="21s", tz="UTC")
    return frame


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def written(tmp_path: Path, *days: pd.DataFrame) -> Path:
    for number, day in enumerate(days):
        day["time"] += pd.Timedelta(days=number)
    path = tmp_path / "rows.csv"
    pd.concat(days).to_csv(path, index=False)
    return path


def looks(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[tuple[str, str], str]:
    assert main(["replay", *arguments, *COLUMNS, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    return {(one["window"], one["signal"]): one["verdict"] for one in told["looks"]}


def test_what_has_not_moved_is_stable_and_what_has_is_found(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, rows(1), rows(2), rows(3, shift=0.7))
    found = looks(
        capsys,
        str(policy),
        "--rows",
        str(path),
        "--time",
        "time",
        "--reference-until",
        "2026-01-02",
    )
    for kind in ("inputs", "quality", "outcomes", "data"):
        assert found["2026-01-02 00:00", kind] == "Stable"
    for kind in ("inputs", "quality", "outcomes"):
        assert found["2026-01-03 00:00", kind] == "Drifting"
    assert found["2026-01-03 00:00", "data"] == "Stable"


def test_missing_values_break_the_data(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, rows(1), rows(2), rows(3, missing=0.2))
    found = looks(
        capsys,
        *(str(policy), "--rows", str(path), "--reference-rows", str(N)),
        *("--rows-per-window", str(N)),
    )
    assert found["1: row 0", "data"] == "Stable"
    assert found[f"2: row {N}", "data"] == "Drifting"


def test_a_line_says_what_follows_and_the_end_sums_up(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, rows(1), rows(2), rows(3, shift=0.7))
    usual = ["--reference-rows", str(N), "--rows-per-window", str(N - 1)]
    assert main(["replay", str(policy), "--rows", str(path), *usual, *COLUMNS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"the last 2 rows fill no window of {N - 1} and are left out"
    fired = [line.split() for line in lines if "Drifting" in line and "row" in line]
    by_signal = {words[3]: words[-1] for words in fired if words[0] == "2:"}
    assert by_signal == {"inputs": "-", "quality": "-", "outcomes": "rollback"}
    assert "outcomes: 2 looks, 1 Stable, 1 Drifting; acted 1 times" in lines


def test_retraining_is_started_once_and_then_held(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(
        POLICY.replace("do: [rollback]", "do: [retrain]")
        + "  retrain:\n    cooldown: 36h\n    job:\n"
        "      engine: {job: {image: trainer, args: [x]}}\n"
        "      data: {uri: 's3://data/loans/'}\n"
    )
    bad = [rows(seed, shift=0.7) for seed in (2, 3, 4)]
    path = written(tmp_path, rows(1), *bad)
    usual = ["--reference-rows", str(N), "--rows-per-window", str(N), "--output", "json"]
    assert main(["replay", str(policy), "--rows", str(path), *usual, *COLUMNS]) == 0
    told = json.loads(capsys.readouterr().out)
    actions = [one["action"] for one in told["looks"] if one["signal"] == "outcomes"]
    assert actions == ["retrain", "retrain held: Cooldown", "retrain"]


def test_a_reference_file_may_know_labels_that_the_rows_do_not(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, recorded = tmp_path / "reference.parquet", tmp_path / "rows.csv.gz"
    rows(1).to_parquet(reference)
    rows(2).drop(columns="truth").to_csv(recorded, index=False)
    found = looks(
        capsys,
        *(str(policy), "--rows", str(recorded), "--reference", str(reference)),
        *("--rows-per-window", str(N)),
    )
    assert found["1: row 0", "quality"] == "Stable"
    assert found["1: row 0", "outcomes"] == "NoData"


REGRESSION = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: prices}
spec:
  selector: {deployments: [prices]}
  signals:
  - {kind: quality, metric: mae, ceiling: {riseBy: 20%}}
  - {kind: outcomes, metric: rmse, ceiling: {riseBy: 20%}}
  actions:
  - {signal: outcomes, do: [rollback]}
  - {signal: quality, do: [notify]}
"""


def prices(seed: int, *, dear: float = 0.0) -> pd.DataFrame:
    """Errors grow with the price; `dear` moves prices up."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(1 + dear, 10 + dear, N)
    frame = pd.DataFrame({"prediction": predicted})
    frame["truth"] = predicted + rng.normal(0, 1, N) * predicted / 5
    frame["time"] = pd.date_range("2026-01-01", periods=N, freq="21s", tz="UTC")
    return frame


def test_a_regression_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(REGRESSION)
    path = written(tmp_path, prices(1), prices(2), prices(3, dear=4.0))
    usual = ["--rows", str(path), "--reference-rows", str(N), "--rows-per-window", str(N)]
    assert main(["replay", str(policy), *usual, "--label", "truth", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["reference"]) == {"n", "rmse", "mae"}
    verdicts = [(one["signal"], one["verdict"], one["action"]) for one in told["looks"]]
    assert verdicts == [
        ("quality", "Stable", ""),
        ("outcomes", "Stable", ""),
        ("quality", "Drifting", ""),
        ("outcomes", "Drifting", "rollback"),
    ]
    assert "estimated mae" in told["looks"][2]["message"]


SEVERAL = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: pets}
spec:
  selector: {deployments: [pets]}
  signals:
  - {kind: quality, metric: recall, class: cat, floor: {dropBy: 10%}}
  - {kind: outcomes, metric: f1, floor: {dropBy: 10%}}
"""


def pets(seed: int, *, blind: float = 0.0) -> pd.DataFrame:
    """Three classes; `blind` is how often a cat is taken for something else, unsurely."""
    rng = np.random.default_rng(seed)
    names = np.array(["bird", "cat", "dog"])
    truth = rng.integers(0, 3, N)
    sure = np.where((truth == 1) & (rng.random(N) < blind), 0.4, 0.9)
    p = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
    is_right = rng.random(N) < sure
    shown = np.where(is_right, truth, (truth + rng.integers(1, 3, N)) % 3)
    p[np.arange(N), shown] = sure
    frame = pd.DataFrame(p, columns=[f"p_{name}" for name in names])
    frame["prediction"], frame["truth"] = names[shown], names[truth]
    frame["time"] = pd.date_range("2026-01-01", periods=N, freq="21s", tz="UTC")
    return frame


def test_several_classes_are_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(SEVERAL)
    path = written(tmp_path, pets(1), pets(2), pets(3, blind=0.9))
    usual = ["--rows", str(path), "--reference-rows", str(N), "--rows-per-window", str(N)]
    usual += ["--label", "truth", "--probability", "p_bird,p_cat,p_dog", "--output", "json"]
    assert main(["replay", str(policy), *usual]) == 0
    told = json.loads(capsys.readouterr().out)["looks"]
    assert [one["verdict"] for one in told] == ["Stable", "Stable", "Drifting", "Drifting"]
    assert "estimated recall of cat" in told[2]["message"]
    assert "f1 of labelled rows" in told[3]["message"]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        pytest.param(["--prediction", "x"], "holds fractions", id="no_classes"),
        pytest.param(["--prediction", "guess"], "no column 'guess'", id="no_such_column"),
        pytest.param(["--probability", "x"], "outside 0 to 1", id="no_probability"),
        pytest.param(["--time", "kind"], "is not a time", id="no_time"),
        pytest.param(["--rows", "absent.csv"], "cannot be read", id="no_rows"),
        pytest.param(["--rows", "rows.txt"], ".parquet", id="strange_format"),
        pytest.param(["--reference-rows", "999999"], "no row is left", id="all_is_reference"),
    ],
)
def test_wrong_input_is_one_sentence(
    tmp_path: Path,
    policy: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    said: str,
) -> None:
    path = written(tmp_path, rows(1), rows(2))
    usual = ["--reference-rows", str(N), "--rows-per-window", str(N), "--probability", "p"]
    assert main(["replay", str(policy), "--rows", str(path), *usual, *extra]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert said in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_a_wrong_policy_names_the_field(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(POLICY.replace("24h", "a day"))
    assert main(["replay", str(policy), "--rows", "x.csv", "--reference-rows", "1"]) == 2
    assert "spec.window" in capsys.readouterr().err


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, trimtab.cli.main as m; m.parser(); "
        "print([n for n in ('pandas', 'sklearn', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
