"""What a policy asks of a Deployment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.decide.drift.policies import INPUTS, QUALITY, entry, policy
from tests.unit.loop_objects import BASELINE_1

from trimtab.api.conditions import EventReason
from trimtab.decide.drift.policy import decide_policy, features_kept, newly_begun, requested_action
from trimtab.decide.drift.rules import StartRetrain
from trimtab.decide.drift.snapshot import PolicySnapshot, WatchedDeployment


@pytest.mark.parametrize("do", ["rollback", "pause"])
def test_a_request_stands_while_the_verdict_is_about_what_serves(do: str) -> None:
    made = policy(QUALITY, actions=[{"signal": "quality", "do": [do]}])
    status = made.status.model_copy(
        update={"signals": [entry()], "baselines": {"digits": BASELINE_1}}
    )
    drifting = made.model_copy(update={"status": status})
    asked = requested_action([policy(INPUTS), drifting], "digits", BASELINE_1)
    assert asked is not None
    assert (asked.do, asked.message) == (do, "digits: quality Drifting")
    assert requested_action([drifting], "digits", "sha256:" + "0" * 64) is None
    calm = status.model_copy(update={"signals": [entry(verdict="Stable")]})
    assert (
        requested_action([made.model_copy(update={"status": calm})], "digits", BASELINE_1) is None
    )


def test_what_had_fired_for_another_version_is_not_told_as_judged() -> None:
    made = policy(QUALITY)
    status = made.status.model_copy(
        update={"signals": [entry()], "baselines": {"digits": BASELINE_1}}
    )
    drifting = made.model_copy(update={"status": status})
    other = "sha256:" + "0" * 64
    watched = WatchedDeployment("digits", "digits", is_serving=True, baseline_digest=other)
    now = datetime(2026, 1, 1, 1, tzinfo=UTC)
    (note,) = decide_policy(PolicySnapshot(drifting, now, (watched,))).notes
    assert note.reason == EventReason.DRIFT_CLEARED
    assert note.message.startswith(
        "digits: quality had fired for a version that serves no more; not judged yet for this one: "
    )


def test_of_two_retrainings_that_are_refused_each_start_is_told_once() -> None:
    starts = [StartRetrain(name, name, "quality", {}, "below its floor") for name in ("a", "b")]
    status = policy(QUALITY).status
    assert newly_begun(status, starts) == starts
    told = status.model_copy(update={"started": ["a", "b"]})
    assert newly_begun(told, starts) == []


@pytest.mark.parametrize(("watched", "kept"), [(0, 20), (1, 20), (10, 20), (20, 10), (100, 5)])
def test_a_policy_that_watches_many_names_fewer_features_of_each(watched: int, kept: int) -> None:
    assert features_kept(watched) == kept
