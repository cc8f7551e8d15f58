"""A Deployment whose pods nobody scrapes gets on by itself: no scrape is needed to wake it."""

from __future__ import annotations

from tests.unit.reconcile.worlds import KEY, Shop, deployment_object

from trimtab.cluster.port import Json

SHORT: Json = {"strategy": "rolling", "deadline": "5m", "scaleDownDelay": "30s"}


def quiet_shop() -> Shop:
    """Return a shop without requests and without scrapes."""
    shop = Shop()
    shop.harness.tickers.clear()
    return shop


async def serve(shop: Shop, rollout: Json) -> None:
    shop.publish("v1", "v2")
    wanted = deployment_object("v1")
    wanted["spec"]["rollout"] = rollout
    shop.apply(wanted)
    await shop.harness.run_until(lambda: shop.serving == "v1" and shop.is_ready, 60)


async def test_the_old_pods_of_a_promotion_go_in_time() -> None:
    shop = quiet_shop()
    await serve(shop, SHORT)
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 60)
    assert sorted(shop.sizes().values()) == [3, 3]
    await shop.harness.advance(35)
    assert sorted(shop.sizes().values()) == [0, 3]


async def test_who_was_promoted_at_the_deadline_is_the_only_one_in_the_end() -> None:
    shop = quiet_shop()
    steps = [{"weight": "25%", "for": "10s"}]
    await serve(shop, {**SHORT, "strategy": "canary", "steps": steps, "onDeadline": "promote"})
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 400)
    await shop.harness.advance(35)
    assert sorted(shop.sizes().values()) == [0, 3]


async def test_what_nobody_could_judge_is_tried_again_in_time() -> None:
    shop = quiet_shop()
    steps = [{"weight": "25%", "for": "10s"}]
    await serve(shop, {**SHORT, "strategy": "canary", "steps": steps})
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.outcomes[-1] == "v2 Undecided", 400)
    await shop.harness.advance(65)
    assert not shop.is_resting
    passes = shop.harness.passes[KEY]
    await shop.harness.advance(4000)
    assert shop.outcomes.count("v2 Undecided") >= 5
    assert shop.harness.passes[KEY] - passes < 200


async def test_users_are_sent_to_stable_in_time_when_nobody_can_judge() -> None:
    shop = Shop()
    await shop.serve("v1", rollout={"steps": [{"weight": "25%", "for": "10m"}], "deadline": "1h"})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(5)
    assert shop.route is None
    shop.harness.tickers.clear()
    await shop.harness.advance(240)
    assert "DataUnavailable" in shop.events()
    assert shop.status.stable is not None
    assert shop.route == shop.status.stable.revision
    passes = shop.harness.passes[KEY]
    await shop.harness.advance(600)
    assert shop.harness.passes[KEY] - passes <= 20
