"""The trainer's pure parts: bins, intervals, calibration, splits, the message's size."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trimtab.contract.artifact import CategoricalFeature, Tensor
from trimtab.contract.calibration import calibrated
from trimtab.training.baseline import bin_counts, build_baseline, quantile_edges
from trimtab.training.calibration import fit_calibration
from trimtab.training.checks import Limits, check_rows
from trimtab.training.columns import infer_inputs, make_labels, make_matrix, make_signature
from trimtab.training.errors import DataBroken, InsufficientRows
from trimtab.training.evaluation import Predictions, evaluate, wilson
from trimtab.training.report import Report, termination_message
from trimtab.training.split import split_rows


@pytest.mark.parametrize(
    ("values", "edges", "counts"),
    [
        pytest.param(range(1, 11), list(range(1, 10)), [1] * 10, id="spread"),
        pytest.param([0] * 10, [0], [10, 0], id="constant_still_shows_a_larger_value"),
        pytest.param([0] * 8 + [3, 16], [0, 3], [8, 1, 1], id="mostly_zero"),
        pytest.param([], [], [0], id="empty"),
        pytest.param([1, float("nan"), 2], [1], [1, 1], id="gap_is_in_no_bin"),
    ],
)
def test_bins(values: Any, edges: list[float], counts: list[int]) -> None:
    array = np.array(list(values), dtype=np.float64)
    assert quantile_edges(array, 10) == edges
    assert bin_counts(array, edges) == counts


def test_bins_of_many_values_hold_a_share_each() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    edges = quantile_edges(values, 20)
    assert len(edges) == 19
    assert bin_counts(values, edges) == [100] * 20


def test_wilson_is_the_interval_of_the_textbook() -> None:
    """Newcombe (1998), table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_calibration_makes_a_bold_model_honest() -> None:
    random = np.random.default_rng(0)
    truth = random.random((6000, 1))
    actual = (random.random(6000) < truth[:, 0]).astype(int)
    bold = np.column_stack((1 - truth, truth)) ** 3
    bold /= bold.sum(axis=1, keepdims=True)
    maps = fit_calibration(bold[:3000], actual[:3000], [0, 1])
    assert len(maps) == 1
    after = calibrated(bold[3000:], maps)
    assert np.allclose(after.sum(axis=1), 1)
    assert np.abs(after[:, 1] - truth[3000:, 0]).mean() < 0.05
    assert np.abs(bold[3000:, 1] - truth[3000:, 0]).mean() > 0.09


def test_calibration_of_three_classes_sums_to_one_also_where_all_maps_say_zero() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet([1, 1, 1], 300)
    actual = np.array(["a", "b", "c"])[scores.argmax(axis=1)]
    maps = fit_calibration(scores, actual, ["a", "b", "c"])
    assert len(maps) == 3
    assert np.allclose(calibrated(scores, maps).sum(axis=1), 1)


def test_split_by_time_holds_out_the_newest() -> None:
    times = np.random.default_rng(0).permutation(500)
    split = split_rows(500, calibrate=0.2, held_out=0.3, times=times)
    train, calibrate, held_out = (times[rows] for rows in split.parts().values())
    assert (len(train), len(calibrate), len(held_out)) == (250, 100, 150)
    assert train.max() < calibrate.min() <= calibrate.max() < held_out.min()


def test_split_at_random_is_the_same_for_a_seed() -> None:
    first, again, other = (split_rows(400, calibrate=0.2, held_out=0.2, seed=s) for s in (1, 1, 2))
    assert (first.train == again.train).all()
    assert (first.train != other.train).any()
    assert sorted(np.concatenate(list(first.parts().values()))) == list(range(400))


def test_split_of_too_few_rows_says_how_many() -> None:
    with pytest.raises(InsufficientRows, match="249 labelled rows") as caught:
        split_rows(249, calibrate=0.2, held_out=0.2)
    assert caught.value.needed == 250


def test_inputs_are_inferred() -> None:
    frame = pd.DataFrame(
        {
            "size": [1, 2],
            "gap": [1.5, None],
            "flag": [True, False],
            "city": ["rome", None],
            "image": [[1.0, 2.0], [3.0, 4.0]],
            "v[0]": [1, 2],
            "v[1]": [3, 4],
        }
    )
    inputs = infer_inputs(frame, list(frame.columns))
    assert [(one.name, one.datatype, one.shape, one.missing_allowed) for one in inputs] == [
        ("size", "FP64", [], False),
        ("gap", "FP64", [], True),
        ("flag", "BOOL", [], False),
        ("city", "BYTES", [], True),
        ("image", "FP64", [2], False),
        ("v", "FP64", [2], False),
    ]
    matrix = make_matrix(frame, inputs)
    assert matrix.dtype == object
    assert matrix[1].tolist()[3:] == [None, 3.0, 4.0, 2.0, 4.0]


