"""How much pods differ, and evidence that allows for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln, logsumexp

from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import gate_evidence, limit_evidence
from trimtab.stats.spread import (
    BlockSums,
    Cells,
    block_sums,
    clustered_evidence,
    clustered_limit_evidence,
    spread_of,
)


def blocks(draws: np.random.Generator, correlated: float, count: int = 120) -> BlockSums:
    """Blocks of three pods with 100 requests each, 2 % bad, beta-binomial."""
    strength = (1 - correlated) / correlated if correlated else 0.0
    found = BlockSums()
    for _ in range(count):
        shares = draws.beta(0.02 * strength, 0.98 * strength, 3) if strength else [0.02] * 3
        found += block_sums([BadTotal(float(draws.binomial(100, s)), 100.0) for s in shares])
    return found


def test_a_block_by_hand() -> None:
    block = block_sums([BadTotal(1, 10), BadTotal(3, 10), BadTotal(0, 0)])
    assert (block.freedom, block.pods, block.bad, block.total) == (1, 2, 4, 20)
    assert block.chi == pytest.approx(2 * 1 / (10 * 0.2 * 0.8))
    assert block_sums([BadTotal(0, 10), BadTotal(0, 10)]).freedom == 0


def test_independent_requests_show_no_spread() -> None:
    draws = np.random.default_rng(1)
    shown = sum(spread_of(blocks(draws, 0.0)) is not None for _ in range(100))
    assert shown <= 5


def test_the_correlation_is_found() -> None:
    draws = np.random.default_rng(2)
    spread = spread_of(blocks(draws, 0.05, 400))
    assert spread is not None
    assert spread.correlation == pytest.approx(0.05, rel=0.35)
    assert spread.inflation == pytest.approx(1 + 99 * spread.correlation)


def test_what_hits_all_pods_at_once_is_no_spread() -> None:
    draws = np.random.default_rng(3)
    found = [
        block_sums([BadTotal(float(draws.binomial(100, share)), 100.0) for _ in range(3)])
        for share in draws.choice([0.001, 0.9], 120)
    ]
    assert spread_of(sum(found, start=BlockSums())) is None


def test_a_single_pod_is_compared_with_itself_over_time() -> None:
    draws = np.random.default_rng(4)
    shares = draws.beta(0.02 * 19, 0.98 * 19, 200)
    one = [block_sums([BadTotal(float(draws.binomial(100, share)), 100.0)]) for share in shares]
    spread = spread_of(sum(one, start=BlockSums()))
    assert spread is not None
    assert spread.correlation > 0.01


def test_over_time_is_what_the_blocks_as_pods_of_one_block_are() -> None:
    counts = [BadTotal(1, 10), BadTotal(5, 30), BadTotal(0, 20)]
    over_time = sum((block_sums([count]) for count in counts), start=BlockSums()).over_time()
    at_once = block_sums(counts)
    for name in ("chi", "freedom", "around", "expected", "bad", "total", "pods"):
        assert getattr(over_time, name) == pytest.approx(getattr(at_once, name))


def test_too_little_says_nothing() -> None:
    assert spread_of(BlockSums()) is None
    assert spread_of(block_sums([BadTotal(0, 50), BadTotal(3, 50)])) is None
    assert spread_of(block_sums([BadTotal(30, 50)])) is None


def cells(*counts: tuple[float, float]) -> Cells:
    return Cells.of({count: counts.count(count) for count in counts})


@pytest.mark.parametrize("expected", [0.0, 1e-300])
def test_sums_of_a_checkpoint_that_no_blocks_have_raise_nothing(expected: float) -> None:
    sums = BlockSums(9e9, 9, 1e100, expected, 50, 900, 10, 1)
    assert spread_of(sums) is None


@pytest.mark.parametrize("huge", [2.0**53, 1e50, 1e100])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_pod_with_far_more_than_all_others_raises_nothing(huge: float, share: float) -> None:
    block = block_sums([BadTotal(huge * share, huge), BadTotal(3, 300), BadTotal(40, 300)])
    of_time = [block_sums([BadTotal(huge * share, huge)])]
    of_time += [block_sums([BadTotal(bad, 50)]) for bad in (0, 20, 0, 30, 0, 9)]
    for sums in (block, sum(of_time, start=BlockSums())):
        found = spread_of(sums)
        assert found is None or 1 < found.inflation < np.inf


def test_what_is_good_goes_where_there_is_the_least() -> None:
    some = cells((3, 10), (0, 4), (0, 4), (5, 40))
    more = some.with_good(1 + 15 / 58)  # of 58: all three are raised to 11
    assert sorted(zip(more.total, more.bad, more.times, strict=True)) == [
        (pytest.approx(11), 0, 2),
        (pytest.approx(11), 3, 1),
        (40, 5, 1),
    ]
    assert cells((1, 4), (2, 8)).with_good(4).total == pytest.approx([24, 24])
    assert some.with_good(1.0) is some
    assert Cells.of({}).with_good(2.0).total.size == 0


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_almost_no_correlation_is_the_independent_test(margin: float) -> None:
    ours, theirs = BadTotal(12, 100), BadTotal(3, 300)
    clustered = clustered_evidence(cells((12, 100)), cells((3, 300)), margin, 1e-6)
    assert clustered == pytest.approx(gate_evidence(ours, theirs, margin), rel=0.03)
    limit = clustered_limit_evidence(cells((12, 100)), 0.02, 1e-6)
    assert limit == pytest.approx(limit_evidence(ours, 0.02), rel=0.03)


def test_the_likelihood_is_the_beta_binomial() -> None:
    share, correlated = 0.1, 0.2
    a, b = share * 4, (1 - share) * 4
    expected = 2 * (betaln(3 + a, 7 + b) - betaln(a, b)) + betaln(a, 5 + b) - betaln(a, b)
    found = cells((3, 10), (3, 10), (0, 5)).log_likelihoods(np.array([share]), correlated)[0]
    assert found == pytest.approx([expected])
    everything = [
        cells((float(bad), 6.0)).log_likelihoods(np.array([share]), correlated)[0, 0]
        + float(-betaln(bad + 1, 7 - bad) - np.log(7))
        for bad in range(7)
    ]
    assert logsumexp(everything) == pytest.approx(0.0, abs=1e-9)


def test_clusters_weigh_less() -> None:
    loose = clustered_evidence(cells((60, 100)), cells((3, 300)), 0.01, 0.001)
    tight = clustered_evidence(cells((60, 100)), cells((3, 300)), 0.01, 0.05)
    assert 1 < tight < loose


def test_no_more_than_allowed_is_no_evidence() -> None:
    assert clustered_evidence(cells((2, 100)), cells((3, 300)), 0.01, 0.1) == 1.0
    assert clustered_limit_evidence(cells((2, 100)), 0.02, 0.1) == 1.0


USUAL = BadTotal(9.0, 900.0)
"""What stable showed before: 1 %, of 900 independent requests."""


def test_what_stable_showed_before_says_where_its_share_is() -> None:
    """Three pods' minutes above 20 % beside three of a stable that is usually at 1 %."""
    ours = cells((40, 200), (45, 200), (38, 200))
    theirs = cells((0, 200), (2, 200), (5, 200))
    alone = clustered_evidence(ours, theirs, 0.005, 0.05)
    with_usual = clustered_evidence(ours, theirs, 0.005, 0.05, USUAL)
    assert 2 * alone < with_usual < 12 * alone
    elsewhere = clustered_evidence(ours, theirs, 0.005, 0.05, BadTotal(400, 900))
    assert alone * 0.499 <= elsewhere <= alone
    assert clustered_evidence(ours, theirs, 0.005, 0.05, BadTotal(0, 0)) == alone


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03, 0.3])
def test_the_promise_holds_whatever_was_usual(share: float) -> None:
    """On the boundary of the null the expected evidence of all outcomes is at most 1."""
    correlated, margin, n = 0.2, 0.02, 12

    def chances(mean: float) -> np.ndarray:
        a, b = mean * (1 - correlated) / correlated, (1 - mean) * (1 - correlated) / correlated
        bad = np.arange(n + 1)
        ways = -betaln(bad + 1, n - bad + 1) - np.log(n + 1)
        return np.asarray(np.exp(ways + betaln(bad + a, n - bad + b) - betaln(a, b)))

    ours, theirs = chances(share + margin), chances(share)
    expected = sum(
        ours[i] * theirs[j] * clustered_evidence(cells((i, n)), cells((j, n)), margin, 0.2, USUAL)
        for i in range(n + 1)
        for j in range(n + 1)
        if i / n > j / n + margin  # elsewhere it is said to be 1, which never fails a gate
    )
    assert expected <= 1


