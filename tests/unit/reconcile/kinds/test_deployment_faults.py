"""Pods that crash, never start or cannot be placed; the guard; hands in the cluster; crashes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.reconcile.worlds import KEY, QUICK_STEPS, Shop, deployment_object, version_object

from trimtab.api.meta import MANAGED_BY_LABEL
from trimtab.cluster.port import MODEL_VERSIONS, PODS, SERVICES, WORKLOADS, Json, Key
from trimtab.errors import Refused
from trimtab.simulation.cluster import Killed
from trimtab.simulation.kubelet import PodBehaviour, always_good
from trimtab.simulation.traffic import Behaviour


def version_of(pod: Json) -> str:
    version: str = pod["metadata"]["labels"]["trimtab.dev/version"]
    return version


def only(version: str, behaviour: PodBehaviour) -> Callable[[Json], PodBehaviour]:
    """Return pods that are good but for one version."""
    return lambda pod: behaviour if version_of(pod) == version else PodBehaviour()


async def tried(shop: Shop, version: str = "v2") -> None:
    shop.publish(version)
    shop.want(version)
    await shop.harness.settle()


async def test_candidate_that_crashes_is_rolled_back_with_its_last_words() -> None:
    shop = Shop()
    await shop.serve("v1")
    words = "artifact digest does not match"
    shop.harness.kubelet.behave = only(
        "v2", PodBehaviour(ready_after=None, crash_after=1.0, termination_message=words)
    )
    await tried(shop)
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    assert shop.status.rejected[0].reason == "CandidateDown"
    assert words in shop.status.rejected[0].evidence
    assert shop.traffic.answered["v2"] == 0


async def test_candidate_that_is_neither_ready_nor_reachable_is_down() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(6)  # it is scraped
    shop.harness.kubelet.behave = only("v2", PodBehaviour(ready_after=None))
    shop.behaviour["v2"] = Behaviour(silent=True)
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 60)
    assert shop.status.rejected[0].reason == "CandidateDown"


async def test_a_candidate_whose_node_dies_is_not_down() -> None:
    """It waits until the node is back, or its pod is made elsewhere."""
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(6)
    good = shop.behaviour.get("v2", Behaviour())
    shop.behaviour["v2"] = Behaviour(silent=True)
    shop.harness.kubelet.behave = only("v2", PodBehaviour(is_heard=False))
    await shop.harness.advance(60)
    assert (shop.status.rejected, shop.reason("Progressing")) == ([], "WaitingForData")
    shop.behaviour["v2"] = good
    shop.harness.kubelet.behave = always_good
    await shop.harness.run_until(lambda: shop.serving == "v2", 400)


@pytest.mark.parametrize(
    "behaviour", [PodBehaviour(schedulable=False), PodBehaviour(mounted=False)]
)
async def test_a_candidate_that_never_began_is_not_never_ready(behaviour: PodBehaviour) -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.harness.kubelet.behave = only("v2", behaviour)
    await tried(shop)
    await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
    assert shop.status.rejected == []
    shop.harness.kubelet.behave = always_good
    await shop.harness.run_until(lambda: shop.serving == "v2", 400)


async def test_a_fault_of_both_sides_at_once_is_not_the_candidates() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(6)
    shop.harness.kubelet.behave = lambda _pod: PodBehaviour(ready_after=None)
    shop.behaviour["v2"] = Behaviour(silent=True)
    await shop.harness.advance(60)
    assert shop.status.rejected == []
    shop.harness.kubelet.behave = only("v2", PodBehaviour(ready_after=None))
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 60)
    assert shop.status.rejected[0].reason == "CandidateDown"


async def test_a_delay_of_the_operator_is_not_the_candidates_silence() -> None:
    """Nothing was scraped for a while, and nothing failed: the samples are old, and that is all."""
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    await shop.harness.advance(2)
    shop.harness.kubelet.behave = only("v2", PodBehaviour(ready_after=None))
    scrapes, shop.harness.tickers = shop.harness.tickers, []
    await shop.harness.advance(12)
    shop.harness.queue.add(KEY)
    await shop.harness.settle()
    assert shop.status.rollout is not None
    assert shop.status.rejected == []
    shop.harness.kubelet.behave = always_good
    shop.harness.tickers = scrapes
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_candidate_that_never_becomes_ready_is_rolled_back_at_the_deadline() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.harness.kubelet.behave = only("v2", PodBehaviour(ready_after=None))
    await tried(shop)
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 400)
    assert shop.status.rejected[0].reason == "NeverReady"


async def test_a_candidate_is_not_condemned_for_pods_that_were_not_seen_for_long() -> None:
    """The event was lost that says that a pod found no node."""
    shop = Shop()
    await shop.serve("v1")
    shop.harness.kubelet.behave = only("v2", PodBehaviour(schedulable=False))
    shop.harness.loses = lambda resource, obj: resource == PODS and _has_no_node(obj)
    await tried(shop)
    await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
    assert shop.status.rejected == []


def _has_no_node(pod: Json) -> bool:
    found = pod.get("status", {}).get("conditions") or []
    return any(one.get("reason") == "Unschedulable" for one in found)


async def test_a_candidate_that_passed_every_gate_waits_for_its_last_pod() -> None:
    shop = Shop()
    await shop.serve("v1", rollout={"steps": QUICK_STEPS[:1]})
    made: list[str] = []

    def last_is_late(pod: Json) -> PodBehaviour:
        if version_of(pod) == "v2" and pod["metadata"]["name"] not in made:
            made.append(pod["metadata"]["name"])
        is_last = made[2:3] == [pod["metadata"]["name"]]
        return PodBehaviour(ready_after=None) if is_last else PodBehaviour()

    shop.harness.kubelet.behave = last_is_late
    await tried(shop)
    await shop.harness.run_until(lambda: shop.reason("Progressing") == "Promoting", 120)
    await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
    assert shop.status.rejected == []
    assert shop.route is not None
    assert shop.serving == "v1"
    await shop.harness.run_until(lambda: shop.serving == "v2", 400)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param(PodBehaviour(schedulable=False), "Unschedulable", id="no_room"),
        pytest.param(PodBehaviour(image_exists=False), "ImagePullFailed", id="no_image"),
    ],
)
async def test_infrastructure_faults_end_undecided_and_are_tried_again(
    behaviour: PodBehaviour, reason: str
) -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.harness.kubelet.behave = only("v2", behaviour)
    await tried(shop)
    await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
    assert reason in shop.status.history[-1].message
    assert shop.status.rejected == []
    shop.harness.kubelet.behave = lambda pod: PodBehaviour()
    await shop.harness.run_until(lambda: shop.serving == "v2", 400)


async def test_first_version_that_crashes_says_so() -> None:
    shop = Shop()
    shop.harness.kubelet.behave = only("v1", PodBehaviour(ready_after=None, crash_after=1.0))
    shop.publish("v1")
    shop.apply(deployment_object("v1"))
    await shop.harness.run_until(lambda: shop.reason("Ready") == "FirstVersionFailed", 120)
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_guard_returns_to_the_last_good_version() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(60)
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    assert shop.status.rejected[0].reason == "GuardBreached"
    assert shop.live["spec"]["version"] == "v2"
    assert shop.traffic.lost == 0


async def returning(shop: Shop) -> None:
    """Promote v2, which turns bad once v1 has no pods; the way back to v1 takes its time."""
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(60)
    shop.harness.kubelet.behave = only("v1", PodBehaviour(ready_after=60.0))
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.status.rollout is not None, 120)
    assert shop.status.rollout is not None
    assert shop.status.rollout.phase == "Returning"


@pytest.mark.parametrize("seconds_at_zero", [0.0, 30.0])
async def test_scaled_to_zero_on_the_way_back_the_bad_version_never_serves_again(
    seconds_at_zero: float,
) -> None:
    shop = Shop()
    await returning(shop)
    shop.change(lambda spec: spec.update(replicas=0))
    await shop.harness.settle()
    await shop.harness.advance(seconds_at_zero)
    answered = shop.traffic.answered["v2"]
    shop.change(lambda spec: spec.update(replicas=3))
    await shop.harness.run_until(lambda: shop.is_ready, 120)
    assert shop.serving == "v1"
    assert [entry.version for entry in shop.status.rejected] == ["v2"]
    await shop.harness.advance(120)
    assert shop.serving == "v1"
    assert shop.traffic.answered["v2"] == answered


@pytest.mark.parametrize("verb", ["abort", "promote"])
async def test_a_person_cannot_end_a_way_back_and_is_told_what_to_do(verb: str) -> None:
    shop = Shop()
    await returning(shop)
    shop.command(verb)
    await shop.harness.settle()
    (refused,) = [event for event in shop.cluster.events if event.reason == "CommandRefused"]
    assert "trimtab retry mdep/digits v2" in refused.message
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    assert [entry.version for entry in shop.status.rejected] == ["v2"]


async def test_guard_goes_on_after_a_restart() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(30)
    shop.harness.restart()
    await shop.harness.advance(30)
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)


async def test_late_breach_only_notifies() -> None:
    shop = Shop()
    await shop.serve("v1", guard={"for": "1h", "rollbackWithin": "1m"})
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(120)
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.condition("Degraded") == "True", 120)
    assert shop.reason("Degraded") == "GuardBreached"
    assert shop.serving == "v2"


async def test_three_rollbacks_within_an_hour_stop_everything_automatic() -> None:
    shop = Shop()
    await shop.serve("v1")
    for version in ("v2", "v3", "v4"):
        shop.behaviour[version] = Behaviour(errors=1.0)
        await tried(shop, version)
        await shop.harness.run_until(lambda v=version: f"{v} RolledBack" in shop.outcomes, 120)  # type: ignore[misc]
    await tried(shop, "v5")
    await shop.harness.advance(120)
    assert shop.serving == "v1"
    assert shop.reason("Degraded") == "Flapping"
    assert "RolledBack" in shop.outcomes[-1]


async def test_deleted_and_edited_children_are_put_back_with_an_event() -> None:
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    workload = Key(WORKLOADS, "shop", shop.status.stable.workload)
    shop.cluster.user_change(workload, lambda obj: obj["spec"].update(replicas=1))
    await shop.harness.settle()
    assert list(shop.sizes().values()) == [3]
    shop.cluster.user_delete(Key(SERVICES, "shop", "digits"))
    await shop.harness.settle()
    assert shop.route == shop.status.stable.revision
    notes = [e.message for e in shop.cluster.events if e.reason == "ConfigurationRepaired"]
    assert any("replicas" in note and "changed by" in note for note in notes)
    assert any("Service digits was deleted" in note for note in notes)


async def test_what_somebody_added_is_named() -> None:
    shop = Shop()
    await shop.serve("v1")
    service = Key(SERVICES, "shop", "digits")
    shop.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(app="other"))
    await shop.harness.settle()
    notes = [e.message for e in shop.cluster.events if e.reason == "ConfigurationRepaired"]
    assert any("selector.app changed by" in note for note in notes)


def template_of(shop: Shop) -> Json:
    assert shop.status.stable is not None
    live = shop.cluster.get(Key(WORKLOADS, "shop", shop.status.stable.workload))
    assert live is not None
    template: Json = live["spec"]["template"]["spec"]
    return template


async def test_what_hands_add_is_taken_out_again() -> None:
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    workload = Key(WORKLOADS, "shop", shop.status.stable.workload)

    def add(obj: Json) -> None:
        pod = obj["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"disk": "ssd"}
        pod["containers"][0]["env"].append({"name": "ADDED", "value": "1"})

    before = template_of(shop)
    shop.cluster.user_change(workload, add)
    await shop.harness.settle()
    assert template_of(shop) == before
    notes = [e.message for e in shop.cluster.events if e.reason == "ConfigurationRepaired"]
    assert len(notes) == 1
    assert "nodeSelector" in notes[0]


@pytest.mark.parametrize("part", ["labels", "ownerReferences"])
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_labels_and_owner_of_a_child_are_put_back(part: str, is_restarted: bool) -> None:
    """Without them it would be nobody's: never made smaller, and in the way of its name."""
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    keys = [Key(WORKLOADS, "shop", shop.status.stable.workload), Key(SERVICES, "shop", "digits")]
    before = {}
    for key in keys:
        live = shop.cluster.get(key)
        assert live is not None
        before[key] = live["metadata"][part]
        shop.cluster.user_change(key, lambda obj: obj["metadata"].pop(part))
    if is_restarted:
        shop.harness.restart()
    await shop.harness.advance(40)
    for key in keys:
        live = shop.cluster.get(key)
        assert live is not None
        assert live["metadata"][part] == before[key]
    written = shop.cluster.version
    await shop.harness.advance(20)
    assert shop.cluster.version == written


