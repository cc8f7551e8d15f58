"""The whole loop on a simulated cluster: drift, one retraining, a new version, promoted."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.loop_objects import DocumentStore, documents, report
from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.worlds import KEY, SETTINGS, deployment_object, digest_of, version_object

from trimtab.api.resource import Resource
from trimtab.build.engines.job import JOBS
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.contract.artifact import Baseline, NumericFeature
from trimtab.reconcile.kinds.deployment import reconcile_deployment
from trimtab.reconcile.kinds.drift_policy import reconcile_drift_policy
from trimtab.reconcile.kinds.model_version import reconcile_model_version
from trimtab.reconcile.kinds.retrain_job import reconcile_retrain_job
from trimtab.simulation.cluster import Killed, SimulatedCluster
from trimtab.simulation.harness import Harness
from trimtab.simulation.jobs import Outcome
from trimtab.simulation.telemetry import SimulatedTelemetry
from trimtab.simulation.traffic import Behaviour, Traffic
from trimtab.store.port import Documents

QUALITY = {"kind": "quality", "floor": {"dropBy": "8%"}}
INPUTS = {"kind": "inputs", "tolerance": 0.02}
DATA = {"kind": "data", "missing": "2%"}
SCRAPE = 5.0
NEW_DIGEST = digest_of("retrained")


def baseline_of(digest: str) -> Baseline:
    """The simulated pods name their artifact's digest as their baseline."""
    feature = NumericFeature(name="x", edges=[0.5], counts=[500, 500], minimum=0, maximum=1)
    return Baseline(
        digest=digest,
        n=1000,
        features=[feature],
        score_edges=[],
        score_counts=[1000],
        predicted_counts={"a": 500, "b": 500},
    )


