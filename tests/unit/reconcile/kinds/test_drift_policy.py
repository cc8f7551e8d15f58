"""A DriftPolicy judges windows and starts what follows, against the cluster in memory."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.drift_counts import baseline
from tests.unit.loop_objects import (
    DEPLOYMENT_KEY,
    DIGEST_2,
    NAMESPACE,
    deployment,
    documents,
    model_version,
    tried,
)
from tests.unit.reconcile.kinds.policies import (
    BASELINE,
    POLICY,
    QUALITY,
    PolicyShop,
    policy_object,
)

from trimtab.api.deployment import DeploymentStatus
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.resource import Resource
from trimtab.cluster.port import DRIFT_POLICIES, MODEL_VERSIONS, RETRAIN_JOBS, Json, Key
from trimtab.decide.drift.policy import requested_action
from trimtab.errors import Refused, TrimtabError, Unavailable
from trimtab.reconcile.machine.interest import interested
from trimtab.simulation.cluster import EventType, Killed
from trimtab.store.port import StoreAway

INPUTS = {"kind": "inputs", "tolerance": 0.02}
PREDICTIONS = {"kind": "predictions", "tolerance": 0.02}
OUTCOMES = {"kind": "outcomes", "floor": {"dropBy": "3%"}}
DATA = {"kind": "data", "missing": "2%"}


async def test_a_quiet_month_is_stable_and_writes_little() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(INPUTS, PREDICTIONS, QUALITY))
    await shop.harness.advance(1800)
    assert {shop.verdict(kind) for kind in ("inputs", "predictions", "quality")} == {"Stable"}
    assert shop.condition("Watching")["status"] == "True"
    assert shop.condition("Harm")["status"] == "False"
    assert shop.condition("DriftDetected")["status"] == "False"
    assert shop.events() == []
    assert shop.jobs() == []
    assert shop.status()["summary"]["verdict"] == "Stable"
    # The first view, the first verdicts, and nothing after that: all windows counted the same.
    assert len(shop.cluster.writes) <= 2 + 1800 // 300


async def test_without_traffic_nothing_is_written_at_rest() -> None:
    shop = PolicyShop()
    shop.feed = None
    shop.apply(policy_object(INPUTS, QUALITY, DATA))
    await shop.harness.advance(300)
    before = len(shop.cluster.writes)
    await shop.harness.advance(3600)
    assert shop.verdict("quality") == "NoData"
    assert "NoTraffic" in shop.signal("quality")["message"]
    assert shop.condition("Harm")["status"] == "Unknown"
    assert len(shop.cluster.writes) == before


async def test_the_budget_tells_looks_and_alarms() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(INPUTS, QUALITY, falseAlarms={"perQuarter": 4}))
    await shop.harness.advance(310)
    budget = shop.harness.world.memory[POLICY].decided.budget
    # Windows of a minute from the first that was watched whole on, for two signals.
    assert budget.looks == 2 * 5
    assert budget.per_quarter == 4
    assert budget.level_per_look == pytest.approx(4 / (90 * 24 * 60) / 2, rel=0.01)
    assert budget.alarms == []
    shop.feed = {"accuracy": 0.81}
    await shop.harness.advance(310)
    assert len(shop.harness.world.memory[POLICY].decided.budget.alarms) == 1
    assert len(shop.status()["budget"]["alarms"]) == 1


async def test_pods_that_do_not_answer_are_no_bad_data() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    shop.silent = True
    await shop.harness.advance(300)
    assert shop.verdict("quality") == "NoData"
    assert "BackendDown: pod-a: connection refused" in shop.signal("quality")["message"]
    assert shop.jobs() == []


async def test_estimated_harm_starts_one_retraining() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    shop.feed = {"accuracy": 0.81}
    await shop.harness.run_until(lambda: bool(shop.jobs()), 180)
    (job,) = shop.jobs()
    signal = shop.signal("quality")
    assert signal["verdict"] == "Drifting"
    assert signal["message"].startswith("estimated accuracy 0.8")
    assert job["spec"]["cause"] == {
        "deployment": "digits",
        "policy": "digits",
        "signal": "quality",
        "baseline": BASELINE.digest,
        "attempt": 1,
    }
    assert job["spec"]["gate"]["mustBeat"] == pytest.approx(0.944)
    assert job["spec"]["data"]["since"] == signal["windowStart"]
    assert job["metadata"]["name"].startswith("digits-")
    assert "ownerReferences" not in job["metadata"]
    assert shop.condition("Harm")["status"] == "True"
    assert shop.events() == ["HarmDetected", "RetrainStarted"]
    assert shop.status()["lastAction"]["do"] == f"retrain {job['metadata']['name']}"
    assert shop.status()["summary"] | {"n": "", "value": ""} == {
        "target": "digits",
        "verdict": "Drifting",
        "signal": "quality",
        "value": "",
        "n": "",
        "action": f"retrain {job['metadata']['name']}",
    }
    await shop.harness.advance(1800)
    assert len(shop.jobs()) == 1


async def test_the_verdict_is_written_before_the_job_is_made() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    await shop.harness.run_until(lambda: bool(shop.jobs()), 180)
    verbs = [(write.verb, write.key.resource.plural) for write in shop.cluster.writes]
    made = verbs.index(("create", "retrainjobs"))
    status = ("apply_status", "driftpolicies")
    # Then that it was made: a job that is gone later was deleted by somebody.
    assert [verbs[made - 1], verbs[made + 1]] == [status, status]
    assert len(verbs) == made + 2


RULES: dict[str, tuple[Json, dict[str, Any], list[str], int]] = {
    "input_drift_alone_notifies": (INPUTS, {"shift": 0.9}, ["DriftDetected"], 0),
    "prediction_drift_alone_notifies": (PREDICTIONS, {"scores_shift": 0.9}, ["DriftDetected"], 0),
    "wrong_outcomes_retrain": (
        OUTCOMES,
        {"labelled": 2500, "right": 0.8},
        ["HarmDetected", "RetrainStarted"],
        1,
    ),
    "too_few_labels_do_nothing": (OUTCOMES, {"labelled": 500, "right": 0.8}, [], 0),
    "broken_data_notifies": (DATA, {"missing": 0.5}, ["DataBroken"], 0),
}


@pytest.mark.parametrize(("signal", "feed", "events", "jobs"), RULES.values(), ids=RULES.keys())
async def test_rule(signal: Json, feed: dict[str, Any], events: list[str], jobs: int) -> None:
    shop = PolicyShop()
    shop.apply(policy_object(signal))
    await shop.harness.advance(130)
    shop.feed = feed
    await shop.harness.advance(180)
    assert shop.events() == events
    assert len(shop.jobs()) == jobs


async def test_nothing_is_retrained_while_the_data_is_broken() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(DATA, QUALITY))
    await shop.harness.advance(130)
    shop.feed = {"missing": 0.5, "accuracy": 0.81}
    await shop.harness.advance(400)
    assert shop.jobs() == []
    assert shop.events() == ["DataBroken", "HarmDetected", "RetrainSkipped"]
    assert shop.condition("DataBroken")["status"] == "True"
    shop.feed = {"accuracy": 0.81}
    await shop.harness.run_until(lambda: bool(shop.jobs()), 300)


async def test_recovered_quality_clears_the_finding() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    shop.feed = {}
    await shop.harness.advance(180)
    assert shop.events()[-1] == "DriftCleared"
    assert shop.condition("Harm")["status"] == "False"


async def test_a_new_baseline_begins_anew() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    assert shop.verdict("quality") == "Drifting"
    other = baseline(n=20_000)
    shop.store.by_digest[DIGEST_2] = documents(other)
    shop.cluster.user_apply(model_version("v2", digest=DIGEST_2))
    shop.set_status(stable=tried("v2", digest=DIGEST_2))
    await shop.harness.settle()
    assert shop.verdict("quality") == "NoData"
    assert shop.status()["baselines"] == {"digits": other.digest}
    assert shop.events()[-1] == "DriftCleared"
    shop.baseline, shop.digest, shop.feed = other, DIGEST_2, {"accuracy": 0.97}
    await shop.harness.advance(130)
    assert shop.verdict("quality") == "Stable"


# --- the guards ---------------------------------------------------------------------------------


async def drifting_shop(retrain: Json | None = None) -> PolicyShop:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY, retrain=retrain))
    await shop.harness.run_until(lambda: bool(shop.jobs()), 180)
    return shop


def skipped(shop: PolicyShop) -> list[str]:
    return [entry["reason"] for entry in shop.status().get("skipped", [])]


async def test_after_a_rejected_attempt_the_next_waits_for_the_cooldown() -> None:
    shop = await drifting_shop()
    first = shop.jobs()[0]["metadata"]["name"]
    shop.finish(first, "Rejected")
    ended = shop.cluster.time
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 1200)
    assert 600 <= (shop.cluster.time - ended).total_seconds() <= 605
    assert shop.jobs()[1]["spec"]["cause"]["attempt"] == 2
    assert skipped(shop) == ["Cooldown"]
    assert shop.events().count("RetrainSkipped") == 1


async def test_it_gives_up_after_so_many_rejected_attempts() -> None:
    shop = await drifting_shop({"cooldown": "1s"})
    for number in (0, 1):
        await shop.harness.run_until(lambda number=number: len(shop.jobs()) > number, 300)  # type: ignore[misc]
        shop.finish(shop.jobs()[number]["metadata"]["name"], "Rejected")
    await shop.harness.advance(1800)
    assert len(shop.jobs()) == 2
    assert skipped(shop)[-1] == "GaveUp"
    assert shop.events().count("RetrainSkipped") == len(skipped(shop))


async def test_failed_attempts_do_not_count_for_giving_up() -> None:
    shop = await drifting_shop({"cooldown": "1s", "giveUpAfter": 1})
    shop.finish(shop.jobs()[0]["metadata"]["name"], "Failed", failure="infrastructure")
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 300)


async def test_no_more_than_so_many_a_week() -> None:
    shop = await drifting_shop({"cooldown": "1s", "maxPerWeek": 2})
    for number in (0, 1):
        await shop.harness.run_until(lambda number=number: len(shop.jobs()) > number, 300)  # type: ignore[misc]
        shop.finish(shop.jobs()[number]["metadata"]["name"], "Failed", failure="data")
    await shop.harness.advance(3600)
    assert len(shop.jobs()) == 2
    assert skipped(shop)[-1] == "MaxPerWeek"


async def test_one_retraining_of_a_deployment_at_a_time() -> None:
    shop = PolicyShop()
    shop.cluster.user_apply(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "RetrainJob",
            "metadata": {"name": "by-hand", "namespace": NAMESPACE},
            "spec": {
                "model": "digits",
                "cause": {"manual": "alice", "deployment": "digits"},
                "engine": {"job": {}},
                "data": {"uri": "s3://data/scans/"},
            },
        }
    )
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY, retrain={"cooldown": "1s"}))
    await shop.harness.advance(200)
    assert len(shop.jobs()) == 1
    assert skipped(shop) == ["ActiveJob"]
    shop.finish("by-hand", "Rejected")
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 60)


async def test_no_retraining_while_a_version_is_tried() -> None:
    shop = PolicyShop()
    shop.set_status(
        stable=tried("v1"),
        candidate=tried("v2", digest=DIGEST_2),
        rollout={"phase": "Starting", "started": "2026-01-01T00:00:00Z"},
    )
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(200)
    assert shop.jobs() == []
    assert skipped(shop) == ["RolloutInProgress"]
    shop.set_status(stable=tried("v1"))
    await shop.harness.run_until(lambda: bool(shop.jobs()), 60)


async def test_a_version_that_waits_to_be_taken_up_is_answer_enough() -> None:
    shop = await drifting_shop({"cooldown": "1s"})
    job = shop.jobs()[0]
    shop.cluster.user_apply(model_version("r1234abcd", digest=DIGEST_2))
    shop.finish(job["metadata"]["name"], "Succeeded", modelVersion="digits-r1234abcd")
    await shop.harness.advance(1800)
    assert len(shop.jobs()) == 1
    assert skipped(shop) == []
    shop.set_status(
        stable=tried("v1"),
        rejected=[
            {
                "revision": "x",
                "version": "r1234abcd",
                "reason": "GateFailed",
                "by": "trimtab",
                "at": "2026-01-01T00:00:00Z",
            }
        ],
    )
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 120)


async def test_a_refused_retrain_job_is_told_and_tried_again() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.cluster.fault = lambda verb, key: (
        Refused("exceeded quota") if key.resource == RETRAIN_JOBS else None
    )
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(100)
    assert shop.events() == ["HarmDetected", "RetrainStarted", "WriteRefused"]
    assert shop.condition("Stalled")["message"] == "exceeded quota"
    shop.cluster.fault = lambda verb, key: None
    await shop.harness.run_until(lambda: bool(shop.jobs()), 180)
    assert shop.condition("Stalled")["status"] == "False"
    assert shop.events() == ["HarmDetected", "RetrainStarted", "WriteRefused"]


# --- who watches --------------------------------------------------------------------------------


async def test_the_older_of_two_policies_wins() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY, name="zebra"))
    await shop.harness.advance(10)
    shop.apply(policy_object(QUALITY, name="ant"))
    await shop.harness.advance(130)
    assert shop.condition("Watching", "zebra")["status"] == "True"
    overlap = shop.condition("Watching", "ant")
    assert (overlap["status"], overlap["reason"]) == ("False", "Overlap")
    assert "digits is watched by zebra" in overlap["message"]
    shop.cluster.user_delete(POLICY._replace(name="zebra"))
    await shop.harness.advance(130)
    assert shop.condition("Watching", "ant")["status"] == "True"
    assert shop.status("ant")["signals"][0]["verdict"] == "Stable"


async def test_a_selector_by_labels_follows_them() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY, selector={"matchLabels": {"team": "vision"}}))
    await shop.harness.advance(10)
    assert shop.condition("Watching")["reason"] == "NoTarget"
    labelled = deployment()
    labelled["metadata"]["labels"] = {"team": "vision"}
    shop.cluster.user_apply(labelled)
    await shop.harness.advance(130)
    assert shop.verdict("quality") == "Stable"


async def test_a_deployment_that_serves_nothing_is_not_judged() -> None:
    shop = PolicyShop()
    shop.set_status()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    assert shop.condition("Watching")["reason"] == "NoTarget"
    assert shop.status().get("signals", []) == []


async def test_a_store_that_is_away_leaves_what_needs_no_baseline() -> None:
    shop = PolicyShop()
    shop.store.missing = StoreAway("timeout")
    shop.apply(policy_object(INPUTS, QUALITY))
    await shop.harness.advance(130)
    assert shop.verdict("quality") == "Stable"
    assert shop.verdict("inputs") == "NoData"
    assert "timeout" in shop.signal("inputs")["message"]
    assert shop.store.reads <= 4
    shop.store.missing = None
    await shop.harness.advance(130)
    assert shop.verdict("inputs") == "Stable"


async def test_after_a_restart_with_the_store_away_what_was_found_stands() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    before = shop.status()
    assert shop.verdict("quality") == "Drifting"
    shop.store.missing = StoreAway("timeout")
    shop.harness.restart()
    await shop.harness.settle()
    assert shop.status() == before
    await shop.harness.advance(1000)
    assert shop.verdict("quality") == "Drifting"
    assert shop.events().count("HarmDetected") == 1
    assert len(shop.jobs()) == 1


async def test_without_a_known_score_a_drop_cannot_be_judged() -> None:
    shop = PolicyShop()
    shop.store.by_digest[DIGEST_2] = documents(baseline(accuracy=None))
    shop.baseline, shop.digest = baseline(accuracy=None), DIGEST_2
    shop.cluster.user_apply(model_version("v2", digest=DIGEST_2))
    shop.set_status(stable=tried("v2", digest=DIGEST_2))
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    assert "no accuracy is known" in shop.signal("quality")["message"]


async def test_quality_cannot_slip_by_a_drop_per_retraining() -> None:
    """The floor hangs on the best promoted version, not on the one that serves."""
    shop = PolicyShop()
    shop.cluster.user_apply(
        model_version("v2", digest=DIGEST_2, evaluation=[{"metric": "accuracy", "value": 0.95}])
    )
    shop.store.by_digest[DIGEST_2] = documents(BASELINE)
    promoted = {
        "version": "v1",
        "revision": "r",
        "outcome": "Promoted",
        "at": "2026-01-01T00:00:00Z",
    }
    shop.set_status(stable=tried("v2", digest=DIGEST_2), history=[promoted])
    shop.digest = DIGEST_2
    shop.feed = {"accuracy": 0.93}
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    assert shop.signal("quality")["threshold"] == pytest.approx(0.944)
    assert shop.verdict("quality") == "Drifting"


async def test_one_cause_has_one_job_wherever_the_operator_is_killed() -> None:
    async def end_state(crash_at: int | None) -> tuple[list[Json], str, str]:
        shop = PolicyShop()
        shop.feed = {"accuracy": 0.81}
        shop.apply(policy_object(QUALITY))
        shop.cluster.crash_after_writes = crash_at
        for _ in range(3):
            try:
                await shop.harness.advance(300)
                break
            except Killed:
                shop.cluster.crash_after_writes = None
                shop.harness.restart()
        return (
            [job["metadata"]["name"] for job in shop.jobs()],
            shop.status()["lastAction"]["do"],
            shop.verdict("quality"),
        )

    undisturbed = await end_state(None)
    assert len(undisturbed[0]) == 1
    for crash_at in range(5):
        assert await end_state(crash_at) == undisturbed


async def test_killed_between_verdict_and_job_a_silent_window_later_it_still_answers() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    shop.cluster.crash_after_writes = 2
    with pytest.raises(Killed):
        await shop.harness.advance(300)
    assert shop.verdict("quality") == "Drifting"
    assert shop.jobs() == []
    shop.cluster.crash_after_writes = None
    shop.harness.restart()
    await shop.harness.settle()
    assert len(shop.jobs()) == 1


async def test_a_new_version_that_the_view_lacks_is_answer_enough() -> None:
    shop = await drifting_shop({"cooldown": "1s"})
    take = shop.harness._take

    def hear(event: EventType, resource: Resource, obj: Json) -> None:
        if resource != MODEL_VERSIONS:
            take(event, resource, obj)

    shop.harness._take = hear  # type: ignore[method-assign]
    shop.cluster.user_apply(model_version("r1234abcd", digest=DIGEST_2))
    shop.finish(shop.jobs()[0]["metadata"]["name"], "Succeeded", modelVersion="digits-r1234abcd")
    await shop.harness.advance(1800)
    assert len(shop.jobs()) == 1
    assert shop.events().count("RetrainStarted") == 1


async def test_a_verdict_about_a_version_that_serves_no_more_retrains_nothing() -> None:
    shop = await drifting_shop({"cooldown": "1s"})
    name = shop.jobs()[0]["metadata"]["name"]
    shop.cluster.user_apply(model_version("r1234abcd", digest=DIGEST_2))
    shop.feed = None
    shop.store.missing = StoreAway("timeout")
    shop.harness.restart()
    shop.finish(name, "Succeeded", modelVersion="digits-r1234abcd")
    shop.set_status(stable=tried("r1234abcd", digest=DIGEST_2))
    await shop.harness.advance(600)
    assert shop.verdict("quality") == "Drifting"
    assert len(shop.jobs()) == 1


async def test_a_spec_that_could_only_be_looked_at_is_judged_once_it_can_be_read() -> None:
    """The pass counts it as observed, so that nobody waits for it; no verdict is about it."""
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    say_otherwise(
        shop,
        "quality",
        verdict="InsufficientData",
        windowStart="2026-01-01T00:01:00Z",
        windowEnd="2026-01-01T00:02:00Z",
    )

    def change(obj: Json) -> None:
        obj["spec"]["signals"][0]["floor"] = {"dropBy": "9%"}
        obj["status"]["observedGeneration"] = obj["metadata"]["generation"] + 1

    shop.cluster.user_change(POLICY, change)
    await shop.harness.advance(1)
    assert shop.verdict("quality") == "Stable"


# --- two operators at once ----------------------------------------------------------------------


def say_otherwise(shop: PolicyShop, kind: str, **words: Any) -> Json:
    """Let another operator write what it finds of one signal; return what it wrote."""
    written: Json = {}

    def change(obj: Json) -> None:
        signal = next(s for s in obj["status"]["signals"] if s["kind"] == kind)
        signal.update(words)
        written.update(signal)

    shop.cluster.user_change(POLICY, change)
    return written


async def test_a_window_that_another_operator_has_judged_is_not_judged_again() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    assert shop.verdict("quality") == "Stable"
    fewer = say_otherwise(
        shop,
        "quality",
        verdict="InsufficientData",
        n=118,
        windowStart="2026-01-01T00:01:00Z",
        windowEnd="2026-01-01T00:02:00Z",
    )
    before = len(shop.cluster.writes)
    await shop.harness.advance(40)
    assert shop.signal("quality") == fewer
    # The conditions that follow from it, once.
    assert len(shop.cluster.writes) <= before + 1
    await shop.harness.advance(30)
    assert shop.verdict("quality") == "Stable"


async def test_who_sees_nothing_leaves_the_word_of_another_operator() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    say_otherwise(shop, "quality", n=5000)
    shop.silent = True
    await shop.harness.advance(500)
    assert shop.verdict("quality") == "Stable"
    await shop.harness.advance(200)
    assert shop.verdict("quality") == "NoData"


async def test_broken_data_that_another_operator_found_stands_until_that_one_is_gone() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(DATA))
    await shop.harness.advance(130)
    assert shop.verdict("data") == "Stable"
    say_otherwise(shop, "data", verdict="Drifting", message="missing values of x: 50%")
    before = len(shop.cluster.writes)
    await shop.harness.advance(500)
    assert shop.verdict("data") == "Drifting"
    assert len(shop.cluster.writes) - before <= 2
    await shop.harness.advance(200)
    assert shop.verdict("data") == "Stable"


async def test_broken_data_is_told_although_another_operator_sees_none() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(DATA))
    await shop.harness.advance(130)
    shop.feed = {"missing": 0.5}
    await shop.harness.run_until(lambda: shop.verdict("data") == "Drifting", 300)
    say_otherwise(shop, "data", verdict="Stable", message="within their limits")
    await shop.harness.advance(10)
    assert shop.verdict("data") == "Drifting"


async def test_a_status_whose_reply_was_lost_is_told_once() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    apply_status = shop.cluster.apply_status
    lost: list[Key] = []

    async def write(key: Key, status: Json, **conditions: Any) -> Json:
        stored = await apply_status(key, status, **conditions)
        if "lastAction" in status and not lost:
            lost.append(key)
            raise Unavailable("no reply")
        return stored

    shop.cluster.apply_status = write  # type: ignore[method-assign]
    await shop.harness.advance(300)
    assert lost
    assert len(shop.jobs()) == 1
    assert shop.events() == ["HarmDetected", "RetrainStarted"]


async def test_a_rule_may_ask_for_the_last_good_version() -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY, actions=[{"signal": "quality", "do": ["rollback"]}]))
    before = shop.harness.passes[DEPLOYMENT_KEY]
    await shop.harness.advance(130)
    assert shop.harness.passes[DEPLOYMENT_KEY] > before
    policy = DriftPolicy.model_validate(shop.cluster.get(POLICY))
    asked = requested_action([policy], "digits", BASELINE.digest)
    assert asked is not None
    assert asked.do == "rollback"
    assert "estimated accuracy" in asked.message
    assert requested_action([policy], "digits", "sha256:" + "0" * 64) is None
    assert requested_action([policy], "other", BASELINE.digest) is None
    assert shop.jobs() == []


def test_what_the_policy_reads_of_a_deployment_exists() -> None:
    fields = DeploymentStatus.model_fields
    assert {"stable", "last_good", "candidate", "rollout", "history", "rejected"} <= fields.keys()


async def test_a_verdict_whose_status_was_not_written_is_told_with_the_next_try() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY))
    await shop.harness.advance(130)
    shop.feed = {"accuracy": 0.81}
    failed: list[Key] = []

    def fault(verb: str, key: Key) -> TrimtabError | None:
        if verb != "apply_status" or failed:
            return None
        failed.append(key)
        return Unavailable("the reply was 500")

    shop.cluster.fault = fault
    await shop.harness.run_until(lambda: bool(shop.jobs()), 400)
    assert failed
    assert shop.events()[:2] == ["HarmDetected", "RetrainStarted"]


async def test_a_deleted_old_retrain_job_blocks_no_later_ones() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY, retrain={"giveUpAfter": 9, "cooldown": "1m"}))
    shop.feed = {"accuracy": 0.81}
    await shop.harness.run_until(lambda: len(shop.jobs()) == 1, 400)
    shop.finish(shop.jobs()[0]["metadata"]["name"], "Rejected")
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 400)
    shop.finish(shop.jobs()[1]["metadata"]["name"], "Rejected")
    old = shop.jobs()[0]["metadata"]["name"]
    shop.cluster.user_delete(Key(RETRAIN_JOBS, NAMESPACE, old))
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 400)
    assert [job["spec"]["cause"]["attempt"] for job in shop.jobs()] == [2, 3]


async def test_the_name_of_a_retrain_job_that_ended_and_was_deleted_is_not_used_again() -> None:
    shop = PolicyShop()
    shop.apply(policy_object(QUALITY, retrain={"cooldown": "1m"}))
    shop.feed = {"accuracy": 0.81}
    await shop.harness.run_until(lambda: len(shop.jobs()) == 1, 400)
    old = shop.jobs()[0]["metadata"]["name"]
    shop.finish(old, "Rejected")
    await shop.harness.advance(5)
    shop.cluster.user_delete(Key(RETRAIN_JOBS, NAMESPACE, old))
    await shop.harness.run_until(lambda: len(shop.jobs()) == 1, 400)
    assert shop.jobs()[0]["spec"]["cause"]["attempt"] == 2
    assert shop.jobs()[0]["metadata"]["name"] != old
    assert shop.status()["ended"] == [old]


# --- attempts whose RetrainJobs are deleted ------------------------------------------------------


def delete(shop: PolicyShop, name: str) -> None:
    shop.cluster.user_delete(Key(RETRAIN_JOBS, NAMESPACE, name))


def attempts(shop: PolicyShop) -> list[tuple[int, str]]:
    return [(one["attempt"], one["phase"]) for one in shop.status().get("attempts", [])]


def count_made(shop: PolicyShop) -> list[int]:
    """Return a list that gets the attempt of each RetrainJob that is made from now on."""
    made: list[int] = []

    def hear(event: EventType, resource: Resource, obj: Json) -> None:
        if (event, resource) == ("ADDED", RETRAIN_JOBS):
            made.append(obj["spec"]["cause"]["attempt"])

    shop.cluster.listen(hear)
    return made


async def end_and_clean_up(shop: PolicyShop, phase: str, minutes: int) -> None:
    """End each RetrainJob as soon as it runs, and delete it a moment later."""
    for _ in range(minutes):
        for job in shop.jobs():
            shop.finish(job["metadata"]["name"], phase)
            await shop.harness.advance(1)
            delete(shop, job["metadata"]["name"])
        await shop.harness.advance(60)


@pytest.mark.parametrize(
    ("retrain", "phase", "made", "reason"),
    [
        pytest.param({"giveUpAfter": 2, "cooldown": "1s"}, "Rejected", 2, "GaveUp", id="give_up"),
        pytest.param({"maxPerWeek": 3, "cooldown": "1s"}, "Failed", 3, "MaxPerWeek", id="week"),
        pytest.param({"cooldown": "20m"}, "Failed", 2, "Cooldown", id="cooldown"),
    ],
)
async def test_a_clean_up_of_finished_jobs_resets_no_guard(
    retrain: Json, phase: str, made: int, reason: str
) -> None:
    shop = await drifting_shop(retrain)
    heard = count_made(shop)
    await end_and_clean_up(shop, phase, 15)
    shop.harness.restart()
    heard_after = count_made(shop)
    await end_and_clean_up(shop, phase, 15)
    assert [1, *heard, *heard_after] == list(range(1, made + 1))
    assert shop.jobs() == []
    assert skipped(shop)[-1] == reason
    assert "RetrainCancelled" not in shop.events()


async def test_a_job_that_is_deleted_while_it_runs_was_cancelled() -> None:
    shop = await drifting_shop()
    (job,) = shop.jobs()
    delete(shop, job["metadata"]["name"])
    await shop.harness.advance(1)
    assert attempts(shop) == [(1, "Cancelled")]
    assert shop.jobs() == []
    assert shop.events().count("RetrainCancelled") == 1
    assert skipped(shop) == ["Cooldown"]
    await shop.harness.advance(590)
    assert shop.jobs() == []
    await shop.harness.run_until(lambda: bool(shop.jobs()), 20)
    assert attempts(shop) == [(1, "Cancelled"), (2, "Started")]
    delete(shop, shop.jobs()[0]["metadata"]["name"])
    await shop.harness.advance(1800)
    assert shop.jobs() == []
    assert skipped(shop)[-1] == "GaveUp"
    assert shop.events().count("RetrainCancelled") == 2


async def test_a_job_that_is_deleted_while_no_operator_runs_was_cancelled() -> None:
    shop = await drifting_shop()
    delete(shop, shop.jobs()[0]["metadata"]["name"])
    shop.harness.restart()
    await shop.harness.advance(300)
    assert attempts(shop) == [(1, "Cancelled")]
    assert shop.jobs() == []
    assert shop.events().count("RetrainCancelled") == 1


@pytest.mark.parametrize("crash_at", range(8))
async def test_wherever_the_operator_is_killed_one_is_made_and_cancelled_once(
    crash_at: int,
) -> None:
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    shop.cluster.crash_after_writes = crash_at

    async def advance(seconds: float) -> None:
        try:
            await shop.harness.advance(seconds)
        except Killed:
            shop.cluster.crash_after_writes = None
            shop.harness.restart()
            await shop.harness.advance(seconds)

    await advance(200)
    (job,) = shop.jobs()
    delete(shop, job["metadata"]["name"])
    await advance(200)
    assert shop.jobs() == []
    assert attempts(shop) == [(1, "Cancelled")]
    assert shop.events().count("RetrainStarted") == 1
    assert shop.events().count("RetrainCancelled") == 1


async def test_a_deletion_whose_event_was_lost_is_found_when_jobs_are_listed() -> None:
    shop = await drifting_shop()
    name = shop.jobs()[0]["metadata"]["name"]
    shop.harness.loses = lambda resource, obj: resource == RETRAIN_JOBS
    delete(shop, name)
    await shop.harness.advance(300)
    assert attempts(shop) == [(1, "Started")]
    cache = shop.harness.world.cache
    for change in cache.replace(RETRAIN_JOBS, [], cache.keys(RETRAIN_JOBS)):
        for key in interested(cache, change):
            shop.harness.queue.add(key)
    await shop.harness.advance(1)
    assert attempts(shop) == [(1, "Cancelled")]
    assert shop.jobs() == []


async def test_a_job_that_the_view_lacks_is_not_taken_for_deleted() -> None:
    shop = await drifting_shop()
    cache = shop.harness.world.cache
    cache.drop(RETRAIN_JOBS, shop.jobs()[0])
    await shop.harness.advance(300)
    assert attempts(shop) == [(1, "Started")]
    assert len(shop.jobs()) == 1
    assert "RetrainCancelled" not in shop.events()


async def test_a_job_that_cannot_be_read_is_not_taken_for_deleted() -> None:
    shop = await drifting_shop()
    key = Key(RETRAIN_JOBS, NAMESPACE, shop.jobs()[0]["metadata"]["name"])
    later = {"phase": "Suspended"}  # of a later release
    shop.cluster.user_change(key, lambda obj: obj.update(status=later))
    await shop.harness.advance(300)
    assert attempts(shop) == [(1, "Started")]
    assert "RetrainCancelled" not in shop.events()


async def test_what_is_not_written_yet_is_not_forgotten() -> None:
    """The API server refuses the status that says that the job was made; then it is deleted."""
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    made = count_made(shop)
    shop.cluster.fault = lambda verb, key: (
        Refused("forbidden") if made and verb == "apply_status" else None
    )
    shop.apply(policy_object(QUALITY))
    await shop.harness.run_until(lambda: bool(made), 300)
    delete(shop, shop.jobs()[0]["metadata"]["name"])
    await shop.harness.advance(200)
    assert attempts(shop) == []
    shop.cluster.fault = lambda verb, key: None
    await shop.harness.advance(200)
    assert made == [1]
    assert attempts(shop) == [(1, "Cancelled")]
    assert shop.events().count("RetrainCancelled") == 1


async def test_an_intent_in_an_old_view_makes_no_job_again() -> None:
    """A list after a restart is from before the job was seen; since then it was deleted."""
    shop = PolicyShop()
    shop.feed = {"accuracy": 0.81}
    shop.apply(policy_object(QUALITY))
    shop.cluster.crash_after_writes = 2
    with pytest.raises(Killed):
        await shop.harness.advance(300)
    shop.cluster.crash_after_writes = None
    old = shop.cluster.get(POLICY)
    assert old is not None
    assert old["status"]["started"]
    shop.harness.restart()
    made = count_made(shop)
    await shop.harness.advance(10)
    delete(shop, shop.jobs()[0]["metadata"]["name"])
    await shop.harness.advance(10)
    shop.harness.restart()
    cache = shop.harness.world.cache
    live = cache.get(POLICY)
    assert live is not None
    cache.drop(DRIFT_POLICIES, live)
    cache.take_in(DRIFT_POLICIES, old)
    made_later = count_made(shop)
    await shop.harness.advance(300)
    assert (made, made_later) == ([1], [])


async def test_a_status_of_an_older_release_takes_up_the_jobs_that_are_there() -> None:
    shop = await drifting_shop({"giveUpAfter": 1, "cooldown": "1s"})
    name = shop.jobs()[0]["metadata"]["name"]
    shop.finish(name, "Rejected")
    await shop.harness.advance(10)
    shop.cluster.user_change(POLICY, lambda obj: obj["status"].pop("attempts"))
    shop.harness.restart()
    await shop.harness.advance(10)
    assert attempts(shop) == [(1, "Rejected")]
    delete(shop, name)
    await shop.harness.advance(600)
    assert shop.jobs() == []


async def test_a_policy_that_is_made_again_begins_anew() -> None:
    shop = await drifting_shop()
    delete(shop, shop.jobs()[0]["metadata"]["name"])
    await shop.harness.advance(1)
    shop.cluster.user_delete(POLICY)
    shop.apply(policy_object(QUALITY))
    await shop.harness.run_until(lambda: bool(shop.jobs()), 300)
    assert attempts(shop) == [(1, "Started")]


async def test_a_job_by_hand_counts_only_while_it_is_there() -> None:
    shop = await drifting_shop({"cooldown": "1h", "maxPerWeek": 2})
    shop.finish(shop.jobs()[0]["metadata"]["name"], "Failed", failure="data")
    by_hand = shop.jobs()[0] | {"metadata": {"name": "by-hand", "namespace": NAMESPACE}}
    by_hand["spec"] = by_hand["spec"] | {"cause": {"manual": "ann", "deployment": "digits"}}
    shop.cluster.user_apply(by_hand)
    await shop.harness.advance(3700)
    assert skipped(shop)[-1] == "ActiveJob"
    delete(shop, "by-hand")
    await shop.harness.run_until(lambda: len(shop.jobs()) == 2, 120)
    assert attempts(shop) == [(1, "Failed"), (2, "Started")]
    assert "RetrainCancelled" not in shop.events()


ALL_SIGNALS = (QUALITY, INPUTS, PREDICTIONS, OUTCOMES, DATA)
OF_ONE_TEAM = {"matchLabels": {"team": "vision"}}


def serve_v1(obj: Json) -> None:
    obj["status"] = {"stable": tried("v1")}


def add_deployments(shop: PolicyShop, *names: str, serving: bool = True) -> None:
    """Add Deployments of the team vision."""
    for name in names:
        made = deployment(name)
        made["metadata"]["labels"] = {"team": "vision"}
        shop.cluster.user_apply(made)
        if serving:
            key = Key(DEPLOYMENT_KEY.resource, NAMESPACE, name)
            shop.cluster.user_change(key, serve_v1)


def names_of(first: int, last: int) -> list[str]:
    return [f"model-{number:03}" for number in range(first, last + 1)]


async def test_a_policy_that_selects_more_than_it_can_watch_says_so_and_watches_the_others() -> (
    None
):
    shop = PolicyShop()
    add_deployments(shop, *names_of(1, 130))
    shop.apply(policy_object(*ALL_SIGNALS, selector=OF_ONE_TEAM))
    await shop.harness.advance(130)
    assert shop.harness.errors == []
    assert list(shop.status()["baselines"]) == names_of(1, 100)
    assert len(shop.status()["signals"]) == 500
    watching = shop.condition("Watching")
    assert watching["status"] == "True"
    assert "30 more are selected and not watched" in watching["message"]
    assert "model-101, model-102, model-103 +27" in watching["message"]


async def test_who_is_watched_already_stays_so_when_more_are_selected() -> None:
    shop = PolicyShop()
    add_deployments(shop, *names_of(51, 150))
    shop.apply(policy_object(QUALITY, selector=OF_ONE_TEAM))
    await shop.harness.advance(70)
    add_deployments(shop, *names_of(1, 50))
    await shop.harness.advance(70)
    assert list(shop.status()["baselines"]) == names_of(51, 150)
    shop.cluster.user_delete(Key(DEPLOYMENT_KEY.resource, NAMESPACE, "model-150"))
    await shop.harness.advance(70)
    assert set(shop.status()["baselines"]) == {"model-001", *names_of(51, 149)}


async def test_who_serves_nothing_takes_no_place() -> None:
    shop = PolicyShop()
    add_deployments(shop, *names_of(1, 50), serving=False)
    add_deployments(shop, *names_of(51, 150))
    shop.apply(policy_object(QUALITY, selector=OF_ONE_TEAM))
    await shop.harness.advance(70)
    assert list(shop.status()["baselines"]) == names_of(51, 150)
