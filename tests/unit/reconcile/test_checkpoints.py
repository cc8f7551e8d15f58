"""A successor goes on counting where the leader before it ended."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from tests.unit.loop_objects import DEPLOYMENT_KEY
from tests.unit.reconcile.kinds.policies import POLICY, QUALITY, PolicyShop, policy_object
from tests.unit.reconcile.machine.memory_objects import MemoryObjects

from trimtab.api.drift_policy import SignalStatus
from trimtab.cluster.port import Json
from trimtab.reconcile.checkpoints import Checkpoints

SIGNALS: list[Json] = [{"kind": "inputs", "tolerance": 0.02}, QUALITY]


async def always() -> None:
    return


def checkpoints(shop: PolicyShop, store: MemoryObjects | None) -> Checkpoints:
    return Checkpoints(shop.harness.world, store, leading=always)


async def restarted(shop: PolicyShop, store: MemoryObjects | None) -> None:
    shop.harness.restart()
    await checkpoints(shop, store).restore_all()
    shop.find_pods()


def policy() -> Json:
    return policy_object(*SIGNALS)


async def judged(shop: PolicyShop, seconds: float) -> list[SignalStatus]:
    """What was decided last; the status is written with new numbers now and then only."""
    await shop.harness.advance(seconds)
    found: list[SignalStatus] = shop.harness.world.memory[POLICY].decided.signals
    return found


async def undisturbed() -> list[SignalStatus]:
    shop = PolicyShop()
    shop.apply(policy())
    return await judged(shop, 190)


async def test_an_end_in_the_middle_of_a_window_changes_no_verdict() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(150)
    await checkpoints(shop, store).save_all()
    await restarted(shop, store)
    found = await judged(shop, 40)
    assert found == await undisturbed()
    assert [entry.n for entry in found] == [3000, 3000]


async def test_a_kill_after_the_last_save_loses_nothing_that_the_pods_still_show() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(130)
    await checkpoints(shop, store).save_all()
    await shop.harness.advance(20)
    await restarted(shop, store)
    assert await judged(shop, 40) == await undisturbed()


async def test_what_was_counted_over_the_end_of_a_window_is_in_neither() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(170)
    await checkpoints(shop, store).save_all()
    shop.harness.tickers[0].due += timedelta(seconds=20)
    await shop.harness.advance(15)
    await restarted(shop, store)
    found = {entry.kind: entry for entry in await judged(shop, 5)}
    assert found["inputs"].n == 2750  # to the last save, 10 s before its end
    next_one = {entry.kind: entry for entry in await judged(shop, 55)}
    assert next_one["inputs"].n == 2000  # from the second sample after the start on


async def test_without_a_store_an_open_window_begins_anew() -> None:
    shop = PolicyShop()
    shop.apply(policy())
    await shop.harness.advance(150)
    await restarted(shop, None)
    found = {entry.kind: entry for entry in await judged(shop, 40)}
    whole = {entry.kind: entry for entry in await undisturbed()}
    assert found["inputs"].n < whole["inputs"].n


async def test_the_same_counts_are_not_written_again() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(30)
    keeper = checkpoints(shop, store)
    await keeper.save_all()
    await keeper.save_all()
    assert store.writes == 1
    await shop.harness.advance(5)
    await keeper.save_all()
    assert store.writes == 2


async def test_nothing_is_kept_of_a_deployment_that_nobody_watches() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    await shop.harness.advance(30)
    await checkpoints(shop, store).save_all()
    assert store.objects == {}


async def test_another_deployment_of_the_same_name_takes_nothing_up() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(150)
    await checkpoints(shop, store).save_all()
    old = shop.cluster.get(DEPLOYMENT_KEY)
    assert old is not None
    assert list(store.objects) == [old["metadata"]["uid"]]
    store.objects = {"another": next(iter(store.objects.values()))}
    await restarted(shop, store)
    assert shop.telemetry.windows("shop/digits") == ()


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"", "is left aside"), (b"\x1f\x8b broken", "is left aside"), (b"{}", "is left aside")],
)
async def test_a_broken_checkpoint_is_left_aside_and_said(
    raw: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(150)
    await checkpoints(shop, store).save_all()
    store.objects = dict.fromkeys(store.objects, raw)
    with caplog.at_level(logging.WARNING):
        await restarted(shop, store)
    assert said in caplog.text
    assert shop.telemetry.windows("shop/digits") == ()


async def test_a_store_that_is_away_is_said_once_and_again_when_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(30)
    keeper = checkpoints(shop, store)
    store.is_away = True
    with caplog.at_level(logging.INFO):
        await keeper.save_all()
        await keeper.save_all()
        assert caplog.text.count("cannot be written") == 1
        store.is_away = False
        await keeper.save_all()
    assert caplog.text.count("written again") == 1
    assert store.writes == 1


async def test_a_store_that_hangs_holds_up_neither_start_nor_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.reconcile.checkpoints.SAVE_WITHIN_SECONDS", 0.01)
    monkeypatch.setattr("trimtab.reconcile.checkpoints.RESTORE_WITHIN_SECONDS", 0.01)
    shop, store = PolicyShop(), MemoryObjects()
    shop.apply(policy())
    await shop.harness.advance(30)
    store.is_stuck = True
    await checkpoints(shop, store).save_all()
    await restarted(shop, store)
    assert "were not written within" in caplog.text
    assert "were not read within" in caplog.text


DATA = {"kind": "data", "missing": "2%"}


async def test_broken_data_stay_broken_over_a_restart() -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.feed = {"missing": 0.3}
    shop.apply(policy_object(QUALITY, DATA))
    await shop.harness.advance(200)
    assert shop.verdict("data") == "Drifting"
    await checkpoints(shop, store).save_all()
    assert len(store.objects) == 2
    await restarted(shop, store)
    for seconds in (0, 5, 5, 5):
        found = {entry.kind: entry.verdict for entry in await judged(shop, seconds)}
        assert found["data"] == "Drifting"
    assert "DriftCleared" not in shop.events()


async def test_broken_data_without_a_checkpoint_are_found_anew() -> None:
    shop = PolicyShop()
    shop.feed = {"missing": 0.3}
    shop.apply(policy_object(QUALITY, DATA))
    await shop.harness.advance(200)
    await restarted(shop, None)
    found = {entry.kind: entry.verdict for entry in await judged(shop, 0)}
    assert found["data"] == "NoData"


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"version": 2, "targets": {}}', b'{"version": 1}'])
async def test_broken_evidence_is_left_aside_and_said(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shop, store = PolicyShop(), MemoryObjects()
    shop.feed = {"missing": 0.3}
    shop.apply(policy_object(QUALITY, DATA))
    await shop.harness.advance(200)
    await checkpoints(shop, store).save_all()
    policy_uid = next(iter(shop.harness.world.cache.keys(POLICY.resource).values()))
    store.objects[policy_uid] = raw
    with caplog.at_level(logging.WARNING):
        await restarted(shop, store)
    assert "its evidence is left aside" in caplog.text
