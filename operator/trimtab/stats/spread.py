"""Requests that are not independent: how much pods differ, and evidence that allows for it.

The pods of one version differ by more than chance where errors come in clusters: one client, one
bad node, retries, rows that are alike. How much is learnt from stable's own pods, in blocks of
time, against what all of them show in the same block: what hits all of them at once is no spread.

Counts of a pod's block are then beta-binomial, with the correlation of its length of block at most.
The evidence is that of `sequential`, a mixture over the minimum of the null, with this likelihood.

Source: Pearson's X2 for heterogeneity; correlation from the variance inflation 1 + rho (n - 1)
(Williams, "Extra-binomial variation in logistic linear models", 1982).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, chdtrc, gammaln

from trimtab.stats.counts import NOTHING, BadTotal

SIGNIFICANT = 0.01
"""A spread that chance shows in more than this share of cases is not used."""
LEAST_BLOCKS = 6
"""Below, blocks of different times do not say how much pods differ."""
MOST_CORRELATED = 0.95
_MIXTURE = np.sin(np.pi / 2 * (np.arange(96) + 0.5) / 96) ** 2
"""Shares at the quantiles of Beta(1/2, 1/2): equal weights make the mixture of `sequential`."""
_PARTS = np.array([1.0, 1 / 3, 1 / 9, 1 / 27])
"""Of the correlation that was learnt, of which the likelihoods are looked at.

A single outage of one pod says that whole blocks are bad or good. A candidate of which each block
is bad in half fits that as badly as it fits the margin, and would never be found if only the
correlation itself were looked at.
"""
_USUAL = 32
_GRID = 40
_ROUNDS = 3
_LARGEST_LOG = 690.0

Floats = npt.NDArray[np.float64]
_Likelihoods = Callable[[Floats], Floats]
"""Log likelihoods by part and mean share."""


@dataclass(frozen=True, slots=True)
class BlockSums:
    """What blocks of one length show of a version; sums, which add up over blocks.

    chi: Pearson's X2 of the pods' shares around their common one, freedom: its degrees of freedom.
    around: the sum of squares that X2 divides, expected: what it is for independent requests.
    bad, total, pods, blocks: counted. The last four are over blocks, of b bad among n in one:
    b^2 / n, b^2, b n and n^2.
    """

    chi: float = 0.0
    freedom: int = 0
    around: float = 0.0
    expected: float = 0.0
    bad: float = 0.0
    total: float = 0.0
    pods: int = 0
    blocks: int = 0
    shares: float = 0.0
    bad_bad: float = 0.0
    bad_total: float = 0.0
    total_total: float = 0.0

    def __add__(self, other: BlockSums) -> BlockSums:
        """Return the sums over the blocks of both."""
        return BlockSums(*map(operator.add, _values(self), _values(other)))

    def over_time(self) -> BlockSums:
        """Return the same with whole blocks in place of pods: how much blocks of time differ."""
        share = self.bad / self.total if self.total else 0.0
        if self.blocks < 2 or not 0 < share < 1:
            return BlockSums()
        weight = share * (1 - share)
        return BlockSums(
            chi=(self.shares - self.bad * share) / weight,
            freedom=self.blocks - 1,
            around=self.bad_bad - 2 * share * self.bad_total + share**2 * self.total_total,
            expected=weight * (self.total - self.total_total / self.total),
            bad=self.bad,
            total=self.total,
            pods=self.blocks,
        )


_values = operator.attrgetter(*(field.name for field in fields(BlockSums)))


def sum_of_blocks(parts: Iterable[BlockSums]) -> BlockSums:
    """Return the sums over the blocks of all."""
    return BlockSums(*map(sum, zip(*map(_values, parts), strict=True)))


def block_sums(pods: Sequence[BadTotal]) -> BlockSums:
    """Return what one block shows; `pods`: one count a pod."""
    seen = [pod for pod in pods if pod.total > 0]
    if not seen:
        return BlockSums()
    bad, total = sum(pod.bad for pod in seen), sum(pod.total for pod in seen)
    sums = BlockSums(
        bad=bad,
        total=total,
        pods=len(seen),
        blocks=1,
        shares=bad**2 / total,
        bad_bad=bad**2,
        bad_total=bad * total,
        total_total=total**2,
    )
    share = bad / total
    if len(seen) < 2 or not 0 < share < 1:
        return sums
    weight = share * (1 - share)
    squares = [(pod.bad - pod.total * share) ** 2 for pod in seen]
    return replace(
        sums,
        chi=sum(one / (pod.total * weight) for one, pod in zip(squares, seen, strict=True)),
        freedom=len(seen) - 1,
        around=sum(squares),
        expected=weight * (total - sum(pod.total**2 for pod in seen) / total),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """inflation: variance of pods' counts over the binomial one, > 1. correlation: see above."""

    inflation: float
    correlation: float


