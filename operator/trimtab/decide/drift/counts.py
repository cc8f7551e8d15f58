"""How counts of a window are read: one family of metrics, by its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trimtab.contract import metrics
from trimtab.contract.metrics import Series

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


def family(counts: Series, name: str) -> list[tuple[dict[str, str], float]]:
    """Return the labels and values of one metric."""
    return [(dict(labels), value) for (own, labels), value in counts.items() if own == name]


def total(counts: Series, name: str) -> float:
    """Return the sum of one metric over all labels."""
    return sum(value for (own, _), value in counts.items() if own == name)


def bin_index(labels: Mapping[str, str]) -> int | None:
    """Return the number in the label `bin`; None where it is none."""
    text = labels.get("bin", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def by_bin(counts: Series, name: str, bins: int) -> list[float]:
    """Return the values of one metric by its bin, `bins` of them."""
    found = [0.0] * bins
    for labels, value in family(counts, name):
        index = bin_index(labels)
        if index is not None and index < bins:
            found[index] += value
    return found


def by_class(counts: Series) -> dict[str, float]:
    """Return predicted rows by class."""
    found: dict[str, float] = {}
    for labels, value in family(counts, metrics.PREDICTED):
        name = labels.get("class", "")
        found[name] = found.get(name, 0.0) + value
    return found


def predicted_rows(counts: Series) -> float:
    """Return the rows that were predicted in the window."""
    return total(counts, metrics.PREDICTED)
