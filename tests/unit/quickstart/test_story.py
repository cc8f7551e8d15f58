"""The story's figures: versions, drift and recovery, on pools that never overlap."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.api.model_version import ModelVersionSpec
from trimtab.contract.artifact import Baseline
from trimtab.contract.calibration import calibrated
from trimtab.quickstart.__main__ import main
from trimtab.quickstart.digits import POOL_SIZES, Angles, load_pools, rotate_images
from trimtab.quickstart.labelling import LABELLED_FROM, labelled_frame
from trimtab.training.__main__ import main as train
from trimtab.training.models import Champion, answer, load_champion

POOLS = load_pools()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def versions(store: Path) -> dict[str, dict[str, Any]]:
    """What `publish` prints, by version; the folder is written once for all tests."""
    import contextlib
    import io

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["publish", "--uri", f"file://{store}/digits"]) == 0
    lines = [json.loads(line) for line in printed.getvalue().splitlines()]
    return {line["version"]: line for line in lines}


def opened(version: dict[str, Any], folder: Path) -> Champion:
    return load_champion(version["uri"], version["digest"], None, folder)


def accuracies(champion: Champion, degrees: float) -> tuple[float, float]:
    """True accuracy and its estimate from calibrated probabilities, on rotated traffic."""
    traffic = POOLS["traffic"]
    images = rotate_images(traffic.images, degrees)
    answers = answer(champion.model, images, [int(name) for name in champion.signature.classes])
    assert answers.score is not None
    sure = calibrated(answers.score, champion.baseline.calibration)
    chosen = answers.score.argmax(axis=1)
    return (
        float((answers.predicted == traffic.labels).mean()),
        float(sure[np.arange(len(chosen)), chosen].mean()),
    )


def test_pools_are_all_images_and_each_once() -> None:
    assert sum(POOL_SIZES.values()) == sum(len(pool) for pool in POOLS.values()) == 1797


def test_rotation_keeps_the_range_and_changes_the_image() -> None:
    images = POOLS["traffic"].images
    turned = rotate_images(images, 12)
    assert (turned.min(), turned.max()) == (0, 16)
    assert np.abs(turned - images).mean() > 0.5
    assert (rotate_images(images, 0) == images).all()


@pytest.mark.parametrize("text", ["", "a", "15:10", "200", "1:2:3"])
def test_angles_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError):
        Angles.parse(text)


def test_versions_are_good_worse_and_better(versions: dict[str, dict[str, Any]]) -> None:
    accuracy = {name: one["metrics"][0]["value"] for name, one in versions.items()}
    assert accuracy["v1"] > 0.93
    assert 0.7 < accuracy["v2"] < 0.85
    assert accuracy["v3"] > max(accuracy["v1"], 0.95)


def test_manifests_are_model_versions(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["publish", "--uri", f"file://{store}/other", "--version", "v2", "--manifests"])
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["metadata"]["name"]) == ("ModelVersion", "digits-v2")
    found["spec"]["artifact"]["uri"] = "s3://models/digits/v2/"
    assert ModelVersionSpec.model_validate(found["spec"]).evaluation[0].metric == "accuracy"


def test_rotation_hurts_and_the_estimate_follows(
    versions: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    champion = opened(versions["v3"], tmp_path)
    straight, estimated = accuracies(champion, 0)
    assert straight > 0.95
    assert estimated == pytest.approx(straight, abs=0.03)
    for degrees in (10, 12, 15):
        true, estimated = accuracies(champion, degrees)
        assert 0.6 < true < 0.85
        assert estimated == pytest.approx(true, abs=0.08)


def test_rotation_is_no_fault_of_the_data(
    versions: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """No rotated pixel is out of range: the range is the camera's, not that of the rows seen."""
    baseline: Baseline = opened(versions["v3"], tmp_path).baseline
    bounds = {(one.minimum, one.maximum) for one in baseline.features if one.kind == "numeric"}
    assert bounds == {(0.0, 16.0)}


def test_newly_labelled_rows_end_with_images_that_no_version_has_seen() -> None:
    rows = 2 * sum(POOL_SIZES[name] for name in LABELLED_FROM)
    ended = datetime(2026, 11, 23, tzinfo=UTC)
    frame = labelled_frame(rows, Angles(0, 0), ended, timedelta(seconds=10))
    assert len(frame) == rows
    assert frame["time"].is_monotonic_increasing
    assert frame["time"].iloc[-1] == ended
    held_out = {tuple(image) for image in frame["image"].iloc[int(rows * 0.8) :]}
    fresh = {tuple(image) for image in POOLS["fresh"].images}
    traffic = {tuple(image) for image in POOLS["traffic"].images}
    everything = {tuple(image) for image in frame["image"]}
    assert held_out <= fresh
    assert not everything & traffic


def test_retraining_on_new_labels_recovers(
    versions: dict[str, dict[str, Any]], store: Path, tmp_path: Path
) -> None:
    folder = f"file://{store}/data/"
    ended = datetime.now(UTC) + timedelta(seconds=20)
    frame = labelled_frame(2894, Angles(10, 15), ended, timedelta(seconds=10))
    (store / "data").mkdir()
    frame.to_parquet(store / "data/labels.parquet")
    code = train(
        {
            "TRIMTAB_MODEL": "digits",
            "TRIMTAB_VERSION": "r1",
            "TRIMTAB_DATA_URI": folder,
            "TRIMTAB_OUTPUT_URI": f"file://{store}/digits/r1/",
            "TRIMTAB_CHAMPION_URI": versions["v3"]["uri"],
            "TRIMTAB_CHAMPION_DIGEST": versions["v3"]["digest"],
            "TRIMTAB_CAUSE": '{"signal": "quality"}',
            "TRIMTAB_TERMINATION_LOG": str(tmp_path / "message"),
        },
        [
            *("--estimator", "sklearn.ensemble.RandomForestClassifier"),
            *("--param", "n_estimators=50", "--time-column", "time"),
        ],
    )
    report = json.loads((tmp_path / "message").read_bytes())
    assert (code, report["verdict"]) == (0, "accepted")
    assert report["comparison"]["difference"] > 0.1
    assert accuracies(opened(report, tmp_path / "r1"), 12)[0] > 0.93


def test_label_writes_parquet_below_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"file://{tmp_path}/digits/"
    assert main(["label", "--uri", uri, "--rotate", "10:15", "--rows", "300"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["rows"] == 300
    assert line["uri"] == uri + "labels.parquet"
    assert Path(line["uri"].removeprefix("file://")).is_file()


def test_store_that_cannot_be_used_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label", "--uri", "ftp://x/", "--rows", "10"]) == 1
    assert "scheme must be one of" in capsys.readouterr().err
