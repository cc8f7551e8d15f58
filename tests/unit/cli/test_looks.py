"""get and why: what is shown of real decisions on a simulated cluster."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.cli.fakes import Desk
from tests.unit.loop_objects import retrain_job
from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.deployment import Deployment, DeploymentSpec
from trimtab.api.meta import Metadata
from trimtab.cli.api import NoSuchObject
from trimtab.cli.get import get
from trimtab.cli.seen import Seen
from trimtab.cli.tree import View, lines_of, tree_of
from trimtab.cli.why import why
from trimtab.cluster.port import DRIFT_POLICIES, MODEL_VERSIONS, RETRAIN_JOBS
from trimtab.simulation.traffic import Behaviour


async def failed_shop() -> Shop:
    """A shop whose v2 was sent back by a gate."""
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2")
    shop.behaviour["v2"] = Behaviour(errors=0.5)
    shop.want("v2")
    await shop.harness.run_until(lambda: bool(shop.status.rejected), 120)
    await shop.harness.advance(5)
    return shop


async def test_the_tree_shows_a_rollout_with_its_gates() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.summary.step.startswith("1/"), 60)
    await shop.harness.advance(4)
    shop.command("pause")  # Counts come into status when something else does.
    await shop.harness.advance(1)
    desk = Desk(shop)
    assert await get(desk.session, KEY, watch=False, stream=None) == 0
    lines = desk.text.splitlines()
    assert lines[0].startswith("Deployment digits  serves v1  wants v2")
    assert any(line.startswith("├─ stable  v1") for line in lines)
    assert any("candidate  v2" in line and "step 1/2 25%  paused" in line for line in lines)
    assert any("gate errors" in line and "against" in line for line in lines)


async def test_the_tree_shows_who_watches_who_retrains_and_what_was_sent_back() -> None:
    shop = await failed_shop()
    shop.cluster.user_apply(policy_object({"kind": "quality", "floor": {"dropBy": "8%"}}))
    for number in range(5):
        shop.cluster.user_apply(retrain_job(f"digits-{number}"))
    desk = Desk(shop)
    await get(desk.session, None, watch=False, stream=None)
    assert "quarantined  v2  GateFailed by trimtab" in desk.text
    assert "DriftPolicy digits" in desk.text
    assert desk.text.count("RetrainJob digits-") == 3
    assert "and 2 older RetrainJobs" in desk.text


async def test_the_pod_of_the_last_good_version_is_shown_as_what_it_is() -> None:
    shop = Shop()
    await shop.serve("v1", replicas=4, guard={"rollbackWithin": "10m"})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.settle()

    def serves_beside() -> bool:
        guard = shop.status.guard
        return guard is not None and guard.control_since is not None

    await shop.harness.run_until(serves_beside, 300)
    guard = shop.status.guard
    assert guard is not None
    ends = guard.since + timedelta(minutes=10)
    desk = Desk(shop)
    await get(desk.session, KEY, watch=False, stream=None)
    (line,) = (line for line in desk.text.splitlines() if "v1" in line)
    assert line.startswith("└─ control  v1  ")
    assert line.endswith("1/1 ready  20%")
    await why(desk.session, KEY)
    assert f"serves beside it since {guard.control_since:%Y-%m-%d %H:%M:%S}Z, " in desk.text
    assert f"until {ends:%Y-%m-%d %H:%M:%S}Z or the next rollout" in desk.text
    await shop.harness.advance(660)
    desk.said.clear()
    await get(desk.session, KEY, watch=False, stream=None)
    assert "control" not in desk.text
    (line,) = (line for line in desk.text.splitlines() if "v1" in line)
    assert line.startswith("└─ last good  v1  ")
    assert line.endswith("  0 pods")


async def test_pods_that_went_since_the_status_was_written_are_not_shown_as_ready() -> None:
    shop = Shop()
    await shop.serve("v1")
    status = shop.status
    assert status.stable is not None
    old = {"version": "v0", "revision": "a0", "ready": 3, "desired": 0}
    good = status.stable.model_copy(update=old)
    spec = DeploymentSpec.model_validate({"model": "digits", "version": "v1"})
    one = Deployment(
        metadata=Metadata(name="digits", namespace="shop"),
        spec=spec,
        status=status.model_copy(update={"last_good": good}),
    )
    assert lines_of(tree_of(Seen(one.to_json()), View()))[-1] == "└─ last good  v0  a0  0 pods"


async def test_an_empty_namespace_is_said() -> None:
    desk = Desk(Shop())
    await get(desk.session, None, watch=False, stream=None)
    assert desk.text == "no Deployments of trimtab.dev in namespace shop"


async def test_why_shows_decision_counts_and_way_out() -> None:
    desk = Desk(await failed_shop())
    assert await why(desk.session, KEY) == 0
    for part in (
        "digits: serves v1",
        "conditions:",
        "Quarantined",
        "rollouts, newest first:",
        "v2  RolledBack by",
        "quarantined:",
        "of the candidate's",
        "lift with: trimtab retry mdep/digits",
        "decisions:",
        "GateFailed",
    ):
        assert part in desk.text


async def test_why_has_the_figures_of_each_decision_and_the_query_to_see_them_oneself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIMTAB_GRAFANA_URL", "https://g.example.com")
    desk = Desk(await failed_shop())
    await why(desk.session, KEY)
    decided = desk.text.partition("decisions:")[2]
    heads = [line for line in decided.splitlines() if line.startswith("  #")]
    (failed,) = (line for line in heads if "  GateFailed " in line)
    after = decided.partition(failed)[2].splitlines()[1:]
    assert after[0].startswith("     gate errors  Fail  GateFailed  ")
    assert decided.count("the same figures as #") >= 1
    query = next(line.strip() for line in after if "bad:" in line)
    own = 'namespace="shop", model="digits", version=~"v1|v2", code=~"5.."'
    assert f"increase(trimtab_requests_total{{{own}}}[60s] @ " in query
    assert "https://g.example.com/d/trimtab-rollout?var-namespace=shop" in desk.text
    assert "https://trimtab.dev/docs/alerts.html" in desk.text


async def test_why_speaks_of_the_other_kinds() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.cluster.user_apply(policy_object({"kind": "quality", "floor": {"dropBy": "8%"}}))
    shop.cluster.user_apply(retrain_job())
    desk = Desk(shop)
    await why(desk.session, KEY._replace(resource=DRIFT_POLICIES))
    await why(desk.session, KEY._replace(resource=RETRAIN_JOBS, name="digits-7f3a"))
    await why(desk.session, KEY._replace(resource=MODEL_VERSIONS, name="digits-v1"))
    assert desk.said[0].startswith("DriftPolicy digits: not judged yet")
    assert "signal quality of DriftPolicy digits, attempt 1" in desk.said[1]
    assert desk.said[2].startswith("ModelVersion digits-v1: Verified")


async def test_why_of_what_is_not_there_is_an_error() -> None:
    desk = Desk(Shop())
    with pytest.raises(NoSuchObject, match="there is no Deployment digits"):
        await why(desk.session, KEY)
