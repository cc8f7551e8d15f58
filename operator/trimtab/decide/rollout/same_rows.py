"""What the guard does with pairs: when a difference may have begun, and when pairs stopped.

What traffic does to both cancels in them. So they decide where there are enough: an alarm of the
change detector is no breach if pairs since the change speak against a rise of the version's own. It
waits for them as long as it took to come, where by then there will be enough to tell; else, and
afterwards, it is one as without pairs. Where they stop, because no pod compares any more, the
change detector goes on against what the version itself showed while pairs found nothing in it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.decide.rollout.blocks import growth
from trimtab.decide.rollout.pairing import PairedLook
from trimtab.decide.rollout.snapshot import PairsSeen
from trimtab.stats.change import DetectorState
from trimtab.stats.counts import BadTotal
from trimtab.stats.paired import evidence_below

AWAITED = timedelta(minutes=10)
"""Without a new pair, before the detector goes on."""
AT_ONCE = 0.5
"""Prior of a difference that is there from the promotion on; the rest is for all of the guard."""
HALF_LIFE = timedelta(minutes=30)
"""Of what is remembered of the version itself."""
EXCUSED_AT = 20.0
"""Evidence that a rise is not all the version's own; where it is, 5 % of cases show that."""
LEAST_WAIT = timedelta(minutes=2)
"""Of an alarm for pairs: what is large is seen before there are any."""
TELLING = 8.0
"""Log evidence that pairs must promise by the end of the wait; else nothing is waited for."""
MOST_RISE = 0.99
AT_LEAST = timedelta(seconds=1)
MANY_AWAITED = 1.1
"""So many times more labels, of which some are still to come, may be of one kind."""


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
    is_open = seen.alarmed_at is not None and not seen.is_excused
    if tells(after, paired, now) and not is_open:
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


def beside_detector(
    seen: PairsSeen, paired: PairedLook, state: DetectorState, allowed: float, now: datetime
) -> PairsSeen:
    """Return what is remembered after a look of the change detector.

    allowed: the share that must not be passed, margin included.
    """
    found = dict(paired.pairs.requests)
    if seen.calm_at is None or state.changed.total <= 0:
        return replace(
            seen, calm=found, calm_at=now, alarmed_at=None, waits_until=None, is_excused=False
        )
    # All of the rise is the version's own, or is not: what pairs show of it tells.
    rise = min(MOST_RISE, max(paired.margin, state.changed.share - (allowed - paired.margin)))
    since = {d: max(0.0, n - seen.calm.get(d, 0.0)) / paired.alike for d, n in found.items()}
    alarmed_at = seen.alarmed_at or (now if state.is_alarm else None)
    is_excused = evidence_below(since, rise) >= EXCUSED_AT
    waits_until = None
    if alarmed_at is not None:
        waits_until = alarmed_at + max(LEAST_WAIT, alarmed_at - seen.calm_at)
        requests, squares = sum(since.values()), sum(d * d * n for d, n in since.items())
        varies = (squares + state.changed.share) / (requests + 1)
        will = requests * ((waits_until - seen.calm_at) / max(now - seen.calm_at, AT_LEAST))
        if will < TELLING * 2 * varies / rise**2:
            waits_until = now
    return replace(seen, alarmed_at=alarmed_at, is_excused=is_excused, waits_until=waits_until)


def awaits_pairs(seen: PairsSeen, now: datetime) -> bool:
    """Whether pairs speak against an alarm, or may soon."""
    return seen.is_excused or seen.waits_until is None or now < seen.waits_until


def paired_evidence(seen: PairsSeen, paired: PairedLook) -> float:
    """Return the evidence that the version is worse, since its promotion or since some time.

    While many labels are awaited, since its promotion.
    """
    if not paired.counts_as_they_came:
        return paired.evidence
    if paired.awaited < MANY_AWAITED:
        return seen.change.evidence
    return min(seen.change.evidence, paired.evidence)


def _own(seen: PairsSeen, total: BadTotal, elapsed: timedelta) -> BadTotal:
    kept = 0.5 ** (elapsed / HALF_LIFE)
    more = growth(seen.total, total)
    return BadTotal(kept * seen.own.bad + more.bad, kept * seen.own.total + more.total)
