"""One line of the table of statistics: a figure, those of others, its goal and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

TITLES = ("section", "figure", "measured", "others", "goal", "verdict")


@dataclass(frozen=True)
class Row:
    """`goal` and `verdict` are empty where a figure has none."""

    section: str
    what: str
    measured: str
    peers: str = ""
    goal: str = ""
    verdict: str = ""


def judged(section: str, what: str, measured: str, goal: str, is_met: bool, peers: str = "") -> Row:
    """Return a line with a goal; the verdict says whether it was met."""
    return Row(section, what, measured, peers, goal, "meets" if is_met else "misses")


def render(rows: Sequence[Row]) -> str:
    """Return all lines in columns under their titles."""
    lines = [TITLES, *(astuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(TITLES))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
