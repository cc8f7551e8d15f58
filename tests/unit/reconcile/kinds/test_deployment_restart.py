"""A rollout whose operator is killed: with a checkpoint it goes on, without one it begins anew."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.unit.reconcile.machine.memory_objects import MemoryObjects
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.decide.rollout.saved import decode
from trimtab.reconcile.checkpoints import Checkpoints
from trimtab.reconcile.kinds.deployment import kept_of
from trimtab.reconcile.kinds.gate_evidence import object_name
from trimtab.simulation.traffic import Behaviour
from trimtab.store.sealed import SealedCheckpoints

LONG_STEPS = [{"weight": "25%", "for": "10m"}]
FAULT = Behaviour(errors=0.03)
SEED = b"s" * 32


async def always() -> None:
    return


class Life:
    """One operator process after another, with one store of checkpoints."""

    def __init__(self, shop: Shop, store: Any) -> None:
        self.shop, self.store = shop, store
        self.keeper = self._keeper()

    def _keeper(self) -> Checkpoints:
        return Checkpoints(self.shop.harness.world, self.store, leading=always)

    async def save(self) -> None:
        await self.keeper.save_all()

    async def restart(self) -> None:
        self.shop.harness.restart()
        self.keeper = self._keeper()
        await self.keeper.restore_all()

    def uid(self) -> str:
        return str(self.shop.live["metadata"]["uid"])

    def name(self) -> str:
        return object_name(self.uid())


async def trial(replicas: int = 3, fault: Behaviour = FAULT, **shop: Any) -> Life:
    """Return a shop in the first step of v2."""
    found = Shop(**shop)
    rollout = {"steps": LONG_STEPS, "deadline": "1h"}
    await found.serve("v1", replicas=replicas, rollout=rollout)
    found.behaviour["v2"] = fault
    found.publish("v2")
    found.want("v2")
    await found.harness.run_until(lambda: "StepReached" in found.events(), 120)
    return Life(found, MemoryObjects())


async def requests_until_rolled_back(life: Life) -> float:
    shop = life.shop
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 900)
    assert shop.status.rejected[0].reason == "GateFailed"
    return shop.traffic.answered["v2"]


def lost(shop: Shop) -> int | None:
    rollout = shop.status.rollout
    assert rollout is not None
    assert rollout.step is not None
    return rollout.step.lost


@pytest.mark.parametrize("replicas", [3, 45], ids=["few", "many"])
async def test_a_kill_in_the_middle_costs_no_request_with_a_checkpoint(replicas: int) -> None:
    undisturbed = await requests_until_rolled_back(await trial(replicas))
    life = await trial(replicas)
    await life.shop.harness.advance(8)
    assert "v2 RolledBack" not in life.shop.outcomes
    await life.save()
    await life.shop.harness.advance(3)
    await life.restart()
    assert await requests_until_rolled_back(life) <= undisturbed


async def test_without_a_checkpoint_many_begin_anew_and_fail_later() -> None:
    undisturbed = await requests_until_rolled_back(await trial(45, rate=675.0))
    life = await trial(45, rate=675.0)
    await life.shop.harness.advance(2)
    await life.restart()
    await life.shop.harness.advance(2)
    assert lost(life.shop) == 1
    assert await requests_until_rolled_back(life) > undisturbed


async def test_many_with_a_checkpoint_have_lost_nothing() -> None:
    life = await trial(45, Behaviour(errors=0.001), rate=300.0)
    await life.shop.harness.advance(10)
    await life.save()
    await life.restart()
    await life.shop.harness.advance(10)
    assert lost(life.shop) == 0


async def test_what_gates_compare_goes_on_to_the_request() -> None:
    """Requests that gates count after a restart are those that the candidate answered."""
    life = await trial(45, Behaviour(errors=0.001), rate=300.0)
    shop = life.shop
    for _ in range(5):
        await shop.harness.advance(7)
        await life.save()
        await shop.harness.advance(4)
        await life.restart()
        await shop.harness.advance(4)
    kept = kept_of(shop.harness.world, KEY)
    assert kept is not None
    assert kept.memory.step is not None
    gate = kept.memory.step.gates["errors"]
    counted = sum(count.total for count in gate.last[0].values())
    assert gate.strata.compared()[0].total <= counted
    assert gate.strata.compared()[0].total >= 0.97 * counted
    assert counted <= shop.traffic.answered["v2"]


# --- stores that fail, and others' objects --------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["none", "broken", "forged", "of_another", "stale", "away", "stuck"]
)
async def test_whatever_the_store_has_the_rollout_goes_on(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trimtab.reconcile.checkpoints.SAVE_WITHIN_SECONDS", 0.05)
    monkeypatch.setattr("trimtab.reconcile.checkpoints.RESTORE_WITHIN_SECONDS", 0.05)
    life = await trial(45, Behaviour(errors=0.001), rate=300.0)
    objects = life.store
    life.store = SealedCheckpoints(objects, SEED)
    life.keeper = Checkpoints(life.shop.harness.world, life.store, leading=always)
    await life.shop.harness.advance(10)
    await life.save()
    raw = objects.objects[life.name()]
    if how == "none":
        objects.objects.clear()
    elif how == "broken":
        objects.objects[life.name()] = raw[:-30]
    elif how == "forged":
        objects.objects[life.name()] = raw.split(b"\n", 2)[2]
    elif how == "of_another":
        other = SealedCheckpoints(objects, SEED)
        await other.save("other-gates", lambda: raw.split(b"\n", 2)[2])
        objects.objects[life.name()] = objects.objects["other-gates"]
    elif how == "stale":
        objects.is_away = True
        await life.shop.harness.advance(40)
        monkeypatch.setattr(
            "trimtab.reconcile.kinds.gate_evidence.STALE_AFTER", timedelta(seconds=30)
        )
        objects.is_away = False
    objects.is_away, objects.is_stuck = how == "away", how == "stuck"
    with caplog.at_level(logging.WARNING):
        await life.restart()
    await life.shop.harness.advance(3)
    assert lost(life.shop) == 1
    assert (how == "none") == (caplog.text == "")
    life.shop.behaviour["v2"] = Behaviour(errors=0.3)
    await life.shop.harness.run_until(lambda: "v2 RolledBack" in life.shop.outcomes, 60)


async def test_a_store_that_takes_nothing_holds_up_no_rollout() -> None:
    life = await trial(3, Behaviour(errors=0.001))
    life.store.is_away = True
    for _ in range(25):
        await life.shop.harness.advance(30)
        await life.save()
    await life.shop.harness.run_until(lambda: life.shop.serving == "v2", 300)


async def test_a_deployment_that_was_made_again_takes_up_nothing() -> None:
    life = await trial(3, Behaviour(errors=0.001))
    await life.shop.harness.advance(10)
    await life.save()
    raw = life.store.objects[life.name()]
    with pytest.raises(ValueError, match="it is of"):
        decode(raw, "another")


async def test_only_what_has_changed_is_written() -> None:
    life = await trial(3, Behaviour(errors=0.001))
    await life.shop.harness.advance(10)
    await life.save()
    await life.save()
    assert life.store.writes == 1
    await life.shop.harness.advance(5)
    await life.save()
    assert life.store.writes == 2


async def test_what_was_not_looked_at_since_a_restart_keeps_its_age() -> None:
    life = await trial(3, Behaviour(errors=0.001))
    await life.shop.harness.advance(10)
    await life.save()
    before = life.store.objects[life.name()]
    await life.restart()
    scrapes, life.shop.harness.tickers = life.shop.harness.tickers, []
    await life.shop.harness.advance(60)
    await life.save()
    assert life.store.objects[life.name()] == before
    life.shop.harness.tickers = scrapes
    await life.shop.harness.advance(5)
    await life.save()
    assert life.store.objects[life.name()] != before


# --- at rest --------------------------------------------------------------------------------------


async def test_at_rest_it_is_written_every_five_minutes_and_at_an_end() -> None:
    shop = Shop()
    life = Life(shop, MemoryObjects())
    await shop.serve("v1", guard={"for": "1m"})
    await shop.harness.advance(90)  # the guard is over
    runner = Checkpoints(shop.harness.world, life.store, leading=always, every_seconds=0.0)

    async def save_now_and_then() -> None:
        task = asyncio.create_task(runner.run())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()

    await save_now_and_then()
    assert life.store.writes == 1
    await shop.harness.advance(200)
    await save_now_and_then()
    assert life.store.writes == 1
    await shop.harness.advance(110)
    await save_now_and_then()
    assert life.store.writes == 2
    await shop.harness.advance(5)
    await runner.save_all()
    assert life.store.writes == 3


@pytest.mark.parametrize("is_stale", [False, True])
async def test_how_much_pods_differ_is_taken_up_and_the_hours_of_an_old_one(
    is_stale: bool,
) -> None:
    shop = Shop()
    life = Life(shop, MemoryObjects())
    await shop.serve("v1")
    await shop.harness.advance(120)
    await life.save()
    before = kept_of(shop.harness.world, KEY)
    assert before is not None
    if is_stale:
        shop.cluster.time += timedelta(minutes=11)
    await life.restart()
    found = kept_of(shop.harness.world, KEY)
    assert found is not None
    old, new = (kept.memory.habits["errors"] for kept in (before, found))
    assert new.hours == old.hours != {}
    assert new.last == {}
    assert (new.since, new.ended) == ((None, {}) if is_stale else (old.since, old.ended))


async def test_a_clock_far_behind_takes_nothing_up() -> None:
    life = await trial(3, Behaviour(errors=0.001))
    await life.shop.harness.advance(10)
    await life.save()
    life.shop.cluster.time -= timedelta(minutes=2)
    await life.restart()
    assert kept_of(life.shop.harness.world, KEY) is None


# --- healthy versions -----------------------------------------------------------------------------


def clustered(life: Life, seed: int) -> None:
    """Now and then all of a pod's requests of a second fail, whichever version it is of."""
    random = np.random.default_rng(seed)
    life.shop.traffic.behave = lambda version: Behaviour(errors=float(random.random() < 0.02))


@pytest.mark.parametrize("seed", range(2))
async def test_a_healthy_version_in_clustered_traffic_with_a_restart_every_minute(
    seed: int,
) -> None:
    shop = Shop(seed=seed, rate=40.0)
    life = Life(shop, MemoryObjects())
    clustered(life, seed)
    rollout = {"steps": LONG_STEPS, "deadline": "1h"}
    await shop.serve("v1", replicas=4, rollout=rollout)
    await shop.harness.advance(900)  # the operator learns how much pods differ
    shop.publish("v2")
    shop.want("v2")
    for _ in range(16):
        await shop.harness.advance(30)
        await life.save()
        await shop.harness.advance(30)
        await life.restart()
    await shop.harness.advance(60)
    assert shop.status.rejected == []
    assert shop.serving == "v2"
