"""What `lint` says of one object: before anything is applied, and without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Remark:
    """error: it cannot work. warning: it will not do what it seems to. note: a figure to know.

    rule: name of the rule. field: path within the object, such as `spec.signals[0].tolerance`.
    """

    severity: Severity
    rule: str
    field: str
    message: str
