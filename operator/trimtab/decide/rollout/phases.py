"""The phase that a rollout is in, as types: what each has is known, and nothing else is.

`phase_of` reads it from a status, `rollout_status` writes it; between the two no decision looks at
the flat fields of `status.rollout`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from trimtab.api.conditions import Reason, reason_of
from trimtab.api.deployment import (
    DeploymentSpec,
    DeploymentStatus,
    RolloutStatus,
    StepStatus,
    Tried,
)
from trimtab.api.durations import LONGEST
from trimtab.decide.led_time import Instant, led_between

_STEP = "step"
"""Who paused, where a step did."""
ON_DEADLINE = "onDeadline"
"""Who skipped the rest, where the spec says so: nobody."""


@dataclass(frozen=True)
class Pause:
    """The rollout waits for a person."""

    since: datetime
    by: str
    reason: Reason
    """PausedByStep or PausedByPerson."""
    led: float | None = None
    """Seconds on the clock of the Lease then."""


@dataclass(frozen=True)
class Progress:
    """How far the steps have come."""

    step: StepStatus
    requests_before: float = 0.0
    """What the candidate answered in earlier steps."""
    no_data_since: datetime | None = None
    withdrawn: bool = False
    """All requests go to stable until the gates can see again."""


@dataclass(frozen=True, kw_only=True)
class _Common:
    candidate: Tried
    started: datetime
    started_led: float | None = None
    """Seconds on the clock of the Lease then; the deadline counts from here."""
    pause: Pause | None = None
    paused_seconds: float = 0.0
    """In earlier pauses, in which the deadline stood still."""

    @property
    def began(self) -> Instant:
        """When it started, by both clocks."""
        return Instant(self.started, self.started_led)


@dataclass(frozen=True, kw_only=True)
class Starting(_Common):
    """The candidate's first pods start, out of traffic."""


@dataclass(frozen=True, kw_only=True)
class Stepping(_Common):
    """The candidate has a share of the requests and is judged."""

    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Promoting(_Common):
    """The candidate grows to full size."""

    progress: Progress | None = None
    """Of the last step; None if there was none."""
    promoted_by: str | None = None
    """Who skipped the rest, or `onDeadline`."""

    @property
    def person(self) -> str | None:
        """Who took it upon themselves: then gates judge no more."""
        return None if self.promoted_by == ON_DEADLINE else self.promoted_by


@dataclass(frozen=True, kw_only=True)
class Returning(_Common):
    """The candidate is the last good version, on its way back."""


Phase = Starting | Stepping | Promoting | Returning
PhaseT = TypeVar("PhaseT", bound=Phase)


def phase_of(status: DeploymentStatus) -> Phase | None:
    """Return the phase of the rollout under way, or None.

    A status that somebody edited by hand, stepping without a step, starts again.
    """
    rollout, candidate = status.rollout, status.candidate
    if rollout is None or candidate is None:
        return None
    progress = _progress_of(rollout)
    phase: Phase = Starting(candidate=candidate, started=rollout.started)
    match rollout.phase:
        case "Stepping" if progress is not None:
            phase = Stepping(candidate=candidate, started=rollout.started, progress=progress)
        case "Promoting":
            phase = Promoting(
                candidate=candidate,
                started=rollout.started,
                progress=progress,
                promoted_by=rollout.promoted_by,
            )
        case "Returning":
            phase = Returning(candidate=candidate, started=rollout.started)
        case _:
            pass
    return replace(
        phase,
        started_led=rollout.started_led,
        pause=_pause_of(rollout),
        paused_seconds=min(rollout.paused_seconds, LONGEST.total_seconds()),
    )


def _progress_of(rollout: RolloutStatus) -> Progress | None:
    if rollout.step is None:
        return None
    return Progress(rollout.step, rollout.requests_before, rollout.no_data_since, rollout.withdrawn)


