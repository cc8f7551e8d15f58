"""`make faults`: the sweep of faults, level 1. Every plan is one run that one fault disturbs.

python -m tests.faults [--story S] [--kind K] [--every N] [--plan S/K/N] [--processes N]

Prints by story each plan that ended elsewhere than the undisturbed run, with what differs, then a
table by kind; `--plan` with its name plays it alone. Exit status 0 only if there is none.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tests.faults.plans import KINDS, plan_of
from tests.faults.report import table, told
from tests.faults.stories import STORIES
from tests.faults.sweep import all_plans, play_all


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
    place = {plan: n for n, plan in enumerate(plans)}
    results = []
    for story in dict.fromkeys(plan.story for plan in plans):
        of_story = play_all(story, [p for p in plans if p.story == story], given.processes)
        elsewhere = sorted((r for r in of_story if r.found), key=lambda r: place[r.plan])
        print(f"{story}: {len(of_story) - len(elsewhere)} of {len(of_story)} as undisturbed")
        for result in elsewhere:
            print(told(result, is_alone=bool(given.plan)))
        print(flush=True)
        results += of_story
    print(table(results))
    print(f"\n{len(results)} runs in {time.monotonic() - began:.0f} s")
    return 1 if any(result.found for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
