"""`python -m tests.demo`: the quick start on a real cluster. `--clean` removes what it made.

Needs kubectl, helm and a kubeconfig (`python3 -m tests.cluster run --` gives all three), and the
images in the cluster. Exit status 0 only if every act was seen in the cluster's own state.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.cluster.settings import ClusterError, read_settings
from tests.demo import watch
from tests.demo.play import ACTS, AFTERWARDS, LIMIT_SECONDS, clean, install, play, table
from tests.demo.stage import TRAINING_IMAGE, NotSeen, Stage
from tests.patience import Limit


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 when an act was not seen or the whole took too long."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="remove what the demo made")
    parser.add_argument("--watch", action="store_true", help="with a Prometheus that stays")
    given = parser.parse_args(arguments)
    if given.clean:
        print("removing what the demo made, which takes up to a minute", flush=True)
        watch.stop(read_settings())
        print(clean())
        return 0
    if given.watch:
        try:
            watch.start(read_settings())
        except ClusterError as error:
            print(f"not watched: {error}", file=sys.stderr)
            return 1
        print(f"a Prometheus watches, at {watch.URL} in the cluster's network", flush=True)
    began, allowed = time.monotonic(), Limit(LIMIT_SECONDS)
    print("installing the release and an empty namespace", flush=True)
    try:
        install()
    except (NotSeen, RuntimeError) as error:
        print(f"not installed: {error}", file=sys.stderr)
        return 1
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    stage = Stage(TRAINING_IMAGE, lambda line: print(line, flush=True))
    seen = play(stage)
    took = time.monotonic() - began
    print(
        f"\n{table(seen)}\n\n{took:.0f} s in all; at most {LIMIT_SECONDS:.0f} on a machine that "
        "does nothing else"
    )
    for one in seen:
        if one.missing:
            print(f"not seen in {one.title}: {one.missing}", file=sys.stderr)
    print(f"\n{AFTERWARDS}", flush=True)
    if given.watch:
        print(f"\n{watch.pictures(read_settings())}\n{watch.REACHED}", flush=True)
    are_all = len(seen) == len(ACTS) and not any(one.missing for one in seen)
    return 0 if are_all and not allowed.is_over() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
