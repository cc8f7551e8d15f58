"""What the users saw, by second and by the version that answered."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final

SECONDS_KEPT: Final = 900


@dataclass
class VersionTally:
    """Answers of one version. `first` and `last`: Unix seconds of its first and last answer."""

    answered: int = 0
    right: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass
class Tally:
    """Counts over some time.

    sent = ok + errors (5xx) + rejected (4xx) + lost (no answer) + unsent (never left, for want of a
    free connection: the users outran what answers them) + those still in flight. retried:
    answered on a second connection. malformed: among ok, answers that no user can
    read. labelled, refused: truths taken and not taken.
    """

    sent: int = 0
    ok: int = 0
    errors: int = 0
    rejected: int = 0
    lost: int = 0
    unsent: int = 0
    retried: int = 0
    malformed: int = 0
    labelled: int = 0
    refused: int = 0
    right: int = 0
    milliseconds: float = 0.0
    slowest: float = 0.0
    versions: dict[str, VersionTally] = field(default_factory=dict)

    def answer(self, status: int, milliseconds: float) -> None:
        """Count one answer by its status."""
        if status < 400:
            self.ok += 1
        elif status < 500:
            self.rejected += 1
        else:
            self.errors += 1
        self.milliseconds += milliseconds
        self.slowest = max(self.slowest, milliseconds)

    def prediction(self, version: str, is_right: bool, at: float) -> None:
        """Count which version answered, and whether it was right."""
        one = self.versions.setdefault(version, VersionTally(first=at))
        one.answered += 1
        one.right += is_right
        one.last = at
        self.right += is_right

    def to_json(self) -> dict[str, Any]:
        """Return counts, accuracy and mean milliseconds; None where nothing was answered."""
        whole = asdict(self)
        answered = sum(one.answered for one in self.versions.values())
        timed = self.ok + self.errors + self.rejected
        whole["accuracy"] = round(self.right / answered, 4) if answered else None
        whole["meanMilliseconds"] = round(self.milliseconds / timed, 2) if timed else None
        whole["slowestMilliseconds"] = round(self.slowest, 2)
        del whole["milliseconds"], whole["slowest"]
        for one in whole["versions"].values():
            one["accuracy"] = round(one["right"] / one["answered"], 4) if one["answered"] else None
        return whole


class Record:
    """One tally over everything and one a second, the last 15 minutes of them."""

    def __init__(self) -> None:
        self.total = Tally()
        self.second = Tally()
        self._seconds: deque[dict[str, Any]] = deque(maxlen=SECONDS_KEPT)

    def both(self) -> tuple[Tally, Tally]:
        """Whatever is counted is counted in both."""
        return self.total, self.second

    def close_second(self, line: dict[str, Any]) -> dict[str, Any]:
        """End the running second: return and keep its line, `line` first."""
        whole = line | self.second.to_json()
        self._seconds.append(whole)
        self.second = Tally()
        return whole

    def last(self, seconds: int) -> list[dict[str, Any]]:
        """Return the lines of the last seconds, oldest first."""
        return list(self._seconds)[-seconds:] if seconds > 0 else []
