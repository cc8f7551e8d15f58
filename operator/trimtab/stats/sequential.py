"""Sequential tests of bad among total: gates, limits, non-inferiority.

Evidence is the value of a test martingale (an e-process): under the null its chance of *ever*
reaching 1/alpha is at most alpha, so it may be looked at after every scrape and under any stopping
rule. A gate fails when `evidence >= failure_threshold(...)`. Each step of a rollout is a test of
its own, with counts taken at the same time on both sides.

Source: mixture martingale of Robbins (1970) for a Bernoulli share with a Beta(1/2, 1/2) mixture;
two samples by the product of two martingales and the infimum over the null (universal inference,
Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from scipy.special import betaln, xlog1py, xlogy

from trimtab.stats.counts import BadTotal, sum_of

_PRIOR = 0.5
_LOG_PRIOR_NORM = math.log(math.pi)  # log B(1/2, 1/2)
_LARGEST_LOG = 690.0  # evidence stays a finite float that JSON can carry


_MOST_STEPS = 100
_EXACT = 1e-12
_TINY = 1e-300
_FIRST = 1e-4
"""Newton's first step begins no nearer to an end than this."""


def failure_threshold(confidence: float, gates: int, steps: int) -> float:
    """Evidence at which a gate fails: 1/alpha, alpha = (1 - confidence) / (gates * steps).

    confidence in (0, 1); gates and steps >= 1 (the union bound over a rollout).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return max(1, gates) * max(1, steps) / (1.0 - confidence)


def gate_evidence(
    candidate: BadTotal, stable: BadTotal, margin: float, overdispersion: float = 1.0
) -> float:
    """Evidence that the candidate's bad share exceeds stable's by more than `margin`.

    margin in [0, 1); overdispersion >= 1 divides the counts of both sides. Returns a finite float
    >= 0; exactly 1 while the candidate's share is at most stable's plus the margin. One more bad
    request never lowers it by more than a factor of 2/e, and all together not by more than the root
    of 2: the likelihood ratio grows, but the mixture explains shares of 0 and 1 less well.
    """
    _check_margin(margin)
    if candidate.share <= stable.share + margin:
        return 1.0
    return _two_sided_boundary(candidate, stable, margin, overdispersion)


def informed_evidence(
    candidate: BadTotal, stable: BadTotal, margin: float, usual: BadTotal, shares: Sequence[float]
) -> float:
    """The same evidence, quicker where stable shows what it usually does.

    usual: what stable showed before, of independent requests. shares: what the candidate may show
    if it is worse, in (0, 1), not empty. Both must not depend on the counts. Instead of any share
    the mixtures are those that follow `usual`, and `shares` with equal weights.
    """
    _check_margin(margin)
    if candidate.share <= stable.share + margin:
        return 1.0
    ours = [_log_likelihood(candidate, share) for share in shares]
    most = max(ours)
    numerator = most + math.log(sum(math.exp(log - most) for log in ours) / len(ours))
    numerator += _log_beta(usual + stable) - _log_beta(usual)
    return _over_the_null(numerator, candidate, stable, margin)


def limit_evidence(candidate: BadTotal, limit: float, overdispersion: float = 1.0) -> float:
    """Evidence that the candidate's bad share exceeds `limit` in [0, 1] (one-sided).

    With limit 0 a single bad request is conclusive (the largest finite evidence).
    """
    if candidate.share <= limit:
        return 1.0
    counts = candidate.divided(overdispersion)
    return _bounded_exp(_log_numerator(counts) - _log_likelihood(counts, limit))


@lru_cache(maxsize=1024)
def smallest_detectable_share(
    candidate_total: float,
    stable: BadTotal,
    margin: float,
    threshold: float,
    overdispersion: float = 1.0,
) -> float | None:
    """The smallest share of bad requests that would already have failed the gate.

    For `candidate_total` candidate requests beside these stable counts; None when even a candidate
    that fails every request would not have reached `threshold`.
    """

    def fails(counts: BadTotal) -> bool:
        return gate_evidence(counts, stable, margin, overdispersion) >= threshold

    return _smallest_share(candidate_total, fails)


@lru_cache(maxsize=1024)
def smallest_share_above(
    candidate_total: float, limit: float, threshold: float, overdispersion: float = 1.0
) -> float | None:
    """The smallest share of bad requests that would already have failed a gate with this limit.

    None when even a candidate that fails every request would not have reached `threshold`.
    """

    def fails(counts: BadTotal) -> bool:
        return limit_evidence(counts, limit, overdispersion) >= threshold

    return _smallest_share(candidate_total, fails)


def _smallest_share(requests: float, is_found: Callable[[BadTotal], bool]) -> float | None:
    total = math.floor(requests)

    def fails(bad: int) -> bool:
        return is_found(BadTotal(float(bad), float(total)))

    if total < 1 or not fails(total):
        return None
    passing, failing = 0, total
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if fails(middle):
            failing = middle
        else:
            passing = middle
    return failing / total


def overdispersion(counts: Sequence[BadTotal]) -> float:
    """Variance of per-scrape counts over the binomial one, at least 1 (Pearson's X2 / (k - 1)).

    counts: one entry per scrape of stable, over k scrapes; empty ones are left out. 1 when k < 2
    or when stable's share is 0 or 1 (nothing varies).
    """
    filled = [count for count in counts if count.total > 0]
    if len(filled) < 2:
        return 1.0
    share = sum_of(filled).share
    if not 0 < share < 1:
        return 1.0
    pearson = sum(
        (count.bad - count.total * share) ** 2 / (count.total * share * (1 - share))
        for count in filled
    )
    return max(1.0, pearson / (len(filled) - 1))


def _check_margin(margin: float) -> None:
    if not 0 <= margin < 1:
        raise ValueError(f"margin must lie in [0, 1), not {margin}")


def _two_sided_boundary(
    candidate: BadTotal, stable: BadTotal, margin: float, dispersion: float
) -> float:
    """min over p in [0, 1 - margin] of m_candidate(p + margin) * m_stable(p)."""
    ours, control = candidate.divided(dispersion), stable.divided(dispersion)
    numerator = _log_numerator(ours) + _log_numerator(control)
    return _over_the_null(numerator, ours, control, margin)


def _over_the_null(
    log_numerator: float, candidate: BadTotal, stable: BadTotal, margin: float
) -> float:
    """Return the ratio to the likelihood of what explains the counts best at the margin."""
    p = _most_likely_boundary(candidate, stable, margin)
    return _bounded_exp(
        log_numerator - _log_likelihood(candidate, p + margin) - _log_likelihood(stable, p)
    )


def _most_likely_boundary(candidate: BadTotal, stable: BadTotal, margin: float) -> float:
    """The p that maximises the joint likelihood at (p + margin, p): concave, one zero of its slope.

    Newton's steps within the bracket that the slope's sign leaves, halved where they leave it; the
    optimum is flat, so an error in p is of second order in the evidence.
    """
    if margin == 0:
        total = candidate.total + stable.total
        return (candidate.bad + stable.bad) / total if total else 0.0
    low, high = 0.0, 1.0 - margin
    # The ends themselves are exact optima where one side saw no bad or no good request at all.
    if stable.bad == 0 and sum(_slopes(candidate, stable, 0.0, margin)) <= 0:
        return low
    if candidate.good == 0 and sum(_slopes(candidate, stable, high, margin)) >= 0:
        return high
    # Where it lies if both sides are as much above and below.
    total = candidate.total + stable.total
    p = (candidate.bad + stable.bad - margin * candidate.total) / total
    p = min(max(p, _FIRST), high - _FIRST) if high > 2 * _FIRST else high / 2
    for _ in range(_MOST_STEPS):
        q = p + margin
        ours_bad, ours_good, theirs_bad, theirs_good = _slopes(candidate, stable, p, margin)
        slope = ours_bad + ours_good + theirs_bad + theirs_good
        if slope > 0:
            low = p
        else:
            high = p
        curved = (
            ours_bad / max(q, _TINY)
            - ours_good / max(1 - q, _TINY)
            + theirs_bad / max(p, _TINY)
            - theirs_good / max(1 - p, _TINY)
        )
        after = p + slope / curved if curved > 0 else p
        if not low < after < high:
            after = (low + high) / 2
        if abs(after - p) <= _EXACT * min(p, 1.0 - margin - p):
            break
        p = after
    return p


def _slopes(
    candidate: BadTotal, stable: BadTotal, p: float, margin: float
) -> tuple[float, float, float, float]:
    """Return the parts of the joint likelihood's slope: bad and good of both sides."""
    q = p + margin
    return (
        candidate.bad / max(q, _TINY),
        -candidate.good / max(1 - q, _TINY),
        stable.bad / max(p, _TINY),
        -stable.good / max(1 - p, _TINY),
    )


def _log_numerator(counts: BadTotal) -> float:
    """log B(a + bad, a + good) / B(a, a): the likelihood averaged over the mixture."""
    return _log_beta(counts) - _LOG_PRIOR_NORM


def _log_beta(counts: BadTotal) -> float:
    return float(betaln(_PRIOR + counts.bad, _PRIOR + counts.good))


def _log_likelihood(counts: BadTotal, p: float) -> float:
    """log p^bad (1 - p)^good, with 0 log 0 = 0; p may pass 1 by rounding."""
    p = min(max(p, 0.0), 1.0)
    return float(xlogy(counts.bad, p)) + float(xlog1py(counts.good, -p))


def _bounded_exp(log_value: float) -> float:
    return math.exp(min(max(log_value, -_LARGEST_LOG), _LARGEST_LOG))
