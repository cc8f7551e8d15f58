"""Limits stretch with the machine, and end on any machine."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from tests import patience


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be moved on; the work takes as long as the second entry says."""
    state = [1000.0, 0.02]
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: state[0]))
    monkeypatch.setattr(patience, "_work", lambda: (state[1], 0.02))
    monkeypatch.setattr(patience, "_measured", deque())
    return state


@pytest.mark.parametrize(
    ("seconds", "processor_seconds", "expected"),
    [
        pytest.param(0.02, 0.02, 1, id="free"),
        pytest.param(0.01, 0.02, 1, id="never_below_one"),
        pytest.param(0.08, 0.02, 4, id="shared_with_others"),
        pytest.param(0.12, 0.12, 4, id="slow_by_itself"),
        pytest.param(9.0, 0.02, patience.MOST, id="bounded"),
        pytest.param(0.0, 0.0, 1, id="a_clock_that_is_too_coarse"),
    ],
)
def test_slowness(seconds: float, processor_seconds: float, expected: float) -> None:
    assert patience.slowness_of(seconds, processor_seconds) == pytest.approx(expected)


def test_a_limit_counts_the_seconds_of_a_free_machine(clock: list[float]) -> None:
    limit = patience.Limit(10)
    clock[0] += 6
    assert not limit.is_over()
    clock[0], clock[1] = clock[0] + 12, 0.08
    assert not limit.is_over()
    clock[0] += 8
    assert limit.is_over()


def test_a_limit_that_is_asked_at_the_end_counts_what_others_measured(clock: list[float]) -> None:
    limit = patience.Limit(10)
    clock[1] = 0.08
    for _ in range(20):
        clock[0] += 1.5
        patience.slowness()
    clock[1] = 0.02
    clock[0] += 1.5
    assert not limit.is_over()


def test_a_limit_ends_on_any_machine(clock: list[float]) -> None:
    clock[1] = 100.0
    limit = patience.Limit(10)
    clock[0] += 10 * patience.MOST + 1
    assert limit.is_over()


def test_the_worst_of_late_counts_for_what_is_over(clock: list[float]) -> None:
    clock[1] = 0.06
    assert patience.stretched(2) == pytest.approx(6)
    clock[0], clock[1] = clock[0] + 5, 0.02
    assert patience.stretched(2) == pytest.approx(2)
    assert patience.slowest(10) == pytest.approx(3)
    assert patience.slowest(4) == pytest.approx(1)
