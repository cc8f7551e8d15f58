"""The ends of a rollout, and how a rollout begins. Each changes the status once, whole."""

from __future__ import annotations

from datetime import timedelta

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import (
    BackOff,
    Count,
    GuardStatus,
    Rejected,
    Retiring,
    RolloutStatus,
    Tried,
)
from trimtab.api.model_version import ModelVersion
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.gates import origins_of
from trimtab.decide.rollout.snapshot import Memory, Snapshot

FIRST_BACK_OFF = timedelta(minutes=1)
LONGEST_BACK_OFF = timedelta(hours=1)
FLAPPING_ROLLBACKS = 3
FLAPPING_WINDOW = timedelta(hours=1)


def begin(draft: Draft, version: ModelVersion, revision: str) -> None:
    """Start to try a revision: freeze its pod template and write the intent."""
    tried = try_of(draft.snapshot, version, revision)
    draft.set(
        candidate=tried,
        rollout=RolloutStatus(phase="Starting", started=draft.now),
        gates=[],
        retiring=None,
        guard=None if draft.status.stable is None else draft.status.guard,
    )
    beside = f"beside {draft.status.stable.version}" if draft.status.stable else "as the first"
    draft.tell(EventReason.ROLLOUT_STARTED, f"trying {tried.version} {beside} ({revision})")


def try_of(snapshot: Snapshot, version: ModelVersion, revision: str) -> Tried:
    """Return a revision as it will run, with its pod template frozen."""
    frozen = snapshot.freeze(version, revision)
    return Tried(
        version=version.spec.version,
        version_object=version.metadata.name,
        digest=version.spec.artifact.digest,
        revision=revision,
        workload=frozen.workload,
        image=frozen.image,
        artifact=version.spec.artifact,
        template=frozen.template,
        since=snapshot.now,
    )


def promote(draft: Draft, message: str) -> None:
    """The candidate becomes stable; the old stable stays ready for a while, as last good."""
    status, candidate = draft.status, draft.status.candidate
    assert candidate is not None
    assert status.rollout is not None
    old = status.stable
    references = {
        gate.name: gate.stable
        for gate in status.gates
        if gate.stable is not None and gate.stable.total > 0
    }
    by = status.rollout.promoted_by or "trimtab"
    changes: dict[str, object] = {
        "stable": candidate.model_copy(update={"since": draft.now}),
        "candidate": None,
        "rollout": None,
        "back_off": None,
        "guard": guard_over(draft, candidate, references),
    }
    if old is not None:
        until = draft.now + draft.spec.rollout.scale_down_delay
        changes["retiring"] = Retiring(revision=old.revision, until=until)
        changes["last_good"] = old
    draft.set(**changes)
    draft.memory = Memory()
    draft.record(candidate, Reason.PROMOTED, message, by=by)
    draft.tell(EventReason.PROMOTED, message)


def guard_over(draft: Draft, tried: Tried, references: dict[str, Count]) -> GuardStatus:
    """Return a new watch over a version that has just become stable."""
    return GuardStatus(
        revision=tried.revision,
        since=draft.now,
        until=draft.now + draft.spec.guard.for_,
        references=references,
        origins=origins_of(draft.snapshot.processes),
    )


def complete_return(draft: Draft) -> None:
    """Traffic goes to the version returned to; the bad one goes at once."""
    candidate = draft.status.candidate
    assert candidate is not None
    draft.set(
        stable=candidate.model_copy(update={"since": draft.now}),
        last_good=candidate,
        candidate=None,
        rollout=None,
        retiring=None,
        guard=None,
        gates=[],
    )
    draft.memory = Memory()


def roll_back(draft: Draft, reason: Reason, message: str, *, by: str = "trimtab") -> None:
    """Take the candidate out and quarantine its revision. Stable is not touched."""
    candidate = draft.status.candidate
    assert candidate is not None
    if draft.status.stable is None:
        fail_first(draft, reason, message)
        return
    quarantine(draft, candidate, reason, message, by=by)
    draft.set(candidate=None, rollout=None, back_off=None)
    draft.memory = Memory()
    outcome = Reason.ROLLED_BACK if by == "trimtab" else Reason.ABORTED
    draft.record(candidate, outcome, message, by=by)
    if reason is Reason.GATE_FAILED:
        draft.tell(EventReason.GATE_FAILED, message, warning=True)
    event = EventReason.ROLLED_BACK if by == "trimtab" else EventReason.ABORTED
    draft.tell(
        event,
        f"{candidate.version} rolled back, {draft.status.stable.version} serves: {message}",
        warning=True,
    )


