"""Conditions of a Deployment, with what is told when one flips: the one writer of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.conditions import (
    ConditionType,
    EventReason,
    Reason,
    find_condition,
    reason_of,
    set_condition,
)
from trimtab.api.deployment import DeploymentStatus, GateStatus, GuardStatus
from trimtab.decide.outcome import LONGEST_MESSAGE, Note
from trimtab.decide.rollout.alone import control_alone, what_waits
from trimtab.decide.rollout.columns import count_pods, summarise
from trimtab.decide.rollout.ends import has_no_way_back, is_flapping
from trimtab.decide.rollout.health import failure_of, pod_messages, why_not_ready, without_artifact
from trimtab.decide.rollout.judgement import blind_gate, trial_of
from trimtab.decide.rollout.phases import (
    Pause,
    Phase,
    Progress,
    Promoting,
    Returning,
    Starting,
    Stepping,
    is_late,
    phase_of,
    progress_in,
)
from trimtab.decide.rollout.quarantine import still_ready
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.steps import (
    ends_at,
    is_waiting_for_share,
    step_share,
    why_step_goes_on,
)
from trimtab.decide.rollout.unseen import why_unseen
from trimtab.decide.rollout.wanted import Wanted

QUIET_START = timedelta(seconds=10)
WARM_WITHIN = timedelta(seconds=60)
"""Pods of little traffic need so long until their speed is evidence."""
READY_WITHIN = timedelta(seconds=60)
_BEGINNING = frozenset({Reason.NO_TRAFFIC, Reason.WAITING})


@dataclass(frozen=True)
class Stand:
    """How a condition stands; `holds` None means unknown."""

    holds: bool | None
    reason: Reason
    message: str = ""


def report(snapshot: Snapshot, wanted: Wanted) -> tuple[DeploymentStatus, tuple[Note, ...]]:
    """Return the status with everything that a person reads, and what to tell of it."""
    status = count_pods(snapshot, snapshot.deployment.status)
    stands = {
        ConditionType.READY: _ready(snapshot, status, wanted),
        ConditionType.PROGRESSING: _progressing(snapshot, status, wanted),
        ConditionType.DEGRADED: _degraded(snapshot, status),
        ConditionType.PAUSED: _paused(phase_of(status)),
        ConditionType.QUARANTINED: _quarantined(wanted),
        ConditionType.DATA_AVAILABLE: _data_available(snapshot, status),
    }
    generation = snapshot.deployment.metadata.generation
    conditions = status.conditions
    for kind, stand in stands.items():
        conditions = set_condition(
            conditions,
            kind,
            stand.holds,
            stand.reason,
            stand.message,
            now=snapshot.now,
            generation=generation,
        )
    reported = status.model_copy(
        update={
            "conditions": conditions,
            "observed_generation": generation,
            "summary": summarise(snapshot, status, wanted, _telling_most(status, stands)),
        }
    )
    return reported, _flips(status, stands)


def _flips(status: DeploymentStatus, stands: Mapping[ConditionType, Stand]) -> tuple[Note, ...]:
    """Return what is told when a condition comes to hold."""
    before = {c.type for c in status.conditions if c.status == "True"}
    quarantined, degraded = stands[ConditionType.QUARANTINED], stands[ConditionType.DEGRADED]
    notes = []
    if quarantined.holds and ConditionType.QUARANTINED not in before:
        notes.append((EventReason.QUARANTINED, quarantined.message))
    reasons = {c.reason for c in status.conditions if c.type == ConditionType.DEGRADED}
    if degraded.reason is Reason.RETURN_DELAYED and Reason.RETURN_DELAYED not in reasons:
        notes.append((EventReason.UNDECIDED, degraded.message))
    is_flapping_now = degraded.holds and degraded.reason is Reason.FLAPPING
    if is_flapping_now and ConditionType.DEGRADED not in before:
        notes.append((EventReason.FLAPPING, degraded.message))
    return tuple(Note(reason, message[:LONGEST_MESSAGE], warning=True) for reason, message in notes)


_ORDER = (
    ConditionType.QUARANTINED,
    ConditionType.DEGRADED,
    ConditionType.PAUSED,
    ConditionType.PROGRESSING,
    ConditionType.READY,
)
"""Which condition says most, if it holds."""


def _telling_most(status: DeploymentStatus, stands: Mapping[ConditionType, Stand]) -> Reason:
    """Return the reason for the column; at rest, what is not Ready says most."""
    ready = stands[ConditionType.READY]
    says_most = not ready.holds or ready.reason is Reason.SCALED_TO_ZERO
    if says_most and status.rollout is None:
        return ready.reason
    return next((stands[kind].reason for kind in _ORDER if stands[kind].holds), ready.reason)


# --- Ready ---------------------------------------------------------------------------------------


def _ready(snapshot: Snapshot, status: DeploymentStatus, wanted: Wanted) -> Stand:
    replicas, stable, guard = snapshot.deployment.spec.replicas, status.stable, status.guard
    if replicas == 0:
        return Stand(True, Reason.SCALED_TO_ZERO, "replicas is 0; set it to serve again")
    if stable is None:
        return _ready_without_stable(status, wanted)
    taken = snapshot.taken
    for message in (*taken.services.values(), taken.workloads.get(stable.workload)):
        if message is not None:
            return Stand(False, Reason.NAME_TAKEN, message)
    if guard is not None and guard.breached and status.last_good is None:
        return Stand(False, Reason.FIRST_VERSION_FAILED, guard.breached)
    if snapshot.ready_of(stable.revision) == 0:
        return Stand(False, Reason.NOT_ENOUGH_READY, f"0/{replicas} pods of {stable.version}")
    return Stand(True, Reason.SERVING, f"{stable.version} serves with {replicas} pods wanted")


def _ready_without_stable(status: DeploymentStatus, wanted: Wanted) -> Stand:
    phase = phase_of(status)
    if phase is not None:
        return Stand(False, Reason.STARTING, f"{phase.candidate.version} is starting")
    failed = next(
        (h for h in reversed(status.history) if h.outcome == Reason.FIRST_VERSION_FAILED), None
    )
    if failed is not None and wanted.revision == failed.revision:
        return Stand(False, Reason.FIRST_VERSION_FAILED, failed.message)
    if wanted.refusal is not None:
        return Stand(False, wanted.refusal.reason, wanted.refusal.message)
    return Stand(False, Reason.STARTING, "nothing serves yet")


# --- Progressing, Paused -------------------------------------------------------------------------


def _progressing(snapshot: Snapshot, status: DeploymentStatus, wanted: Wanted) -> Stand:
    phase = phase_of(status)
    if phase is None:
        return _resting(snapshot, status, wanted)
    version = phase.candidate.version
    failure = failure_of(snapshot, phase.candidate.revision)
    unloaded = without_artifact(snapshot, phase.candidate.revision)
    waits = what_waits(snapshot, status, wanted)
    if waits is not None:
        return Stand(True, Reason.STABLE_NOT_READY, waits)
    if phase.pause is not None:
        return Stand(True, phase.pause.reason, f"{version} waits for: trimtab resume")
    if failure and not isinstance(phase, Stepping):
        return Stand(True, Reason.REPLICA_FAILURE, failure)
    if unloaded is not None and not isinstance(phase, Stepping):
        return Stand(True, unloaded.reason, unloaded.message)
    match phase:
        case Starting():
            return _starting(snapshot, status, phase)
        case Promoting():
            blind = blind_gate(snapshot.deployment.spec.rollout, status)
            if blind is not None and phase.promoted_by is None:
                return Stand(True, Reason.WAITING_FOR_DATA, f"gate {blind.name}: {blind.reason}")
            return Stand(True, Reason.PROMOTING, f"{version} grows to full size")
        case Returning():
            said = pod_messages(snapshot, phase.candidate.revision)
            return Stand(True, Reason.ROLLED_BACK, f"returning to {version}{said}")
    waiting = _gate_without_data(snapshot, status, phase.progress)
    if waiting is not None:
        return Stand(True, Reason.WAITING_FOR_DATA, f"gate {waiting.name}: {waiting.reason}")
    step = phase.progress.step
    ends = ends_at(snapshot.deployment.spec.rollout, step)
    if ends is not None and snapshot.now >= ends + QUIET_START:
        held = why_step_goes_on(
            snapshot, trial_of(status.stable, phase, phase.progress), status.gates
        )
        if held is not None:
            return Stand(True, *held)
    return Stand(True, Reason.STEP_RUNNING, f"{version} at step {step.index + 1}/{step.of}")


def _starting(snapshot: Snapshot, status: DeploymentStatus, phase: Starting) -> Stand:
    spec = snapshot.deployment.spec
    version, left = phase.candidate.version, still_ready(snapshot, status)
    is_ready = status.stable is not None and snapshot.ready_of(phase.candidate.revision) > 0
    if is_ready and left is not None:
        message = f"{version} waits: {left} is still Ready; delete it if it stays"
        return Stand(True, Reason.CANDIDATE_STARTING, message)
    if not is_waiting_for_share(spec, status, phase):
        return Stand(True, Reason.CANDIDATE_STARTING, f"{version} is starting")
    share = step_share(spec, None).value
    message = (
        f"one pod would get {share * 100:.0f}% of the requests, far above the step; "
        "raise replicas or set rollout.allowCoarse"
    )
    return Stand(True, Reason.SHARE_TOO_LARGE, message)


def _resting(snapshot: Snapshot, status: DeploymentStatus, wanted: Wanted) -> Stand:
    waiting = status.back_off
    if waiting is not None:
        message = f"undecided; tried again at {waiting.not_before:%Y-%m-%d %H:%M:%S}Z"
        return Stand(False, Reason.BACKING_OFF, message)
    if wanted.refusal is not None:
        return Stand(False, wanted.refusal.reason, wanted.refusal.message)
    stable, version = status.stable, wanted.version
    if version is not None and (stable is None or wanted.revision != stable.revision):
        if snapshot.deployment.spec.replicas == 0:
            message = f"{version.spec.version} is tried when replicas is not 0"
            return Stand(False, Reason.SCALED_TO_ZERO, message)
        if is_flapping(status.history, snapshot.now):
            message = f"{version.spec.version} is not tried until: trimtab retry"
            return Stand(False, Reason.FLAPPING, message)
        asked = snapshot.requested
        if asked is not None and asked.do == "pause":
            message = f"{version.spec.version} is not tried for now: {asked.message}"
            return Stand(False, Reason.PAUSED_BY_POLICY, message)
        if stable is not None and control_alone(snapshot, status):
            message = (
                f"{version.spec.version} waits to be tried: {stable.version} has no Ready pod, and "
                "the version before keeps all requests until it has; to go back to that for good: "
                "trimtab rollback"
            )
            return Stand(False, Reason.STABLE_NOT_READY, message)
    return Stand(False, Reason.UP_TO_DATE, "nothing else is wanted")


def _paused(phase: Phase | None) -> Stand:
    pause: Pause | None = phase.pause if phase is not None else None
    if pause is None:
        return Stand(False, Reason.AS_WANTED)
    message = f"by {pause.by} since {pause.since:%H:%M:%S}Z; trimtab resume"
    return Stand(True, pause.reason, message)


# --- Degraded, Quarantined, DataAvailable --------------------------------------------------------


def _degraded(snapshot: Snapshot, status: DeploymentStatus) -> Stand:
    replicas, stable, guard = snapshot.deployment.spec.replicas, status.stable, status.guard
    phase = phase_of(status)
    if isinstance(phase, Returning) and _is_delayed(snapshot, status, phase):
        return Stand(True, Reason.RETURN_DELAYED, _return_delayed(snapshot, status, phase))
    if is_flapping(status.history, snapshot.now):
        message = "three rollbacks within an hour: nothing automatic is done until: trimtab retry"
        return Stand(True, Reason.FLAPPING, message)
    if guard is not None and guard.breached is not None:
        return Stand(True, _breach_reason(guard), guard.breached)
    if stable is not None and replicas > 0:
        ready = snapshot.ready_of(stable.revision)
        if ready < replicas and snapshot.now - stable.since > READY_WITHIN:
            message = f"{ready}/{replicas} pods of {stable.version} are Ready"
            failure = failure_of(snapshot, stable.revision)
            if failure:
                return Stand(True, Reason.REPLICA_FAILURE, f"{message}: {failure}")
            return Stand(True, Reason.NOT_ENOUGH_READY, message)
    return Stand(False, Reason.AS_WANTED)


def _breach_reason(guard: GuardStatus) -> Reason:
    if guard.breach_reason == Reason.RETURN_DELAYED:
        return Reason.RETURN_DELAYED
    return Reason.NO_WAY_BACK if has_no_way_back(guard) else Reason.GUARD_BREACHED


def _is_delayed(snapshot: Snapshot, status: DeploymentStatus, phase: Returning) -> bool:
    """Return whether a way back is late, or was said to be.

    That stands until it ends: of two operators, each with a Lease, one may count less time.
    """
    said = find_condition(status.conditions, ConditionType.DEGRADED)
    was_said = (
        said is not None
        and said.reason == Reason.RETURN_DELAYED
        and said.last_transition_time >= phase.started
    )
    return was_said or is_late(snapshot.deployment.spec, phase, snapshot.instant)


def _return_delayed(snapshot: Snapshot, status: DeploymentStatus, phase: Returning) -> str:
    serving = "nothing" if status.stable is None else status.stable.version
    return (
        f"{phase.candidate.version} did not become Ready within "
        f"{snapshot.deployment.spec.rollout.deadline}"
        f"{why_not_ready(snapshot, phase.candidate.revision)}; {serving} serves until it does: "
        "mend what is missing, or name another version: trimtab rollback --to"
    )


def _quarantined(wanted: Wanted) -> Stand:
    if wanted.refusal is not None and wanted.refusal.reason is Reason.QUARANTINED:
        return Stand(True, Reason.QUARANTINED, wanted.refusal.message)
    return Stand(False, Reason.AS_WANTED)


def _data_available(snapshot: Snapshot, status: DeploymentStatus) -> Stand:
    progress = progress_in(phase_of(status))
    if progress is None:
        unseen = why_unseen(snapshot, status)
        if unseen is not None:
            return Stand(False, Reason.NOTHING_SEEN, unseen)
        return Stand(None, Reason.NO_ROLLOUT, "judged while a rollout runs")
    blind = _gate_without_data(snapshot, status, progress)
    if blind is not None:
        reason = reason_of(blind.reason, Reason.NO_DATA)
        return Stand(False, reason, f"gate {blind.name}: {blind.message}")
    if status.gates and all(gate.verdict == "Skipped" for gate in status.gates):
        return Stand(None, Reason.NO_STABLE, "no stable version to compare with")
    before = find_condition(status.conditions, ConditionType.DATA_AVAILABLE)
    is_known = before is not None and before.status == "True"
    if not is_known and _is_unread(snapshot, status):
        return Stand(None, Reason.WAITING, "nothing has been read yet in this step")
    return Stand(True, Reason.DATA_COMPLETE)


def _is_unread(snapshot: Snapshot, status: DeploymentStatus) -> bool:
    """Return whether a gate has not seen anything yet; every step of a rollout begins so."""
    if not status.gates:
        return bool(snapshot.deployment.spec.rollout.gates)
    return any(gate.reason == Reason.WAITING for gate in status.gates)


def _gate_without_data(
    snapshot: Snapshot, status: DeploymentStatus, progress: Progress
) -> GateStatus | None:
    """Return the first gate without data; what steps and pods begin with is not told at once."""
    expected: frozenset[str] = frozenset()
    if snapshot.now - progress.step.started < _quiet(snapshot) or _has_new_pod(snapshot, status):
        expected = _BEGINNING
    slow = {gate.name for gate in snapshot.deployment.spec.rollout.gates if gate.bad == "slow"}
    is_warming = snapshot.now - progress.step.started < WARM_WITHIN
    return next(
        (
            gate
            for gate in status.gates
            if gate.verdict == "NoData"
            and gate.reason not in expected
            and not (is_warming and gate.name in slow and gate.reason == Reason.NO_TRAFFIC)
        ),
        None,
    )


def _quiet(snapshot: Snapshot) -> timedelta:
    """Return how long it may take until a pod is warm, and a round has shown it."""
    return QUIET_START + 3 * snapshot.deployment.spec.metrics.interval


def _has_new_pod(snapshot: Snapshot, status: DeploymentStatus) -> bool:
    """Return whether a pod has just become Ready: its first rounds may be still to come."""
    return any(
        pod.ready and pod.ready_seconds < _quiet(snapshot).total_seconds()
        for tried in (status.stable, status.candidate)
        if tried is not None
        for pod in snapshot.pods_of(tried.revision)
    )
