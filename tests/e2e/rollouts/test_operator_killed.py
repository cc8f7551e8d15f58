"""The operator dies by SIGKILL in the middle of things; whoever comes next finishes them.

Four Deployments stand in four places of a rollout when it happens: starting, in a step, promoting
and rolling back.
"""

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.load import Load
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.shop import Shop
from tests.patience import stretched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

RATE = 10.0


class Story:
    """One Deployment under load, its pods as they were when the operator died."""

    def __init__(self, api: Api, name: str, candidate: str, *, replicas: int, seconds: int) -> None:
        self.candidate = candidate
        self.shop = Shop(
            api, name, replicas=replicas, steps=({"weight": "33%", "for": f"{seconds}s"},)
        )
        self.before: dict[str, set[str]] = {}
        self.load: Load

    def serve(self) -> None:
        self.shop.serve("good")
        self.shop.publish(self.candidate)
        self.load = self.shop.load(RATE)
        self.load.__enter__()

    def is_in(self, phase: str) -> bool:
        return self.shop.phase() == phase

    def note_pods(self) -> None:
        """Remember the pods that serve now; none of them may start anew."""
        for version in ("good", self.candidate):
            self.before[version] = self.shop.pod_uids(version)

    def assert_untouched(self) -> None:
        """Every pod that was there is there, as it was; there may be more."""
        for version, pods in self.before.items():
            assert pods <= self.shop.pod_uids(version), f"{self.shop.name}: {version}"

    def assert_ended(self, outcome: str) -> None:
        self.shop.wait_for_outcome(f"{self.candidate} {outcome}", 120)
        self.load.__exit__()
        assert self.shop.outcomes() == ["good Promoted", f"{self.candidate} {outcome}"]
        assert self.load.lost() == []


def test_what_was_begun_is_finished_by_the_next_process(api: Api, release: OperatorProcess):
    # Each stays where it is until all three are there.
    late20, late9 = f"late{stretched(20):.0f}", f"late{stretched(9):.0f}"
    starting = Story(api, "killed-starting", late20, replicas=2, seconds=3)
    stepping = Story(api, "killed-stepping", "better", replicas=2, seconds=round(stretched(20)))
    promoting = Story(api, "killed-promoting", late9, replicas=3, seconds=5)
    stories = (starting, stepping, promoting)
    for story in stories:
        story.serve()
    promoting.shop.want(promoting.candidate)
    promoting.shop.wait_for("its step", lambda: promoting.is_in("Stepping"), 180)
    for story in (stepping, starting):
        story.shop.want(story.candidate)
    stepping.shop.wait_for("its step", lambda: stepping.is_in("Stepping"))
    promoting.shop.wait_for("promoting", lambda: promoting.is_in("Promoting"), 180)
    assert starting.is_in("Starting")
    assert stepping.is_in("Stepping")
    for story in stories:
        story.note_pods()

    release.kill()

    release.wait_until_working()
    for story in stories:
        story.assert_untouched()
    for story in (promoting, starting, stepping):
        story.assert_ended("Promoted")
        story.shop.delete()


def test_way_back_is_finished_by_the_next_process(api: Api, release: OperatorProcess):
    story = Story(api, "killed-returning", "fail100", replicas=3, seconds=30)
    story.serve()
    story.shop.want("fail100")
    story.shop.wait_for("decided", story.shop.rejected, 60)

    release.kill()

    story.shop.wait_for("traffic is back", lambda: story.shop.route() is not None, 60)
    release.wait_until_working()
    story.shop.wait_until_gone("fail100")
    seen = len(story.load.answers)
    story.shop.wait_for("users go on", lambda: len(story.load.answers) > seen + 20)
    story.assert_ended("RolledBack")
    assert list(story.shop.rejected()) == ["fail100"]
    assert {answer.version for answer in story.load.answers[-20:]} == {"good"}
    story.shop.delete()
