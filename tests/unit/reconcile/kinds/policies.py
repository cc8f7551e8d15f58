"""A Deployment that serves, pods that count, and a DriftPolicy that watches."""

from __future__ import annotations

from typing import Any

from tests.unit.drift_counts import Series, baseline, series, window_counts, with_identity
from tests.unit.loop_objects import (
    DEPLOYMENT_KEY,
    DIGEST_1,
    NAMESPACE,
    DocumentStore,
    deployment,
    documents,
    model_version,
    tried,
)

from trimtab.api.meta import API_VERSION
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.contract import metrics
from trimtab.reconcile.kinds.drift_policy import reconcile_drift_policy
from trimtab.reconcile.machine.world import Settings
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.simulation.harness import Harness
from trimtab.simulation.telemetry import SimulatedTelemetry
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.port import NoData, NoDataReason, Target

POLICY = Key(DRIFT_POLICIES, NAMESPACE, "digits")
TELEMETRY_KEY = f"{NAMESPACE}/digits"
PROCESS = "uid-a/2025-12-31T00:00:00Z"
BASELINE = baseline()
TICK = 5.0
QUALITY = {"kind": "quality", "floor": {"dropBy": "3%"}}


def policy_object(
    *signals: Json, name: str = "digits", retrain: Json | None = None, **spec: Any
) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "DriftPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"deployments": ["digits"]},
            "window": "1m",
            "falseAlarms": {"perQuarter": 100},
            "signals": list(signals) or [QUALITY],
            "retrain": {
                "cooldown": "10m",
                "maxPerWeek": 5,
                "giveUpAfter": 2,
                "job": {
                    "engine": {"job": {"args": ["--label", "label"]}},
                    "data": {"uri": "s3://data/scans/"},
                },
                **(retrain or {}),
            },
            **spec,
        },
    }


async def look_no_further(world: Any, key: Key) -> None:
    """Other kinds stay as the test put them."""


class PolicyShop:
    """One operator that runs DriftPolicies only; `feed` says what the pods count in a minute."""

    def __init__(self, **reconcilers: Any) -> None:
        self.cluster = SimulatedCluster()
        self.cluster.user_apply(
            model_version("v1", evaluation=[{"metric": "accuracy", "value": 0.974}])
        )
        self.set_phase("v1", "Verified")
        self.cluster.user_apply(deployment())
        self.set_status(stable=tried("v1"))
        self.baseline = BASELINE
        self.digest = DIGEST_1
        self.store = DocumentStore({DIGEST_1: documents(BASELINE)})
        self.feed: dict[str, Any] | None = {}
        self.silent = False
        idle = {series(metrics.REQUESTS_STARTED): 0.0}
        self.counts: Series = with_identity(idle, digest=DIGEST_1, baseline=BASELINE.digest)
        self.telemetry: SimulatedTelemetry
        self.harness = Harness(
            self.cluster,
            {
                DRIFT_POLICIES: reconcile_drift_policy,
                DEPLOYMENTS: look_no_further,
                MODEL_VERSIONS: look_no_further,
                RETRAIN_JOBS: look_no_further,
            },
            make_telemetry=self._telemetry,
            make_store=lambda: self.store,
            settings=Settings(serving_image="serving:1", training_image="training:1"),
        )
        self.harness.tick_every(TICK, self._tick)

    def _telemetry(self) -> SimulatedTelemetry:
        self.telemetry = SimulatedTelemetry(self.cluster)
        self.find_pods()
        return self.telemetry

    def find_pods(self) -> None:
        """Set the targets, as a pass over the Deployment does."""
        target = Target(PROCESS, "pod-a", "revv1", "http://10.0.0.1:9090/metrics")
        self.telemetry.set_targets(TELEMETRY_KEY, [target])

    async def _tick(self) -> None:
        now = self.cluster.time.timestamp()
        if self.silent:
            problem = NoData(NoDataReason.BACKEND_DOWN, "connection refused")
            self.telemetry.counters.record_failure(TELEMETRY_KEY, PROCESS, problem, now)
            return
        if self.feed is not None:
            per_minute = window_counts(seed=None, **self.feed)
            grown = with_identity(per_minute, digest=self.digest, baseline=self.baseline.digest)
            for key, value in grown.items():
                self.counts[key] = self.counts.get(key, 0.0) + value * TICK / 60
        sample = Exposition(dict(self.counts), 0.0)
        grown_now = self.telemetry.counters.record(TELEMETRY_KEY, PROCESS, sample, now)
        since = self.telemetry.counters.since(TELEMETRY_KEY, PROCESS)
        self.telemetry.window_store.add(TELEMETRY_KEY, grown_now, now, since)
        self.telemetry.hour_store.add(TELEMETRY_KEY, grown_now, now)

    # --- what people and others do

    def set_status(self, **status: Any) -> None:
        self.cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status=status))

    def set_phase(self, version: str, phase: str) -> None:
        key = Key(MODEL_VERSIONS, NAMESPACE, f"digits-{version}")
        self.cluster.user_change(key, lambda obj: obj.update(status={"phase": phase}))

    def apply(self, policy: Json) -> None:
        self.cluster.user_apply(policy)

    def finish(self, name: str, phase: str, **status: Any) -> None:
        """End a RetrainJob as its own reconciler would."""
        at = self.cluster.time.isoformat().replace("+00:00", "Z")
        self.cluster.user_change(
            Key(RETRAIN_JOBS, NAMESPACE, name),
            lambda obj: obj.update(status={"phase": phase, "finished": at, **status}),
        )

    # --- what people see

    def status(self, name: str = "digits") -> Json:
        found = self.cluster.get(Key(DRIFT_POLICIES, NAMESPACE, name))
        assert found is not None
        status: Json = found.get("status") or {}
        return status

    def signal(self, kind: str) -> Json:
        return next((s for s in self.status().get("signals", []) if s["kind"] == kind), {})

    def verdict(self, kind: str) -> str:
        return str(self.signal(kind).get("verdict", ""))

    def condition(self, kind: str, policy: str = "digits") -> Json:
        conditions = self.status(policy).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def jobs(self) -> list[Json]:
        found = self.cluster.find(RETRAIN_JOBS)
        return sorted(found, key=lambda job: job["spec"]["cause"].get("attempt", 0))

    def events(self) -> list[str]:
        return [event.reason for event in self.cluster.events]
