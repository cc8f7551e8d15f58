"""`make faults-real`: level 2 of the sweep. Needs a cluster with the release's images.

python -m tests.faults.real [--every N] [--at-once N]

A story is played undisturbed, then once for each of its writes and each of {killed before it has
its effect, killed after it, with the reply lost}. Exit status 0 only if all end alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.e2e.kit.api import Api
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import install, kubectl
from tests.e2e.kit.shop import provide_code
from tests.faults.real.process import Operator
from tests.faults.real.proxy import Kill
from tests.faults.real.story import Played, play_all, published

NAMESPACE = "faults-real"
WHEN = {False: "SIGKILL before a write", True: "SIGKILL after a write"}


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 when a run ended elsewhere than the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.real", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="every so many-th write")
    parser.add_argument("--at-once", type=int, default=8, help="stories beside each other")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=120)
    install([NAMESPACE])
    release = OperatorProcess()
    release.wait_until_working()
    api = Api(NAMESPACE)
    provide_code(api)
    (calm,), writes = _round(release, api, {"calm": None})
    results: list[tuple[Kill, Played]] = []
    kills = [
        Kill(f"kill-{number}-{'after' if is_after else 'before'}", number, is_after)
        for is_after in WHEN
        for number in range(1, writes + 1, given.every)
    ]
    for first in range(0, len(kills), given.at_once):
        some = kills[first : first + given.at_once]
        played, _ = _round(release, api, {kill.name: kill for kill in some})
        results += zip(some, played, strict=True)
        print(f"{len(results)} of {len(kills)} in {time.monotonic() - began:.0f} s", flush=True)
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    print(_table(calm, results))
    return _tell_others(calm, results)


def _round(
    release: OperatorProcess, api: Api, kills: dict[str, Kill | None]
) -> tuple[list[Played], int]:
    """Play stories beside each other; return how they ended, and the writes of the first one."""
    shops = published(api, list(kills))
    with release.away(), Operator() as operator:
        played = play_all(operator, shops, [kill for kill in kills.values() if kill is not None])
        writes = operator.proxy.writes[shops[0].name]
        for shop in shops:
            shop.delete()
    return played, writes


def _table(calm: Played, results: list[tuple[Kill, Played]]) -> str:
    lines = [
        f"{'plan kind':24}{'runs':>6}{'as undisturbed':>16}{'lost':>6}{'bad answers more':>18}"
    ]
    for is_after, name in WHEN.items():
        of_kind = [played for kill, played in results if kill.is_after == is_after]
        good = sum(played.ending == calm.ending for played in of_kind)
        lost = sum(played.lost for played in of_kind)
        bad = sum(max(0, played.bad - calm.bad) for played in of_kind)
        lines.append(f"{name:24}{len(of_kind):18}{good:18}{lost:18}{bad:18}")
    return "\n".join(lines)


def _tell_others(calm: Played, results: list[tuple[Kill, Played]]) -> int:
    """Print what ended elsewhere; return the exit status."""
    others = [(kill, played) for kill, played in results if played.ending != calm.ending]
    for kill, played in others:
        print(f"\n{WHEN[kill.is_after]} {kill.number}")
        for name, value in played.ending.items():
            if value != calm.ending[name]:
                print(f"    {name}: {value}, undisturbed: {calm.ending[name]}")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