def spread_of(sums: BlockSums) -> Spread | None:
    """Return the spread between pods within blocks of one length; None: none is shown.

    Where never two pods were seen together, blocks of different times are compared instead: then
    also common swings count, which is on the safe side.
    """
    if sums.pods <= sums.blocks:
        sums = sums.over_time() if sums.blocks >= LEAST_BLOCKS else BlockSums()
    # One block in which bad requests came together says so; that they did by chance is unlikely.
    if sums.freedom < 1 or float(chdtrc(sums.freedom, sums.chi)) > SIGNIFICANT:
        return None
    if sums.expected <= 0:
        return None  # one pod has so much that all others are lost in rounding
    requests = sums.total / sums.pods
    # The first is too small where bad requests are few, since a cluster raises its own block's
    # share; the second where a few blocks have most of them, which need not be clustered.
    inflation = max(sums.chi / sums.freedom, sums.around / sums.expected)
    if requests <= 1 or not 1 < inflation < math.inf:
        return None
    return Spread(inflation, min(MOST_CORRELATED, (inflation - 1) / (requests - 1)))


@dataclass(frozen=True)
class Cells:
    """Counts of pod blocks: bad and total, shape (k,), each with how often it occurs."""

    bad: Floats
    total: Floats
    times: Floats

    @staticmethod
    def of(counts: Mapping[tuple[float, float], int]) -> Cells:
        """Return the cells of (bad, total) -> how often."""
        pairs = np.array([pair for pair in counts if pair[1] > 0], dtype=np.float64).reshape(-1, 2)
        times = np.array([n for pair, n in counts.items() if pair[1] > 0], dtype=np.float64)
        return Cells(pairs[:, 0], pairs[:, 1], times)

    def with_good(self, times: float) -> Cells:
        """Return them with so many times the requests, times >= 1, of which the new ones are good.

        They go where there are the fewest, as if those that are missing were missing there.
        """
        if times <= 1 or not self.total.size:
            return self
        order = np.argsort(self.total)
        cells, requests = (np.cumsum(one[order]) for one in (self.times, self.times * self.total))
        more = (times - 1) * requests[-1]
        raised = int(np.flatnonzero(self.total[order] * cells - requests <= more)[-1])
        level = (more + requests[raised]) / cells[raised]
        return replace(self, total=np.maximum(self.total, level))

    def share(self) -> float:
        """Return bad / total over all; 0 when nothing was counted."""
        total = float(self.total @ self.times)
        return float(self.bad @ self.times) / total if total else 0.0

    def log_likelihoods(self, shares: Floats, correlated: float, inflation: float = 1.0) -> Floats:
        """Return the beta-binomial log likelihoods at mean shares, without their constant.

        For each of `_PARTS` of the correlation and of the inflation, since requests may hang
        together less, too. shares: shape (s,), or (parts, s). inflation: variance of each cell over
        the binomial one, at least. Returns shape (parts, s).
        """
        rho = np.broadcast_to(correlated * _PARTS[:, None], (len(_PARTS), len(self.total)))
        if inflation > 1:
            more = (inflation - 1) * _PARTS[:, None]
            rho = np.maximum(rho, more / np.maximum(self.total - 1, 1.0))
            rho = np.minimum(rho, np.maximum(correlated * _PARTS[:, None], MOST_CORRELATED))
        strength = (1 - rho) / rho
        ours = np.clip(shares, 1e-9, 1 - 1e-9)[..., None] * strength[:, None, :]
        grown = _log_risen(ours, self.bad, self.times)
        grown += _log_risen(strength[:, None, :] - ours, self.total - self.bad, self.times)
        return grown - _log_risen(strength, self.total, self.times)[:, None]


