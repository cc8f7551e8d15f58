"""What status keeps of ends: the history, what counts towards flapping, what is quarantined."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import HistoryEntry, Rejected

KEPT = 10
FLAPPING_WINDOW = timedelta(hours=1)


def rollbacks_in_a_row(history: Sequence[HistoryEntry], now: datetime) -> list[HistoryEntry]:
    """Return the automatic rollbacks within an hour, since a person did something last."""
    since = max((n + 1 for n, entry in enumerate(history) if not entry.automatic), default=0)
    return [
        entry
        for entry in history[since:]
        if entry.outcome == Reason.ROLLED_BACK and now - entry.at <= FLAPPING_WINDOW
    ]


def is_rejected(rejected: Sequence[Rejected], revision: str) -> bool:
    """Return whether a revision is quarantined."""
    return any(entry.revision == revision for entry in rejected)


def with_end(
    history: Sequence[HistoryEntry], entry: HistoryEntry, now: datetime
) -> list[HistoryEntry]:
    """Return the history with one more end; the oldest goes that is not counted any more."""
    entries = [*history, entry]
    while len(entries) > KEPT:
        counted = rollbacks_in_a_row(entries, now)
        goes = next((n for n, one in enumerate(entries[:-1]) if one not in counted), 0)
        del entries[goes]
    return entries