@pytest.mark.parametrize("replicas", [3, 0])
@pytest.mark.parametrize("is_told", [True, False])
async def test_pods_of_a_workload_that_is_in_no_list_go_all_the_same(
    is_told: bool, replicas: int
) -> None:
    """Its label was taken away, which a watch tells as a deletion, or while no operator ran."""
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)
    assert shop.status.last_good is not None
    assert shop.status.stable is not None
    own = shop.status.last_good if replicas else shop.status.stable
    shop.change(lambda spec: spec.update(replicas=replicas))
    key = Key(WORKLOADS, "shop", own.workload)
    shop.cluster.user_change(key, lambda obj: obj["metadata"]["labels"].pop(MANAGED_BY_LABEL))
    shop.cluster.time += timedelta(minutes=5)
    shop.harness.restart()
    unlisted = shop.cluster.get(key)
    assert unlisted is not None
    cache = shop.harness.world.cache
    (cache.take_out if is_told else cache.drop)(WORKLOADS, unlisted)
    await shop.harness.advance(40)
    live = shop.cluster.get(key)
    assert live is not None
    assert live["spec"]["replicas"] == 0
    assert live["metadata"]["labels"][MANAGED_BY_LABEL] == "trimtab"


async def test_a_workload_that_is_gone_is_looked_for_once() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 300)
    await shop.harness.advance(120)
    assert shop.status.last_good is not None
    gone = Key(WORKLOADS, "shop", shop.status.last_good.workload)
    shop.cluster.user_delete(gone)
    await shop.harness.advance(10)
    asked: list[Key] = []
    read = shop.cluster.read

    async def counted(key: Key) -> Json | None:
        asked.append(key)
        return await read(key)

    shop.cluster.read = counted  # type: ignore[method-assign]
    shop.harness.restart()
    await shop.harness.advance(60)
    assert asked.count(gone) == 1


