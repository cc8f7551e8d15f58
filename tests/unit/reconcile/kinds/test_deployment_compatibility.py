"""No version serves of which nobody knows whether it accepts what stable accepts."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from tests.unit.reconcile.worlds import KEY, Shop, digest_of, version_object

from trimtab.api.meta import API_VERSION
from trimtab.cluster.port import DRIFT_POLICIES, MODEL_VERSIONS, Json, Key
from trimtab.contract.artifact import Tensor
from trimtab.reconcile.kinds.model_version import reconcile_model_version
from trimtab.simulation.store import documents_of
from trimtab.store.port import ArtifactBroken, Documents, StoreAway


class SmallStore:
    """Remembers few artifacts, as one of many lines does; v2 wants another type of `x`."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.known: OrderedDict[str, Documents] = OrderedDict()
        self.missing: Exception | None = None
        self.reads = 0

    async def documents(self, uri: str, digest: str) -> Documents:
        self.reads += 1
        if self.missing is not None:
            raise self.missing
        self.known[digest] = _documents(digest)
        while len(self.known) > self.kept:
            self.known.popitem(last=False)
        return self.known[digest]

    def cached(self, digest: str) -> Documents | None:
        return self.known.get(digest)


def _documents(digest: str) -> Documents:
    found = documents_of(digest)
    if digest != digest_of("v2"):
        return found
    retyped = found.signature.model_copy(
        update={"inputs": [Tensor(name="x", datatype="BYTES", shape=[])]}
    )
    return Documents(found.manifest, retyped, found.baseline)


def publish(shop: Shop, *versions: str) -> None:
    """Publish versions that the operator verifies itself."""
    for version in versions:
        obj = version_object(version)
        shop.cluster.user_apply({k: v for k, v in obj.items() if k != "status"})


async def serving(store: SmallStore) -> Shop:
    """Return a shop that serves v1, with versions that are verified by reading them."""
    shop = Shop()
    shop.harness.reconcilers = {
        **shop.harness.reconcilers,
        MODEL_VERSIONS: reconcile_model_version,
        DRIFT_POLICIES: _leave_alone,
    }
    shop.harness.make_store = lambda: store
    shop.harness.restart()
    publish(shop, "v1")
    await shop.serve("v1")
    return shop


async def _leave_alone(world: object, key: Key) -> None:
    """What a policy says is written by hand in these tests."""


def policy(version: str, do: str) -> Json:
    """Return a policy that asks for something since `version` lost quality."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DriftPolicy",
        "metadata": {"name": "digits", "namespace": "shop"},
        "spec": {
            "selector": {"deployments": ["digits"]},
            "signals": [{"kind": "quality", "floor": {"dropBy": "3%"}}],
            "actions": [{"signal": "quality", "do": [do]}],
        },
        "status": {
            "baselines": {"digits": digest_of(version)},
            "signals": [{"kind": "quality", "deployment": "digits", "verdict": "Drifting"}],
        },
    }


def forget(store: SmallStore, *versions: str) -> None:
    for version in versions:
        store.known.pop(digest_of(version), None)


@pytest.mark.parametrize("forgotten", [("v1",), ("v2",), ("v1", "v2")], ids=str)
async def test_an_incompatible_version_stays_out_whatever_was_forgotten(
    forgotten: tuple[str, ...],
) -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v2")
    await shop.harness.settle()
    forget(store, *forgotten)
    shop.want("v2")
    await shop.harness.advance(60)
    assert shop.reason("Progressing") == "IncompatibleSchema"
    assert shop.serving == "v1"
    assert "v2" not in shop.traffic.answered


@pytest.mark.parametrize("forgotten", [("v1",), ("v3",), ("v1", "v3")], ids=str)
async def test_a_compatible_version_is_tried_once_the_files_are_read_again(
    forgotten: tuple[str, ...],
) -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v3")
    await shop.harness.settle()
    forget(store, *forgotten)
    shop.want("v3")
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)


async def test_more_versions_than_are_remembered_hide_nothing() -> None:
    store = SmallStore(kept=2)
    shop = await serving(store)
    publish(shop, *(f"v{n}" for n in range(3, 9)), "v2")
    await shop.harness.settle()
    shop.want("v2")
    await shop.harness.advance(60)
    assert shop.reason("Progressing") == "IncompatibleSchema"
    shop.want("v3")
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)


@pytest.mark.parametrize(
    "missing", [StoreAway("timeout"), ArtifactBroken("manifest.json is missing")], ids=repr
)
async def test_while_the_store_is_away_it_waits_says_so_and_asks_seldom(missing: Exception) -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v3")
    await shop.harness.settle()
    forget(store, "v3")
    store.missing, store.reads = missing, 0
    shop.want("v3")
    await shop.harness.advance(120)
    assert shop.serving == "v1"
    assert shop.is_resting
    assert shop.reason("Progressing") == "StoreAway"
    assert "rollout.allowIncompatible" in shop.message("Progressing")
    assert 1 <= store.reads <= 8
    writes = len(shop.cluster.writes)
    await shop.harness.advance(300)
    assert len(shop.cluster.writes) == writes
    store.missing = None
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)


async def test_a_person_who_insists_does_not_wait() -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v2")
    await shop.harness.settle()
    forget(store, "v1", "v2")
    store.missing = StoreAway("timeout")
    shop.change(lambda spec: spec["rollout"].update(allowIncompatible=True))
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)


async def test_what_serves_is_compared_after_its_model_version_is_gone() -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v2")
    await shop.harness.settle()
    shop.cluster.user_delete(Key(MODEL_VERSIONS, "shop", "digits-v1"))
    forget(store, "v1")
    shop.want("v2")
    await shop.harness.advance(60)
    assert shop.reason("Progressing") == "IncompatibleSchema"


async def test_another_way_to_serve_the_same_artifact_needs_no_file() -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    before = shop.status.stable
    assert before is not None
    forget(store, "v1")
    store.missing = StoreAway("timeout")
    shop.change(lambda spec: spec.update(serving={"resources": {"requests": {"cpu": "2"}}}))
    await shop.harness.run_until(
        lambda: shop.status.stable is not None and shop.status.stable.revision != before.revision,
        300,
    )


async def test_a_rollout_under_way_does_not_depend_on_what_is_remembered() -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v3")
    await shop.harness.settle()
    shop.want("v3")
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    forget(store, "v1", "v3")
    store.missing = StoreAway("timeout")
    shop.harness.queue.add(KEY)
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)


async def test_a_policy_that_asks_for_the_way_back_is_heard_whatever_was_forgotten() -> None:
    store = SmallStore(kept=128)
    shop = await serving(store)
    publish(shop, "v3")
    shop.want("v3")
    await shop.harness.run_until(lambda: shop.serving == "v3", 300)
    forget(store, "v3")
    asking = policy("v3", "rollback")
    shop.cluster.user_apply({k: v for k, v in asking.items() if k != "status"})
    key = Key(DRIFT_POLICIES, "shop", "digits")
    shop.cluster.user_change(key, lambda obj: obj.update(status=asking["status"]))
    await shop.harness.run_until(lambda: shop.serving == "v1", 60)
