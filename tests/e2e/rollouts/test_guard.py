"""After promotion, and what hands and nodes do to a Deployment."""

import time
from typing import Any

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.scenes import Play, Scene, played
from tests.e2e.kit.shop import Shop
from tests.patience import stretched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

RATE = 20.0


def promoted_version_that_goes_bad_is_left(api: Api) -> None:
    shop = Shop(api, "guarded", rollout={"minSamples": 50})
    shop.serve("good")
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for_outcome("better Promoted")
        shop.wait_until_gone("good")
        shop.tell("better", "fail40")
        shop.wait_for_outcome("better RolledBack")
        shop.wait_for("good serves", lambda: shop.serves("good"))
        shop.wait_until_gone("better")
    assert load.lost() == []
    assert shop.rejected()["better"]["reason"] == "GuardBreached"
    assert shop.live["spec"]["version"] == "better", "spec is untouched"
    assert max(load.answers, key=lambda answer: answer.at).version == "good"
    shop.delete()


def what_happens_to_both_is_not_held_against_the_new_one(api: Api) -> None:
    """An outage, while one pod of the last good version serves beside it."""
    guard = {"control": 1, "rollbackWithin": f"{round(stretched(60))}s"}
    shop = Shop(api, "beside", rollout={"minSamples": 50}, guard=guard)
    shop.serve("good")
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for_outcome("better Promoted")
        shop.wait_for("the control", lambda: "controlSince" in shop.status["guard"])
        assert len(shop.pod_uids("good")) == 1
        shop.wait_for("its answers", lambda: load.last("good") > time.time() - 1)
        for version in ("good", "better"):
            shop.tell(version, "fail40")
        shop.wait_for("both fail", lambda: load.bad("better")[40:] and load.bad("good")[15:])
        for version in ("good", "better"):
            shop.tell(version, "fail0")
        shop.wait_for("the control is gone", lambda: not shop.pods("good"), 180)
        alone = load.last("good")
        shop.wait_for("it serves on", lambda: load.last("better") > alone + 5)
    assert load.lost() == []
    assert shop.serves("better")
    assert shop.rejected() == {}
    assert "breached" not in shop.status["guard"]
    shop.delete()


def lost_pods_of_stable_are_not_the_candidates_fault(api: Api) -> None:
    shop = Shop(api, "evicted", replicas=3, steps=({"weight": "25%", "for": "15s"},))
    shop.serve("good")
    with shop.load(RATE):
        shop.try_version("better")
        shop.wait_for("a step", lambda: shop.phase() == "Stepping")
        evicted, deleted, _ = sorted(p["metadata"]["name"] for p in shop.pods("good"))
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": evicted, "namespace": api.namespace},
        }
        api.call("POST", api.path("Pod", evicted) + "/eviction", eviction)
        api.delete("Pod", deleted)
        shop.wait_for_outcome("better Promoted")
    assert shop.rejected() == {}
    shop.delete()


def lost_pod_of_the_candidate_is_not_its_fault(api: Api) -> None:
    shop = Shop(api, "candidate-evicted", steps=({"weight": "33%", "for": "10s"},))
    shop.serve("good")
    with shop.load(RATE):
        shop.try_version("better")
        shop.wait_for("a step", lambda: shop.phase() == "Stepping")
        (pod,) = shop.pods("better")
        api.delete("Pod", pod["metadata"]["name"])
        shop.wait_for_outcome("better Promoted")
    assert shop.rejected() == {}
    shop.delete()


