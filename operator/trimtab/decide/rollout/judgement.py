"""All gates of one look: which failed, which hold, which are blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import (
    DeploymentStatus,
    Gate,
    GateStatus,
    PodSpread,
    Rollout,
    StepStatus,
    Tried,
)
from trimtab.decide.rollout.asking import is_wanted
from trimtab.decide.rollout.counting import (
    EARLIEST,
    Side,
    answer_counts,
    gate_counts,
    side_of,
)
from trimtab.decide.rollout.evidence import Counted, Gap, GateMemory, Moment
from trimtab.decide.rollout.gates import Look, first_blind, judge, sight_of
from trimtab.decide.rollout.habit import Allowed, Habit, with_earlier
from trimtab.decide.rollout.measures import gate_measures
from trimtab.decide.rollout.pairing import cells_in
from trimtab.decide.rollout.phases import Phase, Progress
from trimtab.decide.rollout.snapshot import Memory, Pair, ProcessView, Snapshot, StepMemory
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.stats.counts import NOTHING, BadTotal
from trimtab.stats.sequential import failure_threshold
from trimtab.stats.spread import Spread


@dataclass(frozen=True)
class Trial:
    """Candidate and stable side by side in one step."""

    candidate: Side
    stable: Side | None
    progress: Progress
    began: datetime
    """Processes that are older count from their first scrape."""


def trial_of(stable: Tried | None, phase: Phase, progress: Progress) -> Trial:
    """Return the candidate of a phase beside stable."""
    return Trial(
        candidate=side_of(phase.candidate),
        stable=side_of(stable) if stable is not None else None,
        progress=progress,
        began=counted_from(phase, progress),
    )


def counted_from(phase: Phase, progress: Progress) -> datetime:
    """Return when processes were there before, and count from their first scrape."""
    return progress.step.counted_since or phase.started


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
    is_unseen: bool = False
    """Whether a gate that nothing may advance past waits for the first sight of a pod."""


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
    step = _look(snapshot, trial, gates, memory)
    pair = pair_in(snapshot, trial.candidate, stable)
    if pair is not None and step.cells is None:
        step = replace(step, cells=cells_in(processes, pair))
    if step.left_out is None:
        step = replace(step, left_out={one.process: one.left_out for one in processes})
    look = Look(
        candidate=trial.candidate,
        stable=stable,
        processes=processes,
        origins=trial.progress.step.origins,
        began=trial.began,
        candidate_sight=sight_of(trial.candidate.revision, processes, now),
        stable_sight=sight_of(stable.revision, processes, now) if stable is not None else None,
        threshold=failure_threshold(rollout.confidence, len(gates), len(strategy.steps(rollout)))
        * tests_of(trial.progress.step),
        seen=step.gates,
        turned=step.turned,
        spreads={gate.name: spreads_of(snapshot, memory, gate.name) for gate in gates},
        pair=pair,
        cells=step.cells,
        left_out=step.left_out or {},
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
        blind=first_blind(verdicts, gates),
        is_unseen=any(v.reason == Reason.WAITING for v in missing),
    )
    return judgement, replace(memory, step=step), fails_at


def blind_gate(rollout: Rollout, status: DeploymentStatus) -> GateStatus | None:
    """Return the first gate that could not see at the last look, if nothing may go on without."""
    return first_blind(status.gates, strategy_of(rollout).gates(rollout))


def tests_of(step: StepStatus) -> float:
    """Return what the error rate of a step is divided by: evidence that was lost begins anew.

    The first test has a half of it, the next one a quarter, and so on.
    """
    return 1.0 if step.lost is None else 2.0 ** (step.lost + 1)


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


def _look(snapshot: Snapshot, trial: Trial, gates: Sequence[Gate], memory: Memory) -> StepMemory:
    """Return the memory of the step with what every gate counted since the last look."""
    step = trial.progress.step
    before = memory.of_step(step.index, step.started)
    is_begun = bool(before.gates) and not before.is_resumed
    if not is_begun and _is_unseen_after_a_restart(snapshot, trial, before):
        return before
    alive, at = alive_in(snapshot), moment_of(snapshot)
    if before.is_resumed:
        at = replace(at, gap=Gap(before.alive, alive))
    behind = snapshot.processes
    if snapshot.deployment.spec.metrics.prometheus is None:
        seen = _seen(trial, gates, before.gates, at, memory, (behind, behind))
        return replace(before, gates=seen, turned={}, alive=alive, is_resumed=False)
    # What goes wrong for both where counting begins or ends shows on the one first that was read
    # later: it is held against the candidate only if it is so whichever of the two is ahead.
    ahead = ahead_of(behind)
    seen, turned = (
        _seen(trial, gates, known, at, memory, views, is_apart=True)
        for known, views in ((before.gates, (behind, ahead)), (before.turned, (ahead, behind)))
    )
    return replace(before, gates=seen, turned=turned, alive=alive, is_resumed=False)


def ahead_of(processes: Sequence[ProcessView]) -> tuple[ProcessView, ...]:
    """Return the processes as of the first readings after the moment of the round."""
    return tuple(
        one if one.ahead is None else replace(one, counts=one.ahead, ahead=None)
        for one in processes
    )


def _seen(
    trial: Trial,
    gates: Sequence[Gate],
    before: Mapping[str, GateMemory],
    at: Moment,
    memory: Memory,
    views: tuple[Sequence[ProcessView], Sequence[ProcessView]],
    *,
    is_apart: bool = False,
) -> dict[str, GateMemory]:
    """Return what gates saw with this look; views: how candidate and stable are seen.

    is_apart: they are of different moments, and the origins of the step are of neither: counting
    begins with the first look.
    """
    found = dict(before)
    for gate in gates:
        candidate, stable = (
            _counted(gate, side, view, trial) if side is not None else Counted()
            for side, view in zip((trial.candidate, trial.stable), views, strict=True)
        )
        known = found.get(gate.name)
        new = known or GateMemory(usual=_usual(gate, trial.progress.step, memory))
        look = new.passed_over if known is None and is_apart else new.look
        found[gate.name] = look(candidate, stable, at)
    return found


def _usual(gate: Gate, step: StepStatus, memory: Memory) -> BadTotal:
    """Return what stable had shown before the step; nothing, if this process was not there."""
    habit = memory.habits.get(gate.name)
    if habit is None or habit.since is None or habit.since > step.started:
        return NOTHING
    return habit.usual()


def _counted(gate: Gate, side: Side, processes: Sequence[ProcessView], trial: Trial) -> Counted:
    origins = trial.progress.step.origins
    total = gate_measures(gate, side.digest)[1]
    return Counted(
        counts=gate_counts(gate, side, processes, origins, trial.began),
        served={one.process for one in origins if one.values.get(total, 0.0) > 0},
        answered=answer_counts(side, processes, origins, trial.began)
        if gate.bad == "outcomes"
        else {},
    )


def _is_unseen_after_a_restart(snapshot: Snapshot, trial: Trial, before: StepMemory) -> bool:
    """Return whether a new process of the operator has not seen all Ready pods of a step yet.

    What one pod counted before would else be compared with what others count afterwards.
    """
    step = trial.progress.step
    is_young = snapshot.now - step.started < 3 * interval_of(snapshot)
    if step.first_request is None and is_young and not before.is_resumed:
        return False
    revisions = {side.revision for side in (trial.candidate, trial.stable) if side is not None}
    return any(
        one.pod_ready and one.revision in revisions and not one.counts for one in snapshot.processes
    )


def pair_in(snapshot: Snapshot, side: Side, other: Side | None) -> Pair | None:
    """Return the pair that a version and another one are compared as; None: they are not."""
    return side.pair_with(other) if is_wanted(snapshot.deployment.spec) else None


def moment_of(snapshot: Snapshot) -> Moment:
    """Return what one look shares."""
    behind = {process.process for process in snapshot.processes if process.lags}
    return Moment(snapshot.now, interval_of(snapshot), behind | _missed_since_ready(snapshot))


def _missed_since_ready(snapshot: Snapshot) -> set[str]:
    """Return who serves and was not seen yet, although others were seen since it is Ready.

    What it shows first is of several moments, and of others only the last of them would count.
    """
    seen = [one.counted_at for one in snapshot.processes if one.counted_at is not None]
    if not seen:
        seen = [one.sampled_at for one in snapshot.processes if one.sampled_at is not None]
    last = max(seen, default=snapshot.now)
    return {
        one.process
        for one in snapshot.processes
        if one.pod_ready
        and not one.counts
        and last > snapshot.now - timedelta(seconds=one.ready_seconds)
    }


def alive_in(snapshot: Snapshot) -> dict[str, datetime | None]:
    """Return whose counts a successor can go on from; see `evidence.Lives`."""
    return {
        one.process: one.born
        for one in snapshot.processes
        if one.counts and one.pod_ready and not one.is_short
    }


def interval_of(snapshot: Snapshot) -> timedelta:
    """Return the time between two rounds."""
    metrics = snapshot.deployment.spec.metrics
    return metrics.interval if metrics.prometheus is None else metrics.prometheus.interval


def spreads_of(snapshot: Snapshot, memory: Memory, gate: str) -> dict[int, Spread]:
    """Return how much stable's pods differ, by block length."""
    earlier = {
        one.rounds: Spread(one.inflation, one.correlation)
        for one in snapshot.deployment.status.spread
        if one.gate == gate
    }
    return with_earlier(memory.habits.get(gate, Habit()), earlier, snapshot.now)


