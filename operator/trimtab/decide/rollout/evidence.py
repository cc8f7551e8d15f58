"""What gates remember of a step, and the evidence in it.

A gate's sums say how much was bad. Whether that is evidence depends on when the requests came
(`blocks`), and on how much pods differ by themselves (`habit`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from trimtab.decide.rollout.blocks import LENGTHS, Blocks, Counts, Strata, grouped, growth
from trimtab.stats.counts import NOTHING, SAME_START_SECONDS, BadTotal, sum_of
from trimtab.stats.sequential import gate_evidence, limit_evidence
from trimtab.stats.spread import Cells, Spread, clustered_evidence, clustered_limit_evidence

_SHARES = (1.0, 0.5, 0.2, 0.1)
"""Faults that blocks are asked about: each costs as much as a verdict."""
MOST_AWAITED = 1e6
"""Times more labels: pods that tell of more are not to be believed."""
MOST_VANISHED = 1024
"""Processes that are remembered although the last look did not see them."""
SAME_BIRTH = timedelta(seconds=SAME_START_SECONDS)
Lives = Mapping[str, datetime | None]
"""Processes of Ready pods whose counts can be gone on from, and when each began, if it says."""


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
