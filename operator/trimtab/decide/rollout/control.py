"""The control: one pod of the last good version, which serves beside the promoted one for a while.

What happens to both is not the new version's fault. While the control serves, the two are compared
as a candidate and stable are: over the same moments, with what pods differ by. One that tells
nothing excuses nothing: the guard goes on without it until it tells again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Count, DeploymentSpec, DeploymentStatus, GuardStatus, Tried
from trimtab.decide.rollout.history import is_rejected
from trimtab.decide.rollout.snapshot import GuardMemory, Heard, Memory
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.change import DetectorState
from trimtab.stats.counts import NOTHING, BadTotal, sum_of

LEAST_REPLICAS = 4
"""From so many on there is a control unless the spec says otherwise: it costs a fifth at most."""
LATELY_MINUTES = 3
"""In each of which the control must show a change that lasts."""
WATCHED_ENOUGH = timedelta(minutes=10)
"""By a process that began without what the one before remembered."""
MUTE_AFTER = timedelta(minutes=1)
"""As long as rounds wait for it: what takes the metrics of one side along for less is no matter."""
LEAST_EXPECTED = 10.0
"""Of a pod of the version, in the time in which the control told nothing: chance is e^-10."""
LEAST_PART = 0.1
"""Of what a pod of the version counts: one with fewer cannot be compared with in time."""
HEEDED_AFTER = timedelta(minutes=3)
"""One that was mute has to tell again."""


def wanted_control(spec: DeploymentSpec, status: DeploymentStatus, now: datetime) -> Tried | None:
    """Return the version of which one pod is to serve beside stable; None: none is.

    One that serves does so until it is ended, see `ends.follow_control`.
    """
    guard, stable, good = status.guard, status.stable, status.last_good
    if guard is None or stable is None or good is None:
        return None
    if guard.revision != stable.revision or good.revision == stable.revision:
        return None
    if spec.replicas == 0 or status.candidate is not None:
        return None
    if guard.control_since is None and is_control_over(spec, guard, now):
        return None
    if is_rejected(status.rejected, good.revision):
        return None
    return good


def is_control_over(spec: DeploymentSpec, guard: GuardStatus, now: datetime) -> bool:
    """Return whether there is to be no control (any more): stable is not left for errors then."""
    is_late = now >= guard.since + spec.guard.rollback_within
    return is_late or guard.breached is not None or not is_asked_for(spec)


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
    references = _with_shown(guard, remembered, remembered.lately)
    guard = guard.model_copy(update={"control_since": None, "references": references})
    # Begun, and not none at all: a restart of the operator takes these up.
    anew = dict.fromkeys(remembered.detectors, DetectorState())
    remembered = replace(remembered.alone(), detectors=anew, lately={})
    return guard, replace(memory, guard=remembered)


def _with_shown(
    guard: GuardStatus, remembered: GuardMemory, gates: Iterable[str]
) -> dict[str, Count]:
    """Return the references with what the control showed of gates whose detectors alarm.

    A process that has watched for some minutes only could not have seen an alarm, and would hold a
    change that came before it against the version alone: it believes what it saw of the control.
    """
    references, is_young = dict(guard.references), _is_young(remembered)
    for gate in gates:
        minutes = remembered.lately.get(gate, ())
        state, before = remembered.detectors.get(gate), references.get(gate)
        is_shared = state is not None and state.is_alarm and len(minutes) >= LATELY_MINUTES
        shown = sum_of(minutes)
        if shown.total <= 0 or not (is_shared or is_young):
            continue
        seen = [minute for minute in minutes if minute.total > 0]
        best = min(seen, key=lambda minute: minute.share, default=NOTHING)
        if best.share < shown.share / 2:
            shown = best
        if before is None or BadTotal(before.bad, before.total).share < shown.share:
            references[gate] = Count(bad=shown.bad, total=shown.total)
    return references


def _is_young(remembered: GuardMemory) -> bool:
    began, last = remembered.restored, remembered.looked_at
    return began is not None and (last is None or last - began < WATCHED_ENOUGH)


# --- whether it tells -----------------------------------------------------------------------------


def listen(
    heard: Mapping[str, Heard],
    counted: Mapping[str, tuple[float, float]],
    now: datetime,
    replicas: int,
    interval: timedelta,
) -> dict[str, Heard]:
    """Return per gate whether the control tells; counted: in all, by the version and by it.

    It tells when it counts a part of what a pod of the version does. It is mute after a minute of
    telling nothing, or three rounds, in which a pod of the version counted enough to expect some:
    why does not matter, be it dead, not seen or without requests. To be heeded again it has to tell
    for some minutes, else one that comes and goes would hide a fault each time.
    """
    patience = max(MUTE_AFTER, 3 * interval)
    found = {}
    for gate, (ours, theirs) in counted.items():
        known = heard.get(gate)
        if known is None or ours < known.ours or theirs < known.theirs:
            found[gate] = Heard(now, ours, theirs, known.is_mute if known is not None else False)
            continue
        each, its_own = (ours - known.ours) / max(1, replicas), theirs - known.theirs
        if its_own > 0 and its_own >= LEAST_PART * each:
            again = (known.again or now) if known.is_mute else None
            known = replace(known, at=now, ours=ours, theirs=theirs, again=again)
        elif now - known.at >= patience and each >= LEAST_EXPECTED:
            known = replace(known, is_mute=True, again=None)
        if known.again is not None and now - known.again >= HEEDED_AFTER:
            known = replace(known, is_mute=False, again=None)
        found[gate] = known
    return found


def without_mute(
    guard: GuardStatus, memory: Memory, gates: Iterable[str]
) -> tuple[GuardStatus, Memory]:
    """Return the guard with gates whose control fell mute on their own; see `without_control`."""
    remembered, alone = memory.guard, list(gates)
    if remembered is None or not alone:
        return guard, memory
    references = _with_shown(guard, remembered, alone)
    detectors = {**remembered.detectors, **dict.fromkeys(alone, DetectorState())}
    remembered = replace(remembered.alone(alone), detectors=detectors)
    guard = guard.model_copy(update={"references": references})
    return guard, replace(memory, guard=remembered)