def allowed_before(snapshot: Snapshot, memory: Memory) -> dict[str, Allowed]:
    """Return per gate how much pods may differ by what was learnt so far."""
    found = {name: habit.allowed(snapshot.now) for name, habit in memory.habits.items()}
    return {name: one for name, one in found.items() if one is not None}


def with_spread(status: DeploymentStatus, snapshot: Snapshot, memory: Memory) -> DeploymentStatus:
    """Return the status with the spread for a restart, while something is judged by it."""
    if status.rollout is None and status.guard is None:
        return status
    told = [
        PodSpread(
            gate=gate,
            rounds=rounds,
            inflation=round(spread.inflation, 4),
            correlation=round(spread.correlation, 6),
        )
        for gate in sorted(memory.habits)
        for rounds, spread in sorted(spreads_of(snapshot, memory, gate).items())
    ]
    return status.model_copy(update={"spread": told})


def learn_spread(snapshot: Snapshot, memory: Memory) -> Memory:
    """Return the memory with how much stable's pods differ in what they counted by now."""
    stable, rollout = snapshot.deployment.status.stable, snapshot.deployment.spec.rollout
    if stable is None:
        return memory
    side, habits = side_of(stable), {}
    guard = memory.guard
    allowed = guard.allowed if guard is not None and guard.revision == side.revision else {}
    for gate in strategy_of(rollout).gates(rollout):
        counts = gate_counts(gate, side, snapshot.processes, (), EARLIEST)
        known = memory.habits.get(gate.name, Habit())
        habits[gate.name] = known.learn(
            counts, snapshot.now, interval_of(snapshot), allowed.get(gate.name)
        )
    return replace(memory, habits=habits)
