"""The life of a Deployment, one pass at a time.

    no rollout ──begin──▶ Starting ──ready──▶ Stepping ──last step──▶ Promoting ──▶ promoted
        ▲                    │                    │                       │
        └────── roll back / supersede / undecided / abort ────────────────┘
    stable goes bad under guard, or a person says rollback ──▶ Returning ──▶ last good serves

Invariants: a revision in `status.rejected` is never begun; stable keeps its size until the
candidate has its own; every change of phase is in status before its effects are made
(`decide.rollout.children` derives them from the status alone), so a crash anywhere repeats nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import DeploymentSpec
from trimtab.decide.rollout import commands
from trimtab.decide.rollout.draft import Decision, Draft
from trimtab.decide.rollout.ends import (
    act_on_breach,
    begin,
    begin_again,
    complete_return,
    drop,
    end_guard,
    end_undecided,
    is_flapping,
    promote,
    return_to_last_good,
    roll_back,
    supersede,
)
from trimtab.decide.rollout.gates import origins_of, side_of
from trimtab.decide.rollout.guard import watch
from trimtab.decide.rollout.health import infrastructure_fault, pod_messages, why_down
from trimtab.decide.rollout.judgement import Judgement, Trial, judge_gates
from trimtab.decide.rollout.phases import (
    Phase,
    Progress,
    Promoting,
    Returning,
    Starting,
    Stepping,
    paused_by_step,
    promoting,
)
from trimtab.decide.rollout.report import report
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.steps import (
    begin_step,
    follow_data,
    is_share_missed,
    is_waiting_for_share,
    requests_of_candidate,
    start_clock,
    step_share,
)
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.wanted import Wanted, decide_wanted

FLAPPING_LOOK = timedelta(minutes=5)


def decide_deployment(snapshot: Snapshot) -> Decision:
    """Return the next status of a Deployment, the events to tell, and when to look again."""
    draft = Draft(snapshot, snapshot.deployment.status, snapshot.memory)
    commands.carry_out(draft, decide_wanted(snapshot))
    _decide(draft, decide_wanted(draft.seen))
    _end_return(draft)
    status, notes = report(draft.seen, decide_wanted(draft.seen))
    return Decision(status, (*draft.events, *notes), draft.wake_at, draft.memory)


def _decide(draft: Draft, wanted: Wanted) -> None:
    _watch_retiring(draft)
    phase = draft.phase
    if draft.spec.replicas == 0:
        _stand_still(draft)
    elif phase is not None:
        _continue(draft, phase, wanted)
    elif draft.status.rollout is not None:
        draft.set(rollout=None)  # somebody took the candidate out of the status
    else:
        _act_on_policy(draft)
        _watch_guard(draft)
        if draft.phase is None:
            _consider(draft, wanted)


def _watch_retiring(draft: Draft) -> None:
    """Look again when the old stable need not be kept ready any more (see `children`)."""
    retiring = draft.status.retiring
    if retiring is not None and draft.now < retiring.until:
        draft.wake_by(retiring.until)


def _stand_still(draft: Draft) -> None:
    """`replicas: 0`: no rollout; the candidate is dropped and tried again on return."""
    if draft.status.rollout is not None or draft.status.candidate is not None:
        drop(draft)


# --- at rest -------------------------------------------------------------------------------------


def _act_on_policy(draft: Draft) -> None:
    """A DriftPolicy asks to return to the last good version; only where the fault is that young."""
    asked = draft.snapshot.requested
    if asked is None or asked.do != "rollback" or _is_flapping(draft):
        return
    if draft.status.guard is not None:
        return_to_last_good(draft, Reason.GUARD_BREACHED, asked.message)


def _watch_guard(draft: Draft) -> None:
    """Look at the counters since the last look; act on a breach; end the guard in time."""
    guard, stable = draft.status.guard, draft.status.stable
    if guard is None or stable is None or guard.revision != stable.revision:
        return
    if guard.breached is not None:
        return
    if draft.now >= guard.until:
        end_guard(draft, stable)
        return
    draft.wake_by(guard.until)
    breach, draft.memory = watch(draft.snapshot, guard, side_of(stable), draft.memory)
    if breach is not None:
        act_on_breach(draft, guard, stable, breach)


def _consider(draft: Draft, wanted: Wanted) -> None:
    """Begin a rollout if something else is wanted and nothing speaks against it."""
    stable, candidate = draft.status.stable, draft.status.candidate
    if wanted.version is None or wanted.refusal is not None:
        is_unwanted = wanted.version is None or (
            candidate is not None and wanted.revision != candidate.revision
        )
        if candidate is not None and is_unwanted:
            drop(draft)
        return
    if stable is not None and wanted.revision == stable.revision:
        if candidate is not None:
            drop(draft)
        return
    if _is_flapping(draft):
        draft.wake_after(FLAPPING_LOOK)
        return
    asked = draft.snapshot.requested
    if asked is not None and asked.do == "pause":
        return
    waiting = draft.status.back_off
    if waiting is not None and waiting.revision == wanted.revision:
        if draft.now < waiting.not_before:
            draft.wake_by(waiting.not_before)
            return
        if candidate is not None and candidate.revision == wanted.revision:
            begin_again(draft, candidate)
            return
    begin(draft, wanted.version, wanted.revision)
    draft.wake_after(draft.spec.rollout.deadline)


def _is_flapping(draft: Draft) -> bool:
    return is_flapping(draft.status.history, draft.now)


# --- one phase -----------------------------------------------------------------------------------


def _continue(draft: Draft, phase: Phase, wanted: Wanted) -> None:
    """Go on with the rollout under way."""
    if isinstance(phase, Returning) or _is_superseded(draft, phase, wanted):
        return
    down = why_down(draft.snapshot, phase)
    if down is not None:
        roll_back(draft, phase.candidate, Reason.CANDIDATE_DOWN, down)
        return
    after: Starting | Stepping | Promoting | None = phase
    if isinstance(phase, Starting):
        after = _await_start(draft, phase)
    elif isinstance(phase, Stepping):
        after = _judge_step(draft, phase)
    if isinstance(after, Promoting):
        after = _await_full_size(draft, after)
    if after is not None:
        _check_deadline(draft, after)


def _is_superseded(draft: Draft, phase: Phase, wanted: Wanted) -> bool:
    candidate = phase.candidate
    if wanted.version is None:
        gone = f"{candidate.version} is no longer wanted: its version is gone"
        supersede(draft, candidate, gone)
        return True
    if wanted.revision == candidate.revision:
        if wanted.refusal is not None and wanted.refusal.reason is Reason.VERSION_REJECTED:
            roll_back(draft, candidate, Reason.VERSION_REJECTED, wanted.refusal.message)
            return True
        return False
    newer = f"{candidate.version} dropped: {wanted.version.spec.version} is wanted now"
    supersede(draft, candidate, newer)
    _consider(draft, wanted)
    return True


def _await_start(draft: Draft, phase: Starting) -> Starting | Stepping | Promoting:
    """Wait until the candidate's first pods are Ready; then give them traffic."""
    spec = draft.spec
    if draft.status.stable is None or not strategy_of(spec.rollout).steps(spec.rollout):
        return draft.enter(promoting(phase))
    ready = draft.snapshot.ready_of(phase.candidate.revision)
    if is_waiting_for_share(spec, draft.status, phase) or ready < step_share(spec, None).candidate:
        return phase
    return _enter_step(draft, phase, 0, None, requests_before=0.0)


