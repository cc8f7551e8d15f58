"""What one signal says of one Deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["Stable", "Drifting", "InsufficientData", "NoData"]


@dataclass(frozen=True)
class Finding:
    """What one signal says about one window. `value`, `threshold` as the message names them.

    lower, upper: bounds of the value, each one-sided at the level of the look; of quality and
    outcomes. labelled: share of the window's rows whose truth has come in; of outcomes.
    """

    verdict: Verdict
    message: str
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    needed: int | None = None
    top: tuple[tuple[str, float], ...] = ()
    lower: float | None = None
    upper: float | None = None
    labelled: float | None = None