def _log_risen(by: Floats, count: Floats, times: Floats) -> Floats:
    """Return the sum over the last axis of log(by (by + 1) ... (by + count - 1)) * times."""
    some = count > 0  # most blocks have nothing bad, and that is log 1
    if not some.all():
        by, count, times = by[..., some], count[some], times[some]
    found: Floats = (gammaln(by + count) - gammaln(by)) @ times
    return found


def clustered_evidence(
    candidate: Cells,
    stable: Cells,
    margin: float,
    correlated: float,
    usual: BadTotal = NOTHING,
    inflation: float = 1.0,
) -> float:
    """Evidence that the candidate's mean share exceeds stable's by more than `margin`.

    correlated in (0, 1): of two requests within a cell, at most. inflation >= 1: variance of a cell
    over the binomial one: also of one with fewer requests than most, which may be one cluster.
    usual: what stable had counted before any
    of these cells, as so many independent requests. It says where stable's share is looked for, by
    a half of the mixture: few cells do not say so by themselves. The promise holds for any mixture
    that is chosen before. Returns a finite float >= 0; exactly 1 while the candidate's share is at
    most stable's plus the margin.
    """
    if candidate.share() <= stable.share() + margin:
        return 1.0
    ours = partial(candidate.log_likelihoods, correlated=correlated, inflation=inflation)
    theirs = partial(stable.log_likelihoods, correlated=correlated, inflation=inflation)
    evidence = _averaged(_mixed(ours) + _mixed(theirs, usual))
    return _bounded_exp(float(evidence) - _best(ours, theirs, margin))


def _best(ours: _Likelihoods, theirs: _Likelihoods, margin: float) -> float:
    """Return the largest log likelihood of both where the candidate's share is at the margin."""
    low, high = np.zeros(len(_PARTS)), np.full(len(_PARTS), math.sqrt(1.0 - margin))
    each = np.arange(len(_PARTS))
    for _ in range(_ROUNDS):
        roots = np.linspace(low, high, _GRID, axis=1)
        shares = roots**2
        likely = ours(shares + margin) + theirs(shares)
        at = likely.argmax(axis=1)
        low, high = roots[each, np.maximum(0, at - 1)], roots[each, np.minimum(_GRID - 1, at + 1)]
    return float(likely.max())


def clustered_limit_evidence(
    candidate: Cells, limit: float, correlated: float, inflation: float = 1.0
) -> float:
    """Evidence that the candidate's mean share exceeds `limit` in [0, 1] (one-sided)."""
    if candidate.share() <= limit:
        return 1.0
    ours = partial(candidate.log_likelihoods, correlated=correlated, inflation=inflation)
    best = ours(np.array([limit])).max()
    return _bounded_exp(float(_averaged(_mixed(ours)) - best))


def _mixed(likelihoods: _Likelihoods, usual: BadTotal = NOTHING) -> Floats:
    """Return the log of the likelihoods averaged over the mixture, a half of it around `usual`."""
    if usual.total <= 0:
        return _averaged(likelihoods(_MIXTURE))
    both = likelihoods(np.concatenate([_MIXTURE, _around(usual)]))
    anywhere, around = both[:, : len(_MIXTURE)], both[:, len(_MIXTURE) :]
    found: Floats = np.logaddexp(_averaged(anywhere), _averaged(around)) - math.log(2)
    return found


@lru_cache(maxsize=1024)
def _around(usual: BadTotal) -> Floats:
    """Return shares at the quantiles of what counts say of a share, after Beta(1/2, 1/2)."""
    at = (np.arange(_USUAL) + 0.5) / _USUAL
    found: Floats = betaincinv(0.5 + usual.bad, 0.5 + usual.good, at)
    return found


def _averaged(likely: Floats) -> Floats:
    """Return the logs of the means of the last axis."""
    largest = likely.max(axis=-1, keepdims=True)
    found: Floats = largest[..., 0] + np.log(np.exp(likely - largest).mean(axis=-1))
    return found


def _bounded_exp(log_value: float) -> float:
    return math.exp(min(max(log_value, -_LARGEST_LOG), _LARGEST_LOG))
