"""A line with drift, a retraining, a promotion and a rollback: after every pass each series says
what the objects say, and no fact of theirs is without its series.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from typing import Any

from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.kinds.test_loop import DATA, INPUTS, QUALITY, Loop
from tests.unit.reconcile.worlds import KEY, deployment_object, version_object
from tests.unit.state_metrics.pages import Series, of, read

from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.machine.state_page import StatePage
from trimtab.reconcile.machine.tallies import AT_ZERO_FOR
from trimtab.reconcile.machine.world import World
from trimtab.simulation.traffic import Behaviour

COUNTERS = {
    "trimtab_decisions_total",
    "trimtab_rollouts_total",
    "trimtab_retrains_total",
    "trimtab_rollout_seconds_bucket",
    "trimtab_rollout_seconds_sum",
    "trimtab_rollout_seconds_count",
}


IT = {"namespace": "shop", "name": "digits"}


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def percent(text: str) -> float:
    return float(text.partition("%")[0]) / 100


class Expected:
    """The series that objects stand for, worked out from their JSON alone."""

    def __init__(self, world: World) -> None:
        self.series: Series = {}
        self.now = world.now().timestamp()
        self.versions = {v["metadata"]["name"]: v for v in world.cache.all(MODEL_VERSIONS)}
        for resource in OWN_KINDS:
            for obj in world.cache.all(resource):
                self._add_common(resource.kind, obj)
            of_kind = of("trimtab_operator_unreadable_objects", kind=resource.kind)
            self.series[of_kind] = 0
        for obj in world.cache.all(DEPLOYMENTS):
            self._add_deployment(obj)
        for obj in world.cache.all(DRIFT_POLICIES):
            self._add_policy(obj)
        for obj in world.cache.all(RETRAIN_JOBS):
            self._add_job(obj)

    def _add(self, name: str, value: float, **labels: str) -> None:
        self.series[of(name, **self._of, **labels)] = value

    def _add_common(self, kind: str, obj: Json) -> None:
        self._of = {"namespace": "shop", "name": obj["metadata"]["name"]}
        status = obj.get("status") or {}
        for one in status.get("conditions", []):
            what = {"type": one["type"], "status": one["status"], "reason": one["reason"]}
            self._add("trimtab_condition", 1, kind=kind, **what)
        for one in (status.get("record") or {}).get("decisions", []):
            name = "trimtab_last_decision_timestamp_seconds"
            self._add(name, seconds(one["at"]), kind=kind, reason=one["reason"])

    def _add_deployment(self, obj: Json) -> None:
        self._of = {"namespace": "shop", "name": obj["metadata"]["name"]}
        status = obj.get("status") or {}
        stable, candidate = status.get("stable") or {}, status.get("candidate") or {}
        self._add(
            "trimtab_deployment_info",
            1,
            model="digits",
            strategy="canary",
            serving=stable.get("version", ""),
            candidate=candidate.get("version", ""),
        )
        if stable:
            made = self.versions[stable["versionObject"]]["metadata"]["creationTimestamp"]
            self._add("trimtab_model_age_seconds", math.floor(self.now - seconds(made)))
            self._add("trimtab_serving_since_timestamp_seconds", seconds(stable["since"]))
            self._add("trimtab_model_lineage_depth", self._depth(stable["versionObject"]))
        rollout = status.get("rollout")
        if rollout:
            step = rollout.get("step")
            if step:
                self._add("trimtab_rollout_step", step["index"] + 1)
                self._add("trimtab_rollout_steps", step["of"])
            for what, text in (("wanted", "weight"), ("measured", "share")):
                if candidate.get(text):
                    self._add("trimtab_rollout_weight", percent(candidate[text]), of=what)
            if step and rollout["phase"] == "Stepping" and not rollout.get("withdrawn"):
                wanted = of("trimtab_rollout_weight", **self._of, of="wanted")
                assert math.isclose(self.series[wanted], percent(step["weight"]), abs_tol=1e-5)
        for gate in status.get("gates", []):
            self._add_gate(gate)

    def _add_gate(self, gate: Json) -> None:
        for side in ("candidate", "stable"):
            if side in gate:
                labels = {"gate": gate["name"], "side": side}
                self._add("trimtab_gate_total", gate[side]["total"], **labels)
                self._add("trimtab_gate_bad_total", gate[side]["bad"], **labels)
        if gate["threshold"] > 1:
            ratio = math.log(max(1, gate["evidence"])) / math.log(gate["threshold"])
            assert (ratio >= 1) == (gate["verdict"] == "Fail")
            self._add("trimtab_gate_evidence_ratio", ratio, gate=gate["name"])

    def _add_policy(self, obj: Json) -> None:
        self._of = {"namespace": "shop", "name": obj["metadata"]["name"]}
        status = obj.get("status") or {}
        for signal in status.get("signals", []):
            labels = {"deployment": signal["deployment"], "signal": signal["kind"]}
            self._add("trimtab_drift_verdict", 1, **labels, verdict=signal["verdict"])
            for what in ("value", "threshold"):
                if what in signal:
                    self._add(f"trimtab_drift_{what}", signal[what], **labels)
            if signal["kind"] == "inputs":
                for one in signal["top"]:
                    psi = {"deployment": signal["deployment"], "feature": one["name"]}
                    self._add("trimtab_feature_psi", one["value"], **psi)
            if signal["kind"] == "quality" and "value" in signal:
                metric = {"deployment": signal["deployment"], "metric": "accuracy", "class": ""}
                self._add("trimtab_quality_estimated", signal["value"], **metric)
                for bound in ("lower", "upper"):
                    self._add(f"trimtab_quality_estimated_{bound}", signal[bound], **metric)
        attempts = status.get("attempts", [])
        for how in {(one["deployment"], one["phase"]) for one in attempts}:
            number = sum((one["deployment"], one["phase"]) == how for one in attempts)
            deployment, phase = how
            self._add("trimtab_retrain_attempts", number, deployment=deployment, phase=phase)
        if "budget" in status:
            used = len(status["budget"]["alarms"]) / status["budget"]["perQuarter"]
            self._add("trimtab_false_alarm_budget_used_ratio", used)

    def _depth(self, name: str) -> int:
        parent = self.versions[name]["spec"].get("lineage", {}).get("parent")
        return 1 + self._depth(parent) if parent in self.versions else 0

    def _add_job(self, obj: Json) -> None:
        self._of = {"namespace": "shop", "name": obj["metadata"]["name"]}
        cause, status = obj["spec"]["cause"], obj.get("status") or {}
        of_it = {"deployment": cause["deployment"]}
        what = {"model": obj["spec"]["model"], "cause": cause["signal"]}
        phase, version = status.get("phase", "Queued"), status.get("newVersion", "")
        self._add("trimtab_retrain_info", 1, **of_it, **what, phase=phase, version=version)
        self._add("trimtab_retrain_attempt", cause.get("attempt", 1), **of_it)
        for when in ("started", "finished"):
            if when in status:
                at = seconds(status[when])
                self._add(f"trimtab_retrain_{when}_timestamp_seconds", at, **of_it)
        for side in ("champion", "challenger"):
            measured = status.get(side)
            if measured:
                of_side = {**of_it, "side": side, "metric": measured["metric"]}
                of_side["version"] = measured.get("version", "")
                self._add("trimtab_retrain_measured", measured["value"], **of_side)
                for end, bound in zip(("lower", "upper"), measured["interval"], strict=True):
                    self._add(f"trimtab_retrain_measured_{end}", bound, **of_side)


class Watched(Loop):
    """Looks at the page after every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.names: set[str] = set()
        harness = self.harness
        self.page = StatePage(harness.world.cache, now=harness.world.now, leads=lambda: True)
        harness.reconcilers = {
            resource: self._then_look(reconcile)
            for resource, reconcile in harness.reconcilers.items()
        }

    def _then_look(self, reconcile: Reconciler) -> Reconciler:
        async def watched(world: World, key: Key) -> datetime | None:
            try:
                return await reconcile(world, key)
            finally:
                self.look(world)

        return watched

    def read(self) -> Series:
        assert self.page.refresh()
        return read(self.page.joined())

    def look(self, world: World) -> None:
        state = {one: value for one, value in self.read().items() if one[0] not in COUNTERS}
        assert state == Expected(world).series
        self.looks += 1
        self.names |= {name for name, _ in state}

    def counted(self, name: str, *labels: str) -> Counter[Any]:
        """Return a counter's values by these labels."""
        found: Counter[Any] = Counter()
        for (one, given), value in self.read().items():
            if one == name:
                found[tuple(dict(given)[label] for label in labels)] += int(value)
        return found


