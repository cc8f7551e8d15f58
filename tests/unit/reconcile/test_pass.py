"""One pass for all kinds: status first, each decision told once, refusals said and not blamed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.reconcile.worlds import KEY, Shop, deployment_object

from trimtab.api.deployment import DeploymentStatus
from trimtab.api.schema import UNSEEN
from trimtab.cluster.port import MODEL_VERSIONS, SECRETS, SERVICES, WORKLOADS, Json, Key
from trimtab.errors import Conflict, Refused, RetryLater, TrimtabError, Unavailable
from trimtab.reconcile.kinds.deployment import kept_of
from trimtab.simulation.cluster import Killed
from trimtab.simulation.traffic import Behaviour
from trimtab.stats.change import DetectorState, update
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import failure_threshold, gate_evidence


@contextlib.contextmanager
def events_away(shop: Shop) -> Iterator[None]:
    """No event is taken meanwhile."""

    async def away(*args: object) -> None:
        raise Unavailable("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop.cluster, "tell_event", away)
        yield


async def rolled_back_shop() -> Shop:
    shop = Shop()
    await shop.serve("v1")
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    return shop


def refuse(wanted: Callable[[str, Key], bool]) -> Callable[[str, Key], TrimtabError | None]:
    """Return a fault of the cluster: writes that are wanted are refused by a quota."""
    return lambda verb, key: Refused("exceeded quota: pods") if wanted(verb, key) else None


async def test_every_event_is_a_numbered_decision_in_order() -> None:
    shop = await rolled_back_shop()
    decisions = shop.status.record.decisions
    told = [(e.seq, e.reason, e.message) for e in shop.cluster.events]
    assert [seq for seq, _, _ in told] == list(range(1, len(told) + 1))
    assert [(d.seq, d.reason, d.message) for d in decisions] == told[-len(decisions) :]


async def test_a_gate_that_failed_can_be_derived_again_from_what_is_kept() -> None:
    shop = await rolled_back_shop()
    failed = next(d for d in shop.status.record.decisions if d.reason == "GateFailed")
    inputs = failed.inputs
    gate = next(g for g in inputs["gates"] if g["verdict"] == "Fail")
    evidence = gate_evidence(
        BadTotal(*gate["candidate"]), BadTotal(*gate["compared"]), gate["margin"]
    )
    assert gate["spread"] == 1
    threshold = failure_threshold(inputs["confidence"], inputs["gateCount"], inputs["stepCount"])
    assert evidence >= threshold
    assert evidence == pytest.approx(gate["evidence"], rel=0.01)
    assert inputs["candidate"]["version"] == "v2"
    assert len(inputs["sampled"]) == 2


async def test_a_breach_of_the_guard_can_be_derived_again_too() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    await shop.harness.advance(60)
    shop.behaviour["v2"] = Behaviour(errors=0.3)
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    breached = next(d for d in shop.status.record.decisions if d.reason == "GuardBreached")
    read = breached.inputs["guard"]
    state = DetectorState.from_dict(read["state"])
    batch = BadTotal(*read["batch"])
    assert not state.is_alarm
    assert update(state, batch, read["elapsed"], read["share"], read["runLength"]).is_alarm


@pytest.mark.parametrize("after", range(12))
async def test_killed_after_any_write_each_decision_is_told_once(after: int) -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    shop.publish("v2")
    shop.want("v2")
    shop.cluster.crash_after_writes = after
    try:
        await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    except Killed:
        shop.cluster.crash_after_writes = None
        shop.harness.restart()
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    await shop.harness.advance(30)
    seqs = [event.seq for event in shop.cluster.events]
    assert seqs == list(range(1, shop.status.record.seq + 1))


async def test_a_decision_whose_event_failed_is_told_later_and_holds_up_nothing() -> None:
    shop = Shop()
    await shop.serve("v1")
    with events_away(shop):
        shop.behaviour["v2"] = Behaviour(errors=1.0)
        shop.publish("v2")
        shop.want("v2")
        await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
        assert "RolledBack" not in shop.events()
    await shop.harness.advance(30)
    assert [e.seq for e in shop.cluster.events] == list(range(1, shop.status.record.seq + 1))


async def test_a_repair_is_a_decision() -> None:
    shop = Shop()
    await shop.serve("v1")
    (workload,) = shop.cluster.find(WORKLOADS, "shop")
    key = Key(WORKLOADS, "shop", workload["metadata"]["name"])
    shop.cluster.user_change(key, lambda obj: obj["spec"].update(replicas=1))
    await shop.harness.settle()
    repaired = shop.status.record.decisions[-1]
    assert repaired.reason == "ConfigurationRepaired"
    assert "replicas" in repaired.message
    assert shop.cluster.events[-1].seq == repaired.seq


class TestRefused:
    async def test_child_is_said_once_tried_again_and_the_condition_clears(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        shop.cluster.fault = refuse(lambda verb, key: key.resource == WORKLOADS)
        await shop.harness.advance(120)
        assert shop.condition("Stalled") == "True"
        assert shop.reason("Stalled") == "WriteRefused"
        assert shop.message("Stalled") == "exceeded quota: pods"
        assert shop.events().count("WriteRefused") == 1
        assert (shop.condition("Reconciling"), shop.reason("Reconciling")) == (
            "False", "WriteRefused",
        )  # fmt: skip
        assert shop.serving == "v1"
        shop.cluster.fault = lambda verb, key: None
        await shop.harness.run_until(lambda: shop.serving == "v2", 600)
        assert shop.condition("Stalled") == "False"
        assert shop.condition("UpToDate") == "True"

    async def test_a_refusal_ends_and_what_was_decided_stalls_on(self) -> None:
        shop = await rolled_back_shop()
        await shop.harness.advance(5)
        assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "Quarantined")
        shop.cluster.fault = refuse(lambda verb, key: key.resource == WORKLOADS)
        shop.change(lambda spec: spec.update(replicas=4))
        await shop.harness.advance(5)
        assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "WriteRefused")
        shop.cluster.fault = lambda verb, key: None
        await shop.harness.advance(60)
        assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "Quarantined")
        assert (shop.condition("UpToDate"), shop.reason("UpToDate")) == ("False", "Quarantined")

    async def test_a_promotion_that_is_not_carried_out_is_not_up_to_date(self) -> None:
        """The Service still selects pods of both versions, and none of them is taken away."""
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        await shop.harness.run_until(lambda: "StepReached" in shop.events(), 120)
        shop.cluster.fault = refuse(lambda verb, key: key.resource == SERVICES)
        await shop.harness.run_until(lambda: shop.serving == "v2", 600)
        await shop.harness.advance(120)
        answered = shop.traffic.answered["v1"]
        await shop.harness.advance(60)
        assert shop.traffic.answered["v1"] > answered
        assert (shop.condition("UpToDate"), shop.reason("UpToDate")) == ("Unknown", "WriteRefused")
        shop.cluster.fault = lambda verb, key: None
        await shop.harness.run_until(lambda: shop.condition("UpToDate") == "True", 600)

    @pytest.mark.parametrize("is_refused", [True, False])
    async def test_nothing_is_said_of_a_spec_that_came_meanwhile(self, is_refused: bool) -> None:
        """`kubectl wait` looks at the generation of the condition, not at that of the status."""
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.cluster.fault = refuse(lambda verb, key: key.resource == WORKLOADS)
        if not is_refused:
            shop.change(lambda spec: spec.update(replicas=4))
            await shop.harness.advance(5)

        def edited(verb: str, key: Key) -> TrimtabError | None:
            if key.resource != WORKLOADS:
                return None
            shop.cluster.fault = lambda verb, key: None
            shop.want("v2")
            return Refused("exceeded quota: pods") if is_refused else None

        early = []

        def look(event: str, resource: object, obj: Json) -> None:
            seen = {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or []}
            told = seen.get("UpToDate", {})
            is_of_spec = told.get("observedGeneration") == obj["metadata"]["generation"]
            if told.get("status") == "True" and is_of_spec and obj["spec"]["version"] == "v2":
                early.append(shop.serving)

        shop.cluster.listen(look)
        shop.cluster.fault = edited
        shop.change(lambda spec: spec.update(replicas=5))
        await shop.harness.run_until(lambda: shop.serving == "v2", 600)
        await shop.harness.advance(60)
        assert set(early) == {"v2"}


async def test_a_name_that_is_taken_stalls_without_writes_at_rest() -> None:
    """The decision says so itself: each pass comes to the same, and has nothing to write."""
    shop = Shop()
    shop.publish("v1")
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": "theirs"}}}
    shop.cluster.user_apply(service | {"metadata": {"name": "digits", "namespace": "shop"}})
    shop.apply(deployment_object("v1"))
    await shop.harness.advance(60)
    assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "NameTaken")
    writes = len(shop.cluster.writes)
    await shop.harness.advance(240)
    assert len(shop.cluster.writes) == writes


async def test_restored_without_its_status_it_begins_anew() -> None:
    """What an API server makes of a status that is left out is no status."""
    shop = Shop()
    await shop.serve("v1")
    shop.cluster.user_change(KEY, lambda obj: obj.update(status=dict(UNSEEN)))
    assert shop.status == DeploymentStatus(observed_generation=0)
    shop.harness.restart()
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    await shop.harness.advance(30)
    assert shop.condition("UpToDate") == "True"
    assert shop.live["status"]["observedGeneration"] == shop.live["metadata"]["generation"]

    async def test_read_before_a_decision_is_said_and_the_condition_clears(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        read = shop.cluster.read

        async def refused(key: Key) -> Json | None:
            if key.resource == MODEL_VERSIONS:
                raise Refused("modelversions is forbidden")
            return await read(key)

        with monkeypatch.context() as patched:
            patched.setattr(shop.cluster, "read", refused)
            await shop.harness.advance(600)
            assert (shop.condition("Stalled"), shop.reason("Stalled")) == ("True", "ReadRefused")
            assert shop.message("Stalled") == "modelversions is forbidden"
            assert shop.events().count("ReadRefused") == 1
            assert shop.serving == "v1"
        await shop.harness.run_until(lambda: shop.serving == "v2", 600)
        assert shop.condition("Stalled") == "False"

    async def test_child_is_never_held_against_the_version(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        shop.cluster.fault = refuse(lambda verb, key: key.resource == WORKLOADS)
        await shop.harness.run_until(lambda: "v2 Undecided" in shop.outcomes, 400)
        assert "WriteRefused: exceeded quota: pods" in shop.status.history[-1].message
        assert shop.status.rejected == []

    async def test_figures_that_change_from_try_to_try_are_no_news(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        tries = iter(range(1000))
        shop.cluster.fault = lambda verb, key: (
            Refused(f"used: pods={next(tries)}") if key.resource == WORKLOADS else None
        )
        await shop.harness.advance(20)
        writes = len(shop.cluster.writes)
        await shop.harness.advance(200)
        assert next(tries) > 3
        status = [w for w in shop.cluster.writes[writes:] if w.verb == "apply_status"]
        assert len(status) <= 200 / 30 + 1  # the refresh of numbers while a rollout runs


async def test_an_object_that_cannot_be_read_says_so_and_goes_on_when_it_can() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.cluster.user_change(KEY, lambda obj: obj["spec"].update(replicas="many"))
    await shop.harness.advance(5)
    assert shop.condition("Stalled") == "True"
    assert shop.reason("Stalled") == "InvalidSpec"
    assert "spec.replicas" in shop.message("Stalled")
    assert shop.events().count("InvalidSpec") == 1
    # Looked at, and nothing decided: who waits for this spec sees that it never comes.
    assert shop.live["status"]["observedGeneration"] == shop.live["metadata"]["generation"]
    assert (shop.condition("UpToDate"), shop.reason("UpToDate")) == ("Unknown", "InvalidSpec")
    assert shop.condition("Ready") == "True"
    shop.cluster.user_change(KEY, lambda obj: obj["spec"].update(replicas=2))
    await shop.harness.advance(5)
    assert shop.condition("Stalled") == "False"
    assert shop.condition("UpToDate") == "True"
    assert set(shop.sizes().values()) == {2}
    shop.cluster.user_change(KEY, lambda obj: obj["spec"].update(replicas="none"))
    shop.cluster.user_change(KEY, lambda obj: obj["spec"].update(replicas="none at all"))
    await shop.harness.advance(5)
    assert shop.live["status"]["observedGeneration"] == shop.live["metadata"]["generation"]
    assert shop.events().count("InvalidSpec") == 2


async def test_a_record_that_cannot_be_read_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.cluster.user_change(KEY, lambda obj: obj["status"].update(record={"seq": "many"}))
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    assert "a record in status cannot be read" in caplog.text


async def test_what_is_kept_of_an_object_is_not_taken_for_another_of_its_name() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.harness.events_held = True
    shop.cluster.user_delete(KEY)
    shop.apply(deployment_object("v1"))
    shop.harness.events_held = False
    shop.harness.deliver()
    await shop.harness.run_until(lambda: shop.serving == "v1", 120)
    uid = shop.live["metadata"]["uid"]
    assert any(uid in s["metadata"]["name"] for s in shop.cluster.find(SECRETS, "shop"))
    assert shop.outcomes == ["v1 Promoted"]


async def test_a_status_is_not_written_to_another_object_of_that_name() -> None:
    shop = Shop()
    await shop.serve("v1")
    with pytest.raises(Conflict, match="uid is"):
        await shop.cluster.apply_status(KEY, {}, uid="another")


async def test_what_was_refused_is_tried_with_back_off_and_news_at_once() -> None:
    shop = Shop()
    await shop.serve("v1")
    shop.publish("v2", "v3")
    shop.want("v2")
    tries: list[str] = []

    def refused(verb: str, key: Key) -> TrimtabError | None:
        if key.resource != WORKLOADS:
            return None
        tries.append(key.name)
        return Refused("exceeded quota")

    shop.cluster.fault = refused
    await shop.harness.advance(240)
    assert 3 <= len(tries) <= 20
    before = len(set(tries))
    shop.want("v3")
    await shop.harness.advance(2)
    assert len(set(tries)) == before + 1


async def test_an_invalid_spec_is_told_though_the_first_event_failed() -> None:
    shop = Shop()
    await shop.serve("v1")
    with events_away(shop):
        shop.cluster.user_change(KEY, lambda obj: obj["spec"].update(replicas="many"))
        await shop.harness.advance(5)
    await shop.harness.advance(60)
    assert shop.events().count("InvalidSpec") == 1


async def test_a_slow_sink_holds_up_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    await shop.serve("v1")
    begun = asyncio.Event()

    async def hang(*args: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(shop.cluster, "tell_event", hang)
    shop.behaviour["v2"] = Behaviour(errors=1.0)
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 120)
    assert begun.is_set()
    assert shop.serving == "v1"


async def test_a_told_number_is_not_given_again_when_the_record_is_lost() -> None:
    shop = Shop()
    await shop.serve("v1")
    last = shop.status.record.seq
    shop.cluster.user_change(KEY, lambda obj: obj["status"].pop("record"))
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2", 120)
    seqs = [event.seq for event in shop.cluster.events]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > last


def once_when(shop: Shop, is_it: Callable[[Json], bool], *, has_effect: bool) -> list[Json]:
    """Let the first status write that `is_it` have no reply; return a list that will have it."""
    failed: list[Json] = []
    write = shop.cluster.apply_status

    async def apply_status(key: Key, status: Json, **only: Any) -> Json:
        if failed or not is_it(status):
            return await write(key, status, **only)
        failed.append(status)
        if has_effect:
            await write(key, status, **only)
        raise Unavailable("no reply")

    shop.cluster.apply_status = apply_status  # type: ignore[method-assign]
    return failed


def is_rolled_back(status: Json) -> bool:
    return any(entry["outcome"] == "RolledBack" for entry in status.get("history") or [])


class TestFence:
    """A status is written only to the object that it rests on."""

    async def test_what_an_old_view_would_do_is_decided_again_on_the_newest(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        shop.harness.events_held = True
        shop.want("v1")
        await shop.harness.settle()
        assert "RolloutStarted" not in [e.reason for e in shop.cluster.events[1:]]
        assert set(shop.sizes().values()) == {3}
        assert shop.harness.errors == []

    async def test_a_newer_status_is_not_undone(self) -> None:
        shop = await rolled_back_shop()
        shop.publish("v3")
        rejected = shop.live["status"]["rejected"]
        revision = rejected[0] | {"version": "v0", "revision": "0000000000"}
        shop.want("v3")
        shop.harness.events_held = True
        shop.cluster.user_change(KEY, lambda obj: obj["status"]["rejected"].append(revision))
        await shop.harness.settle()
        assert [entry.version for entry in shop.status.rejected] == ["v2", "v0"]
        assert shop.status.candidate is not None

    async def test_each_number_is_given_and_told_once(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        failed = once_when(shop, lambda status: "rollout" in status, has_effect=True)
        shop.harness.events_held = True  # the retry does not know that the first try had effect
        await shop.harness.advance(2)
        assert failed
        shop.harness.events_held = False
        shop.harness.deliver()
        await shop.harness.run_until(lambda: shop.serving == "v2", 120)
        told = [event.seq for event in shop.cluster.events]
        assert told == list(range(1, shop.status.record.seq + 1))
        assert shop.events().count("RolloutStarted") == 2

    @pytest.mark.parametrize("has_effect", [False, True])
    async def test_what_is_remembered_is_what_status_says(self, has_effect: bool) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.behaviour["v2"] = Behaviour(errors=1.0)
        shop.publish("v2")
        shop.want("v2")
        failed = once_when(shop, is_rolled_back, has_effect=has_effect)
        await shop.harness.run_until(lambda: bool(failed), 120)
        kept = kept_of(shop.harness.world, KEY)
        assert kept is not None
        assert kept.memory.step is not None  # nobody knows yet whether the step is over
        await shop.harness.run_until(lambda: "v2 RolledBack" in shop.outcomes, 10)
        await shop.harness.advance(5)
        assert kept.memory.step is None
        assert shop.events().count("RolledBack") == 1

    async def test_a_repair_whose_status_was_not_written_is_told_later(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        (workload,) = shop.cluster.find(WORKLOADS, "shop")
        key = Key(WORKLOADS, "shop", workload["metadata"]["name"])
        failed = once_when(shop, lambda status: True, has_effect=False)
        shop.cluster.user_change(key, lambda obj: obj["spec"].update(replicas=1))
        await shop.harness.advance(10)
        assert failed
        assert shop.events().count("ConfigurationRepaired") == 1

    async def test_nothing_is_written_by_who_may_not_lead_any_more(self) -> None:
        shop = Shop()
        await shop.serve("v1")
        shop.publish("v2")
        shop.want("v2")
        writes = len(shop.cluster.writes)
        shop.harness.world.is_leading = lambda: False
        await shop.harness.advance(5)
        assert len(shop.cluster.writes) == writes
        assert {type(error) for _, _, error in shop.harness.errors} == {RetryLater}
        shop.harness.world.is_leading = lambda: True
        await shop.harness.run_until(lambda: shop.serving == "v2", 120)


async def test_a_sink_that_refuses_is_asked_less_and_less_often() -> None:
    shop = Shop()
    await shop.serve("v1")
    asked: list[object] = []

    async def refuse_event(*args: object) -> None:
        asked.append(args)
        raise Refused("forbidden by a policy")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop.cluster, "tell_event", refuse_event)
        shop.publish("v2")
        shop.want("v2")
        await shop.harness.run_until(lambda: shop.serving == "v2", 120)
        await shop.harness.advance(300)
    assert 4 <= len(asked) <= 8
    await shop.harness.advance(310)
    assert [e.seq for e in shop.cluster.events] == list(range(1, shop.status.record.seq + 1))
