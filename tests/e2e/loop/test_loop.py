"""The four acts of `make demo`, with the operator ended by SIGKILL in the middle of each.

One after another, on one stage: each act takes up what the one before left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.demo.acts import (
    Midway,
    better_is_promoted,
    drift_is_cured,
    v1_serves,
    worse_is_rolled_back,
)
from tests.demo.stage import Stage
from tests.e2e.kit.api import until
from tests.e2e.kit.operator_process import OperatorProcess
from tests.patience import slowest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

Act = Callable[[Stage, Midway], str]
ACTS: tuple[Act, ...] = (v1_serves, worse_is_rolled_back, better_is_promoted, drift_is_cured)
_seen: list[Act] = []


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_act_ends_well_though_the_operator_is_killed_in_it(
    act: Act, stage: Stage, release: OperatorProcess
) -> None:
    if _seen != list(ACTS[: ACTS.index(act)]):
        pytest.skip("an act before it was not seen")
    kills: list[str] = []

    def kill() -> None:
        stage.tell_own("operator", "killed", "SIGKILL")
        kills.append(release.container())
        release.kill()

    act(stage, kill)
    assert len(kills) == 1
    assert release.container() != kills[0]
    _seen.append(act)
    release.restart()  # a fresh pod: the kubelet waits longer before each restart of an old one


def test_no_request_was_lost_and_one_retraining_was_made(stage: Stage) -> None:
    if _seen != list(ACTS):
        pytest.skip("not all acts were seen")
    stats = stage.stats(900)
    assert stats["total"]["sent"] > 5000
    names = ("errors", "rejected", "lost", "malformed")
    bad = [{n: line[n] for n in ("time", *names)} for line in stats["seconds"]]
    assert [line for line in bad if any(line[n] for n in names)] == []
    assert {n: stats["total"][n] for n in names} == dict.fromkeys(names, 0)
    view = stage.view()
    made = [version for version in view.versions if version not in ("v1", "v2", "v3")]
    assert len(view.retrainings) == len(made) == 1
    ends = [f"{end['version']} {end['outcome']}" for end in view.status["history"]]
    assert ends == ["v1 Promoted", "v2 RolledBack", "v3 Promoted", f"{made[0]} Promoted"]


WINDOW_SECONDS = 60
POLICIES = "driftpolicies.trimtab.dev"
"""In full: other tests on the cluster have kinds of this name in a group of their own."""
PATIENT = f"""\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {{name: patient}}
spec:
  selector: {{deployments: [digits]}}
  window: {WINDOW_SECONDS}s
  season: {WINDOW_SECONDS}s
  signals:
  - {{kind: inputs, tolerance: 0.02}}
"""


def _signals(stage: Stage) -> dict[str, Any]:
    raw = stage.kubectl("get", POLICIES, "patient", "-o", "json")
    entries = (json.loads(raw).get("status") or {}).get("signals") or []
    return next((e for e in entries if e.get("windowEnd")), {})


def test_a_window_that_is_open_while_the_operator_is_killed_is_whole(
    stage: Stage, release: OperatorProcess
) -> None:
    if _seen != list(ACTS):
        pytest.skip("not all acts were seen")
    stage.kubectl("delete", POLICIES, "--all")
    # A window that is watched from its start on, and a save in it before the kill.
    begin = (time.time() // WINDOW_SECONDS + 1) * WINDOW_SECONDS
    until("a window begins", lambda: time.time() > begin, WINDOW_SECONDS + 5)
    stage.kubectl("apply", "-f", "-", stdin=PATIENT)
    until("most of the window is over", lambda: time.time() > begin + 45, 120, every=0.5)
    release.kill()
    release.wait_until_working()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin + WINDOW_SECONDS))
    found = until(
        "the window is judged",
        lambda: entry if (entry := _signals(stage)).get("windowEnd") == at else None,
        150,
        every=0.5,
    )
    lines = stage.stats(900)["seconds"]
    answered = sum(
        line["ok"] for line in lines if begin + 1 <= line["time"] < begin + WINDOW_SECONDS
    )
    assert answered > 1000
    # Seconds of the users against scrapes each second: the ends differ by a second or two, or by
    # what a scrape is late. Without what was counted before the kill three quarters would miss.
    near = min(0.4, 0.08 * slowest(WINDOW_SECONDS))
    assert found["n"] == pytest.approx(answered, rel=near), (found, answered)