def test_vectors_may_come_as_columns_or_lists() -> None:
    tensor = [Tensor(name="v", datatype="FP64", shape=[2])]
    lists = make_matrix(pd.DataFrame({"v": [[1, 2], [3, 4]]}), tensor)
    columns = make_matrix(pd.DataFrame({"v[1]": [2, 4], "v[0]": [1, 3]}), tensor)
    assert (lists == columns).all()
    assert lists.dtype == np.float64
    with pytest.raises(DataBroken, match="'v' has a row of 3 elements, 2 are wanted"):
        make_matrix(pd.DataFrame({"v": [[1, 2], [1, 2, 3]]}), tensor)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3.0, 7.0], [3, 7]),
        ([True, False], [True, False]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_labels_as_classes(labels: list[Any], classes: list[Any]) -> None:
    assert make_labels(pd.Series(labels, name="y"), "classification").tolist() == classes


def test_truth_values_are_counted_as_the_contract_names_them() -> None:
    inputs = [Tensor(name="flag", datatype="BOOL"), Tensor(name="x", datatype="FP64")]
    matrix = np.array([[0.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    answers = Predictions(np.array([1.0, 2.0, 3.0]))
    signature = make_signature(inputs, "regression", [])
    baseline = build_baseline(matrix, answers, signature, [], [])
    flag = baseline.features[0]
    assert isinstance(flag, CategoricalFeature)
    assert dict(zip(flag.categories, flag.counts, strict=True)) == {"false": 1, "true": 2}
    check_rows(matrix, signature, baseline, Limits(0, 0, 0))


def test_declared_range_is_the_range() -> None:
    inputs = [Tensor(name="x", datatype="FP64", minimum=0, maximum=16)]
    matrix = np.array([[1.0], [2.0], [3.0]])
    signature = make_signature(inputs, "regression", [])
    baseline = build_baseline(matrix, Predictions(np.arange(3.0)), signature, [], [])
    check_rows(np.array([[15.0]]), signature, baseline, Limits())
    with pytest.raises(DataBroken, match=r"'x': 100\.0% of the rows are outside 0 to 16"):
        check_rows(np.array([[17.0]]), signature, baseline, Limits())


def test_at_most_200_features_are_counted() -> None:
    inputs = [Tensor(name="x", datatype="FP64", shape=[300])]
    signature = make_signature(inputs, "regression", [])
    baseline = build_baseline(np.zeros((5, 300)), Predictions(np.zeros(5)), signature, [], [])
    assert len(baseline.features) == 200


def test_auc_is_left_out_where_one_class_is_missing() -> None:
    actual = np.array([1] * 40)
    answers = Predictions(actual, np.tile([0.2, 0.8], (40, 1)))
    assert [one.metric for one in evaluate(actual, answers, [0, 1])] == ["accuracy", "f1"]


def big_report(**changes: Any) -> Report:
    metric = {"metric": "accuracy", "value": 0.9, "interval": [0.8, 0.95], "n": 100}
    slices = [metric | {"slice": f"region={index}", "dataset": "held-out"} for index in range(60)]
    whole = {
        "verdict": "accepted",
        "uri": "s3://models/x/",
        "digest": "sha256:" + "0" * 64,
        "metrics": [metric | {"slice": "all"}, *slices],
        "parameters": {f"p{index}": "v" * 100 for index in range(60)},
        "datasets": [{"name": "d", "uri": "s3://" + "u" * 900, "role": "train"}] * 3,
    }
    report = Report.model_validate(whole | changes)
    report.message = "é" * 3000
    return report


def test_message_is_cut_to_what_the_kubelet_keeps() -> None:
    report = big_report()
    before = report.to_json()
    body = termination_message(report)
    assert len(body) <= 4096
    read = json.loads(body)
    assert read["verdict"] == "accepted"
    assert read["digest"].startswith("sha256:")
    assert read["metrics"][0]["slice"] == "all"
    assert report.to_json() == before


def test_message_that_fits_is_whole() -> None:
    report = big_report(metrics=[], parameters={})
    report.message = "fine"
    assert json.loads(termination_message(report)) == report.to_json()
