"""Rollouts from the first version to each of their ends, on a simulated cluster."""

from tests.unit.reconcile.worlds import Shop, deployment_object

from trimtab.simulation.traffic import Behaviour


async def test_first_version_serves_at_full_size_without_steps() -> None:
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    assert shop.sizes() == {shop.status.stable.revision: 3}
    assert shop.route == shop.status.stable.revision
    assert shop.outcomes == ["v1 Promoted"]
    assert shop.traffic.answered["v1"] > 0


async def test_good_candidate_is_promoted_through_its_steps() -> None:
    shop = Shop()
    await shop.serve("v1")
    old = shop.status.stable
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert shop.outcomes == ["v1 Promoted", "v2 Promoted"]
    assert "would have caught a fault of" in shop.status.history[-1].message
    assert shop.status.last_good is not None
    assert old is not None
    assert shop.status.last_good.revision == old.revision
    assert shop.events().count("StepReached") == 2
    await shop.harness.advance(60)
    assert sorted(shop.sizes().values()) == [0, 3]
    assert shop.traffic.lost == 0


async def test_candidate_that_fails_every_request_is_rolled_back_within_seconds() -> None:
    shop = Shop()
    await shop.serve("v1", replicas=4)
    stable = shop.status.stable
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    assert shop.status.stable == stable or shop.serving == "v1"
    assert shop.traffic.answered["v2!"] <= 30
    rejected = shop.status.rejected[0]
    assert rejected.reason == "GateFailed"
    assert "errors" in rejected.evidence
    await shop.harness.settle()
    assert list(shop.sizes().values()) == [4]
    assert shop.live["spec"]["version"] == "v2", "the user's spec is never written"


async def test_quarantined_revision_is_not_tried_again_until_retried() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    before = shop.traffic.answered["v2"]
    shop.want("v1")
    await shop.harness.advance(30)
    shop.want("v2")
    await shop.harness.advance(300)
    shop.harness.restart()
    await shop.harness.advance(60)
    assert shop.traffic.answered["v2"] == before
    assert shop.reason("Quarantined") == "Quarantined"
    assert "trimtab retry mdep/digits" in shop.message("Quarantined")
    shop.behaviour["v2"] = Behaviour()
    shop.command("retry")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_newer_revision_supersedes_the_candidate() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2", "v3")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 60)
    await shop.harness.advance(8)
    shop.want("v3")
    await shop.harness.run_until(lambda: shop.serving == "v3", 120)
    assert shop.outcomes == ["v1 Promoted", "v2 Superseded", "v3 Promoted"]
    assert shop.status.rejected == []


async def test_want_of_a_missing_version_says_what_to_do() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.want("v9")
    await shop.harness.settle()
    assert shop.reason("Progressing") == "VersionMissing"
    assert "digits-v9" in shop.message("Progressing")
    assert shop.is_ready


async def test_version_waits_until_it_is_verified() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2", phase="Pending")
    shop.want("v2")
    await shop.harness.advance(20)
    assert shop.is_resting
    shop.set_phase("v2", "Verified")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_rejected_version_is_refused_before_any_pod_starts() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2", phase="Rejected")
    shop.want("v2")
    await shop.harness.advance(20)
    assert shop.reason("Progressing") == "VersionRejected"
    assert len(shop.sizes()) == 1


async def test_follow_takes_the_newest_verified_version() -> None:
    shop = Shop()
    shop.publish("v1")
    shop.apply(deployment_object(None))
    await shop.harness.run_until(lambda: shop.serving == "v1", 60)
    await shop.harness.advance(5)
    shop.publish("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_paused_step_waits_for_a_person() -> None:
    shop = Shop()
    steps = [{"weight": "25%", "for": "5s"}, {"pause": {}}, {"weight": "50%", "for": "5s"}]
    await shop.serve("v1", rollout={"steps": steps})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.condition("Paused") == "True", 60)
    await shop.harness.advance(1000)
    assert shop.serving == "v1"
    shop.command("resume")
    await shop.harness.run_until(lambda: shop.serving == "v2", 60)


async def test_person_aborts_promotes_and_rolls_back() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2", "v3")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 60)
    shop.command("abort", id="1")
    await shop.harness.settle()
    assert shop.outcomes[-1] == "v2 Aborted"
    assert shop.status.rejected[0].by == "ann"
    shop.want("v3")
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 60)
    shop.command("promote", id="2")
    await shop.harness.run_until(lambda: shop.serving == "v3", 60)
    shop.command("rollback", id="3")
    await shop.harness.run_until(lambda: shop.serving == "v1", 60)
    assert {r.version for r in shop.status.rejected} == {"v2", "v3"}
    assert shop.events().count("CommandCarriedOut") == 3


async def test_command_is_carried_out_once_also_after_a_restart() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 60)
    shop.command("abort", id="7")
    await shop.harness.settle()
    shop.command("retry", id="8")
    await shop.harness.run_until(lambda: shop.serving == "v2", 60)
    shop.harness.restart()
    await shop.harness.advance(5)
    assert shop.events().count("CommandCarriedOut") == 2


async def test_command_for_another_candidate_is_refused() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 60)
    shop.command("abort", argument="0123456789")
    await shop.harness.settle()
    assert shop.events().count("CommandRefused") == 1
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_scaled_to_zero_stops_and_returns_with_the_last_good_version() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.change(lambda spec: spec.update(replicas=0))
    await shop.harness.settle()
    assert list(shop.sizes().values()) == [0]
    assert shop.reason("Ready") == "ScaledToZero"
    shop.change(lambda spec: spec.update(replicas=2))
    await shop.harness.run_until(lambda: shop.is_ready, 60)
    assert list(shop.sizes().values()) == [2]


async def test_rolling_switches_once_and_keeps_the_way_back() -> None:
    shop = Shop()
    shop.publish("v1", "v2")
    obj = deployment_object("v1")
    obj["spec"]["rollout"] = {"strategy": "rolling", "scaleDownDelay": "30s"}
    shop.apply(obj)
    await shop.harness.run_until(lambda: shop.serving == "v1", 60)
    shop.traffic.lost = 0.0
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 60)
    assert shop.status.last_good is not None
    assert shop.status.last_good.version == "v1"
    assert shop.traffic.lost == 0
