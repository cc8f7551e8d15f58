"""The four acts. Each returns once the cluster's own state shows it, or raises NotSeen.

`midway` is called once in the middle of an act, after the line that says so; the tests of the real
cluster end the operator there.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.demo.stage import NotSeen, Stage
from tests.demo.view import View
from tests.e2e.kit.api import moment
from tests.patience import stretched

Midway = Callable[[], None]
SHIFT = "10:15"
"""Degrees by which the camera is knocked askew; see manifests/quickstart/07-shift.yaml."""

RECOVERED_WITHIN = 0.05
RECOVERED_SECONDS = 8
"""Users are well again when so long no more than this share less than before is right."""


def nothing() -> None:
    """Let the act go on."""


def v1_serves(stage: Stage, midway: Midway = nothing) -> str:
    """(a) Three versions are published, v1 serves, users come."""
    stage.apply("00-publish.yaml")
    stage.until("the versions are published", lambda v: v.is_complete("digits-publish"), 240)
    manifests = stage.kubectl("logs", "job/digits-publish")
    stage.kubectl("apply", "-f", "-", stdin=manifests)
    stage.apply("01-serve.yaml")
    midway()
    stage.until("v1, v2 and v3 verified", _are_verified, 60)
    stage.until("v1 serves", lambda v: v.serves("v1"), 120)
    stage.apply("02-users.yaml")
    limit = f"--timeout={stretched(120):.0f}s"
    stage.kubectl("rollout", "status", "deployment/digits-users", limit, timeout=130)
    stage.until("v1 answers users", lambda _: _answered(stage, "v1") >= 100, 60)
    return f"v1 answers, {stage.accuracy(10):.0%} right"


def worse_is_rolled_back(stage: Stage, midway: Midway = nothing) -> str:
    """(b) v2 reads digits worse: its gate `wrong` fails; applied again, it is not tried again."""
    stage.apply("03-try-worse.yaml")
    stage.until("v2 answers a share of the users", lambda v: _is_at_step(v, "v2"), 90)
    midway()
    view = stage.until("v2 rolled back", lambda v: v.ended("v2", "RolledBack"), 180)
    end = view.ended("v2", "RolledBack")
    if "gate wrong" not in end["message"]:
        raise NotSeen(f"v2 was rolled back, but not by its gate `wrong`: {end['message']}")
    stage.until("v1 alone serves, v2 quarantined", _v2_is_out, 60)
    _applied_again(stage)
    tally = stage.stats()["total"]["versions"].get("v2")
    if not tally:
        raise NotSeen("v2 answered users before it was rolled back")
    after = tally["last"] - moment(end["at"]).timestamp()
    return f"v2 gave {tally['answered']} answers, the last {beside(after)} it was rolled back"


def beside(seconds: float) -> str:
    """Return in words how far a moment lies before or after another."""
    return f"{abs(seconds):.1f} s {'after' if seconds > 0 else 'before'}"


def _applied_again(stage: Stage) -> None:
    """Go back to v1 and ask for v2 once more: nothing is started."""
    stage.apply("01-serve.yaml")
    stage.until("v1 is what is wanted", lambda v: v.serves("v1"), 30)
    tried = len(stage.view().status["history"])
    stage.apply("03-try-worse.yaml")
    view = stage.until("v2 refused", lambda v: v.is_current and _quarantined(v), 30)
    why = View.condition(view.deployment, "Quarantined")
    stage.tell_own("digits", f"is {why['reason']}", why["message"])
    stage.holds_for(
        "v2 is not tried again",
        lambda v: len(v.status["history"]) == tried and v.serves("v1"),
        6,
    )


def better_is_promoted(stage: Stage, midway: Midway = nothing) -> str:
    """(c) v3 is good: every gate passes, and it takes over."""
    stage.apply("04-try-better.yaml")
    stage.until("v3 answers a share of the users", lambda v: _is_at_step(v, "v3"), 90)
    midway()
    stage.until("v3 promoted", lambda v: v.ended("v3", "Promoted"), 240)
    stage.until("v3 alone serves", lambda v: v.serves("v3"), 60)
    return "v3 serves alone"


def drift_is_cured(stage: Stage, midway: Midway = nothing) -> str:
    """(d) Images shift; one retraining on newly labelled data makes a version that takes over."""
    stage.apply("05-follow.yaml")
    stage.apply("06-watch.yaml")
    view = stage.until("estimated accuracy is fine", lambda v: _verdict(v) == "Stable", 90)
    stage.tell_own("digits", "is Stable", view.signal("quality")["message"])
    before = stage.accuracy(15)
    _shift(stage)
    stage.until("one RetrainJob", lambda v: v.retrainings, 120)
    during = stage.accuracy(10)
    midway()
    view = stage.until("the retraining ended", _retrained, 180)
    new = view.retrainings[0]["status"]["newVersion"]
    stage.until(f"{new} promoted", lambda v: v.ended(new, "Promoted"), 240)
    stage.until(f"{new} alone serves", lambda v: v.serves(new), 60)
    stage.until("no harm any more", _is_unharmed, 120)
    stage.until(
        f"users get right answers again, nearly {before:.0%}",
        lambda _: stage.accuracy(RECOVERED_SECONDS) > before - RECOVERED_WITHIN,
        60,
    )
    after = stage.accuracy(RECOVERED_SECONDS)
    view = stage.view()
    if len(view.retrainings) != 1:
        raise NotSeen(f"exactly one RetrainJob: there are {len(view.retrainings)}")
    return f"right answers: {before:.0%}, askew {during:.0%}, {new} {after:.0%}"


def _shift(stage: Stage) -> None:
    """People label images of the camera that was knocked askew; then all users have it."""
    documents = stage.manifest("07-shift.yaml").split("\n---\n")
    job = next(one for one in documents if "kind: Job" in one)
    stage.kubectl("apply", "-f", "-", stdin=job)
    stage.until("images labelled", lambda v: v.is_complete("digits-label"), 120)
    stage.tell_own("people", "label", stage.kubectl("logs", "job/digits-label").strip())
    stage.turn(rotate=SHIFT)
    stage.tell_own("users", "shift", f"from now on their images are turned by {SHIFT} degrees")


def _answered(stage: Stage, version: str) -> int:
    versions = stage.stats()["total"]["versions"]
    return int(versions.get(version, {}).get("answered", 0))


def _are_verified(view: View) -> bool:
    found = [(one.get("status") or {}).get("phase") for one in view.versions.values()]
    return len(found) == 3 and set(found) == {"Verified"}


def _is_at_step(view: View, version: str) -> bool:
    """The version gets its share, or its rollout has ended in the meantime."""
    return view.happened("StepReached", f" {version} gets") is not None


def _quarantined(view: View) -> bool:
    return View.condition(view.deployment, "Quarantined")["status"] == "True"


def _v2_is_out(view: View) -> bool:
    return view.serves("v1") and bool(view.rejected("v2")) and _quarantined(view)


def _verdict(view: View) -> str:
    return str(view.signal("quality").get("verdict", ""))


def _retrained(view: View) -> bool:
    phase = (view.retrainings[0].get("status") or {}).get("phase")
    if phase in ("Rejected", "InsufficientData", "Failed"):
        raise NotSeen(f"a new version: the RetrainJob ended as {phase}; {view.brief()}")
    return phase == "Succeeded"


def _is_unharmed(view: View) -> bool:
    return View.condition(view.policy, "Harm")["status"] == "False"