def what_hands_change_is_put_back(api: Api) -> None:
    shop = Shop(api, "drifted")
    shop.serve("good")
    before = shop.pod_uids("good")
    workload = shop.status["stable"]["workload"]
    api.delete("Service", shop.name)
    shop.wait_for("the Service is back", lambda: api.get("Service", shop.name) is not None)
    api.patch("Workload", workload, {"spec": {"replicas": 1}}, manager="kubectl-edit")
    shop.wait_for(
        "the size is back",
        lambda: (api.get("Workload", workload) or {})["spec"]["replicas"] == shop.replicas,
    )
    selector = {"spec": {"selector": {"app": "another"}}}
    api.patch("Service", shop.name, selector, manager="kubectl-edit")
    shop.wait_for("the route is back", lambda: "app" not in selector_of(shop))
    shop.wait_for("three decisions", lambda: len(repairs(shop)) == 3)
    add_to_environment(api, workload)
    shop.wait_for("the environment is back", lambda: "ADDED" not in environment_of(api, workload))
    shop.wait_for("four decisions", lambda: len(repairs(shop)) == 4)
    shop.wait_for("one event, a series of four", lambda: told_repairs(shop) == [4])
    edited = {"spec": {"ports": [{"name": "http", "port": 1234, "targetPort": 8080}]}}
    api.patch("Service", shop.name, edited, manager="kubectl-edit")
    shop.wait_for("the port is back", lambda: ports_of(shop) == [8080])
    shop.wait_for("five decisions", lambda: len(repairs(shop)) == 5)
    notes = " | ".join(repairs(shop))
    assert f"Service {shop.name} was deleted" in notes
    assert "replicas changed by kubectl-edit" in notes
    assert "selector.app changed by kubectl-edit" in notes
    assert len(before & shop.pod_uids("good")) >= 1
    shop.delete()


def ports_of(shop: Shop) -> list[int]:
    service = shop.api.get("Service", shop.name)
    assert service is not None
    return [port["port"] for port in service["spec"]["ports"]]


def environment_of(api: Api, workload: str) -> set[str]:
    live = api.get("Workload", workload)
    assert live is not None
    return {entry["name"] for entry in live["spec"]["template"]["spec"]["containers"][0]["env"]}


def add_to_environment(api: Api, workload: str) -> None:
    """As `kubectl set env` does: an entry more in a list that is merged by name."""
    entry = {"op": "add", "value": {"name": "ADDED", "value": "1"}}
    path = f"{api.path('Workload', workload)}?fieldManager=kubectl-set"
    patch: Any = [entry | {"path": "/spec/template/spec/containers/0/env/-"}]
    api.call("PATCH", path, patch, content="application/json-patch+json")


def repairs(shop: Shop) -> list[str]:
    decisions = shop.status["record"]["decisions"]
    return [d["message"] for d in decisions if d["reason"] == "ConfigurationRepaired"]


def told_repairs(shop: Shop) -> list[int]:
    """Return how often each event object about repairs was told; a series is one object."""
    events = [e for e in shop.api.events(shop.name) if e["reason"] == "ConfigurationRepaired"]
    return [(event.get("series") or {"count": 1})["count"] for event in events]


def selector_of(shop: Shop) -> dict[str, str]:
    service = shop.api.get("Service", shop.name)
    selector: dict[str, str] = service["spec"]["selector"] if service is not None else {}
    return selector


def scale_subresource_drives_the_pods(api: Api) -> None:
    shop = Shop(api, "scaled")
    shop.serve("good")
    path = api.path("Deployment", shop.name) + "/scale"
    merge = "application/merge-patch+json"
    api.call("PATCH", path, {"spec": {"replicas": 3}}, merge)
    shop.wait_for("three pods", lambda: shop.status["stable"]["ready"] == 3)
    scale = api.call("GET", path)
    assert scale["status"]["replicas"] == 3
    assert len(api.list("Pod", scale["status"]["selector"])) == 3
    api.call("PATCH", path, {"spec": {"replicas": 0}}, merge)
    shop.wait_for("no pods", lambda: not shop.pods())
    assert shop.reason("Ready") == "ScaledToZero"
    api.call("PATCH", path, {"spec": {"replicas": 2}}, merge)
    shop.wait_for("serves again", lambda: shop.serves("good"))
    assert shop.outcomes() == ["good Promoted"]
    shop.delete()


SCENES: list[Scene] = [
    promoted_version_that_goes_bad_is_left,
    what_happens_to_both_is_not_held_against_the_new_one,
    lost_pods_of_stable_are_not_the_candidates_fault,
    lost_pod_of_the_candidate_is_not_its_fault,
    what_hands_change_is_put_back,
    scale_subresource_drives_the_pods,
]


@pytest.fixture(scope="module")
def play(api: Api):
    with played(SCENES, api, 6) as play:
        yield play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_deployment_stays_as_wanted(scene: Scene, play: Play) -> None:
    play(scene)
