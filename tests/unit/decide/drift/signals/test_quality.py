"""Verdicts of quality and outcomes: classes, errors, and what cannot be judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from tests.unit.drift_counts import Series, baseline, series, window_counts

from trimtab.api.drift_policy import MetricName
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline, Residuals
from trimtab.decide.drift.signals.harm import Standard
from trimtab.decide.drift.signals.outcomes import judge_outcomes
from trimtab.decide.drift.signals.quality import judge_quality
from trimtab.stats.regression import residual_model

ALPHA = 0.001
ACCURACY = Standard("accuracy", 0.944)


@pytest.mark.parametrize(
    ("window", "verdict", "words"),
    [
        pytest.param(
            {"accuracy": 0.97}, "Stable", "estimated accuracy 0.970", id="above_the_floor"
        ),
        pytest.param(
            {"accuracy": 0.81},
            "Drifting",
            "estimated accuracy 0.810, floor 0.944",
            id="below_the_floor",
        ),
        pytest.param(
            {"accuracy": 0.81, "n": 60}, "Drifting", "n=60", id="far_below_needs_few_rows"
        ),
        pytest.param(
            {"accuracy": 0.93, "n": 100},
            "InsufficientData",
            "rows are needed",
            id="a_little_below_is_not_proven_by_few_rows",
        ),
        pytest.param(
            {"accuracy": 0.999, "n": 300},
            "Stable",
            "n=300",
            id="far_above_needs_few_rows",
        ),
        pytest.param({"n": 0}, "NoData", "NoTraffic", id="no_rows_are_no_data"),
    ],
)
def test_quality(window: dict[str, Any], verdict: str, words: str) -> None:
    finding = judge_quality(window_counts(seed=None, **window), None, ACCURACY, ALPHA)
    assert (finding.verdict, words in finding.message) == (verdict, True), finding


def test_a_version_without_probabilities_cannot_be_estimated() -> None:
    counts = {k: v for k, v in window_counts().items() if k[0] != metrics.PROBABILITY_SUM}
    finding = judge_quality(counts, None, ACCURACY, ALPHA)
    assert finding.verdict == "NoData"
    assert "NoSeries" in finding.message


@pytest.mark.parametrize(
    ("labelled", "right", "verdict", "share"),
    [
        pytest.param(2500, 0.97, "Stable", 0.8333, id="right_enough"),
        pytest.param(2500, 0.85, "Drifting", 0.8333, id="wrong_too_often"),
        pytest.param(1200, 0.85, "InsufficientData", 0.4, id="fewer_than_half_of_the_labels"),
        pytest.param(0, 0.85, "NoData", 0, id="no_labels_at_all"),
    ],
)
def test_outcomes(labelled: int, right: float, verdict: str, share: float) -> None:
    counts = window_counts(labelled=labelled, right=right)
    finding = judge_outcomes(counts, ACCURACY, ALPHA, predicted=3000)
    assert (finding.verdict, finding.labelled) == (verdict, share)


def test_of_no_rows_no_share_is_labelled() -> None:
    counts = window_counts(n=0, labelled=100)
    finding = judge_outcomes(counts, ACCURACY, ALPHA, predicted=0)
    assert (finding.verdict, finding.labelled) == ("InsufficientData", None)
    assert judge_outcomes(counts, ACCURACY, ALPHA, predicted=None).labelled is None


@pytest.mark.parametrize("standard", [ACCURACY, Standard("f1", 0.9), Standard("recall", 0.9, "0")])
def test_a_value_lies_between_its_bounds(standard: Standard) -> None:
    counts = window_counts(labelled=2500, right=0.97)
    for finding in (
        judge_outcomes(counts, standard, ALPHA, predicted=3000),
        judge_quality(counts, None, standard, ALPHA),
    ):
        assert finding.value is not None, finding
        assert finding.lower is not None
        assert finding.upper is not None
        assert 0 < finding.lower < finding.value <= finding.upper <= 1


def test_where_nobody_knows_how_many_were_predicted_the_labels_are_judged() -> None:
    counts = window_counts(n=0, labelled=1000, right=0.85)
    finding = judge_outcomes(counts, ACCURACY, ALPHA, predicted=None)
    assert finding.verdict == "Drifting"
    assert "estimated" not in finding.message


# --- metrics of classes -------------------------------------------------------------------------


def labelled(actual: np.ndarray, predicted: np.ndarray) -> Series:
    counts: Series = {}
    for one, other in zip(predicted.tolist(), actual.tolist(), strict=True):
        key = series(metrics.OUTCOMES, predicted=str(one), actual=str(other))
        counts[key] = counts.get(key, 0.0) + 1
    return counts


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
@pytest.mark.parametrize("of_class", [None, "0", "2"])
def test_the_value_is_that_of_scikit_learn(metric: MetricName, of_class: str | None) -> None:
    rng = np.random.default_rng(1)
    actual = rng.integers(0, 3, 2000)
    predicted = np.where(rng.random(2000) < 0.8, actual, rng.integers(0, 3, 2000))
    known = {"precision": precision_score, "recall": recall_score, "f1": f1_score}[metric]
    if of_class is None:
        wanted = known(actual, predicted, average="macro")
    else:
        wanted = known(actual, predicted, average=None)[int(of_class)]
    finding = judge_outcomes(
        labelled(actual, predicted), Standard(metric, 0.5, of_class), ALPHA, predicted=2000
    )
    assert finding.verdict == "Stable"
    assert finding.value == pytest.approx(wanted, abs=1e-4)


def test_a_class_that_got_worse_is_found_where_accuracy_is_not() -> None:
    actual = np.repeat([0, 1], [9500, 500])
    predicted = actual.copy()
    predicted[9500:9750] = 0
    counts = labelled(actual, predicted)
    all_of_it = judge_outcomes(counts, Standard("accuracy", 0.95), ALPHA, predicted=None)
    one_class = judge_outcomes(counts, Standard("recall", 0.8, "1"), ALPHA, predicted=None)
    assert all_of_it.verdict == "Stable"
    assert one_class.verdict == "Drifting"
    assert "recall of 1 of labelled rows 0.500, floor 0.800 (n=500)" in one_class.message


def test_the_estimate_of_a_class_says_estimated() -> None:
    counts = window_counts(seed=None, accuracy=0.7)
    finding = judge_quality(counts, None, Standard("recall", 0.9, "0"), ALPHA)
    assert finding.verdict == "Drifting"
    assert "estimated recall of 0 0.700, floor 0.900" in finding.message


@pytest.mark.parametrize(
    ("standard", "words"),
    [
        (Standard("recall", 0.9, "cat"), "no row of class 'cat'"),
        (Standard("auc", 0.9), "auc is of two classes, the model has 4"),
        (Standard("mae", 2.0), "no residuals"),
    ],
)
def test_what_a_model_cannot_give_is_no_data(standard: Standard, words: str) -> None:
    finding = judge_quality(window_counts(), baseline(), standard, ALPHA)
    assert finding.verdict == "NoData"
    assert words in finding.message


def test_many_classes_have_no_recall() -> None:
    counts = {
        key: value
        for key, value in window_counts().items()
        if key[0] != metrics.PROBABILITY_SUM or dict(key[1])["predicted"] == dict(key[1])["class"]
    }
    assert judge_quality(counts, None, Standard("precision", 0.9), ALPHA).verdict == "Stable"
    finding = judge_quality(counts, None, Standard("f1", 0.9), ALPHA)
    assert finding.verdict == "NoData"
    assert "up to 20 classes; use accuracy or precision" in finding.message


def test_labels_by_hour_of_many_classes_have_accuracy_only() -> None:
    counts = {
        series(metrics.OUTCOMES, correct="true"): 900.0,
        series(metrics.OUTCOMES, correct="false"): 100.0,
    }
    assert judge_outcomes(counts, ACCURACY, ALPHA, predicted=1000).value == 0.9
    finding = judge_outcomes(counts, Standard("f1", 0.9), ALPHA, predicted=1000)
    assert finding.verdict == "NoData"
    assert "use accuracy, a labelDelay below 1h" in finding.message


# --- two classes: AUC ---------------------------------------------------------------------------


def binary() -> Baseline:
    known = baseline()
    return known.model_copy(update={"predicted_counts": {"no": 5000, "yes": 5000}})


def scored(positives: list[float], rows: float = 500.0) -> Series:
    counts: Series = {}
    for index, share in enumerate(positives):
        counts[series(metrics.SCORE_BIN, bin=str(index))] = rows
        counts[series(metrics.SCORE_BIN_SUM, bin=str(index))] = rows * share
    for one in ("no", "yes"):
        counts[series(metrics.PREDICTED, **{"class": one})] = rows * len(positives) / 2
        for other in ("no", "yes"):
            key = series(metrics.PROBABILITY_SUM, predicted=one, **{"class": other})
            counts[key] = rows
    return counts


def test_auc_is_estimated_from_bins_of_the_score() -> None:
    sharp = scored([0.01, 0.02, 0.02, 0.03, 0.1, 0.9, 0.97, 0.98, 0.98, 0.99])
    blunt = scored([0.3, 0.4, 0.4, 0.45, 0.5, 0.5, 0.55, 0.6, 0.6, 0.7])
    standard = Standard("auc", 0.9)
    assert judge_quality(sharp, binary(), standard, ALPHA).verdict == "Stable"
    finding = judge_quality(blunt, binary(), standard, ALPHA)
    assert finding.verdict == "Drifting"
    assert "estimated auc, binned to within" in finding.message
    assert judge_quality(sharp, None, standard, ALPHA).verdict == "NoData"


# --- regression ---------------------------------------------------------------------------------


def regression() -> Baseline:
    """Errors grow with the prediction: 1 in the lowest bin, 10 in the highest."""
    rng = np.random.default_rng(0)
    bins = np.repeat(np.arange(10), 500)
    errors = rng.normal(0, 1 + bins)
    model = residual_model(bins, errors, 10)
    known = Residuals(
        rows=model.rows.astype(int).tolist(),
        absolute=model.absolute.tolist(),
        squares=model.squares.tolist(),
        fourth=model.fourth.tolist(),
    )
    return baseline().model_copy(update={"predicted_counts": {}, "residuals": known})


def answered(rows: list[float]) -> Series:
    counts: Series = {series(metrics.PREDICTED, **{"class": ""}): sum(rows)}
    for index, count in enumerate(rows):
        counts[series(metrics.SCORE_BIN, bin=str(index))] = count
    return counts


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_the_error_of_a_regression_is_estimated_from_its_bins(metric: MetricName) -> None:
    low, high = answered([400.0] * 5 + [0.0] * 5), answered([0.0] * 5 + [400.0] * 5)
    standard = Standard(metric, 5.5)
    assert judge_quality(low, regression(), standard, ALPHA).verdict == "Stable"
    finding = judge_quality(high, regression(), standard, ALPHA)
    assert finding.verdict == "Drifting"
    assert f"estimated {metric} " in finding.message
    assert "ceiling 5.5 (n=2000), at least" in finding.message


def errors(n: int, size: float) -> Series:
    drawn = np.random.default_rng(0).normal(0, size, n)
    return {
        series(metrics.OUTCOME_ERRORS_COUNT): float(n),
        series(metrics.OUTCOME_ERRORS_SUM): float(drawn.sum()),
        series(metrics.OUTCOME_ERRORS_SQUARES): float((drawn**2).sum()),
        series(metrics.OUTCOME_ERRORS_ABSOLUTE): float(np.abs(drawn).sum()),
    }


@pytest.mark.parametrize(
    ("metric", "size", "n", "verdict"),
    [
        ("rmse", 1.0, 2000, "Stable"),
        ("rmse", 1.5, 2000, "Drifting"),
        ("mae", 1.0, 2000, "Stable"),
        ("mae", 1.8, 2000, "Drifting"),
        ("rmse", 1.15, 30, "InsufficientData"),
    ],
)
def test_the_error_of_labelled_rows(metric: MetricName, size: float, n: int, verdict: str) -> None:
    finding = judge_outcomes(errors(n, size), Standard(metric, 1.2), ALPHA, predicted=n)
    assert finding.verdict == verdict, finding
    if verdict == "InsufficientData":
        assert finding.needed is not None
        assert finding.needed > n


@pytest.mark.parametrize(
    ("counts", "standard", "words"),
    [
        (errors(100, 1.0), ACCURACY, "a regression has no accuracy; use metric mae or rmse"),
        (window_counts(labelled=100), Standard("mae", 1.0), "a classification has no mae"),
        (
            {k: v for k, v in errors(100, 1.0).items() if k[0] != metrics.OUTCOME_ERRORS_ABSOLUTE},
            Standard("mae", 1.0),
            "use rmse",
        ),
    ],
)
def test_a_metric_of_another_task_is_no_data(
    counts: Series, standard: Standard, words: str
) -> None:
    finding = judge_outcomes(counts, standard, ALPHA, predicted=None)
    assert finding.verdict == "NoData"
    assert words in finding.message


def test_a_regression_has_no_estimated_accuracy() -> None:
    finding = judge_quality(answered([10.0] * 10), regression(), ACCURACY, ALPHA)
    assert finding.verdict == "NoData"
    assert "use metric mae or rmse" in finding.message
