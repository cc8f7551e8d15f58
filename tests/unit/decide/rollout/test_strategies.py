"""Strategies: the list, what each states, and that a further one is an entry and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import pytest
from tests.unit.decide.rollout.builders import a_deployment, a_spec, a_step, revision
from tests.unit.decide.rollout.model import Cluster, Observation, Pass

from trimtab.api.deployment import Count, Deployment, Gate, GateStatus, Rollout, Step, StepStatus
from trimtab.decide.rollout import strategies
from trimtab.decide.rollout.children import Remove, Size
from trimtab.decide.rollout.strategies import STRATEGIES, strategy_of
from trimtab.decide.rollout.strategies.canary import Canary
from trimtab.decide.rollout.strategies.rolling import Rolling
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.lint.rollout import deployment_remarks


def test_the_list_and_the_api_name_the_same() -> None:
    named = get_args(Rollout.model_fields["strategy"].annotation)
    assert tuple(strategy.name for strategy in STRATEGIES) == named


def test_a_strategy_that_is_not_in_the_list_is_an_error() -> None:
    rollout = Rollout().model_copy(update={"strategy": "unheard of"})
    with pytest.raises(LookupError, match="no strategy unheard of"):
        strategy_of(rollout)


def test_rolling_has_no_steps_and_no_gates_and_needs_full_size() -> None:
    rollout = Rollout(strategy="rolling")
    rolling = Rolling()
    assert list(rolling.steps(rollout)) == []
    assert list(rolling.gates(rollout)) == []
    assert rolling.needed_share(rollout, None) == 1.0
    assert rolling.promotion("v2", 900.0, []) == "v2 serves; strategy rolling has no gates"


def test_canary_takes_steps_and_gates_from_the_spec() -> None:
    rollout = a_spec(rollout={"steps": [{"pause": {}}, {"weight": "10%"}]}).rollout
    canary = Canary()
    assert canary.steps(rollout) == rollout.steps
    assert canary.gates(rollout) == rollout.gates
    assert canary.needed_share(rollout, None) == 0.1
    assert canary.needed_share(rollout, a_step(0.0)) == 0.1
    assert canary.needed_share(rollout, a_step(0.5)) == 0.5


def gate_with(share: float | None) -> GateStatus:
    text = "" if share is None else f"{share * 100:.1f}%"
    return GateStatus(
        name="errors", verdict="Pass", smallest_fault=text, smallest_fault_share=share
    )


SEEN = {
    "no_gates": ([], "could not have caught a fault"),
    "gates_without_figures": (
        [None],
        "could not have caught a fault; could not judge: errors (TooFewRequests)",
    ),
    "the_worst_gate_counts": (
        [0.095, 0.1],
        "would have caught a fault of 10.0% or more in this step by gate errors",
    ),
}


@pytest.mark.parametrize(("shares", "seen"), SEEN.values(), ids=SEEN.keys())
def test_canary_says_what_it_could_have_seen(shares: list[float | None], seen: str) -> None:
    message = Canary().promotion("v2", 119.6, [gate_with(share) for share in shares])
    assert message == f"v2 promoted after 120 requests: {seen}"


def a_gate(name: str, **fields: Any) -> GateStatus:
    both = {"candidate": Count(bad=0, total=5), "stable": Count(bad=0, total=15)}
    return GateStatus(name=name, **{"verdict": "Pass", **both, **fields})


UNABLE = [
    a_gate("outcomes", verdict="NoData", reason="NoTraffic"),
    a_gate("slow"),
    a_gate("absolute", stable=None),
    a_gate("nothing", verdict="Skipped", reason="NoStable"),
    a_gate("unlike", reason="PodsDiffer"),
    a_gate("silent", reason="PartlySeen", smallest_fault="61%", smallest_fault_share=0.61),
    a_gate(
        "wrong",
        verdict="NoData",
        reason="InsufficientData",
        smallest_fault="7.5%",
        smallest_fault_share=0.075,
    ),
]


def test_canary_names_every_gate_that_could_not_judge() -> None:
    said = (
        "could not judge: outcomes (NoTraffic), slow (TooFewRequests), absolute (TooFewRequests), "
        "unlike (PodsDiffer), silent (PartlySeen), wrong (InsufficientData)"
    )
    message = Canary().promotion("v2", 120, [gate_with(0.045), *UNABLE])
    assert message == (
        "v2 promoted after 120 requests: would have caught a fault of 4.5% or more in this step "
        f"by gate errors; {said}"
    )
    message = Canary().promotion("v2", 120, UNABLE)
    assert message == f"v2 promoted after 120 requests: could not have caught a fault; {said}"


def test_canary_says_what_stable_showed_in_the_gate_that_tells_least() -> None:
    wrong = a_gate(
        "wrong",
        stable=Count(bad=13, total=45),
        smallest_fault="43.6%",
        smallest_fault_share=0.436,
    )
    message = Canary().promotion("v2", 120, [gate_with(0.045), wrong])
    assert message == (
        "v2 promoted after 120 requests: would have caught a fault of 43.6% or more in this step "
        "by gate wrong (wrong of stable: 28.9%)"
    )


# --- a further strategy ---------------------------------------------------------------------------


class HalfAtFullSize:
    """A made-up strategy: half of the requests on as many pods as stable has, unjudged."""

    name: ClassVar[str] = "half"

    def steps(self, rollout: Rollout) -> Sequence[Step]:
        return (Step(weight=0.5),)

    def gates(self, rollout: Rollout) -> Sequence[Gate]:
        return ()

    def weight(self, step: StepStatus) -> float | None:
        return step.weight

    def needed_share(self, rollout: Rollout, step: StepStatus | None) -> float:
        return 1.0

    def promotion(self, version: str, requests: float, gates: Sequence[GateStatus]) -> str:
        return f"{version} took half of the requests"


class Unseen(HalfAtFullSize):
    """A made-up strategy: the candidate is started and in no route until it is promoted."""

    name: ClassVar[str] = "unseen"

    def weight(self, step: StepStatus) -> float | None:
        return None


def by(strategy: str) -> Deployment:
    made = a_deployment("v1", replicas=4)
    rollout = made.spec.rollout.model_copy(update={"strategy": strategy})
    return made.model_copy(update={"spec": made.spec.model_copy(update={"rollout": rollout})})


def with_stable(deployment: Deployment) -> Cluster:
    cluster = Cluster(deployment)
    while cluster.status.stable is None:
        cluster.step(Observation())
    return cluster


def read(passed: Pass) -> list[tuple[str, object]]:
    """Return actions by the names that people use."""
    names = {revision(version): version for version in ("v1", "v2")}
    actions: list[tuple[str, object]] = []
    for action in passed.actions:
        match action:
            case Size(tried, replicas):
                actions.append((tried.version, replicas))
            case Route(selected):
                actions.append(("route", "all" if selected is None else names[selected]))
            case Remove(workload):
                actions.append(("remove", workload))
    return actions


def test_a_made_up_strategy_is_played_from_start_to_promotion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strategies, "STRATEGIES", (*STRATEGIES, HalfAtFullSize()))
    cluster = with_stable(by("half"))
    started = cluster.step(Observation(want="v2"))
    assert [note.message for note in started.notes] == [f"trying v2 beside v1 ({revision('v2')})"]
    assert read(started) == [("v2", 4), ("v1", 4), ("route", "v1")]
    stepping = cluster.step(Observation())
    assert [note.message for note in stepping.notes] == ["step 1/1: v2 gets 50% (4 of 8 pods)"]
    assert read(stepping) == [("v2", 4), ("v1", 4), ("route", "all")]
    assert stepping.after.candidate is not None
    assert stepping.after.candidate.weight == "50% wanted, 4 of 8 pods"
    promoted = cluster.step(Observation(requests=800))
    assert [note.message for note in promoted.notes] == ["v2 took half of the requests"]
    assert read(promoted) == [("v1", 4), ("v2", 4), ("route", "v2")]
    retired = cluster.step(Observation(seconds=61))
    assert read(retired) == [("route", "v2"), ("v1", 0), ("v2", 4)]
    assert deployment_remarks(cluster.deployment, 10.0) == []


def test_a_made_up_strategy_may_keep_its_candidate_out_of_the_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strategies, "STRATEGIES", (*STRATEGIES, Unseen()))
    cluster = with_stable(by("unseen"))
    cluster.step(Observation(want="v2"))
    stepping = cluster.step(Observation())
    assert read(stepping) == [("v2", 4), ("v1", 4), ("route", "v1")]
    assert stepping.after.candidate is not None
    assert stepping.after.candidate.weight == "0% wanted, 4 of 8 pods"
