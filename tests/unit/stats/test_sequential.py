"""The sequential gate reproduces its figures, and keeps its promises at the edges."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import (
    _most_likely_boundary,
    failure_threshold,
    gate_evidence,
    informed_evidence,
    limit_evidence,
    overdispersion,
    smallest_detectable_share,
)

ALPHA = 0.01


def median_requests_to_fail(
    p_candidate: float, p_stable: float, margin: float, look: int, runs: int
) -> float:
    """Median candidate requests until evidence reaches 1/alpha; stable has four times as many."""
    draws = np.random.default_rng(7)
    needed = []
    for _ in range(runs):
        bad_candidate = bad_stable = requests = 0
        while True:
            requests += look
            bad_candidate += draws.binomial(look, p_candidate)
            bad_stable += draws.binomial(4 * look, p_stable)
            candidate = BadTotal(bad_candidate, requests)
            stable = BadTotal(bad_stable, 4 * requests)
            if gate_evidence(candidate, stable, margin) >= 1 / ALPHA:
                break
        needed.append(requests)
    return float(np.median(needed))


@pytest.mark.parametrize(
    ("shares", "margin", "look", "low", "high"),
    [
        pytest.param((1.0, 0.001), 0.01, 1, 4, 4, id="fails_every_request"),
        pytest.param((0.2, 0.001), 0.01, 10, 30, 50, id="fails_a_fifth"),
        pytest.param((0.05, 0.001), 0.01, 10, 260, 400, id="fails_one_in_twenty"),
        pytest.param((0.05, 0.01), 0.01, 10, 680, 1030, id="five_percent_against_one"),
        pytest.param((0.02, 0.01), 0.0, 10, 3400, 5300, id="two_percent_against_one"),
    ],
)
def test_median_requests_to_fail(
    shares: tuple[float, float], margin: float, look: int, low: float, high: float
) -> None:
    runs = 25 if margin == 0 else 40
    median = median_requests_to_fail(*shares, margin, look, runs)
    assert low <= median <= high


@pytest.mark.parametrize(
    ("stable_requests", "evidence"), [(4, 17.7), (12, 304), (16, 696)], ids=["1:1", "3:1", "4:1"]
)
def test_four_failures_in_a_row(stable_requests: int, evidence: float) -> None:
    found = gate_evidence(BadTotal(4, 4), BadTotal(0, stable_requests), 0.01)
    assert found == pytest.approx(evidence, rel=0.01)


@pytest.mark.parametrize(
    ("p_candidate", "margin", "allowed"),
    [(0.01, 0.01, 0), (0.02, 0.01, 1)],
    ids=["no_change", "boundary_of_the_null"],
)
def test_healthy_candidate_is_not_failed(p_candidate: float, margin: float, allowed: int) -> None:
    draws = np.random.default_rng(3)
    failed = 0
    for _ in range(40):
        bad = np.cumsum(draws.binomial(10, p_candidate, 360))
        control = np.cumsum(draws.binomial(40, 0.01, 360))
        # Evidence is looked at every fourth time: enough to see a wrong threshold, and four times
        # faster.
        failed += any(
            gate_evidence(
                BadTotal(float(bad[k]), 10.0 * (k + 1)),
                BadTotal(float(control[k]), 40.0 * (k + 1)),
                margin,
            )
            >= 1 / ALPHA
            for k in range(0, 360, 4)
        )
    assert failed <= allowed


def test_pooling_over_steps_condemns_a_healthy_candidate() -> None:
    """Why each step is a test of its own: stable's quiet hours are no control for a busy one."""
    candidate, stable_step = BadTotal(60, 600), BadTotal(60, 600)
    assert gate_evidence(candidate, BadTotal(0, 2400) + stable_step, 0.01) > 1e5
    assert gate_evidence(candidate, stable_step, 0.01) == 1


def test_threshold_is_a_union_bound_over_gates_and_steps() -> None:
    assert failure_threshold(0.99, gates=3, steps=2) == pytest.approx(600)


