"""A good candidate takes over while users ask on: nobody notices."""

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.record import Record
from tests.e2e.kit.scenes import Play, Scene, played
from tests.e2e.kit.shop import Shop
from tests.patience import slowest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

BUSY = 2.0
"""Slowness of a machine on which the load generator too may be held up."""
STEPS = ({"weight": "25%", "for": "3s"}, {"weight": "50%", "for": "3s"})


def promote_under_load(api: Api, name: str, *, keep_alive: bool) -> None:
    shop = Shop(api, name, replicas=3, steps=STEPS, rollout={"minSamples": 50})
    try:
        shop.serve("good")
        shop.publish("better")
        with shop.record() as record, shop.load(50, keep_alive=keep_alive) as load:
            shop.want("better")
            asked = shop.live["spec"]
            shop.wait_for_outcome("better Promoted")
            shop.wait_until_gone("good")
        assert load.lost() == []
        is_busy = slowest(record.seconds()) > BUSY
        assert is_busy or load.unsent == 0, "the load generator was held up"
        assert all(answer.status == 200 for answer in load.answers)
        assert load.by_version()["better"] > 50
        assert shop.live["spec"] == asked
        assert shop.outcomes() == ["good Promoted", "better Promoted"]
        assert shop.status["lastGood"]["version"] == "good"
        assert_writes(record)
    finally:
        shop.delete()


def assert_writes(record: Record) -> None:
    """So many writes exactly, however long it takes: each step is told, and makes a size.

    What grows with time is counted apart: numbers of the status are renewed at most every 30 s. On
    a machine without breath a pod that lapses is news too, and so is its return, and that a step
    waits for figures that come late.
    """
    writes = record.writes()
    assert writes.pop("numbers", 0) <= record.seconds() / 30, writes
    told = len(["begun", *STEPS, "promoted"])
    sizes = len([*STEPS, "the old one goes"])
    routes = len(["to both", "to the new one"])
    assert (writes["workload"], writes["route"]) == (sizes, routes), writes
    more = 2 * record.lapses() + record.holds()
    assert told <= writes["status"] <= told + more, record.told()


def new_connections(api: Api) -> None:
    promote_under_load(api, "promoted", keep_alive=False)


def kept_connections(api: Api) -> None:
    promote_under_load(api, "promoted-alive", keep_alive=True)


def switched_at_once(api: Api) -> None:
    shop = Shop(api, "rolling", rollout={"strategy": "rolling"})
    try:
        shop.serve("good")
        with shop.load(20) as load:
            shop.try_version("better")
            shop.wait_for_outcome("better Promoted")
            shop.wait_until_gone("good")
        assert load.lost() == []
        versions = [answer.version for answer in sorted(load.answers, key=lambda a: a.at)]
        assert versions[-1] == "better"
    finally:
        shop.delete()


def one_after_the_other(api: Api) -> None:
    """The guard over the one before is under way when the next is promoted."""
    shop = Shop(api, "thrice")
    shop.serve("good")
    with shop.load(20) as load:
        for version in ("better", "best", "perfect"):
            before = shop.serving_version
            shop.try_version(version)
            shop.wait_for_outcome(f"{version} Promoted")
            shop.wait_until_gone(before)
    assert load.lost() == []
    assert shop.rejected() == {}
    assert shop.status["guard"]["revision"] == shop.status["stable"]["revision"]
    shop.delete()


SCENES: list[Scene] = [new_connections, kept_connections, switched_at_once, one_after_the_other]


@pytest.fixture(scope="module")
def play(api: Api):
    with played(SCENES, api, 4) as play:
        yield play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_no_request_is_lost(scene: Scene, play: Play) -> None:
    play(scene)
