"""The control: one pod of the last good version, which serves beside the promoted one for a while.

What happens to both is not the new version's fault. While the control serves, the two are compared
as a candidate and stable are: over the same moments, with what pods differ by.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from trimtab.api.deployment import Count, DeploymentSpec, DeploymentStatus, GuardStatus, Tried
from trimtab.decide.rollout.snapshot import Memory
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import DetectorState
from trimtab.stats.counts import NOTHING, BadTotal, sum_of

LEAST_REPLICAS = 4
"""From so many on there is a control unless the spec says otherwise: it costs a fifth at most."""
LATELY_MINUTES = 3
"""In each of which the control must show a change that lasts."""


def wanted_control(spec: DeploymentSpec, status: DeploymentStatus, now: datetime) -> Tried | None:
    """Return the version of which one pod is to serve beside stable; None: none is."""
    guard, stable, good = status.guard, status.stable, status.last_good
    if guard is None or stable is None or good is None or guard.breached is not None:
        return None
    if guard.revision != stable.revision or good.revision == stable.revision:
        return None
    if not is_asked_for(spec) or spec.replicas == 0 or status.candidate is not None:
        return None
    if now >= guard.since + spec.guard.rollback_within:
        return None
    if any(entry.revision == good.revision for entry in status.rejected):
        return None
    return good


def is_asked_for(spec: DeploymentSpec) -> bool:
    """Return whether there is to be a control, and a gate that compares with it."""
    asked = spec.guard.control
    if asked is None:
        asked = int(spec.replicas >= LEAST_REPLICAS)
    gates = strategy_of(spec.rollout).gates(spec.rollout)
    return asked > 0 and any(gate.against == "stable" for gate in gates)


def without_control(guard: GuardStatus, memory: Memory) -> tuple[GuardStatus, Memory]:
    """Return the guard on its own again.

    Where its detector alarms and the control goes on to show the change, what the control showed in
    the last minutes is the reference from now on: all of them, or the best if one was far better,
    since then the change is over. All detectors begin anew.
    """
    remembered = memory.guard
    if remembered is None:
        return guard.model_copy(update={"control_since": None}), memory
    references = dict(guard.references)
    for gate, minutes in remembered.lately.items():
        state, before = remembered.detectors.get(gate), references.get(gate)
        if state is None or not state.is_alarm or len(minutes) < LATELY_MINUTES:
            continue
        shown = sum_of(minutes)
        seen = [minute for minute in minutes if minute.total > 0]
        best = min(seen, key=lambda minute: minute.share, default=NOTHING)
        if best.share < shown.share / 2:
            shown = best
        if before is None or BadTotal(before.bad, before.total).share < shown.share:
            references[gate] = Count(bad=shown.bad, total=shown.total)
    guard = guard.model_copy(update={"control_since": None, "references": references})
    # Begun, and not none at all: a restart of the operator takes these up.
    anew = dict.fromkeys(remembered.detectors, DetectorState())
    return guard, replace(memory, guard=replace(remembered, detectors=anew, beside={}, lately={}))
