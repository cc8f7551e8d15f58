"""What comparing costs stays within its share, at every moment and whatever calls come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.serving.comparing.budget import Budget, Costs


def known(*costs: tuple[int, float]) -> Costs:
    found = Costs()
    for rows, seconds in costs:
        found.add(rows, seconds)
    return found


@given(
    st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    st.lists(
        st.tuples(st.integers(1, 1024), st.floats(1e-5, 0.1), st.floats(1e-5, 0.2)), max_size=200
    ),
)
def test_never_more_than_the_share_but_for_one_that_took_longer_than_expected(
    share: float, calls: list[tuple[int, float, float]]
) -> None:
    budget = Budget(share, known((1, 1e-4), (64, 1e-3)))
    predicting = comparing = last = 0.0
    for rows, own, other in calls:
        budget.earn(rows, own)
        predicting += own
        if budget.allows(rows, 10.0):
            budget.spend(rows, other)
            comparing += other
            last = max(last, other)
        assert comparing <= share * predicting + last + 1e-9


def test_equal_models_are_compared_in_their_share_of_calls() -> None:
    budget = Budget(0.1, known((1, 0.001)))
    compared = 0
    for _ in range(10_000):
        budget.earn(1, 0.001)
        if budget.allows(1, 1.0):
            budget.spend(1, 0.001)
            compared += 1
    assert compared == pytest.approx(1000, rel=0.02)


def test_after_a_quiet_time_there_is_no_burst() -> None:
    """One compared call in ten; what was saved lets two in ten through, and not for long."""
    budget = Budget(0.1, known((1, 0.001), (1000, 0.1)))
    for _ in range(100_000):
        budget.earn(1, 0.001)
    longest = run = compared = 0
    for _ in range(30):
        budget.earn(1, 0.001)
        if budget.allows(1, 1.0):
            budget.spend(1, 0.001)
            compared += 1
            run += 1
            longest = max(longest, run)
        else:
            run = 0
    assert longest == 1
    assert compared <= 7


def test_a_large_call_is_saved_for() -> None:
    """Small calls do not take for themselves what large ones need: both are compared."""
    budget = Budget(0.1, known((1, 0.0001), (1000, 0.1)))
    drawn = random.Random(1)
    seen = {1: [0, 0], 1000: [0, 0]}
    for _ in range(20_000):
        rows = 1000 if drawn.random() < 0.05 else 1
        seconds = 0.1 if rows == 1000 else 0.0001
        budget.earn(rows, seconds)
        seen[rows][0] += 1
        if budget.allows(rows, 1.0):
            budget.spend(rows, seconds)
            seen[rows][1] += 1
    assert all(compared > 0.03 * calls for calls, compared in seen.values())


def test_too_long_a_call_is_not_compared_but_its_cost_is_not_believed_forever() -> None:
    budget = Budget(1.0, known((1, 0.6)))
    tried = 0
    while not budget.allows(1, 0.5):
        budget.earn(1, 10.0)
        tried += 1
        assert tried < 1000
    assert tried > 100


def test_one_slow_answer_is_believed_in_part() -> None:
    costs = known((1, 0.001), (1, 100.0))
    assert costs.expected(1) < 0.002
    assert costs.expected(1024) > costs.expected(1)
    assert known((64, 0.5)).expected(1) == 0.5
    assert Costs().expected(5) == 0
