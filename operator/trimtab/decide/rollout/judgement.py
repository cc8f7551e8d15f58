"""All gates of one look: which failed, which hold, which are blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trimtab.api.deployment import Gate, GateStatus
from trimtab.decide.rollout.gates import (
    BLIND_REASONS,
    Look,
    Side,
    gate_count,
    growth,
    judge,
    sight_of,
)
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.snapshot import Memory, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.counts import NOTHING
from trimtab.stats.sequential import failure_threshold, overdispersion

SPREAD_LOOKS = 100
SPREAD_NEEDED = 30


@dataclass(frozen=True)
class Trial:
    """Candidate and stable side by side in one step."""

    candidate: Side
    stable: Side | None
    progress: Progress
    began: datetime
    """Processes that are older count from their first scrape."""


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


def judge_gates(
    snapshot: Snapshot, trial: Trial, memory: Memory
) -> tuple[Judgement, Memory, datetime | None]:
    """Judge every gate on the counts since the step began.

    Returns what to remember of the look, and when a gate that waits for data is to fail.
    """
    processes, now = snapshot.processes, snapshot.now
    rollout = snapshot.deployment.spec.rollout
    strategy = strategy_of(rollout)
    gates = strategy.gates(rollout)
    stable = trial.stable
    remembered, dispersion = _remember_spread(snapshot, trial, gates, memory)
    look = Look(
        candidate=trial.candidate,
        stable=stable,
        processes=processes,
        origins=trial.progress.step.origins,
        began=trial.began,
        candidate_sight=sight_of(trial.candidate.revision, processes, now),
        stable_sight=sight_of(stable.revision, processes, now) if stable is not None else None,
        threshold=failure_threshold(rollout.confidence, len(gates), len(strategy.steps(rollout))),
        overdispersion=dispersion,
    )
    verdicts = tuple(judge(gate, look) for gate in gates)
    by_name = {gate.name: gate for gate in gates}
    failed = next((v for v in verdicts if v.verdict == "Fail"), None)
    fails_at = None
    if failed is None:
        failed, fails_at = _failed_for_want_of_data(trial.progress, verdicts, by_name, now)
    missing = [
        v for v in verdicts if v.verdict == "NoData" and by_name[v.name].on_no_data != "ignore"
    ]
    judgement = Judgement(
        gates=verdicts,
        failed=failed,
        holding=next(iter(missing), None),
        blind=next((v for v in missing if v.reason in BLIND_REASONS), None),
    )
    return judgement, remembered, fails_at


def _failed_for_want_of_data(
    progress: Progress,
    verdicts: Sequence[GateStatus],
    gates: Mapping[str, Gate],
    now: datetime,
) -> tuple[GateStatus | None, datetime | None]:
    """Return the gate with `onNoData: fail` that has waited for `failAfter`, or when one will."""
    since = progress.no_data_since or progress.step.started
    waiting: list[datetime] = []
    for verdict in verdicts:
        gate = gates[verdict.name]
        if verdict.verdict != "NoData" or gate.on_no_data != "fail":
            continue
        if now - since >= gate.fail_after:
            message = f"no data for {gate.fail_after}: {verdict.reason}: {verdict.message}"
            failed = verdict.model_copy(update={"verdict": "Fail", "message": message})
            return failed, min(waiting, default=None)
        waiting.append(since + gate.fail_after)
    return None, min(waiting, default=None)


def _remember_spread(
    snapshot: Snapshot, trial: Trial, gates: Sequence[Gate], memory: Memory
) -> tuple[Memory, dict[str, float]]:
    """Keep stable's counts per scrape, and return by how much they exceed binomial spread.

    Looks of one step only: the mean may differ between steps.
    """
    step, now = trial.progress.step, snapshot.now
    before = memory.of_step(step.index, step.started)
    spread, last, dispersion = dict(before.spread), dict(before.last), {}
    interval = snapshot.deployment.spec.metrics.interval
    is_new_look = before.looked_at is None or now - before.looked_at >= interval * 0.9
    for gate in gates:
        if trial.stable is None:
            continue
        total = gate_count(gate, trial.stable, snapshot.processes, step.origins, trial.began)
        if is_new_look:
            batch = growth(last.get(gate.name, NOTHING), total)
            last[gate.name] = total
            if batch.total > 0:
                spread[gate.name] = (*spread.get(gate.name, ()), batch)[-SPREAD_LOOKS:]
        looks = spread.get(gate.name, ())
        dispersion[gate.name] = overdispersion(looks) if len(looks) >= SPREAD_NEEDED else 1.0
    looked_at = now if is_new_look else before.looked_at
    remembered = replace(before, spread=spread, last=last, looked_at=looked_at)
    return Memory(step=remembered), dispersion
