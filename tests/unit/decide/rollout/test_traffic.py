"""Traffic: weights per revision, and what pods and a Service make of them. Exact tables."""

from __future__ import annotations

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_spec,
    a_status,
    a_step,
    a_stepping,
    a_tried,
    revision,
)

from trimtab.api.deployment import DeploymentSpec, DeploymentStatus
from trimtab.decide.rollout import traffic
from trimtab.decide.rollout.children import plan_children
from trimtab.decide.rollout.phases import Phase, Progress, Promoting, Returning, Starting
from trimtab.decide.rollout.traffic import WAYS, way_of
from trimtab.decide.rollout.traffic.plan import Traffic, plan_traffic
from trimtab.decide.rollout.traffic.replicas import Replicas, Route, Share

V1, V2 = revision("v1"), revision("v2")

PODS = {
    "1%": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "10%": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "20%": (1, 1, 1, 1, 1, 2, 2, 2, 2, 3),
    "25%": (1, 1, 1, 1, 2, 2, 2, 3, 3, 3),
    "34%": (1, 1, 2, 2, 3, 3, 4, 4, 5, 5),
    "50%": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    "75%": (2, 4, 6, 8, 10, 12, 14, 16, 18, 20),
    "100%": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
}
"""Pods of the candidate for a weight, beside 1 to 10 pods of stable."""


def planned(spec: DeploymentSpec, status: DeploymentStatus) -> tuple[dict[str, int], Route | None]:
    plan = plan_children(spec, status, NOW)
    return {size.tried.version: size.replicas for size in plan.sizes}, plan.route


@pytest.mark.parametrize("weight", PODS)
@pytest.mark.parametrize("replicas", range(1, 11))
def test_pods_of_a_step(weight: str, replicas: int) -> None:
    spec = a_spec(replicas=replicas, rollout={"steps": [{"weight": weight}]})
    share = float(weight.rstrip("%")) / 100
    status = a_status(a_stepping(a_step(share, of=1)))
    expected = {"v1": replicas, "v2": PODS[weight][replicas - 1]}
    assert planned(spec, status) == (expected, Route(None))


@pytest.mark.parametrize("weight", PODS)
@pytest.mark.parametrize("replicas", range(1, 11))
def test_pods_of_the_first_step_start_out_of_traffic(weight: str, replicas: int) -> None:
    spec = a_spec(replicas=replicas, rollout={"steps": [{"weight": weight}]})
    status = a_status(Starting(candidate=a_tried("v2"), started=NOW))
    expected = {"v1": replicas, "v2": PODS[weight][replicas - 1]}
    assert planned(spec, status) == (expected, Route(V1))


@pytest.mark.parametrize("replicas", range(1, 11))
def test_a_whole_canary_of_the_default_steps(replicas: int) -> None:
    spec = a_spec(replicas=replicas)
    quarter, half = PODS["25%"][replicas - 1], PODS["50%"][replicas - 1]
    two = a_tried("v2")
    last = Progress(a_step(0.5, index=1))
    sequence: list[tuple[Phase | None, int | None, Route]] = [
        (None, None, Route(V1)),
        (Starting(candidate=two, started=NOW), quarter, Route(V1)),
        (a_stepping(a_step(0.25)), quarter, Route(None)),
        (a_stepping(a_step(0.5, index=1)), half, Route(None)),
        (Promoting(candidate=two, started=NOW, progress=last), replicas, Route(None)),
    ]
    for phase, pods, route in sequence:
        sizes = {"v1": replicas} | ({} if pods is None else {"v2": pods})
        assert planned(spec, a_status(phase)) == (sizes, route)


@pytest.mark.parametrize("replicas", range(1, 11))
def test_a_whole_rolling_update(replicas: int) -> None:
    spec = a_spec(replicas=replicas, rollout={"strategy": "rolling"})
    sizes = {"v1": replicas, "v2": replicas}
    for phase in (
        Starting(candidate=a_tried("v2"), started=NOW),
        Promoting(candidate=a_tried("v2"), started=NOW),
    ):
        assert planned(spec, a_status(phase)) == (sizes, Route(V1))


def test_the_first_version_starts_at_full_size_and_gets_all() -> None:
    status = a_status(Starting(candidate=a_tried("v2"), started=NOW), stable=None)
    assert planned(a_spec(replicas=4), status) == ({"v2": 4}, Route(V2))


