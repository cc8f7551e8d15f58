"""Counts add up in any order; resets are never missed and never invented."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats.counts import (
    BadTotal,
    Reading,
    increments,
    merged,
)

counters = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 10**9).map(float))


def pair(bad: float, total: float) -> BadTotal:
    return BadTotal(bad, total)


@pytest.mark.parametrize(("bad", "total"), [(2, 1), (-1, 1), (math.nan, 1), (0, math.inf)], ids=str)
def test_impossible_pairs_are_refused(bad: float, total: float) -> None:
    with pytest.raises(ValueError):
        BadTotal(bad, total)


def test_arithmetic() -> None:
    assert pair(1, 4) + pair(2, 6) == pair(3, 10)
    assert pair(3, 10) - pair(1, 4) == pair(2, 6)
    assert pair(3, 12).divided(3) == pair(1, 4)
    assert pair(0, 0).share == 0
    assert pair(1, 4).share == 0.25
    with pytest.raises(ValueError):
        pair(1, 4).divided(0.5)


@given(counters, counters, counters)
def test_merge_is_associative_and_commutative(
    a: dict[str, float], b: dict[str, float], c: dict[str, float]
) -> None:
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@given(st.lists(counters, min_size=1, max_size=8))
def test_increments_of_one_life_add_up_to_the_last_reading(steps: list[dict[str, float]]) -> None:
    total: dict[str, float] = {}
    summed: dict[str, float] = {}
    before: Reading[str] | None = None
    for step in steps:
        total = merged(total, step)
        now = Reading(dict(total), process_start=100.0)
        summed = merged(summed, increments(before, now).by_counter)
        before = now
    assert summed == {key: value for key, value in total.items() if value > 0}


def test_a_restart_counts_everything_even_if_it_overtook_the_old_value() -> None:
    found = increments(Reading({"a": 5.0}, 100.0), Reading({"a": 7.0}, 160.0))
    assert (found.by_counter, found.reset, found.fell) == ({"a": 7.0}, True, ())


def test_a_fall_without_restart_is_reported_not_counted() -> None:
    found = increments(Reading({"a": 5.0, "b": 1.0}, 100.0), Reading({"a": 3.0, "b": 2.0}, 100.1))
    assert (found.by_counter, found.reset, found.fell) == ({"b": 1.0}, False, ("a",))


def test_without_start_times_a_fall_is_a_reset_of_that_counter() -> None:
    found = increments(Reading({"a": 5.0, "b": 5.0}), Reading({"a": 3.0, "b": 0.0}))
    assert (found.by_counter, found.fell) == ({"a": 3.0}, ())
