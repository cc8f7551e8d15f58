"""The Secrets that pods mount: somebody deletes them, nobody may read them, pods wait for them."""

from __future__ import annotations

from tests.unit.reconcile.worlds import Shop, deployment_object

from trimtab.cluster.port import PODS, SECRETS, Key
from trimtab.errors import Refused
from trimtab.simulation.kubelet import PodBehaviour


def secret_names(shop: Shop) -> list[str]:
    return [secret["metadata"]["name"] for secret in shop.cluster.find(SECRETS, "shop")]


def delete_secrets(shop: Shop) -> None:
    for name in secret_names(shop):
        shop.cluster.user_delete(Key(SECRETS, "shop", name))


def size(shop: Shop, replicas: int) -> None:
    shop.change(lambda spec: spec.update(replicas=replicas))


async def serving_shop() -> Shop:
    shop = Shop()
    await shop.serve("v1")
    assert len(secret_names(shop)) == 2
    return shop


async def test_a_new_version_finds_the_secrets_that_somebody_deleted() -> None:
    shop = await serving_shop()
    before = secret_names(shop)
    delete_secrets(shop)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert secret_names(shop) == before
    assert shop.events().count("ConfigurationRepaired") == 1


async def test_a_pod_that_waits_for_a_deleted_secret_gets_one() -> None:
    shop = await serving_shop()
    delete_secrets(shop)
    (first, *_) = shop.cluster.find(PODS, "shop")
    shop.cluster.user_delete(Key(PODS, "shop", first["metadata"]["name"]))
    await shop.harness.advance(5)
    assert shop.message("Degraded") == "" or "2/3" in shop.message("Degraded")
    await shop.harness.advance(25)
    assert shop.status.summary.ready == "3/3"
    told = [e.message for e in shop.cluster.events if e.reason == "ConfigurationRepaired"]
    assert len(told) == 1
    assert "Secret digits-token-" in told[0]


async def test_it_is_made_again_as_often_as_it_is_deleted() -> None:
    shop = await serving_shop()
    for replicas in (4, 5, 6):
        delete_secrets(shop)
        size(shop, replicas)
        await shop.harness.advance(90)
        assert shop.status.summary.ready == f"{replicas}/{replicas}"


async def test_without_scrapes_too() -> None:
    shop = await serving_shop()
    shop.harness.tickers.clear()
    delete_secrets(shop)
    size(shop, 5)
    await shop.harness.advance(60)
    assert len([s for s in secret_names(shop) if "token" in s]) == 1


async def test_pods_that_take_long_to_begin_cost_few_requests() -> None:
    shop = await serving_shop()
    shop.harness.kubelet.behave = lambda pod: PodBehaviour(mounted=False)
    size(shop, 4)
    before = len(shop.cluster.writes)
    await shop.harness.advance(600)
    tries = [w for w in shop.cluster.writes[before:] if w.key.resource == SECRETS]
    assert 2 <= len(tries) <= 2 * 11


async def test_secrets_that_are_there_are_not_asked_for_again() -> None:
    shop = await serving_shop()
    before = len(shop.cluster.writes)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(60)
    tries = [w for w in shop.cluster.writes[before:] if w.key.resource == SECRETS]
    assert tries == []
    assert "ConfigurationRepaired" not in shop.events()


async def test_a_namespace_with_no_room_for_another_secret_holds_up_no_rollout() -> None:
    """A quota is asked before anybody looks whether the Secret is there already."""
    shop = await serving_shop()
    shop.cluster.fault = lambda verb, key: (
        Refused("exceeded quota: secrets") if (verb, key.resource) == ("create", SECRETS) else None
    )
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert shop.condition("Stalled") != "True"


async def test_the_first_version_says_that_its_secret_is_refused() -> None:
    shop = Shop()
    shop.cluster.fault = lambda verb, key: (
        Refused("exceeded quota: secrets") if (verb, key.resource) == ("create", SECRETS) else None
    )
    shop.publish("v1")
    shop.apply(deployment_object("v1"))
    await shop.harness.advance(10)
    assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "WriteRefused")
