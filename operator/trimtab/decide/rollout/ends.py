"""The ends of a rollout, and how a rollout begins. Each changes the status once, whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import (
    BackOff,
    Count,
    DeploymentSpec,
    DeploymentStatus,
    GuardStatus,
    HistoryEntry,
    Rejected,
    Retiring,
    Tried,
)
from trimtab.api.model_version import ModelVersion
from trimtab.decide.led_time import Instant, led_between
from trimtab.decide.rollout.alone import control_alone
from trimtab.decide.rollout.asking import asked_by
from trimtab.decide.rollout.children import is_kept
from trimtab.decide.rollout.control import is_control_over, wanted_control, without_control
from trimtab.decide.rollout.counting import origins_of
from trimtab.decide.rollout.draft import OPERATOR, Draft
from trimtab.decide.rollout.habit import by_hour_of_day
from trimtab.decide.rollout.history import is_rejected, rollbacks_in_a_row
from trimtab.decide.rollout.phases import Promoting, Returning, Starting
from trimtab.decide.rollout.quarantine import still_ready, with_rejected
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.watched import Breach
from trimtab.stats.counts import BadTotal

FIRST_BACK_OFF = timedelta(minutes=1)
LONGEST_BACK_OFF = timedelta(hours=1)
MOST_DOUBLED = 10
"""Attempts after which the delay is the longest anyway."""
FLAPPING_ROLLBACKS = 3


def begin(draft: Draft, version: ModelVersion, revision: str) -> None:
    """Start to try a revision: freeze its pod template and write the intent."""
    tried = try_of(draft.snapshot, version, revision)
    draft.enter(Starting(candidate=tried, started=draft.now, started_led=draft.instant.led))
    draft.set(
        gates=[],
        retiring=None,
        guard=_kept_guard(draft),
    )
    beside = f"beside {draft.status.stable.version}" if draft.status.stable else "as the first"
    draft.tell(EventReason.ROLLOUT_STARTED, f"trying {tried.version} {beside} ({revision})")


def _kept_guard(draft: Draft) -> GuardStatus | None:
    """Return the guard over stable, which goes on; its control makes room for the candidate."""
    guard = draft.status.guard
    if draft.status.stable is None or guard is None:
        return None
    if guard.control_since is not None:
        guard, draft.memory = without_control(guard, draft.memory)
    return guard


def begin_again(draft: Draft, candidate: Tried) -> None:
    """Try an undecided revision once more, as it was frozen."""
    started = draft.instant
    draft.enter(Starting(candidate=candidate, started=started.at, started_led=started.led))
    draft.set(gates=[])
    draft.tell(EventReason.ROLLOUT_STARTED, f"trying {candidate.version} again")


def drop(draft: Draft) -> None:
    """Take away a candidate that no rollout is about."""
    draft.set(candidate=None, rollout=None, back_off=None, gates=[])


def try_of(snapshot: Snapshot, version: ModelVersion, revision: str) -> Tried:
    """Return a revision as it will run, with its pod template frozen."""
    asked = asked_by(snapshot, version)
    frozen = snapshot.freeze(version, revision, asked)
    return Tried(
        version=version.spec.version,
        version_object=version.metadata.name,
        digest=version.spec.artifact.digest,
        revision=revision,
        workload=frozen.workload,
        image=frozen.image,
        artifact=version.spec.artifact,
        template=frozen.template,
        asks=None if asked is None else asked.artifact.digest,
        since=snapshot.now,
    )


def promote(draft: Draft, phase: Promoting, message: str) -> None:
    """The candidate becomes stable; the old stable stays ready for a while, as last good.

    One that went bad is neither returned to nor a measure: then what was good before it stays the
    last good one, and what the candidate showed by itself is what it is held to.
    """
    status, candidate, is_bad = draft.status, phase.candidate, went_bad(draft.status)
    old = None if is_bad else status.stable
    references = {
        gate.name: gate.candidate if is_bad else gate.stable
        for gate in status.gates
        if gate.stable is not None and gate.stable.total > 0
    }
    references = {name: shown for name, shown in references.items() if shown.total > 0}
    _forget_if_bad(draft)
    changes: dict[str, object] = {
        "stable": candidate.model_copy(update={"since": draft.now}),
        "candidate": None,
        "rollout": None,
        "back_off": None,
        "guard": guard_over(draft, candidate, references),
        "retiring": None,
    }
    if old is not None:
        until = draft.now + draft.spec.rollout.scale_down_delay
        changes["retiring"] = Retiring(revision=old.revision, until=until)
        changes["last_good"] = old
    draft.set(**changes)
    draft.memory = draft.memory.of_new_stable()
    draft.record(candidate, Reason.PROMOTED, message, by=phase.person or OPERATOR)
    draft.tell(EventReason.PROMOTED, message)


def went_bad(status: DeploymentStatus) -> bool:
    """Return whether stable is known to be bad: quarantined, or its guard was breached."""
    stable, guard = status.stable, status.guard
    if stable is None:
        return False
    is_breached = (
        guard is not None and guard.breached is not None and guard.revision == stable.revision
    )
    return is_breached or is_rejected(status.rejected, stable.revision)


def _forget_if_bad(draft: Draft) -> None:
    """What a stable that went bad showed is not what its successor is measured by."""
    stable = draft.status.stable
    if stable is not None and went_bad(draft.status):
        draft.memory = draft.memory.learnt_before(stable.since)
        draft.set(spread=[])


def guard_over(draft: Draft, tried: Tried, references: dict[str, Count]) -> GuardStatus:
    """Return a new watch over a version that has just become stable."""
    return GuardStatus(
        revision=tried.revision,
        since=draft.now,
        since_led=draft.instant.led,
        until=draft.now + draft.spec.guard.for_,
        references=references,
        hours={gate: day_of(one.hours) for gate, one in draft.memory.habits.items() if one.hours},
        peaks={gate: day_of(one.peaks) for gate, one in draft.memory.habits.items() if one.peaks},
        origins=origins_of(draft.snapshot.processes),
    )


def day_of(hours: Mapping[int, BadTotal]) -> list[Count]:
    """Return what is known by hour of the day, as status has it."""
    return [Count(bad=hour.bad, total=hour.total) for hour in by_hour_of_day(hours)]


def complete_return(draft: Draft, phase: Returning) -> None:
    """Traffic goes to the version returned to; the bad one goes at once."""
    _forget_if_bad(draft)
    draft.set(
        stable=phase.candidate.model_copy(update={"since": draft.now}),
        last_good=phase.candidate,
        candidate=None,
        rollout=None,
        retiring=None,
        guard=None,
        gates=[],
    )
    draft.memory = draft.memory.of_new_stable()


def roll_back(
    draft: Draft, candidate: Tried, reason: Reason, message: str, *, by: str = OPERATOR
) -> None:
    """Take the candidate out and quarantine its revision. Stable is not touched."""
    if draft.status.stable is None:
        fail_first(draft, candidate, reason, message, by=by)
        return
    quarantine(draft, candidate, reason, message, by=by)
    draft.set(candidate=None, rollout=None, back_off=None)
    draft.memory = draft.memory.of_traffic()
    outcome = Reason.ROLLED_BACK if by == OPERATOR else Reason.ABORTED
    draft.record(candidate, outcome, message, by=by)
    if reason is Reason.GATE_FAILED:
        draft.tell(EventReason.GATE_FAILED, message, warning=True)
    event = EventReason.ROLLED_BACK if by == OPERATOR else EventReason.ABORTED
    draft.tell(
        event,
        f"{candidate.version} rolled back, {draft.status.stable.version} serves: {message}",
        warning=True,
    )


def fail_first(
    draft: Draft, candidate: Tried, reason: Reason, message: str, *, by: str = OPERATOR
) -> None:
    """The first version failed and there is nothing to return to."""
    quarantine(draft, candidate, reason, message, by=by)
    draft.record(candidate, Reason.FIRST_VERSION_FAILED, message, by=by)
    draft.tell(EventReason.FIRST_VERSION_FAILED, message, warning=True)
    if draft.snapshot.ready_of(candidate.revision) > 0:
        guard = guard_over(draft, candidate, {})
        draft.set(stable=candidate, guard=breached(guard, Reason.FIRST_VERSION_FAILED, message))
    draft.set(candidate=None, rollout=None, back_off=None)
    draft.memory = draft.memory.of_traffic()


def supersede(draft: Draft, candidate: Tried, message: str) -> None:
    """Drop the candidate because something else is wanted; nothing is quarantined."""
    drop(draft)
    draft.memory = draft.memory.of_traffic()
    draft.record(candidate, Reason.SUPERSEDED, message)
    draft.tell(EventReason.SUPERSEDED, message)


def back_off_delay(attempts: int) -> timedelta:
    """Return how long an undecided revision waits after so many attempts."""
    delay: timedelta = FIRST_BACK_OFF * 2 ** (min(attempts, MOST_DOUBLED) - 1)
    return min(delay, LONGEST_BACK_OFF)


def end_undecided(draft: Draft, candidate: Tried, reason: Reason, message: str) -> None:
    """Nobody could judge: weight 0, no quarantine, tried again with back-off."""
    before = draft.status.back_off
    attempts = before.attempts + 1 if before and before.revision == candidate.revision else 1
    delay = back_off_delay(attempts)
    draft.set(
        rollout=None,
        back_off=BackOff(
            revision=candidate.revision, attempts=attempts, not_before=draft.now + delay
        ),
    )
    draft.memory = draft.memory.of_traffic()
    draft.record(candidate, Reason.UNDECIDED, f"{reason}: {message}")
    draft.tell(
        EventReason.UNDECIDED,
        f"{candidate.version}: {reason}: {message}. Its weight is 0; tried again in {delay}",
        warning=True,
    )


def quarantine(
    draft: Draft, tried: Tried, reason: Reason, message: str, *, by: str = OPERATOR
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
    draft.set(rejected=with_rejected(draft.status.rejected, entry, draft.seen))


def return_to_last_good(draft: Draft, reason: Reason, message: str, *, by: str = OPERATOR) -> bool:
    """Leave a stable version that went bad; False if there is no way back."""
    good = draft.status.last_good
    return good is not None and return_to(draft, good, reason, message, by=by)


def return_to(draft: Draft, good: Tried, reason: Reason, message: str, *, by: str) -> bool:
    """Leave stable for a version; False if that cannot be.

    Which version is the last good one changes only once it serves.
    """
    status = draft.status
    stable = status.stable
    if stable is None or good.revision == stable.revision:
        return False
    if is_rejected(status.rejected, good.revision):
        return False
    phase = draft.phase
    if phase is not None:
        supersede(draft, phase.candidate, f"{phase.candidate.version} dropped: {message}"[:1024])
    quarantine(draft, stable, reason, message, by=by)
    draft.record(stable, Reason.ROLLED_BACK, message, by=by)
    _begin_return(draft, good)
    draft.set(back_off=None)
    draft.tell(
        EventReason.ROLLED_BACK,
        f"{stable.version} rolled back after promotion, returning to {good.version}: {message}",
        warning=True,
    )
    return True


def _begin_return(draft: Draft, good: Tried) -> None:
    _forget_if_bad(draft)
    back = good.model_copy(update={"since": draft.now})
    draft.enter(Returning(candidate=back, started=draft.now, started_led=draft.instant.led))
    draft.set(guard=None, retiring=None)
    draft.memory = draft.memory.of_new_stable()


def give_up_return(draft: Draft, phase: Returning, said: str) -> None:
    """The version to return to does not start: what serves goes on, and a person has to act."""
    stable, good = draft.status.stable, phase.candidate
    serving = f"{stable.version} serves on" if stable is not None else "nothing serves"
    message = (
        f"{good.version} did not become Ready within {draft.spec.rollout.deadline}{said}; "
        f"{serving}: publish a good version, or name one: trimtab rollback --to"
    )
    draft.set(candidate=None, rollout=None)
    if stable is not None:
        guard = guard_over(draft, stable, {})
        draft.set(guard=breached(guard, Reason.NO_WAY_BACK, f"{Reason.NO_WAY_BACK}: {message}"))
    draft.record(good, Reason.UNDECIDED, message)
    draft.tell(EventReason.UNDECIDED, message, warning=True)


def put_off_return(draft: Draft, phase: Returning, why: str) -> None:
    """Something else is tried first; the way back goes on once nothing is, unless it serves."""
    stable, good = draft.status.stable, phase.candidate
    message = f"{good.version} found no place to start; {why}"
    supersede(draft, good, message)
    if stable is not None:
        guard = guard_over(draft, stable, {})
        draft.set(guard=breached(guard, Reason.RETURN_DELAYED, message))


def take_up_return(draft: Draft) -> None:
    """Go on with a way back that was put off, if nothing better serves by now."""
    guard, stable, good = draft.status.guard, draft.status.stable, draft.status.last_good
    if guard is None or guard.breach_reason != Reason.RETURN_DELAYED:
        return
    if stable is None or good is None or good.revision == stable.revision:
        return
    if is_rejected(draft.status.rejected, good.revision):
        return
    _begin_return(draft, good)
    draft.tell(EventReason.ROLLOUT_STARTED, f"returning to {good.version} again")


# --- the guard -----------------------------------------------------------------------------------


def guarded_for(guard: GuardStatus, now: Instant) -> timedelta:
    """Return how long the version was watched: the time that an operator led."""
    return led_between(Instant(guard.since, guard.since_led), now)


def guard_ends(guard: GuardStatus, now: Instant) -> datetime:
    """Return when the watch is over if an operator leads until then."""
    return now.at + (guard.until - guard.since) - guarded_for(guard, now)


def may_end_guard(draft: Draft, guard: GuardStatus, *, unseen: bool) -> bool:
    """Return whether the watch is over; while it sees nothing it lasts up to as long again.

    With it its control goes: not while that alone answers requests.
    """
    if draft.now < guard_ends(guard, draft.instant):
        return False
    if control_alone(draft.snapshot, draft.status):
        return False
    return not unseen or draft.now >= guard_ends_unseen(draft.spec, guard, draft.instant)


def guard_ends_unseen(spec: DeploymentSpec, guard: GuardStatus, now: Instant) -> datetime:
    """Return when the watch is over although it sees nothing, if an operator leads until then."""
    return now.at + 2 * spec.guard.for_ - guarded_for(guard, now)


def end_guard(draft: Draft, guard: GuardStatus, stable: Tried, *, unseen: bool) -> None:
    """The watch ends without a breach; a first version is its own way back from now on.

    Not if most of its time nothing was seen.
    """
    if unseen or guard.until - guard.since >= 2 * draft.spec.guard.for_:
        draft.set(guard=None)
        message = (
            f"the guard over {stable.version} is over, and for half of its time or more no figures "
            "of its pods could be read: nobody knows whether it is good"
        )
        draft.tell(EventReason.GUARD_UNSEEN, message, warning=True)
        return
    draft.set(guard=None, last_good=draft.status.last_good or stable)
    draft.tell(EventReason.GUARD_PASSED, f"{stable.version} is good: guarded without a breach")


def follow_control(draft: Draft) -> None:
    """Let the control serve once one pod is left of the last good version; end it in time.

    Where it alone answers requests it stays for longer.
    """
    guard = draft.status.guard
    if guard is None:
        return
    good = wanted_control(draft.spec, draft.status, draft.now)
    is_over = is_control_over(draft.spec, guard, draft.now)
    if good is None or (is_over and not control_alone(draft.snapshot, draft.status)):
        if guard.control_since is not None:
            guard, draft.memory = without_control(guard, draft.memory)
            draft.set(guard=guard)
        return
    if guard.control_since is not None or is_kept(draft.spec, draft.status, good, draft.now):
        return
    if still_ready(draft.snapshot, draft.status) is not None:
        return  # beside a control, pods of all versions get requests
    pods = draft.snapshot.pods_of(good.revision)
    if len(pods) == 1 and draft.snapshot.ready_of(good.revision) == 1:
        draft.set(guard=guard.model_copy(update={"control_since": draft.now}))


def breached(guard: GuardStatus, reason: Reason, message: str) -> GuardStatus:
    """Return the guard of a version that went bad and serves on; it is not watched any more."""
    return guard.model_copy(update={"breached": message[:256], "breach_reason": reason})


def has_no_way_back(guard: GuardStatus) -> bool:
    """Return whether there was nothing to return to; older statuses said it in words alone."""
    if guard.breached is None:
        return False
    return (guard.breach_reason or guard.breached.partition(":")[0]) == Reason.NO_WAY_BACK


def act_on_breach(draft: Draft, guard: GuardStatus, stable: Tried, breach: Breach) -> None:
    """Within `rollbackWithin` return to the last good version; later only notify.

    Wrong outcomes return at any time, and so does all else with `action: rollback`.
    """
    figures = breach.figures
    insists = breach.gate.bad == "outcomes" or draft.spec.guard.action == "rollback"
    draft.tell(
        EventReason.GUARD_BREACHED, figures, warning=True, inputs={"guard": dict(breach.inputs)}
    )
    good = draft.status.last_good
    if good is None or good.revision == stable.revision:
        reason = Reason.FIRST_VERSION_FAILED
        draft.set(guard=breached(guard, reason, figures))
        draft.tell(EventReason.FIRST_VERSION_FAILED, f"{reason}: {figures}", warning=True)
        return
    reason = Reason.GUARD_BREACHED
    if (_is_early(draft, guard) or insists) and not is_flapping(draft.status.history, draft.now):
        if return_to_last_good(draft, Reason.GUARD_BREACHED, figures):
            return
        reason = Reason.NO_WAY_BACK
        figures = f"{reason}: {figures}"
    draft.set(guard=breached(guard, reason, figures))


def act_on_crash(draft: Draft, guard: GuardStatus, why: str) -> None:
    """Within `rollbackWithin` leave a version of which no pod lives; later only wait for it."""
    if _is_early(draft, guard) and not is_flapping(draft.status.history, draft.now):
        return_to_last_good(draft, Reason.GUARD_BREACHED, why)


def _is_early(draft: Draft, guard: GuardStatus) -> bool:
    return guarded_for(guard, draft.instant) <= draft.spec.guard.rollback_within


def is_flapping(history: Sequence[HistoryEntry], now: datetime) -> bool:
    """Return whether three automatic rollbacks within an hour stopped everything automatic.

    A person who retries, resumes or promotes starts the count anew.
    """
    return flapping_since(history, now) is not None


def flapping_since(history: Sequence[HistoryEntry], now: datetime) -> datetime | None:
    """Return when the first of these rollbacks was; None if there are not so many."""
    counted = [entry.at for entry in rollbacks_in_a_row(history, now)]
    return min(counted) if len(counted) >= FLAPPING_ROLLBACKS else None
