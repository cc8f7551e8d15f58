"""What has the name of a child and is not ours is left alone, whoever had it first."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.reconcile.worlds import KEY, Shop, deployment_object

from trimtab.api.deployment import Deployment
from trimtab.api.meta import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, MANAGER, REVISION_LABEL
from trimtab.build.names import token_secret_name
from trimtab.cluster.port import DEPLOYMENTS, SECRETS, SERVICES, WORKLOADS, Json, Key
from trimtab.errors import Conflict

OURS = {MANAGED_BY_LABEL: MANAGER, DEPLOYMENT_LABEL: "digits"}
SERVICE = Key(SERVICES, "shop", "digits")
METRICS = Key(SERVICES, "shop", "digits-metrics")


def service(name: str = "digits", **metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {"selector": {"app": "payments"}, "ports": [{"name": "https", "port": 443}]},
    }


def workload(name: str, **metadata: Any) -> Json:
    labels = {"app": "payments"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {
            "replicas": 7,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "payments:1"}]},
            },
        },
    }


def controlled_by(uid: str, name: str = "other") -> list[Json]:
    reference = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "Deployment", "controller": True}
    return [reference | {"name": name, "uid": uid}]


FOREIGN: dict[str, Json] = {
    "a_plain_one": {},
    "labelled_as_ours": {"labels": OURS},
    "labelled_as_ours_and_of_another": {"labels": OURS, "ownerReferences": controlled_by("u-1")},
    "of_another_of_our_name": {"ownerReferences": controlled_by("u-1", "digits")},
}


def wanted_of(shop: Shop, key: Key) -> Json:
    """What its owner wants of an object: all but its status, which the kubelet writes."""
    live = shop.cluster.get(key)
    assert live is not None
    metadata = {k: v for k, v in live["metadata"].items() if k != "resourceVersion"}
    return {"metadata": metadata, "spec": live["spec"]}


def made_of(shop: Shop) -> list[str]:
    """What the operator has made or changed but for status: kind and name."""
    return [
        f"{write.key.resource.kind} {write.key.name}"
        for write in shop.cluster.writes
        if write.verb != "apply_status" and write.changed
    ]


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=list(FOREIGN))
@pytest.mark.parametrize("name", ["digits", "digits-metrics"])
async def test_a_service_of_another_is_not_touched_and_nothing_starts(
    name: str, metadata: Json
) -> None:
    shop, key = Shop(), Key(SERVICES, "shop", name)
    shop.cluster.user_apply(service(name, **metadata))
    before = wanted_of(shop, key)
    shop.publish("v1")
    shop.apply(deployment_object("v1"))
    await shop.harness.advance(700)  # past the deadline of a rollout
    assert wanted_of(shop, key) == before
    assert made_of(shop) == []
    assert (shop.condition("Ready"), shop.reason("Ready")) == ("False", "NameTaken")
    assert f"Service {name} exists and" in shop.message("Ready")
    assert "rename the Deployment digits, or remove that Service" in shop.message("Ready")
    assert shop.status.rejected == []
    shop.cluster.user_delete(KEY)
    await shop.harness.advance(5)
    assert wanted_of(shop, key) == before


async def test_it_starts_by_itself_when_the_name_is_free() -> None:
    shop = Shop()
    shop.cluster.user_apply(service())
    shop.publish("v1")
    shop.apply(deployment_object("v1"))
    await shop.harness.advance(60)
    shop.cluster.user_delete(SERVICE)
    await shop.harness.run_until(lambda: shop.serving == "v1" and shop.is_ready, 120)
    assert shop.reason("Ready") == "Serving"


async def test_the_service_of_the_api_server_stays() -> None:
    shop = Shop()
    kubernetes = service("kubernetes")
    shop.cluster.user_apply(kubernetes)
    before = wanted_of(shop, Key(SERVICES, "shop", "kubernetes"))
    shop.publish("v1")
    wanted = deployment_object("v1")
    wanted["metadata"]["name"] = "kubernetes"
    shop.apply(wanted)
    await shop.harness.advance(60)
    shop.cluster.user_delete(Key(DEPLOYMENTS, "shop", "kubernetes"))
    await shop.harness.advance(5)
    assert wanted_of(shop, Key(SERVICES, "shop", "kubernetes")) == before


@pytest.mark.parametrize("first", ["digits", "digits-metrics"])
async def test_two_deployments_whose_names_meet_do_not_fight(first: str) -> None:
    shop = Shop()
    shop.publish("v1")
    second = ({"digits", "digits-metrics"} - {first}).pop()
    for name in (first, second):
        wanted = deployment_object("v1")
        wanted["metadata"]["name"] = name
        shop.apply(wanted)
        await shop.harness.advance(30)
    before = wanted_of(shop, METRICS)
    writes = len(shop.cluster.writes)
    await shop.harness.advance(300)
    assert wanted_of(shop, METRICS) == before
    assert before["metadata"]["ownerReferences"][0]["name"] == first
    assert len(shop.cluster.writes) - writes < 5
    live = shop.cluster.get(Key(DEPLOYMENTS, "shop", second))
    assert live is not None
    ready = next(c for c in live["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NameTaken")
    assert f"Service digits-metrics exists and belongs to Deployment {first}" in ready["message"]


def named(name: str) -> Json:
    wanted = deployment_object("v1")
    wanted["metadata"]["name"] = name
    return wanted


def ready_of(shop: Shop, name: str) -> tuple[str, str]:
    live = shop.cluster.get(Key(DEPLOYMENTS, "shop", name))
    assert live is not None
    ready = next(c for c in live["status"]["conditions"] if c["type"] == "Ready")
    return ready["status"], ready["reason"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_two_deployments_whose_names_meet_at_once_one_serves_and_one_says_why(
    restarted: bool,
) -> None:
    shop = Shop()
    shop.publish("v1")
    names = ("digits", "digits-metrics", "digits-metrics-metrics")
    for name in names:
        shop.apply(named(name))
    await shop.harness.advance(30)
    if restarted:
        shop.harness.restart()
    await shop.harness.advance(90)
    stands = {name: ready_of(shop, name) for name in names}
    assert set(stands.values()) == {("True", "Serving"), ("False", "NameTaken")}
    serving = [name for name, stand in stands.items() if stand == ("True", "Serving")]
    writes = len(shop.cluster.writes)
    await shop.harness.advance(600)
    assert {name: ready_of(shop, name) for name in names} == stands
    assert len(shop.cluster.writes) - writes < 10
    # Who goes makes room for who waits.
    shop.cluster.user_delete(Key(DEPLOYMENTS, "shop", serving[0]))
    await shop.harness.advance(120)
    left = {ready_of(shop, name) for name in names if name != serving[0]}
    assert ("True", "Serving") in left
    assert shop.harness.errors == []


async def name_of_next(shop: Shop, version: str) -> str:
    """Return the workload that a rollout would make, as another shop like this one made it."""
    other = Shop()
    await other.serve()
    other.publish(version)
    other.want(version)
    await other.harness.run_until(lambda: other.status.candidate is not None, 60)
    assert other.status.candidate is not None
    return other.status.candidate.workload


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=list(FOREIGN))
async def test_a_workload_of_another_is_not_touched_and_no_version_is_blamed(
    metadata: Json,
) -> None:
    shop = Shop()
    await shop.serve()
    key = Key(WORKLOADS, "shop", await name_of_next(shop, "v2"))
    shop.cluster.user_apply(workload(key.name, **metadata))
    before = wanted_of(shop, key)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.advance(700)
    assert wanted_of(shop, key) == before
    assert shop.serving == "v1"
    assert shop.is_ready
    assert shop.status.rejected == []
    assert shop.status.candidate is None
    assert shop.reason("Progressing") == "NameTaken"
    assert f"Deployment {key.name} exists" in shop.message("Progressing")
    assert len(shop.status.history) <= 2
    shop.cluster.user_delete(key)
    await shop.harness.run_until(lambda: shop.serving == "v2" and shop.is_resting, 300)


async def test_a_workload_that_only_has_our_labels_is_neither_sized_nor_removed() -> None:
    shop = Shop()
    await shop.serve()
    labels = OURS | {REVISION_LABEL: "0123456789"}
    shop.cluster.user_apply(workload("payments", labels=labels))
    before = wanted_of(shop, Key(WORKLOADS, "shop", "payments"))
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2" and shop.is_resting, 300)
    await shop.harness.advance(60)
    assert wanted_of(shop, Key(WORKLOADS, "shop", "payments")) == before


async def test_a_service_that_was_replaced_under_us_is_not_taken_back() -> None:
    shop = Shop()
    await shop.serve()
    shop.harness.events_held = True
    shop.cluster.user_delete(METRICS)
    shop.cluster.user_apply(service("digits-metrics"))
    before = wanted_of(shop, METRICS)
    ours = shop.harness.world.cache.get(METRICS)
    assert ours is not None
    uid, world = ours["metadata"]["uid"], shop.harness.world
    with pytest.raises(Conflict):
        await world.apply(service("digits-metrics"), uid=uid, resource_version=None)
    shop.harness.events_held = False
    shop.harness.deliver()
    await shop.harness.advance(60)
    assert wanted_of(shop, METRICS) == before
    assert (shop.condition("Ready"), shop.reason("Ready")) == ("False", "NameTaken")
    assert shop.serving == "v1"


async def test_what_serves_goes_on_beside_a_metrics_service_that_was_taken() -> None:
    shop = Shop()
    await shop.serve()
    shop.cluster.user_delete(METRICS)
    shop.cluster.user_apply(service("digits-metrics"))
    await shop.harness.advance(60)
    shop.change(lambda spec: spec.update(replicas=5))
    await shop.harness.advance(30)
    assert list(shop.sizes().values()) == [5]
    assert shop.harness.errors == []


# --- token Secrets, which nobody can look at -----------------------------------------------------


async def test_a_new_deployment_takes_no_secret_that_was_there_before() -> None:
    shop = Shop()
    planted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "digits-token", "namespace": "shop"},
        "data": {"key": "a25vd24="},
    }
    shop.cluster.user_apply(planted)
    await shop.serve()
    uid = shop.live["metadata"]["uid"]
    (live,) = shop.cluster.find(WORKLOADS, "shop")
    volumes = {v["name"]: v for v in live["spec"]["template"]["spec"]["volumes"]}
    assert volumes["token"]["secret"]["secretName"] == f"digits-token-{uid}"
    made = shop.cluster.get(Key(SECRETS, "shop", f"digits-token-{uid}"))
    assert made is not None
    assert made["metadata"]["ownerReferences"][0]["uid"] == uid
    kept = shop.cluster.get(Key(SECRETS, "shop", "digits-token"))
    assert kept is not None
    assert kept["data"] == planted["data"]


async def test_a_deployment_of_an_earlier_release_keeps_its_secret_over_a_rollout() -> None:
    """Labels that are still to come are signed by its key."""
    shop = Shop()
    await shop.serve()

    def as_before(obj: Json) -> None:
        for volume in obj["status"]["stable"]["template"]["spec"]["volumes"]:
            if volume["name"] == "token":
                volume["secret"]["secretName"] = "digits-token"

    shop.cluster.user_change(KEY, as_before)
    assert token_secret_name(Deployment.model_validate(shop.live)) == "digits-token"
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2" and shop.is_resting, 300)
    names = {
        volume["secret"]["secretName"]
        for obj in shop.cluster.find(WORKLOADS, "shop")
        for volume in obj["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "token" and obj["spec"]["replicas"]
    }
    assert names == {"digits-token"}
