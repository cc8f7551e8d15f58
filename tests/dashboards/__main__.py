"""`make dashboards`: every panel drawn in a real browser from a recording of a real demo.

Without a verb, all is checked and the pictures of docs/ are written. `record URL` makes the
recording anew from a Prometheus that watched `make demo WATCH=1`; `prepare` builds what draws.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.alerts.promtool import find_promtool
from tests.cluster.settings import read_settings
from tests.dashboards.boards import read_boards
from tests.dashboards.browser import DASHBOARDS
from tests.dashboards.built import NotToBeHad, build
from tests.dashboards.check import check
from tests.dashboards.recorded import RECORDING, record_from


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    record = verbs.add_parser("record", help="write the recording anew")
    record.add_argument("url", help="of a Prometheus that watched the demo")
    record.add_argument("--seconds", type=int, default=420, help="how far to look back")
    verbs.add_parser("prepare", help="build what draws, once")
    given = parser.parse_args(arguments)
    boards = read_boards(DASHBOARDS)
    if given.verb == "record":
        print(record_from(given.url, given.seconds, boards))
        return 0
    try:
        built = build(read_settings())
    except NotToBeHad as error:
        print(f"the dashboards cannot be drawn: {error}", file=sys.stderr)
        return 1
    if given.verb == "prepare":
        return 0
    assert find_promtool() is not None
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        text, is_well = check(built, boards, RECORDING, Path(folder))
    print(f"{text}\n\ntook {time.monotonic() - began:.0f} s")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
