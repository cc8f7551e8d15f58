"""The watch over a promoted version: the gates go on against what stable showed before.

The test is a change detector against the upper bound of the share that the old stable showed: at
the same time as the candidate, or in the same hour of the day before, whichever is more. While a
pod of the last good version serves beside it, a change that this control shows as well is nobody's
fault: the two are compared as in a rollout, from the change on. What follows from a breach is
decided in `ends`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.deployment import Count, DeploymentStatus, Gate, GuardStatus, Origin, Tried
from trimtab.decide.rollout.blocks import Counts, growth
from trimtab.decide.rollout.control import LATELY_MINUTES, listen, wanted_control, without_mute
from trimtab.decide.rollout.counting import Side, answer_counts, gate_counts, side_of
from trimtab.decide.rollout.evidence import Counted, Gap, GateMemory, evidence_of, remembered_counts
from trimtab.decide.rollout.habit import EPOCH, HOUR, largest
from trimtab.decide.rollout.judgement import (
    ahead_of,
    alive_in,
    allowed_before,
    interval_of,
    moment_of,
    pair_in,
    spreads_of,
)
from trimtab.decide.rollout.late_labels import late_labels, log_evidence, with_look
from trimtab.decide.rollout.measures import written
from trimtab.decide.rollout.pairing import PairedLook, cells_in, look_at_pairs
from trimtab.decide.rollout.same_rows import (
    awaits_pairs,
    beside_detector,
    look_again,
    paired_evidence,
    tells,
)
from trimtab.decide.rollout.snapshot import (
    Fresh,
    GuardMemory,
    LateLabels,
    Memory,
    Pair,
    PairsSeen,
    Snapshot,
)
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import (
    DetectorState,
    at_most,
    guard_run_length,
    reference_upper_bound,
    update,
)
from trimtab.stats.counts import NOTHING, BadTotal, sum_of
from trimtab.stats.paired import mean_of
from trimtab.stats.sequential import failure_threshold
from trimtab.stats.spread import Spread

MINUTE = timedelta(minutes=1)
CONTROL_STARTS = timedelta(seconds=30)
"""After the old pods are no longer kept, the control has been routed to."""
CONTROL_AWAITED = timedelta(minutes=2)
"""After the promotion at most."""
LOOKS_BEFORE_A_CHANGE = 3
"""Of a backend, so that all that shows a change is compared, also what was read ahead of it."""
LEAST_OF_HOUR = 1000.0
"""Requests of an hour of the day before, so that it is a reference."""


@dataclass(frozen=True)
class Breach:
    """The first gate that alarms, with its figures."""

    gate: Gate
    figures: str
    inputs: Mapping[str, Any]
    """What it rests on: `stats.change.update`, or the evidence of a comparison."""


@dataclass(frozen=True)
class _Watched:
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


def watch(
    snapshot: Snapshot, guard: GuardStatus, side: Side, memory: Memory
) -> tuple[Breach | None, Memory]:
    """Take what was counted since the last look.

    Returns the first breach, and what to remember of the look.
    """
    remembered = _with_cells(_restored(memory, guard, snapshot), snapshot, side)
    answered: Counts = {}
    if remembered.late:
        answered = answer_counts(side, snapshot.processes, *_since(guard, remembered.restored))
    watched = _watched(snapshot, guard, side, memory, remembered, answered)
    changed, remembered = _feed_detectors(snapshot, watched, remembered, answered)
    beside, remembered = _look_beside(snapshot, guard, side, watched, remembered)
    threshold, awaits = _threshold(snapshot), _awaits_control(snapshot, guard)
    found = (
        (_breach_in_pairs(one, threshold) if one.pairs_tell else None)
        or _breach_of(one, changed, beside, awaits=awaits)
        for one in watched
    )
    breach = next((one for one in found if one is not None), None)
    remembered = replace(
        remembered,
        looked_at=snapshot.now,
        since=guard.since,
        control_since=guard.control_since,
        alive=alive_in(snapshot),
        is_resumed=False,
    )
    return breach, replace(memory, guard=remembered)


def _late_from_now(snapshot: Snapshot) -> dict[str, LateLabels]:
    """Return per gate how labels lag: not yet. The pods of the version before are still there."""
    status, rollout = snapshot.deployment.status, snapshot.deployment.spec.rollout
    if status.last_good is None or status.stable is None:
        return {}
    good, side = side_of(status.last_good), side_of(status.stable)
    late = late_labels(snapshot.processes, good, side, interval_of(snapshot).total_seconds())
    if late is None:
        return {}
    gates = strategy_of(rollout).gates(rollout)
    return {gate.name: late for gate in gates if gate.bad == "outcomes"}


def _with_cells(remembered: GuardMemory, snapshot: Snapshot, side: Side) -> GuardMemory:
    """Return the memory with what both versions had answered at the first look."""
    pair = _pair(snapshot, side)
    if pair is None or remembered.cells is not None:
        return remembered
    return replace(remembered, cells=cells_in(snapshot.processes, pair))


def _pair(snapshot: Snapshot, side: Side) -> Pair | None:
    good = snapshot.deployment.status.last_good
    return pair_in(snapshot, side, side_of(good)) if good is not None else None


def _awaits_control(snapshot: Snapshot, guard: GuardStatus) -> bool:
    """Return whether a control will soon be there to say whether it shares a change.

    It comes once the old pods are no longer kept ready; where that is long, a change is a breach.
    """
    deployment, now = snapshot.deployment, snapshot.now
    retiring = deployment.status.retiring
    if guard.control_since is not None or retiring is None:
        return False
    if wanted_control(deployment.spec, deployment.status, now) is None:
        return False
    return now < retiring.until + CONTROL_STARTS <= guard.since + CONTROL_AWAITED


def _breach_of(
    one: _Watched, changed: Mapping[str, Breach], beside: Mapping[str, Breach], *, awaits: bool
) -> Breach | None:
    """Return the breach of one gate: a change that the control, if there is one, does not share.

    awaits: there will be one, and what has changed by then is compared with it.
    """
    alone, compared = changed.get(one.gate.name), beside.get(one.gate.name)
    if not one.is_beside:
        has_limit = one.gate.limit is not None or one.gate.against is None
        return None if awaits and not has_limit else alone
    if one.needs_both:
        return compared if alone is not None else None
    return alone or compared


def _watched(
    snapshot: Snapshot,
    guard: GuardStatus,
    side: Side,
    memory: Memory,
    remembered: GuardMemory,
    answered: Counts,
) -> list[_Watched]:
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
        counts = _counts(gate, side, snapshot, guard, restored)
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
        share = _bound(gate, guard, spread, now, is_beside, own)
        if share is None and not is_beside and paired is None:
            continue
        found.append(_Watched(gate, counts, spreads, share, is_beside, paired, seen, pairs_tell))
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
    origins, began = _since(guard, remembered.restored)
    return look_at_pairs(
        gate,
        _pair(snapshot, side),
        side.revision,
        snapshot.processes,
        origins,
        began,
        spread,
        remembered.cells,
    )


def _total(counts: Counts) -> float:
    return sum_of(counts.values()).total


def _since(guard: GuardStatus, restored: datetime | None) -> tuple[Sequence[Origin], datetime]:
    """Return where counting began: with the guard, or when it was taken up."""
    if restored is not None:
        return (), restored
    return guard.origins, guard.counted_since or guard.since


def _threshold(snapshot: Snapshot) -> float:
    rollout = snapshot.deployment.spec.rollout
    return failure_threshold(rollout.confidence, len(strategy_of(rollout).gates(rollout)), 1)


def _breach_in_pairs(one: _Watched, threshold: float) -> Breach | None:
    """Return the breach that pairs show; where there are none the detector has its half."""
    paired, seen, gate = one.paired, one.seen, one.gate
    if paired is None or seen is None:
        return None
    evidence = paired_evidence(seen, paired) / 2
    if evidence < threshold:
        return None
    difference, requests = paired.shown
    counts = paired.told().counts
    if paired.counts_as_they_came and any(seen.risen.values()):
        counts = {f"{d:g}": count for d, count in sorted(seen.risen.items())}
        difference, requests = mean_of(seen.risen), sum(seen.risen.values())
    figures = (
        f"{gate.name}: {difference * 100:+.2f}% wrong on the same rows as the version before "
        f"in {written(requests)} labelled requests since it changed, "
        f"allowed +{gate.margin * 100:g}%; "
        f"evidence {written(evidence)} >= {written(threshold)}"
    )
    inputs = {
        "gate": gate.name,
        "pairs": counts,
        "evened": not paired.counts_as_they_came,
        "logs": [round(log, 4) for log in seen.change.logs if paired.counts_as_they_came],
        "margin": gate.margin,
        "evidence": evidence,
        "threshold": threshold,
    }
    return Breach(gate, figures, inputs)


def _counts(
    gate: Gate, side: Side, snapshot: Snapshot, guard: GuardStatus, restored: datetime | None
) -> Counts:
    """Return what the processes of a version counted since the guard began, or was taken up."""
    return gate_counts(gate, side, snapshot.processes, *_since(guard, restored))


def _bound(
    gate: Gate, guard: GuardStatus, spread: float, now: datetime, is_beside: bool, own: BadTotal
) -> float | None:
    """Return the share that must not be passed; None: there is nothing to go by.

    own: what the version showed while pairs found nothing in it, where they have stopped. A gate
    with both a limit and a control has the limit alone: the control is the better reference.
    """
    if gate.limit is not None and is_beside:
        return gate.limit
    bounds = [] if gate.limit is None else [gate.limit]
    shown = guard.references.get(gate.name)
    if shown is not None and gate.against == "stable":
        references = [shown, *_same_hours(guard.hours.get(gate.name, []), now)]
        counts = [BadTotal(one.bad, one.total) for one in references]
        counts += [own] if own.total > 0 else []
        bounds.append(
            max(reference_upper_bound(count.divided(spread), gate.margin) for count in counts)
        )
    return min(bounds, default=None)


def _same_hours(hours: list[Count], now: datetime) -> list[Count]:
    """Return what was seen in this hour of the day before, and in the ones around it."""
    if not hours:
        return []
    this = (now - EPOCH) // HOUR
    around = (hours[(this + off) % len(hours)] for off in (-1, 0, 1))
    return [hour for hour in around if hour.total >= LEAST_OF_HOUR]


def _feed_detectors(
    snapshot: Snapshot, watched: list[_Watched], remembered: GuardMemory, answered: Counts
) -> tuple[dict[str, Breach], GuardMemory]:
    """Return the gates whose change detectors alarm, and what to remember."""
    spec, now = snapshot.deployment.spec, snapshot.now
    run_length = guard_run_length(
        spec.guard.for_.total_seconds(),
        spec.metrics.interval.total_seconds(),
        max(1, len(watched)),
        spec.rollout.confidence,
    )
    elapsed = (now - (remembered.looked_at or now)).total_seconds()
    detectors, last = dict(remembered.detectors), dict(remembered.last)
    late, known = dict(remembered.late), remembered.answered
    gap = Gap(remembered.alive, alive_in(snapshot)) if remembered.is_resumed else None
    apart = gap.unsteady(known.keys()) if gap is not None else set()
    answers = sum(
        growth(known.get(p, NOTHING), count).total
        for p, count in answered.items()
        if p not in apart
    )
    pairs = {one.gate.name: one.seen for one in watched if one.seen is not None}
    found: dict[str, Breach] = {}
    for one in watched:
        name, total = one.gate.name, one.total
        before = last.get(name, {})
        aside = gap.unsteady(before.keys()) if gap is not None else set()
        batch = sum_of(
            growth(before.get(p, NOTHING), count)
            for p, count in one.counts.items()
            if p not in aside
        )
        last[name] = remembered_counts(before, one.counts)
        if name in late:
            late[name] = with_look(late[name], elapsed, answers, batch)
        state = detectors.get(name, DetectorState())
        if one.is_decided_by_pairs:
            detectors.pop(name, None)  # it begins anew if they stop
            continue
        if one.share is None:
            continue
        spread = largest(one.spreads.values())
        seen = one.seen
        if seen is not None and seen.is_excused and not one.pairs_tell:
            # They stopped: what they excused is no change any more.
            state, seen = DetectorState(), replace(seen, calm_at=None, is_excused=False)
        detectors[name] = update(state, batch, elapsed, one.share, run_length, spread)
        if seen is not None and one.paired is not None:
            seen = beside_detector(seen, one.paired, detectors[name], one.share, now)
        if seen is not None:
            pairs[name] = seen
        is_alarm = detectors[name].is_alarm
        if is_alarm and name in late and _may_be_late(late[name], one, run_length, spread):
            detectors[name], is_alarm = at_most(detectors[name], run_length), False
        if is_alarm and not (one.pairs_tell and seen and awaits_pairs(seen, now)):
            changed = detectors[name].changed
            figures = (
                f"{name}: {written(changed.bad)} of {written(changed.total)} since it changed "
                f"({changed.share * 100:.2f}%), more than {one.share * 100:.2f}% allowed"
            )
            inputs = {
                "gate": name,
                "state": state.to_dict(),
                "batch": [batch.bad, batch.total],
                "elapsed": elapsed,
                "share": one.share,
                "runLength": run_length,
                "spread": spread,
                "sincePromotion": [total.bad, total.total],
            }
            found[name] = Breach(one.gate, figures, inputs)
    return found, replace(
        remembered,
        detectors=detectors,
        last=last,
        pairs=pairs,
        late=late,
        answered=remembered_counts(known, answered),
    )


def _may_be_late(late: LateLabels, one: _Watched, run_length: float, spread: float) -> bool:
    """Return whether wrong labels may be so many because others are of another time."""
    gate = one.gate
    if one.share is None:
        return False
    is_compared = gate.limit is None and gate.against == "stable"
    margin = gate.margin if is_compared else None
    return log_evidence(late, one.share, margin, spread) < math.log(run_length)


# --- beside a control -----------------------------------------------------------------------------


def _look_beside(
    snapshot: Snapshot,
    guard: GuardStatus,
    side: Side,
    watched: list[_Watched],
    remembered: GuardMemory,
) -> tuple[dict[str, Breach], GuardMemory]:
    """Return the gates in which the version is worse than its control, and what to remember.

    Compared is what came since the change that the detector sees, if it sees one. Readings of a
    backend are of other moments for each pod: as for gates, the version is worse only if it is so
    whichever of both is ahead.
    """
    control = snapshot.deployment.status.last_good
    if control is None or guard.control_since is None:
        return {}, replace(remembered.alone(), lately={}, minute=None, heard={})
    threshold = _threshold(snapshot)
    views = _views(snapshot)
    found: dict[str, Breach] = {}
    memories: dict[str, tuple[GateMemory, ...]] = {}
    fresh: dict[str, Fresh] = {}
    grown: dict[str, BadTotal] = {}
    for one in watched:
        if not one.is_beside:
            continue
        name = one.gate.name
        counted = [
            (
                Counted(_counts(one.gate, side, ours, guard, remembered.restored)),
                Counted(_counts(one.gate, side_of(control), theirs, guard, remembered.restored)),
            )
            for ours, theirs in views
        ]
        known = _known_beside(remembered, name, counted)
        seen = _looked(known, counted, snapshot, is_resumed=remembered.is_resumed)
        grown[name] = growth(sum_of(known[0].last[1].values()), sum_of(seen[0].last[1].values()))
        evidence, worse = min(
            ((evidence_of(memory, one.spreads, one.gate.margin, None), memory) for memory in seen),
            key=lambda pair: pair[0],
        )
        if evidence >= threshold:
            found[name] = _worse(one.gate, worse, control, evidence, threshold)
        state = remembered.detectors.get(name)
        has_changed = state is None or state.changed.total > 0
        if has_changed or not one.needs_both:
            memories[name] = seen
        elif len(views) == 1:
            memories[name] = _from_now(seen)
        else:
            memories[name], fresh[name] = _renewed(
                remembered.fresh.get(name), seen, counted, snapshot
            )
    remembered = replace(
        remembered,
        beside={name: seen[0] for name, seen in memories.items()},
        turned={name: seen[1] for name, seen in memories.items() if len(seen) > 1},
        fresh=fresh,
    )
    return found, _with_minute(remembered, grown, snapshot.now)


_BothCounted = Sequence[tuple[Counted, Counted]]
"""Version and control, for each way to see them."""


def _views(snapshot: Snapshot) -> list[tuple[Snapshot, Snapshot]]:
    """Return how version and control are seen: once as of one moment, or each ahead in turn."""
    if snapshot.deployment.spec.metrics.prometheus is None:
        return [(snapshot, snapshot)]
    ahead = replace(snapshot, processes=ahead_of(snapshot.processes))
    return [(snapshot, ahead), (ahead, snapshot)]


def _known_beside(
    remembered: GuardMemory, name: str, counted: _BothCounted
) -> tuple[GateMemory, ...]:
    """Return what is remembered of a gate; what came before the control served is of no moment."""
    known = (remembered.beside.get(name), remembered.turned.get(name))
    return tuple(
        before or GateMemory(last=(ours.counts, theirs.counts))
        for before, (ours, theirs) in zip(known, counted, strict=False)
    )


def _looked(
    known: Sequence[GateMemory], counted: _BothCounted, snapshot: Snapshot, *, is_resumed: bool
) -> tuple[GateMemory, ...]:
    """Return the memories with one more look.

    Over a restart the control may have been seen before or after the version: no moment.
    """
    at = moment_of(snapshot)
    return tuple(
        (before.passed_over if is_resumed else before.look)(ours, theirs, at)
        for before, (ours, theirs) in zip(known, counted, strict=True)
    )


def _from_now(seen: Sequence[GateMemory]) -> tuple[GateMemory, ...]:
    return tuple(GateMemory(last=one.last, behind=one.behind) for one in seen)


def _renewed(
    known: Fresh | None,
    seen: tuple[GateMemory, ...],
    counted: _BothCounted,
    snapshot: Snapshot,
) -> tuple[tuple[GateMemory, ...], Fresh]:
    """Return what to compare as long as nothing has changed: the last few looks.

    What is read ahead shows a change before the detector does. Were it forgotten, an outage of both
    would be the version's alone.
    """
    if known is None or len(known.seen) != len(seen):
        return seen, Fresh(0, _from_now(seen))
    fresh = Fresh(known.looks + 1, _looked(known.seen, counted, snapshot, is_resumed=False))
    if fresh.looks < LOOKS_BEFORE_A_CHANGE:
        return seen, fresh
    return fresh.seen, Fresh(0, _from_now(seen))


def heed_control(
    snapshot: Snapshot, guard: GuardStatus, side: Side, memory: Memory
) -> tuple[GuardStatus, Memory, str]:
    """Return the guard as it goes on where its control tells nothing, before a look.

    Also, in words, what there is to tell of that; empty: nothing new.
    """
    remembered, control = memory.guard, snapshot.deployment.status.last_good
    if remembered is None or remembered.revision != guard.revision:
        return guard, memory, ""
    if control is None or guard.control_since is None:
        return guard, memory, ""
    rollout, restored = snapshot.deployment.spec.rollout, remembered.restored
    counted = {
        gate.name: (
            sum_of(_counts(gate, side, snapshot, guard, restored).values()).total,
            sum_of(_counts(gate, side_of(control), snapshot, guard, restored).values()).total,
        )
        for gate in strategy_of(rollout).gates(rollout)
        if gate.against == "stable"
    }
    replicas = snapshot.deployment.spec.replicas
    heard = listen(remembered.heard, counted, snapshot.now, replicas, interval_of(snapshot))
    fell = [
        name
        for name, one in heard.items()
        if one.is_mute and not (name in remembered.heard and remembered.heard[name].is_mute)
    ]
    memory = replace(memory, guard=replace(remembered, heard=heard))
    guard, memory = without_mute(guard, memory, fell)
    if not fell:
        return guard, memory, ""
    silent = snapshot.now - min(heard[name].at for name in fell)
    return (
        guard,
        memory,
        (
            f"{control.version} beside it told nothing of {', '.join(fell)} for "
            f"{silent.total_seconds():.0f} s: the guard goes on as without a control"
        ),
    )


def _with_minute(
    remembered: GuardMemory, grown: Mapping[str, BadTotal], now: datetime
) -> GuardMemory:
    minute = remembered.minute
    is_new = minute is None or not timedelta(0) <= now - minute < MINUTE
    lately = {}
    for name, count in grown.items():
        minutes = remembered.lately.get(name, ())
        if minutes and minutes[-1].total <= 0:
            minutes = minutes[:-1]  # of nothing: it shows what was before
            lately[name] = (*minutes, count)
        elif is_new or not minutes:
            lately[name] = (*minutes, count)[-LATELY_MINUTES:]
        else:
            lately[name] = (*minutes[:-1], minutes[-1] + count)
    return replace(remembered, lately=lately, minute=now if is_new else minute)


def _worse(
    gate: Gate, seen: GateMemory, control: Tried, evidence: float, threshold: float
) -> Breach:
    ours, theirs = seen.strata.compared()
    figures = (
        f"{gate.name}: {written(ours.bad)} of {written(ours.total)} ({ours.share * 100:.2f}%), "
        f"{theirs.share * 100:.2f}% of {control.version} beside it, "
        f"allowed +{gate.margin * 100:g}%; evidence {written(evidence)} >= {written(threshold)}"
    )
    inputs = {
        "gate": gate.name,
        "version": [ours.bad, ours.total],
        "control": [theirs.bad, theirs.total],
        "margin": gate.margin,
        "evidence": evidence,
        "threshold": threshold,
    }
    return Breach(gate, figures, inputs)


# --- over a restart -------------------------------------------------------------------------------


def of_this_guard(status: DeploymentStatus, memory: Memory) -> Memory:
    """Return the memory without what a checkpoint holds of another guard.

    Nor of this one, if its control came or went since: detectors began anew, and what they saw
    beside it must not alarm without it.
    """
    known, guard = memory.guard, status.guard
    if known is None or not known.is_resumed:
        return memory
    then = known.revision, known.since, known.control_since
    if guard is not None and then == (guard.revision, guard.since, guard.control_since):
        return memory
    return replace(memory, guard=None)


def _restored(memory: Memory, guard: GuardStatus, snapshot: Snapshot) -> GuardMemory:
    """Return the memory of this guard: kept from the last pass, or as status recorded it.

    At the first look habits are still those of the version before, or so of both that the new one
    has had no time to show anything.
    """
    known = memory.guard
    if known is not None and known.revision == guard.revision:
        return known
    if guard.detectors:
        return GuardMemory(guard.revision, _read_detectors(guard), restored=snapshot.now)
    return GuardMemory(
        guard.revision,
        allowed=allowed_before(snapshot, memory),
        late=_late_from_now(snapshot),
    )


def _read_detectors(guard: GuardStatus) -> dict[str, DetectorState]:
    saved: Mapping[str, Mapping[str, Any]] = guard.detectors
    try:
        return {name: DetectorState.from_dict(entry["state"]) for name, entry in saved.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # of another release, or edited by hand: the detectors begin anew


def with_detectors(status: DeploymentStatus, memory: Memory) -> DeploymentStatus:
    """Return the status with the detectors as a restart will take them up."""
    if status.guard is None or memory.guard is None or not memory.guard.detectors:
        return status
    detectors = {name: {"state": state.to_dict()} for name, state in memory.guard.detectors.items()}
    guard = status.guard.model_copy(update={"detectors": detectors})
    return status.model_copy(update={"guard": guard})
