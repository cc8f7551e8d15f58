"""A status under decision: the snapshot, the status so far, and what to tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import DeploymentSpec, DeploymentStatus, HistoryEntry, Tried
from trimtab.decide.outcome import LONGEST_MESSAGE, Note
from trimtab.decide.rollout.snapshot import Memory, Snapshot


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
    def spec(self) -> DeploymentSpec:
        """The user's spec, which is never written."""
        return self.snapshot.deployment.spec

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def set_rollout(self, **changes: Any) -> None:
        """Change fields of the rollout under way."""
        assert self.status.rollout is not None
        self.set(rollout=self.status.rollout.model_copy(update=changes))

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

    def wake_after(self, delay: timedelta) -> None:
        """Look again after `delay` at the latest."""
        self.wake_by(self.now + delay)

    def wake_by(self, moment: datetime) -> None:
        """Look again at `moment` at the latest."""
        if self.wake_at is None or moment < self.wake_at:
            self.wake_at = moment

    def record(self, tried: Tried, outcome: str, message: str, *, by: str = "trimtab") -> None:
        """Add to the history; the last ten are kept."""
        entry = HistoryEntry(
            version=tried.version,
            revision=tried.revision,
            outcome=outcome,
            message=message[:1024],
            at=self.now,
            by=by,
            automatic=by == "trimtab",
        )
        self.set(history=[*self.status.history, entry][-10:])