def _enter_step(
    draft: Draft,
    phase: Starting | Stepping,
    index: int,
    before: Progress | None,
    *,
    requests_before: float,
) -> Stepping:
    """Write where the rollout stands, and tell it."""
    rollout = draft.spec.rollout
    waits = strategy_of(rollout).steps(rollout)[index].pause is not None
    progress = begin_step(draft.snapshot, index, before, requests_before)
    step = progress.step
    draft.set(gates=[])
    share = step_share(draft.spec, step)
    paused = "; paused until: trimtab resume" if waits else ""
    draft.tell(
        EventReason.STEP_REACHED,
        f"step {index + 1}/{step.of}: {phase.candidate.version} gets {step.weight * 100:g}% "
        f"({share}){paused}",
    )
    return draft.enter(
        Stepping(
            candidate=phase.candidate,
            started=phase.started,
            pause=paused_by_step(draft.now) if waits else None,
            paused_seconds=phase.paused_seconds,
            progress=progress,
        )
    )


# --- judging -------------------------------------------------------------------------------------


def _trial(draft: Draft, phase: Stepping | Promoting, progress: Progress) -> Trial:
    stable = draft.status.stable
    return Trial(
        candidate=side_of(phase.candidate),
        stable=side_of(stable) if stable is not None else None,
        progress=progress,
        began=phase.started,
    )


def _judge(draft: Draft, trial: Trial) -> Judgement:
    """Judge all gates; write what they saw."""
    judgement, draft.memory, wake = judge_gates(draft.snapshot, trial, draft.memory)
    draft.wake_by(wake)
    draft.set(gates=list(judgement.gates))
    return judgement


def _judge_step(draft: Draft, phase: Stepping) -> Stepping | Promoting | None:
    """Judge all gates on the counts of this step; roll back, hold, go on or promote."""
    judgement = _judge(draft, _trial(draft, phase, phase.progress))
    if judgement.failed is not None:
        gate = judgement.failed
        message = f"gate {gate.name}: {gate.message}"
        roll_back(draft, phase.candidate, Reason.GATE_FAILED, message)
        return None
    phase = _follow_data(draft, phase, judgement)
    if phase.pause is not None:
        return phase
    progress, draft.memory = start_clock(
        draft.snapshot, _trial(draft, phase, phase.progress), draft.memory
    )
    phase = draft.enter(replace(phase, progress=progress))
    if progress.step.first_request is None or judgement.holding is not None:
        return phase
    return _end_step(draft, phase, progress.step.first_request)


