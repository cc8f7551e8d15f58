"""The page of the metrics of state follows the cache, and counts each decision once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.reconcile.machine.engines import reached
from tests.unit.state_metrics.pages import (
    NOW,
    Series,
    condition,
    deployment_status,
    obj_of,
    of,
    read,
    record,
    tried,
)

from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    WORKLOADS,
    Json,
)
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.machine.state_page import StatePage
from trimtab.reconcile.machine.tallies import AT_ZERO_FOR
from trimtab.state_metrics.kinds import SHOWN

IT = {"namespace": "shop", "name": "digits"}
INFO = "trimtab_deployment_info"
DECISIONS = "trimtab_decisions_total"
LAST = "trimtab_last_decision_timestamp_seconds"


class Bench:
    """One process with its cache and clock."""

    def __init__(self, *, leads: bool = True) -> None:
        self.now = NOW
        self.leads = leads
        self.cache = Cache()
        self.page = StatePage(self.cache, now=lambda: self.now, leads=lambda: self.leads)
        self._version = 0

    def take(self, kind: str, status: Any = None, spec: Any = None, **metadata: Any) -> Json:
        self._version += 1
        obj = obj_of(kind, status, spec, resourceVersion=str(self._version), **metadata)
        self.cache.take_in(next(r for r in OWN_KINDS if r.kind == kind), obj)
        return obj

    def series(self) -> Series:
        assert self.page.refresh()
        return read(self.page.joined())

    def later(self, after: timedelta = AT_ZERO_FOR) -> Series:
        self.now += after
        return self.series()

    def named(self, name: str) -> Series:
        return {one: value for one, value in self.series().items() if one[0] == name}


@pytest.fixture
def it() -> Bench:
    return Bench()


def decisions(*reasons: str) -> Json:
    return deployment_status(record=record(*reasons))


def decided(reason: str, kind: str = "Deployment") -> tuple[str, frozenset[tuple[str, str]]]:
    return of(DECISIONS, **IT, kind=kind, reason=reason)


# --- state --------------------------------------------------------------------------------------


def test_a_change_replaces_what_was_shown(it: Bench) -> None:
    it.take("Deployment", deployment_status(conditions=[condition("Ready", "False", "Starting")]))
    assert len(it.named("trimtab_condition")) == 1
    it.take("Deployment", deployment_status(stable=tried()))
    assert it.named("trimtab_condition") == {}
    ((_, labels),) = it.named(INFO)
    assert ("serving", "v1") in labels


def test_series_of_a_deleted_object_go_at_once(it: Bench) -> None:
    empty = it.series()
    for kind in SHOWN:
        it.take(kind, {"conditions": [condition("Stalled").to_json()]})
    it.take("Deployment", decisions("RolloutStarted"))
    it.later()
    assert len(it.named("trimtab_condition")) == 3
    for resource in OWN_KINDS:
        for obj in list(it.cache.all(resource)):
            it.cache.take_out(resource, obj)
    assert it.series() == empty


def test_what_was_not_found_goes_too(it: Bench) -> None:
    obj = it.take("Deployment")
    it.cache.drop(DEPLOYMENTS, obj)
    assert it.named(INFO) == {}


def test_own_writes_are_shown(it: Bench) -> None:
    it.cache.put(DEPLOYMENTS, obj_of("Deployment", deployment_status(stable=tried())))
    assert len(it.named(INFO)) == 1


def test_other_types_are_nothing_to_it(it: Bench) -> None:
    before = it.series()
    it.cache.take_in(WORKLOADS, obj_of("Deployment"))
    assert it.series() == before


@pytest.mark.parametrize("status", ["text", {"conditions": "none"}, {"record": {"seq": -1}}])
def test_an_unreadable_object_is_left_out_and_counted(it: Bench, status: Any) -> None:
    unreadable = "trimtab_operator_unreadable_objects"
    it.take("Deployment", name="other")
    it.take("Deployment", deployment_status(stable=tried()))
    it.take("Deployment", status)
    assert set(it.named(INFO)) == {
        of(INFO, namespace="shop", name="other", model="", serving="", candidate="", **CANARY)
    }
    assert it.named(unreadable)[of(unreadable, kind="Deployment")] == 1
    it.take("Deployment", decisions("Promoted"))
    assert len(it.named(INFO)) == 2
    assert it.named(unreadable)[of(unreadable, kind="Deployment")] == 0
    obj = it.take("Deployment", status)
    it.series()
    it.cache.take_out(DEPLOYMENTS, obj)
    assert it.named(unreadable)[of(unreadable, kind="Deployment")] == 0


CANARY = {"strategy": "canary"}


def test_a_bug_costs_the_series_of_one_object(
    it: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(obj: Json, now: datetime) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(SHOWN, "DriftPolicy", broken)
    monkeypatch.setattr("trimtab.reconcile.machine.state_page.last_number", broken)
    it.take("DriftPolicy")
    it.take("Deployment")
    assert len(it.named(INFO)) == 1
    assert "a bug in the metrics of state" in caplog.text


async def test_only_who_leads_shows_anything() -> None:
    it = Bench(leads=False)
    it.take("Deployment", decisions())
    assert await it.page.page() == b""
    it.leads = True
    assert of(INFO, **IT, model="", serving="", candidate="", **CANARY) in read(
        await it.page.page()
    )
    it.leads = False
    assert await it.page.page() == b""


async def test_a_page_has_what_changed_a_moment_ago(it: Bench) -> None:
    for n in range(100):
        it.take("Deployment", decisions("RolloutStarted"), name=f"d{n}")
    assert not it.page.refresh(0.0)
    found = [name for name, _ in read(await it.page.page())]
    assert found.count(INFO) == 100


async def test_what_changed_is_rendered_in_the_background(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.reconcile.machine.state_page.EVERY_SECONDS", 0.0)
    it.take("Deployment")
    running = asyncio.create_task(it.page.run())
    await reached(lambda: INFO.encode() in it.page.joined())
    running.cancel()
    await asyncio.wait([running])


# --- time ---------------------------------------------------------------------------------------


def test_the_age_is_that_of_the_version_that_serves(it: Bench) -> None:
    age = of("trimtab_model_age_seconds", **IT)
    it.take("Deployment", deployment_status(stable=tried("v1")))
    assert age not in it.series()
    it.take("ModelVersion", name="digits-v1")
    it.now = NOW + timedelta(seconds=90)
    assert it.series()[age] == 90
    assert it.later(timedelta(seconds=1.5))[age] == 91
    it.take("ModelVersion", name="digits-v2", creationTimestamp="2026-01-01T00:01:00Z")
    it.take("Deployment", deployment_status(stable=tried("v2")))
    assert it.series()[age] == 31
    for version in list(it.cache.all(MODEL_VERSIONS)):
        it.cache.take_out(MODEL_VERSIONS, version)
    assert age not in it.series()


def test_the_depth_is_how_many_versions_stand_behind(it: Bench) -> None:
    depth = of("trimtab_model_lineage_depth", **IT)

    def made(version: str, parent: str | None = None) -> None:
        lineage = {} if parent is None else {"lineage": {"parent": f"digits-{parent}"}}
        it.take("ModelVersion", spec=lineage, name=f"digits-{version}")

    it.take("Deployment", deployment_status(stable=tried("v3")))
    assert depth not in it.series()
    made("v3", "v2")
    assert it.series()[depth] == 0  # v2 is not there
    made("v1")
    made("v2", "v1")
    assert it.series()[depth] == 2
    made("v1", "v3")
    assert it.series()[depth] == 100  # a circle
    (first,) = [v for v in it.cache.all(MODEL_VERSIONS) if v["metadata"]["name"] == "digits-v1"]
    it.cache.take_out(MODEL_VERSIONS, first)
    assert it.series()[depth] == 1
    made("v2")
    assert it.series()[depth] == 1
    made("v3")
    assert it.series()[depth] == 0


def test_alarms_leave_the_budget_without_a_write(it: Bench) -> None:
    used = of("trimtab_false_alarm_budget_used_ratio", **IT)
    budget = {"perQuarter": 1.0, "levelPerLook": 0.1, "alarms": ["2025-12-31T00:00:00Z"]}
    it.take("DriftPolicy", {"budget": budget})
    assert it.series()[used] == 1
    assert it.later(timedelta(days=88))[used] == 1
    assert it.later(timedelta(days=1))[used] == 0


# --- counters -----------------------------------------------------------------------------------


def test_a_decision_is_counted_once(it: Bench) -> None:
    it.take("Deployment")
    it.take("Deployment", decisions("RolloutStarted"))
    it.take("Deployment", decisions("RolloutStarted"))  # only something else changed
    it.take("Deployment", decisions("RolloutStarted", "StepReached", "StepReached"))
    found = it.later()
    assert found[decided("RolloutStarted")] == 1
    assert found[decided("StepReached")] == 2


def test_a_series_is_at_zero_before_its_first_increase_and_none_later(it: Bench) -> None:
    it.take("Deployment")
    it.take("Deployment", decisions("StepReached"))
    assert it.series()[decided("StepReached")] == 0
    assert it.later(AT_ZERO_FOR - timedelta(seconds=1))[decided("StepReached")] == 0
    assert it.later(timedelta(seconds=1))[decided("StepReached")] == 1
    it.take("Deployment", decisions("StepReached", "StepReached"))
    assert it.series()[decided("StepReached")] == 2


@pytest.mark.parametrize("shown_after", [AT_ZERO_FOR, -timedelta(hours=1)])
def test_no_counter_falls_when_the_clock_is_put_back(it: Bench, shown_after: timedelta) -> None:
    it.take("Deployment")
    it.take("Deployment", decisions("StepReached"))
    began = it.now
    assert it.later(shown_after)[decided("StepReached")] in (0, 1)
    it.take("Deployment", decisions("StepReached", "Promoted"))
    assert it.series()[decided("StepReached")] == 1
    it.now = began + timedelta(seconds=10)
    it.take("Deployment", decisions("StepReached", "Promoted", "RolledBack"))
    assert it.series()[decided("StepReached")] == 1


def test_what_was_decided_before_is_no_increase(it: Bench) -> None:
    it.take("Deployment", decisions("RolloutStarted", "Promoted"))
    assert it.later()
    assert it.named(DECISIONS) == {}
    it.take("Deployment", decisions("RolloutStarted", "Promoted", "RolloutStarted"))
    assert it.later()[decided("RolloutStarted")] == 1
    assert decided("Promoted") not in it.series()


def test_a_standby_counts_nothing_and_goes_on_from_what_there_is() -> None:
    it = Bench(leads=False)
    it.take("Deployment")
    it.take("Deployment", decisions("RolloutStarted"))
    it.leads = True
    it.take("Deployment", decisions("RolloutStarted", "StepReached"))
    found = it.later()
    assert found[decided("StepReached")] == 1
    assert decided("RolloutStarted") not in found


def test_when_it_was_decided_is_known_also_once_status_has_dropped_it(it: Bench) -> None:
    def times() -> set[str]:
        return {dict(labels)["reason"] for _, labels in it.named(LAST)}

    many = ["RolledBack", *["StepReached"] * 12]
    it.take("Deployment", decisions())
    it.take("Deployment", decisions(*many[:2]))
    before = it.named(LAST)
    kept = record(*many)
    kept = kept.model_copy(update={"decisions": kept.decisions[-10:]})
    it.take("Deployment", deployment_status(record=kept))
    assert it.named(LAST).keys() == before.keys()
    assert times() == {"RolledBack", "StepReached"}
    it.take("Deployment", deployment_status(record=kept), uid="u2")
    assert times() == {"StepReached"}


def test_another_object_of_the_name_is_counted_anew(it: Bench) -> None:
    it.take("Deployment")
    it.take("Deployment", decisions("Promoted"))
    assert it.later()[decided("Promoted")] == 1
    it.take("Deployment", decisions("Promoted", "Promoted"), uid="u2")
    assert it.named(DECISIONS) == {}


def test_an_unreadable_status_in_between_changes_no_count(it: Bench) -> None:
    it.take("Deployment", decisions("RolloutStarted"))
    it.take("Deployment", "text")
    it.take("Deployment", decisions("RolloutStarted"))
    it.take("Deployment", decisions("RolloutStarted", "Promoted"))
    it.later()
    assert it.named(DECISIONS) == {decided("Promoted"): 1}


def test_an_end_is_counted_with_its_reason_and_how_long_it_took(it: Bench) -> None:
    started = {"phase": "Stepping", "started": NOW}
    running = {"candidate": tried("v2"), "rollout": started}
    it.take("Deployment", deployment_status(record=record("RolloutStarted"), **running))
    at = NOW + timedelta(seconds=90)
    end = {"version": "v2", "revision": "r-v2", "at": at}
    rejected = {**end, "reason": "GateFailed", "by": "trimtab"}
    history = [{**end, "outcome": "RolledBack"}]
    ended = {"rejected": [rejected], "history": history}
    it.take("Deployment", deployment_status(record=record("RolloutStarted", "RolledBack"), **ended))
    it.take("Deployment", deployment_status(record=record("A", "B", "Other"), **ended))
    found = it.later()
    how = {"outcome": "RolledBack"}
    assert found[of("trimtab_rollouts_total", **IT, **how, reason="GateFailed")] == 1
    seconds = {"namespace": "shop", **how}
    assert found[of("trimtab_rollout_seconds_count", **seconds)] == 1
    assert found[of("trimtab_rollout_seconds_sum", **seconds)] == 90
    assert found[of("trimtab_rollout_seconds_bucket", **seconds, le="60.0")] == 0
    assert found[of("trimtab_rollout_seconds_bucket", **seconds, le="120.0")] == 1
    assert found[of("trimtab_rollout_seconds_bucket", **seconds, le="+Inf")] == 1
    obj = it.cache.get(next(iter(it.cache.keys(DEPLOYMENTS))))
    assert obj is not None
    it.cache.take_out(DEPLOYMENTS, obj)
    assert {name for name, _ in it.series()} == {"trimtab_operator_unreadable_objects"}


def test_a_retraining_is_counted_with_its_deployment(it: Bench) -> None:
    spec = {"cause": {"deployment": "digits", "signal": "quality"}}
    retrains = of(
        "trimtab_retrains_total",
        namespace="shop",
        deployment="digits",
        cause="quality",
        outcome="Failed",
    )

    def end(name: str) -> None:
        running = {"phase": "Running", "record": record("RetrainStarted").to_json()}
        failed = {
            "phase": "Failed",
            "record": record("RetrainStarted", "RetrainFailed").to_json(),
        }
        it.take("RetrainJob", running, spec, name=name)
        it.take("RetrainJob", failed, spec, name=name)

    end("of-no-deployment")
    it.take("Deployment")
    end("first")
    end("second")
    assert it.later()[retrains] == 2
    for job in list(it.cache.all(RETRAIN_JOBS)):
        it.cache.take_out(RETRAIN_JOBS, job)
    assert it.series()[retrains] == 2
    (deployment,) = it.cache.all(DEPLOYMENTS)
    it.cache.take_out(DEPLOYMENTS, deployment)
    assert retrains not in it.series()


def test_policies_and_deployments_of_one_name_do_not_mix(it: Bench) -> None:
    for kind in ("Deployment", "DriftPolicy"):
        it.take(kind)
        it.take(kind, {"record": record("DataBroken").to_json()})
    found = it.later()
    assert found[decided("DataBroken", "Deployment")] == 1
    assert found[decided("DataBroken", "DriftPolicy")] == 1
    (policy,) = it.cache.all(DRIFT_POLICIES)
    it.cache.take_out(DRIFT_POLICIES, policy)
    assert set(it.named(DECISIONS)) == {decided("DataBroken", "Deployment")}
