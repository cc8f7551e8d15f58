"""Nothing that lies in the store ends the operator, and only its own checkpoints count."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.loop_objects import DEPLOYMENT_KEY
from tests.unit.reconcile.kinds.policies import POLICY, QUALITY, PolicyShop, policy_object
from tests.unit.reconcile.machine.memory_objects import MemoryObjects

from trimtab.cluster.port import Json
from trimtab.reconcile.checkpoints import Checkpoints
from trimtab.reconcile.machine.observability import CHECKPOINTS_LEFT_ASIDE
from trimtab.store.port import CheckpointStore
from trimtab.store.sealed import SealedCheckpoints
from trimtab.telemetry.checkpoint import LIMIT_BYTES

SEED = b"s" * 32
DATA = {"kind": "data", "missing": "2%"}


async def always() -> None:
    return


def checkpoints(shop: PolicyShop, store: CheckpointStore) -> Checkpoints:
    return Checkpoints(shop.harness.world, store, leading=always)


def uid_of(shop: PolicyShop, key: Any = DEPLOYMENT_KEY) -> str:
    live = shop.cluster.get(key)
    assert live is not None
    return str(live["metadata"]["uid"])


async def saved(objects: MemoryObjects, *, sealed: bool) -> PolicyShop:
    """A shop whose counts and whose evidence of broken data are kept."""
    shop = PolicyShop()
    shop.feed = {"missing": 0.3}
    shop.apply(policy_object(QUALITY, DATA))
    await shop.harness.advance(200)
    await checkpoints(shop, SealedCheckpoints(objects, SEED) if sealed else objects).save_all()
    assert set(objects.objects) == {uid_of(shop), uid_of(shop, POLICY)}
    return shop


async def restored(shop: PolicyShop, store: CheckpointStore) -> tuple[bool, bool]:
    """Restart; return whether counts and evidence were taken up."""
    shop.harness.restart()
    await checkpoints(shop, store).restore_all()
    return shop.telemetry.windows("shop/digits") != (), POLICY in shop.harness.world.memory


def left_aside(why: str) -> float:
    return CHECKPOINTS_LEFT_ASIDE.labels(why)._value.get()


def changed(change: Callable[[Json], Any]) -> Callable[[bytes], bytes]:
    def of(raw: bytes) -> bytes:
        document = json.loads(gzip.decompress(raw))
        change(document)
        return gzip.compress(json.dumps(document).encode())

    return of


def text(raw: str | bytes) -> Callable[[bytes], bytes]:
    return lambda _: gzip.compress(raw.encode() if isinstance(raw, str) else raw)


def put(*path: str | int, value: Any) -> Callable[[bytes], bytes]:
    def change(document: Json) -> None:
        at: Any = document
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return changed(change)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no_gzip": gzip.decompress,
    "cut_off": lambda raw: raw[:-20],
    "a_bomb": lambda _: gzip.compress(bytes(LIMIT_BYTES + 1)),
    "a_bomb_of_lists": text("[" + "[]," * 5_000_000 + "[]]"),
    "nested_too_deep": text("[" * 200_000),
    "not_utf_8": text(b'{"version": "\xff"}'),
    "a_list": text("[]"),
    "a_number": text("1"),
    "null": text("null"),
    "another_version": put("version", value=99),
    "of_another_key": put("key", value="other/digits"),
    "a_key_that_is_missing": changed(lambda document: document.pop("windows")),
    "windows_of_no_length": put("seconds", value=0),
    "windows_of_nan": put("seconds", value=float("nan")),
    "windows_that_are_texts": put("windows", value=["x"]),
    "windows_that_are_a_text": put("windows", value="x"),
    "a_sample_beyond_time": put("processes", 0, "sampledAt", value=1e300),
    "a_sample_before_time": put("processes", 0, "sampledAt", value=-1e15),
    "a_window_beyond_time": put("windows", 0, "start", value=1e15),
    "a_count_of_400_digits": put("processes", 0, "values", 0, 1, value=10**400),
    "a_count_of_4000_digits": put("processes", 0, "values", 0, 1, value=10**4000),
    "an_infinite_count": put("processes", 0, "values", 0, 1, value=float("inf")),
    "a_count_that_makes_sums_infinite": put("processes", 0, "values", 0, 1, value=1.7e308),
    "a_count_that_is_a_text": put("processes", 0, "values", 0, 1, value="7"),
    "a_count_that_is_true": put("processes", 0, "values", 0, 1, value=True),
    "a_series_that_is_not_there": put("processes", 0, "values", 0, 0, value=10**6),
    "a_series_by_half": put("processes", 0, "values", 0, 0, value=0.5),
    "a_process_without_a_name": put("processes", 0, "process", value=None),
    "a_name_beyond_all_measure": put("processes", 0, "pod", value="x" * 100_000),
    "hours_without_end": put("hours", value={"kept": float("inf"), "booked": []}),
    "hours_beyond_time": put("hours", value={"kept": 10**30, "booked": []}),
    "hours_that_are_a_list": put("hours", value=[1]),
    "labels_that_are_numbers": put("series", 0, 1, value=[[1, 2]]),
    "a_table_that_is_a_number": put("series", value=3),
}


@pytest.mark.parametrize("break_it", BROKEN.values(), ids=list(BROKEN))
async def test_one_broken_checkpoint_ends_nothing(
    break_it: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=False)
    uid = uid_of(shop)
    objects.objects[uid] = break_it(objects.objects[uid])
    before = left_aside("broken")
    with caplog.at_level(logging.WARNING):
        assert await restored(shop, objects) == (False, True)
    assert caplog.text.count("is left aside, and counting begins anew") == 1
    assert "a bug" not in caplog.text
    assert left_aside("broken") == before + 1
    shop.find_pods()
    await shop.harness.advance(130)
    assert shop.telemetry.windows("shop/digits") != ()


EVIDENCE: dict[str, bytes] = {
    "nested_too_deep": b"[" * 200_000,
    "a_number_of_400_digits": b'{"version": 1' + b"0" * 400 + b"}",
    "infinite": b'{"version": Infinity}',
    "lists": b"[" + b"[]," * 1_000_000 + b"[]]",
    "targets_that_are_a_list": b'{"version": 1, "targets": [1]}',
    "a_target_that_is_a_text": b'{"version": 1, "targets": {"digits": "x"}}',
    "pairs_that_are_a_number": b'{"version":1,"targets":{"digits":{"pairs":1}}}',
    "not_utf_8": b"\xff\xff\xff",
}


@pytest.mark.parametrize("raw", EVIDENCE.values(), ids=list(EVIDENCE))
async def test_broken_evidence_ends_nothing(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=False)
    objects.objects[uid_of(shop, POLICY)] = raw
    with caplog.at_level(logging.WARNING):
        assert await restored(shop, objects) == (True, False)
    assert caplog.text.count("its evidence is left aside") == 1
    assert "a bug" not in caplog.text


async def test_an_object_of_a_store_that_fails_oddly_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=False)

    class Odd(MemoryObjects):
        async def load(self, name: str) -> bytes | None:
            if name == uid_of(shop):
                raise RuntimeError("an error of a library that nobody has met")
            return objects.objects[name]

    assert await restored(shop, Odd()) == (False, True)
    assert "a bug" in caplog.text


async def test_counts_that_cannot_be_written_end_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=False)
    keeper = checkpoints(shop, objects)
    await shop.harness.advance(5)
    kept = shop.telemetry.checkpoint("shop/digits")
    assert kept is not None
    place, counts = next(iter(kept.windows.windows.items()))
    endless = {place: dict.fromkeys(counts, float("inf"))}
    broken = replace(kept, windows=replace(kept.windows, windows=endless))
    monkeypatch.setattr(shop.telemetry, "checkpoint", lambda key: broken)
    await keeper.save_all()
    await keeper.save_all()
    assert caplog.text.count("cannot be written") == 1


# --- whose they are ------------------------------------------------------------------------------


async def test_a_sealed_checkpoint_is_taken_up() -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=True)
    assert await restored(shop, SealedCheckpoints(objects, SEED)) == (True, True)


def flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda raw, other: raw.split(b"\n", 2)[2], id="without_a_seal"),
        pytest.param(lambda raw, other: other, id="of_another_object"),
        pytest.param(lambda raw, other: flipped(raw), id="changed"),
        pytest.param(lambda raw, other: raw + b" ", id="longer"),
        pytest.param(lambda raw, other: raw[:60], id="cut_within_the_seal"),
        pytest.param(lambda raw, other: b"", id="empty"),
        pytest.param(
            lambda raw, other: raw.split(b"\n")[0] + b"\n\n" + raw.split(b"\n", 2)[2],
            id="an_empty_seal",
        ),
    ],
)
async def test_a_checkpoint_that_is_not_of_this_release_counts_for_nothing(
    forge: Callable[[bytes, bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=True)
    uid, other = uid_of(shop), uid_of(shop, POLICY)
    objects.objects[uid] = forge(objects.objects[uid], objects.objects[other])
    before = left_aside("not_authentic")
    with caplog.at_level(logging.WARNING):
        assert await restored(shop, SealedCheckpoints(objects, SEED)) == (False, True)
    assert caplog.text.count("its checkpoint is left aside") == 1
    assert left_aside("not_authentic") == before + 1


async def test_a_checkpoint_under_another_key_counts_for_nothing() -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=True)
    assert await restored(shop, SealedCheckpoints(objects, b"t" * 32)) == (False, False)


async def test_the_next_save_replaces_what_was_left_aside() -> None:
    objects = MemoryObjects()
    shop = await saved(objects, sealed=False)
    store = SealedCheckpoints(objects, SEED)
    assert await restored(shop, store) == (False, False)
    shop.find_pods()
    await shop.harness.advance(200)
    await checkpoints(shop, store).save_all()
    assert await restored(shop, store) == (True, True)
