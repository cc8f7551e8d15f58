"""What gates remember of rounds: counts of one moment, and how much pods differ by themselves.

A gate's sums say how much was bad. Whether that is evidence depends on when the requests came and
on which pods: the sums of two versions compare only where they are of the same moments, and errors
that come in clusters on one pod are fewer than they look. Both are kept as few numbers, whatever
the size of the Deployment.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, reduce
from typing import TypeVar

from trimtab.stats.counts import NOTHING, SAME_START_SECONDS, BadTotal, sum_of
from trimtab.stats.sequential import gate_evidence, limit_evidence
from trimtab.stats.spread import (
    BlockSums,
    Cells,
    Spread,
    block_sums,
    clustered_evidence,
    clustered_limit_evidence,
    spread_of,
    sum_of_blocks,
)

T = TypeVar("T")
_At = TypeVar("_At", int, datetime)
LENGTHS = (1, 6, 12, 60)
"""Of blocks, in rounds."""
_SHARES = (1.0, 0.5, 0.2, 0.1)
"""Faults that blocks are asked about: each costs as much as a verdict."""
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
MOST_PODS = 64
"""Told apart; more are put together."""
MOST_CELLS = 4096
"""Of one length and side; what comes after them is in the sums alone."""
STRATUM_REQUESTS = 50.0
"""Of stable at least, in what is taken for one moment."""

MOST_AWAITED = 1e6
"""Times more labels: pods that tell of more are not to be believed."""
MOST_VANISHED = 1024
"""Processes that are remembered although the last look did not see them."""
SAME_BIRTH = timedelta(seconds=SAME_START_SECONDS)

Counts = Mapping[str, BadTotal]
"""By process."""
Lives = Mapping[str, datetime | None]
"""Processes of Ready pods whose counts can be gone on from, and when each began, if it says."""


@dataclass(frozen=True)
class Strata:
    """Sums over moments of (candidate, stable): what `stats.spread.standardised` needs.

    requests, bad: the candidate's. weighted: its requests times stable's share of that moment.
    squares: its requests squared over stable's. open: a moment that is still too small.
    """

    requests: float = 0.0
    bad: float = 0.0
    weighted: float = 0.0
    squares: float = 0.0
    open: tuple[BadTotal, BadTotal] = (NOTHING, NOTHING)

    def add(self, candidate: BadTotal, stable: BadTotal) -> Strata:
        """Return the sums with what was counted between two rounds."""
        ours, theirs = self.open[0] + candidate, self.open[1] + stable
        if theirs.total < STRATUM_REQUESTS or ours.total <= 0:
            return replace(self, open=(ours, theirs))
        return self._closed(ours, theirs)

    def _closed(self, ours: BadTotal, theirs: BadTotal) -> Strata:
        return Strata(
            requests=self.requests + ours.total,
            bad=self.bad + ours.bad,
            weighted=self.weighted + ours.total * theirs.share,
            squares=self.squares + ours.total**2 / theirs.total,
        )

    def at(self, share: float) -> Strata:
        """Return the same requests, with this share of the candidate's bad."""
        ours, theirs = self.open
        opened = BadTotal(share * ours.total, ours.total), theirs
        return replace(self, bad=share * self.requests, open=opened)

    def compared(self) -> tuple[BadTotal, BadTotal]:
        """Return the candidate's counts, and stable's as if they had come at the same moments."""
        ours, theirs = self.open
        whole = self._closed(ours, theirs) if theirs.total > 0 else self
        if whole.squares <= 0:
            return ours, theirs
        total = whole.requests**2 / whole.squares
        share = min(1.0, whole.weighted / whole.requests)
        return BadTotal(whole.bad, whole.requests), BadTotal(share * total, total)


