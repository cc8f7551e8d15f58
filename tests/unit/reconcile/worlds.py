"""A simulated shop for tests of rollouts: one Deployment, its versions, users and an operator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from trimtab.api.deployment import DeploymentStatus
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, SERVICES, WORKLOADS, Json, Key
from trimtab.reconcile.kinds.deployment import reconcile_deployment
from trimtab.reconcile.machine.world import Settings
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.simulation.harness import Harness
from trimtab.simulation.telemetry import SimulatedTelemetry
from trimtab.simulation.traffic import Behaviour, Traffic
from trimtab.store.port import Documents

KEY = Key(DEPLOYMENTS, "shop", "digits")
SETTINGS = Settings(serving_image="serving:1", training_image="training:1")
QUICK_STEPS = [{"weight": "25%", "for": "10s"}, {"weight": "50%", "for": "10s"}]


class NoStore:
    """An operator without credentials: the pods check the artifacts."""

    async def documents(self, uri: str, digest: str) -> Documents:
        raise AssertionError("a Deployment never reads the store")

    def cached(self, digest: str) -> Documents | None:
        return None


def digest_of(version: str) -> str:
    return "sha256:" + hashlib.sha256(version.encode()).hexdigest()


def version_object(version: str, phase: str = "Verified", model: str = "digits") -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": f"{model}-{version}", "namespace": "shop"},
        "spec": {
            "model": model,
            "version": version,
            "artifact": {"uri": f"s3://models/{model}/{version}/", "digest": digest_of(version)},
        },
        "status": {"phase": phase},
    }


def deployment_object(version: str | None = "v1", **spec: Any) -> Json:
    target: Json = {"version": version} if version is not None else {"follow": {}}
    rollout = {"steps": QUICK_STEPS, "deadline": "5m", "scaleDownDelay": "30s"}
    rollout |= spec.pop("rollout", {})
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "digits", "namespace": "shop"},
        "spec": {
            "model": "digits",
            "replicas": 3,
            "metrics": {"scrape": {"interval": "1s"}},
            **target,
            **spec,
            "rollout": rollout,
        },
    }


class Shop:
    """The harness with one Deployment under steady load."""

    def __init__(self, *, rate: float = 50.0, scrape: float = 1.0, seed: int = 1) -> None:
        self.cluster = SimulatedCluster()
        self.behaviour: dict[str, Behaviour] = {}
        self.traffic = Traffic(
            self.cluster,
            KEY,
            lambda version: self.behaviour.get(version, Behaviour(errors=0.001)),
            rate=rate,
            seed=seed,
        )
        self.telemetry: SimulatedTelemetry
        self.harness = Harness(
            self.cluster,
            {DEPLOYMENTS: reconcile_deployment, **dict.fromkeys((MODEL_VERSIONS,), _leave_alone)},
            make_telemetry=self._telemetry,
            make_store=NoStore,
            settings=SETTINGS,
        )
        self.scrape = scrape
        self.harness.tick_every(scrape, self._second)

    def _telemetry(self) -> SimulatedTelemetry:
        self.telemetry = SimulatedTelemetry(self.cluster)
        return self.telemetry

    async def _second(self) -> None:
        self.traffic.send(self.scrape)
        self.telemetry.scrape(self.traffic, self.harness.queue.add)

    # --- what people do

    def apply(self, deployment: Json) -> None:
        self.cluster.user_apply(deployment)

    def publish(self, *versions: str, phase: str = "Verified") -> None:
        for version in versions:
            obj = version_object(version, phase)
            self.cluster.user_apply({k: v for k, v in obj.items() if k != "status"})
            self.set_phase(version, phase)

    def set_phase(self, version: str, phase: str) -> None:
        key = Key(MODEL_VERSIONS, "shop", f"digits-{version}")
        self.cluster.user_change(key, lambda obj: obj.update(status={"phase": phase}))

    def want(self, version: str) -> None:
        self.change(lambda spec: spec.update(version=version))

    def change(self, edit: Callable[[Json], Any]) -> None:
        self.cluster.user_change(KEY, lambda obj: edit(obj["spec"]))

    def command(self, verb: str, argument: str = "-", id: str = "1", by: str = "ann") -> None:
        annotations = {
            "trimtab.dev/command": f"{verb}/{argument}/{id}",
            "trimtab.dev/command-by": by,
        }
        self.cluster.user_annotate(KEY, **annotations)

    async def serve(self, version: str = "v1", **spec: Any) -> None:
        """Bring the first version up under load."""
        self.publish(version)
        self.apply(deployment_object(version, **spec))
        await self.harness.run_until(lambda: self.serving == version and self.is_ready, 120)
        await self.harness.advance(3)
        self.traffic.lost = 0.0

    # --- what people see

    @property
    def live(self) -> Json:
        live = self.cluster.get(KEY)
        assert live is not None
        return live

    @property
    def status(self) -> DeploymentStatus:
        return DeploymentStatus.model_validate(self.live.get("status") or {})

    @property
    def serving(self) -> str:
        stable = self.status.stable
        return stable.version if stable is not None else ""

    @property
    def is_ready(self) -> bool:
        return self.condition("Ready") == "True"

    @property
    def is_resting(self) -> bool:
        return self.status.rollout is None

    def condition(self, kind: str) -> str:
        return next((c.status for c in self.status.conditions if c.type == kind), "")

    def reason(self, kind: str) -> str:
        return next((c.reason for c in self.status.conditions if c.type == kind), "")

    def message(self, kind: str) -> str:
        return next((c.message for c in self.status.conditions if c.type == kind), "")

    @property
    def outcomes(self) -> list[str]:
        return [f"{entry.version} {entry.outcome}" for entry in self.status.history]

    @property
    def route(self) -> str | None:
        service = self.cluster.get(Key(SERVICES, "shop", "digits"))
        assert service is not None
        selector: dict[str, str] = service["spec"]["selector"]
        return selector.get("trimtab.dev/revision")

    def route_of(self, version: str) -> str:
        """Return the revision by which the Service selects a version."""
        versions = (
            obj["spec"]["template"]["metadata"]["labels"] for obj in self.cluster.find(WORKLOADS)
        )
        return next(
            str(labels["trimtab.dev/revision"])
            for labels in versions
            if labels["trimtab.dev/version"] == version
        )

    def sizes(self) -> dict[str, int]:
        """Return the wanted pods by version."""
        return {
            obj["metadata"]["labels"]["trimtab.dev/revision"]: obj["spec"]["replicas"]
            for obj in self.cluster.find(WORKLOADS, "shop")
        }

    def events(self) -> list[str]:
        return [event.reason for event in self.cluster.events]


async def _leave_alone(world: object, key: Key) -> None:
    """Versions are verified by hand in these tests."""
