"""`make faults`: the sweep of faults, level 1. Every plan is one run that one fault disturbs.

python -m tests.faults [--story S] [--kind K] [--every N] [--plan S/K/N] [--processes N]

Prints a table by kind, then each plan that ended elsewhere than the undisturbed run, with what
differs; `--plan` with its name plays it alone. Exit status 0 only if there is none.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from multiprocessing import Pool

from tests.faults.plans import KINDS, Plan
from tests.faults.stories import STORIES
from tests.faults.sweep import Result, all_plans, play, undisturbed

FIRST_SWEEP = (1408, 1322)
"""Runs of the sweep that this one follows, and how many of them ended as undisturbed."""
LONGEST_DIFFERENCE = 400
MOST_DIFFERENCES = 5


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 when a plan ended elsewhere."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--story", action="append", choices=STORIES, default=[])
    parser.add_argument("--kind", action="append", choices=KINDS, default=[])
    parser.add_argument("--every", type=int, default=1, help="every so many-th plan of each kind")
    parser.add_argument("--plan", action="append", default=[], help="play this one: story/kind/n")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args(arguments)
    began = time.monotonic()
    plans = [plan_of(text) for text in given.plan] or all_plans(
        given.story, given.kind, given.every
    )
    for story in dict.fromkeys(plan.story for plan in plans):
        undisturbed(story)  # the processes inherit it
    with Pool(given.processes) as pool:
        results = list(pool.imap_unordered(play, plans, chunksize=8))
    print(table(results))
    place = {plan: n for n, plan in enumerate(plans)}
    elsewhere = sorted((r for r in results if r.found), key=lambda r: place[r.plan])
    for result in elsewhere:
        print(f"\n{told(result, is_alone=bool(given.plan))}")
    print(f"\n{len(results)} runs in {time.monotonic() - began:.0f} s")
    return 1 if elsewhere else 0


def plan_of(text: str) -> Plan:
    """Return the plan of that name."""
    story, kind, number = text.split("/")
    return Plan(story, kind, int(number))


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
