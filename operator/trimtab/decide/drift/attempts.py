"""What a policy has started, kept in its status: it counts also when its RetrainJob is deleted.

An attempt is one from the moment on at which its RetrainJob was seen. The intent alone is none: the
next pass carries it out. One that is gone, and of which nobody saw an end, was cancelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from trimtab.api.drift_policy import (
    REMEMBERED_ATTEMPTS,
    Attempt,
    AttemptPhase,
    DriftPolicy,
)
from trimtab.api.retrain_job import RetrainJob
from trimtab.decide.drift.snapshot import PolicySnapshot
from trimtab.decide.retrain.cause import retrain_job_name

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def attempt_of(job: RetrainJob) -> Attempt:
    """Return what there is to remember of a RetrainJob."""
    # By our clock where that of the API server was ahead when it was made.
    moments = (job.metadata.creation_timestamp, job.status.started)
    return Attempt(
        name=job.metadata.name,
        deployment=job.spec.cause.deployment,
        attempt=job.spec.cause.attempt,
        phase=_phase_of(job),
        created=min((at for at in moments if at is not None), default=None),
        finished=job.status.finished,
    )


def _phase_of(job: RetrainJob) -> AttemptPhase:
    match job.status.phase:
        case "Queued" | "Running":
            return "Started"
        case end:
            return end


def has_ended(attempt: Attempt) -> bool:
    """Whether it came to an end, whatever that is."""
    return attempt.phase != "Started"


def attempts_known(told: Iterable[Attempt], remembered: Iterable[Attempt]) -> dict[str, Attempt]:
    """Return by name what is in status, and what this process saw and could not write yet."""
    known = {attempt.name: attempt for attempt in told}
    for attempt in remembered:
        before = known.get(attempt.name)
        if before is None or not has_ended(before):
            known[attempt.name] = attempt
    return known


def attempts_after(snapshot: PolicySnapshot) -> list[Attempt]:
    """Return the attempts of a policy as they are now, oldest first."""
    known = attempts_known(snapshot.policy.status.attempts, snapshot.remembered)
    for job in snapshot.jobs:
        if not _is_made_by(snapshot.policy, job):
            continue
        seen, before = attempt_of(job), known.get(job.metadata.name)
        # One that was cancelled and is there again, as from a backup, stays so until it ends.
        if before is None or has_ended(seen) or not has_ended(before):
            known[seen.name] = seen
    made = {name for own in snapshot.deployments for name in own.made}
    for name in snapshot.gone & known.keys():
        if not has_ended(known[name]):
            phase: AttemptPhase = "Succeeded" if name in made else "Cancelled"
            end = {"phase": phase, "finished": snapshot.now.replace(microsecond=0)}
            known[name] = known[name].model_copy(update=end)
    return _bounded(known)


def newly_cancelled(told: Iterable[Attempt], after: Iterable[Attempt]) -> list[Attempt]:
    """Return the attempts whose cancellation is not in status yet."""
    before = {attempt.name for attempt in told if attempt.phase == "Cancelled"}
    return [one for one in after if one.phase == "Cancelled" and one.name not in before]


def _is_made_by(policy: DriftPolicy, job: RetrainJob) -> bool:
    """Whether it has the name that this policy gives, and not one of a person's choice."""
    cause = job.spec.cause
    return cause.policy == policy.metadata.name and job.metadata.name == retrain_job_name(cause)


def _bounded(known: Mapping[str, Attempt]) -> list[Attempt]:
    """Return the newest ones, oldest first: of each Deployment as many as of any other.

    Which ones these are follows from all that is known, so that what is dropped is not taken up
    again by the next pass.
    """
    newest = sorted(known.values(), key=lambda one: (not has_ended(one), _age(one)), reverse=True)
    places: Counter[str] = Counter()
    ranked: list[tuple[int, Attempt]] = []
    for attempt in newest:
        ranked.append((places[attempt.deployment], attempt))
        places[attempt.deployment] += 1
    ranked.sort(key=lambda one: one[0])  # stable: of one rank the newest goes first
    return sorted((attempt for _, attempt in ranked[:REMEMBERED_ATTEMPTS]), key=_age)


def _age(attempt: Attempt) -> tuple[datetime, str]:
    return attempt.created or LONG_AGO, attempt.name