class Loop:
    """Users, pods and an operator that runs all four kinds."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.good, self.bad = Behaviour(estimated=0.97), Behaviour(estimated=0.8)
        self.behaviour: dict[str, Behaviour] = {}
        self.traffic = Traffic(
            self.cluster, KEY, lambda version: self.behaviour.get(version, self.good), rate=50.0
        )
        self.telemetry: SimulatedTelemetry
        self.harness = Harness(
            self.cluster,
            {
                DEPLOYMENTS: reconcile_deployment,
                MODEL_VERSIONS: reconcile_model_version,
                DRIFT_POLICIES: reconcile_drift_policy,
                RETRAIN_JOBS: reconcile_retrain_job,
            },
            make_telemetry=self._telemetry,
            make_store=self._store,
            settings=SETTINGS,
        )
        self.harness.jobs.outcomes = self._trained
        self.harness.tick_every(SCRAPE, self._scrape)

    def _telemetry(self) -> SimulatedTelemetry:
        self.telemetry = SimulatedTelemetry(self.cluster)
        return self.telemetry

    def _store(self) -> DocumentStore:
        known: dict[str, Documents] = {
            digest: documents(baseline_of(digest))
            for digest in (digest_of("v1"), digest_of("v2"), NEW_DIGEST)
        }
        return DocumentStore(known)

    async def _scrape(self) -> None:
        self.traffic.send(SCRAPE)
        self.telemetry.scrape(self.traffic, self.harness.queue.add)

    def _trained(self, job: Json, attempt: int) -> Outcome:
        env = job["spec"]["template"]["spec"]["containers"][0]["env"]
        output = next(e["value"] for e in env if e["name"] == "TRIMTAB_OUTPUT_URI")
        return Outcome(20, message=report(output, uri=f"{output}retrained/", digest=NEW_DIGEST))

    async def run(self) -> None:
        """Serve v1, let its inputs go astray, and wait until the retrained version serves."""
        version = version_object("v1")
        version["spec"]["evaluation"] = [{"metric": "accuracy", "value": 0.974}]
        self.cluster.user_apply({k: v for k, v in version.items() if k != "status"})
        self.cluster.user_apply(deployment_object(None, metrics={"scrape": {"interval": "5s"}}))
        self.cluster.user_apply(
            policy_object(QUALITY, INPUTS, DATA, window="20s", retrain={"cooldown": "1m"})
        )
        await self.until(lambda: self.serving == "v1", 200)
        await self.advance(60)
        self.traffic.lost = 0.0
        self.behaviour["v1"] = self.bad
        await self.until(lambda: self.serving.startswith("r"), 900)
        await self.advance(90)

    async def until(self, reached: object, limit: float) -> None:
        await self._alive(lambda: self.harness.run_until(reached, limit))  # type: ignore[arg-type]

    async def advance(self, seconds: float) -> None:
        end = self.cluster.time.timestamp() + seconds
        await self._alive(
            lambda: self.harness.advance(max(0.0, end - self.cluster.time.timestamp()))
        )

    async def _alive(self, go_on: object) -> None:
        """Go on after each kill with a new operator."""
        while True:
            try:
                await go_on()  # type: ignore[operator]
            except Killed:
                self.cluster.crash_after_writes = None
                self.harness.restart()
            else:
                return

    @property
    def serving(self) -> str:
        live = self.cluster.get(KEY) or {}
        stable = (live.get("status") or {}).get("stable") or {}
        return str(stable.get("version", ""))

    def end_state(self) -> Json:
        policy = self.cluster.get(Key(DRIFT_POLICIES, "shop", "digits")) or {}
        return {
            "serving": self.serving,
            "versions": [v["metadata"]["name"] for v in self.cluster.find(MODEL_VERSIONS)],
            "retrainings": [
                (job["metadata"]["name"], job["status"]["phase"], job["status"]["modelVersion"])
                for job in self.cluster.find(RETRAIN_JOBS)
            ],
            "jobs": [job["metadata"]["name"] for job in self.cluster.find(JOBS)],
            "verdicts": {s["kind"]: s["verdict"] for s in policy["status"]["signals"]},
        }


@pytest.fixture(scope="module")
def undisturbed() -> Loop:
    loop = Loop()
    asyncio.run(loop.run())
    return loop


async def test_a_drifting_version_is_retrained_and_replaced(undisturbed: Loop) -> None:
    loop = undisturbed
    state = loop.end_state()
    ((name, phase, version),) = state["retrainings"]
    assert phase == "Succeeded"
    assert state["versions"] == [version, "digits-v1"]
    assert state["jobs"] == [name]
    assert f"digits-{state['serving']}" == version
    assert state["verdicts"] == {"quality": "Stable", "inputs": "Stable", "data": "Stable"}
    assert loop.traffic.lost == 0
    told = [event.reason for event in loop.cluster.events]
    order = ["HarmDetected", "RetrainStarted", "VersionCreated", "RolloutStarted", "Promoted"]
    places = [told.index(reason, told.index("HarmDetected")) for reason in order]
    assert places == sorted(places)
    assert told.count("HarmDetected") == 1


@pytest.mark.parametrize("lost", ["effect", "memory of the effect"])
@pytest.mark.parametrize("made", [RETRAIN_JOBS, JOBS, MODEL_VERSIONS], ids=lambda r: r.plural)
async def test_killed_around_what_it_makes_the_loop_ends_in_the_same_place(
    undisturbed: Loop, made: Resource, lost: str
) -> None:
    writes = [(write.verb, write.key.resource) for write in undisturbed.cluster.writes]
    loop = Loop()
    loop.cluster.crash_after_writes = writes.index(("create", made)) + (lost != "effect")
    await loop.run()
    assert loop.end_state() == undisturbed.end_state()


async def test_a_policy_may_send_a_fresh_promotion_back_and_the_line_is_not_retrained() -> None:
    loop = Loop()
    for version in ("v1", "v2"):
        made = version_object(version)
        made["spec"]["evaluation"] = [{"metric": "accuracy", "value": 0.974}]
        loop.cluster.user_apply({k: v for k, v in made.items() if k != "status"})
    loop.cluster.user_apply(deployment_object("v1", metrics={"scrape": {"interval": "5s"}}))
    rules = [{"signal": "quality", "do": ["rollback"]}]
    loop.cluster.user_apply(policy_object(QUALITY, window="20s", actions=rules))
    await loop.until(lambda: loop.serving == "v1", 200)
    await loop.advance(60)
    loop.cluster.user_change(KEY, lambda obj: obj["spec"].update(version="v2"))
    await loop.until(lambda: loop.serving == "v2", 300)
    loop.behaviour["v2"] = loop.bad
    await loop.until(lambda: loop.serving == "v1", 300)
    await loop.advance(120)
    assert loop.serving == "v1"
    assert loop.cluster.find(RETRAIN_JOBS) == []
    told = [event.reason for event in loop.cluster.events]
    assert told.count("RolledBack") == 1
    policy = loop.cluster.get(Key(DRIFT_POLICIES, "shop", "digits")) or {}
    assert [signal["verdict"] for signal in policy["status"]["signals"]] == ["Stable"]
