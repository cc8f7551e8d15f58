"""A bad candidate: seen within seconds, taken out at once, and never tried again by itself."""

import time

import pytest
from tests.e2e.kit.api import Api, condition, moment
from tests.e2e.kit.load import Load
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.record import Record
from tests.e2e.kit.scenes import Play, Scene, played
from tests.e2e.kit.shop import Shop
from tests.patience import slowest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

STEPS = ({"weight": "20%", "for": "20s"},)


def roll_back(shop: Shop, bad: str) -> tuple[Record, Load]:
    """Try a bad version under 50 requests/s until it is out of traffic."""
    shop.publish(bad)
    with shop.record() as record, shop.load(50) as load:
        shop.want(bad)
        shop.wait_for_outcome(f"{bad} RolledBack")
        shop.wait_until_gone(bad)
    return record, load


def test_candidate_that_fails_is_out_within_seconds_and_stays_out(
    make_shop, release: OperatorProcess
):
    shop = make_shop("failing", replicas=4, steps=STEPS, rollout={"minSamples": 50})
    shop.serve("good")
    before = shop.pod_uids("good")
    record, load = roll_back(shop, "fail100")
    decided = record.decided_at("fail100", "RolledBack")
    answers = sorted(answer.at for answer in load.answers if answer.version == "fail100")
    slowest_here = slowest(time.time() - answers[0])
    assert decided - answers[3] <= 3.0 * slowest_here, "scrape interval 1 s"
    assert answers[-1] - decided <= 1.0 * slowest_here
    assert len(load.bad("fail100")) <= 40 * slowest_here
    assert load.lost() == []
    assert load.bad("good") == []
    writes = record.writes()
    assert writes.pop("numbers", 0) <= record.seconds() / 30, writes
    assert writes.total() - 2 * record.lapses() <= 3 * len(STEPS) + 4, writes
    assert shop.pod_uids("good") == before
    assert shop.live["spec"]["version"] == "fail100", "spec is untouched"
    entry = shop.rejected()["fail100"]
    assert "gate errors" in entry["evidence"]
    assert entry["by"] == "trimtab"
    assert_quarantine_holds(shop, release)
    assert_retry_lifts(shop)


def assert_quarantine_holds(shop: Shop, release: OperatorProcess) -> None:
    tried_once = shop.outcomes()
    shop.want("good")
    shop.wait_for("A again", lambda: shop.reason("Progressing") == "UpToDate")
    shop.want("fail100")
    shop.wait_for("B again", lambda: condition(shop.live, "Quarantined")["status"] == "True")
    release.restart()
    shop.want("fail100")
    at = moment(shop.rejected()["fail100"]["at"])
    assert f"{at:%H:%M:%S}" in shop.message("Quarantined")
    assert "trimtab retry" in shop.message("Quarantined")
    assert shop.outcomes() == tried_once
    assert shop.pods("fail100") == []


def assert_retry_lifts(shop: Shop) -> None:
    shop.command("retry")
    shop.wait_for("tried again", lambda: shop.pods("fail100"))
    assert "QuarantineLifted" in shop.event_reasons()
    assert shop.rejected() == {}
    shop.want("good")
    shop.wait_for_outcome("fail100 Superseded")


def fails_one_in_five(api: Api) -> None:
    shop = Shop(api, "failing-some", replicas=4, steps=STEPS, rollout={"minSamples": 50})
    shop.serve("good")
    record, load = roll_back(shop, "fail20")
    decided = record.decided_at("fail20", "RolledBack")
    slowest_here = slowest(time.time() - decided)
    assert load.last("fail20") - decided <= 1.0 * slowest_here
    assert load.lost() == []
    assert len(load.bad("fail20")) <= 60 * slowest_here
    shop.delete()


def is_slow(api: Api) -> None:
    shop = Shop(api, "slow", replicas=3, steps=STEPS, rollout={"minSamples": 50})
    shop.serve("good")
    _, load = roll_back(shop, "slow50")
    assert "gate slow" in shop.rejected()["slow50"]["evidence"]
    assert load.lost() == []
    shop.delete()


SCENES: list[Scene] = [fails_one_in_five, is_slow]


@pytest.fixture(scope="module")
def play(api: Api):
    with played(SCENES, api, 2) as play:
        yield play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_candidate_that_is_rolled_back(scene: Scene, play: Play) -> None:
    play(scene)
