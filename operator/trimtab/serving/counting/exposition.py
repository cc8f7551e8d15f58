"""Metric families as Prometheus text or OpenMetrics.

Sources: Prometheus text format 0.0.4; OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

TEXT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Sequence[tuple[str, str]]
Kind = Literal["counter", "gauge", "histogram", "info"]
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples: whole names with labels, and values."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[tuple[str, float]]


def labelled(name: str, labels: Labels) -> str:
    """Return `name{a="b"}` with the values escaped."""
    inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    return f"{name}{{{inside}}}" if inside else name


def histogram_samples(
    name: str,
    labels: Labels,
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float,
) -> list[tuple[str, float]]:
    """Return the samples of a histogram; `counts` has one number a bucket and one beyond."""
    cumulative = list(accumulate(counts))
    names = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    buckets: list[tuple[str, float]] = [
        (labelled(f"{name}_bucket", [*labels, ("le", bound)]), count)
        for bound, count in zip(names, cumulative, strict=True)
    ]
    return [
        *buckets,
        (labelled(f"{name}_count", labels), cumulative[-1]),
        (labelled(f"{name}_sum", labels), total),
    ]


def render(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """Return the whole page."""
    lines: list[str] = []
    for family in families:
        name, kind = family.name, str(family.kind)
        if openmetrics:
            name = name.removesuffix(_SUFFIXES.get(kind, ""))
        elif kind == "info":
            kind = "gauge"
        lines.append(f"# HELP {name} {family.help}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend([f"{sample} {_number(value)}" for sample, value in family.samples])
    if openmetrics:
        lines.append("# EOF")
    lines.append("")
    return "\n".join(lines).encode()


def _number(value: float) -> str:
    return repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
