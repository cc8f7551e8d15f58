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
from trimtab.api.deployment import RolloutStatus, StepStatus, Tried
from trimtab.decide.rollout import commands
from trimtab.decide.rollout.draft import Decision, Draft
from trimtab.decide.rollout.ends import (
    begin,
    complete_return,
    end_undecided,
    is_flapping,
    promote,
    return_to_last_good,
    roll_back,
    supersede,
)
from trimtab.decide.rollout.gates import origins_of, request_count
from trimtab.decide.rollout.guard import watch_guard
from trimtab.decide.rollout.judgement import Judgement, judge_gates, step_memory
from trimtab.decide.rollout.report import report
from trimtab.decide.rollout.snapshot import PodView, Snapshot
from trimtab.decide.rollout.steps import is_share_too_large, step_share
from trimtab.decide.rollout.wanted import Refusal, Wanted, decide_wanted

DOWN_AFTER_SECONDS = 10.0
CRASHES_BEFORE_DOWN = 2
WITHDRAW_AFTER = timedelta(minutes=2)
SHARE_CHECK_REQUESTS = 100


def decide_deployment(snapshot: Snapshot) -> Decision:
    """Return the next status of a Deployment, the events to tell, and when to look again."""
    draft = Draft(snapshot, snapshot.deployment.status, snapshot.memory)
    wanted = decide_wanted(snapshot)
    commands.carry_out(draft, wanted)
    wanted = decide_wanted(_with_status(snapshot, draft))
    _watch_retiring(draft)
    if draft.spec.replicas == 0:
        _stand_still(draft)
    elif draft.status.rollout is None:
        _act_on_policy(draft)
        watch_guard(draft)
        if draft.status.rollout is None:
            _consider(draft, wanted)
    else:
        _continue(draft, wanted)
    _end_return(draft)
    report(draft, decide_wanted(_with_status(snapshot, draft)))
    return Decision(draft.status, tuple(draft.events), draft.wake_at, draft.memory)


def _with_status(snapshot: Snapshot, draft: Draft) -> Snapshot:
    deployment = snapshot.deployment.model_copy(update={"status": draft.status})
    return replace(snapshot, deployment=deployment)


def _watch_retiring(draft: Draft) -> None:
    """Look again when the old stable need not be kept ready any more (see `children`)."""
    retiring = draft.status.retiring
    if retiring is not None and draft.now < retiring.until:
        draft.wake_by(retiring.until)


def _stand_still(draft: Draft) -> None:
    """`replicas: 0`: no rollout; the candidate is dropped and tried again on return."""
    if draft.status.rollout is not None or draft.status.candidate is not None:
        draft.set(candidate=None, rollout=None, back_off=None, gates=[])


def _act_on_policy(draft: Draft) -> None:
    """A DriftPolicy asks to return to the last good version; only where the fault is that young."""
    asked = draft.snapshot.requested
    if asked is None or asked.do != "rollback" or is_flapping(draft):
        return
    if draft.status.guard is not None:
        return_to_last_good(draft, Reason.GUARD_BREACHED, asked.message)


def _consider(draft: Draft, wanted: Wanted) -> None:
    """Begin a rollout if something else is wanted and nothing speaks against it."""
    status = draft.status
    if wanted.version is None or wanted.refusal is not None:
        if status.candidate is not None and (
            wanted.version is None or wanted.revision != status.candidate.revision
        ):
            draft.set(candidate=None, back_off=None, gates=[])
        return
    if status.stable is not None and wanted.revision == status.stable.revision:
        if status.candidate is not None:
            draft.set(candidate=None, back_off=None, gates=[])
        return
    if is_flapping(draft):
        draft.wake_after(timedelta(minutes=5))
        return
    asked = draft.snapshot.requested
    if asked is not None and asked.do == "pause":
        return
    waiting = status.back_off
    if waiting is not None and waiting.revision == wanted.revision:
        if draft.now < waiting.not_before:
            draft.wake_by(waiting.not_before)
            return
        if status.candidate is not None and status.candidate.revision == wanted.revision:
            draft.set(rollout=RolloutStatus(phase="Starting", started=draft.now), gates=[])
            draft.tell(EventReason.ROLLOUT_STARTED, f"trying {status.candidate.version} again")
            return
    begin(draft, wanted.version, wanted.revision)
    draft.wake_by(draft.now + draft.spec.rollout.deadline)


