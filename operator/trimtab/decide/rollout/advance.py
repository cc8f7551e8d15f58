"""A rollout on its way forward: from starting, step by step under its gates, to its promotion.

Each function returns the phase that it leaves the rollout in, or None where it ended it.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import DeploymentSpec, Tried
from trimtab.decide.rollout.alone import carries_alone
from trimtab.decide.rollout.counting import origins_of
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.ends import end_undecided, promote, roll_back
from trimtab.decide.rollout.health import (
    SHORT,
    begun_of,
    had_time,
    infrastructure_fault,
    is_starting,
    longest_start,
    pod_messages,
    time_left,
    why_without_time,
)
from trimtab.decide.rollout.judgement import Judgement, Trial, blind_gate, judge_gates, trial_of
from trimtab.decide.rollout.phases import (
    ON_DEADLINE,
    Progress,
    Promoting,
    Starting,
    Stepping,
    counted_until,
    deadline_of,
    is_late,
    paused_by_step,
    progress_in,
    promoted_early,
    promoting,
)
from trimtab.decide.rollout.quarantine import still_ready
from trimtab.decide.rollout.steps import (
    begin_step,
    ends_at,
    follow_data,
    is_last,
    is_waiting_for_share,
    requests_of_candidate,
    start_clock,
    step_share,
    why_step_goes_on,
)
from trimtab.decide.rollout.strategies import strategy_of


def advance(
    draft: Draft, phase: Starting | Stepping | Promoting, *, is_wanted: bool = True
) -> None:
    """Bring a rollout as far as it can go in one pass; end it in time.

    One that is not wanted any more (`is_wanted`) is judged, and comes no further unless a person
    promotes it.
    """
    after: Starting | Stepping | Promoting | None = phase
    if isinstance(phase, Starting):
        after = _await_start(draft, phase)
    elif isinstance(phase, Stepping):
        after = _judge_step(draft, phase, is_wanted=is_wanted)
    if isinstance(after, Promoting):
        after = _await_full_size(draft, after, is_wanted=is_wanted)
    if after is not None and after.pause is None and is_late(draft.spec, after, draft.instant):
        _end_late(draft, after)


def _await_start(draft: Draft, phase: Starting) -> Starting | Stepping | Promoting:
    """Wait until the candidate's first pods are Ready; then give them traffic."""
    spec = draft.spec
    if phase.pause is not None:
        return phase
    if draft.status.stable is None or not strategy_of(spec.rollout).steps(spec.rollout):
        return draft.enter(promoting(phase))
    ready = draft.snapshot.ready_of(phase.candidate.revision)
    if is_waiting_for_share(spec, draft.status, phase) or ready < step_share(spec, None).candidate:
        return phase
    if _is_stable_starting(draft, phase):
        return phase
    if still_ready(draft.snapshot, draft.status) is not None:
        return phase  # once a step opens, pods of all versions get requests
    return _enter_step(draft, _since_its_pods(draft, phase), 0, None, requests_before=0.0)


def _since_its_pods(draft: Draft, phase: Starting) -> Starting:
    """Return the phase as begun when its pods could start, if that was late: nobody could act."""
    now = draft.instant
    had = longest_start(draft.snapshot, begun_of(draft.snapshot, phase.candidate.revision))
    if counted_until(phase, now) - had <= draft.spec.rollout.deadline * SHORT:
        return phase
    led = None if now.led is None else now.led - had.total_seconds()
    return replace(phase, started=now.at - had, started_led=led, paused_seconds=0.0)


def _is_stable_starting(draft: Draft, phase: Starting) -> bool:
    """Return whether most of stable is still to come, and the candidate would carry its requests.

    Whoever crashed, or has no place, is not waited for: then a new version is the way out. Nor is
    anybody after half of the deadline.
    """
    stable, spec = draft.status.stable, draft.spec
    if stable is None or 2 * draft.snapshot.ready_of(stable.revision) >= spec.replicas:
        return False
    latest = deadline_of(spec, phase, draft.instant) - spec.rollout.deadline / 2
    own = draft.snapshot.pods_of(stable.revision)
    if draft.now >= latest or (own and not any(is_starting(pod) for pod in own)):
        return False
    draft.wake_by(latest)
    return True


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
    share = f"{step.weight * 100:g}% ({step_share(draft.spec, step)})"
    gets = share if step.weight > 0 else "no requests yet"
    paused = "; paused until: trimtab resume" if waits else ""
    draft.tell(
        EventReason.STEP_REACHED,
        f"step {index + 1}/{step.of}: {phase.candidate.version} gets {gets}{paused}",
    )
    return draft.enter(
        Stepping(
            candidate=phase.candidate,
            started=phase.started,
            started_led=phase.started_led,
            pause=paused_by_step(draft.instant) if waits else None,
            paused_seconds=phase.paused_seconds,
            progress=progress,
        )
    )