def test_limit_is_one_sided() -> None:
    assert limit_evidence(BadTotal(1, 100), 0.05) == 1
    assert limit_evidence(BadTotal(40, 100), 0.05) > 1e6
    assert limit_evidence(BadTotal(1, 100), 0.0) > 1e200
    assert limit_evidence(BadTotal(100, 100), 1.0) == 1


def test_smallest_detectable_share_is_the_turning_point() -> None:
    stable = BadTotal(1, 480)
    share = smallest_detectable_share(120, stable, 0.01, 600)
    assert share is not None
    bad = round(share * 120)
    assert gate_evidence(BadTotal(bad, 120), stable, 0.01) >= 600
    assert gate_evidence(BadTotal(bad - 1, 120), stable, 0.01) < 600
    assert smallest_detectable_share(2, stable, 0.01, 600) is None
    assert smallest_detectable_share(0, stable, 0.01, 600) is None


def test_overdispersion_of_bursts_and_of_independent_requests() -> None:
    draws = np.random.default_rng(5)
    independent = [BadTotal(float(bad), 200.0) for bad in draws.binomial(200, 0.1, 200)]
    bursts = [BadTotal(float(10 * bad), 200.0) for bad in draws.binomial(20, 0.1, 200)]
    assert overdispersion(independent) == pytest.approx(1, abs=0.25)
    assert overdispersion(bursts) == pytest.approx(10, rel=0.3)
    assert overdispersion([]) == overdispersion([BadTotal(1, 2)]) == 1
    assert overdispersion([BadTotal(0, 10)] * 5) == overdispersion([BadTotal(10, 10)] * 5) == 1


def test_overdispersion_weakens_evidence() -> None:
    candidate, stable = BadTotal(30, 100), BadTotal(5, 400)
    assert gate_evidence(candidate, stable, 0.01, 3.0) < gate_evidence(candidate, stable, 0.01)


@pytest.mark.parametrize("margin", [-0.1, 1.0])
def test_margin_outside_its_range_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        gate_evidence(BadTotal(1, 4), BadTotal(1, 4), margin)


def test_huge_counts_stay_finite() -> None:
    worse = gate_evidence(BadTotal(2e11, 1e12), BadTotal(1e11, 1e12), 0.01)
    assert math.isfinite(worse)
    assert worse > 1e200


counts = st.integers(0, 100_000).flatmap(
    lambda total: st.integers(0, total).map(lambda bad: BadTotal(float(bad), float(total)))
)


REGRET = 2 / math.e
"""What the mixture may lose by one bad request more: where the last good one is gone, of many."""


@given(candidate=counts, stable=counts, margin=st.floats(0, 0.9))
@example(candidate=BadTotal(42, 43), stable=BadTotal(0, 3), margin=0.25)
@example(candidate=BadTotal(999, 1000), stable=BadTotal(0, 10), margin=0.25)
@settings(max_examples=150, deadline=None)
def test_evidence_is_finite_and_hardly_falls_with_bad(
    candidate: BadTotal, stable: BadTotal, margin: float
) -> None:
    """The likelihood ratio grows with bad requests; the mixture explains extreme shares less well.

    At 999 and 1000 bad of 1000 beside 0 of 10, evidence is that stable contradicts 75 %.
    """
    evidence = gate_evidence(candidate, stable, margin)
    assert math.isfinite(evidence)
    assert evidence >= 0
    if candidate.good >= 1 and evidence > 1:
        worse = BadTotal(candidate.bad + 1, candidate.total)
        assert gate_evidence(worse, stable, margin) >= evidence * REGRET * (1 - 1e-6)


@given(candidate=counts, stable=counts, margin=st.floats(0.001, 0.5))
@settings(max_examples=100, deadline=None)
def test_boundary_is_the_smallest_product(
    candidate: BadTotal, stable: BadTotal, margin: float
) -> None:
    """No point of the null explains the counts better than the one that was found."""
    if candidate.share <= stable.share + margin:
        return
    evidence = gate_evidence(candidate, stable, margin)
    for p in np.linspace(0, 1 - margin, 37):
        product = limit_product(candidate, float(p) + margin) + limit_product(stable, float(p))
        assert math.log(evidence) <= product + 1e-6 * max(1.0, abs(product)) + 1e-9


