"""A promoted version beside a pod of the last good one: is a change that it shows its own?

Compared is what came since the change, as in a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Gate, GuardStatus, Tried
from trimtab.decide.rollout.blocks import growth
from trimtab.decide.rollout.control import LATELY_MINUTES, listen, wanted_control, without_mute
from trimtab.decide.rollout.counting import Side, side_of
from trimtab.decide.rollout.evidence import Counted, GateMemory, evidence_of
from trimtab.decide.rollout.habit import largest
from trimtab.decide.rollout.judgement import ahead_of, interval_of, moment_of
from trimtab.decide.rollout.measures import written
from trimtab.decide.rollout.snapshot import Fresh, GuardMemory, Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.watched import Breach, Watched, counts_of, threshold_of
from trimtab.stats.change import lifted
from trimtab.stats.counts import BadTotal, sum_of
from trimtab.stats.sequential import informed_evidence

MINUTE = timedelta(minutes=1)
CONTROL_STARTS = timedelta(seconds=30)
"""After the old pods are no longer kept, the control has been routed to."""
CONTROL_AWAITED = timedelta(minutes=2)
"""After the promotion at most."""
EXPECTED = 0.9
"""Weight of what is expected of a version that is worse; the rest is of anything else."""
LIFTS_EXPECTED = (1.5, 2.0)
"""Times more than is allowed: less takes long anyway, and more is found at once."""
LOOKS_BEFORE_A_CHANGE = 3
"""Of a backend, so that all that shows a change is compared, also what was read ahead of it."""


def awaits_control(snapshot: Snapshot, guard: GuardStatus) -> bool:
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


def look_beside(
    snapshot: Snapshot,
    guard: GuardStatus,
    side: Side,
    watched: list[Watched],
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
    threshold = threshold_of(snapshot)
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
                Counted(counts_of(one.gate, side, ours, guard, remembered.restored)),
                Counted(counts_of(one.gate, side_of(control), theirs, guard, remembered.restored)),
            )
            for ours, theirs in views
        ]
        known = _known_beside(remembered, name, counted)
        seen = _looked(known, counted, snapshot, is_resumed=remembered.is_resumed)
        grown[name] = growth(sum_of(known[0].last[1].values()), sum_of(seen[0].last[1].values()))
        evidence, worse = min(
            ((_evidence_beside(memory, one, guard), memory) for memory in seen),
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


def _evidence_beside(seen: GateMemory, one: Watched, guard: GuardStatus) -> float:
    """Return the evidence that the version is worse than its control.

    Mostly of what is expected: the control is as it was, and the version shows what the detector
    looks for. The rest is of anything that both may show, as where it gets harder for everybody.
    """
    gate, shown = one.gate, guard.references.get(one.gate.name)
    any_of_both = evidence_of(seen, one.spreads, gate.margin, None)
    if shown is None or one.share is None:
        return any_of_both
    shares = [share for lift in LIFTS_EXPECTED if (share := lifted(one.share, lift)) is not None]
    if not shares:
        return any_of_both
    spread = largest(one.spreads.values())
    ours, theirs = (count.divided(spread) for count in (seen.compared()[0], seen.compared()[1][0]))
    usual = BadTotal(shown.bad, shown.total).divided(spread)
    expected = informed_evidence(ours, theirs, gate.margin, usual, shares)
    return (1 - EXPECTED) * any_of_both + EXPECTED * expected


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
            sum_of(counts_of(gate, side, snapshot, guard, restored).values()).total,
            sum_of(counts_of(gate, side_of(control), snapshot, guard, restored).values()).total,
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
