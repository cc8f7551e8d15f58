"""When to look again although nothing happens: what a status means changes as time goes by.

Derived from the status that a pass leaves, whatever led to it. Scrapes, or other objects, may wake
a Deployment earlier; none of them may be needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.rollout.control import wanted_control
from trimtab.decide.rollout.draft import earliest
from trimtab.decide.rollout.ends import flapping_since, guard_ends, guard_ends_unseen
from trimtab.decide.rollout.history import FLAPPING_WINDOW
from trimtab.decide.rollout.judgement import interval_of
from trimtab.decide.rollout.phases import Returning, deadline_of, phase_of, progress_in
from trimtab.decide.rollout.report import READY_WITHIN
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.unseen import is_unseen

JUST_AFTER = timedelta(seconds=1)
"""For what is over once more than its time has passed."""
JUDGED_WITHIN = timedelta(minutes=1)
"""Scrapes come more often; each pass puts this look off again."""


def next_look(snapshot: Snapshot, status: DeploymentStatus) -> datetime | None:
    """Return the first moment at which time alone changes what the status means."""
    return earliest(*(at for at in _moments(snapshot, status) if at > snapshot.now))


def _moments(snapshot: Snapshot, status: DeploymentStatus) -> Iterator[datetime]:
    spec, now = snapshot.deployment.spec, snapshot.now
    stable, guard, phase = status.stable, status.guard, phase_of(status)
    if phase is not None and phase.pause is None:
        yield deadline_of(spec, phase, snapshot.instant)
    if progress_in(phase) is not None:
        # Whether the gates can see is found out by looking, also where no scrape asks for it.
        yield now + max(JUDGED_WITHIN, 2 * interval_of(snapshot))
    if status.retiring is not None:
        yield status.retiring.until
    if status.back_off is not None and (phase is None or isinstance(phase, Returning)):
        yield status.back_off.not_before
    if guard is not None and guard.breached is None:
        yield guard_ends(guard, snapshot.instant)
        if is_unseen(snapshot, status):
            yield now + JUDGED_WITHIN
            yield guard_ends_unseen(spec, guard, snapshot.instant)
    if guard is not None and wanted_control(spec, status, now) is not None:
        yield guard.since + spec.guard.rollback_within
    since = flapping_since(status.history, now)
    if since is not None:
        yield since + FLAPPING_WINDOW + JUST_AFTER
    if stable is not None and snapshot.ready_of(stable.revision) < spec.replicas:
        yield stable.since + READY_WITHIN + JUST_AFTER