def limit_product(counts: BadTotal, p: float) -> float:
    """log m(p), written out with lgamma."""
    p = min(p, 1.0)
    if (counts.bad and p == 0) or (counts.good and p == 1):
        return math.inf
    likelihood = (counts.bad * math.log(p) if counts.bad else 0.0) + (
        counts.good * math.log1p(-p) if counts.good else 0.0
    )
    mixture = (
        math.lgamma(0.5 + counts.bad)
        + math.lgamma(0.5 + counts.good)
        - math.lgamma(1 + counts.total)
        - math.log(math.pi)
    )
    return mixture - likelihood


EXTREME = [
    ((123456.7, 123456.7), (12.34567, 123456.7), 0.99),
    ((2.5, 2.5), (0.00025, 2.5), 0.99),
    ((9e11, 1e12), (2.49975, 2.5), 0.5),
    ((1.0, 1.0), (0.0, 6.0), 0.005),
    ((1e-9, 1.0), (1.0, 1e9), 0.001),
]


@pytest.mark.parametrize(("candidate", "stable", "margin"), EXTREME)
def test_the_boundary_is_the_most_likely_one_of_extreme_counts_too(
    candidate: tuple[float, float], stable: tuple[float, float], margin: float
) -> None:
    ours, theirs = BadTotal(*candidate), BadTotal(*stable)
    found = _most_likely_boundary(ours, theirs, margin)
    shares = np.linspace(0, 1 - margin, 2_000_001)[1:-1]

    def log_likelihood(p: Any) -> Any:
        q = p + margin
        ours_log = ours.bad * np.log(q) + ours.good * np.log1p(-q)
        return ours_log + theirs.bad * np.log(p) + theirs.good * np.log1p(-p)

    best = shares[int(np.argmax(log_likelihood(shares)))]
    assert found == pytest.approx(best, abs=2e-6)


SHOWN = BadTotal(36.0, 3600.0)
SHARES = (0.02, 0.0225, 0.027, 0.036, 0.054)


def looks_until(informed: bool, p_candidate: float, p_stable: float, seed: int) -> int | None:
    """Return the look at which a version beside a pod with a quarter of its requests fails."""
    draws = np.random.default_rng(seed)
    ours = theirs = BadTotal(0.0, 0.0)
    for look in range(60):
        ours += BadTotal(float(draws.binomial(240, p_candidate)), 240.0)
        theirs += BadTotal(float(draws.binomial(60, p_stable)), 60.0)
        evidence = (
            informed_evidence(ours, theirs, 0.005, SHOWN, SHARES)
            if informed
            else gate_evidence(ours, theirs, 0.005)
        )
        if evidence >= 1 / ALPHA:
            return look
    return None


def test_what_is_expected_is_found_sooner() -> None:
    informed, any_of_both = (
        sorted(looks_until(how, 0.035, 0.01, seed) or 60 for seed in range(60))
        for how in (True, False)
    )
    assert informed[30] <= 17
    assert any_of_both[30] >= 1.5 * informed[30]


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_what_is_expected_condemns_nobody_that_is_no_worse(share: float) -> None:
    """Whatever both show."""
    found = [looks_until(True, share + 0.005, share, seed) for seed in range(300)]
    assert sum(look is not None for look in found) <= 6


def test_evidence_of_what_is_expected_is_one_below_the_margin_and_finite() -> None:
    assert informed_evidence(BadTotal(1, 100), BadTotal(1, 100), 0.0, SHOWN, SHARES) == 1.0
    huge = BadTotal(1e12, 2e12)
    assert math.isfinite(informed_evidence(huge, BadTotal(0, 1e12), 0.01, SHOWN, SHARES))
