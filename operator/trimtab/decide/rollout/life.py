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

from datetime import timedelta

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.led_time import is_to_come
from trimtab.decide.outcome import Outcome
from trimtab.decide.rollout import commands
from trimtab.decide.rollout.advance import advance, full_size
from trimtab.decide.rollout.alone import carries_alone, control_alone, why_unwanted
from trimtab.decide.rollout.beside_control import heed_control
from trimtab.decide.rollout.children import ChildAction, order_actions, plan_children
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.draft import Draft, earliest
from trimtab.decide.rollout.ends import (
    act_on_breach,
    act_on_crash,
    back_off_delay,
    begin,
    begin_again,
    complete_return,
    drop,
    end_guard,
    follow_control,
    give_up_return,
    has_no_way_back,
    is_flapping,
    may_end_guard,
    put_off_return,
    return_to_last_good,
    roll_back,
    supersede,
    take_up_return,
)
from trimtab.decide.rollout.guard import of_this_guard, watch, with_detectors
from trimtab.decide.rollout.health import (
    failed_by_itself,
    is_starting,
    pod_messages,
    time_left,
    unready_for,
    why_all_crashed,
    why_down,
)
from trimtab.decide.rollout.inputs import inputs_of
from trimtab.decide.rollout.judgement import learn_spread, with_spread
from trimtab.decide.rollout.origins import put_away, taken_up
from trimtab.decide.rollout.phases import Phase, Returning, is_late
from trimtab.decide.rollout.report import report
from trimtab.decide.rollout.snapshot import Memory, Snapshot
from trimtab.decide.rollout.unseen import is_unseen, prolonged, remembered, told_since
from trimtab.decide.rollout.waking import next_look
from trimtab.decide.rollout.wanted import Wanted, decide_wanted

DARK_AFTER = timedelta(seconds=5)
"""A version none of whose pods is Ready for a moment may answer again in the next."""
WAITS_FOR_OTHERS = timedelta(seconds=30)
"""For so long the first Ready pod of a late way back: one alone may be too few for all requests."""


def decide_deployment(
    snapshot: Snapshot,
) -> tuple[Outcome[DeploymentStatus, ChildAction], Memory]:
    """Return the next status of a Deployment, what to tell and to do, and what to remember."""
    snapshot = taken_up(snapshot)
    status = snapshot.deployment.status
    memory = of_this_guard(status, snapshot.memory)
    draft = Draft(snapshot, status, learn_spread(snapshot, memory))
    commands.carry_out(draft, decide_wanted(snapshot))
    _decide(draft, decide_wanted(draft.seen))
    _end_return(draft)
    status, flips = report(draft.seen, decide_wanted(draft.seen))
    notes = (*draft.notes, *flips)
    told = with_spread(with_detectors(status, draft.memory), draft.seen, draft.memory)
    told, memory = put_away(told, draft.memory)
    outcome = Outcome(
        status=told,
        notes=notes,
        actions=tuple(order_actions(snapshot, plan_children(draft.spec, status, draft.now))),
        wake_at=earliest(draft.wake_at, next_look(draft.snapshot, draft.status)),
        inputs=inputs_of(snapshot, status) if notes else {},
    )
    return outcome, memory


def _decide(draft: Draft, wanted: Wanted) -> None:
    follow_control(draft)
    phase = draft.phase
    if draft.spec.replicas == 0:
        _stand_still(draft)
    elif phase is not None:
        _continue(draft, phase, wanted)
    elif draft.status.rollout is not None:
        draft.set(rollout=None)  # somebody took the candidate out of the status
    else:
        take_up_return(draft)
        if draft.phase is not None:
            return
        _act_on_policy(draft)
        _watch_guard(draft)
        if draft.phase is None:
            _consider(draft, wanted)


def _stand_still(draft: Draft) -> None:
    """`replicas: 0`: no rollout; the candidate is dropped and tried again on return.

    A way back is at its end: nothing has to be Ready for it.
    """
    phase = draft.phase
    if isinstance(phase, Returning):
        complete_return(draft, phase)
    elif phase is not None:
        message = f"{phase.candidate.version} dropped: replicas is 0; it is tried again later"
        supersede(draft, phase.candidate, message)
    elif draft.status.rollout is not None or draft.status.candidate is not None:
        drop(draft)


# --- at rest -------------------------------------------------------------------------------------


def _act_on_policy(draft: Draft) -> None:
    """A DriftPolicy asks to return to the last good version; only where the fault is that young.

    It asks for as long as that version serves: also after the way back was given up.
    """
    asked, guard = draft.snapshot.requested, draft.status.guard
    if asked is None or asked.do != "rollback" or _is_flapping(draft):
        return
    if guard is not None and not has_no_way_back(guard):
        return_to_last_good(draft, Reason.GUARD_BREACHED, asked.message)


