"""What the sweep prints: a table by kind, and each plan that ended elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.faults.plans import KINDS
from tests.faults.sweep import Result

FIRST_SWEEP = (1408, 1322)
"""Runs of the sweep that this one follows, and how many of them ended as undisturbed."""
LONGEST_DIFFERENCE = 400
MOST_DIFFERENCES = 5


def table(results: Iterable[Result]) -> str:
    """Return runs and good ends by kind, beside those of the first sweep."""
    runs: Counter[str] = Counter()
    good: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for result in results:
        kind = result.plan.kind
        runs[kind] += 1
        good[kind] += not result.found
        lost[kind] += result.lost
        bad[kind] += result.bad
    figures = (runs, good, lost, bad)
    lines: list[tuple[str, ...]] = [
        ("plan kind", "runs", "as undisturbed", "requests lost", "bad answers more")
    ]
    lines += [(kind, *(str(of[kind]) for of in figures)) for kind in KINDS if runs[kind]]
    lines.append(("all", *(str(of.total()) for of in figures)))
    lines.append(("the first sweep", *(str(figure) for figure in FIRST_SWEEP), "", ""))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(
            f"  {cell.rjust(width)}" for cell, width in zip(line[1:], widths[1:], strict=True)
        )
        for line in lines
    )


def told(result: Result, *, is_alone: bool) -> str:
    """Return a plan that ended elsewhere, with what differs; all of it where it is alone."""
    head = f"--plan {result.plan}  ({result.at})"
    if result.lost:
        head += f", {result.lost} requests lost"
    lines = [f"    {one[:LONGEST_DIFFERENCE]}" for one in result.found]
    if len(lines) > MOST_DIFFERENCES and not is_alone:
        lines[MOST_DIFFERENCES:] = [f"    and {len(lines) - MOST_DIFFERENCES} more"]
    return "\n".join([head, *lines])