def fail_first(draft: Draft, reason: Reason, message: str) -> None:
    """The first version failed and there is nothing to return to."""
    candidate = draft.status.candidate
    assert candidate is not None
    quarantine(draft, candidate, reason, message)
    draft.record(candidate, Reason.FIRST_VERSION_FAILED, message)
    draft.tell(EventReason.FIRST_VERSION_FAILED, message, warning=True)
    if draft.snapshot.ready_of(candidate.revision) > 0:
        guard = guard_over(draft, candidate, {}).model_copy(update={"breached": message[:256]})
        draft.set(stable=candidate, guard=guard)
    draft.set(candidate=None, rollout=None, back_off=None)
    draft.memory = Memory()


def supersede(draft: Draft, message: str) -> None:
    """Drop the candidate because something else is wanted; nothing is quarantined."""
    candidate = draft.status.candidate
    assert candidate is not None
    draft.set(candidate=None, rollout=None, back_off=None, gates=[])
    draft.memory = Memory()
    draft.record(candidate, Reason.SUPERSEDED, message)
    draft.tell(EventReason.SUPERSEDED, message)


def end_undecided(draft: Draft, reason: Reason, message: str) -> None:
    """Nobody could judge: weight 0, no quarantine, tried again with back-off."""
    candidate = draft.status.candidate
    assert candidate is not None
    before = draft.status.back_off
    attempts = before.attempts + 1 if before and before.revision == candidate.revision else 1
    delay = min(FIRST_BACK_OFF * 2 ** (attempts - 1), LONGEST_BACK_OFF)
    draft.set(
        rollout=None,
        back_off=BackOff(
            revision=candidate.revision, attempts=attempts, not_before=draft.now + delay
        ),
    )
    draft.memory = Memory()
    draft.record(candidate, Reason.UNDECIDED, f"{reason}: {message}")
    draft.tell(
        EventReason.UNDECIDED,
        f"{candidate.version}: {reason}: {message}. Its weight is 0; tried again in {delay}",
        warning=True,
    )


def quarantine(
    draft: Draft, tried: Tried, reason: Reason, message: str, *, by: str = "trimtab"
) -> None:
    """Never try this revision again until a person lifts it."""
    entry = Rejected(
        revision=tried.revision,
        version=tried.version,
        reason=reason,
        by=by,
        at=draft.now,
        evidence=message[:1024],
    )
    others = [r for r in draft.status.rejected if r.revision != tried.revision]
    draft.set(rejected=[*others, entry][-20:])


def return_to_last_good(draft: Draft, reason: Reason, message: str, *, by: str = "trimtab") -> bool:
    """Leave a stable version that went bad; False if there is no way back."""
    status = draft.status
    stable, good = status.stable, status.last_good
    if stable is None or good is None or good.revision == stable.revision:
        return False
    if any(entry.revision == good.revision for entry in status.rejected):
        return False
    quarantine(draft, stable, reason, message, by=by)
    draft.record(stable, Reason.ROLLED_BACK, message, by=by)
    draft.set(
        candidate=good.model_copy(update={"since": draft.now}),
        rollout=RolloutStatus(phase="Returning", started=draft.now),
        guard=None,
        retiring=None,
        back_off=None,
    )
    draft.memory = Memory()
    draft.tell(
        EventReason.ROLLED_BACK,
        f"{stable.version} rolled back after promotion, returning to {good.version}: {message}",
        warning=True,
    )
    return True


def is_flapping(draft: Draft) -> bool:
    """Return whether three automatic rollbacks within an hour stopped everything automatic.

    A person who retries, resumes or promotes starts the count anew.
    """
    count = 0
    for entry in draft.status.history:
        if not entry.automatic:
            count = 0
        elif entry.outcome == Reason.ROLLED_BACK and draft.now - entry.at <= FLAPPING_WINDOW:
            count += 1
    return count >= FLAPPING_ROLLBACKS
