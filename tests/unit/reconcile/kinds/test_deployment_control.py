"""The control beside a promoted version, through passes and children of the simulated cluster."""

from __future__ import annotations

from tests.unit.reconcile.worlds import Shop

from trimtab.cluster.port import PODS, SERVICES
from trimtab.simulation.cluster import ready_pods
from trimtab.simulation.traffic import Behaviour

BRIEF = {"rollbackWithin": "10m"}


def in_traffic(shop: Shop) -> dict[str, int]:
    """Return how many pods of each version get requests."""
    service = shop.cluster.get(shop.traffic.deployment._replace(resource=SERVICES))
    assert service is not None
    found: dict[str, int] = {}
    for pod in ready_pods(shop.cluster, service):
        version = pod["metadata"]["labels"]["trimtab.dev/version"]
        found[version] = found.get(version, 0) + 1
    return found


async def promoted(shop: Shop, **spec: object) -> None:
    """Serve v2 after v1, with v1's control beside it."""
    await shop.serve("v1", replicas=4, **spec)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.settle()
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)
    await shop.harness.run_until(lambda: in_traffic(shop) == {"v2": 4, "v1": 1}, 120)


async def test_one_old_pod_serves_beside_the_new_ones_for_a_while() -> None:
    shop = Shop()
    await promoted(shop, guard=BRIEF)
    assert shop.traffic.lost == 0
    await shop.harness.advance(480)
    assert in_traffic(shop) == {"v2": 4, "v1": 1}
    await shop.harness.advance(100)
    assert in_traffic(shop) == {"v2": 4}
    assert shop.status.guard is not None
    assert shop.status.guard.control_since is None
    assert shop.traffic.lost == 0


async def test_what_happens_to_both_takes_nothing_back() -> None:
    shop = Shop()
    await promoted(shop, guard=BRIEF)
    await shop.harness.advance(120)
    for version in ("v1", "v2"):
        shop.behaviour[version] = Behaviour(errors=0.1)
    await shop.harness.advance(900)
    assert shop.serving == "v2"
    assert shop.reason("Degraded") != "GuardBreached"
    assert shop.status.rejected == []


async def test_what_happens_to_the_new_one_alone_takes_it_back() -> None:
    shop = Shop()
    await promoted(shop)
    await shop.harness.advance(120)
    shop.behaviour["v2"] = Behaviour(errors=0.1)
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    assert shop.status.rejected[0].reason == "GuardBreached"
    assert "of v1 beside it" in shop.status.rejected[0].evidence
    assert shop.traffic.lost == 0


async def test_a_restart_of_the_operator_takes_nothing_back() -> None:
    shop = Shop()
    await promoted(shop)
    for version in ("v1", "v2"):
        shop.behaviour[version] = Behaviour(errors=0.1)
    await shop.harness.advance(60)
    shop.harness.restart()
    await shop.harness.advance(120)
    assert (shop.serving, in_traffic(shop)) == ("v2", {"v2": 4, "v1": 1})
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)


async def test_a_newer_version_is_tried_without_the_control() -> None:
    shop = Shop()
    await promoted(shop)
    shop.publish("v3")
    shop.want("v3")
    await shop.harness.run_until(lambda: "v3" in in_traffic(shop), 120)
    assert "v1" not in in_traffic(shop)
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)
    await shop.harness.run_until(lambda: in_traffic(shop) == {"v3": 4, "v2": 1}, 120)
    assert shop.traffic.lost == 0


async def test_a_control_that_dies_is_replaced_and_loses_nothing() -> None:
    shop = Shop()
    await promoted(shop)
    await shop.harness.advance(60)
    service = shop.cluster.get(shop.traffic.deployment._replace(resource=SERVICES))
    assert service is not None
    (control,) = (
        pod
        for pod in ready_pods(shop.cluster, service)
        if pod["metadata"]["labels"]["trimtab.dev/version"] == "v1"
    )
    shop.cluster.user_delete(
        shop.traffic.deployment._replace(resource=PODS, name=control["metadata"]["name"])
    )
    await shop.harness.run_until(lambda: in_traffic(shop) == {"v2": 4, "v1": 1}, 120)
    assert shop.serving == "v2"
    assert shop.traffic.lost == 0
