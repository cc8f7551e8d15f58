"""How counts of a window are read: one family of metrics, by its labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trimtab.contract import metrics
from trimtab.contract.metrics import Series, SeriesKey

HOUR_SECONDS = 3600


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
    values = [0.0] * bins
    for labels, value in family(counts, name):
        index = bin_index(labels)
        if index is not None and index < bins:
            values[index] += value
    return values


def by_class(counts: Series) -> dict[str, float]:
    """Return predicted rows by class."""
    rows: dict[str, float] = {}
    for labels, value in family(counts, metrics.PREDICTED):
        name = labels.get("class", "")
        rows[name] = rows.get(name, 0.0) + value
    return rows


def predicted_rows(counts: Series) -> float:
    """Return the rows that were predicted in the window."""
    return total(counts, metrics.PREDICTED)


def labels_of_hours(
    ledgers: Iterable[Mapping[int, Series]], start: float, end: float
) -> tuple[dict[SeriesKey, float], float]:
    """Return the labels of the hours in [start, end), and the rows that were predicted in them.

    ledgers: of each version, what was counted by Unix hour of the prediction. start, end: Unix
    seconds.
    """
    counts: dict[SeriesKey, float] = {}
    for by_hour in ledgers:
        for hour, booked in by_hour.items():
            if start <= hour * HOUR_SECONDS < end:
                for key, value in booked.items():
                    counts[key] = counts.get(key, 0.0) + value
    labels = {key: value for key, value in counts.items() if key[0] != metrics.PREDICTED}
    return labels, predicted_rows(counts)
