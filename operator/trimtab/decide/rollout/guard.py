"""The watch over a promoted version: the gates go on against what stable showed before.

There is no control beside it any more, so the test is a change detector against the upper bound
of the share that the old stable showed at the same time as the candidate. Within `rollbackWithin`
a breach returns to the last good version; later it only notifies, but for wrong outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import DeploymentStatus, Gate, GuardStatus
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.ends import is_flapping, return_to_last_good
from trimtab.decide.rollout.gates import Side, gate_count
from trimtab.decide.rollout.snapshot import Memory
from trimtab.stats.change import (
    DetectorState,
    guard_run_length,
    reference_upper_bound,
    update,
)
from trimtab.stats.counts import NOTHING, BadTotal


def watch_guard(draft: Draft) -> None:
    """Look at the counters since the last look; act on a breach; end the guard in time."""
    guard, stable = draft.status.guard, draft.status.stable
    if guard is None or stable is None or guard.revision != stable.revision:
        return
    if guard.breached is not None:
        return
    if draft.now >= guard.until:
        draft.set(guard=None, last_good=draft.status.last_good or stable)
        draft.tell(EventReason.GUARD_PASSED, f"{stable.version} is good: guarded without a breach")
        return
    draft.wake_by(guard.until)
    breach = _update_detectors(draft, guard, Side(stable.revision, stable.digest))
    if breach is not None:
        _act_on(draft, guard, breach)


def _references(draft: Draft, guard: GuardStatus) -> dict[str, tuple[Gate, float]]:
    """Return the gates that can be watched, with the share that must not be passed."""
    watched: dict[str, tuple[Gate, float]] = {}
    for gate in _gates(draft):
        shown = guard.references.get(gate.name)
        bounds = []
        if shown is not None and gate.against == "stable":
            bounds.append(reference_upper_bound(BadTotal(shown.bad, shown.total), gate.margin))
        if gate.limit is not None:
            bounds.append(gate.limit)
        if bounds:
            watched[gate.name] = (gate, min(bounds))
    return watched


def _gates(draft: Draft) -> list[Gate]:
    return draft.spec.rollout.gates if draft.spec.rollout.strategy == "canary" else []


def _update_detectors(draft: Draft, guard: GuardStatus, side: Side) -> tuple[Gate, str] | None:
    """Feed every gate's increment to its detector; return the first that alarms."""
    memory = _restored(draft.memory, guard)
    watched = _references(draft, guard)
    interval = draft.spec.metrics.interval.total_seconds()
    run_length = guard_run_length(
        draft.spec.guard.for_.total_seconds(),
        interval,
        max(1, len(watched)),
        draft.spec.rollout.confidence,
    )
    elapsed = (draft.now - (memory.looked_at or draft.now)).total_seconds()
    detectors, last = dict(memory.guard), dict(memory.last)
    breach: tuple[Gate, str] | None = None
    for name, (gate, share) in watched.items():
        total = gate_count(gate, side, draft.snapshot.processes, guard.origins, guard.since)
        before = last.get(name, NOTHING)
        batch = _increment(before, total)
        last[name] = total
        state = detectors.get(name, DetectorState())
        detectors[name] = update(state, batch, elapsed, share, run_length)
        if breach is None and detectors[name].is_alarm:
            figures = (
                f"{gate.name}: {total.bad:.0f} of {total.total:.0f} since promotion, "
                f"more than {share * 100:.2f}% allowed"
            )
            breach = (gate, figures)
    draft.memory = Memory(
        guard=detectors, last=last, looked_at=draft.now, step=f"guard/{guard.revision}"
    )
    return breach


def _increment(before: BadTotal, now: BadTotal) -> BadTotal:
    total = max(0.0, now.total - before.total)
    return BadTotal(min(total, max(0.0, now.bad - before.bad)), total)


def _restored(memory: Memory, guard: GuardStatus) -> Memory:
    """Return the memory of this guard: kept from the last pass, or as status recorded it."""
    if memory.step == f"guard/{guard.revision}":
        return memory
    saved: Mapping[str, dict[str, object]] = guard.detectors
    return Memory(
        guard={
            name: DetectorState.from_dict(entry["state"])  # type: ignore[arg-type]
            for name, entry in saved.items()
        },
        last={
            name: BadTotal(float(entry["bad"]), float(entry["total"]))  # type: ignore[arg-type]
            for name, entry in saved.items()
        },
        looked_at=None,
        step=f"guard/{guard.revision}",
    )


def with_detectors(status: DeploymentStatus, memory: Memory) -> DeploymentStatus:
    """Return the status with the detectors as a restart will take them up."""
    if status.guard is None or not memory.guard:
        return status
    detectors = {
        name: {
            "state": state.to_dict(),
            "bad": memory.last.get(name, NOTHING).bad,
            "total": memory.last.get(name, NOTHING).total,
        }
        for name, state in memory.guard.items()
    }
    guard = status.guard.model_copy(update={"detectors": detectors})
    return status.model_copy(update={"guard": guard})


def _act_on(draft: Draft, guard: GuardStatus, breach: tuple[Gate, str]) -> None:
    gate, figures = breach
    early = draft.now - guard.since <= draft.spec.guard.rollback_within
    insists = gate.bad == "outcomes" or draft.spec.guard.action == "rollback"
    draft.tell(EventReason.GUARD_BREACHED, figures, warning=True)
    first = draft.status.last_good is None or (
        draft.status.stable is not None
        and draft.status.last_good.revision == draft.status.stable.revision
    )
    if first and draft.status.stable is not None:
        reason = Reason.FIRST_VERSION_FAILED
        draft.set(guard=guard.model_copy(update={"breached": figures[:256]}))
        draft.tell(EventReason.FIRST_VERSION_FAILED, f"{reason}: {figures}", warning=True)
        return
    if (early or insists) and not is_flapping(draft):
        if return_to_last_good(draft, Reason.GUARD_BREACHED, figures):
            return
        figures = f"{Reason.NO_WAY_BACK}: {figures}"
    draft.set(guard=guard.model_copy(update={"breached": figures[:256]}))
