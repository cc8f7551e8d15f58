"""What the guard does with pairs: when a difference may have begun, and when pairs stopped.

Pairs alone decide while they come, since what traffic does to both cancels in them. Where they
stop, because no pod compares any more, the change detector goes on: from then, and against what the
version itself showed while pairs found nothing in it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.decide.rollout.evidence import growth
from trimtab.decide.rollout.pairing import PairedLook
from trimtab.decide.rollout.snapshot import PairsSeen
from trimtab.stats.counts import BadTotal

AWAITED = timedelta(minutes=10)
"""Without a new pair, before the detector goes on."""
AT_ONCE = 0.5
"""Prior of a difference that is there from the promotion on; the rest is for all of the guard."""
HALF_LIFE = timedelta(minutes=30)
"""Of what is remembered of the version itself."""


def look_again(
    seen: PairsSeen,
    paired: PairedLook,
    total: BadTotal,
    now: datetime,
    horizon: timedelta,
    *,
    is_taken_up: bool,
) -> PairsSeen:
    """Return what is remembered after a look. total: of the version; horizon: of the guard.

    is_taken_up: counts begin with this process of the operator, and the promotion's part of the
    prior was spent by one before.
    """
    found = dict(paired.pairs.requests)
    grown = {d: max(0.0, count - seen.taken.get(d, 0.0)) for d, count in found.items()}
    elapsed = now - (seen.looked_at or now)
    after = replace(
        seen,
        grew_at=now if any(grown.values()) else seen.grew_at,
        looked_at=now,
        total=total,
    )
    if tells(after, paired, now):
        after = replace(after, own=_own(seen, total, elapsed))
    if not paired.counts_as_they_came:
        return after  # what is evened out is judged as a whole
    prior = (1 - AT_ONCE) * min(1.0, elapsed / horizon)
    if not seen.change.logs and not is_taken_up:
        prior += AT_ONCE
    independent = {d: count / paired.alike for d, count in grown.items()}
    change = seen.change.after(independent, paired.margin, prior)
    risen = {d: count + seen.risen.get(d, 0.0) for d, count in grown.items()}
    if sum((d - paired.margin) * count for d, count in risen.items()) <= 0:
        risen = {}
    return replace(after, change=change, taken=found, risen=risen)


def tells(seen: PairsSeen, paired: PairedLook, now: datetime) -> bool:
    """Whether pairs alone decide."""
    if seen.grew_at is None or paired.why_not or paired.blind:
        return False
    return now - seen.grew_at <= AWAITED


def paired_evidence(seen: PairsSeen, paired: PairedLook) -> float:
    """Return the evidence that the version is worse, since its promotion or since some time."""
    return seen.change.evidence if paired.counts_as_they_came else paired.evidence


def _own(seen: PairsSeen, total: BadTotal, elapsed: timedelta) -> BadTotal:
    kept = 0.5 ** (elapsed / HALF_LIFE)
    more = growth(seen.total, total)
    return BadTotal(kept * seen.own.bad + more.bad, kept * seen.own.total + more.total)