def test_a_return_grows_to_full_size_before_it_gets_traffic() -> None:
    status = a_status(Returning(candidate=a_tried("v2"), started=NOW))
    assert planned(a_spec(replicas=4), status) == ({"v1": 4, "v2": 4}, Route(V1))


def test_an_undecided_candidate_keeps_one_pod_out_of_traffic() -> None:
    assert planned(a_spec(), a_status(candidate=a_tried("v2"))) == ({"v2": 1, "v1": 3}, Route(V1))


def test_nothing_runs_at_zero_replicas() -> None:
    assert planned(a_spec(replicas=0), a_status()) == ({"v1": 0}, Route(V1))


WEIGHTS = {
    "nothing_serves": (a_status(stable=None), {}),
    "the_first_starts": (
        a_status(Starting(candidate=a_tried("v2"), started=NOW), stable=None),
        {V2: 1.0},
    ),
    "at_rest": (a_status(), {V1: 1.0}),
    "starting": (a_status(Starting(candidate=a_tried("v2"), started=NOW)), {V1: 1.0}),
    "at_a_quarter": (a_status(a_stepping(a_step(0.25))), {V1: 0.75, V2: 0.25}),
    "at_everything": (a_status(a_stepping(a_step(1.0))), {V1: 0.0, V2: 1.0}),
    "withdrawn": (
        a_status(a_stepping(progress=Progress(a_step(), no_data_since=NOW, withdrawn=True))),
        {V1: 1.0},
    ),
    "promoting_after_steps": (
        a_status(
            Promoting(candidate=a_tried("v2"), started=NOW, progress=Progress(a_step(0.5, index=1)))
        ),
        {V1: 0.5, V2: 0.5},
    ),
    "promoting_without_steps": (
        a_status(Promoting(candidate=a_tried("v2"), started=NOW)),
        {V1: 1.0},
    ),
    "returning": (a_status(Returning(candidate=a_tried("v2"), started=NOW)), {V1: 1.0}),
}


@pytest.mark.parametrize(("status", "weights"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_of_a_status(status: DeploymentStatus, weights: dict[str, float]) -> None:
    planned = plan_traffic(a_spec(), status)
    assert dict(planned.weights) == weights
    assert planned.weight_of("somebody else") == 0.0


TOO_LARGE = [
    ("1%", 1, True),
    ("1%", 2, False),  # one of three pods: 33 %
    ("20%", 1, True),
    ("24%", 1, True),
    ("25%", 1, False),  # one of two pods: twice what was wanted
    ("50%", 1, False),
]


@pytest.mark.parametrize(("weight", "replicas", "is_too_large"), TOO_LARGE)
def test_a_share_far_above_the_wanted_one(weight: str, replicas: int, is_too_large: bool) -> None:
    wanted = float(weight.rstrip("%")) / 100
    way = Replicas()
    assert way.is_too_large(way.share(wanted, replicas, replicas), wanted) is is_too_large


def test_a_share_is_read_as_pods() -> None:
    share = Share(1, 4)
    assert (str(share), share.value, share.stable) == ("1 of 4 pods", 0.25, 3)
    assert Share(0, 0).value == 0.0


def test_the_selector_is_one_revision_or_all() -> None:
    way = Replicas()
    assert way.route(Traffic()) is None
    assert way.route(Traffic(((V1, 1.0),))) == Route(V1)
    assert way.route(Traffic(((V1, 0.9), (V2, 0.1)))) == Route(None)


class AsAsked(Replicas):
    """A way with any share from one pod on, as a gateway has."""

    def is_asked_for(self, spec: DeploymentSpec) -> bool:
        return spec.serving.image == "gateway"

    def share(self, weight: float, stable: int, replicas: int) -> Share:
        return Share(1, 1 + stable)

    def is_too_large(self, share: Share, weight: float) -> bool:
        return False


def test_another_way_is_an_entry_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(way_of(a_spec()), Replicas)
    monkeypatch.setattr(traffic, "WAYS", (AsAsked(), *WAYS))
    asked = a_spec(serving={"image": "gateway"})
    status = a_status(a_stepping(a_step(0.5)))
    assert planned(asked, status) == ({"v1": 3, "v2": 1}, Route(None))
    assert planned(a_spec(), status) == ({"v1": 3, "v2": 3}, Route(None))
