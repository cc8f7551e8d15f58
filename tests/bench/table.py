"""Plain tables, and figures of several runs as min/median/max."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line: a figure, what others need, its goal and verdict."""

    what: str
    measured: str = ""
    argo_best: str = ""
    argo_1s: str = ""
    flagger: str = ""
    goal: str = ""
    verdict: str = ""


TITLES = Row(
    "", "measured", "Argo Rollouts, best", "Argo, interval 1 s", "Flagger", "goal", "verdict"
)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return `min/median/max`, or the only value."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    shown = (min(values), median(values), max(values))
    return "/".join(f"{value:.{digits}f}" for value in shown)


def judge(what: str, values: Sequence[float], most: float | None, digits: int = 1) -> Row:
    """Return a line whose goal the worst run must meet; None: there is no goal."""
    if most is None:
        return Row(what, spread(values, digits))
    verdict = "meets" if max(values) <= most else "misses"
    return Row(what, spread(values, digits), goal=f"<= {most:g}", verdict=verdict)


def render(rows: Sequence[Row]) -> str:
    """Return the lines in columns; a line with text alone is a heading."""
    lines = [tuple(vars(row).values()) for row in (TITLES, *rows)]
    widths = [
        max((len(line[i]) for line in lines if any(line[1:])), default=0)
        for i in range(len(lines[0]))
    ]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
