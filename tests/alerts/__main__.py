"""`make alerts`: the rules in promtool, and a real Prometheus and Alertmanager that play one story.

The page of our series says that a model of team shop does harm and that data of team lab are
broken. Each is told to whom the example configuration names, and told again when it is over.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.alerts.cases import (
    CASES,
    figures,
    fires_and_clears,
    stays_silent,
    survives_a_failover,
)
from tests.alerts.loopback import Stage, check_example, running
from tests.alerts.promtool import check_rules, find_promtool, run_tests
from tests.cluster.packages import ALERT_PACKAGES, install_packages
from tests.patience import Limit

SECONDS = 60.0
_LEADS = "trimtab_operator_leading 1\n"
_CONDITION = (
    'trimtab_condition{{namespace="{namespace}",name="digits",kind="DriftPolicy",type="{type}",'
    'status="{status}",reason="{reason}"}} 1\n'
)


def page(status: str, reason: str) -> str:
    """Return what an operator shows of both teams."""
    return _LEADS + "".join(
        _CONDITION.format(namespace=namespace, type=kind, status=status, reason=reason)
        for namespace, kind in (("shop", "Harm"), ("lab", "DataBroken"))
    )


def main() -> int:
    """Return 0, or 1 where something is not as it should be."""
    install_packages(ALERT_PACKAGES)
    promtool = find_promtool()
    assert promtool is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tests = [make(alert) for alert in CASES for make in (fires_and_clears, stays_silent)]
        objects = [alert for alert, case in CASES.items() if {"name", "kind"} & case.labels.keys()]
        tests += [*map(survives_a_failover, objects), *figures()]
        said = check_rules(promtool) or check_example() or run_tests(promtool, tests, folder)
        if said:
            print(said, file=sys.stderr)
            return 1
        print(f"promtool: {len(CASES)} alerts, {len(tests)} tests")
        try:
            _play(folder)
        except AssertionError as error:
            print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            return 1
    return 0


def _play(folder: Path) -> None:
    """Let both alerts fire and clear; the rules are those of the chart."""
    stage, limit, began = Stage(), Limit(SECONDS), time.monotonic()
    stage.text = page("True", "Drifting")
    to = {"team-shop": "TrimtabHarm", "platform": "TrimtabDataBroken"}
    with running(stage, folder):
        for receiver, alert in to.items():
            told = stage.wait_for(receiver, alert, "firing", limit)
            print(f"{time.monotonic() - began:4.1f} s  {receiver}: {alert}: {told['summary']}")
        stage.text = page("False", "Stable")
        for receiver, alert in to.items():
            told = stage.wait_for(receiver, alert, "resolved", limit)
            assert told["summary"].startswith(
                ("shop/digits: quality is below", "lab/digits: values")
            ), told
            assert "trimtab why dp/digits -n " in told["description"], told
            assert told["runbook_url"].endswith(f"#{alert.lower()}"), told
            print(f"{time.monotonic() - began:4.1f} s  {receiver}: {alert} is over")
    assert {one[:2] for one in stage.told} == set(to.items()), stage.told


if __name__ == "__main__":
    sys.exit(main())
