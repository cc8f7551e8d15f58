"""The watch over a promoted version: the gates go on against what stable showed before.

While a pod of the last good version serves beside it, the two are compared as in a rollout. Without
one the test is a change detector against the upper bound of the share that the old stable showed:
at the same time as the candidate, or in the same hour of the day before, whichever is more. What
follows from a breach is decided in `ends`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.deployment import Count, DeploymentStatus, Gate, GuardStatus, Tried
from trimtab.decide.rollout.evidence import (
    EPOCH,
    HOUR,
    Counted,
    Counts,
    GateMemory,
    Moment,
    evidence_of,
    growth,
    largest,
)
from trimtab.decide.rollout.gates import Side, gate_counts, side_of
from trimtab.decide.rollout.judgement import interval_of, spreads_of
from trimtab.decide.rollout.snapshot import GuardMemory, Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import DetectorState, guard_run_length, reference_upper_bound, update
from trimtab.stats.counts import NOTHING, BadTotal, sum_of
from trimtab.stats.sequential import failure_threshold
from trimtab.stats.spread import Spread

TEST_LASTS = timedelta(minutes=10)
"""With a control: then the comparison begins anew, so that a late fault is not thinned out."""
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
    """Whether it is compared with the control."""

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
    watched = _watched(snapshot, guard, side, memory)
    remembered = _restored(memory, guard)
    alarm, remembered = _feed_detectors(snapshot, watched, remembered)
    worse, remembered = _compare(snapshot, guard, watched, remembered)
    return alarm or worse, replace(memory, guard=replace(remembered, looked_at=snapshot.now))


def _watched(snapshot: Snapshot, guard: GuardStatus, side: Side, memory: Memory) -> list[_Watched]:
    """Return the gates that can be watched."""
    rollout, found = snapshot.deployment.spec.rollout, []
    control = _control(snapshot, guard)
    for gate in strategy_of(rollout).gates(rollout):
        spreads = spreads_of(snapshot, memory, gate.name)
        is_beside = control is not None and gate.against == "stable"
        share = None
        if gate.limit is not None or not is_beside:
            share = _bound(gate, guard, largest(spreads.values()), snapshot.now, is_beside)
        if share is not None or is_beside:
            counts = gate_counts(gate, side, snapshot.processes, guard.origins, guard.since)
            found.append(_Watched(gate, counts, spreads, share, is_beside))
    return found


def _bound(
    gate: Gate, guard: GuardStatus, spread: float, now: datetime, is_beside: bool
) -> float | None:
    """Return the share that must not be passed; None: there is nothing to go by."""
    bounds = []
    shown = guard.references.get(gate.name)
    if shown is not None and gate.against == "stable" and not is_beside:
        references = [shown, *_same_hours(guard.hours.get(gate.name, []), now)]
        bounds.append(
            max(
                reference_upper_bound(BadTotal(one.bad, one.total).divided(spread), gate.margin)
                for one in references
            )
        )
    if gate.limit is not None:
        bounds.append(gate.limit)
    return min(bounds, default=None)


def _same_hours(hours: list[Count], now: datetime) -> list[Count]:
    """Return what was seen in this hour of the day before, and in the ones around it."""
    if not hours:
        return []
    this = (now - EPOCH) // HOUR
    around = (hours[(this + off) % len(hours)] for off in (-1, 0, 1))
    return [hour for hour in around if hour.total >= LEAST_OF_HOUR]


def _control(snapshot: Snapshot, guard: GuardStatus) -> Tried | None:
    good = snapshot.deployment.status.last_good
    return good if guard.control_since is not None else None


def _feed_detectors(
    snapshot: Snapshot, watched: list[_Watched], remembered: GuardMemory
) -> tuple[Breach | None, GuardMemory]:
    """Return the first gate whose change detector alarms, and what to remember."""
    spec, now = snapshot.deployment.spec, snapshot.now
    run_length = guard_run_length(
        spec.guard.for_.total_seconds(),
        spec.metrics.interval.total_seconds(),
        max(1, len(watched)),
        spec.rollout.confidence,
    )
    elapsed = (now - (remembered.looked_at or now)).total_seconds()
    detectors, last = dict(remembered.detectors), dict(remembered.last)
    breach: Breach | None = None
    for one in watched:
        name, total = one.gate.name, one.total
        batch = growth(last.get(name, NOTHING), total)
        last[name] = total
        state = detectors.get(name, DetectorState())
        if one.share is None:
            continue
        spread = largest(one.spreads.values())
        detectors[name] = update(state, batch, elapsed, one.share, run_length, spread)
        if breach is None and detectors[name].is_alarm:
            changed = detectors[name].changed
            figures = (
                f"{name}: {changed.bad:.0f} of {changed.total:.0f} since it changed "
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
            breach = Breach(one.gate, figures, inputs)
    return breach, replace(remembered, detectors=detectors, last=last)


# --- beside a control -----------------------------------------------------------------------------


def _compare(
    snapshot: Snapshot, guard: GuardStatus, watched: list[_Watched], remembered: GuardMemory
) -> tuple[Breach | None, GuardMemory]:
    """Return the first gate in which the version is worse than its control, and what to remember.

    Each stretch of ten minutes is a test of its own, with its part of the error rate.
    """
    control, now = _control(snapshot, guard), snapshot.now
    if control is None:
        return None, replace(remembered, beside={}, beside_since=None)
    rollout = snapshot.deployment.spec.rollout
    tests = math.ceil(snapshot.deployment.spec.guard.rollback_within / TEST_LASTS)
    gates = len(strategy_of(rollout).gates(rollout))
    threshold = failure_threshold(rollout.confidence, gates, tests)
    since = remembered.beside_since
    is_new = since is None or now - since >= TEST_LASTS
    at = Moment(
        now=now,
        interval=interval_of(snapshot),
        is_whole=not any(process.lags for process in snapshot.processes),
    )
    breach, beside, all_of_control = None, {}, dict(remembered.control)
    for one in watched:
        if not one.is_beside:
            continue
        name = one.gate.name
        theirs = gate_counts(
            one.gate, side_of(control), snapshot.processes, guard.origins, guard.since
        )
        before = remembered.beside.get(name)
        if before is None:  # what came before the control served is of no moment
            before = GateMemory(last=(one.counts, theirs))
        elif is_new:
            before = GateMemory(last=before.last)
        seen = before.look(Counted(one.counts), Counted(theirs), at)
        grown = growth(sum_of(before.last[1].values()), sum_of(seen.last[1].values()))
        all_of_control[name] = all_of_control.get(name, NOTHING) + grown
        beside[name] = seen
        evidence = evidence_of(seen, one.spreads, one.gate.margin, None)
        if breach is None and evidence >= threshold:
            breach = _worse(one.gate, seen, control, evidence, threshold)
    remembered = replace(
        remembered, beside=beside, beside_since=now if is_new else since, control=all_of_control
    )
    return breach, remembered


def _worse(
    gate: Gate, seen: GateMemory, control: Tried, evidence: float, threshold: float
) -> Breach:
    ours, theirs = seen.strata.compared()
    figures = (
        f"{gate.name}: {ours.bad:.0f} of {ours.total:.0f} ({ours.share * 100:.2f}%), "
        f"{theirs.share * 100:.2f}% of {control.version} beside it, "
        f"allowed +{gate.margin * 100:g}%; evidence {evidence:.0f} >= {threshold:.0f}"
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


def _restored(memory: Memory, guard: GuardStatus) -> GuardMemory:
    """Return the memory of this guard: kept from the last pass, or as status recorded it."""
    known = memory.guard
    if known is not None and known.revision == guard.revision:
        return known
    try:
        return _read_detectors(guard)
    except (KeyError, ValueError, TypeError, AttributeError):
        # Of another release, or edited by hand: the detectors begin anew.
        return GuardMemory(revision=guard.revision)


def _read_detectors(guard: GuardStatus) -> GuardMemory:
    saved: Mapping[str, Mapping[str, Any]] = guard.detectors
    return GuardMemory(
        revision=guard.revision,
        detectors={name: DetectorState.from_dict(entry["state"]) for name, entry in saved.items()},
        last={
            name: BadTotal(float(entry["bad"]), float(entry["total"]))
            for name, entry in saved.items()
        },
    )


def with_detectors(status: DeploymentStatus, memory: Memory) -> DeploymentStatus:
    """Return the status with the detectors as a restart will take them up."""
    if status.guard is None or memory.guard is None or not memory.guard.detectors:
        return status
    last = memory.guard.last
    detectors = {
        name: {
            "state": state.to_dict(),
            "bad": last.get(name, NOTHING).bad,
            "total": last.get(name, NOTHING).total,
        }
        for name, state in memory.guard.detectors.items()
    }
    guard = status.guard.model_copy(update={"detectors": detectors})
    return status.model_copy(update={"guard": guard})
