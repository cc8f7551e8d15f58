"""Distances on histograms: null law, tolerance and needed rows as stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2, norm

from trimtab.stats.distance import (
    needed_rows,
    psi,
    tolerance_test,
    two_sample_chi_square,
    upper_tail,
)

DRAWS = 4000


def even(bins: int) -> np.ndarray:
    return np.full(bins, 1 / bins)


def shifted(true_psi: float, bins: int = 10) -> np.ndarray:
    """Shares of a normal feature in its own quantile bins after a shift of its mean."""
    edges = norm.ppf(np.arange(1, bins) / bins)

    def shares(shift: float) -> np.ndarray:
        return np.diff(np.concatenate([[0], norm.cdf(edges - shift), [1]]))

    def distance(shift: float) -> float:
        p, q = even(bins), shares(shift)
        return float(((q - p) * np.log(q / p)).sum()) - true_psi

    return shares(brentq(distance, 0, 2))


def share_of_alarms(
    shares: np.ndarray, rows: int, tolerance: float, alpha: float, baseline_rows: int = 10_000
) -> float:
    draws = np.random.default_rng(2)
    baseline = draws.multinomial(baseline_rows, even(len(shares)), DRAWS)
    current = draws.multinomial(rows, shares, DRAWS)
    return float(tolerance_test(baseline, current, tolerance, alpha).is_drifting.mean())


@pytest.mark.parametrize(("bins", "rows"), [(10, 500), (20, 500), (10, 200)])
def test_size_without_tolerance(bins: int, rows: int) -> None:
    assert 0.035 <= share_of_alarms(even(bins), rows, 0.0, 0.05) <= 0.062
    assert 0.004 <= share_of_alarms(even(bins), rows, 0.0, 0.01) <= 0.016


@pytest.mark.parametrize("rows", [500, 2000, 50_000])
@pytest.mark.parametrize("tolerance", [0.01, 0.02, 0.05])
def test_size_at_the_tolerance(tolerance: float, rows: int) -> None:
    assert 0.037 <= share_of_alarms(shifted(tolerance), rows, tolerance, 0.05) <= 0.062


def test_power() -> None:
    assert share_of_alarms(shifted(0.05), 2000, 0.02, 0.05, baseline_rows=20_000) >= 0.95
    assert share_of_alarms(shifted(0.1), 2000, 0.02, 0.05) == 1


def test_needed_rows() -> None:
    assert [needed_rows(d) for d in (0.02, 0.05, 0.1, 0.2)] == [992, 397, 199, 100]
    assert needed_rows(10.0, bins=20) == 100
    with pytest.raises(ValueError):
        needed_rows(0.0)


def test_one_call_for_many_features() -> None:
    draws = np.random.default_rng(0)
    baseline = draws.multinomial(10_000, even(10), 30)
    current = draws.multinomial(2000, even(10), 30)
    current[7] = draws.multinomial(2000, shifted(0.2))
    found = tolerance_test(baseline, current, 0.02, 0.001)
    assert found.value.shape == found.p_value.shape == (30,)
    assert np.flatnonzero(found.is_drifting).tolist() == [7]
    alone = tolerance_test(baseline[7], current[7], 0.02, 0.001)
    assert alone.value == pytest.approx(found.value[7])
    assert bool(alone.is_drifting)


def test_p_value_and_threshold_agree() -> None:
    baseline, current = np.full(10, 1000), np.array([60, 40] * 5)
    found = tolerance_test(baseline, current, 0.0, 0.05)
    assert (found.p_value < 0.05) == found.is_drifting


def test_no_rows_are_no_drift() -> None:
    found = tolerance_test([5, 5], [0, 0], 0.02, 0.05)
    assert float(found.value) == 0
    assert float(found.p_value) == 1
    assert not bool(found.is_drifting)


@pytest.mark.parametrize("counts", [[1, -1], [1, np.nan], [1, np.inf]])
def test_impossible_counts_are_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError):
        psi([1, 1], counts)


def test_one_bin_is_no_histogram() -> None:
    with pytest.raises(ValueError, match="two bins"):
        tolerance_test([5], [5], 0.02, 0.05)


def test_two_sample_chi_square() -> None:
    found = two_sample_chi_square([[30, 70, 0], [10, 0, 0]], [[50, 50, 0], [5, 0, 0]])
    assert found.statistic[0] == pytest.approx(100 / 12)
    assert found.degrees.tolist() == [1, 0]
    assert found.p_value[0] == pytest.approx(0.00389, rel=0.01)
    assert found.p_value[1] == 1
    assert two_sample_chi_square([1, 2], [0, 0]).p_value == 1


def test_two_sample_chi_square_keeps_its_size_where_the_one_sample_form_does_not() -> None:
    draws = np.random.default_rng(4)
    a, b = (draws.multinomial(500, even(10), DRAWS) for _ in range(2))
    assert 0.04 <= (two_sample_chi_square(a, b).p_value < 0.05).mean() <= 0.062


histograms = arrays(np.int64, 6, elements=st.integers(0, 10_000))


@given(histograms, histograms)
@settings(max_examples=60)
def test_psi_is_symmetric_and_zero_for_equals(p: np.ndarray, q: np.ndarray) -> None:
    assert psi(p, q) == pytest.approx(float(psi(q, p)), abs=1e-9)
    assert psi(p, p) == pytest.approx(0, abs=1e-7)
    assert psi(p, q) >= 0


@pytest.mark.parametrize("degrees", [1, 9, 19])
@pytest.mark.parametrize("noncentrality", [0.0, 0.5, 10.0, 60.0, 500.0])
def test_the_tail_is_exact_far_beyond_rounding(degrees: int, noncentrality: float) -> None:
    statistic = np.array([1.0, 20.0, 60.0, 100.0, 300.0, 700.0])
    wanted = (
        ncx2.sf(statistic, degrees, noncentrality) if noncentrality else chi2.sf(statistic, degrees)
    )
    found = upper_tail(statistic, degrees, noncentrality)
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-300)
    assert (np.diff(found) <= 0).all()


def test_features_with_and_without_rows_of_their_own_are_tested_alike() -> None:
    rng = np.random.default_rng(3)
    baseline = np.full((6, 10), 500.0)
    current = np.array([rng.multinomial(n, [0.1] * 10) for n in (900, 900, 450, 900, 450, 0)])
    together = tolerance_test(baseline, current, 0.02, 0.001)
    for place in range(6):
        alone = tolerance_test(baseline[place], current[place], 0.02, 0.001)
        assert alone.threshold == together.threshold[place]
        assert alone.p_value == pytest.approx(together.p_value[place])


def test_a_far_feature_is_told_from_a_farther_one() -> None:
    baseline = np.full((2, 10), 1000.0)
    current = np.array([[150.0] * 5 + [50.0] * 5, [170.0] * 5 + [30.0] * 5])
    test = tolerance_test(baseline, current, 0.02, 0.001)
    assert 0 < test.p_value[1] < test.p_value[0] < 1e-12
