"""The steps of a rollout: which pods one needs, how it begins, when its clock runs.

A step's clock and counts start at its first user request. While the gates cannot see, the rollout
holds; after two minutes all requests go to stable, if a pod of it is Ready, until data is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.conditions import EventReason, Reason, reason_of
from trimtab.api.deployment import (
    DeploymentSpec,
    DeploymentStatus,
    GateStatus,
    Origin,
    Rollout,
    StepStatus,
)
from trimtab.decide.outcome import Note
from trimtab.decide.rollout.counting import origins_of, request_count
from trimtab.decide.rollout.gates import first_unable
from trimtab.decide.rollout.judgement import Trial
from trimtab.decide.rollout.measures import written
from trimtab.decide.rollout.phases import Phase, Progress, Starting
from trimtab.decide.rollout.snapshot import Memory, ProcessView, Snapshot
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.traffic import way_of
from trimtab.decide.rollout.traffic.replicas import Share

WITHDRAW_AFTER = timedelta(minutes=2)
SHORTEST_OUTAGE = timedelta(seconds=5)
"""Of two operators one may see what the other does not: they would tell so in turns at any rate."""
SHARE_CHECK_REQUESTS = 100


# --- pods ----------------------------------------------------------------------------------------


def step_share(spec: DeploymentSpec, step: StepStatus | None) -> Share:
    """Return the pods of the candidate, and of both, at a step; None: while it starts."""
    needed = strategy_of(spec.rollout).needed_share(spec.rollout, step)
    return way_of(spec).share(needed, max(1, spec.replicas), spec.replicas)


def is_waiting_for_share(
    spec: DeploymentSpec, status: DeploymentStatus, phase: Phase | None
) -> bool:
    """Return whether a candidate stays out of traffic since its first share is far too large."""
    if not isinstance(phase, Starting) or status.stable is None or spec.rollout.allow_coarse:
        return False
    wanted = strategy_of(spec.rollout).needed_share(spec.rollout, None)
    return way_of(spec).is_too_large(step_share(spec, None), wanted)


# --- one step ------------------------------------------------------------------------------------


def begin_step(
    snapshot: Snapshot, index: int, before: Progress | None, requests_before: float
) -> Progress:
    """Return where the rollout stands, and from which counts the step's evidence starts.

    A step that is a pause keeps the weight `before` it.
    """
    rollout = snapshot.deployment.spec.rollout
    steps = strategy_of(rollout).steps(rollout)
    weight = steps[index].weight
    if weight is None:
        weight = before.step.weight if before is not None else 0.0
    step = StepStatus(
        index=index,
        of=len(steps),
        weight=weight,
        started=snapshot.now,
        origins=origins_of(snapshot.processes),
    )
    return Progress(step, requests_before)


def requests_in_step(trial: Trial, processes: Sequence[ProcessView]) -> float:
    """Return the requests that the candidate answered in this step."""
    origins = trial.progress.step.origins
    return request_count(trial.candidate.revision, processes, origins, trial.began)


def requests_of_candidate(trial: Trial, processes: Sequence[ProcessView]) -> float:
    """Return the requests that the candidate answered in this step and the ones before."""
    return trial.progress.requests_before + requests_in_step(trial, processes)


def start_clock(snapshot: Snapshot, trial: Trial, memory: Memory) -> tuple[Progress, Memory]:
    """Start the clock at the first user request that the full share saw.

    It is remembered; in status it is with the next write. Where it lies ahead, the clock was set
    back, and the step's time begins anew: it would last longer by as much.
    """
    progress, step = trial.progress, trial.progress.step
    remembered = memory.of_step(step.index, step.started)
    first = step.first_request or remembered.first_request
    if first is None:
        needed = step_share(snapshot.deployment.spec, step).candidate
        is_at_size = snapshot.ready_of(trial.candidate.revision) >= needed
        if not is_at_size or requests_in_step(trial, snapshot.processes) <= 0:
            return progress, memory
    first = min(first or snapshot.now, snapshot.now)
    if first == step.first_request:
        return progress, memory
    memory = replace(memory, step=replace(remembered, first_request=first))
    return replace(progress, step=step.model_copy(update={"first_request": first})), memory


def ends_at(rollout: Rollout, step: StepStatus) -> datetime | None:
    """Return when the time of a step is over; None before its first request."""
    if step.first_request is None:
        return None
    steps = strategy_of(rollout).steps(rollout)
    lasts = steps[step.index].for_ if step.index < len(steps) else None
    return step.first_request + (lasts or timedelta(0))


def is_last(rollout: Rollout, step: StepStatus) -> bool:
    """Return whether no step follows, in the spec as it is by now."""
    return step.index + 1 >= len(strategy_of(rollout).steps(rollout))


def why_step_goes_on(
    snapshot: Snapshot, trial: Trial, gates: Sequence[GateStatus]
) -> tuple[Reason, str] | None:
    """Return why a step whose time is over cannot end, with its figures; None if it can.

    gates: what they saw at the last look.
    """
    rollout = snapshot.deployment.spec.rollout
    missed = _missed_share(snapshot, trial)
    if missed is not None:
        return Reason.SHARE_NOT_REACHED, missed
    requests = requests_of_candidate(trial, snapshot.processes)
    if is_last(rollout, trial.progress.step) and requests < rollout.min_samples:
        message = f"{written(requests)} of {rollout.min_samples} requests (rollout.minSamples)"
        return Reason.WAITING_FOR_SAMPLES, message
    unable = first_unable(gates, strategy_of(rollout).gates(rollout))
    if unable is not None:
        return reason_of(unable.reason, Reason.PARTLY_SEEN), f"gate {unable.name}: {unable.message}"
    return None


def _missed_share(snapshot: Snapshot, trial: Trial) -> str | None:
    """After 100 requests: is the measured share zero or below a third of the wanted one?"""
    if trial.stable is None:
        return None
    processes, origins = snapshot.processes, trial.progress.step.origins
    own = requests_in_step(trial, processes)
    both = own + request_count(trial.stable.revision, processes, origins, trial.began)
    share = step_share(snapshot.deployment.spec, trial.progress.step)
    if both < SHARE_CHECK_REQUESTS or own / both >= share.value / 3:
        return None
    return (
        f"the candidate got {own / both * 100:.1f}% of {written(both)} requests, "
        f"and {share.value * 100:.0f}% are wanted"
    )


# --- missing data --------------------------------------------------------------------------------


def follow_data(
    progress: Progress,
    blind: GateStatus | None,
    origins: list[Origin],
    now: datetime,
    *,
    is_unseen: bool = False,
    is_alone: bool = False,
) -> tuple[Progress, Note | None, datetime | None]:
    """Hold while a gate is `blind`; go on once none is, with the step anew if it was withdrawn.

    Whoever has not seen all pods yet (`is_unseen`), as after a restart, knows of no outage, and of
    the end of none. Of a candidate that alone carries the requests (`is_alone`) they are not taken.

    Returns where the rollout stands, what to tell, and when to look again.
    """
    since = progress.no_data_since
    if since is None:
        return _miss_data(progress, blind, now)
    since = min(since, now)  # it lies ahead where the clock was set back
    progress = replace(progress, no_data_since=since)
    if blind is None and not is_unseen:
        back = since + SHORTEST_OUTAGE
        return _see_again(progress, origins, now) if now >= back else (progress, None, back)
    if now - since >= WITHDRAW_AFTER:
        return progress if is_alone else replace(progress, withdrawn=True), None, None
    return progress, None, since + WITHDRAW_AFTER


def _miss_data(
    progress: Progress, blind: GateStatus | None, now: datetime
) -> tuple[Progress, Note | None, datetime | None]:
    if blind is None:
        return progress, None, None
    message = f"gate {blind.name}: {blind.reason}: {blind.message}; the rollout holds"
    note = Note(EventReason.DATA_UNAVAILABLE, message, warning=True)
    return replace(progress, no_data_since=now), note, now + WITHDRAW_AFTER


def _see_again(
    progress: Progress, origins: list[Origin], now: datetime
) -> tuple[Progress, Note, None]:
    step = progress.step
    if progress.withdrawn:
        step = step.model_copy(update={"first_request": None, "started": now, "origins": origins})
    seeing = replace(progress, step=step, no_data_since=None, withdrawn=False)
    return seeing, Note(EventReason.DATA_BACK, "the gates can judge again"), None