def _continue(draft: Draft, wanted: Wanted) -> None:
    """Go on with the rollout under way."""
    rollout, candidate = draft.status.rollout, draft.status.candidate
    assert rollout is not None
    if candidate is None:
        draft.set(rollout=None)
        return
    if rollout.phase == "Returning":
        return
    if _is_superseded(draft, wanted, candidate):
        return
    down = _why_down(draft.snapshot, candidate, rollout.phase)
    if down is not None:
        roll_back(draft, Reason.CANDIDATE_DOWN, down)
        return
    if rollout.phase == "Starting":
        _await_start(draft, candidate)
    elif rollout.phase == "Stepping":
        _judge_step(draft, candidate)
    if draft.status.rollout is not None and draft.status.rollout.phase == "Promoting":
        _await_full_size(draft, candidate)
    if draft.status.rollout is not None:
        _check_deadline(draft, candidate)


def _is_superseded(draft: Draft, wanted: Wanted, candidate: Tried) -> bool:
    if wanted.version is None:
        supersede(draft, f"{candidate.version} is no longer wanted: its version is gone")
        return True
    if wanted.revision == candidate.revision:
        if wanted.refusal is not None and wanted.refusal.reason is Reason.VERSION_REJECTED:
            roll_back(draft, Reason.VERSION_REJECTED, wanted.refusal.message)
            return True
        return False
    supersede(draft, f"{candidate.version} dropped: {wanted.version.spec.version} is wanted now")
    _consider(draft, wanted)
    return True


def _end_return(draft: Draft) -> None:
    """Once the version returned to can carry all requests, it is stable: at once if it was kept."""
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if rollout is None or rollout.phase != "Returning" or candidate is None:
        return
    if draft.snapshot.ready_of(candidate.revision) >= _full_size(draft):
        complete_return(draft)


def _full_size(draft: Draft) -> int:
    return max(1, draft.spec.replicas)


# --- the candidate's pods ------------------------------------------------------------------------


def _why_down(snapshot: Snapshot, candidate: Tried, phase: str) -> str | None:
    """Return why the candidate counts as down: crashed, or unreachable and not Ready for 10 s.

    While it starts, one crash is forgiven: a store may have been away for a moment.
    """
    crashes = CRASHES_BEFORE_DOWN if phase == "Starting" else 1
    for pod in snapshot.pods_of(candidate.revision):
        if pod.disrupted:
            continue
        if pod.crashed and pod.restarts >= crashes:
            return f"pod {pod.name} crashed ({pod.restarts} restarts): {pod.message}"
        if _is_unreachable(snapshot, pod):
            return (
                f"pod {pod.name} was Ready, and is now unreachable and not Ready for "
                f"{pod.unready_seconds:.0f} s: {pod.message}"
            )
    return None


def _is_unreachable(snapshot: Snapshot, pod: PodView) -> bool:
    """Return whether scrapes say so too: old samples alone may be this operator's own delay."""
    if pod.ready or not pod.was_ready or pod.unready_seconds < DOWN_AFTER_SECONDS:
        return False
    own = [p for p in snapshot.processes if p.process.startswith(pod.uid)]
    return all(p.problem not in (None, Reason.STALE) for p in own)


def _await_start(draft: Draft, candidate: Tried) -> None:
    """Wait until the candidate's first pods are Ready; then give them traffic."""
    ready = draft.snapshot.ready_of(candidate.revision)
    if draft.status.stable is None or draft.spec.rollout.strategy == "rolling":
        draft.set_rollout(phase="Promoting")
        return
    if is_share_too_large(draft.spec, draft.status):
        return
    if ready >= step_share(draft.spec, draft.status).candidate:
        _enter_step(draft, 0, requests_before=0.0)


def _enter_step(draft: Draft, index: int, requests_before: float) -> None:
    """Write where the rollout stands and from which counts the step's evidence starts."""
    steps = draft.spec.rollout.steps
    rollout = draft.status.rollout
    assert rollout is not None
    wanted = steps[index]
    before = rollout.step.weight if rollout.step is not None else 0.0
    weight = wanted.weight if wanted.weight is not None else before
    draft.set_rollout(
        phase="Stepping",
        requests_before=requests_before,
        paused_since=draft.now if wanted.pause is not None else None,
        paused_by="step" if wanted.pause is not None else None,
        step=StepStatus(
            index=index,
            of=len(steps),
            weight=weight,
            started=draft.now,
            origins=origins_of(draft.snapshot.processes),
        ),
    )
    draft.set(gates=[])
    candidate = draft.status.candidate
    assert candidate is not None
    share = step_share(draft.spec, draft.status)
    paused = "; paused until: trimtab resume" if wanted.pause is not None else ""
    draft.tell(
        EventReason.STEP_REACHED,
        f"step {index + 1}/{len(steps)}: {candidate.version} gets {weight * 100:g}% "
        f"({share.candidate} of {share.total} pods){paused}",
    )