def test_one_burst_on_one_pod_is_learnt_from() -> None:
    quiet = sum([block_sums([BadTotal(0, 33)] * 3)] * 119, start=BlockSums())
    assert spread_of(quiet) is None
    burst = spread_of(quiet + block_sums([BadTotal(20, 45), BadTotal(0, 33), BadTotal(0, 33)]))
    assert burst is not None
    assert burst.inflation > 10
    scattered = block_sums([BadTotal(2, 33), BadTotal(0, 33), BadTotal(0, 33)])
    assert spread_of(quiet + scattered) is None


def test_a_single_pod_needs_several_blocks() -> None:
    burst, quiet = block_sums([BadTotal(20, 45)]), block_sums([BadTotal(0, 33)])
    assert spread_of(burst + sum([quiet] * 4, start=BlockSums())) is None
    assert spread_of(burst + sum([quiet] * 5, start=BlockSums())) is not None


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_fault_of_each_block_is_found_where_whole_blocks_were_bad(share: float) -> None:
    """An outage of one pod: the correlation of its blocks is nearly one."""
    ours, theirs = cells(*[(200 * share, 200)] * 5), cells(*[(1, 200)] * 8)
    assert clustered_evidence(ours, theirs, 0.005, 0.95) > 200
    assert clustered_limit_evidence(ours, 0.01, 0.95) > 600