@pytest.mark.parametrize("label", [None, "another"])
async def test_a_workload_without_the_label_of_its_revision_is_not_taken_for_a_stray(
    label: str | None,
) -> None:
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    key = Key(WORKLOADS, "shop", shop.status.stable.workload)
    before = shop.cluster.get(key)
    assert before is not None

    def edit(obj: Json) -> None:
        del obj["metadata"]["labels"]["trimtab.dev/revision"]
        if label is not None:
            obj["metadata"]["labels"]["trimtab.dev/revision"] = label

    shop.cluster.user_change(key, edit)
    await shop.harness.advance(40)
    after = shop.cluster.get(key)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert shop.traffic.lost == 0


async def test_what_was_added_while_nobody_watched_is_taken_out() -> None:
    shop = Shop()
    await shop.serve("v1")
    assert shop.status.stable is not None
    workload = Key(WORKLOADS, "shop", shop.status.stable.workload)
    service = Key(SERVICES, "shop", "digits")
    before = shop.cluster.get(workload), shop.cluster.get(service)
    assert before[0] is not None
    assert before[1] is not None

    def add(obj: Json) -> None:
        obj["spec"]["paused"] = True
        pod = obj["spec"]["template"]["spec"]
        pod |= {"nodeSelector": {"disk": "ssd"}, "hostNetwork": True}
        pod["containers"][0]["env"].append({"name": "ADDED", "value": "1"})

    shop.cluster.user_change(workload, add)
    shop.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(app="other"))
    shop.harness.restart()
    await shop.harness.advance(1)
    for key, was in zip((workload, service), before, strict=True):
        now = shop.cluster.get(key)
        assert now is not None
        assert was is not None
        assert now["spec"] == was["spec"]
    notes = [e.message for e in shop.cluster.events if e.reason == "ConfigurationRepaired"]
    assert any("selector.app added by kubectl-edit; taken out" in note for note in notes)
    written = shop.cluster.version
    shop.harness.restart()
    await shop.harness.advance(1)
    assert shop.cluster.version == written