# --- judging a step ------------------------------------------------------------------------------


def _judge_step(draft: Draft, candidate: Tried) -> None:
    """Judge all gates on the counts of this step; roll back, hold, go on or promote."""
    rollout = draft.status.rollout
    assert rollout is not None
    assert rollout.step is not None
    judgement = judge_gates(draft, candidate)
    draft.set(gates=list(judgement.gates))
    if judgement.failed is not None:
        gate = judgement.failed
        reason = Reason.GATE_FAILED
        roll_back(draft, reason, f"gate {gate.name}: {gate.message}")
        return
    _follow_data(draft, judgement)
    if rollout.paused_since is not None:
        return
    step = _start_clock(draft, candidate)
    if step.first_request is None or judgement.holding is not None:
        return
    if _is_share_missed(draft, candidate):
        return
    wanted = draft.spec.rollout.steps[step.index]
    ends = step.first_request + (wanted.for_ or timedelta(0))
    if draft.now < ends:
        draft.wake_by(ends)
        return
    requests = rollout.requests_before + _requests(draft, candidate)
    if step.index + 1 < step.of:
        _enter_step(draft, step.index + 1, requests)
    elif requests >= draft.spec.rollout.min_samples:
        draft.set_rollout(phase="Promoting")


def _requests(draft: Draft, candidate: Tried) -> float:
    rollout = draft.status.rollout
    if rollout is None or rollout.step is None:
        return 0.0
    return request_count(
        candidate.revision, draft.snapshot.processes, rollout.step.origins, rollout.started
    )


def _start_clock(draft: Draft, candidate: Tried) -> StepStatus:
    """Start the clock of a step at the first user request that the full share saw."""
    rollout = draft.status.rollout
    assert rollout is not None
    assert rollout.step is not None
    step, memory = rollout.step, step_memory(draft, rollout.step)
    share = step_share(draft.spec, draft.status)
    if step.first_request is None and memory.first_request is not None:
        step = step.model_copy(update={"first_request": memory.first_request})
        draft.set_rollout(step=step)
    elif (
        step.first_request is None
        and draft.snapshot.ready_of(candidate.revision) >= share.candidate
        and _requests(draft, candidate) > 0
    ):
        step = step.model_copy(update={"first_request": draft.now})
        draft.set_rollout(step=step)
        draft.memory = replace(memory, first_request=draft.now)
    return step


def _is_share_missed(draft: Draft, candidate: Tried) -> bool:
    """After 100 requests: is the measured share zero or below a third of the wanted one?"""
    rollout, stable = draft.status.rollout, draft.status.stable
    if rollout is None or rollout.step is None or stable is None:
        return False
    origins = rollout.step.origins
    own = request_count(candidate.revision, draft.snapshot.processes, origins, rollout.started)
    both = own + request_count(stable.revision, draft.snapshot.processes, origins, rollout.started)
    share = step_share(draft.spec, draft.status)
    return both >= SHARE_CHECK_REQUESTS and own / both < share.value / 3


def _follow_data(draft: Draft, judgement: Judgement) -> None:
    """Hold while blind; after two minutes send users to stable only, until data is back."""
    rollout = draft.status.rollout
    assert rollout is not None
    if judgement.blind is None:
        if rollout.no_data_since is not None:
            draft.tell(EventReason.DATA_BACK, "the gates can judge again")
            if rollout.withdrawn and rollout.step is not None:
                step = rollout.step.model_copy(
                    update={
                        "first_request": None,
                        "started": draft.now,
                        "origins": origins_of(draft.snapshot.processes),
                    }
                )
                draft.set_rollout(step=step)
            draft.set_rollout(no_data_since=None, withdrawn=False)
        return
    gate = judgement.blind
    if rollout.no_data_since is None:
        draft.set_rollout(no_data_since=draft.now)
        draft.tell(
            EventReason.DATA_UNAVAILABLE,
            f"gate {gate.name}: {gate.reason}: {gate.message}; the rollout holds",
            warning=True,
        )
        draft.wake_after(WITHDRAW_AFTER)
        return
    blind_for = draft.now - rollout.no_data_since
    if blind_for >= WITHDRAW_AFTER:
        draft.set_rollout(withdrawn=True)
    else:
        draft.wake_by(rollout.no_data_since + WITHDRAW_AFTER)


