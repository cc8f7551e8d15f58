"""The watch over a promoted version: the gates go on against what stable showed before.

There is no control beside it any more, so the test is a change detector against the upper bound
of the share that the old stable showed at the same time as the candidate. What follows from a
breach is decided in `ends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trimtab.api.deployment import DeploymentStatus, Gate, GuardStatus
from trimtab.decide.rollout.evidence import growth, largest
from trimtab.decide.rollout.gates import Side, gate_count
from trimtab.decide.rollout.judgement import spreads_of
from trimtab.decide.rollout.snapshot import GuardMemory, Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import DetectorState, guard_run_length, reference_upper_bound, update
from trimtab.stats.counts import NOTHING, BadTotal


@dataclass(frozen=True)
class Breach:
    """The first gate whose detector alarms, with its figures."""

    gate: Gate
    figures: str
    inputs: Mapping[str, Any]
    """What `stats.change.update` was given, and alarmed on."""


def watch(
    snapshot: Snapshot, guard: GuardStatus, side: Side, memory: Memory
) -> tuple[Breach | None, Memory]:
    """Feed what was counted since the last look to every gate's detector.

    Returns the first breach, and what to remember of the look.
    """
    spec, now = snapshot.deployment.spec, snapshot.now
    remembered = _restored(memory, guard)
    watched = _references(snapshot, guard, memory)
    run_length = guard_run_length(
        spec.guard.for_.total_seconds(),
        spec.metrics.interval.total_seconds(),
        max(1, len(watched)),
        spec.rollout.confidence,
    )
    elapsed = (now - (remembered.looked_at or now)).total_seconds()
    detectors, last = dict(remembered.detectors), dict(remembered.last)
    breach: Breach | None = None
    for name, (gate, share) in watched.items():
        total = gate_count(gate, side, snapshot.processes, guard.origins, guard.since)
        batch = growth(last.get(name, NOTHING), total)
        last[name] = total
        state = detectors.get(name, DetectorState())
        spread = _spread(snapshot, memory, name)
        detectors[name] = update(state, batch, elapsed, share, run_length, spread)
        if breach is None and detectors[name].is_alarm:
            changed = detectors[name].changed
            figures = (
                f"{gate.name}: {changed.bad:.0f} of {changed.total:.0f} since it changed "
                f"({changed.share * 100:.2f}%), more than {share * 100:.2f}% allowed"
            )
            inputs = {
                "gate": name,
                "state": state.to_dict(),
                "batch": [batch.bad, batch.total],
                "elapsed": elapsed,
                "share": share,
                "runLength": run_length,
                "spread": spread,
                "sincePromotion": [total.bad, total.total],
            }
            breach = Breach(gate, figures, inputs)
    return breach, replace(memory, guard=GuardMemory(guard.revision, detectors, last, now))


def _spread(snapshot: Snapshot, memory: Memory, gate: str) -> float:
    """Return how many times more the counts of pods vary than independent ones would."""
    return largest(spreads_of(snapshot, memory, gate).values())


def _references(
    snapshot: Snapshot, guard: GuardStatus, memory: Memory
) -> dict[str, tuple[Gate, float]]:
    """Return the gates that can be watched, with the share that must not be passed."""
    spec = snapshot.deployment.spec
    watched: dict[str, tuple[Gate, float]] = {}
    for gate in strategy_of(spec.rollout).gates(spec.rollout):
        shown = guard.references.get(gate.name)
        bounds = []
        if shown is not None and gate.against == "stable":
            reference = BadTotal(shown.bad, shown.total).divided(
                _spread(snapshot, memory, gate.name)
            )
            bounds.append(reference_upper_bound(reference, gate.margin))
        if gate.limit is not None:
            bounds.append(gate.limit)
        if bounds:
            watched[gate.name] = (gate, min(bounds))
    return watched


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
