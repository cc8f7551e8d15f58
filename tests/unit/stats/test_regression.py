"""Errors of a regression: bounds hold their confidence, and a ceiling needs proof."""

import math

import numpy as np
import pytest

from trimtab.stats.regression import (
    Bounded,
    ErrorMetric,
    ErrorSums,
    ceiling_test,
    estimated_error,
    mean_absolute_error,
    residual_model,
    root_mean_square_error,
)


def sums_of(error: np.ndarray) -> ErrorSums:
    return ErrorSums(
        float(error.size),
        float(error.sum()),
        float((error**2).sum()),
        float(np.abs(error).sum()),
    )


def test_realised_errors_are_those_of_the_rows() -> None:
    sums = sums_of(np.array([1.0, -2.0, 4.0]))
    assert mean_absolute_error(sums).value == pytest.approx(7 / 3)
    assert root_mean_square_error(sums).value == pytest.approx(math.sqrt(7))


def test_sums_of_replicas_add_up() -> None:
    error = np.random.default_rng(1).normal(0, 1, 50)
    both, whole = sums_of(error[:20]) + sums_of(error[20:]), sums_of(error)
    assert mean_absolute_error(both).upper == pytest.approx(mean_absolute_error(whole).upper)
    assert (whole + ErrorSums(1, 0, 0)).absolute is None


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_bounds_hold_their_confidence(side: str) -> None:
    draws = np.random.default_rng(5)
    outside = np.zeros(2)
    for _ in range(2000):
        sums = sums_of(draws.normal(0, 2, 60))
        found = mean_absolute_error(sums), root_mean_square_error(sums)
        for k, truth in enumerate((2 * math.sqrt(2 / math.pi), 2)):
            bound = getattr(found[k], side)
            outside[k] += bound > truth if side == "lower" else bound < truth
    assert (np.abs(outside / 2000 - 0.05) < 0.02).all()


def test_heavy_tails_need_their_kurtosis() -> None:
    draws = np.random.default_rng(6)
    outside = {3.0: 0, 6.0: 0}
    for _ in range(1000):
        sums = sums_of(draws.laplace(0, 1, 300))
        for kurtosis in outside:
            bound = root_mean_square_error(sums, kurtosis=kurtosis).upper
            outside[kurtosis] += bound < math.sqrt(2)
    assert outside[3.0] > 100
    assert outside[6.0] < 75


def test_no_rows_prove_nothing() -> None:
    empty = ErrorSums(0, 0, 0, 0)
    for found in (mean_absolute_error(empty), root_mean_square_error(empty)):
        assert math.isnan(found.value)
        test = ceiling_test(found, 1)
        assert (test.is_above, test.is_enough) == (False, False)


def test_a_missing_sum_is_said() -> None:
    with pytest.raises(ValueError, match="sum of absolute errors"):
        mean_absolute_error(ErrorSums(10, 0, 10))


def spread_rows(n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin of the prediction and error, whose spread grows with the prediction."""
    draws = np.random.default_rng(seed)
    prediction = np.clip(draws.normal(5 + shift, 1, n), 0, 9.99)
    return prediction.astype(int), draws.normal(0, 0.2 + 0.2 * prediction)


def test_the_estimate_follows_a_shift_without_labels() -> None:
    model = residual_model(*spread_rows(100_000, 0.0, 1), 10)
    index, error = spread_rows(100_000, 1.0, 2)
    counts = np.bincount(index, minlength=10)
    mae = estimated_error(model, counts, ErrorMetric.MAE)
    rmse = estimated_error(model, counts, ErrorMetric.RMSE)
    assert mae.value == pytest.approx(np.abs(error).mean(), rel=0.015)
    assert rmse.value == pytest.approx(math.sqrt((error**2).mean()), rel=0.015)
    assert ceiling_test(mae, 1.0).is_above
    before = np.bincount(spread_rows(100_000, 0.0, 3)[0], minlength=10)
    assert not ceiling_test(estimated_error(model, before, ErrorMetric.MAE), 1.0).is_above


@pytest.mark.parametrize("metric", list(ErrorMetric))
def test_bounds_of_the_estimate_cover_both_samples(metric: ErrorMetric) -> None:
    index, error = spread_rows(1_000_000, 0.5, 4)
    truth = estimated_error(
        residual_model(index, error, 10), np.bincount(index, minlength=10), metric
    ).value
    below = above = 0
    for seed in range(400):
        model = residual_model(*spread_rows(3000, 0.5, 1000 + seed), 10)
        counts = np.bincount(spread_rows(500, 0.5, 5000 + seed)[0], minlength=10)
        found = estimated_error(model, counts, metric)
        below, above = below + (found.upper < truth), above + (found.lower > truth)
    assert below / 400 < 0.085
    assert above / 400 < 0.085


def test_bins_never_seen_at_training_do_not_count() -> None:
    model = residual_model([0, 0, 0, 1], [1.0, 1.0, 1.0, 9.0], 3)
    found = estimated_error(model, [10, 5, 5], ErrorMetric.MAE)
    assert (found.value, found.n) == (1, 10)
    assert math.isnan(estimated_error(model, [0, 5, 5], ErrorMetric.RMSE).value)
    with pytest.raises(ValueError, match="residual model has 3"):
        estimated_error(model, [1, 2], ErrorMetric.MAE)


def test_models_of_parts_add_up() -> None:
    index, error = spread_rows(100, 0.0, 9)
    whole = residual_model(index, error, 10)
    both = residual_model(index[:40], error[:40], 10) + residual_model(index[40:], error[40:], 10)
    assert both.fourth == pytest.approx(whole.fourth)
    assert both.kurtosis == pytest.approx(whole.kurtosis)


def test_rows_needed_for_a_ceiling_have_their_power() -> None:
    draws = np.random.default_rng(2)
    needed = ceiling_test(Bounded(1.0, 0.9, 1.1, 50, 0.8, 0.95), 1.0, 0.1).needed
    found = 0
    for _ in range(500):
        amount = np.abs(draws.normal(1.1, 0.8, int(needed)))
        sums = ErrorSums(needed, 0, float((amount**2).sum()), float(amount.sum()))
        found += ceiling_test(mean_absolute_error(sums), 1.0).is_above
    assert needed == pytest.approx(396, abs=2)
    assert found / 500 > 0.75


def test_a_small_residual_model_is_never_enough() -> None:
    test = ceiling_test(Bounded(1.0, 0.5, 1.5, 1e9, 0.1, 0.95, fixed=0.2), 1.0)
    assert test.needed == math.inf
    assert not test.is_enough
    with pytest.raises(ValueError, match="positive"):
        ceiling_test(Bounded(1.0, 0.5, 1.5, 10, 0.1, 0.95), 0)