async def test_at_rest_nothing_is_written() -> None:
    shop = Shop()
    await shop.serve("v1", guard={"for": "1m"})
    await shop.harness.advance(120)
    before = len(shop.cluster.writes)
    await shop.harness.advance(1200)
    assert len(shop.cluster.writes) == before
    shop.harness.restart()
    await shop.harness.advance(30)
    assert len(shop.cluster.writes) == before


async def test_upgrade_with_a_new_default_image_restarts_no_pod() -> None:
    shop = Shop()
    await shop.serve("v1")
    before = {w["metadata"]["generation"] for w in shop.cluster.find(WORKLOADS)}
    shop.harness.settings = replace(shop.harness.settings, serving_image="serving:2")
    shop.harness.restart()
    await shop.harness.advance(30)
    after = {w["metadata"]["generation"] for w in shop.cluster.find(WORKLOADS)}
    assert after == before
    await tried(shop)
    assert shop.status.candidate is not None
    assert shop.status.candidate.image == "serving:2"


async def test_a_graph_is_served_by_the_image_that_has_its_library() -> None:
    shop = Shop()
    shop.harness.settings = replace(shop.harness.settings, serving_onnx_image="onnx:1")
    shop.harness.restart()
    await shop.serve("v1")
    graph = {k: v for k, v in version_object("v2").items() if k != "status"}
    graph["spec"]["artifact"]["format"] = "onnx"
    shop.cluster.user_apply(graph)
    shop.set_phase("v2", "Verified")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.candidate is not None, 60)
    assert shop.status.candidate is not None
    assert shop.status.stable is not None
    assert (shop.status.stable.image, shop.status.candidate.image) == ("serving:1", "onnx:1")