@dataclass(frozen=True)
class Blocks:
    """Blocks of one length: the one under way by process, and what closed ones counted."""

    began: datetime | None = None
    open: Counts = field(default_factory=dict)
    closed: Mapping[tuple[float, float], int] = field(default_factory=dict)
    """(bad, total) of a process in a block to how often."""

    def add(self, grown: Counts, now: datetime, lasts: timedelta) -> tuple[Blocks, Counts | None]:
        """Return the blocks with what was counted, and the block that was over by now, if any.

        One that began ahead is over: the clock was set back, and it would take in all until then.
        """
        if self.began is not None and timedelta(0) <= now - self.began < lasts:
            return replace(self, open=_merged(self.open, grown)), None
        closed = dict(self.closed)
        for count in self.open.values():
            cell = (count.bad, count.total)
            if cell in closed or len(closed) < MOST_CELLS:
                closed[cell] = closed.get(cell, 0) + 1
        ended = self.open if self.began is not None else None
        return Blocks(now, dict(grown), closed), ended

    def at(self, share: float) -> Blocks:
        """Return the same requests, with this share of each block's bad."""
        closed: dict[tuple[float, float], int] = {}
        for (_, total), times in self.closed.items():
            cell = (share * total, total)
            closed[cell] = closed.get(cell, 0) + times
        opened = {p: BadTotal(share * one.total, one.total) for p, one in self.open.items()}
        return Blocks(self.began, opened, closed)

    def cells(self) -> Cells:
        """Return all cells, those of the block under way too."""
        cells = dict(self.closed)
        for count in self.open.values():
            cell = (count.bad, count.total)
            cells[cell] = cells.get(cell, 0) + 1
        return Cells.of(cells)


def _merged(left: Counts, right: Counts) -> dict[str, BadTotal]:
    found = dict(left)
    for process, count in right.items():
        found[process] = found.get(process, NOTHING) + count
    return found


# --- how much stable's pods differ ----------------------------------------------------------------


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
        blocks, ended, most = {}, {}, self.most
        part = now - (now - EPOCH) % LEARNT_IN_PARTS
        if self.ended and part not in self.ended.get(LENGTHS[0], Parts()).by:
            most = self._with_most(now, allowed)
        for length in LENGTHS:
            known = self.blocks.get(length, Blocks())
            known, over = known.add(grown, now, interval * (length - 0.5))
            blocks[length] = replace(known, closed={}) if known.closed else known
            kept = self.ended.get(length, Parts()).until(part)
            if over is not None:
                kept = kept.add(part, block_sums(tuple(over.values())))
            ended[length] = kept
        since = min(self.since or now, now)
        return Habit(counts, blocks, ended, since, self._with_hour(grown, now), most)

    def _with_most(self, now: datetime, allowed: Allowed | None) -> dict[int, Mapping[int, float]]:
        hour = (now - EPOCH) // HOUR
        found = dict(_until(self.most, hour, _largest_of_each))
        shown = self.spreads if allowed is None else allowed.of(self.spreads)
        this = {length: spread.correlation for length, spread in shown.items()}
        found[hour] = _largest_of_each(found.get(hour, {}), this)
        return {at: found[at] for at in sorted(found)[-HOURS_OF_DAY:]}

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

    def by_hour_of_day(self) -> list[BadTotal]:
        """Return what was counted in the last 24 hours, by hour of the day (UTC)."""
        found = [NOTHING] * HOURS_OF_DAY
        for at, sums in self.hours.items():
            found[at % HOURS_OF_DAY] = sums
        return found

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


def grown_since(last: Counts, counts: Counts) -> dict[str, BadTotal]:
    """Return what known processes counted between two looks; new ones count from now on."""
    return {
        process: growth(last[process], count)
        for process, count in counts.items()
        if process in last
    }


def growth(before: BadTotal, now: BadTotal) -> BadTotal:
    """Return what was counted between two looks."""
    total = max(0.0, now.total - before.total)
    return BadTotal(min(total, max(0.0, now.bad - before.bad)), total)


def grouped(counts: Mapping[str, BadTotal]) -> dict[str, BadTotal]:
    """Return the counts by process; of many, those of neighbours put together."""
    if len(counts) <= MOST_PODS:
        return dict(counts)
    groups: dict[str, BadTotal] = {}
    for number, process in enumerate(sorted(counts)):
        name = f"group {number % MOST_PODS}"
        groups[name] = groups.get(name, NOTHING) + counts[process]
    return groups


