"""The trainer from environment and files to exit code, message and artifact."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.unit.training.conftest import Job, people

from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.location import open_location
from trimtab.contract.transfer import fetch_artifact
from trimtab.decide.retrain.report import Accepted, TurnedDown, read_result
from trimtab.training import Published

Champion = Callable[..., Published]


def as_in_a_store(report: dict[str, Any]) -> str:
    """The message as if the folder were a bucket: ModelVersions do not take file URIs."""
    return re.sub(r"file:///[^\"]*?/(models|data)/", r"s3://\1/", json.dumps(report))


def test_first_version_of_a_line(job: Job, tmp_path: Path) -> None:
    job.data(people(800))
    code, report = job.run("--time-column", "time")
    assert (code, report["verdict"], report["reason"]) == (0, "accepted", "FirstVersion")
    manifest = fetch_artifact(open_location(report["uri"]), report["digest"], tmp_path / "m")
    assert (manifest.model, manifest.version) == ("shop", "r1")
    signature = Signature.model_validate_json((tmp_path / "m/signature.json").read_bytes())
    assert [one.name for one in signature.inputs] == ["age", "income", "city"]
    assert signature.inputs[2].categories == ["lima", "oslo", "rome"]
    assert signature.classes == ["no", "yes"]
    baseline = Baseline.model_validate_json((tmp_path / "m/baseline.json").read_bytes())
    assert baseline.digest == report["baseline"]
    assert baseline.n == 320
    assert sum(baseline.predicted_counts.values()) == sum(baseline.score_counts) == 320
    assert [(one["role"], one["rows"]) for one in report["datasets"]] == [
        ("train", 480),
        ("calibrate", 160),
        ("evaluate", 160),
    ]
    assert [one["metric"] for one in report["metrics"]] == ["accuracy", "f1", "auc"]
    for one in report["metrics"]:
        assert one["interval"][0] < one["value"] < one["interval"][1]


def test_whole_report_lies_beside_the_artifact(job: Job, tmp_path: Path) -> None:
    job.data(people(400))
    _, report = job.run("--ignore", "time")
    assert report["uri"].startswith(f"file://{tmp_path}/models/r1/")
    assert json.loads((tmp_path / "models/r1/report.json").read_bytes()) == report


def test_operator_reads_what_the_trainer_says(job: Job, champion: Champion) -> None:
    job.data(people(800, shift=15))
    job.champion(champion())
    code, report = job.run("--time-column", "time")
    result = read_result(code, as_in_a_store(report), output_uri="s3://models/r1/")
    assert isinstance(result, Accepted)
    assert result.report.champion is not None
    assert result.report.champion.metrics[0].value < result.report.metrics[0].value


def test_better_challenger_is_accepted(job: Job, champion: Champion) -> None:
    job.data(people(1500, shift=20))
    job.champion(champion())
    job.gate(metric="accuracy", notWorseBy=0.02, confidence=0.95)
    job.environment["TRIMTAB_CAUSE"] = '{"signal": "quality"}'
    code, report = job.run("--time-column", "time")
    assert (code, report["verdict"], report["reason"]) == (0, "accepted", "NotWorse")
    assert report["comparison"]["interval"][0] > 0
    assert report["comparison"]["n"] == 300


def test_worse_challenger_is_rejected_and_not_written(
    job: Job, champion: Champion, tmp_path: Path
) -> None:
    job.data(people(1500))
    job.champion(champion())
    code, report = job.run("--time-column", "time", "--estimator", "sklearn.dummy.DummyClassifier")
    assert code == 12  # max_iter is no parameter of it
    job.gate(notWorseBy=0.02)
    code, report = job.run("--time-column", "time", "--param", "C=1e-9")
    assert (code, report["verdict"], report["reason"]) == (11, "rejected", "WorseThanChampion")
    assert "uri" not in report
    assert isinstance(read_result(code, as_in_a_store(report), output_uri="s3://x/"), TurnedDown)
    assert [path.name for path in (tmp_path / "models/r1").iterdir()] == ["report.json"]


def test_no_better_is_not_enough_where_harm_was_the_cause(job: Job, champion: Champion) -> None:
    job.data(people(1500))
    job.champion(champion())
    job.gate(notWorseBy=0.1)
    assert job.run("--time-column", "time")[0] == 0
    job.environment["TRIMTAB_CAUSE"] = '{"signal": "outcomes"}'
    code, report = job.run("--time-column", "time")
    assert (code, report["reason"]) == (11, "NoBetter")
    job.gate(notWorseBy=0.1, mustBeat=0.7)
    assert job.run("--time-column", "time")[0] == 0


def test_too_few_rows_to_compare_says_how_many(job: Job, champion: Champion) -> None:
    job.data(people(260))
    job.champion(champion())
    job.gate(notWorseBy=0.005)
    code, report = job.run("--time-column", "time")
    assert (code, report["verdict"]) == (13, "insufficientData")
    assert report["comparison"]["needed"] > 1000


def test_rows_that_the_champion_may_know_do_not_compare(job: Job, champion: Champion) -> None:
    job.data(people(600, start="2026-10-01"))
    job.champion(champion())
    code, report = job.run("--time-column", "time")
    assert (code, report["reason"]) == (13, "NoNewRows")
    assert "2026-11-01" in report["message"]


def test_only_newer_rows_compare(job: Job, champion: Champion) -> None:
    """3000 minutes from 30 October on: the last 600 held out, of which 120 are of November."""
    job.data(people(3000, start="2026-10-30"))
    job.champion(champion())
    job.gate(notWorseBy=0.2)
    _, report = job.run("--time-column", "time")
    assert report["comparison"]["n"] == 3000 - 2 * 24 * 60 - 1


def test_since_takes_rows_from_that_time_on(job: Job) -> None:
    job.data(people(1440, start="2026-11-02"))
    job.data(people(1440, start="2026-11-03", seed=1), "b.csv")
    job.environment["TRIMTAB_DATA_SINCE"] = "2026-11-03T00:00:00Z"
    _, report = job.run("--time-column", "time")
    assert sum(one["rows"] for one in report["datasets"]) == 1440


def test_since_without_times_takes_files_written_since(job: Job, tmp_path: Path) -> None:
    job.data(people(400), "old.parquet")
    job.data(people(500), "new.parquet")
    os.utime(tmp_path / "data/old.parquet", (1_700_000_000, 1_700_000_000))
    job.environment["TRIMTAB_DATA_SINCE"] = "2025-01-01T00:00:00Z"
    _, report = job.run("--ignore", "time")
    assert sum(one["rows"] for one in report["datasets"]) == 500
    job.environment["TRIMTAB_DATA_SINCE"] = "2999-01-01T00:00:00Z"
    assert job.run("--ignore", "time")[0] == 13


def spoil(name: str) -> pd.DataFrame:
    frame = people(600)
    match name:
        case "missing_column":
            return frame.drop(columns="income")
        case "missing_values":
            return frame.assign(income=frame["income"].where(frame.index % 10 > 0))
        case "text_for_number":
            return frame.assign(age=["old"] * 600)
        case "unseen_category":
            return frame.assign(city=np.where(frame.index % 10 == 0, "pisa", frame["city"]))
        case "out_of_range":
            return frame.assign(age=frame["age"] * np.where(frame.index % 10 == 0, 100, 1))
        case "infinite":
            return frame.assign(income=np.where(frame.index == 5, np.inf, frame["income"]))
        case "unknown_class":
            return frame.assign(bought=np.where(frame.index == 5, "maybe", frame["bought"]))
        case "no_label":
            return frame.drop(columns="bought")
        case "no_time":
            return frame.drop(columns="time")
        case _:
            return frame.assign(time=["yesterday"] * 600)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing_column", "'income' is missing"),
        ("missing_values", "'income': 10.0% of the rows are missing, 0.0%"),
        ("text_for_number", "'age' holds a value that is not a number"),
        ("unseen_category", "'city': "),
        ("out_of_range", "of the rows are outside 18."),
        ("infinite", "'income' holds 1 infinite"),
        ("unknown_class", "'bought' holds 'maybe', which is no class"),
        ("no_label", "label column 'bought' is missing"),
        ("no_time", "time column 'time' is missing"),
        ("no_times", "'time' holds a value that is not a time"),
    ],
)
def test_broken_data_ends_with_10_and_names_the_column(
    job: Job, champion: Champion, name: str, says: str
) -> None:
    job.data(spoil(name))
    job.champion(champion())
    code, report = job.run("--time-column", "time")
    assert (code, report["verdict"], report["class"]) == (10, "failed", "data")
    assert says in report["message"]


def test_unreadable_file_is_broken_data(job: Job, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.parquet").write_bytes(b"PAR1 no")
    code, report = job.run()
    assert (code, report["class"]) == (10, "data")
    assert "a.parquet" in report["message"]


def test_files_with_other_columns_are_broken_data(job: Job) -> None:
    job.data(people(100))
    job.data(people(100).drop(columns="age"), "b.parquet")
    code, report = job.run()
    assert code == 10
    assert "b.parquet differs from the files before it in column 'age'" in report["message"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--estimator", "os.system"), "only classes of scikit-learn"),
        (("--estimator", "sklearn.nothing.Here"), "nothing"),
        (("--estimator", "no_such_module:make"), "no_such_module"),
        (("--estimator", "sklearn.linear_model.LinearRegression", "--param", "copy_X=1"), "max_it"),
        (("--param", "nonsense=1"), "nonsense"),
        (("--param", "C=-1"), "could not be fitted"),
        (("--param", "max_iter"), "is not NAME=VALUE"),
        (("--held-out", "0.9"), "must leave rows to train on"),
        (("--unknown",), "unrecognized arguments"),
    ],
)
def test_wrong_job_ends_with_12(job: Job, arguments: tuple[str, ...], says: str) -> None:
    job.data(people(400))
    code, report = job.run("--ignore", "time", *arguments)
    assert (code, report["verdict"], report["class"]) == (12, "failed", "code")
    assert says in report["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRIMTAB_DATA_URI", ""),
        ("TRIMTAB_GATE", "{"),
        ("TRIMTAB_GATE", '{"notWorseBy": -1}'),
        ("TRIMTAB_DATA_SINCE", "yesterday"),
        ("TRIMTAB_CHAMPION_URI", "file:///x"),
        ("TRIMTAB_CAUSE", "[]"),
    ],
)
def test_wrong_environment_ends_with_12_and_names_it(job: Job, name: str, value: str) -> None:
    job.environment[name] = value
    code, report = job.run()
    assert code == 12
    assert name in report["message"]


def test_store_that_is_gone_is_infrastructure(job: Job, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/AWS_ENDPOINT_URL").write_text("http://127.0.0.1:9")
    job.environment["TRIMTAB_ARTIFACT_CREDENTIALS"] = str(tmp_path / "keys")
    job.environment["TRIMTAB_DATA_URI"] = "s3://data/rows/"
    code, report = job.run()
    assert (code, report["class"]) == (1, "infrastructure")


def test_champion_that_was_changed_is_refused(job: Job, champion: Champion, tmp_path: Path) -> None:
    published = champion()
    model = Path(published.uri.removeprefix("file://")) / "model.skops"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    job.data(people(400))
    job.champion(published)
    code, report = job.run()
    assert (code, report["class"]) == (12, "code")
    assert "was changed after the version was made" in report["message"]


def test_slice_that_got_worse_rejects(job: Job, champion: Champion) -> None:
    """Lima's labels are turned around in the rows that the challenger learns from."""
    frame = people(4000)
    early = (frame.index < 3200) & (frame["city"] == "lima")
    turned = frame["bought"].map({"yes": "no", "no": "yes"})
    frame["bought"] = turned.where(early, frame["bought"])
    frame["region"] = frame["city"]
    job.data(frame)
    job.champion(champion())
    job.gate(notWorseBy=0.6, slices=["region"])
    assert job.run("--time-column", "time")[0] == 0
    job.gate(notWorseBy=0.35, slices=["region"])
    code, report = job.run("--time-column", "time")
    assert code in {0, 11}
    accuracy = {one["slice"]: one["value"] for one in report["metrics"]}
    assert accuracy["region=lima"] < accuracy["region=oslo"]


