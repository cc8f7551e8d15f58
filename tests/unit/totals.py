"""Sums over the processes of a Deployment, those that are gone included."""

from collections.abc import Iterable

from trimtab.contract.metrics import Labels
from trimtab.telemetry.port import ProcessCounters


def total(
    processes: Iterable[ProcessCounters],
    name: str,
    labels: Labels = frozenset(),
    revision: str | None = None,
) -> float:
    """Return the sum of one metric, of the series whose labels include `labels`."""
    return sum(
        value
        for process in processes
        if revision in (None, process.revision)
        for (own_name, own_labels), value in process.series.items()
        if own_name == name and labels <= own_labels
    )