def _watch_guard(draft: Draft) -> None:
    """Look at the counters since the last look; act on a breach; end the guard in time.

    Time in which nothing is seen does not count, within bounds. It goes on while a newer version
    is tried.
    """
    guard, stable = draft.status.guard, draft.status.stable
    if guard is None or stable is None or guard.revision != stable.revision:
        return
    if guard.breached is not None:
        return
    unseen, since = is_unseen(draft.snapshot, draft.status), told_since(draft.status)
    draft.memory = remembered(draft.memory, unseen=unseen, now=draft.now)
    if since is not None and not unseen:
        guard = prolonged(guard, draft.now - since, draft.spec.guard.for_)
        draft.set(guard=guard)
    if may_end_guard(draft, guard, unseen=unseen):
        end_guard(draft, guard, stable, unseen=unseen)
        return
    if carries_alone(draft.snapshot, draft.status):
        return  # on the way back nobody would answer
    crashed = why_all_crashed(draft.snapshot, stable.revision)
    if crashed is not None:
        act_on_crash(draft, guard, crashed)
        return
    side = side_of(stable)
    guard, draft.memory, said = heed_control(draft.snapshot, guard, side, draft.memory)
    if said:
        draft.set(guard=guard)
        draft.tell(EventReason.DATA_UNAVAILABLE, said, warning=True)
    breach, draft.memory = watch(draft.snapshot, guard, side, draft.memory)
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
    if not _may_begin(draft, wanted):
        return
    waiting = draft.status.back_off
    is_again = waiting is not None and waiting.revision == wanted.revision
    if is_again and candidate is not None and candidate.revision == wanted.revision:
        begin_again(draft, candidate)
        return
    begin(draft, wanted.version, wanted.revision)


def _may_begin(draft: Draft, wanted: Wanted) -> bool:
    """Return whether what is wanted may be tried now."""
    asked, waiting = draft.snapshot.requested, draft.status.back_off
    if _is_flapping(draft) or (asked is not None and asked.do == "pause"):
        return False
    if control_alone(draft.snapshot, draft.status):
        return False  # it would make room for the candidate
    if waiting is None or waiting.revision != wanted.revision:
        return True
    # Twice, since the clocks of two nodes may differ a little.
    return not is_to_come(waiting.not_before, draft.now, 2 * back_off_delay(waiting.attempts))


def _is_flapping(draft: Draft) -> bool:
    return is_flapping(draft.status.history, draft.now)


# --- one phase -----------------------------------------------------------------------------------


def _continue(draft: Draft, phase: Phase, wanted: Wanted) -> None:
    """Go on with the rollout under way."""
    if isinstance(phase, Returning):
        _consider_returning(draft, phase, wanted)
        return
    unwanted = why_unwanted(phase, wanted)
    if _is_superseded(draft, phase, unwanted, wanted):
        return
    _watch_guard(draft)
    if draft.phase != phase:
        return
    down = why_down(draft.snapshot, phase)
    if down is not None:
        roll_back(draft, phase.candidate, Reason.CANDIDATE_DOWN, down)
        return
    advance(draft, phase, is_wanted=unwanted is None)


def _consider_returning(draft: Draft, phase: Returning, wanted: Wanted) -> None:
    """Try what else is wanted while the version returned to finds no place to start."""
    if not is_late(draft.spec, phase, draft.instant):
        return
    if draft.snapshot.carried_by(phase.candidate.revision) > 0:
        return
    stable = draft.status.stable
    if stable is None or wanted.version is None or wanted.refusal is not None:
        return
    if wanted.revision in (stable.revision, phase.candidate.revision):
        return
    if _may_begin(draft, wanted):
        put_off_return(draft, phase, f"{wanted.version.spec.version} is wanted now")
        _consider(draft, wanted)


def _is_superseded(draft: Draft, phase: Phase, unwanted: str | None, wanted: Wanted) -> bool:
    """End a rollout that something else is wanted for, unless nobody else carries the requests."""
    if unwanted is None:
        if wanted.refusal is not None and wanted.refusal.reason is Reason.VERSION_REJECTED:
            roll_back(draft, phase.candidate, Reason.VERSION_REJECTED, wanted.refusal.message)
            return True
        return False
    if carries_alone(draft.snapshot, draft.status):
        return False
    supersede(draft, phase.candidate, f"{phase.candidate.version} dropped: {unwanted}")
    if wanted.revision != phase.candidate.revision:
        _consider(draft, wanted)
    return True


def _end_return(draft: Draft) -> None:
    """Once the version returned to can carry all requests, it is stable: at once if it was kept.

    From the deadline on it is stable with what is Ready, and given up if it fails by itself; for a
    place to start it waits for as long as it takes.
    """
    phase = draft.phase
    if not isinstance(phase, Returning):
        return
    snapshot, revision = draft.snapshot, phase.candidate.revision
    if _is_there(draft, phase):
        complete_return(draft, phase)
    elif not is_late(draft.spec, phase, draft.instant):
        return
    elif draft.status.stable is None or failed_by_itself(snapshot, revision):
        give_up_return(draft, phase, pod_messages(snapshot, revision))
    elif left := time_left(snapshot, revision):
        draft.wake_by(draft.now + left)


def _is_there(draft: Draft, phase: Returning) -> bool:
    """Return whether the requests may go to the version returned to.

    In time to all its pods; later to any: the others may find their place only where the pods of
    the bad version go. Those that start beside the first one are waited for a little. To any, too,
    where no pod of the bad version is Ready any more: nobody answers but they.
    """
    revision, stable = phase.candidate.revision, draft.status.stable
    ready = draft.snapshot.carried_by(revision)
    if ready >= full_size(draft.spec):
        return True
    if ready > 0 and stable is not None:
        dark_for = unready_for(draft.snapshot, stable.revision)
        if dark_for is not None and dark_for >= DARK_AFTER:
            return True
        if dark_for is not None:
            draft.wake_by(draft.now + DARK_AFTER - dark_for)
    if ready == 0 or not is_late(draft.spec, phase, draft.instant):
        return False
    own = draft.snapshot.pods_of(revision)
    left = WAITS_FOR_OTHERS - timedelta(seconds=max(pod.ready_seconds for pod in own if pod.ready))
    if left <= timedelta(0) or not any(is_starting(pod) for pod in own):
        return True
    draft.wake_by(draft.now + left)
    return False