def test_same_run_twice_overwrites_nothing(job: Job, tmp_path: Path) -> None:
    job.data(people(400))
    first = job.run("--ignore", "time")[1]
    second = job.run("--ignore", "time")[1]
    for report in (first, second):
        fetch_artifact(open_location(report["uri"]), report["digest"], tmp_path / report["digest"])
    assert first["datasets"] == second["datasets"]
    assert first["metrics"] == second["metrics"]


@pytest.mark.parametrize("texts", [True, False])
def test_gaps_are_filled_where_the_estimator_cannot_take_them(job: Job, texts: bool) -> None:
    frame = people(800).drop(columns=["bought", "time", *([] if texts else ["city"])])
    frame["bought"] = frame["age"] * 2 + np.random.default_rng(0).normal(0, 1, 800)
    frame.loc[::7, "income"] = np.nan
    job.data(frame)
    job.gate(metric="rmse", mustBeat=10.0)
    code, report = job.run("--estimator", "sklearn.linear_model.Ridge")
    assert (code, report["reason"]) == (0, "FirstVersion")
    assert report["metrics"][0]["value"] < 2.0


def test_regression_with_gaps(job: Job) -> None:
    frame = people(800).drop(columns=["bought", "time"])
    random = np.random.default_rng(0)
    frame["bought"] = frame["age"] * 2 + random.normal(0, 1, 800)
    frame.loc[::7, "income"] = np.nan
    job.data(frame)
    job.gate(metric="rmse", mustBeat=10.0)
    code, report = job.run_as(
        "sklearn.ensemble.RandomForestRegressor", "--param", "n_estimators=20"
    )
    assert (code, report["reason"]) == (0, "FirstVersion")
    rmse = report["metrics"][0]
    assert rmse["metric"] == "rmse"
    assert 0.8 < rmse["interval"][0] < rmse["value"] < rmse["interval"][1] < 2.0