# --- one step -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """What lies between a look that a checkpoint holds and the first one after a restart."""

    before: Lives
    after: Lives

    def unsteady(self, processes: Set[str]) -> set[str]:
        """Return who cannot be gone on from: counters began anew, or left something out."""
        return {process for process in processes if not self._is_steady(process)}

    def _is_steady(self, process: str) -> bool:
        if process not in self.before or process not in self.after:
            return False
        before, after = self.before[process], self.after[process]
        if before is None or after is None:
            return before is after
        return abs(after - before) <= SAME_BIRTH

    def turnover(self, last: Set[str], now: Set[str]) -> float:
        """Return how many times more requests a pod may have got at one time than at another.

        last, now: the processes of one side at both ends. 1: nobody came or went.
        """
        before, after = last & self.before.keys(), now & self.after.keys()
        both = before & after
        return len(before | after) / len(both) if both else 1.0


@dataclass(frozen=True)
class Moment:
    """What one look shares: its time, and the time between two rounds.

    behind: processes that were not seen in the last round; what they show next is of several.
    gap: of the first look after a restart that goes on from a checkpoint.
    """

    now: datetime
    interval: timedelta
    behind: Set[str] = frozenset()
    gap: Gap | None = None


@dataclass(frozen=True)
class Counted:
    """What the processes of one side have counted since the origins of the step.

    served: those that had counted something before.
    """

    counts: Counts = field(default_factory=dict)
    served: Set[str] = frozenset()
    all: Set[str] = frozenset()
    """Whose counts these are, those too that counted nothing."""
    answered: Counts = field(default_factory=dict)
    """Where labels are counted: the requests that the pods of the side answered."""

    def since(self, last: Counts) -> Counted:
        """Return what was counted since the last look, of those that counted something."""
        grown = {p: growth(last.get(p, NOTHING), count) for p, count in self.counts.items()}
        return Counted(_served(grown), self.served | _served(last).keys(), self.counts.keys())

    def without(self, processes: Set[str]) -> Counted:
        """Return the same but for these processes."""
        counts = {p: count for p, count in self.counts.items() if p not in processes}
        return replace(self, counts=counts)

    def known(self) -> dict[str, BadTotal]:
        """Return the counts of those that had counted something before."""
        return {p: count for p, count in self.counts.items() if p in self.served}


