"""Holm rejects at least what Bonferroni does, and never by the order of its input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats.holm import holm_adjusted, holm_rejects

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_steps_down() -> None:
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert holm_rejects([0.01, 0.04, 0.03, 0.005], 0.05).tolist() == [True, False, False, True]


def test_nothing_to_test() -> None:
    assert holm_rejects([], 0.05).tolist() == []


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_impossible_p_values_are_refused(bad: float) -> None:
    with pytest.raises(ValueError):
        holm_adjusted([0.5, bad])


@given(p_values)
def test_order_does_not_matter_and_bonferroni_is_weaker(values: list[float]) -> None:
    adjusted = holm_adjusted(values)
    assert np.all(adjusted <= np.minimum(1, np.array(values) * len(values)) + 1e-12)
    order = np.random.default_rng(len(values)).permutation(len(values))
    assert np.allclose(holm_adjusted(np.array(values)[order]), adjusted[order])