def test_metric_that_does_not_fit_the_task_is_a_fault_of_the_job(job: Job) -> None:
    job.data(people(400))
    job.gate(metric="rmse")
    code, report = job.run("--ignore", "time")
    assert (code, report["class"]) == (12, "code")
    assert "rmse is not defined for 2 classes" in report["message"]


def test_outputs_stay_called_as_clients_know_them(job: Job, champion: Champion) -> None:
    job.data(people(1500, shift=20))
    job.champion(champion(outputs={"class": "output-0", "probabilities": None}))
    job.gate(notWorseBy=0.05)
    code, report = job.run("--time-column", "time")
    assert code == 0, report
    folder = Path(report["uri"].removeprefix("file://"))
    outputs = json.loads((folder / "signature.json").read_bytes())["outputs"]
    assert [one["name"] for one in outputs] == ["output-0"]


def test_several_targets_are_trained_and_trained_again(job: Job) -> None:
    rows = people(1500).assign(
        rich=lambda frame: np.where(frame["income"] > frame["income"].median(), "rich", "poor")
    )
    job.data(rows)
    both = ("--label", "rich", "--ignore", "time")
    code, report = job.run_as("sklearn.linear_model.LogisticRegression", *both)
    assert code == 0, report
    folder = Path(report["uri"].removeprefix("file://"))
    signature = json.loads((folder / "signature.json").read_bytes())
    assert [one["output"] for one in signature["targets"]] == ["bought", "rich"]
    assert "output=rich" in {
        one["slice"] for one in json.loads((folder / "baseline.json").read_bytes())["metrics"]
    }
    job.environment |= {
        "TRIMTAB_CHAMPION_URI": report["uri"],
        "TRIMTAB_CHAMPION_DIGEST": report["digest"],
        "TRIMTAB_VERSION": "r2",
    }
    job.gate(notWorseBy=0.3)
    code, report = job.run_as("sklearn.tree.DecisionTreeClassifier", *both)
    assert (code, report["verdict"]) == (0, "accepted"), report
    code, report = job.run_as("sklearn.tree.DecisionTreeClassifier", "--ignore", "rich,time")
    assert code == 12
    assert "targets, the serving version has 2" in report["message"]