@dataclass(frozen=True)
class GateMemory:
    """Of one gate in one step."""

    last: tuple[Counts, Counts] = field(default_factory=lambda: ({}, {}))
    """What the processes of candidate and stable had counted since the step's origins."""
    answered: tuple[Counts, Counts] = field(default_factory=lambda: ({}, {}))
    """Where labels are counted: the requests that both had answered since then."""
    behind: Set[str] = frozenset()
    """Processes that the last look did not see as of its moment."""
    usual: BadTotal = NOTHING
    """What stable had shown before the step, as so many independent requests."""
    strata: Strata = field(default_factory=Strata)
    candidate: Mapping[int, Blocks] = field(default_factory=dict)
    stable: Mapping[int, Blocks] = field(default_factory=dict)

    def look(self, candidate: Counted, stable: Counted, at: Moment) -> GateMemory:
        """Return the memory with what was counted since the last look."""
        ours, theirs = candidate.since(self.last[0]), stable.since(self.last[1])
        if not ours.counts and not theirs.counts:
            return self if at.gap is None else self.passed_over(candidate, stable, at)
        behind = self.behind | at.behind
        if _is_out_of_sight(ours, behind) or _is_out_of_sight(theirs, behind):
            return self.passed_over(candidate, stable, at)
        strata = self.strata
        if ours.counts or strata != Strata():  # no moment begins before the candidate serves
            strata = strata.add(*self._in_moment(ours, theirs, at))
        return replace(
            self.passed_over(candidate, stable, at),
            strata=strata,
            candidate=_add_to_all(self.candidate, ours.counts, at),
            stable=_add_to_all(self.stable, theirs.counts, at),
        )

    def passed_over(self, candidate: Counted, stable: Counted, at: Moment) -> GateMemory:
        """Return the memory that goes on from these counts; what came until now is no evidence.

        A process that this look does not see is not forgotten: it would count twice when it is seen
        again. What it shows then is of several moments.
        """
        last = (
            remembered_counts(self.last[0], candidate.counts),
            remembered_counts(self.last[1], stable.counts),
        )
        unseen = (last[0].keys() - candidate.counts.keys()) | (
            last[1].keys() - stable.counts.keys()
        )
        answered = (
            remembered_counts(self.answered[0], candidate.answered),
            remembered_counts(self.answered[1], stable.answered),
        )
        return replace(self, last=last, answered=answered, behind=at.behind | unseen)

    @cached_property
    def awaited(self) -> float:
        """How many times more labels the candidate would have, if it had as many as stable has.

        At least 1: for each answer, in the same time. Where wrong answers get their labels before
        right ones, or the other way round, those of a version that has only begun are of one kind,
        and stable's, which tell of answers before that time as well, are not.
        """
        ours, theirs = (sum_of(counts.values()).total for counts in self.last)
        our_answers, their_answers = (sum_of(counts.values()).total for counts in self.answered)
        if min(ours, theirs, their_answers) <= 0:
            return 1.0
        return min(max(1.0, our_answers / their_answers * theirs / ours), MOST_AWAITED)

    def compared(self) -> tuple[BadTotal, tuple[BadTotal, ...]]:
        """Return the candidate's counts, and those of stable that it must be worse than, each.

        An answer whose label is awaited is right until then. Which moment it is of nobody knows:
        then the candidate must be worse than stable was altogether, too.
        """
        ours, theirs = self.strata.compared()
        if self.awaited <= 1:
            return ours, (theirs,)
        return BadTotal(ours.bad, ours.total * self.awaited), (
            theirs,
            sum_of(self.last[1].values()),
        )

    def at(self, share: float) -> GateMemory:
        """Return the same requests, with this share of the candidate's bad."""
        return replace(
            self,
            strata=self.strata.at(share),
            candidate={length: one.at(share) for length, one in self.candidate.items()},
        )

    def cells(self, length: int) -> tuple[Cells, Cells]:
        """Return the blocks of both of a length, with the labels that are awaited."""
        ours, theirs = self.candidate[length].cells(), self.stable[length].cells()
        return ours.with_good(self.awaited), theirs

    def _in_moment(self, ours: Counted, theirs: Counted, at: Moment) -> tuple[BadTotal, BadTotal]:
        """Return what both sides counted in one moment."""
        gap = at.gap
        if gap is None:
            return _at_once(ours.without(self.behind), theirs.without(self.behind))
        known = self.last[0].keys() | self.last[1].keys()
        aside = self.behind | at.behind | gap.unsteady(known)
        has_stable = bool(self.last[1] or theirs.all)
        if has_stable and not (self.last[1].keys() & theirs.all) - aside:
            return NOTHING, NOTHING  # of all that stable did, nobody can say when it began
        candidate, stable = _at_once(ours.without(aside), theirs.without(aside))
        more = gap.turnover(self.last[0].keys(), ours.all) * gap.turnover(
            self.last[1].keys(), theirs.all
        )
        return candidate, _at_worst(stable, more)


def _is_out_of_sight(side: Counted, behind: Set[str]) -> bool:
    """Return whether a look goes on without one side: what the other shows is of other moments."""
    return bool(side.all & behind) and side.counts.keys() <= behind


def _served(counts: Counts) -> dict[str, BadTotal]:
    return {p: count for p, count in counts.items() if count.total > 0}


def _at_once(ours: Counted, theirs: Counted) -> tuple[BadTotal, BadTotal]:
    """Return candidate and stable, stable as if it had been there as long as the candidate.

    A process has served for a part of the time only when it shows its first requests. Such a one of
    stable is left out. While one of the candidate's served, all of stable's errors may have come,
    but only a part of its requests: as many as its pods serve while one of the candidate's serves
    what it did.
    """
    known = ours.known()
    seen = theirs.known()
    if theirs.counts and not seen:
        if known:
            return NOTHING, NOTHING
        return sum_of(ours.counts.values()), sum_of(theirs.counts.values())
    candidate, stable = sum_of(ours.counts.values()), sum_of(seen.values())
    new = [count for p, count in ours.counts.items() if p not in known]
    if not new or stable.bad <= 0:
        return candidate, stable
    served = sum_of(new).total
    each = stable.total / len(seen)
    part = min(1.0, served / len(new) / each)
    share = (
        (candidate.total - served) * stable.share + served * min(1.0, stable.share / part)
    ) / candidate.total
    total = stable.total * (1 - served / candidate.total * (1 - part))
    return candidate, BadTotal(min(total, share * total), total)