async def test_a_booster_is_served_by_the_image_that_has_its_library() -> None:
    shop = Shop()
    shop.harness.settings = replace(shop.harness.settings, serving_tables_image="tables:1")
    shop.harness.restart()
    await shop.serve("v1")
    shop.cluster.user_apply({k: v for k, v in version_object("v2").items() if k != "status"})
    key = Key(MODEL_VERSIONS, "shop", "digits-v2")
    status = {"phase": "Verified", "frameworks": ["xgboost"]}
    shop.cluster.user_change(key, lambda obj: obj.update(status=status))
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.candidate is not None, 60)
    assert shop.status.candidate is not None
    assert shop.status.stable is not None
    assert (shop.status.stable.image, shop.status.candidate.image) == ("serving:1", "tables:1")


async def test_write_budget_of_a_rollout_is_kept() -> None:
    shop = Shop()
    await shop.serve("v1", guard={"for": "1h"})
    await shop.harness.advance(20)
    before = len(shop.cluster.writes)
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(60)
    steps = 2
    assert len(shop.cluster.writes) - before <= 3 * steps + 4


def end_state(shop: Shop) -> object:
    status = shop.status
    assert status.stable is not None
    return (
        shop.serving,
        sorted(r.version for r in status.rejected),
        shop.outcomes,
        shop.sizes(),
        shop.route,
    )


@pytest.mark.parametrize("version", ["v2", "bad"])
async def test_killed_after_any_write_the_end_is_the_same(version: str) -> None:
    undisturbed = await _play(version, None)
    for writes in range(0, 14):
        assert await _play(version, writes) == undisturbed, f"killed after {writes} writes"


