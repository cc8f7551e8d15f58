"""A status under decision: the snapshot, the status so far, and what to tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import DeploymentSpec, DeploymentStatus, HistoryEntry, Tried
from trimtab.decide.led_time import Instant
from trimtab.decide.outcome import LONGEST_MESSAGE, Note
from trimtab.decide.rollout.history import with_end
from trimtab.decide.rollout.phases import Phase, PhaseT, phase_of, rollout_status
from trimtab.decide.rollout.snapshot import Memory, Snapshot

OPERATOR = "trimtab"
"""Who decided, where no person did."""


@dataclass
class Draft:
    """The only mutable thing in a decision; lives for one pass."""

    snapshot: Snapshot
    status: DeploymentStatus
    memory: Memory
    notes: list[Note] = field(default_factory=list)
    wake_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """The time of the pass."""
        return self.snapshot.now

    @property
    def instant(self) -> Instant:
        """The time of the pass by both clocks."""
        return self.snapshot.instant

    @property
    def spec(self) -> DeploymentSpec:
        """The user's spec, which is never written."""
        return self.snapshot.deployment.spec

    @property
    def phase(self) -> Phase | None:
        """The phase of the rollout under way."""
        return phase_of(self.status)

    @property
    def seen(self) -> Snapshot:
        """The snapshot with the status so far."""
        deployment = self.snapshot.deployment.model_copy(update={"status": self.status})
        return replace(self.snapshot, deployment=deployment)

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def enter(self, phase: PhaseT) -> PhaseT:
        """Write the phase that the rollout is in from now on, and return it."""
        self.set(candidate=phase.candidate, rollout=rollout_status(phase))
        return phase

    def tell(
        self,
        reason: EventReason,
        message: str,
        *,
        warning: bool = False,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a decision to tell, with what it rests on beside what all of this pass rest on."""
        self.notes.append(Note(reason, message[:LONGEST_MESSAGE], warning, inputs or {}))

    def wake_by(self, moment: datetime | None) -> None:
        """Look again at `moment` at the latest; None changes nothing."""
        self.wake_at = earliest(self.wake_at, moment)

    def record(self, tried: Tried, outcome: str, message: str, *, by: str = OPERATOR) -> None:
        """Add to the history."""
        entry = HistoryEntry(
            version=tried.version,
            revision=tried.revision,
            outcome=outcome,
            message=message[:1024],
            at=self.now,
            by=by,
            automatic=by == OPERATOR,
        )
        self.set(history=with_end(self.status.history, entry, self.now))


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of the moments; None if there is none."""
    return min((moment for moment in moments if moment is not None), default=None)
