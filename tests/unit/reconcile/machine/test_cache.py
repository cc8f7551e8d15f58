"""The cache never goes back, whatever order views come in."""

from typing import Any

import pytest

from trimtab.cluster.port import DEPLOYMENTS, PODS, RETRAIN_JOBS, WORKLOADS, Json, Key
from trimtab.reconcile.machine.cache import Cache, Change, parent_of, without_ballast

NAME = Key(DEPLOYMENTS, "shop", "digits")


def deployment(version: int, uid: str = "u1", name: str = "digits", **extra: Any) -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "resourceVersion": str(version),
        },
        **extra,
    }


def pod(name: str, version: int = 1, parent: str = "digits") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "resourceVersion": str(version),
            "labels": {"trimtab.dev/deployment": parent},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {
            "nodeName": "node-1",
            "tolerations": [{"key": "x"}],
            "containers": [{"name": "model", "image": "i", "env": [{"name": "A"}]}],
        },
        "status": {"phase": "Running"},
    }


def test_a_newer_view_replaces_an_older_one() -> None:
    cache = Cache()
    first, second = deployment(1), deployment(2)
    assert cache.take_in(DEPLOYMENTS, first) == Change(DEPLOYMENTS, None, first)
    assert cache.take_in(DEPLOYMENTS, second) == Change(DEPLOYMENTS, first, second)
    assert cache.get(NAME) == second


def test_an_older_or_equal_view_is_no_news() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(5))
    assert cache.take_in(DEPLOYMENTS, deployment(5)) is None
    assert cache.take_in(DEPLOYMENTS, deployment(4)) is None
    assert cache.take_in(DEPLOYMENTS, deployment(4, uid="of an earlier life")) is None


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(9))
    assert cache.take_in(DEPLOYMENTS, deployment(10)) is not None


def test_a_deleted_object_does_not_come_back_by_a_late_event() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(5))
    cache.take_out(DEPLOYMENTS, deployment(6))
    assert cache.take_in(DEPLOYMENTS, deployment(5)) is None
    assert cache.get(NAME) is None


def test_what_is_newer_than_its_deletion_is_alive() -> None:
    """A watch by label tells of a deletion, too, when somebody changes the label."""
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(5))
    cache.take_out(DEPLOYMENTS, deployment(6))
    assert cache.take_in(DEPLOYMENTS, deployment(7)) is not None
    assert cache.get(NAME) is not None


def test_a_deletion_that_comes_before_the_object_is_remembered() -> None:
    cache = Cache()
    assert cache.take_out(DEPLOYMENTS, deployment(6)) is None
    assert cache.take_in(DEPLOYMENTS, deployment(5)) is None


def test_an_object_made_again_under_the_same_name_is_taken_in() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(5))
    cache.take_out(DEPLOYMENTS, deployment(6))
    assert cache.take_in(DEPLOYMENTS, deployment(7, uid="u2")) is not None


def test_the_deletion_of_an_earlier_life_leaves_the_present_one() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(7, uid="u2"))
    assert cache.take_out(DEPLOYMENTS, deployment(6, uid="u1")) is None
    assert cache.get(NAME) is not None


def test_children_are_found_by_label_and_type_in_the_order_of_their_names() -> None:
    cache = Cache()
    for name in ("b", "a"):
        cache.take_in(PODS, pod(name))
    cache.take_in(PODS, pod("c", parent="another"))
    assert [p["metadata"]["name"] for p in cache.children(NAME, PODS)] == ["a", "b"]
    assert cache.children(NAME, WORKLOADS) == []


def test_a_child_that_changes_its_parent_moves() -> None:
    cache = Cache()
    cache.take_in(PODS, pod("a"))
    cache.take_in(PODS, pod("a", version=2, parent="another"))
    assert cache.children(NAME, PODS) == []
    assert len(cache.children(Key(DEPLOYMENTS, "shop", "another"), PODS)) == 1


def test_a_deleted_child_is_gone_from_its_parent() -> None:
    cache = Cache()
    cache.take_in(PODS, pod("a"))
    cache.take_out(PODS, pod("a", version=2))
    assert cache.children(NAME, PODS) == []


def test_the_parent_of_a_training_pod_is_the_retrain_job() -> None:
    obj = pod("a")
    obj["metadata"]["labels"]["trimtab.dev/retrain-job"] = "digits-1"
    assert parent_of(PODS, obj) == Key(RETRAIN_JOBS, "shop", "digits-1")


@pytest.mark.parametrize(
    ("api_version", "parent"), [("trimtab.dev/v1alpha1", NAME), ("apps/v1", None)]
)
def test_the_owner_says_whose_a_child_is_that_lost_its_label(
    api_version: str, parent: Key | None
) -> None:
    obj = pod("a")
    del obj["metadata"]["labels"]["trimtab.dev/deployment"]
    owner = {"apiVersion": api_version, "kind": "Deployment", "name": NAME.name}
    obj["metadata"]["ownerReferences"] = [owner]
    assert parent_of(PODS, obj) == parent


