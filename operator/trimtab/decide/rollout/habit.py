"""How much stable's pods differ from each other by themselves, learnt while nothing is tried."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, reduce
from typing import TypeVar

from trimtab.decide.rollout.blocks import LENGTHS, Blocks, Counts, grouped, grown_since
from trimtab.stats.counts import NOTHING, BadTotal, sum_of
from trimtab.stats.spread import BlockSums, Spread, block_sums, spread_of, sum_of_blocks

T = TypeVar("T")
_At = TypeVar("_At", int, datetime)
LEARNT_FROM = timedelta(minutes=30)
"""How far back stable's pods are looked at."""
LEARNT_ENOUGH = timedelta(minutes=10)
"""Before that a new process of the operator goes by what the one before had learnt, too."""
LEARNT_IN_PARTS = timedelta(minutes=5)
LEAST_BAD = 30.0
"""Bad requests in a day, so that it is known how much they cluster."""
GROWTH = 1.5
"""So many times more than in the day before pods may hang together after a promotion."""
LEAST_ALLOWED = 1.5
"""Times that counts of a block may vary more than independent ones, whatever was seen before."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS_OF_DAY = 24


@dataclass(frozen=True)
class Allowed:
    """How much the pods of a version under guard may differ, by what pods did before it.

    A fault of one pod, or of each in turn, makes them differ, too: that must not excuse it.
    correlations: the largest that was seen, by block length.
    """

    correlations: Mapping[int, float] = field(default_factory=dict)

    def of(self, spreads: Mapping[int, Spread]) -> dict[int, Spread]:
        """Return of these spreads as much as is allowed."""
        return {length: self._at_most(length, one) for length, one in spreads.items()}

    def _at_most(self, length: int, spread: Spread) -> Spread:
        correlation = GROWTH * self.correlations.get(length, 0.0)
        requests = (spread.inflation - 1) / spread.correlation  # of a block, but for one
        inflation = max(LEAST_ALLOWED, 1 + correlation * requests)
        if inflation >= spread.inflation:
            return spread
        return Spread(inflation, (inflation - 1) / requests)


@dataclass(frozen=True)
class Parts:
    """What blocks of one length showed that ended in the five minutes from a time on."""

    by: Mapping[datetime, BlockSums] = field(default_factory=dict)

    @cached_property
    def total(self) -> BlockSums:
        """The sums over all; worked out once, as it is asked for at each look."""
        return sum_of_blocks(self.by.values())

    @cached_property
    def spread(self) -> Spread | None:
        """How much pods differ in all of them."""
        return spread_of(self.total)

    def until(self, now: datetime) -> Parts:
        """Return what is looked back at."""
        if all(now - LEARNT_FROM <= at <= now for at in self.by):
            return self
        until_now = _until(self.by, now, operator.add)
        return Parts({at: one for at, one in until_now.items() if at >= now - LEARNT_FROM})

    def add(self, at: datetime, sums: BlockSums) -> Parts:
        """Return the parts with one more block."""
        return Parts({**self.by, at: self.by[at] + sums if at in self.by else sums})


@dataclass(frozen=True)
class Habit:
    """Of one gate: what stable's pods counted last, and how much they differed, by block length."""

    last: Counts = field(default_factory=dict)
    blocks: Mapping[int, Blocks] = field(default_factory=dict)
    ended: Mapping[int, Parts] = field(default_factory=dict)
    """By length: what blocks showed."""
    since: datetime | None = None
    """When it began to learn."""
    hours: Mapping[int, BadTotal] = field(default_factory=dict)
    """What was counted in the last 24 hours, by hour since 1970."""
    peaks: Mapping[int, BadTotal] = field(default_factory=dict)
    """The worst five minutes of each of these hours."""
    most: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    """The largest correlations of the last 24 hours with traffic, by hour and block length."""

    def learn(
        self, counts: Counts, now: datetime, interval: timedelta, allowed: Allowed | None = None
    ) -> Habit:
        """Return the habit with what the pods have counted by now.

        allowed: what is taken for usual at most, while the pods are of a version under guard.
        """
        grown = grouped(grown_since(self.last, counts))
        if not any(count.total > 0 for count in grown.values()):
            return self if counts == self.last else replace(self, last=counts)
        blocks, ended, most, peaks = {}, {}, self.most, self.peaks
        part = now - (now - EPOCH) % LEARNT_IN_PARTS
        if self.ended and part not in self.ended.get(LENGTHS[0], Parts()).by:
            most, peaks = self._with_most(now, allowed), self._with_peak(now)
        for length in LENGTHS:
            known = self.blocks.get(length, Blocks())
            known, over = known.add(grown, now, interval * (length - 0.5))
            blocks[length] = replace(known, closed={}) if known.closed else known
            kept = self.ended.get(length, Parts()).until(part)
            if over is not None:
                kept = kept.add(part, block_sums(tuple(over.values())))
            ended[length] = kept
        since = min(self.since or now, now)
        return Habit(counts, blocks, ended, since, self._with_hour(grown, now), peaks, most)

    def before(self, moment: datetime) -> Habit:
        """Return what was learnt until then; whole hours only, and whole parts of half an hour."""
        hour, part = (moment - EPOCH) // HOUR, moment - LEARNT_IN_PARTS
        ended = {
            length: Parts({at: one for at, one in parts.by.items() if at <= part})
            for length, parts in self.ended.items()
        }
        return Habit(
            ended={length: parts for length, parts in ended.items() if parts.by},
            since=self.since if self.since is not None and self.since < moment else None,
            hours={at: sums for at, sums in self.hours.items() if at < hour},
            peaks={at: sums for at, sums in self.peaks.items() if at < hour},
            most={at: found for at, found in self.most.items() if at < hour},
        )

    def _with_most(self, now: datetime, allowed: Allowed | None) -> dict[int, Mapping[int, float]]:
        hour = (now - EPOCH) // HOUR
        found = dict(_until(self.most, hour, _largest_of_each))
        shown = self.spreads if allowed is None else allowed.of(self.spreads)
        this = {length: spread.correlation for length, spread in shown.items()}
        found[hour] = _largest_of_each(found.get(hour, {}), this)
        return {at: found[at] for at in sorted(found)[-HOURS_OF_DAY:]}

    def _with_peak(self, now: datetime) -> dict[int, BadTotal]:
        hour = (now - EPOCH) // HOUR
        known = _until(self.peaks, hour, _worse)
        peaks = {at: one for at, one in known.items() if hour - at < HOURS_OF_DAY}
        parts = self.ended.get(LENGTHS[0], Parts()).by
        if parts:
            last = max(parts)
            at, sums = min((last - EPOCH) // HOUR, hour), parts[last]
            count = BadTotal(min(sums.bad, sums.total), sums.total)
            peaks[at] = _worse(peaks.get(at, NOTHING), count)
        return peaks

    def allowed(self, now: datetime) -> Allowed | None:
        """Return how much pods may differ by what they did in the last day; None: too little known.

        It is the largest that any half hour of that day showed.
        """
        is_young = self.since is None or now - self.since < LEARNT_ENOUGH
        if is_young or sum(one.bad for one in self.hours.values()) < LEAST_BAD:
            return None
        return Allowed(reduce(_largest_of_each, self.most.values(), {}))

    def _with_hour(self, grown: Counts, now: datetime) -> dict[int, BadTotal]:
        hour = (now - EPOCH) // HOUR
        known = _until(self.hours, hour, operator.add)
        hours = {at: sums for at, sums in known.items() if hour - at < HOURS_OF_DAY}
        hours[hour] = hours.get(hour, NOTHING) + sum_of(grown.values())
        return hours

    def usual(self) -> BadTotal:
        """Return what the pods showed lately, as so many independent requests."""
        lately = self.ended.get(LENGTHS[0], Parts()).total
        inflation = largest(self.spreads.values())
        return BadTotal(lately.bad / inflation, lately.total / inflation)

    @cached_property
    def spreads(self) -> Mapping[int, Spread]:
        """The spread by block length, where there is one.

        The last round is in it at once: an outage of some pods of both sides must not be judged
        before it is known that stable's pods differ in it.
        """
        found = {}
        for length, parts in self.ended.items():
            if length == LENGTHS[0]:
                last = self.blocks.get(length, Blocks()).open
                spread = spread_of(parts.total + block_sums(tuple(last.values())))
            else:
                spread = parts.spread
            if spread is not None:
                found[length] = spread
        return found


def _until(by: Mapping[_At, T], now: _At, joined: Callable[[T, T], T]) -> Mapping[_At, T]:
    """Return what was kept by time; what lies ahead is of now: the clock was set back."""
    if all(at <= now for at in by):
        return by
    found: dict[_At, T] = {}
    for at, one in by.items():
        of = min(at, now)
        found[of] = joined(found[of], one) if of in found else one
    return found


def _worse(one: BadTotal, other: BadTotal) -> BadTotal:
    """Return which shows the larger share beyond chance."""
    return max(one, other, key=lower_bound)


def lower_bound(count: BadTotal) -> float:
    """Return a share below the true one but for chance, three standard deviations."""
    return count.share - 3 * math.sqrt(count.bad) / count.total if count.total > 0 else -math.inf


def by_hour_of_day(hours: Mapping[int, BadTotal]) -> list[BadTotal]:
    """Return what is known of the last 24 hours, by hour of the day (UTC)."""
    found = [NOTHING] * HOURS_OF_DAY
    for at, sums in hours.items():
        found[at % HOURS_OF_DAY] = sums
    return found


def _largest_of_each(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    return {key: max(one.get(key, 0.0), other.get(key, 0.0)) for key in {**one, **other}}


def with_earlier(habit: Habit, earlier: Mapping[int, Spread], now: datetime) -> dict[int, Spread]:
    """Return the spread by block length; `earlier`: of the process before, while this is young."""
    found = dict(habit.spreads)
    if habit.since is not None and now - habit.since >= LEARNT_ENOUGH:
        return found
    for length, spread in earlier.items():
        known = found.get(length)
        if known is None or known.correlation < spread.correlation:
            found[length] = spread
    return found


def largest(spreads: Iterable[Spread]) -> float:
    """Return how many times more counts vary than independent ones would; 1: no more."""
    return max((spread.inflation for spread in spreads), default=1.0)