def test_a_block_that_is_bad_is_no_evidence_where_blocks_were() -> None:
    ours, theirs = cells((200, 200), (1, 200), (1, 200)), cells(*[(1, 200)] * 8)
    assert clustered_evidence(ours, theirs, 0.005, 0.95) < 20


@pytest.mark.parametrize("part", [1.0, 0.5, 0.15])
def test_the_promise_holds_for_requests_that_hang_together_less(part: float) -> None:
    """The correlation is learnt as a bound, not as what is."""
    correlated, margin, n, share = 0.6, 0.02, 12, 0.05

    def chances(mean: float) -> np.ndarray:
        strength = (1 - part * correlated) / (part * correlated)
        a, b = mean * strength, (1 - mean) * strength
        bad = np.arange(n + 1)
        ways = -betaln(bad + 1, n - bad + 1) - np.log(n + 1)
        return np.asarray(np.exp(ways + betaln(bad + a, n - bad + b) - betaln(a, b)))

    ours, theirs = chances(share + margin), chances(share)
    expected = sum(
        ours[i] * theirs[j] * clustered_evidence(cells((i, n)), cells((j, n)), margin, 0.6)
        for i in range(n + 1)
        for j in range(n + 1)
        if i / n > j / n + margin
    )
    assert expected <= 1


def test_few_requests_may_be_one_cluster() -> None:
    """64 rows that are one request, where cells usually have three of them."""
    ours, theirs = cells((64, 64)), cells((0, 192), (64, 192), (0, 192))
    assert clustered_evidence(ours, theirs, 0.01, 0.4, BadTotal(9, 180)) > 50
    kept = clustered_evidence(ours, theirs, 0.01, 0.4, BadTotal(9, 180), inflation=77.0)
    assert kept < 20
    limit = clustered_limit_evidence(ours, 0.06, 0.4)
    assert clustered_limit_evidence(ours, 0.06, 0.4, 77.0) < limit
    large = cells((200, 600))
    assert clustered_evidence(large, theirs, 0.01, 0.4, inflation=77.0) == pytest.approx(
        clustered_evidence(large, theirs, 0.01, 0.4), rel=0.5
    )
