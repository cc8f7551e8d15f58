"""A challenger is accepted if not worse by the margin; too few rows are said to be too few."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from trimtab.stats.challenger import (
    PairedCounts,
    Verdict,
    bca_interval,
    compare_accuracy,
    compare_by_bootstrap,
    needed_rows,
    paired_counts,
    tango_interval,
    tango_z,
    weighted_auc,
    weighted_f1,
    weighted_negative_rmse,
    worse_slices,
)


def test_worse_by_the_margin_is_accepted_in_five_percent() -> None:
    draws = np.random.default_rng(12)
    margin, rows = 0.02, 1000
    gained, lost = 0.02, 0.04
    sets = draws.multinomial(rows, [gained, lost, 1 - gained - lost], 2000)
    cache: dict[tuple[int, int], bool] = {}
    accepted = 0
    for g, b, _ in sets:
        pair = (int(g), int(b))
        if pair not in cache:
            lower, _ = tango_interval(PairedCounts(*pair, rows))
            cache[pair] = lower > -margin
        accepted += cache[pair]
    assert accepted / 2000 <= 0.055


@pytest.mark.parametrize(("gained", "lost", "delta"), [(9, 14, -0.03), (3, 1, 0.1), (0, 5, -0.2)])
def test_score_statistic_uses_the_constrained_likelihood(
    gained: int, lost: int, delta: float
) -> None:
    n = 120

    def minus_log_likelihood(q: float) -> float:
        cells = [(gained, q + delta), (lost, q), (n - gained - lost, 1 - 2 * q - delta)]
        if any(p <= 0 for _, p in cells):
            return math.inf
        return -sum(k * math.log(p) for k, p in cells)

    span = (max(0.0, -delta), (1 - delta) / 2)
    found = minimize_scalar(
        minus_log_likelihood, bounds=span, method="bounded", options={"xatol": 1e-10}
    )
    spread = math.sqrt(n * (2 * found.x + delta - delta**2))
    expected = (gained - lost - n * delta) / spread
    assert tango_z(PairedCounts(gained, lost, n), delta) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("counts", "lower", "upper"),
    [
        (PairedCounts(1, 0, 44), -0.0594, 0.1181),
        (PairedCounts(0, 0, 50), -0.0713, 0.0713),
        (PairedCounts(50, 0, 50), 0.8573, 1.0),
        (PairedCounts(0, 50, 50), -1.0, -0.8573),
        (PairedCounts(0, 0, 0), -1.0, 1.0),
    ],
)
def test_interval(counts: PairedCounts, lower: float, upper: float) -> None:
    assert tango_interval(counts, 0.975) == pytest.approx((lower, upper), abs=1e-3)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (PairedCounts(20, 20, 2000), Verdict.ACCEPTED),
        (PairedCounts(10, 90, 2000), Verdict.REJECTED),
        (PairedCounts(1, 1, 60), Verdict.INSUFFICIENT_DATA),
        (PairedCounts(0, 30, 60), Verdict.REJECTED),
        (PairedCounts(0, 0, 0), Verdict.INSUFFICIENT_DATA),
    ],
)
def test_verdict(counts: PairedCounts, verdict: Verdict) -> None:
    assert compare_accuracy(counts).verdict is verdict


def test_better_is_more_than_not_worse() -> None:
    assert compare_accuracy(PairedCounts(200, 20, 2000)).is_better
    assert not compare_accuracy(PairedCounts(20, 20, 2000)).is_better


def test_rows_needed() -> None:
    assert needed_rows(0.04, 0.005) == pytest.approx(10_000, rel=0.02)
    with pytest.raises(ValueError):
        needed_rows(0.04, 0.0)


def test_counts_come_from_the_same_rows() -> None:
    counts = paired_counts([1, 1, 0, 0, 2], [1, 0, 0, 1, 1], [1, 1, 1, 1, 2])
    assert counts == PairedCounts(gained=2, lost=1, n=5)


def test_slices_that_are_proven_worse() -> None:
    slices = {
        "fine": PairedCounts(10, 10, 500),
        "worse": PairedCounts(2, 60, 500),
        "small": PairedCounts(0, 1, 10),
        "empty": PairedCounts(0, 0, 0),
    }
    assert worse_slices(slices) == ("worse",)


def test_bootstrap_of_a_mean_agrees_with_theory() -> None:
    x = np.random.default_rng(3).normal(5, 2, 400)
    found = bca_interval(lambda w: float(w @ x / w.sum()), 400, 0.95)
    assert found.standard_error == pytest.approx(0.1, rel=0.1)
    assert found.lower == pytest.approx(x.mean() - 1.645 * x.std() / 20, abs=0.02)
    assert found.upper == pytest.approx(x.mean() + 1.645 * x.std() / 20, abs=0.02)


def test_auc_with_ties_and_weights() -> None:
    auc = weighted_auc([False, False, True, True], [0.1, 0.4, 0.4, 0.8])
    assert auc(np.ones(4)) == pytest.approx(0.875)
    assert auc(np.array([1.0, 0, 1, 0])) == 1
    assert math.isnan(auc(np.array([1.0, 1, 0, 0])))


def test_f1_and_rmse() -> None:
    f1 = weighted_f1(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    assert f1(np.ones(4)) == pytest.approx((2 / 3 + 0.8) / 2)
    assert weighted_negative_rmse([1, 2], [1, 4])(np.ones(2)) == pytest.approx(-math.sqrt(2))


def test_bootstrap_verdicts() -> None:
    draws = np.random.default_rng(8)
    actual = draws.normal(0, 1, 600)
    champion = actual + draws.normal(0, 0.5, 600)
    as_good = actual + draws.normal(0, 0.5, 600)
    worse = actual + draws.normal(0, 0.8, 600)

    def compare(challenger: np.ndarray, margin: float) -> Verdict:
        return compare_by_bootstrap(
            weighted_negative_rmse(actual, champion),
            weighted_negative_rmse(actual, challenger),
            600,
            margin,
            resamples=500,
        ).verdict

    assert compare(as_good, 0.1) is Verdict.ACCEPTED
    assert compare(worse, 0.1) is Verdict.REJECTED
    assert compare(as_good, 0.005) is Verdict.INSUFFICIENT_DATA


def test_identical_models_have_no_spread() -> None:
    score, actual = np.linspace(0, 1, 50), np.arange(50) % 3 == 0
    auc = weighted_auc(actual, score)
    found = compare_by_bootstrap(auc, auc, 50, 0.01, resamples=100)
    assert (found.difference, found.verdict) == (0, Verdict.ACCEPTED)


def test_a_metric_that_is_not_defined_is_refused() -> None:
    auc = weighted_auc(np.zeros(20, bool), np.arange(20))
    with pytest.raises(ValueError, match="not defined"):
        bca_interval(auc, 20, resamples=20)
