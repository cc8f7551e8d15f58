"""The control: one pod of the last good version, which serves beside the promoted one for a while.

What happens to both is not the new version's fault. While the control serves, the two are compared
as a candidate and stable are: over the same moments, with what pods differ by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Count, DeploymentSpec, DeploymentStatus, GuardStatus, Tried
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.snapshot import Memory, Stretch
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.counts import NOTHING, BadTotal

LEAST_REPLICAS = 4
"""From so many on there is a control unless the spec says otherwise: it costs a fifth at most."""


STRETCH = timedelta(minutes=10)
"""Of the control's time; the hardest is the reference after it."""


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


def follow_control(draft: Draft) -> None:
    """Let the control serve once one pod is left of the last good version; end it in time."""
    guard = draft.status.guard
    if guard is None:
        return
    good = wanted_control(draft.spec, draft.status, draft.now)
    if good is None:
        if guard.control_since is not None:
            guard, draft.memory = without_control(guard, draft.memory)
            draft.set(guard=guard)
        return
    draft.wake_by(guard.since + draft.spec.guard.rollback_within)
    if guard.control_since is not None or _is_kept(draft.status, good, draft.now):
        return
    pods = draft.snapshot.pods_of(good.revision)
    if len(pods) == 1 and draft.snapshot.ready_of(good.revision) == 1:
        draft.set(guard=guard.model_copy(update={"control_since": draft.now}))


def without_control(guard: GuardStatus, memory: Memory) -> tuple[GuardStatus, Memory]:
    """Return the guard on its own again, with what the control showed as the reference.

    Its detectors begin anew: what they held against the old reference may have been of both.
    """
    references = dict(guard.references)
    remembered = memory.guard
    stretch = remembered.stretch if remembered is not None else None
    for gate, shown in (stretch.all_in_all() if stretch is not None else {}).items():
        before = references.get(gate)
        if before is None or _share(before) < shown.share:
            references[gate] = Count(bad=shown.bad, total=shown.total)
    guard = guard.model_copy(
        update={"control_since": None, "references": references, "detectors": {}}
    )
    if remembered is not None:
        memory = replace(memory, guard=replace(remembered, detectors={}, beside={}, stretch=None))
    return guard, memory


def follow_stretch(
    stretch: Stretch | None, grown: Mapping[str, BadTotal], now: datetime
) -> Stretch:
    """Return the stretch with what the control counted since the last look."""
    if stretch is None or now - stretch.since >= STRETCH:
        hardest = stretch.all_in_all() if stretch is not None else {}
        stretch = Stretch(now, {}, hardest)
    counted = dict(stretch.counted)
    for gate, count in grown.items():
        counted[gate] = counted.get(gate, NOTHING) + count
    return replace(stretch, counted=counted)


def _share(count: Count) -> float:
    return count.bad / count.total if count.total > 0 else 0.0


def _is_kept(status: DeploymentStatus, tried: Tried, now: datetime) -> bool:
    """Return whether all its pods are kept for a quick way back."""
    retiring = status.retiring
    return retiring is not None and retiring.revision == tried.revision and now < retiring.until