# --- judging -------------------------------------------------------------------------------------


def _trial(draft: Draft, phase: Stepping | Promoting, progress: Progress) -> Trial:
    return trial_of(draft.status.stable, phase, progress)


def _judge(draft: Draft, trial: Trial) -> Judgement:
    """Judge all gates; write what they saw."""
    judgement, draft.memory, wake = judge_gates(draft.snapshot, trial, draft.memory)
    draft.wake_by(wake)
    draft.set(gates=list(judgement.gates))
    return judgement


def _judge_step(draft: Draft, phase: Stepping, *, is_wanted: bool) -> Stepping | Promoting | None:
    """Judge all gates on the counts of this step; roll back, hold, go on or promote."""
    if (
        is_wanted
        and phase.pause is None
        and not strategy_of(draft.spec.rollout).steps(draft.spec.rollout)
    ):
        return draft.enter(promoting(phase))  # made rolling in the middle
    if phase.progress.step.weight == 0:
        # A pause before the first weight: it gets no requests, and shows nothing.
        return phase if phase.pause is not None or not is_wanted else _next_step(draft, phase)
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
    is_held = judgement.holding is not None or phase.progress.no_data_since is not None
    return phase if is_held or not is_wanted else _end_step(draft, phase)


def _follow_data(draft: Draft, phase: Stepping, judgement: Judgement) -> Stepping:
    origins = origins_of(draft.snapshot.processes)
    progress, note, wake = follow_data(
        phase.progress,
        judgement.blind,
        origins,
        draft.now,
        is_unseen=judgement.is_unseen,
        is_alone=carries_alone(draft.snapshot, draft.status),
    )
    draft.wake_by(wake)
    if note is not None:
        draft.tell(note.reason, note.message, warning=note.warning)
    return draft.enter(replace(phase, progress=progress))


def _end_step(draft: Draft, phase: Stepping) -> Stepping | Promoting:
    """Go to the next step when this one's time is over."""
    rollout, step = draft.spec.rollout, phase.progress.step
    ends = ends_at(rollout, step)
    if ends is None:
        return phase
    if draft.now < ends:
        draft.wake_by(ends)
        return phase
    trial = _trial(draft, phase, phase.progress)
    if why_step_goes_on(draft.snapshot, trial, draft.status.gates) is not None:
        return phase
    return _next_step(draft, phase)


def _next_step(draft: Draft, phase: Stepping) -> Stepping | Promoting:
    step = phase.progress.step
    if is_last(draft.spec.rollout, step):
        return draft.enter(promoting(phase))
    trial = _trial(draft, phase, phase.progress)
    requests = requests_of_candidate(trial, draft.snapshot.processes)
    return _enter_step(draft, phase, step.index + 1, phase.progress, requests_before=requests)


# --- towards the end -----------------------------------------------------------------------------


def _await_full_size(draft: Draft, phase: Promoting, *, is_wanted: bool) -> Promoting | None:
    """Promote once the candidate can carry all requests."""
    if phase.progress is not None and phase.progress.step.weight > 0 and phase.person is None:
        judgement = _judge(draft, _trial(draft, phase, phase.progress))
        gate = judgement.failed
        # At the deadline it was promoted because data is missing, and not in spite of it.
        blind = {g.name for g in judgement.gates if g.verdict == "NoData"}
        is_expected = gate is not None and gate.name in blind and phase.promoted_by is not None
        if gate is not None and not is_expected:
            message = f"gate {gate.name}: {gate.message}"
            roll_back(draft, phase.candidate, Reason.GATE_FAILED, message)
            return None
        if judgement.blind is not None and phase.promoted_by is None:
            return phase  # all steps were passed, but nobody sees what it does now
    if phase.pause is not None or not (is_wanted or phase.person is not None):
        return phase
    if draft.snapshot.carried_by(phase.candidate.revision) < full_size(draft.spec):
        return phase
    promote(draft, phase, _promotion_message(draft, phase))
    return None


def _promotion_message(draft: Draft, phase: Promoting) -> str:
    version, rollout = phase.candidate.version, draft.spec.rollout
    if draft.status.stable is None:
        return f"{_first(version)}; nothing to compare it with"
    requests = 0.0
    if phase.progress is not None:
        trial = _trial(draft, phase, phase.progress)
        requests = requests_of_candidate(trial, draft.snapshot.processes)
    message = strategy_of(rollout).promotion(version, requests, draft.status.gates)
    if phase.promoted_by == ON_DEADLINE:
        message += "; nobody could judge it by the deadline (rollout.onDeadline: promote)"
    return message


