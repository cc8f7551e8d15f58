"""What a serving container leaves in its termination message when it cannot serve.

JSON, `{"reason": ..., "message": ...}`: the reason is for programs, the message for people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

ARTIFACT_UNAVAILABLE: Final = "ArtifactUnavailable"
"""The store did not give the artifact in time."""
NOT_FROM_STORE: Final = frozenset({ARTIFACT_UNAVAILABLE, "NotInStore", "AccessDenied"})
"""Reasons that tell of the store and nothing of the model: whoever waits may start yet."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """Why a container ended, as it said itself. reason: empty where it named none."""

    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.reason else self.message


def last_words(text: str) -> LastWords:
    """Return what a termination message says; any other text is a message without a reason."""
    lines = text.strip().splitlines()
    last = lines[-1] if lines else ""
    try:
        found = json.loads(last)
    except (ValueError, RecursionError):
        return LastWords("", last)
    if not isinstance(found, dict):
        return LastWords("", last)
    reason, message = found.get("reason"), found.get("message")
    if isinstance(reason, str) and isinstance(message, str):
        return LastWords(reason, message)
    return LastWords("", last)
