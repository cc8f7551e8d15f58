"""Windows and seasons of a policy, and how long labels are waited for."""

from __future__ import annotations

import math
from datetime import timedelta

from trimtab.api.drift_policy import DriftPolicySpec, Signal
from trimtab.api.fields import format_duration

HOUR = timedelta(hours=1)
HOURLY_LABELS_FROM = timedelta(hours=1)
"""From this label delay on, labels are counted by the hour of their prediction."""


def comes_by_hour(label_delay: timedelta | None) -> bool:
    """Whether labels are late enough to be counted by the hour of their prediction."""
    return label_delay is not None and label_delay >= HOURLY_LABELS_FROM


def counts_labels_by_hour(signal: Signal) -> bool:
    """Whether the labels of a signal are counted by the hour of their prediction."""
    return comes_by_hour(signal.label_delay)


def late_label_delay(spec: DriftPolicySpec) -> timedelta | None:
    """Return how long labels by the hour are waited for; None where no signal waits for them."""
    delays = (s.label_delay for s in spec.signals if counts_labels_by_hour(s))
    return next((delay for delay in delays if delay is not None), None)


def label_window(window: timedelta) -> timedelta:
    """Return the window of labels that come late: whole hours, at least one.

    Labels are told by the hour of their prediction. In a window that ends within an hour, half of
    that hour's labels would still be on their way when it is judged.
    """
    return timedelta(hours=math.ceil(window / HOUR))


def label_hours_kept(length: timedelta, delay: timedelta) -> int:
    """Return for how many hours labels are booked, so that a window is whole when it is judged.

    length: of a window of labels.
    """
    return math.ceil((delay + 2 * length) / HOUR) + 1


def window_warning(spec: DriftPolicySpec) -> str | None:
    """Say what is wrong with a window that is not a whole number of seasons; None if it is.

    Parts of a season differ from the whole even where nothing has changed (statistics.md §5).
    """
    if spec.window.total_seconds() % spec.season.total_seconds() == 0:
        return None
    window, season = format_duration(spec.window), format_duration(spec.season)
    return (
        f"the window of {window} is not a whole multiple of the season of {season}, so the time of "
        "day can look like drift; change window, or season if traffic has none"
    )
