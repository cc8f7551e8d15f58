"""The watch over a promoted version: the gates go on against what stable showed before.

The test is a change detector against the upper bound of the share that the old stable showed: at
the same time as the candidate, or in the same hour of the day before, whichever is more. While a
pod of the last good version serves beside it, a change that this control shows as well is nobody's
fault: the two are compared as in a rollout, from the change on. What follows from a breach is
decided in `ends`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trimtab.api.deployment import DeploymentStatus, GuardStatus
from trimtab.decide.rollout.beside_control import awaits_control, look_beside
from trimtab.decide.rollout.blocks import Counts, growth
from trimtab.decide.rollout.counting import Side, answer_counts, side_of
from trimtab.decide.rollout.evidence import Gap, remembered_counts
from trimtab.decide.rollout.habit import largest
from trimtab.decide.rollout.judgement import alive_in, allowed_before, interval_of
from trimtab.decide.rollout.late_labels import late_labels, log_evidence, with_look
from trimtab.decide.rollout.measures import written
from trimtab.decide.rollout.pairing import cells_in
from trimtab.decide.rollout.same_rows import awaits_pairs, beside_detector, paired_evidence
from trimtab.decide.rollout.snapshot import GuardMemory, LateLabels, Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.watched import (
    Breach,
    Watched,
    counted_since,
    pair_of,
    threshold_of,
    watched_gates,
)
from trimtab.stats.change import DetectorState, at_most, guard_run_length, update
from trimtab.stats.counts import NOTHING, sum_of
from trimtab.stats.paired import mean_of


def watch(
    snapshot: Snapshot, guard: GuardStatus, side: Side, memory: Memory
) -> tuple[Breach | None, Memory]:
    """Take what was counted since the last look.

    Returns the first breach, and what to remember of the look.
    """
    remembered = _with_cells(_restored(memory, guard, snapshot), snapshot, side)
    answered: Counts = {}
    if remembered.late:
        answered = answer_counts(
            side, snapshot.processes, *counted_since(guard, remembered.restored)
        )
    watched = watched_gates(snapshot, guard, side, memory, remembered, answered)
    changed, remembered = _feed_detectors(snapshot, watched, remembered, answered)
    beside, remembered = look_beside(snapshot, guard, side, watched, remembered)
    threshold, awaits = threshold_of(snapshot), awaits_control(snapshot, guard)
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
    pair = pair_of(snapshot, side)
    if pair is None or remembered.cells is not None:
        return remembered
    return replace(remembered, cells=cells_in(snapshot.processes, pair))


def _breach_of(
    one: Watched, changed: Mapping[str, Breach], beside: Mapping[str, Breach], *, awaits: bool
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


def _breach_in_pairs(one: Watched, threshold: float) -> Breach | None:
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


def _feed_detectors(
    snapshot: Snapshot, watched: list[Watched], remembered: GuardMemory, answered: Counts
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


def _may_be_late(late: LateLabels, one: Watched, run_length: float, spread: float) -> bool:
    """Return whether wrong labels may be so many because others are of another time."""
    gate = one.gate
    if one.share is None:
        return False
    is_compared = gate.limit is None and gate.against == "stable"
    margin = gate.margin if is_compared else None
    return log_evidence(late, one.share, margin, spread) < math.log(run_length)


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