@pytest.mark.parametrize("estimator", ["svm.LinearSVC", "linear_model.SGDClassifier"])
def test_a_version_without_probabilities_is_calibrated_by_its_decision_values(
    estimator: str, job: Job, champion: Champion, tmp_path: Path
) -> None:
    job.data(people(1500, shift=20))
    job.champion(champion())
    code, report = job.run_as(f"sklearn.{estimator}", "--time-column", "time")
    assert (code, report["verdict"]) == (0, "accepted"), report
    fetch_artifact(open_location(report["uri"]), report["digest"], tmp_path / "m")
    signature = Signature.model_validate_json((tmp_path / "m/signature.json").read_bytes())
    assert [one.name for one in signature.outputs] == ["class"]
    baseline = Baseline.model_validate_json((tmp_path / "m/baseline.json").read_bytes())
    assert baseline.score_kind == "decision"
    assert len(baseline.calibration) == 1
    # The next one is compared with it.
    job.environment |= {
        "TRIMTAB_CHAMPION_URI": report["uri"],
        "TRIMTAB_CHAMPION_DIGEST": report["digest"],
        "TRIMTAB_OUTPUT_URI": f"file://{tmp_path}/models/r2/",
    }
    job.gate(metric="auc", notWorseBy=0.2)
    code, report = job.run("--ignore", "time")
    assert (code, report["verdict"]) == (0, "accepted"), report
    assert report["comparison"]["metric"] == "auc"


def test_what_learns_without_labels_is_not_retrained(job: Job) -> None:
    job.data(people(400))
    for estimator in ("cluster.KMeans", "ensemble.IsolationForest", "mixture.GaussianMixture"):
        code, report = job.run_as(f"sklearn.{estimator}", "--ignore", "time")
        assert (code, report["class"]) == (12, "code")
        assert "trimtab.training.publish" in report["message"]
