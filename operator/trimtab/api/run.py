"""What can be seen of a training run, whatever engine runs it: engines tell, decisions read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class RunPod:
    """One pod of a run. `exit_code` is None until its container has terminated."""

    name: str
    is_running: bool = False
    waiting: str = ""
    """Why it does not start, in words that stay the same from try to try."""
    exit_code: int | None = None
    message: str = ""
    """The termination message."""


@dataclass(frozen=True)
class RunEnd:
    """The engine tries no more. `at` is None where the engine does not say when."""

    how: Literal["completed", "failed", "outOfTime"]
    at: datetime | None = None
    reason: str = ""
    """In the engine's own words, for people."""


@dataclass(frozen=True)
class RunView:
    """A run as it is now."""

    exists: bool = False
    """What the engine made is there, is ours, and is not being deleted."""
    end: RunEnd | None = None
    pods: tuple[RunPod, ...] = ()
    """Oldest first; also those that outlived what made them."""
