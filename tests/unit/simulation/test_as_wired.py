"""A few rollouts through the whole path on a virtual clock; a bench plays hundreds."""

from __future__ import annotations

import asyncio

import pytest
from tests.bench.statistics.detection import ENTRIES, Fault
from tests.bench.statistics.wired.cases import BASE, CASES, HEALTHY, MORE, trial
from tests.bench.statistics.wired.prometheus import Source
from tests.bench.statistics.wired.users import Independent
from tests.bench.statistics.wired.world import VirtualLoop, World, play

PLAYED = (
    "both out for 10 s, 100/s",
    "both out for 10 s, stable's metrics silent",
    "10 % errors on both while the share grows, 9 replicas",
    "correlation .05 by pod and minute, 100/s",
    "bursts of 10 bad requests, 20/s",
    "both out for 10 s, 100/s, of a Prometheus",
    "labelled rows alike, 64 a request",
    "first 20 requests of a pod slow, 20/s",
)


@pytest.mark.parametrize("case", PLAYED)
def test_a_healthy_candidate_is_promoted(case: str) -> None:
    for seed in range(1000, 1003):
        end = play(CASES[case](), seed)
        assert end.outcome == "Promoted", (seed, end)


@pytest.mark.parametrize("seed", [43, 86])
def test_an_outage_of_both_that_prometheus_saw_of_the_candidate_first(seed: int) -> None:
    """As of the last samples of each pod these candidates were rolled back."""
    end = play(MORE["both out for 10 s, 100/s, of a Prometheus"](), seed)
    assert end.outcome == "Promoted", end


def test_a_bad_candidate_is_rolled_back_by_what_a_prometheus_saw() -> None:
    bad = trial(
        lambda draws: Independent(draws, BASE), 100, users={"fault": 0.2}, prometheus=Source()
    )
    end = play(bad, 1000)
    assert end.outcome == "RolledBack", end
    assert end.seconds < 90, end


@pytest.mark.parametrize("fault", [one for one in ENTRIES if one.rate * one.above >= 1], ids=str)
def test_a_bad_candidate_is_rolled_back(fault: Fault) -> None:
    end = play(fault.trial, 1000)
    assert end.outcome == "RolledBack", end


def test_pods_say_when_they_began_on_the_clock_of_the_operator() -> None:
    async def main() -> None:
        world = World(HEALTHY["independent, 20/s"](), 1000)
        end = await world.run()
        assert end.outcome == "Promoted", end
        (pod,) = [p for p in world.ready_pods() if world.users.knows(p)][:1]
        began = world.users.exposition(pod).process_start
        assert began is not None
        assert 0 < world.unix() - began < end.seconds

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
