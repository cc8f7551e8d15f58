"""The change detector finds lifts at the stated delays and is silent without one."""

import json
import math

import numpy as np
import pytest

from trimtab.stats.change import (
    DetectorState,
    guard_run_length,
    reference_upper_bound,
    update,
)
from trimtab.stats.counts import NOTHING, BadTotal

ARL = 4800.0


def delays(share: float, runs: int, quiet: int = 10_000, limit: int = 20_000) -> list[float]:
    """Requests from the change (after `quiet` requests at 10 %) to the alarm; inf if never."""
    draws = np.random.default_rng(11)
    found = []
    for _ in range(runs):
        state, requests = DetectorState(), 0
        while requests < limit and not state.is_alarm:
            p = 0.1 if requests < quiet else share
            requests += 150
            batch = BadTotal(float(draws.binomial(150, p)), 150.0)
            state = update(state, batch, 10.0, 0.1, ARL)
        found.append(float(requests - quiet) if state.is_alarm else math.inf)
    return found


def test_silent_without_a_change() -> None:
    assert sum(math.isfinite(delay) for delay in delays(0.1, runs=60)) <= 2


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [(0.12, 2000, 4200), (0.15, 350, 950), (0.2, 200, 350), (0.3, 50, 200)],
)
def test_median_delay(share: float, low: float, high: float) -> None:
    found = [delay for delay in delays(share, runs=40) if delay > 0]
    assert all(math.isfinite(delay) for delay in found)
    assert low <= np.median(found) <= high


def test_empty_looks_are_skipped() -> None:
    state = DetectorState()
    for _ in range(20):
        state = update(state, NOTHING, 60.0, 0.1, arl=5.0)
    assert state.looks == 0
    assert not state.is_alarm


def test_few_requests_wait_for_fifty_or_a_minute() -> None:
    state = update(DetectorState(), BadTotal(1, 30), 5.0, 0.1, ARL)
    assert (state.looks, state.pending) == (0, BadTotal(1, 30))
    by_count = update(state, BadTotal(1, 20), 5.0, 0.1, ARL)
    assert (by_count.looks, by_count.pending) == (1, NOTHING)
    by_time = update(state, NOTHING, 55.0, 0.1, ARL)
    assert (by_time.looks, by_time.pending) == (1, NOTHING)


def test_nothing_is_worse_than_a_reference_that_always_fails() -> None:
    state = DetectorState()
    for _ in range(100):
        state = update(state, BadTotal(150, 150), 10.0, 1.0, arl=10.0)
    assert not state.is_alarm


def test_one_bad_request_is_conclusive_against_zero() -> None:
    state = update(DetectorState(), BadTotal(0, 100), 10.0, 0.0, ARL)
    assert not state.is_alarm
    assert update(state, BadTotal(1, 100), 10.0, 0.0, ARL).is_alarm


def test_evidence_stays_finite() -> None:
    state = DetectorState()
    for _ in range(50):
        state = update(state, BadTotal(1e6, 1e6), 10.0, 0.01, ARL)
    assert math.isfinite(state.evidence)
    assert state.is_alarm


def test_state_survives_json() -> None:
    fresh = DetectorState()
    assert DetectorState.from_dict(json.loads(json.dumps(fresh.to_dict()))) == fresh
    state = update(fresh, BadTotal(20, 60), 3.0, 0.1, ARL)
    state = update(state, BadTotal(2, 6), 3.0, 0.1, ARL)
    assert DetectorState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_state_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="evidences"):
        DetectorState.from_dict(DetectorState().to_dict() | {"evidences": [1.0]})


def test_reference_is_an_upper_bound_plus_margin() -> None:
    bound = reference_upper_bound(BadTotal(100, 1000), 0.01)
    assert 0.1 + 0.01 < bound < 0.13
    assert reference_upper_bound(NOTHING, 0.01) == 1
    assert reference_upper_bound(BadTotal(5, 5), 0.01) == 1
    assert reference_upper_bound(BadTotal(0, 1000), 0.0) == pytest.approx(0.003, rel=0.01)


def test_guard_run_length() -> None:
    assert guard_run_length(3600, 10, gates=2, confidence=0.99) == pytest.approx(72_000)
    assert guard_run_length(None, 60, gates=1, confidence=0.99) == pytest.approx(525_600)
