"""What a tolerance test can see, against the test itself on drawn histograms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from trimtab.stats.distance import needed_rows, psi, tolerance_test
from trimtab.stats.visible import noise, smallest_shift


def test_without_tolerance_it_is_what_needed_rows_asks_for() -> None:
    for shift in (0.02, 0.05, 0.1):
        rows = needed_rows(shift, 10, 0.05)
        assert smallest_shift(rows, math.inf, 10, 0.0, 0.05) == pytest.approx(shift, rel=0.01)


def test_nothing_below_the_tolerance_is_ever_seen() -> None:
    assert smallest_shift(math.inf, math.inf, 10, 0.02, 0.01) == 0.02
    found = [smallest_shift(n, 10_000, 10, 0.02, 0.01) for n in (100, 1000, 10_000, math.inf)]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0.02


def test_the_two_laws_meet() -> None:
    rows = 1 / (0.02 / 1000)
    below = smallest_shift(rows * 0.999, math.inf, 10, 0.02, 0.01)
    above = smallest_shift(rows * 1.001, math.inf, 10, 0.02, 0.01)
    assert above == pytest.approx(below, rel=0.02)


def test_a_shift_of_this_size_is_found_nine_times_in_ten() -> None:
    rng = np.random.default_rng(3)
    rows, reference, bins = 3000, 20_000, 10
    wanted = smallest_shift(rows, reference, bins, 0.01, 0.01)
    equal = np.full(bins, 1 / bins)
    tilt = np.linspace(-1, 1, bins) / bins

    def shifted(size: float) -> NDArray[np.float64]:
        return equal + size * tilt

    sizes = np.linspace(0.01, 0.9, 400)
    size = min(sizes, key=lambda s: abs(float(psi(equal * 1e9, shifted(s) * 1e9)) - wanted))
    base = rng.multinomial(reference, equal, 400)
    current = rng.multinomial(rows, shifted(size), 400)
    found = tolerance_test(base, current, 0.01, 0.01).is_drifting
    assert 0.85 <= found.mean() <= 0.95


def test_noise_is_the_mean_without_a_shift() -> None:
    rng = np.random.default_rng(4)
    equal = np.full(10, 0.1)
    drawn = [
        float(psi(rng.multinomial(5000, equal), rng.multinomial(1000, equal))) for _ in range(300)
    ]
    assert np.mean(drawn) == pytest.approx(noise(1000, 5000, 10), rel=0.1)
