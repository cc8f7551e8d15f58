"""What a promotion costs in writes: so many exactly, however slow the machine is.

Beside them the numbers in a status are renewed, at most every 30 s while a rollout runs: the one
part of the count that grows with time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.resource import Resource
from trimtab.cluster.port import DEPLOYMENTS, Json
from trimtab.reconcile.kinds.status_writes import (
    AS_SEEN,
    DURING_ROLLOUT,
    is_deployment_worth_writing,
    is_policy_worth_writing,
    significant,
)
from trimtab.simulation.kubelet import PodBehaviour

STEPS = [{"weight": "25%", "for": "3s"}, {"weight": "50%", "for": "3s"}]
ROLLOUT = {"steps": STEPS, "minSamples": 50, "scaleDownDelay": "5s", "deadline": "30m"}


class StatusWrites:
    """Counts changes of the status: those that tell something, and those that renew numbers."""

    def __init__(self, shop: Shop) -> None:
        self.telling = self.renewing = 0
        self._last: Json = shop.live.get("status") or {}
        shop.cluster.listen(self._on_event)

    def _on_event(self, event: str, resource: Resource, obj: Json) -> None:
        status = obj.get("status") or {}
        if resource != DEPLOYMENTS or status == self._last:
            return
        tells = significant(status) != significant(self._last)
        self.telling += tells
        self.renewing += not tells
        self._last = status


def start_slowly(shop: Shop, version: str, ready_after: float) -> None:
    """From now on pods of a version need so many seconds until they are Ready."""
    usual = shop.harness.kubelet.behave
    slow = PodBehaviour(ready_after=ready_after)
    shop.harness.kubelet.behave = lambda pod: (
        slow if pod["metadata"]["labels"]["trimtab.dev/version"] == version else usual(pod)
    )


@pytest.mark.parametrize("ready_after", [2.0, 12.5, 40.5, 100.5])
async def test_a_promotion_writes_the_same_on_a_slow_machine(ready_after: float) -> None:
    """Of pods that need long the first scrape comes after they are Ready: no news to tell."""
    shop = Shop()
    await shop.serve("v1", rollout=ROLLOUT)
    start_slowly(shop, "v2", ready_after)
    shop.publish("v2")
    before, began = shop.cluster.count_writes(), shop.cluster.time
    written = StatusWrites(shop)
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 600)
    took = shop.cluster.time - began
    await shop.harness.advance(20)
    written_children = shop.cluster.count_writes() - before
    del written_children["apply_status", "modeldeployments"]
    assert written_children == {
        ("apply_new", "deployments"): len(["one pod"]),
        ("apply", "deployments"): len(["three pods", "stable's pods go"]),
        ("apply", "services"): len(["to both versions", "to the new one"]),
    }
    assert written.telling == len(["begun", "step 1", "step 2", "promoted"])
    assert written.renewing <= took / DURING_ROLLOUT
    assert shop.outcomes == ["v1 Promoted", "v2 Promoted"]


async def test_a_new_pod_that_stays_unscraped_is_told_after_some_rounds() -> None:
    shop = Shop(scrape=20.0)
    await shop.serve("v1", rollout=ROLLOUT, metrics={"scrape": {"interval": "1s"}})
    start_slowly(shop, "v2", 1.0)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    shop.harness.tickers = []
    await shop.harness.advance(12)
    shop.harness.queue.add(KEY)
    await shop.harness.settle()
    assert shop.condition("DataAvailable") == "Unknown"
    await shop.harness.advance(2)
    shop.harness.queue.add(KEY)
    await shop.harness.settle()
    assert shop.reason("DataAvailable") == "Waiting"


def seen(verdict: str, **more: Json) -> Json:
    """Return a status while v2 is judged, as one operator sees it."""
    gate = {"name": "errors", "verdict": verdict, "reason": "BackendDown"}
    conditions = [{"type": "DataAvailable", "status": "False", "reason": verdict}]
    return {"rollout": {"phase": "Stepping"}, "gates": [gate], "conditions": conditions, **more}


def test_what_two_operators_see_otherwise_is_not_written_in_turns() -> None:
    ours, theirs, now = seen("NoData"), seen("Pass"), datetime(2026, 1, 1, tzinfo=UTC)
    written = now - timedelta(seconds=1)
    assert not is_deployment_worth_writing(theirs, ours, written, now)
    assert is_deployment_worth_writing(theirs, ours, now - AS_SEEN, now)
    assert is_deployment_worth_writing(theirs, ours, None, now)
    decided = seen("NoData", candidate={"version": "v3"})
    assert is_deployment_worth_writing(theirs, decided, written, now)


def test_numbers_are_written_soon_after_a_clock_that_was_ahead_is_put_right() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old, new = ({"budget": {"looks": looks}} for looks in (1, 2))
    assert is_policy_worth_writing(old, new, now + timedelta(days=1), now)
    assert not is_policy_worth_writing(old, new, now - timedelta(minutes=1), now)


@pytest.mark.parametrize("number", ["value", "lower", "upper", "labelled"])
def test_figures_of_a_window_are_no_news(number: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old, new = ({"signals": [{"verdict": "Stable", number: figure}]} for figure in (0.5, 0.6))
    assert not is_policy_worth_writing(old, new, now - timedelta(minutes=1), now)
    assert is_policy_worth_writing(old, new, now - timedelta(minutes=5), now)
