"""Windows and seasons of a policy."""

from __future__ import annotations

import math
from datetime import timedelta

from trimtab.api.drift_policy import DriftPolicySpec
from trimtab.api.fields import format_duration


def label_window(window: timedelta) -> timedelta:
    """Return the window of labels that come late: whole hours, at least one.

    Labels are told by the hour of their prediction. In a window that ends within an hour, half of
    that hour's labels would still be on their way when it is judged.
    """
    return timedelta(hours=math.ceil(window / timedelta(hours=1)))


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