def _follow_data(draft: Draft, phase: Stepping, judgement: Judgement) -> Stepping:
    origins = origins_of(draft.snapshot.processes)
    progress, note, wake = follow_data(phase.progress, judgement.blind, origins, draft.now)
    draft.wake_by(wake)
    if note is not None:
        draft.tell(note.reason, note.message, warning=note.warning)
    return draft.enter(replace(phase, progress=progress))


def _end_step(draft: Draft, phase: Stepping, began: datetime) -> Stepping | Promoting:
    """Go to the next step when this one's time is over; `began`: its first request."""
    trial = _trial(draft, phase, phase.progress)
    if is_share_missed(draft.snapshot, trial):
        return phase
    step, rollout = phase.progress.step, draft.spec.rollout
    steps = strategy_of(rollout).steps(rollout)
    lasts = steps[step.index].for_ if step.index < len(steps) else None
    ends = began + (lasts or timedelta(0))
    if draft.now < ends:
        draft.wake_by(ends)
        return phase
    requests = requests_of_candidate(trial, draft.snapshot.processes)
    following = step.index + 1
    if following < min(step.of, len(steps)):
        return _enter_step(draft, phase, following, phase.progress, requests_before=requests)
    if requests >= rollout.min_samples:
        return draft.enter(promoting(phase))
    return phase


# --- towards the end -----------------------------------------------------------------------------


def _await_full_size(draft: Draft, phase: Promoting) -> Promoting | None:
    """Promote once the candidate can carry all requests."""
    if phase.progress is not None and phase.promoted_by is None:
        judgement = _judge(draft, _trial(draft, phase, phase.progress))
        if judgement.failed is not None:
            gate = judgement.failed
            message = f"gate {gate.name}: {gate.message}"
            roll_back(draft, phase.candidate, Reason.GATE_FAILED, message)
            return None
    if draft.snapshot.ready_of(phase.candidate.revision) < _full_size(draft.spec):
        return phase
    promote(draft, phase, _promotion_message(draft, phase))
    return None


def _promotion_message(draft: Draft, phase: Promoting) -> str:
    version, rollout = phase.candidate.version, draft.spec.rollout
    if draft.status.stable is None:
        return f"{version} serves as the first version; nothing to compare it with"
    requests = 0.0
    if phase.progress is not None:
        trial = _trial(draft, phase, phase.progress)
        requests = requests_of_candidate(trial, draft.snapshot.processes)
    return strategy_of(rollout).promotion(version, requests, draft.status.gates)


def _end_return(draft: Draft) -> None:
    """Once the version returned to can carry all requests, it is stable: at once if it was kept."""
    phase = draft.phase
    if not isinstance(phase, Returning):
        return
    if draft.snapshot.ready_of(phase.candidate.revision) >= _full_size(draft.spec):
        complete_return(draft, phase)


def _full_size(spec: DeploymentSpec) -> int:
    return max(1, spec.replicas)


def deadline_of(spec: DeploymentSpec, phase: Phase) -> datetime:
    """Return when the rollout must be over; earlier pauses do not count."""
    return phase.started + spec.rollout.deadline + timedelta(seconds=phase.paused_seconds)


def _check_deadline(draft: Draft, phase: Starting | Stepping | Promoting) -> None:
    """End a rollout that could not be judged, started or promoted in time."""
    if phase.pause is not None:
        return
    deadline = deadline_of(draft.spec, phase)
    if draft.now < deadline:
        draft.wake_by(deadline)
        return
    candidate = phase.candidate
    fault = infrastructure_fault(draft.snapshot, candidate.revision)
    if fault is not None:
        end_undecided(draft, candidate, fault.reason, fault.message)
    elif isinstance(phase, Stepping):
        _end_unjudged(draft, phase)
    elif is_waiting_for_share(draft.spec, draft.status, phase):
        message = "one pod is more than the wanted share"
        end_undecided(draft, candidate, Reason.SHARE_TOO_LARGE, message)
    else:
        ready = draft.snapshot.ready_of(candidate.revision)
        said = pod_messages(draft.snapshot, candidate.revision)
        message = f"{ready} of the candidate's pods Ready by the deadline{said}"
        roll_back(draft, candidate, Reason.NEVER_READY, message)


def _end_unjudged(draft: Draft, phase: Stepping) -> None:
    """The deadline passed in a step: what follows is the user's to say."""
    waiting = next((g for g in draft.status.gates if g.verdict == "NoData"), None)
    why = (
        f"gate {waiting.name}: {waiting.reason}"
        if waiting is not None
        else "too few requests or steps longer than the deadline"
    )
    match draft.spec.rollout.on_deadline:
        case "rollback":
            roll_back(draft, phase.candidate, Reason.DEADLINE_PASSED, why)
        case "promote":
            draft.enter(replace(promoting(phase, by="onDeadline"), started=draft.now))
        case "undecided":
            end_undecided(draft, phase.candidate, Reason.DEADLINE_PASSED, why)