# --- towards the end -----------------------------------------------------------------------------


def _await_full_size(draft: Draft, candidate: Tried) -> None:
    """Promote once the candidate can carry all requests."""
    rollout = draft.status.rollout
    assert rollout is not None
    if rollout.step is not None and rollout.promoted_by is None:
        judgement = judge_gates(draft, candidate)
        draft.set(gates=list(judgement.gates))
        if judgement.failed is not None:
            gate = judgement.failed
            roll_back(draft, Reason.GATE_FAILED, f"gate {gate.name}: {gate.message}")
            return
    if draft.snapshot.ready_of(candidate.revision) < _full_size(draft):
        return
    promote(draft, _promotion_message(draft, candidate))


def _promotion_message(draft: Draft, candidate: Tried) -> str:
    rollout = draft.status.rollout
    assert rollout is not None
    if draft.status.stable is None:
        return f"{candidate.version} serves as the first version; nothing to compare it with"
    if draft.spec.rollout.strategy == "rolling":
        return f"{candidate.version} serves; strategy rolling has no gates"
    requests = rollout.requests_before + _requests(draft, candidate)
    smallest = [g.smallest_fault for g in draft.status.gates if g.smallest_fault]
    seen = (
        f"would have caught a fault of {max(smallest, key=_percent)} or more in this step"
        if smallest
        else "could not have caught a fault"
    )
    return f"{candidate.version} promoted after {requests:.0f} requests: {seen}"


def _percent(text: str) -> float:
    return float(text.rstrip("%"))


def _check_deadline(draft: Draft, candidate: Tried) -> None:
    """End a rollout that could not be judged, started or promoted in time."""
    rollout = draft.status.rollout
    assert rollout is not None
    if rollout.paused_since is not None:
        return
    deadline = deadline_of(draft, rollout)
    if draft.now < deadline:
        draft.wake_by(deadline)
        return
    infrastructure = _infrastructure_fault(draft.snapshot, candidate)
    if infrastructure is not None:
        end_undecided(draft, infrastructure.reason, infrastructure.message)
    elif rollout.phase in ("Starting", "Promoting"):
        if is_share_too_large(draft.spec, draft.status):
            end_undecided(draft, Reason.SHARE_TOO_LARGE, "one pod is more than the wanted share")
        else:
            ready = draft.snapshot.ready_of(candidate.revision)
            roll_back(
                draft,
                Reason.NEVER_READY,
                f"{ready} of the candidate's pods Ready by the deadline"
                f"{_pod_messages(draft.snapshot, candidate)}",
            )
    else:
        _end_unjudged(draft, candidate)


def _end_unjudged(draft: Draft, candidate: Tried) -> None:
    waiting = next((g for g in draft.status.gates if g.verdict == "NoData"), None)
    why = (
        f"gate {waiting.name}: {waiting.reason}"
        if waiting is not None
        else "too few requests or steps longer than the deadline"
    )
    if draft.spec.rollout.on_deadline == "rollback":
        roll_back(draft, Reason.DEADLINE_PASSED, why)
    elif draft.spec.rollout.on_deadline == "promote":
        draft.set_rollout(
            phase="Promoting",
            started=draft.now,
            promoted_by="onDeadline",
        )
    else:
        end_undecided(draft, Reason.DEADLINE_PASSED, why)


def deadline_of(draft: Draft, rollout: RolloutStatus) -> datetime:
    """Return when the rollout must be over; earlier pauses do not count."""
    paused = timedelta(seconds=rollout.paused_seconds)
    return rollout.started + draft.spec.rollout.deadline + paused


def _infrastructure_fault(snapshot: Snapshot, candidate: Tried) -> Refusal | None:
    for pod in snapshot.pods_of(candidate.revision):
        if pod.unschedulable:
            return Refusal(Reason.UNSCHEDULABLE, f"pod {pod.name}: {pod.message}")
        if pod.image_missing:
            return Refusal(Reason.IMAGE_PULL_FAILED, f"pod {pod.name}: {pod.message}")
    return None


def _pod_messages(snapshot: Snapshot, candidate: Tried) -> str:
    messages = {pod.message for pod in snapshot.pods_of(candidate.revision) if pod.message}
    return f": {'; '.join(sorted(messages))}" if messages else ""