async def _play(version: str, writes: int | None) -> object:
    shop = Shop(rate=20.0)
    shop.behaviour["bad"] = Behaviour(errors=1.0)
    await shop.serve("v1")
    shop.publish(version)
    shop.want(version)
    shop.cluster.crash_after_writes = writes
    end = "bad RolledBack" if version == "bad" else "v2 Promoted"
    for _ in range(3):
        try:
            await shop.harness.run_until(lambda: end in shop.outcomes, 200)
            await shop.harness.advance(40)
        except Killed:
            shop.cluster.crash_after_writes = None
            shop.harness.restart()
    assert shop.cluster.get(KEY) is not None
    return end_state(shop)


def workload_of(shop: Shop) -> Key:
    (workload,) = shop.cluster.find(WORKLOADS, "shop")
    return Key(WORKLOADS, "shop", workload["metadata"]["name"])


async def test_a_child_of_which_only_the_status_changed_is_written_at_once() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.change(lambda spec: spec.update(replicas=2))
    shop.harness.events_held = True
    shop.cluster.user_change(workload_of(shop), lambda obj: obj["status"].update(replicas=9))
    await shop.harness.settle()
    assert set(shop.sizes().values()) == {2}
    assert shop.harness.errors == []


async def test_a_child_that_was_written_meanwhile_is_decided_on_again() -> None:
    """A leader of before does not undo what its successor has done."""
    shop = Shop()
    await shop.serve("v1")
    shop.change(lambda spec: spec.update(replicas=2))
    shop.harness.events_held = True
    shop.change(lambda spec: spec.update(replicas=4))
    shop.cluster.user_change(workload_of(shop), lambda obj: obj["spec"].update(replicas=4))
    await shop.harness.settle()
    workloads = [w for w in shop.cluster.writes if w.key.resource == WORKLOADS and w.changed]
    assert len(workloads) == 1  # that made it
    assert set(shop.sizes().values()) == {4}
    assert shop.harness.errors == []


def refuse_services(verb: str, key: Key) -> Refused | None:
    is_write = verb not in ("list", "read")
    return Refused("403: not this Service") if is_write and key.resource == SERVICES else None


async def test_a_quarantined_candidate_goes_though_the_service_cannot_be_written() -> None:
    """Both are behind the Service: stable gets what the candidate got."""
    shop = Shop()
    await shop.serve("v1")
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    await tried(shop)
    await shop.harness.run_until(lambda: "StepReached" in shop.events(), 60)
    shop.cluster.fault = refuse_services
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 60)
    await shop.harness.advance(5)
    assert shop.sizes() == {shop.route_of("v1"): 3}
    assert shop.route is None
    assert shop.reason("Stalled") == "WriteRefused"


async def test_what_serves_alone_stays_though_it_is_quarantined() -> None:
    """The Service cannot be moved on a way back: what it points to answers until it can."""
    shop = Shop()
    await shop.serve("v1", guard={"for": "1h", "rollbackWithin": "1h"})
    await tried(shop)
    await shop.harness.run_until(lambda: len(shop.sizes()) == 1 or shop.serving == "v2", 200)
    await shop.harness.advance(60)
    shop.cluster.fault = refuse_services
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    await shop.harness.run_until(lambda: shop.serving == "v1", 200)
    await shop.harness.advance(60)
    assert shop.sizes() == {shop.route_of("v1"): 3, shop.route: 3}
    assert shop.traffic.lost == 0
    shop.cluster.fault = lambda verb, key: None
    await shop.harness.run_until(lambda: shop.route == shop.route_of("v1"), 400)
    assert shop.traffic.lost == 0


async def test_old_pods_stay_while_a_hand_has_the_service_point_to_them() -> None:
    shop = Shop()
    await shop.serve("v1")
    await tried(shop)
    await shop.harness.run_until(lambda: shop.serving == "v2", 200)
    shop.harness.loses = lambda resource, obj: resource == SERVICES
    service = Key(SERVICES, "shop", "digits")
    old = {"trimtab.dev/revision": shop.route_of("v1")}
    shop.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(old))
    await shop.harness.advance(60)
    assert shop.route == shop.route_of("v2")
    assert shop.sizes() == {shop.route_of("v1"): 0, shop.route_of("v2"): 3}
    assert shop.traffic.lost == 0
