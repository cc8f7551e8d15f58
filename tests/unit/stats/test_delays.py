"""Bad ones that show late are no change, whenever the traffic they are of was busier."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from trimtab.stats.change import DetectorState, update
from trimtab.stats.counts import BadTotal
from trimtab.stats.delays import least_evidence

BUSY = [300.0 if span % 40 < 5 else 100.0 for span in range(200)]


def bad(delay: int, share: float) -> list[float]:
    """What was before the first span had the same rhythm."""
    return [share * BUSY[span - delay] for span in range(len(BUSY))]


def test_without_a_delay_it_is_the_detector() -> None:
    draws = np.random.default_rng(5)
    state, wrong = DetectorState(), [float(n) for n in draws.binomial(100, 0.08, 30)]
    for one in wrong:
        state = update(state, BadTotal(one, 100.0), 15.0, 0.06, 1e9, 1.5)
    found = least_evidence(wrong, [100.0] * 30, 0, 0.06, 1.5)
    assert found == pytest.approx(math.log(state.evidence))


@pytest.mark.parametrize("delay", [0, 1, 7, 20, 33, 40])
def test_no_delay_is_evidence_and_a_change_is_with_each(delay: int) -> None:
    earlier = sum(BUSY[len(BUSY) - delay :])

    def most(share: float, ends: Iterable[int]) -> float:
        wrong = bad(delay, share)
        each = (least_evidence(wrong[:n], BUSY[:n], 60, 0.06, earlier=earlier) for n in ends)
        return max(each)

    assert most(0.05, range(1, 200)) < 3
    assert most(0.1, range(120, 200)) > 20


def test_a_delay_longer_than_asked_about_is_evidence() -> None:
    short = max(least_evidence(bad(20, 0.05)[:n], BUSY[:n], 5, 0.06) for n in range(1, 200))
    assert short > 20


def test_the_last_span_may_have_only_begun() -> None:
    wrong, came = [10.0] * 9 + [1.0], [100.0] * 9 + [10.0]
    early = least_evidence(wrong, came, 4, 0.06, earlier=400.0)
    assert least_evidence(wrong, came, 4, 0.06, last=0.1, earlier=400.0) > early


def test_what_came_before_the_first_span_explains_so_much_only() -> None:
    wrong, came = [10.0] * 10, [100.0] * 10
    least = [least_evidence(wrong, came, 10, 0.06, earlier=one) for one in (0.0, 1200.0, 2000.0)]
    assert least == sorted(least, reverse=True)
    assert least[0] == pytest.approx(least_evidence(wrong, came, 0, 0.06))
    assert least[2] < 1


def test_where_nothing_can_be_worse_or_nothing_may_be_bad() -> None:
    assert least_evidence([9.0], [10.0], 1, 0.99) == -math.inf
    assert least_evidence([1.0], [10.0], 1, 0.0) == math.inf
