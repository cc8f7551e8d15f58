"""From a signal that fired to what is done about it: the ordered rules and the retraining guards.

The level decides, not the edge: as long as the verdict stands, a retraining that was not started
before a crash is started by the next pass, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from trimtab.api.drift_policy import (
    Attempt,
    DriftPolicy,
    DriftPolicySpec,
    Retrain,
    SignalKind,
    SignalStatus,
)
from trimtab.api.meta import API_VERSION
from trimtab.api.retrain_job import FINISHED_PHASES, Cause, Data, RetrainJob, RetrainJobSpec
from trimtab.decide.drift.attempts import attempt_of, has_ended
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.led_time import is_to_come
from trimtab.decide.retrain.cause import retrain_job_name

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Rule:
    """The rule that won: the signal that fired and what is done."""

    signal: SignalKind
    do: tuple[str, ...]


class SkipReason(StrEnum):
    """Why a retraining that a rule asks for is not started."""

    DATA_BROKEN = "DataBroken"
    ACTIVE_JOB = "ActiveJob"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    GAVE_UP = "GaveUp"
    COOLDOWN = "Cooldown"
    MAX_PER_WEEK = "MaxPerWeek"


@dataclass(frozen=True)
class StartRetrain:
    """Create the RetrainJob; exists already is success.

    attempt: at this cause, from 1. made_before: ModelVersion of the last one that succeeded.
    """

    name: str
    deployment: str
    signal: SignalKind
    manifest: dict[str, Any]
    message: str
    attempt: int = 1
    made_before: str = ""


@dataclass(frozen=True)
class SkipRetrain:
    """Say once per cause and reason why nothing is started; ask again at `until`."""

    key: str
    reason: SkipReason
    message: str
    until: datetime | None = None


@dataclass(frozen=True)
class RetrainRequest:
    """What the guards look at."""

    policy: DriftPolicy
    retrain: Retrain
    deployment: str
    model: str
    baseline: str
    fired: SignalStatus
    jobs: tuple[RetrainJob, ...]
    """All RetrainJobs for the Deployment, whatever their cause."""
    candidate: str | None
    """Version that is being tried now."""
    waiting_versions: frozenset[str]
    """ModelVersions that the Deployment could still take up."""
    is_data_broken: bool
    now: datetime
    made: Mapping[str, str] = field(default_factory=dict)
    """RetrainJob to the ModelVersion that it made, whether the job is still there or not."""
    ended: frozenset[str] = frozenset()
    """RetrainJobs that came to an end, whether they are still there or not."""
    attempts: tuple[Attempt, ...] = ()
    """What the policy made for the Deployment, whether the RetrainJobs are still there or not."""

    @property
    def past(self) -> list[Attempt]:
        """All that was started for the Deployment and is remembered, or still there."""
        there = {job.metadata.name: attempt_of(job) for job in self.jobs}
        return [*(one for one in self.attempts if one.name not in there), *there.values()]

    @property
    def past_of_key(self) -> list[Attempt]:
        """Of these the ones for the same policy, signal and baseline."""
        same = {job.metadata.name for job in self.same_key}
        return [
            one
            for one in self.past
            if one.name in same or one.name == retrain_job_name(self._attempt(one.attempt))
        ]

    @property
    def same_key(self) -> list[RetrainJob]:
        """Jobs for the same policy, signal and baseline, oldest first."""
        same = [
            job
            for job in self.jobs
            if job.spec.cause.policy == self.policy.metadata.name
            and job.spec.cause.signal == self.fired.kind
            and job.spec.cause.baseline == self.baseline
        ]
        return sorted(same, key=lambda job: job.spec.cause.attempt)

    @property
    def made_before(self) -> str:
        """ModelVersion of the last job of this key that succeeded; empty if none has."""
        made = [
            job.status.model_version for job in self.same_key if job.status.phase == "Succeeded"
        ]
        last = self._last_attempt
        of_last = self.made.get(retrain_job_name(self._attempt(last))) if last else None
        return of_last or (made[-1] if made else None) or ""

    @property
    def cause(self) -> Cause:
        """The cause with its attempt: one more than the last finished one of this key.

        Not than there are: who deletes an old job must not have a name used again.
        """
        return self._attempt(self._last_attempt + 1)

    @property
    def _last_attempt(self) -> int:
        """The last finished one, also of jobs that were deleted since; 0 if there was none."""
        last = max((one.attempt for one in self.past_of_key if has_ended(one)), default=0)
        used = {*self.ended, *self.made}
        while retrain_job_name(self._attempt(last + 1)) in used:
            last += 1
        return last

    def _attempt(self, number: int) -> Cause:
        return Cause.model_validate(
            {
                "deployment": self.deployment,
                "policy": self.policy.metadata.name,
                "signal": self.fired.kind,
                "baseline": self.baseline,
                "attempt": number,
            }
        )


def fired_of(entries: Iterable[SignalStatus], deployment: str) -> dict[SignalKind, SignalStatus]:
    """Return the verdicts of a Deployment that say Drifting, by signal."""
    return {
        entry.kind: entry
        for entry in entries
        if entry.deployment == deployment and entry.verdict == "Drifting"
    }


def winning_rule(spec: DriftPolicySpec, fired: Collection[SignalKind]) -> Rule | None:
    """Return the first rule whose signal fired; signals that go first leave none to others."""
    considered = {kind for kind in fired if signal_type(kind).goes_first} or set(fired)
    for action in spec.actions:
        if action.signal in considered:
            return Rule(action.signal, tuple(action.do))
    return None


def asks_to_retrain(spec: DriftPolicySpec, fired: Collection[SignalKind]) -> SignalKind | None:
    """Return the signal for which a rule retrains, whether the data is broken or not."""
    rule = winning_rule(spec, [kind for kind in fired if not signal_type(kind).goes_first])
    return rule.signal if rule is not None and "retrain" in rule.do else None


def is_finished(job: RetrainJob) -> bool:
    """Whether a RetrainJob has come to its end, whatever that is."""
    return job.status.phase in FINISHED_PHASES


def decide_start(request: RetrainRequest) -> StartRetrain | SkipRetrain | None:
    """Return what is done; None while the answer to this cause is still under way."""
    if _is_under_way(request):
        return None
    for guard in GUARDS:
        skip = guard(request)
        if skip is not None:
            return skip
    return _start(request)


def _is_under_way(request: RetrainRequest) -> bool:
    """The job for this cause runs, or the version that it made waits for its turn."""
    if any(not has_ended(one) for one in request.past_of_key):
        return True
    return request.made_before in request.waiting_versions


# --- the guards, in order -----------------------------------------------------------------------


def _data_is_broken(request: RetrainRequest) -> SkipRetrain | None:
    if not request.is_data_broken:
        return None
    return _skip(request, SkipReason.DATA_BROKEN, "never retrained on broken data; mend it first")


def _job_is_active(request: RetrainRequest) -> SkipRetrain | None:
    active = [job.metadata.name for job in request.jobs if not is_finished(job)]
    if not active:
        return None
    return _skip(request, SkipReason.ACTIVE_JOB, f"RetrainJob {active[0]} is still at work")


def _rollout_is_under_way(request: RetrainRequest) -> SkipRetrain | None:
    if request.candidate is None:
        return None
    return _skip(
        request, SkipReason.ROLLOUT_IN_PROGRESS, f"version {request.candidate} is being tried"
    )


def _has_given_up(request: RetrainRequest) -> SkipRetrain | None:
    refused = [one.phase for one in request.past_of_key if one.phase in ("Rejected", "Cancelled")]
    count, words = len(refused), sorted({word.lower() for word in refused}, reverse=True)
    if count < request.retrain.give_up_after:
        return None
    return _skip(
        request,
        SkipReason.GAVE_UP,
        f"{count} attempts were {' or '.join(words)}; look at the data, or retrain by "
        f"hand: trimtab retrain {request.deployment}",
    )


def _is_cooling_down(request: RetrainRequest) -> SkipRetrain | None:
    ends = [end for one in request.past if (end := _end_of(one, request.now)) is not None]
    until = max(ends) + request.retrain.cooldown if ends else request.now
    if not is_to_come(until, request.now, request.retrain.cooldown):
        return None
    return _skip(request, SkipReason.COOLDOWN, f"cooldown until {until:%Y-%m-%d %H:%M:%S}Z", until)


def _is_week_used_up(request: RetrainRequest) -> SkipRetrain | None:
    recent = sorted(
        one.created
        for one in request.past
        if one.created is not None and is_to_come(one.created + WEEK, request.now, WEEK)
    )
    most = request.retrain.max_per_week
    if len(recent) < most:
        return None
    until = recent[-most] + WEEK
    return _skip(
        request,
        SkipReason.MAX_PER_WEEK,
        f"{len(recent)} retrainings in seven days, at most {most}; next from "
        f"{until:%Y-%m-%d %H:%M}Z",
        until,
    )


GUARDS: tuple[Callable[[RetrainRequest], SkipRetrain | None], ...] = (
    _data_is_broken,
    _job_is_active,
    _rollout_is_under_way,
    _has_given_up,
    _is_cooling_down,
    _is_week_used_up,
)


def _skip(
    request: RetrainRequest, reason: SkipReason, message: str, until: datetime | None = None
) -> SkipRetrain:
    text = f"{request.deployment} is not retrained for {request.fired.kind}: {message}"
    return SkipRetrain(retrain_job_name(request.cause), reason, text, until)


def _end_of(attempt: Attempt, now: datetime) -> datetime | None:
    """Return when it ended, or else began; None where both lie ahead: a clock was set back."""
    moments = (attempt.finished, attempt.created)
    return next((at for at in moments if at is not None and at <= now), None)


def _start(request: RetrainRequest) -> StartRetrain:
    cause = request.cause
    template = request.retrain.job
    since = request.fired.window_start if template.data.since == "window" else None
    gate = template.gate
    if signal_type(request.fired.kind).sets_floor and request.fired.threshold is not None:
        floors = [f for f in (gate.must_beat, request.fired.threshold) if f is not None]
        gate = gate.model_copy(update={"must_beat": max(floors)})
    spec = RetrainJobSpec(
        model=request.model,
        cause=cause,
        engine=template.engine,
        data=Data(uri=template.data.uri, since=since, secret_name=template.data.secret_name),
        gate=gate,
        active_deadline=template.active_deadline,
    )
    name = retrain_job_name(cause)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {"name": name, "namespace": request.policy.metadata.namespace},
        "spec": spec.to_json(),
    }
    message = f"{request.fired.message}; RetrainJob {name}, attempt {cause.attempt}"
    return StartRetrain(
        name,
        request.deployment,
        request.fired.kind,
        manifest,
        message,
        cause.attempt or 1,
        request.made_before,
    )


def jobs_of(jobs: Sequence[RetrainJob], deployment: str) -> tuple[RetrainJob, ...]:
    """Return the RetrainJobs for one Deployment."""
    return tuple(job for job in jobs if job.spec.cause.deployment == deployment)
