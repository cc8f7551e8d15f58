"""What one signal says of one Deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["Stable", "Drifting", "InsufficientData", "NoData"]


@dataclass(frozen=True)
class Finding:
    """What one signal says about one window. `value`, `threshold` as the message names them."""

    verdict: Verdict
    message: str
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    needed: int | None = None
    top: tuple[tuple[str, float], ...] = ()
