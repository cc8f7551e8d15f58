"""replay over recorded counters: from the command line to the looks, and a picture of them."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.unit.replay.recorded import T0, baseline, scrape

from trimtab.cli.main import main

POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: digits}
spec:
  selector: {deployments: [digits]}
  window: 1h
  season: 1h
  falseAlarms: {perQuarter: 1}
  signals:
  - {kind: inputs, tolerance: 0.02}
  - {kind: predictions, tolerance: 0.02}
  - {kind: outcomes, floor: {dropBy: 10%}, labelDelay: 2h}
  actions:
  - {signal: inputs, do: [notify]}
  - {signal: outcomes, do: [rollback]}
"""
HOUR = 3600.0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A policy, a baseline, and five hours of two pods that shift after three."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "baseline.json").write_text(baseline().model_dump_json(by_alias=True))
    rng = np.random.default_rng(1)
    text = ""
    low, high = {"a": 0, "b": 0}, {"a": 0, "b": 0}
    for minute in range(0, 5 * 60 + 2, 2):
        at = T0 + 60 * minute
        for pod in ("a", "b"):
            text += scrape(at, low[pod], high[pod], start=T0 - 60, source=f'pod="{pod}",')
            share = 0.5 if minute < 180 else 0.8
            new = int(rng.binomial(40, share))
            low[pod], high[pod] = low[pod] + 40 - new, high[pod] + new
    (tmp_path / "scrapes.txt").write_text(text)
    return tmp_path


def run(files: Path, *arguments: str) -> int:
    usual = ["--openmetrics", str(files / "scrapes.txt")]
    usual += ["--baseline", str(files / "baseline.json")]
    return main(["replay", str(files / "policy.yaml"), *usual, *arguments])


def test_scrapes_are_judged_window_after_window(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, "--output", "json") == 0
    told = json.loads(capsys.readouterr().out)
    verdicts = {(one["window"][11:], one["signal"]): one["verdict"] for one in told["looks"]}
    for hour, verdict in (("01", "Stable"), ("02", "Stable"), ("03", "Drifting")):
        assert verdicts[f"{hour}:00", "inputs"] == verdict
        assert verdicts[f"{hour}:00", "predictions"] == verdict
    assert told["reference"] == {"n": 10_000, "accuracy": 0.9}
    assert told["notes"] == []
    second = next(one for one in told["looks"] if one["window"].endswith("01:00"))
    assert (second["n"], second["judged"]) == (2 * 30 * 40, "2026-01-01T02:00:00Z")