async def test_after_every_pass_the_page_is_what_the_objects_say() -> None:
    loop = Watched()
    version = version_object("v1")
    version["spec"]["evaluation"] = [{"metric": "accuracy", "value": 0.974}]
    loop.cluster.user_apply({k: v for k, v in version.items() if k != "status"})
    loop.cluster.user_apply(deployment_object(None, metrics={"scrape": {"interval": "5s"}}))
    loop.cluster.user_apply(
        policy_object(QUALITY, INPUTS, DATA, window="20s", retrain={"cooldown": "1m"})
    )
    await loop.until(lambda: loop.serving == "v1", 200)
    promoted = {"kind": "Deployment", "reason": "Promoted", **IT}
    state = loop.read()
    at = state[of("trimtab_last_decision_timestamp_seconds", **promoted)]
    since = state[of("trimtab_serving_since_timestamp_seconds", **IT)]
    assert abs(since - at) < 1  # by which the rule of the lead time knows a promotion
    await loop.advance(60)
    loop.behaviour["v1"] = Behaviour(estimated=0.8, low=0.9)
    await loop.until(lambda: loop.serving.startswith("r"), 900)
    await loop.advance(90)
    loop.behaviour["v2"] = Behaviour(errors=0.5)
    bad = version_object("v2")
    loop.cluster.user_apply({k: v for k, v in bad.items() if k != "status"})
    await loop.until(lambda: rejected(loop), 900)
    await loop.advance(AT_ZERO_FOR.total_seconds() + 60)

    assert loop.looks > 50
    assert loop.names >= {
        "trimtab_rollout_weight",
        "trimtab_gate_evidence_ratio",
        "trimtab_feature_psi",
        "trimtab_quality_estimated",
        "trimtab_false_alarm_budget_used_ratio",
        "trimtab_retrain_attempts",
        "trimtab_retrain_measured",
        "trimtab_retrain_measured_upper",
        "trimtab_retrain_finished_timestamp_seconds",
    }
    decided: Counter[Any] = Counter()
    for resource in OWN_KINDS:
        for obj in loop.cluster.find(resource):
            made = loop.counted("trimtab_decisions_total", "kind", "name")
            seq = obj["status"]["record"]["seq"]
            assert made[resource.kind, obj["metadata"]["name"]] == seq
            decided[resource.kind] += seq
    live = loop.cluster.get(KEY) or {}
    history = Counter((entry["outcome"],) for entry in live["status"]["history"])
    assert loop.counted("trimtab_rollouts_total", "outcome") == history
    assert loop.counted("trimtab_rollouts_total", "reason")["GateFailed",] == 1
    assert loop.counted("trimtab_rollout_seconds_count", "outcome") == history
    trained = loop.counted("trimtab_retrains_total", "deployment", "cause", "outcome")
    assert trained == {("digits", "quality", "Succeeded"): 1}


def rejected(loop: Loop) -> bool:
    return bool((loop.cluster.get(KEY) or {})["status"].get("rejected"))


async def test_a_new_process_counts_nothing_that_was_decided_before() -> None:
    loop = Loop()
    await loop.run()
    loop.harness.restart()
    world = loop.harness.world
    page = StatePage(world.cache, now=world.now, leads=lambda: True)
    for own in OWN_KINDS:  # as a list at the start does
        listed = [obj | {"metadata": dict(obj["metadata"])} for obj in world.cache.all(own)]
        for obj in listed:
            world.cache.drop(own, obj)
            world.cache.take_in(own, obj)
    await loop.advance(AT_ZERO_FOR.total_seconds() + 60)
    assert page.refresh()
    found = {name for name, _ in read(page.joined())}
    assert "trimtab_deployment_info" in found
    assert found & COUNTERS == set()
