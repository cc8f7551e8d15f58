"""No data is not bad data: what a rollout does when the gates cannot see."""

import pytest
from tests.unit.reconcile.worlds import Shop, deployment_object

from trimtab.simulation.traffic import Behaviour

BLIND = {
    "metrics_port_refuses": (Behaviour(silent=True), "BackendDown"),
    "counters_are_nan": (Behaviour(broken=True), "NotANumber"),
    "no_such_series": (Behaviour(empty=True), "NoSeries"),
}


async def trying(candidate: Behaviour | None = None) -> Shop:
    """Return a shop in which v1 serves and v2 is wanted, of which pods may behave otherwise."""
    shop = Shop()
    await shop.serve("v1")
    if candidate is not None:
        shop.behaviour["v2"] = candidate
    shop.publish("v2")
    shop.want("v2")
    return shop


@pytest.mark.parametrize(("behaviour", "reason"), BLIND.values(), ids=BLIND.keys())
async def test_candidate_holds_while_blind_and_goes_on_when_data_is_back(
    behaviour: Behaviour, reason: str
) -> None:
    shop = await trying(behaviour)
    await shop.harness.advance(60)
    assert shop.serving == "v1"
    assert shop.status.rejected == []
    assert shop.reason("DataAvailable") == reason
    assert shop.status.rollout is not None
    shop.behaviour["v2"] = Behaviour()
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert "v2 RolledBack" not in shop.outcomes


async def test_a_port_that_never_answered_may_be_behind_a_policy() -> None:
    shop = await trying(Behaviour(silent=True))
    await shop.harness.run_until(lambda: shop.reason("DataAvailable") == "BackendDown", 60)
    assert "a NetworkPolicy or mTLS may be in the way" in shop.message("DataAvailable")


async def test_a_port_that_stopped_answering_is_behind_no_policy() -> None:
    shop = await trying()
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(3)
    at = shop.cluster.time.strftime("%H:%M:%SZ")
    shop.behaviour["v2"] = Behaviour(silent=True)
    await shop.harness.run_until(lambda: shop.reason("DataAvailable") == "BackendDown", 60)
    told = shop.message("DataAvailable")
    assert f"connection refused; the port answered until {at}" in told
    assert "NetworkPolicy" not in told


async def test_scrape_that_failed_before_the_pod_was_ready_is_no_outage() -> None:
    shop = await trying(Behaviour(silent=True))
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(2)
    shop.behaviour["v2"] = Behaviour()
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert "DataUnavailable" not in shop.events()


async def test_a_candidate_whose_answers_come_late_is_waited_for_and_nobody_is_told() -> None:
    shop = await trying(Behaviour(late=0.4))
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)
    assert "DataUnavailable" not in shop.events()
    assert shop.traffic.lost == 0


async def test_outage_in_the_middle_of_a_step_holds_without_undoing() -> None:
    shop = await trying()
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(3)
    down = Behaviour(silent=True)
    shop.behaviour.update(v1=down, v2=down)
    await shop.harness.advance(60)
    assert shop.serving == "v1"
    assert shop.status.rollout is not None
    assert shop.status.rollout.step is not None
    assert shop.status.rollout.step.index == 0
    shop.behaviour.clear()
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_a_restart_in_an_outage_is_not_the_end_of_it() -> None:
    shop = await trying(Behaviour(silent=True))
    await shop.harness.run_until(lambda: "DataUnavailable" in shop.events(), 60)
    shop.harness.restart()
    await shop.harness.advance(30)
    assert shop.events().count("DataUnavailable") == 1
    assert "DataBack" not in shop.events()


async def test_after_two_blind_minutes_users_go_to_stable_only() -> None:
    shop = await trying(Behaviour(silent=True))
    await shop.harness.advance(130)
    assert shop.status.stable is not None
    assert shop.route == shop.status.stable.revision
    assert shop.status.rejected == []
    shop.behaviour["v2"] = Behaviour()
    await shop.harness.run_until(lambda: shop.route is None, 30)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_blind_until_the_deadline_ends_undecided_without_quarantine() -> None:
    shop = await trying(Behaviour(silent=True))
    await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
    assert shop.status.rejected == []
    assert shop.status.stable is not None
    assert shop.route == shop.status.stable.revision
    assert sorted(shop.sizes().values()) == [1, 3]
    shop.behaviour["v2"] = Behaviour()
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)


async def test_gate_may_ignore_missing_data() -> None:
    shop = Shop()
    gates = [
        {"name": "errors", "bad": "errors", "against": "stable"},
        {"name": "wrong", "bad": "outcomes", "against": "stable", "onNoData": "ignore"},
    ]
    await shop.serve("v1", rollout={"gates": gates})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_gate_may_fail_for_want_of_data() -> None:
    shop = Shop()
    gates = [
        {
            "name": "errors",
            "bad": "errors",
            "against": "stable",
            "onNoData": "fail",
            "failAfter": "20s",
        }
    ]
    await shop.serve("v1", rollout={"gates": gates})
    shop.behaviour["v2"] = Behaviour(silent=True)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 90)
    assert "no data for" in shop.status.rejected[0].evidence


async def test_without_traffic_nothing_advances_and_nothing_is_undone() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.traffic.rate = 0.0
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.advance(200)
    assert shop.status.rollout is not None
    assert shop.reason("DataAvailable") == "NoTraffic"
    assert shop.route is None, "only users can end the wait, so they keep coming"
    shop.traffic.rate = 50.0
    await shop.harness.run_until(lambda: shop.serving == "v2", 90)


async def test_promotion_waits_for_enough_requests() -> None:
    shop = Shop(rate=2.0)
    await shop.serve("v1", rollout={"minSamples": 60, "deadline": "30m"})
    shop.publish("v2")
    shop.want("v2")
    seconds = await shop.harness.run_until(lambda: shop.serving == "v2", 600)
    assert seconds > 30
    assert shop.traffic.answered["v2"] >= 60


async def test_worse_outcomes_roll_back_when_labels_come_back() -> None:
    shop = Shop()
    gates = [
        {"name": "errors", "bad": "errors", "against": "stable"},
        {"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "5%"},
    ]
    shop.behaviour["v1"] = Behaviour(accuracy=0.96)
    shop.behaviour["v2"] = Behaviour(accuracy=0.78)
    await shop.serve("v1", rollout={"gates": gates, "steps": [{"weight": "25%", "for": "1m"}]})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    assert "gate wrong" in shop.status.rejected[0].evidence


async def test_limit_gate_acts_without_a_stable_version() -> None:
    shop = Shop()
    gates = [{"name": "errors", "bad": "errors", "limit": "2%"}]
    shop.behaviour["v1"] = Behaviour(errors=0.3)
    shop.publish("v1")
    shop.apply(deployment_object("v1", rollout={"gates": gates}))
    await shop.harness.run_until(lambda: shop.reason("Ready") == "FirstVersionFailed", 120)
    assert list(shop.sizes().values()) == [3], "pods stay while any is Ready"