def _pause_of(rollout: RolloutStatus) -> Pause | None:
    """Return the pause; older statuses say who paused, `step` for a step, and no reason."""
    if rollout.paused_since is None:
        return None
    by = rollout.paused_by or "a person"
    said = Reason.PAUSED_BY_STEP if by == _STEP else Reason.PAUSED_BY_PERSON
    reason = reason_of(rollout.pause_reason or "", said)
    return Pause(rollout.paused_since, by, reason, rollout.paused_led)


def rollout_status(phase: Phase) -> RolloutStatus:
    """Return the phase as status keeps it; the inverse of `phase_of`."""
    pause, progress = phase.pause, progress_in(phase)
    status = RolloutStatus(
        phase=_NAMES[type(phase)],
        started=phase.started,
        started_led=phase.started_led,
        paused_since=pause.since if pause is not None else None,
        paused_led=pause.led if pause is not None else None,
        paused_by=pause.by if pause is not None else None,
        pause_reason=pause.reason if pause is not None else None,
        paused_seconds=phase.paused_seconds,
        promoted_by=phase.promoted_by if isinstance(phase, Promoting) else None,
    )
    if progress is None:
        return status
    return status.model_copy(
        update={
            "step": progress.step,
            "requests_before": progress.requests_before,
            "no_data_since": progress.no_data_since,
            "withdrawn": progress.withdrawn,
        }
    )


_NAMES: dict[type[Phase], Literal["Starting", "Stepping", "Promoting", "Returning"]] = {
    Starting: "Starting",
    Stepping: "Stepping",
    Promoting: "Promoting",
    Returning: "Returning",
}


def deadline_of(spec: DeploymentSpec, phase: Phase, now: Instant) -> datetime:
    """Return when the rollout must be over if an operator leads until then.

    Neither earlier pauses count, nor time in which nobody could act.
    """
    return now.at + spec.rollout.deadline - counted_until(phase, now)


def counted_until(phase: Phase, now: Instant) -> timedelta:
    """Return how much of the deadline a rollout has had."""
    return led_between(phase.began, now) - timedelta(seconds=phase.paused_seconds)


def is_late(spec: DeploymentSpec, phase: Phase, now: Instant) -> bool:
    """Return whether the deadline has passed."""
    return now.at >= deadline_of(spec, phase, now)


def progress_in(phase: Phase | None) -> Progress | None:
    """Return how far the steps have come; None where there are none."""
    return phase.progress if isinstance(phase, Stepping | Promoting) else None


# --- from one phase to the next -------------------------------------------------------------------


def paused_by_step(now: Instant) -> Pause:
    """Return the pause that a step asks for."""
    return Pause(now.at, _STEP, Reason.PAUSED_BY_STEP, now.led)


def paused_by_person(now: Instant, person: str) -> Pause:
    """Return the pause that a person asks for."""
    return Pause(now.at, person, Reason.PAUSED_BY_PERSON, now.led)


def resumed(phase: PhaseT, now: Instant) -> PhaseT:
    """Return the phase without its pause, in which the deadline stood still."""
    if phase.pause is None:
        return phase
    pause = led_between(Instant(phase.pause.since, phase.pause.led), now)
    seconds = phase.paused_seconds + pause.total_seconds()
    return replace(phase, pause=None, paused_seconds=seconds)


def promoting(phase: Phase, *, by: str | None = None) -> Promoting:
    """Return the phase in which the candidate takes over; `by`: who skipped the rest."""
    return Promoting(
        candidate=phase.candidate,
        started=phase.started,
        started_led=phase.started_led,
        pause=phase.pause,
        paused_seconds=phase.paused_seconds,
        progress=progress_in(phase),
        promoted_by=by,
    )


def promoted_early(phase: Phase, now: Instant, *, by: str) -> Promoting:
    """Return the same where the rest is skipped: for its pods it has the time of a rollout.

    What is counted goes on from where it began.
    """
    after = promoting(phase, by=by)
    progress = after.progress
    if progress is not None:
        since = progress.step.counted_since or phase.started
        step = progress.step.model_copy(update={"counted_since": since})
        progress = replace(progress, step=step)
    return replace(
        after, started=now.at, started_led=now.led, paused_seconds=0.0, progress=progress
    )
