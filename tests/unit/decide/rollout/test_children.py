"""The order of actions: forward pods come first, on the way back traffic does."""

from __future__ import annotations

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_snapshot,
    a_status,
    a_stepping,
    a_tried,
    a_workload,
    revision,
    seconds,
)

from trimtab.api.deployment import DeploymentStatus, Retiring
from trimtab.decide.rollout.children import Remove, Size, order_actions, plan_children
from trimtab.decide.rollout.phases import Promoting, Returning, Starting
from trimtab.decide.rollout.traffic.replicas import Route

V1, V2, V3 = revision("v1"), revision("v2"), revision("v3")
TWO = a_tried("v2")
KEPT = Retiring(revision=V1, until=NOW + seconds(60))
OVER = Retiring(revision=V1, until=NOW)

Live = dict[str, int]
"""Pods by version, as they are."""

ORDERS: dict[str, tuple[DeploymentStatus, Live, list[str]]] = {
    "the_first_starts": (
        a_status(Starting(candidate=TWO, started=NOW), stable=None),
        {},
        ["v2 to 3", "route v2"],
    ),
    "a_candidate_starts": (
        a_status(Starting(candidate=TWO, started=NOW)),
        {"v1": 3},
        ["v2 to 1", "v1 to 3", "route v1"],
    ),
    "a_candidate_gets_traffic": (
        a_status(a_stepping()),
        {"v1": 3, "v2": 1},
        ["v2 to 1", "v1 to 3", "route all"],
    ),
    "a_candidate_grows_to_full_size": (
        a_status(Promoting(candidate=TWO, started=NOW, progress=a_stepping().progress)),
        {"v1": 3, "v2": 1},
        ["v2 to 3", "v1 to 3", "route all"],
    ),
    "promoted_with_the_old_one_kept": (
        a_status(stable="v2", last_good=a_tried("v1"), retiring=KEPT),
        {"v1": 3, "v2": 3},
        ["v1 to 3", "v2 to 3", "route v2"],
    ),
    "the_old_one_goes": (
        a_status(stable="v2", last_good=a_tried("v1"), retiring=OVER),
        {"v1": 3, "v2": 3},
        ["route v2", "v1 to 0", "v2 to 3"],
    ),
    "rolled_back": (
        a_status(),
        {"v1": 3, "v2": 1},
        ["route v1", "remove v2", "v1 to 3"],
    ),
    "undecided": (
        a_status(candidate=TWO),
        {"v1": 3, "v2": 3},
        ["route v1", "v2 to 1", "v1 to 3"],
    ),
    "superseded": (
        a_status(Starting(candidate=a_tried("v3"), started=NOW)),
        {"v1": 3, "v2": 1},
        ["route v1", "remove v2", "v3 to 1", "v1 to 3"],
    ),
    "the_last_good_comes_back": (
        a_status(
            Returning(candidate=a_tried("v1"), started=NOW), stable="v2", last_good=a_tried("v1")
        ),
        {"v1": 0, "v2": 3},
        ["v1 to 3", "v2 to 3", "route v2"],
    ),
    "the_last_good_is_back": (
        a_status(stable="v1", last_good=a_tried("v1")),
        {"v1": 3, "v2": 3},
        ["route v1", "remove v2", "v1 to 3"],
    ),
    "nothing_was_left": (a_status(stable=None), {"v2": 3}, ["remove v2"]),
    "a_last_good_without_a_workload_is_not_made": (
        a_status(stable="v2", last_good=a_tried("v1")),
        {"v2": 3},
        ["v2 to 3", "route v2"],
    ),
}


@pytest.mark.parametrize(("status", "live", "order"), ORDERS.values(), ids=ORDERS.keys())
def test_order_of_actions(status: DeploymentStatus, live: Live, order: list[str]) -> None:
    deployment = a_deployment(status=status)
    workloads = tuple(a_workload(version, pods) for version, pods in live.items())
    snapshot = a_snapshot(deployment, workloads=workloads)
    names = {V1: "v1", V2: "v2", V3: "v3"}
    actions = []
    for action in order_actions(snapshot, plan_children(deployment.spec, status, NOW)):
        match action:
            case Size(tried, replicas):
                actions.append(f"{tried.version} to {replicas}")
            case Route(selected):
                actions.append(f"route {'all' if selected is None else names[selected]}")
            case Remove(workload, uid):
                version = names[workload.removeprefix("digits-")]
                assert uid == f"uid-{version}"
                actions.append(f"remove {version}")
    assert actions == order