def _at_worst(stable: BadTotal, more: float) -> BadTotal:
    """Return stable as if all its errors had come while its pods got the least requests.

    When pods come and go in a long moment, those that stay get more at one time than at another:
    `more` times at most. Sums over the moment would hold an outage of both sides against one.
    """
    total = stable.total / more
    return BadTotal(min(total, stable.bad), total)


def remembered_counts(before: Counts, counts: Counts) -> dict[str, BadTotal]:
    """Return the counts at a look, with those of processes that it does not see."""
    vanished = [process for process in before if process not in counts]
    return {**{process: before[process] for process in vanished[-MOST_VANISHED:]}, **counts}


def _add_to_all(blocks: Mapping[int, Blocks], grown: Counts, at: Moment) -> dict[int, Blocks]:
    by_group = grouped(grown)
    return {
        length: blocks.get(length, Blocks()).add(by_group, at.now, at.interval * (length - 0.5))[0]
        for length in LENGTHS
    }


def evidence_of(
    seen: GateMemory,
    spreads: Mapping[int, Spread],
    margin: float | None,
    limit: float | None,
) -> float:
    """Return the evidence of one gate; margin or limit None: not compared with that.

    The least that any length of block allows: whichever describes the traffic holds the promise.
    """
    ours, _ = seen.compared()
    found = []
    if margin is not None:
        found.append(_against_stable(seen, spreads, margin))
    if limit is not None:
        evidence = limit_evidence(ours, limit)
        for length, spread in spreads.items():
            if evidence > 1 and length in seen.candidate:
                cells = seen.candidate[length].cells().with_good(seen.awaited)
                correlated = spread.correlation, _least_inflation(length, spread)
                clustered = clustered_limit_evidence(cells, limit, *correlated)
                evidence = min(evidence, clustered)
        found.append(evidence)
    return max(found, default=0.0)


def _against_stable(
    seen: GateMemory,
    spreads: Mapping[int, Spread],
    margin: float,
    enough: float = 1.0,
) -> float:
    """Return the least evidence of all lengths of block, or less than `enough` of some."""
    ours, stables = seen.compared()
    evidence = min(gate_evidence(ours, theirs, margin) for theirs in stables)
    for length, spread in sorted(spreads.items(), reverse=True):  # long ones are quick, and tell
        if evidence <= 1 or evidence < enough:
            break
        if length in seen.candidate and length in seen.stable:
            least = _least_inflation(length, spread)
            cells = seen.cells(length)
            clustered = clustered_evidence(*cells, margin, spread.correlation, seen.usual, least)
            evidence = min(evidence, clustered)
    return evidence


def smallest_in_blocks(
    seen: GateMemory, spreads: Mapping[int, Spread], margin: float, threshold: float
) -> float | None:
    """Return from which share on a fault of each block would have failed the gate, of `_SHARES`.

    None: not even one of all requests. It is what the verdict itself would say.
    """
    found = None
    for share in _SHARES:
        if _against_stable(seen.at(share), spreads, margin, threshold) < threshold:
            break
        found = share
    return found


def _least_inflation(length: int, spread: Spread) -> float:
    """Return how many times more a small cell varies, at least.

    Whether the parts of a block hang together more than the whole, shorter blocks show. Of the
    shortest nothing does: one with few requests is as clustered as others.
    """
    return spread.inflation if length == LENGTHS[0] else 1.0


def of_labelled(shares: Iterable[float | None], awaited: float) -> float | None:
    """Return the share among answers with a label of a fault that is at least each of `shares`.

    Those without a label, `awaited` times all that have one, count as right. None where one of
    them is None, or no such fault is possible.
    """
    found = list(shares)
    known = [share for share in found if share is not None]
    if len(known) < len(found) or max(known) * awaited > 1:
        return None
    return max(known) * awaited


def largest(spreads: Iterable[Spread]) -> float:
    """Return how many times more counts vary than independent ones would; 1: no more."""
    return max((spread.inflation for spread in spreads), default=1.0)
