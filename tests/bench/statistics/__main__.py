"""`make bench-statistics`: the figures of the statistics, as the operator's own code gives them.

python -m tests.bench.statistics [section ...]
"""

from __future__ import annotations

import argparse
import importlib
import time

from tests.bench.statistics.rows import Row, render

SECTIONS = (
    "gate",
    "stream",
    "series",
    "distance",
    "looks",
    "quality",
    "digits",
    "regression",
    "challenger",
    "as_wired",
    "as_wired_more",
    "detection",
    "guard",
    "paired",
)


def main() -> None:
    """Run the sections that are asked for and print one table."""
    parser = argparse.ArgumentParser(prog="bench-statistics", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    wanted = parser.parse_args().sections or SECTIONS
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {sorted(unknown)[0]}; there are {', '.join(SECTIONS)}")
    rows: list[Row] = []
    for section in wanted:
        began = time.perf_counter()
        rows += importlib.import_module(f"tests.bench.statistics.{section}").rows()
        print(f"{section}: {time.perf_counter() - began:.1f} s", flush=True)
    print(render(rows))


if __name__ == "__main__":
    main()
