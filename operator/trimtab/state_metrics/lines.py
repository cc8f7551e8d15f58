"""Series as lines of the Prometheus text format.

Source: Prometheus exposition formats, text 0.0.4.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.utils import floatToGoString

from trimtab.state_metrics.families import Family

Text = dict[Family, bytes]
"""By metric the lines of its series."""


def labelled(family: Family, values: tuple[str, ...], suffix: str = "", **more: str) -> str:
    """Return a series without its value; `values` in the order of the family's labels.

    suffix: behind the name, of a histogram. more: labels beside those of the family.
    """
    pairs = [*zip(family.labels, values, strict=True), *more.items()]
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{family.name}{suffix}{{{inside}}}"


def line(series: str, value: float) -> bytes:
    """Return the line of a series. A lone surrogate, which is no text, becomes `?`."""
    written = floatToGoString(value)  # type: ignore[no-untyped-call]
    return f"{series} {written}\n".encode(errors="replace")


class Lines:
    """The series of one object. A series that is given twice has the later value."""

    def __init__(self, namespace: str, name: str) -> None:
        self._of = namespace, name
        self._series: dict[Family, dict[str, float]] = {}

    def add(self, family: Family, value: float | None, *labels: str) -> None:
        """Add a series with the labels after namespace and name; None: there is no such figure."""
        if value is not None:
            series = labelled(family, (*self._of, *labels))
            self._series.setdefault(family, {})[series] = value

    def text(self) -> Text:
        """Return the lines."""
        return text_of(self._series)


def text_of(series: Mapping[Family, Mapping[str, float]]) -> Text:
    """Return the lines of series with their values."""
    return {
        family: b"".join(line(one, value) for one, value in own.items())
        for family, own in series.items()
    }


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
