"""A first version, a good one and a bad one, on the real cluster; killed at given writes.

Each Deployment has kills of its own, and feels those of the others that are played beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.e2e.kit.api import Api
from tests.e2e.kit.shop import Shop
from tests.faults.real.process import Operator
from tests.faults.real.proxy import Kill

from trimtab.cluster.events import SEQ_ANNOTATION

RATE = 5.0
GOOD, BETTER, BAD = "good", "better", "fail100"
STEP = {"weight": "50%", "for": "3s"}
TOLD_ONCE = ("RolloutStarted", "StepReached", "Promoted", "RolledBack")

Ending = dict[str, Any]


@dataclass(frozen=True)
class Played:
    """How a story ended, and what users lost on the way."""

    name: str
    ending: Ending
    lost: int
    bad: int
    """Bad answers of the bad version."""


def published(api: Api, names: Sequence[str]) -> list[Shop]:
    """Return Deployments that are not there yet, with their versions verified."""
    shops = [Shop(api, name, steps=(STEP,), guard={"control": 0}) for name in names]
    for shop in shops:
        for version in (GOOD, BETTER, BAD):
            shop.publish(version)
    return shops


def play_all(operator: Operator, shops: Sequence[Shop], kills: Sequence[Kill]) -> list[Played]:
    """Play the story with each of them at once, and kill the operator at these writes."""
    operator.proxy.kills += kills
    operator.proxy.writes |= dict.fromkeys((shop.name for shop in shops), 0)
    with ThreadPoolExecutor(len(shops)) as pool:
        return list(pool.map(play, shops))


def play(shop: Shop) -> Played:
    """Play the story to its end."""
    shop.want(GOOD)
    shop.wait_for("the first version serves", lambda: shop.serves(GOOD), 240)
    # What is decided is in status first: the operator may have died in between.
    shop.wait_for("the Service", lambda: shop.api.get("Service", shop.name))
    shop.wait_for("the Service answers", shop.answers)
    with shop.load(RATE) as load:
        shop.want(BETTER)
        shop.wait_for_outcome(f"{BETTER} Promoted", 240)
        shop.wait_for("rest", lambda: shop.serves(BETTER), 120)
        shop.want(BAD)
        shop.wait_for_outcome(f"{BAD} RolledBack", 240)
        shop.wait_until_gone(BAD)
    shop.wait_for("all is told", lambda: _is_told(shop), 60)
    return Played(shop.name, ending_of(shop), len(load.lost()), len(load.bad(BAD)))


def _is_told(shop: Shop) -> bool:
    """Return whether the last decision has its event."""
    told = (e["metadata"].get("annotations", {}) for e in shop.api.events(shop.name))
    last = max((int(found.get(SEQ_ANNOTATION, 0)) for found in told), default=0)
    return last == (shop.status.get("record") or {}).get("seq")


def ending_of(shop: Shop) -> Ending:
    """Return how it is now, in a form in which two can be compared."""
    status = shop.status
    of_version = {
        (status.get(part) or {}).get("revision"): (status.get(part) or {}).get("version")
        for part in ("stable", "candidate", "lastGood")
    }
    workloads = {}
    for workload in shop.api.list("Workload", f"trimtab.dev/deployment={shop.name}"):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        size = (workload["spec"]["replicas"], (workload["status"].get("readyReplicas") or 0))
        workloads[labels["trimtab.dev/version"]] = size
    events = {
        event["reason"]: int(event.get("deprecatedCount") or 1)
        for event in shop.api.events(shop.name)
        if event["reason"] in TOLD_ONCE
    }
    return {
        "history": [(e["version"], e["outcome"], e["by"]) for e in status.get("history") or []],
        "stable": (status.get("stable") or {}).get("version"),
        "lastGood": (status.get("lastGood") or {}).get("version"),
        "quarantine": sorted(shop.rejected()),
        "conditions": sorted(
            (c["type"], c["status"])
            for c in status["conditions"]
            if c["type"] in ("Ready", "Progressing", "Quarantined", "Degraded", "Stalled")
            and c["status"] == "True"
        ),
        "workloads": workloads,
        "route": of_version.get(shop.route()),
        "told": events,
    }