def test_objects_are_listed_by_namespace_or_all() -> None:
    cache = Cache()
    cache.take_in(DEPLOYMENTS, deployment(1))
    other = deployment(2, uid="u2")
    other["metadata"]["namespace"] = "other"
    cache.take_in(DEPLOYMENTS, other)
    assert len(list(cache.all(DEPLOYMENTS))) == 2
    assert [o["metadata"]["namespace"] for o in cache.all(DEPLOYMENTS, "shop")] == ["shop"]


class TestAFullList:
    def test_adds_what_was_missed_and_removes_what_has_gone(self) -> None:
        cache = Cache()
        cache.take_in(DEPLOYMENTS, deployment(1, uid="u1"))
        before = cache.keys(DEPLOYMENTS)
        changes = cache.replace(DEPLOYMENTS, [deployment(3, uid="u3", name="new")], before)
        kinds = {(change.old is None, change.new is None) for change in changes}
        assert kinds == {(True, False), (False, True)}
        assert [o["metadata"]["name"] for o in cache.all(DEPLOYMENTS)] == ["new"]

    def test_of_what_is_known_repairs_nothing(self) -> None:
        cache = Cache()
        cache.take_in(DEPLOYMENTS, deployment(1))
        assert cache.replace(DEPLOYMENTS, [deployment(1)], cache.keys(DEPLOYMENTS)) == []

    def test_keeps_what_came_in_by_event_while_it_was_on_its_way(self) -> None:
        cache = Cache()
        before = cache.keys(DEPLOYMENTS)
        cache.take_in(DEPLOYMENTS, deployment(1))
        assert cache.replace(DEPLOYMENTS, [], before) == []

    def test_keeps_what_was_made_again_while_it_was_on_its_way(self) -> None:
        cache = Cache()
        cache.take_in(DEPLOYMENTS, deployment(1, uid="u1"))
        before = cache.keys(DEPLOYMENTS)
        cache.take_out(DEPLOYMENTS, deployment(2, uid="u1"))
        cache.take_in(DEPLOYMENTS, deployment(3, uid="u2"))
        assert cache.replace(DEPLOYMENTS, [], before) == []


def test_the_reply_to_an_own_write_tells_the_listener_once() -> None:
    cache = Cache()
    heard: list[Change] = []
    cache.on_own_write = heard.append
    assert cache.put(DEPLOYMENTS, deployment(1))
    assert not cache.put(DEPLOYMENTS, deployment(1))
    assert len(heard) == 1


def test_pods_are_kept_without_what_nobody_reads() -> None:
    kept = without_ballast(PODS, pod("a"))
    assert kept["spec"] == {"nodeName": "node-1", "containers": [{"name": "model", "image": "i"}]}
    assert "managedFields" not in kept["metadata"]
    assert kept["status"] == {"phase": "Running"}


def test_workloads_keep_what_others_own_in_their_spec() -> None:
    spec: Json = {"f:paused": {}}
    entries = [
        {"manager": "kubectl", "time": "t", "fieldsV1": {"f:spec": spec, "f:metadata": {}}},
        {"manager": "trimtab", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {}}},
    ]
    workload = {"metadata": {"name": "w", "managedFields": entries}, "spec": {"replicas": 1}}
    kept = without_ballast(WORKLOADS, workload)
    assert kept["metadata"]["managedFields"] == [
        {"manager": "kubectl", "time": "t", "fieldsV1": {"f:spec": spec}},
        {"manager": "trimtab", "operation": "Apply"},
        {"manager": "kube-controller-manager"},
    ]


def test_what_one_answer_did_not_have_comes_back_by_any_later_word() -> None:
    cache = Cache()
    cache.take_in(PODS, pod("a"))
    assert cache.drop(PODS, pod("a")) is not None
    assert cache.children(NAME, PODS) == []
    cache.take_in(PODS, pod("a"))
    assert len(cache.children(NAME, PODS)) == 1


def test_every_change_is_told_wherever_it_came_from() -> None:
    cache = Cache()
    told: list[Change] = []
    cache.listeners.append(told.append)
    first, second, third = (deployment(version) for version in (1, 2, 3))
    cache.take_in(DEPLOYMENTS, first)
    cache.take_in(DEPLOYMENTS, first)  # no news
    cache.put(DEPLOYMENTS, second)
    cache.drop(DEPLOYMENTS, second)
    cache.replace(DEPLOYMENTS, [third], {})
    cache.replace(DEPLOYMENTS, [], {NAME: "u1"})
    assert told == [
        Change(DEPLOYMENTS, None, first),
        Change(DEPLOYMENTS, first, second),
        Change(DEPLOYMENTS, second, None),
        Change(DEPLOYMENTS, None, third),
        Change(DEPLOYMENTS, third, None),
    ]
