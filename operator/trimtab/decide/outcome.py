"""What every decision returns, whatever the kind: status, notes, actions, when to look again.

One runner carries it out in this order: write the status, tell the notes, take the actions
(`reconcile.pass_`). What a decision leaves undone is in its status before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from trimtab.api.conditions import EventReason

LONGEST_MESSAGE = 1024

StatusT = TypeVar("StatusT")
ActionT = TypeVar("ActionT")


@dataclass(frozen=True)
class Note:
    """One decision to tell; it gets its number when it is written into status.

    `inputs` is what was read, as JSON: counts per side and gate, times of samples, digests of
    spec and snapshot; enough to derive the verdict again.
    """

    reason: EventReason
    message: str
    warning: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome(Generic[StatusT, ActionT]):
    """What was decided in one pass: the whole status, and what follows once it is written."""

    status: StatusT
    notes: tuple[Note, ...] = ()
    actions: tuple[ActionT, ...] = ()
    wake_at: datetime | None = None
    """Look again at this time at the latest; None: at the next event."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What every note of this pass rests on, beside its own inputs."""