def _first(version: str) -> str:
    return f"{version} serves as the first version"


def full_size(spec: DeploymentSpec) -> int:
    """Return how many pods can carry all requests."""
    return max(1, spec.replicas)


def _end_late(draft: Draft, phase: Starting | Stepping | Promoting) -> None:
    """End a rollout that could not be judged, started or promoted in time.

    A candidate that alone carries the requests is not taken out for that.
    """
    candidate = phase.candidate
    if carries_alone(draft.snapshot, draft.status):
        if draft.spec.rollout.on_deadline == "promote" and isinstance(phase, Stepping):
            _end_unjudged(draft, phase)
        return
    ready = draft.snapshot.ready_of(candidate.revision)
    if isinstance(phase, Promoting) and draft.status.stable is None and ready > 0:
        promote(draft, phase, f"{_first(candidate.version)}; {_came(draft, candidate)}")
        return
    fault = infrastructure_fault(draft.snapshot, candidate.revision)
    if fault is not None:
        end_undecided(draft, candidate, fault.reason, fault.message)
    elif isinstance(phase, Stepping) or (
        ready >= full_size(draft.spec) and blind_gate(draft.spec.rollout, draft.status)
    ):
        _end_unjudged(draft, phase)
    elif is_waiting_for_share(draft.spec, draft.status, phase):
        message = "one pod is more than the wanted share"
        end_undecided(draft, candidate, Reason.SHARE_TOO_LARGE, message)
    elif (
        isinstance(phase, Starting)
        and ready > 0
        and (left := still_ready(draft.snapshot, draft.status)) is not None
    ):
        message = f"{left} is still Ready: delete it"
        end_undecided(draft, candidate, Reason.DEADLINE_PASSED, message)
    elif ready > 0 or progress_in(phase) is not None:
        # What one pod can, the version can: the others are late for reasons of their own.
        end_undecided(draft, candidate, Reason.NOT_ENOUGH_READY, _came(draft, candidate))
    elif _are_given_time(draft, phase):
        pass  # made late, for a write that was refused: in that time nobody could act
    elif not had_time(draft.snapshot, candidate.revision):
        # Whoever was made late or not at all, or never began, has shown nothing of the version.
        why = why_without_time(draft.snapshot, candidate.revision)
        message = f"{_came(draft, candidate)}; {why}"
        end_undecided(draft, candidate, Reason.NOT_ENOUGH_READY, message)
    else:
        roll_back(draft, candidate, Reason.NEVER_READY, _came(draft, candidate))


def _are_given_time(draft: Draft, phase: Starting | Promoting) -> bool:
    """Return whether pods that were made late may still start: at most one deadline more."""
    left = time_left(draft.snapshot, phase.candidate.revision)
    deadline = draft.spec.rollout.deadline
    if not left or draft.now >= deadline_of(draft.spec, phase, draft.instant) + deadline:
        return False
    draft.wake_by(draft.now + left)
    return True


def _came(draft: Draft, candidate: Tried) -> str:
    """Return how many pods were Ready in time, and what the others say."""
    ready = draft.snapshot.ready_of(candidate.revision)
    said = pod_messages(draft.snapshot, candidate.revision)
    return f"{ready} of the candidate's pods Ready by the deadline{said}"


def _end_unjudged(draft: Draft, phase: Starting | Stepping | Promoting) -> None:
    """The deadline passed before all was judged: what follows is the user's to say."""
    why = _why_unjudged(draft, phase)
    match draft.spec.rollout.on_deadline:
        case "rollback":
            roll_back(draft, phase.candidate, Reason.DEADLINE_PASSED, why)
        case "promote":
            draft.enter(promoted_early(phase, draft.instant, by=ON_DEADLINE))
        case "undecided":
            end_undecided(draft, phase.candidate, Reason.DEADLINE_PASSED, why)


def _why_unjudged(draft: Draft, phase: Starting | Stepping | Promoting) -> str:
    waiting = next((g for g in draft.status.gates if g.verdict == "NoData"), None)
    if waiting is not None:
        return f"gate {waiting.name}: {waiting.reason}"
    if isinstance(phase, Stepping):
        held = why_step_goes_on(
            draft.snapshot, _trial(draft, phase, phase.progress), draft.status.gates
        )
        if held is not None:
            return f"{held[0]}: {held[1]}"
    return "too few requests or steps longer than the deadline"
