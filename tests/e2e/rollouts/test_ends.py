"""Each way in which a rollout can end, and what a person can do about one."""

import pytest
from tests.e2e.kit.api import Api, condition
from tests.e2e.kit.scenes import Play, Scene, played
from tests.e2e.kit.shop import Shop
from tests.patience import stretched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

LONG_STEP = ({"weight": "25%", "for": "10m"},)
RATE = 10.0


def slowed(seconds: float) -> str:
    """Return a duration in which the cluster can say why pods do not start."""
    return f"{stretched(seconds):.0f}s"


def newer_version_supersedes(api: Api) -> None:
    shop = Shop(api, "superseded")
    shop.serve("good")
    before = shop.pod_uids("good")
    shop.try_version("late60")
    shop.wait_for("starting", lambda: shop.phase() == "Starting" and shop.pods("late60"))
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for_outcome("late60 Superseded")
        assert shop.pod_uids("good") == before
        shop.wait_for_outcome("better Promoted")
    assert shop.rejected() == {}
    assert load.by_version()["late60"] == 0
    shop.delete()


def no_room_is_nobodys_fault(api: Api) -> None:
    shop = Shop(api, "no-room", rollout={"deadline": slowed(12)})
    shop.serve("good")
    before = shop.pod_uids("good")
    shop.try_version("better", resources={"requests": {"cpu": "1000"}})
    shop.wait_for_outcome("better Undecided")
    assert "Unschedulable" in shop.status["history"][-1]["message"]
    assert_waits(shop, before)


def missing_image_is_nobodys_fault(api: Api) -> None:
    shop = Shop(api, "no-image", rollout={"deadline": slowed(12)})
    shop.serve("good")
    before = shop.pod_uids("good")
    shop.try_version("better", image="localhost/there-is-no-such-image:1")
    shop.wait_for_outcome("better Undecided")
    assert "ImagePullFailed" in shop.status["history"][-1]["message"]
    assert_waits(shop, before)


def assert_waits(shop: Shop, before: set[str]) -> None:
    """Undecided: no quarantine, stable untouched, tried again later; a good one takes its place."""
    assert shop.rejected() == {}
    assert shop.status["backOff"]["attempts"] == 1
    assert shop.route() == shop.status["stable"]["revision"]
    assert shop.pod_uids("good") == before
    shop.rollout["deadline"] = "5m"
    with shop.load(RATE):
        shop.try_version("best")
        shop.wait_for_outcome("best Promoted")
    shop.delete()


def crash_is_rolled_back_with_last_words(api: Api) -> None:
    shop = Shop(api, "crashing")
    shop.serve("good")
    before = shop.pod_uids("good")
    shop.try_version("crash")
    shop.wait_for_outcome("crash RolledBack")
    entry = shop.rejected()["crash"]
    assert entry["reason"] == "CandidateDown"
    assert "the model does not load: made to crash (exit code 3)" in entry["evidence"]
    assert shop.pod_uids("good") == before
    shop.delete()


def never_ready_is_rolled_back_at_the_deadline(api: Api) -> None:
    shop = Shop(api, "never-ready", rollout={"deadline": slowed(10)})
    shop.serve("good")
    shop.try_version("never")
    shop.wait_for_outcome("never RolledBack")
    assert shop.rejected()["never"]["reason"] == "NeverReady"
    shop.wait_until_gone("never")
    shop.delete()


def person_pauses_and_resumes(api: Api) -> None:
    shop = Shop(api, "paused", steps=({"weight": "33%", "for": "4s"},))
    shop.serve("good")
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for("a step", lambda: shop.phase() == "Stepping")
        shop.command("pause")
        shop.wait_for("paused", lambda: condition(shop.live, "Paused")["status"] == "True")
        seen = load.by_version()["better"]
        shop.wait_for("users go on", lambda: load.by_version()["better"] > seen + 30)
        assert shop.phase() == "Stepping"
        shop.command("resume")
        shop.wait_for_outcome("better Promoted")
    assert "CommandCarriedOut" in shop.event_reasons()
    shop.delete()


def step_waits_for_a_person(api: Api) -> None:
    shop = Shop(api, "pause-step", steps=({"weight": "33%", "for": "1s"}, {"pause": {}}))
    shop.serve("good")
    with shop.load(RATE):
        shop.try_version("better")
        shop.wait_for("paused", lambda: shop.reason("Paused") == "PausedByStep")
        shop.command("resume")
        shop.wait_for_outcome("better Promoted")
    shop.delete()


def person_aborts(api: Api) -> None:
    shop = Shop(api, "aborted", steps=LONG_STEP)
    shop.serve("good")
    with shop.load(RATE) as load:
        shop.try_version("better")
        shop.wait_for("a request", lambda: load.by_version()["better"])
        shop.command("abort", shop.status["candidate"]["revision"])
        shop.wait_for_outcome("better Aborted")
        shop.wait_until_gone("better")
    assert load.lost() == []
    entry = shop.rejected()["better"]
    assert entry["reason"] == "ByPerson"
    assert entry["by"] != "trimtab"
    shop.delete()


def person_promotes(api: Api) -> None:
    shop = Shop(api, "promoted-by-hand", steps=LONG_STEP)
    shop.serve("good")
    shop.try_version("better")
    shop.wait_for("a step", lambda: shop.phase() == "Stepping")
    shop.command("promote")
    shop.wait_for_outcome("better Promoted")
    assert not shop.status["history"][-1]["automatic"]
    shop.command("rollback")
    shop.wait_for("back at good", lambda: shop.serves("good"))
    assert "better" in shop.rejected()
    shop.delete()


def first_version_that_fails_says_so(api: Api) -> None:
    shop = Shop(api, "first-fails")
    shop.try_version("crash")
    shop.wait_for("failed", lambda: shop.reason("Ready") == "FirstVersionFailed", 180)
    assert "made to crash" in shop.message("Ready")
    shop.try_version("good")
    shop.wait_for("good serves", lambda: shop.serves("good"), 180)
    shop.delete()


SCENES: list[Scene] = [
    newer_version_supersedes,
    no_room_is_nobodys_fault,
    missing_image_is_nobodys_fault,
    crash_is_rolled_back_with_last_words,
    never_ready_is_rolled_back_at_the_deadline,
    person_pauses_and_resumes,
    step_waits_for_a_person,
    person_aborts,
    person_promotes,
    first_version_that_fails_says_so,
]


@pytest.fixture(scope="module")
def play(api: Api):
    with played(SCENES, api, 5) as play:
        yield play


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_end(scene: Scene, play: Play) -> None:
    play(scene)