def test_late_labels_are_as_they_were_known_then(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels of the hour from 00:00 come until 03:10; at 03:00 not all of them were known."""
    own = f'pod="a",model="m",version="v1",digest="d",baseline="{baseline().digest}"'
    lines = []
    hour = int(T0 // HOUR)
    for minute in range(0, 5 * 60 + 2, 2):
        known = min(max(minute - 150, 0), 40) * 60  # from 02:30 to 03:10
        for correct, share in (("true", 0.5), ("false", 0.5)):
            lines.append(
                f'trimtab_outcomes_by_hour_total{{{own},hour="{hour}",correct="{correct}"}} '
                f"{known * share} {T0 + 60 * minute}"
            )
    path = files / "scrapes.txt"
    path.write_text(path.read_text() + "\n".join(lines))
    assert run(files, "--output", "json") == 0
    told = json.loads(capsys.readouterr().out)
    (look,) = [one for one in told["looks"] if one["signal"] == "outcomes"]
    assert (look["window"], look["judged"]) == ("2026-01-01 00:00", "2026-01-01T03:00:00Z")
    # What the scrape of 02:58 had shown: labels of 28 of 40 minutes.
    assert (look["n"], look["value"], look["action"]) == (28 * 60, 0.5, "rollback")


def test_broken_data_is_found_between_two_readings_not_by_the_sum_of_a_window(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fifth of the rows of 20 minutes lacks x: less than the limit over six hours."""
    policy = files / "policy.yaml"
    text = policy.read_text().replace("window: 1h", "window: 6h")
    policy.write_text(text.replace("signals:", "signals:\n  - {kind: data, missing: 2%}"))
    own = f'pod="a",model="m",version="v1",digest="d",baseline="{baseline().digest}"'
    lines = [
        f'trimtab_feature_missing_total{{{own},feature="x"}} '
        f"{min(max(minute - 60, 0), 20) / 2 * 16} {T0 + 60 * minute}"
        for minute in range(0, 5 * 60 + 2, 2)
    ]
    path = files / "scrapes.txt"
    path.write_text(path.read_text() + "\n".join(lines))
    # One more reading, so that the window of six hours is over.
    for pod in ("a", "b"):
        more = scrape(T0 + 6 * HOUR, 10**6, 10**6, start=T0 - 60, source=f'pod="{pod}",')
        path.write_text(path.read_text() + "\n" + more)
    with path.open("a") as file:
        file.write(f'trimtab_feature_missing_total{{{own},feature="x"}} 160 {T0 + 6 * HOUR}\n')
    assert run(files, "--output", "json") == 0
    told = json.loads(capsys.readouterr().out)
    (look,) = [one for one in told["looks"] if one["signal"] == "data"]
    assert look["verdict"] == "Drifting"
    assert look["value"] == pytest.approx(0.2, abs=0.02)
    assert look["n"] < 3000


def test_a_text_has_a_column_for_when_labels_were_judged_only_where_they_are_late(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files) == 0
    assert "JUDGED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--baseline", "absent.json"], "no such file or folder", id="no_baseline"),
        pytest.param(["--baseline", "{}/policy.yaml"], "not a baseline", id="not_a_baseline"),
        pytest.param(["--baseline", "{}"], "manifest.json", id="not_an_artifact"),
        pytest.param(["--baseline", "ftp://x/y"], "scheme must be one of", id="scheme"),
        pytest.param(["--pod-regex", "("], "--pod-regex", id="regex"),
        pytest.param(["--labels", "model=m"], "a label of the counters", id="identity"),
        pytest.param(["--namespace", "other"], "no reading of a model's counters", id="none"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(files, *(one.format(files) for one in arguments)) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_a_baseline_that_was_changed_by_hand_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "baseline.json"
    path.write_text(path.read_text().replace("10000", "20000"))
    assert run(files) == 2
    assert "does not hash to the digest that it names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "need --baseline", id="baseline"),
        pytest.param(["--baseline", "{}/baseline.json"], "needs --from", id="from"),
        pytest.param(
            ["--baseline", "{}/baseline.json", "--from", "2026-01-02", "--to", "2026-01-01"],
            "--from must be before --to",
            id="order",
        ),
        pytest.param(
            ["--baseline", "{}/baseline.json", "--from", "2026-01-01", "--token-file", "absent"],
            "--token-file absent: cannot be read",
            id="token",
        ),
        pytest.param(
            ["--baseline", "{}/baseline.json", "--from", "2026-01-01", "--ca-file", "absent"],
            "--ca-file absent: cannot be used",
            id="ca",
        ),
    ],
)
def test_prometheus_says_what_it_needs(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    filled = [one.format(files) for one in arguments]
    url = "http://127.0.0.1:9"
    code = main(["replay", str(files / "policy.yaml"), "--prometheus", url, *filled])
    assert code == 2
    assert said in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--baseline", str(files / "baseline.json"), "--from", "2026-01-01"]
    url = "http://127.0.0.1:9"
    assert main(["replay", str(files / "policy.yaml"), "--prometheus", url, *usual]) == 1
    said = f"error: Prometheus: {url} cannot be reached: connection refused"
    assert capsys.readouterr().err.startswith(said)


def test_scrapes_come_from_the_standard_input_too(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(files) == 0
    told = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO((files / "scrapes.txt").read_text()))
    usual = ["--openmetrics", "-", "--baseline", str(files / "baseline.json")]
    assert main(["replay", str(files / "policy.yaml"), *usual]) == 0
    assert capsys.readouterr().out == told


# --- pictures -----------------------------------------------------------------------------------


def points(svg: str, gid: str) -> int:
    found = re.search(rf'<g id="{gid}">(.*?)</g>\s*</g>', svg, re.DOTALL)
    return found[1].count("<use ") if found else 0


def test_a_picture_shows_values_verdicts_and_actions(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "looks.svg"
    assert run(files, "--plot", str(path), "--output", "json") == 0
    looks = json.loads(capsys.readouterr().out)["looks"]
    svg = path.read_text()
    for text in ("DriftPolicy digits", "inputs", "predictions", "PSI", "notify"):
        assert f">{text}<" in svg
    for kind in ("inputs", "predictions"):
        for verdict in ("Stable", "Drifting"):
            wanted = sum(one["signal"] == kind and one["verdict"] == verdict for one in looks)
            assert wanted > 0
            assert points(svg, f"{kind}-{verdict}") == wanted
            assert f">{verdict} ({wanted})<" in svg
    again = files / "again.svg"
    assert run(files, "--plot", str(again)) == 0
    assert again.read_text() == svg


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_the_suffix_says_the_format(files: Path, suffix: str, magic: bytes) -> None:
    path = files / f"looks{suffix}"
    assert run(files, "--plot", str(path)) == 0
    assert path.read_bytes().startswith(magic)


def test_without_matplotlib_it_says_what_to_install(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(files, "--plot", str(files / "looks.svg")) == 2
    assert "pip install '.[plot]' in Trimtab's source tree" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--plot", str(files / "absent" / "looks.png")) == 2
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(files, "--plot", "looks.jpg")
    assert "must end in .png, .svg, .pdf" in capsys.readouterr().err
