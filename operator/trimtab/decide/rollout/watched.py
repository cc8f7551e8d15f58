"""What each gate shows under guard: counts, spread, pairs, and the share not to be passed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from trimtab.api.deployment import Count, Gate, GuardStatus, Origin
from trimtab.decide.rollout.blocks import Counts
from trimtab.decide.rollout.counting import Side, gate_counts, side_of
from trimtab.decide.rollout.habit import (
    EPOCH,
    HOUR,
    HOURS_OF_DAY,
    LEARNT_IN_PARTS,
    largest,
    lower_bound,
)
from trimtab.decide.rollout.judgement import pair_in, spreads_of
from trimtab.decide.rollout.pairing import PairedLook, look_at_pairs
from trimtab.decide.rollout.same_rows import look_again, tells
from trimtab.decide.rollout.snapshot import (
    GuardMemory,
    LateLabels,
    Memory,
    Pair,
    PairsSeen,
    Snapshot,
)
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import reference_upper_bound
from trimtab.stats.counts import NOTHING, BadTotal, sum_of
from trimtab.stats.sequential import failure_threshold
from trimtab.stats.spread import Spread

LEAST_OF_HOUR = 1000.0
"""Requests of an hour of the day before, so that it is a reference."""
EVEN = 0.04
HOURS_BEFORE = 3
"""Before the one of the promotion that are looked at for what recurs."""


@dataclass(frozen=True)
class Breach:
    """The first gate that alarms, with its figures."""

    gate: Gate
    figures: str
    inputs: Mapping[str, Any]
    """What it rests on: `stats.change.update`, or the evidence of a comparison."""


@dataclass(frozen=True)
class Watched:
    """One gate under guard. share: what must not be passed, of those without a control."""

    gate: Gate
    counts: Counts
    spreads: Mapping[int, Spread]
    share: float | None
    is_beside: bool
    """Whether it is compared with the control, too."""
    paired: PairedLook | None = None
    """What it showed on the same rows as the version before."""
    seen: PairsSeen | None = None
    """What is remembered of that."""
    pairs_tell: bool = False
    """What traffic does to both cancels in them."""

    @property
    def is_decided_by_pairs(self) -> bool:
        """Whether pairs alone decide: labels that depend on the answer mislead the detector."""
        return self.pairs_tell and self.paired is not None and not self.paired.counts_as_they_came

    @property
    def needs_both(self) -> bool:
        """Whether a change is a breach only if the control does not show it.

        An absolute limit asks for no control.
        """
        return self.is_beside and self.share is not None and self.gate.limit is None

    @property
    def total(self) -> BadTotal:
        """What the version counted since its promotion."""
        return sum_of(self.counts.values())


def watched_gates(
    snapshot: Snapshot,
    guard: GuardStatus,
    side: Side,
    memory: Memory,
    remembered: GuardMemory,
    answered: Counts,
) -> list[Watched]:
    """Return the gates that can be watched."""
    restored, now = remembered.restored, snapshot.now
    rollout, found = snapshot.deployment.spec.rollout, []
    for gate in strategy_of(rollout).gates(rollout):
        spreads = spreads_of(snapshot, memory, gate.name)
        if gate.name in remembered.allowed:
            spreads = remembered.allowed[gate.name].of(spreads)
        spread = largest(spreads.values())
        heard = remembered.heard.get(gate.name)
        is_mute = heard is not None and heard.is_mute
        is_beside = guard.control_since is not None and gate.against == "stable" and not is_mute
        counts = counts_of(gate, side, snapshot, guard, restored)
        paired = _paired(gate, side, snapshot, guard, remembered, spread)
        late = remembered.late.get(gate.name)
        if paired is not None and late is not None:
            paired = replace(paired, awaited=late.at(_total(answered), _total(counts)).awaited)
        known = remembered.pairs.get(gate.name, PairsSeen())
        seen, pairs_tell = None, False
        if paired is not None:
            horizon, total = snapshot.deployment.spec.guard.for_, sum_of(counts.values())
            seen = look_again(known, paired, total, now, horizon, is_taken_up=restored is not None)
            pairs_tell = tells(seen, paired, now)
        own = NOTHING if pairs_tell else known.own
        references = _references(gate, guard, late, own, spread, now)
        share = _bound(gate, references, spread, is_beside)
        if share is None and not is_beside and paired is None:
            continue
        found.append(Watched(gate, counts, spreads, share, is_beside, paired, seen, pairs_tell))
    return found


def _paired(
    gate: Gate,
    side: Side,
    snapshot: Snapshot,
    guard: GuardStatus,
    remembered: GuardMemory,
    spread: float,
) -> PairedLook | None:
    """Return what the version and the last good one showed on the same rows."""
    origins, began = counted_since(guard, remembered.restored)
    return look_at_pairs(
        gate,
        pair_of(snapshot, side),
        side.revision,
        snapshot.processes,
        origins,
        began,
        spread,
        remembered.cells,
    )


def _total(counts: Counts) -> float:
    return sum_of(counts.values()).total


def _shown(gate: Gate, guard: GuardStatus, late: LateLabels | None) -> list[BadTotal]:
    """Return what the version before showed in the last step.

    Where labels lag, those of one kind are of another time than those of the other, and a step
    changes its traffic: then what it showed is believed as far as the candidate showed it too, or
    it did so in all its life.
    """
    counted = guard.references.get(gate.name)
    if counted is None:
        return []
    shown = BadTotal(counted.bad, counted.total)
    if late is None or not late.lagged or late.before_labels.total <= 0:
        return [shown]
    return [min(shown, late.before_labels, key=lambda one: one.share), late.usual]


def _references(
    gate: Gate,
    guard: GuardStatus,
    late: LateLabels | None,
    own: BadTotal,
    spread: float,
    now: datetime,
) -> list[BadTotal]:
    """Return what a version may be as bad as; nothing: no version before is there to go by.

    own: what the version showed while pairs found nothing in it, where they have stopped.
    """
    shown = _shown(gate, guard, late)
    if not shown or gate.against != "stable":
        return []
    is_late = late is not None and late.lagged
    hours = _same_hours(guard, gate.name, now)
    rhythm = _rhythm(guard, gate.name, now, spread, is_late=is_late)
    return [*shown, *hours, *rhythm, *([own] if own.total > 0 else [])]


def _bound(gate: Gate, references: list[BadTotal], spread: float, is_beside: bool) -> float | None:
    """Return the share that must not be passed; None: there is nothing to go by.

    A gate with both a limit and a control has the limit alone: the control is the better reference.
    """
    if gate.limit is not None and is_beside:
        return gate.limit
    bounds = [] if gate.limit is None else [gate.limit]
    if references:
        bounds.append(
            max(reference_upper_bound(one.divided(spread), gate.margin) for one in references)
        )
    return min(bounds, default=None)


def _same_hours(guard: GuardStatus, gate: str, now: datetime) -> list[BadTotal]:
    """Return what was seen in this hour of the day before, and in the ones around it."""
    hours = guard.hours.get(gate, [])
    seen = [_of_hour(hours, at) for at in _around(now)]
    return [hour for hour in seen if hour.total >= LEAST_OF_HOUR]


def _rhythm(
    guard: GuardStatus, gate: str, now: datetime, spread: float, *, is_late: bool
) -> list[BadTotal]:
    """Return the worst five minutes that recur within hours; nothing: the hours were even.

    They are looked for in the hours around this one of the day before, and in the last ones before
    the promotion. The second worst is taken: an outage is in one hour, a rhythm in each. Where
    labels lag (`is_late`), those of right and wrong answers are of other times, and only even
    traffic makes no rhythm of that.
    """
    hours, peaks = guard.hours.get(gate, []), guard.peaks.get(gate, [])
    this = (guard.since - EPOCH) // HOUR
    asked = {at % HOURS_OF_DAY for at in (*_around(now), *range(this - HOURS_BEFORE, this + 1))}
    known = {at: (_of_hour(hours, at), _of_hour(peaks, at)) for at in asked}
    fullest = max((hour for hour, _ in known.values()), key=lambda hour: hour.total)
    found = []
    for hour, peak in known.values():
        if hour.total < LEAST_OF_HOUR or lower_bound(peak.divided(spread)) <= hour.share:
            continue
        if not is_late or _is_even(peak, hour) or _is_even(peak, fullest):
            found.append(peak)
    return sorted(found, key=lambda peak: peak.share)[-2:-1]


def _is_even(peak: BadTotal, hour: BadTotal) -> bool:
    """Return whether five minutes had as many labels as others of an hour, but for a round.

    Not all of an hour need be known: the first and the last one are parts.
    """
    usual = hour.total * (LEARNT_IN_PARTS / HOUR)
    return abs(peak.total - usual) <= EVEN * usual + 2 * math.sqrt(usual)


def _of_hour(day: list[Count], at: int) -> BadTotal:
    if not day:
        return NOTHING
    hour = day[at % len(day)]
    return BadTotal(hour.bad, hour.total)


def _around(now: datetime) -> list[int]:
    this = (now - EPOCH) // HOUR
    return [this + off for off in (-1, 0, 1)]


def counts_of(
    gate: Gate, side: Side, snapshot: Snapshot, guard: GuardStatus, restored: datetime | None
) -> Counts:
    """Return what the processes of a version counted since the guard began, or was taken up."""
    return gate_counts(gate, side, snapshot.processes, *counted_since(guard, restored))


def counted_since(
    guard: GuardStatus, restored: datetime | None
) -> tuple[Sequence[Origin], datetime]:
    """Return where counting began: with the guard, or when it was taken up."""
    if restored is not None:
        return (), restored
    return guard.origins, guard.counted_since or guard.since


def pair_of(snapshot: Snapshot, side: Side) -> Pair | None:
    """Return the version and the last good one, if both answer the same rows."""
    good = snapshot.deployment.status.last_good
    return pair_in(snapshot, side, side_of(good)) if good is not None else None


def threshold_of(snapshot: Snapshot) -> float:
    """Return the evidence from which a gate compared with others is a breach."""
    rollout = snapshot.deployment.spec.rollout
    return failure_threshold(rollout.confidence, len(strategy_of(rollout).gates(rollout)), 1)
