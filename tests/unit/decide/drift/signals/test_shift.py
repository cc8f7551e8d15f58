"""Verdicts on one window of counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.drift_counts import Series, baseline, series, window_counts

from trimtab.contract import metrics
from trimtab.decide.drift.signals.harm import Standard
from trimtab.decide.drift.signals.inputs import judge_inputs
from trimtab.decide.drift.signals.predictions import judge_predictions
from trimtab.decide.drift.signals.quality import judge_quality

BASELINE = baseline()
ALPHA = 0.001


@pytest.mark.parametrize(
    ("window", "verdict", "words"),
    [
        pytest.param({}, "Stable", "no input drift", id="the_same_inputs_are_stable"),
        pytest.param({"shift": 0.9}, "Drifting", "PSI", id="a_moved_feature_drifts"),
        pytest.param(
            {"shift": 0.15}, "Stable", "no input", id="less_than_the_tolerance_is_nobodys_business"
        ),
        pytest.param({"n": 20}, "InsufficientData", "20 rows", id="twenty_rows_say_nothing"),
        pytest.param(
            {"n": 200}, "InsufficientData", "needed", id="some_rows_and_no_finding_are_too_few"
        ),
        pytest.param(
            {"n": 300, "shift": 0.99}, "Drifting", "x[0]", id="what_is_proven_needs_no_more_rows"
        ),
        pytest.param({"n": 0}, "NoData", "NoTraffic", id="no_rows_are_no_data"),
    ],
)
def test_inputs(window: dict[str, Any], verdict: str, words: str) -> None:
    finding = judge_inputs(window_counts(**window), BASELINE, 0.02, ALPHA)
    assert (finding.verdict, words in finding.message) == (verdict, True), finding


def test_the_features_that_moved_most_are_named() -> None:
    wide = baseline(features=8)
    counts = window_counts(features=8, shift=0.9, moved=(2, 5), n=5000)
    finding = judge_inputs(counts, wide, 0.02, ALPHA)
    assert {name for name, _ in finding.top[:2]} == {"x[2]", "x[5]"}
    assert len(finding.top) == 9
    assert "2 of 9 moved" in finding.message
    assert finding.n == 5000


def test_bins_that_the_baseline_does_not_have_are_ignored() -> None:
    counts: Series = {
        **window_counts(),
        series(metrics.FEATURE_BIN, feature="x[0]", bin="99"): 1e6,
        series(metrics.FEATURE_BIN, feature="x[0]", bin="-1"): 1e6,
        series(metrics.FEATURE_BIN, feature="x[0]", bin="١"): 1e6,
        series(metrics.FEATURE_BIN, feature="unknown", bin="0"): 1e6,
    }
    assert judge_inputs(counts, BASELINE, 0.02, ALPHA).verdict == "Stable"


@pytest.mark.parametrize(
    ("window", "verdict"),
    [
        pytest.param({}, "Stable", id="the_same_scores_are_stable"),
        pytest.param({"scores_shift": 0.9}, "Drifting", id="moved_scores_drift"),
        pytest.param({"n": 30}, "InsufficientData", id="few_rows_say_nothing"),
    ],
)
def test_predictions(window: dict[str, Any], verdict: str) -> None:
    assert judge_predictions(window_counts(**window), BASELINE, 0.02, ALPHA).verdict == verdict


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 4000),
    shift=st.floats(0, 0.99),
    accuracy=st.floats(0.3, 1.0),
    alpha=st.floats(1e-9, 0.1),
    seed=st.integers(0, 10**6),
)
def test_a_verdict_always_has_its_figures(
    n: int, shift: float, accuracy: float, alpha: float, seed: int
) -> None:
    counts = window_counts(n=n, shift=shift, accuracy=accuracy, seed=seed)
    for finding in (
        judge_inputs(counts, BASELINE, 0.02, alpha),
        judge_predictions(counts, BASELINE, 0.02, alpha),
        judge_quality(counts, BASELINE, Standard("accuracy", 0.9), alpha),
    ):
        assert finding.message
        if finding.verdict in ("Drifting", "Stable"):
            assert finding.value is not None
            assert finding.threshold is not None
            assert finding.n > 0
        if finding.verdict == "InsufficientData":
            assert finding.needed is not None
            assert finding.n < finding.needed


def test_no_drift_raises_no_alarm_in_three_hundred_looks() -> None:
    alarms = sum(
        judge_inputs(window_counts(n=1000, seed=seed), BASELINE, 0.01, 0.001).verdict == "Drifting"
        for seed in range(300)
    )
    assert alarms == 0
