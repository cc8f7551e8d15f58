"""No data is not bad data: candidates whose metrics cannot be had, on real pods."""

from collections.abc import Callable

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.scenes import Play, Scene, played
from tests.e2e.kit.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

REASONS = {
    "refuse": "BackendDown",
    "hang": "BackendDown",
    "garbage": "BackendDown",
    "big": "BackendDown",
    "nan": "NotANumber",
    "empty": "NoSeries",
}
RATE = 10.0
HOLD_REQUESTS = 40
"""Requests that the candidate answers while nobody can see how."""
MOST_BYTES = 256 * 2**20


def blind(word: str, reason: str) -> Callable[[Api], None]:
    def scene(api: Api) -> None:
        shop = Shop(api, f"blind-{word}")
        shop.serve("good")
        before = shop.pod_uids("good")
        with shop.load(RATE) as load:
            shop.try_version(word)
            shop.wait_for(reason, lambda: shop.reason("DataAvailable") == reason)
            shop.wait_for("users try it", lambda: load.by_version()[word] > HOLD_REQUESTS)
            # a scrape may be late on a busy machine: what counts is the reason it comes back to
            shop.wait_for(f"{reason} still", lambda: shop.reason("DataAvailable") == reason)
            assert shop.phase() == "Stepping"
            assert shop.outcomes() == ["good Promoted"]
            assert shop.rejected() == {}
            assert shop.pod_uids("good") == before
            shop.tell(word, "ok")
            shop.wait_for_outcome(f"{word} Promoted")
        assert load.lost() == []
        assert "DataUnavailable" in shop.event_reasons()
        shop.delete()

    scene.__name__ = word
    return scene


def everything_goes_silent(api: Api) -> None:
    """An outage in the middle of a step: stable is as invisible as the candidate."""
    # Longer than the last samples hold: a time-out and an interval.
    shop = Shop(api, "blind-both", steps=({"weight": "33%", "for": "15s"},))
    shop.serve("good")
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for("a request", lambda: load.by_version()["better"])
        for version in ("good", "better"):
            shop.tell(version, "refuse")
        shop.wait_for("blind", lambda: shop.reason("DataAvailable") == "BackendDown")
        seen = load.by_version()["better"]
        shop.wait_for("users try it", lambda: load.by_version()["better"] > seen + HOLD_REQUESTS)
        assert shop.phase() == "Stepping"
        for version in ("good", "better"):
            shop.tell(version, "ok")
        shop.wait_for_outcome("better Promoted")
    assert shop.rejected() == {}
    shop.delete()


SCENES: list[Scene] = [
    *(blind(word, reason) for word, reason in REASONS.items()),
    everything_goes_silent,
]


@pytest.fixture(scope="module")
def play(api: Api):
    with played(SCENES, api, 7) as play:
        yield play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_rollout_holds_while_blind_and_goes_on_with_data(scene: Scene, play: Play) -> None:
    play(scene)


def test_operator_stays_small(play: Play, release: OperatorProcess) -> None:
    for scene in SCENES:
        play(scene)
    assert release.usage().resident_bytes < MOST_BYTES
