"""All gates of one look: which failed, which hold, which are blind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trimtab.api.deployment import Gate, GateStatus, StepStatus, Tried
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.gates import BLIND_REASONS, Look, Side, gate_count, judge, sight_of
from trimtab.decide.rollout.snapshot import Memory
from trimtab.stats.counts import NOTHING, BadTotal
from trimtab.stats.sequential import failure_threshold, overdispersion

SPREAD_LOOKS = 100
SPREAD_NEEDED = 30


@dataclass(frozen=True)
class Judgement:
    """The verdicts of one look."""

    gates: tuple[GateStatus, ...]
    failed: GateStatus | None
    """The first gate that failed on evidence, or by its own `onNoData: fail`."""
    holding: GateStatus | None
    """The first gate that nothing may advance past."""
    blind: GateStatus | None
    """The first gate that cannot see, although there should be something to see."""


def judge_gates(draft: Draft, candidate: Tried) -> Judgement:
    """Judge every gate on the counts since the step began."""
    rollout, stable = draft.status.rollout, draft.status.stable
    assert rollout is not None
    assert rollout.step is not None
    processes, now = draft.snapshot.processes, draft.now
    side = Side(stable.revision, stable.digest) if stable is not None else None
    gates = draft.spec.rollout.gates
    look = Look(
        candidate=Side(candidate.revision, candidate.digest),
        stable=side,
        processes=processes,
        origins=rollout.step.origins,
        began=rollout.started,
        candidate_sight=sight_of(candidate.revision, processes, now),
        stable_sight=sight_of(stable.revision, processes, now) if stable else None,
        threshold=failure_threshold(
            draft.spec.rollout.confidence, len(gates), len(draft.spec.rollout.steps)
        ),
        overdispersion=_remember_spread(draft, gates, side),
    )
    verdicts = tuple(judge(gate, look) for gate in gates)
    by_name = {gate.name: gate for gate in gates}
    failed = next((v for v in verdicts if v.verdict == "Fail"), None)
    failed = failed or _failed_for_want_of_data(draft, verdicts, by_name)
    missing = [
        v for v in verdicts if v.verdict == "NoData" and by_name[v.name].on_no_data != "ignore"
    ]
    return Judgement(
        gates=verdicts,
        failed=failed,
        holding=next(iter(missing), None),
        blind=next((v for v in missing if v.reason in BLIND_REASONS), None),
    )


def _failed_for_want_of_data(
    draft: Draft, verdicts: tuple[GateStatus, ...], gates: Mapping[str, Gate]
) -> GateStatus | None:
    """Return the gate with `onNoData: fail` that has waited for `failAfter`."""
    rollout = draft.status.rollout
    assert rollout is not None
    assert rollout.step is not None
    since = rollout.no_data_since or rollout.step.started
    for verdict in verdicts:
        gate = gates[verdict.name]
        if verdict.verdict != "NoData" or gate.on_no_data != "fail":
            continue
        if draft.now - since >= gate.fail_after:
            message = f"no data for {gate.fail_after}: {verdict.reason}: {verdict.message}"
            return verdict.model_copy(update={"verdict": "Fail", "message": message})
        draft.wake_by(since + gate.fail_after)
    return None


def _remember_spread(draft: Draft, gates: list[Gate], stable: Side | None) -> dict[str, float]:
    """Keep stable's counts per scrape, and return by how much they exceed binomial spread.

    Looks of one step only: the mean may differ between steps.
    """
    rollout = draft.status.rollout
    assert rollout is not None
    assert rollout.step is not None
    memory = step_memory(draft, rollout.step)
    spread, last, result = dict(memory.spread), dict(memory.last), {}
    interval = draft.spec.metrics.interval
    is_new_look = memory.looked_at is None or draft.now - memory.looked_at >= interval * 0.9
    for gate in gates:
        if stable is None:
            continue
        total = gate_count(
            gate, stable, draft.snapshot.processes, rollout.step.origins, rollout.started
        )
        if is_new_look:
            batch = _since(last.get(gate.name, NOTHING), total)
            last[gate.name] = total
            if batch.total > 0:
                spread[gate.name] = (*spread.get(gate.name, ()), batch)[-SPREAD_LOOKS:]
        looks = spread.get(gate.name, ())
        result[gate.name] = overdispersion(looks) if len(looks) >= SPREAD_NEEDED else 1.0
    draft.memory = replace(
        memory,
        spread=spread,
        last=last,
        looked_at=draft.now if is_new_look else memory.looked_at,
    )
    return result


def step_memory(draft: Draft, step: StepStatus) -> Memory:
    """Return what is remembered of this step; nothing of an earlier one."""
    name = f"step/{step.index}/{step.started.isoformat()}"
    return draft.memory if draft.memory.step == name else Memory(step=name)


def _since(before: BadTotal, now: BadTotal) -> BadTotal:
    total = max(0.0, now.total - before.total)
    return BadTotal(min(total, max(0.0, now.bad - before.bad)), total)


def data_message(gate: GateStatus) -> str:
    """Return why a gate has no data, for conditions and events."""
    return f"gate {gate.name}: {gate.reason}: {gate.message}"
